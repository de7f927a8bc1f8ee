"""Opens and checks one result file, and reads it in pieces. `with open_result(path) as result: …`"""
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib

import h5py
import numpy as np

from . import apart, layout
from .errors import Failure

SLAB_BYTES = 96 << 20  # of one piece of a [case, layer, obs] dataset; a chunk holds at most 16 layers
CHUNK_LAYERS = 16
SEAL_HEAD = b"\nwalkaudit sha256 "
SEAL_BYTES = len(SEAL_HEAD) + 64 + 1


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a figure was seen: a layer and an observation, in words."""

    layer: int
    obs: int
    prompt: int
    key: str
    position: int
    token: str

    def described(self):
        return {"layer": self.layer, "prompt": self.key, "position": self.position, "token": self.token, "obs": self.obs}


def open_result(path):
    """A Result, or a Failure that says what the file is instead. Close it, or use it in a `with`."""
    path = pathlib.Path(path)
    refuse_what_is_no_file(path)
    sealed = is_sealed(path)
    apart.tell(path)
    with apart.limited():
        return open_sealed(path, sealed)


def open_sealed(path, sealed):
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if "unable to lock file" in str(error):
            raise Failure("the file is locked", f"'{path}'", f"found {reason(error)}, expected a file that nobody writes; "
                          "where the file system knows no locks, HDF5_USE_FILE_LOCKING=FALSE reads it all the same") from None
        what = "truncated" if "truncated" in str(error) else "damaged"
        raise Failure(f"the file is {what}", f"'{path}'",
                      f"found {path.stat().st_size} bytes that HDF5 cannot open ({reason(error)}), "
                      "expected a whole result of walkaudit") from None
    try:
        check_format(file, path)
        if not sealed:
            raise Failure("the file is damaged", f"'{path}'", "found no digest at its end, expected the last line of a whole "
                          "result: it was cut, changed by another program, or not finished")
        return Result(path, file)
    except BaseException:
        file.close()
        raise


def is_sealed(path):
    """Does the digest behind HDF5's last byte (src/store/seal.h) fit all before it? False where there is none."""
    with open(path, "rb") as file:
        size = file.seek(0, 2) - SEAL_BYTES
        if size < 0:
            return False
        file.seek(size)
        last = file.read()
        if not last.startswith(SEAL_HEAD):
            return False
        file.seek(0)
        digest = hashlib.sha256()
        while size > 0:
            piece = file.read(min(size, 1 << 20))
            digest.update(piece)
            size -= len(piece)
    if last != SEAL_HEAD + digest.hexdigest().encode() + b"\n":
        raise Failure("the file is damaged", f"'{path}'", f"found bytes with the SHA-256 {digest.hexdigest()[:12]}…, "
                      f"expected {last[len(SEAL_HEAD):][:12].decode(errors='replace')}…")
    return True


def reason(error):
    """The part of HDF5's message that says why."""
    text = str(error)
    return text[text.find("(") + 1:text.rfind(")")] if "(" in text and ")" in text else text


def refuse_what_is_no_file(path):
    parts = pathlib.Path(f"{path}.parts")
    try:
        path.stat()
    except FileNotFoundError:
        pass  # below
    except OSError as error:
        raise Failure("cannot read the file", f"'{path}'", error.strerror) from None
    if path.name.endswith(".parts") and path.is_dir():
        raise Failure("the result is not finished", f"'{path}'", f"found {count_parts(os.listdir(path))}, expected one .h5 file; "
                      "'walkaudit run' of the same job resumes it")
    if not path.exists() and parts.is_dir():
        raise Failure("the result is not finished", f"'{path}'", f"found no file but '{parts.name}' with "
                      f"{count_parts(os.listdir(parts))}, expected one .h5 file; 'walkaudit run' of the same job resumes it")
    if not path.exists():
        raise Failure("a link that leads nowhere" if path.is_symlink() else "no such file", f"'{path}'")
    if not path.is_file():
        raise Failure(f"a {'folder' if path.is_dir() else 'device or pipe'}, expected a result file", f"'{path}'")
    try:
        known = h5py.is_hdf5(path)
        with open(path, "rb") as stream:
            stream.read(1)
    except OSError as error:
        raise Failure("cannot read the file", f"'{path}'", error.strerror or reason(error)) from None
    if not known:
        size = path.stat().st_size
        raise Failure("not a result of walkaudit", f"'{path}'",
                      f"found {'an empty file' if size == 0 else f'{size} bytes without an HDF5 signature'}, "
                      "expected an HDF5 file")


def count_parts(names):
    parts = sum(name.startswith("prompts-") and name.endswith(".h5") for name in names)
    return f"{parts} finished part{'' if parts == 1 else 's'}"


