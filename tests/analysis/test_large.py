"""Ten million observations of a dataset are read in pieces: a report stays below 500 MB."""
import json
import os
import subprocess

import h5py
from h5py import h5ds
import numpy as np
import pytest

from command import SCRIPT
from edit_result import seal

OBSERVATIONS = 10_000_000
LIMIT = 500 << 20


def enlarge(source, path, rows):
    """One case, two layers and one prompt of so many positions; rel_l2 is written, other metrics are fill values."""
    sizes = {"case": 1, "layer": 2, "prompt": 1, "obs": rows}
    with h5py.File(source) as old, h5py.File(path, "w") as new:
        for key, value in old.attrs.items():
            new.attrs[key] = value
        for name, item in old.items():
            if not isinstance(item, h5py.Dataset):
                continue
            axes = [name] if h5ds.is_scale(item.id) else [item.dims[at][0].name.strip("/") for at in range(item.ndim)]
            shape = tuple(sizes.get(axis, size) for axis, size in zip(axes, item.shape))
            if "obs" not in axes:
                made = new.create_dataset(name, data=item[tuple(slice(0, size) for size in shape)], dtype=item.dtype)
            else:
                chunk = tuple(1 if axis == "case" else min(16, size) if axis == "layer" else min(size, 8192)
                              for axis, size in zip(axes, shape))
                made = new.create_dataset(name, shape, item.dtype, chunks=chunk, fletcher32=item.dtype.kind == "f",
                                          fillvalue=item.fillvalue if item.dtype.kind in "if" else None)
            for key in ("flag_values", "flag_meanings"):
                if key in item.attrs:
                    made.attrs[key] = item.attrs[key]
            if h5ds.is_scale(item.id):
                made.make_scale(name)
        for name, item in old.items():
            if isinstance(item, h5py.Dataset) and not h5ds.is_scale(item.id):
                for at in range(item.ndim):
                    new[name].dims[at].attach_scale(new[item.dims[at][0].name])
        new["prompt_rows"][0] = rows
        random = np.random.default_rng(1)
        for layer in range(2):
            for start in range(0, rows, 1 << 20):
                stop = min(start + (1 << 20), rows)
                new["rel_l2"][0, layer, start:stop] = random.random(stop - start)
        for name, item in new.items():  # whatever points to a place points to the first
            if name.endswith("_at_obs") or name.endswith("_at_layer"):
                item[...] = 0


@pytest.fixture(scope="module")
def large(gemma, tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.h5"
    enlarge(gemma, path, OBSERVATIONS)
    seal(path)
    return path


@pytest.mark.parametrize("words", [("report",), ("plot", "--maps", "1")])
def test_memory_stays_bounded(large, tmp_path, words):
    assert h5py.File(large)["rel_l2"].shape == (1, 2, OBSERVATIONS)
    child = subprocess.Popen([SCRIPT, words[0], large, "-o", tmp_path, *words[1:]], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, env=dict(os.environ, LC_ALL="C.UTF-8"))
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, child.stderr.read().decode()
    child.stderr.close()
    assert used.ru_maxrss * 1024 < LIMIT, f"{used.ru_maxrss >> 10} MB"
    if words[0] == "report":
        layers = json.loads((tmp_path / "large.json").read_text())["cases"][0]["layers"]
        for layer in layers:  # uniform in [0, 1): the quantiles of ten million are known to three digits
            assert abs(layer["rest_p50_rel_l2"] - 0.5) < 2e-3 and abs(layer["rest_p95_rel_l2"] - 0.95) < 1e-3
