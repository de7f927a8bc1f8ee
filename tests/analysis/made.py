"""Result files with given figures: everything else as in a real result, so that every reader takes them."""
import h5py
import numpy as np
from edit_result import seal

from walkaudit_report import layout

CHUNK = {"case": 1, "layer": 16, "obs": 8192, "prompt": 8192}  # as analysis/README.md says, of what runs along obs or prompt
WRITTEN = 1 << 20  # elements of datasets that are written out
SEED = {"paris": 6, "apollo": 26, "code": 7}  # the published prompts and their tokens in Gemma 3


def even(extent, most):
    """Pieces of at most so many, of even size: verdict takes no other chunks than those that walkaudit writes."""
    return -(-extent // -(-extent // most))


class Made:
    """A result to be filled: `made["rel_l2"]` is the HDF5 dataset. Words of enumerations become codes in `words`."""

    def __init__(self, path, template, cases, layers, prompts=None, vindexes=("v",), fill=None):
        """template: a real result, whose types and meanings hold. prompts: {key: positions}. cases: [VINDEX:PATH].

        Nothing is written into large datasets: they hold `fill[name]`, or what HDF5 says is absent."""
        prompts = prompts or SEED
        self.file = h5py.File(path, "w")
        self.template = h5py.File(template, "r")
        self.size = {"case": len(cases), "layer": layers, "obs": sum(prompts.values()), "prompt": len(prompts),
                     "slot": self.template["slot"].shape[0], "vindex": len(vindexes), "projection": 3, "offer": 0,
                     "payload": self.template["payload"].shape[0] if "payload" in self.template else 0}
        datasets = {name: item for name, item in self.template.items() if isinstance(item, h5py.Dataset)}
        for name in sorted(datasets, key=lambda name: name not in layout.SCALES):  # the scales first
            self.create(name, datasets[name], (fill or {}).get(name))
        for key, value in self.template.attrs.items():
            self.file.attrs[key] = value
        self.file.create_group("run/0")
        self.name(cases, prompts, vindexes)
        self.pass_everything(cases)

    def create(self, name, source, fill):
        axes = (name,) if name in layout.SCALES else tuple(dim[0].name.strip("/") for dim in source.dims)
        shape = tuple(self.size[axis] for axis in axes)
        number = not h5py.check_string_dtype(source.dtype) and all(shape)
        streams = "obs" in axes or "prompt" in axes
        chunks = tuple(even(extent, CHUNK.get(axis, extent)) if streams else extent for axis, extent in zip(axes, shape))
        item = self.file.create_dataset(name, shape, source.dtype, chunks=chunks if number else None,
                                        fletcher32=number or None, fillvalue=source.fillvalue if fill is None else fill)
        if 0 < item.size < WRITTEN:  # walkaudit takes no dataset without its bytes
            item[...] = np.full(shape, "", object) if h5py.check_string_dtype(item.dtype) else item.fillvalue
        for key in ("long_name", "units", "flag_values", "flag_meanings", "_FillValue"):
            if key in source.attrs:
                item.attrs[key] = source.attrs[key]
        if name in layout.SCALES:
            item[...] = np.arange(shape[0])
            item.make_scale(name)
        for at, axis in enumerate(axes):
            if axis != name:
                item.dims[at].attach_scale(self.file[axis])

    def __getitem__(self, name):
        return self.file[name]

    def words(self, name, word):
        attributes = self.file[name].attrs
        return dict(zip(attributes["flag_meanings"].split(), attributes["flag_values"].tolist()))[word]

    def name(self, cases, prompts, vindexes):
        rows = list(prompts.values())
        self["case_name"][...], self["vindex_name"][...], self["prompt_key"][...] = list(cases), list(vindexes), list(prompts)
        self["vindex_path"][...] = [f"{name}.vindex" for name in vindexes]
        self["prompt_text"][...] = [f"text of {key}" for key in prompts]
        self["prompt_rows"][...] = rows
        self["obs_prompt"][...] = np.repeat(np.arange(len(rows)), rows)
        self["obs_position"][...] = np.concatenate([np.arange(count) for count in rows])
        self["case_vindex"][...] = [list(vindexes).index(case.split(":")[0]) for case in cases]
        self["case_path"][...] = [self.words("case_path", case.split(":")[1]) for case in cases]
        if self.size["obs"] < 1000:
            self["token_text"][...] = [f"t{at}" for at in range(self.size["obs"])]

    def pass_everything(self, cases):
        """As if all cases had run and passed without any difference; figures of extremes stay absent."""
        self["verdict"][...] = self.words("verdict", "PASS")
        self["n_obs"][...] = self["n_obs_distinct"][...] = self.size["layer"] * self.size["obs"]
        self["layer_n_obs"][...] = self.size["obs"]
        self["top1_match"][...] = self.words("top1_match", "yes")
        self["top1_text"][...] = np.full((self.size["case"], self.size["prompt"]), " token", object)
        self["ref_top1_text"][...] = np.full(self.size["prompt"], " token", object)
        for name in ("ref_top1_id", "top1_id"):
            self[name][...] = 7
        for at, case in enumerate(cases):
            self["case_bucket"][at] = self.words("case_bucket", "quantized" if "q4" in case else "exact")

    def close(self):
        name = self.file.filename
        self.file.close()
        seal(name)
        self.template.close()