def check_format(file, path):
    """`walkaudit_format` is written last: a file without it is no result."""
    if "walkaudit_part" in file.attrs:
        raise Failure("a part of an unfinished result", f"'{path}'", "found some prompts, expected the assembled file; "
                      "'walkaudit run' of the same job resumes it")
    found = file.attrs.get("walkaudit_format")
    if found is None:
        raise Failure("not a result of walkaudit", f"'{path}'",
                      "found an HDF5 file without the attribute 'walkaudit_format', expected a finished result")
    try:
        version = int(np.asarray(found).reshape(-1)[0])
    except (ValueError, TypeError, IndexError):
        version = None
    if version is None or not layout.OLDEST <= version <= layout.NEWEST:
        relation = "" if version is None else "newer " if version > layout.NEWEST else "older "
        expected = str(layout.NEWEST) if layout.OLDEST == layout.NEWEST else f"{layout.OLDEST} to {layout.NEWEST}"
        raise Failure(f"a result of an unknown {relation}layout", f"'{path}'",
                      f"found walkaudit_format {found if version is None else version}, expected {expected}; run the job again, or use "
                      "the walkaudit that wrote it")


class Result:
    """A finished result. Small datasets by name (`result["kl"]`), large ones in pieces (`result.slabs`)."""

    def __init__(self, path, file):
        self.path, self.file = pathlib.Path(path), file
        self.known = functools.lru_cache(maxsize=None)(self.read)  # caches live and die with the result
        self.words = functools.lru_cache(maxsize=None)(self.read_words)
        self.axes = functools.lru_cache(maxsize=None)(self.read_axes)
        self.token = functools.lru_cache(maxsize=4096)(self.read_token)
        self.size = {name: self.extent(name) for name in layout.SCALES if name not in layout.OPTIONAL_SCALES or name in self.file}
        self.cases = [str(name) for name in self["case_name"]]
        self.prompts = [str(key) for key in self["prompt_key"]]
        self.vindexes = [str(name) for name in self["vindex_name"]]
        rows = self["prompt_rows"].astype(np.int64)
        if (rows < 0).any() or rows.sum() != self.size["obs"]:
            raise self.wrong("prompt_rows", f"found rows that add up to {rows.sum()}", f"{self.size['obs']}, each ≥ 0")
        self.starts = np.concatenate([[0], np.cumsum(rows)])
        self.check_index("case_vindex", -1, self.size["vindex"])
        self.check_index("case_payload", -1, self.size["payload"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()

    # --- Datasets

    def wrong(self, name, found, expected):
        return Failure(f"dataset '{name}' is not as a result has it", f"'{self.path}'",
                       f"{found}, expected {expected}")

    @contextlib.contextmanager
    def reading(self, name):
        """HDF5's own failures (checksums, broken heaps) as one line; its loops end the process."""
        if apart.state["path"] != self.path:
            apart.tell(self.path)
        try:
            with apart.limited():
                yield
        except (OSError, RuntimeError, UnicodeError, MemoryError) as error:
            raise Failure(f"dataset '{name}' cannot be read", f"'{self.path}'",
                          f"found {reason(error)}, expected whole data; the file is damaged") from None

    def extent(self, name):
        with self.reading(name):
            item = self.file.get(name)
            if not isinstance(item, h5py.Dataset) or item.ndim != 1:
                raise self.wrong(name, "found none" if item is None else "found no list", "a dimension scale")
            return item.shape[0]

    def has(self, name):
        """Whether an optional dataset is there."""
        with self.reading(name):
            return isinstance(self.file.get(name), h5py.Dataset)

    def read_axes(self, name):
        """What the dimensions of a dataset are, by the scales attached to it; `axes` remembers it."""
        if name in layout.SCALES:
            return (name,)
        with self.reading(name):
            item = self.file.get(name)
            if not isinstance(item, h5py.Dataset):
                raise self.wrong(name, "found none", "a dataset")
            found = tuple(dim[0].name.strip("/") if len(dim) else "no scale" for dim in item.dims)
        unknown = set(found) - set(layout.SCALES)
        if unknown:
            raise self.wrong(name, f"found {min(unknown)}", "a known dimension scale for each dimension")
        return found

    def dataset(self, name, axes=None):
        """The HDF5 dataset, its shape checked against its axes, and those against what they must be."""
        found = self.axes(name)
        with self.reading(name):
            item = self.file.get(name)
        shape = tuple(self.size[axis] for axis in found)
        if axes is not None and found != axes:
            raise self.wrong(name, f"found axes [{', '.join(found)}]", f"[{', '.join(axes)}]")
        axes = found
        if item.shape != shape:
            raise self.wrong(name, f"found shape {list(item.shape)}", f"[{', '.join(axes)}] = {list(shape)}")
        return item

    def __getitem__(self, name):
        """A small dataset, whole."""
        return self.known(name)

    def read(self, name, selection=(), axes=None):
        """Values as stored; strings as str, bytes that are no UTF-8 replaced."""
        item = self.dataset(name, axes)
        with self.reading(name):
            if h5py.check_string_dtype(item.dtype):
                return item.asstr(errors="replace")[selection]
            return item[selection]

    def meanings(self, name):
        """{code: word} of an enumeration."""
        attributes = self.dataset(name).attrs
        try:
            with self.reading(name):
                values, words = attributes["flag_values"], attributes["flag_meanings"].split()
        except (KeyError, AttributeError):
            raise self.wrong(name, "found no flag_values and flag_meanings", "an enumeration") from None
        return dict(zip((int(value) for value in values), words))

    def read_words(self, name):
        """A small enumeration as words; `words` remembers it."""
        meanings, codes = self.meanings(name), self[name]
        unknown = set(np.unique(codes).tolist()) - set(meanings)
        if unknown:
            raise self.wrong(name, f"found code {min(unknown)}", f"one of {sorted(meanings)}")
        lookup = np.array([meanings.get(code, "") for code in range(max(meanings) + 1)], dtype=object)
        return lookup[codes]

    def check_index(self, name, least, limit):
        values = self[name]
        if values.size and (values.min() < least or values.max() >= max(limit, least + 1)):
            bad = values[(values < least) | (values >= limit)][0]
            raise self.wrong(name, f"found {bad}", f"{least} to {limit - 1}")
        return values

    def read_by(self, case, name, none=np.nan):
        """A case's [layer, projection] of a figure of stored rows: of the payload that it reads, `none` where it reads none."""
        vindex, payloads = int(self["case_vindex"][case]), self["case_payload"][case]
        values, out = self[name], np.full((self.size["layer"], self.size["projection"]), none)
        for projection, payload in enumerate(payloads):
            if vindex >= 0 and payload >= 0:
                out[:, projection] = values[vindex, payload, :, projection]
        return out

    # --- Pieces

    def slabs(self, name, case):
        """All of one case's [layer, obs] values, piece by piece: (slice of layers, array), whole rows each."""
        item = self.dataset(name, ("case", "layer", "obs"))
        layers, row = self.size["layer"], max(self.size["obs"] * item.dtype.itemsize, 1)
        step = int(max(1, min(CHUNK_LAYERS, SLAB_BYTES // row)))
        for start in range(0, layers, step):
            part = slice(start, min(start + step, layers))
            with self.reading(name):
                values = item[case, part, :]
            yield part, values

    def window(self, name, case, prompt, first=0, last=None):
        """[layer, position] of one case and prompt, positions first to last - 1."""
        start, stop = self.starts[prompt], self.starts[prompt + 1]
        stop = stop if last is None else min(stop, start + last)
        return self.read(name, (case, slice(None), slice(int(start) + first, int(stop))), ("case", "layer", "obs"))

    # --- Places

    def rows(self, prompt):
        return int(self.starts[prompt + 1] - self.starts[prompt])

    def place(self, layer, obs):
        """None where nothing was seen (index -1)."""
        layer, obs = int(layer), int(obs)
        if layer < 0 or obs < 0:
            return None
        if layer >= self.size["layer"] or obs >= self.size["obs"]:
            raise Failure("a place lies outside the result", f"'{self.path}'", f"found layer {layer}, observation {obs}, "
                          f"expected less than {self.size['layer']} and {self.size['obs']}")
        prompt = int(np.searchsorted(self.starts, obs, side="right")) - 1
        return Place(layer, obs, prompt, self.prompts[prompt], obs - int(self.starts[prompt]), self.token(obs))

    def read_token(self, obs):
        return str(self.read("token_text", int(obs)))

    def extreme(self, name, case):
        """(value, Place or None) of a per-case extreme such as "max_rel_l2" or "rest_min_cos"."""
        return float(self[name][case]), self.place(self[name + "_at_layer"][case], self[name + "_at_obs"][case])

    # --- Attributes

    def attribute(self, name, default=""):
        """A root attribute as str, int or list of str."""
        with self.reading(name):
            return plain_attribute(self.file.attrs.get(name, default))

    def fingerprints(self):
        keys, values = self.attribute("fingerprint_keys", []), self.attribute("fingerprint_values", [])
        return dict(zip(map(str, keys), map(str, values)))

    def runs(self):
        """Attributes of /run/0, /run/1 …, in order."""
        with self.reading("run"):
            return self.read_runs()

    def read_runs(self):
        group = self.file.get("run")
        if not isinstance(group, h5py.Group):
            return []
        names = sorted((name for name in group if isinstance(group.get(name), h5py.Group)),
                       key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
        return [{key: plain_attribute(value) for key, value in sorted(group[name].attrs.items())} for name in names]


def plain_attribute(value):
    """numpy's forms as Python's: arrays of one number are that number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        items = [plain_attribute(item) for item in value.reshape(-1)]
        return items[0] if len(items) == 1 and value.dtype.kind in "iufb" else items
    return value.item() if isinstance(value, np.generic) else value
