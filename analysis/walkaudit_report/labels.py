"""A result as xarray datasets with labels: `walkaudit_report.open(path).sel(case="q4k:sparse")`.

Values are read when they are asked for, so a large result costs no more than what is looked at.
"""
import functools
import pathlib

import h5py
import numpy as np

from .errors import Failure
from .result import is_sealed, open_result

LABELLED = {"case": "cases", "prompt": "prompts", "vindex": "vindexes"}  # axis: where Result has its names


def open(path):  # noqa: A001  (as h5py.File and xarray.open_dataset: `walkaudit_report.open`)
    """An Opened result. Close it, or use it in a `with`. A file that is none, or damaged, is a Failure of one line."""
    try:
        import xarray  # noqa: F401  (the rest of the package needs none)
    except ImportError:
        raise Failure("xarray is not installed", f"'{path}'", "found no module 'xarray', expected it for walkaudit_report.open: "
                      "'pip install xarray', or Debian's python3-xarray") from None
    return Opened(open_result(path))


class Opened:
    """`data`: all datasets, along case, layer, obs, prompt … `captures`: FFN inputs and outputs, None where none were kept;
    whoever asks for them has all their files read and held against the digests at their ends.

    `case`, `prompt`, `vindex`, `payload` and `projection` are labelled by their names, `layer` counts from 0; along `obs` stand the
    coordinates `obs_prompt` (the prompt's key), `obs_position` and `token`. Enumerations are words, attributes the result's.
    """

    def __init__(self, result):
        import xarray
        self.result = result
        self.data = xarray.Dataset(self.variables(), self.coordinates(), self.attributes())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, name):
        return self.data[name]

    def __repr__(self):
        size = ", ".join(f"{self.result.size[axis]} {axis}" for axis in ("case", "layer", "obs", "prompt"))
        return f"<walkaudit result '{self.result.path}': {size}>\n{self.data!r}"

    def close(self):
        self.data.close()
        self.result.close()

    def sel(self, **labels):
        """`data` where it has these labels."""
        return self.data.sel(**labels)

    def prompt(self, key):
        """`data` at the positions of one prompt: `obs` becomes `position`, which counts from 0."""
        if key not in self.result.prompts:
            raise KeyError(f"no prompt '{key}'; there are {', '.join(self.result.prompts)}")
        at = self.result.prompts.index(key)
        start, stop = int(self.result.starts[at]), int(self.result.starts[at + 1])
        part = self.data.sel(prompt=key).isel(obs=slice(start, stop)).rename({"obs": "position"})
        return part.assign_coords(position=np.arange(stop - start))

    # --- How it is made

    def labels(self, axis):
        if axis in LABELLED:
            return np.array(getattr(self.result, LABELLED[axis]), dtype=object)
        named = "flag_meanings" in self.result.dataset(axis).attrs
        return self.result.words(axis) if named else np.arange(self.result.size[axis])

    def coordinates(self):
        result = self.result
        keys = np.array(result.prompts, dtype=object)
        axes = {axis: (axis, self.labels(axis)) for axis in result.size}
        return {**axes, "obs_prompt": ("obs", keys[result["obs_prompt"]]), "obs_position": ("obs", result["obs_position"]),
                "token": ("obs", result["token_text"])}

    def variables(self):
        with self.result.reading("the list of datasets"):
            names = [name for name, item in self.result.file.items() if isinstance(item, h5py.Dataset)]
        beside = {*self.result.size, "obs_prompt", "obs_position", "token_text"}
        return {name: self.variable(name) for name in names if name not in beside}

    def variable(self, name):
        return lazy(self.result.axes(name), Stored(self.result, name), described(self.result.dataset(name)))

    @functools.cached_property
    def captures(self):
        import xarray
        group = self.result.file.get("captures")
        if not isinstance(group, h5py.Group):
            return None
        refuse_damaged_captures(pathlib.Path(self.result.path), group)
        with self.result.reading("captures"):
            axes = {name: item[:] for name, item in group.items() if h5py.h5ds.is_scale(item.id)}
            arrays = {name: item for name, item in group.items() if name not in axes}
            dims = {name: [dim[0].name.rsplit("/", 1)[-1] for dim in item.dims] for name, item in arrays.items()}
        named = {axis: self.labels(axis)[values] if axis in LABELLED else values for axis, values in axes.items()}
        variables = {name: lazy(dims[name], Raw(self.result, item), described(item)) for name, item in arrays.items()}
        return xarray.Dataset(variables, {axis: (axis, values) for axis, values in named.items()})

    def attributes(self):
        names = sorted(self.result.file.attrs)
        return {name: self.result.attribute(name) for name in names}


def refuse_damaged_captures(path, group):
    """A Failure where the digest at the end of a capture file does not fit. Reads all that the group shows and that are there."""
    virtual = [item for item in group.values() if isinstance(item, h5py.Dataset) and item.is_virtual]
    names = {source.file_name for item in virtual for source in item.virtual_sources()}
    for kept in sorted(path.parent / name for name in names):
        if kept.exists() and not is_sealed(kept):
            raise Failure("the capture file is damaged", f"'{kept}'", "found no digest at its end, expected the last line of a "
                          "file that walkaudit wrote: it was cut, or changed by another program")


def described(item):
    """`long_name` and `units`; what enumerations and absent values need is spent."""
    kept = ((name, item.attrs.get(name)) for name in ("long_name", "units"))
    return {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in kept if value is not None}


def lazy(axes, array, attributes):
    import xarray
    from xarray.core import indexing
    return xarray.Variable(axes, indexing.LazilyIndexedArray(adapted(array)), attributes)


def adapted(array):
    """xarray's view of an array that is read piece by piece."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Adapted(BackendArray):
        shape, dtype = array.shape, array.dtype

        def __getitem__(self, key):
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, array.read)

    return Adapted()


class Raw:
    """An HDF5 dataset, its failures as one line."""

    def __init__(self, result, item):
        self.result, self.item, self.shape, self.dtype = result, item, item.shape, item.dtype

    def read(self, key):
        with self.result.reading(self.item.name.strip("/")):
            return self.item[key]


class Stored:
    """A dataset of the result, strings as str and enumerations as words."""

    def __init__(self, result, name):
        item = result.dataset(name)
        self.result, self.name, self.shape = result, name, item.shape
        self.words = result.meanings(name) if "flag_meanings" in item.attrs else None
        self.dtype = np.dtype(object) if self.words or item.dtype.kind in "OS" else item.dtype

    def read(self, key):
        values = self.result.read(self.name, key)
        return values if self.words is None else np.vectorize(self.word, otypes=[object])(values)

    def word(self, code):
        if code not in self.words:
            raise self.result.wrong(self.name, f"found code {code}", f"one of {sorted(self.words)}")
        return self.words[code]
