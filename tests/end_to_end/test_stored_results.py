"""A finished result: damage in it is refused."""
import shutil

import h5py
import numpy as np
import pytest

import harness

MODEL = "tiny-gemma3"


@pytest.fixture(scope="module")
def stored(shop):
    """Two vindexes of tiny-gemma3, logits at every position: every dataset that there is."""
    job = shop.job(shop.model(MODEL), {name: shop.vindex(MODEL, name) for name in ("f16", "q4k")}, logits="all")
    job.run()
    return job.result_path


def numbers(file):
    """Every dataset of numbers that has any."""
    return {name: item for name, item in file.items()
            if isinstance(item, h5py.Dataset) and not h5py.check_string_dtype(item.dtype) and item.size}


def test_every_dataset_of_numbers_has_a_checksum(stored):
    with h5py.File(stored) as file:
        found = numbers(file)
        assert len(found) > 150 and {"kl", "verdict", "row_err_p99", "case", "bound_cos"} <= set(found)
        assert [name for name, item in found.items() if not item.fletcher32] == []


def test_one_flipped_byte_of_any_dataset_is_refused(stored, tmp_path):
    """By HDF5 itself when it is read; and no verb gives another answer because of it."""
    path = tmp_path / "damaged.h5"
    shutil.copyfile(stored, path)
    before = {verb: harness.run([verb, path]).stdout for verb in ("verdict", "status")}
    random, refused = np.random.default_rng(5), {"verdict": set(), "status": set()}
    with h5py.File(stored) as file:
        places = {name: item.id.get_chunk_info(0) for name, item in numbers(file).items()}
    for name, place in places.items():
        at = place.byte_offset + int(random.integers(place.size))
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << int(random.integers(8))]))
        with h5py.File(path) as file, pytest.raises(OSError):
            file[name][()]
        for verb, said in before.items():
            done = harness.run([verb, path], expect=None)
            if done.returncode == 0:
                assert done.stdout == said, (verb, name)
            else:
                assert done.returncode == 3 and f"'{name}'" in harness.one_error_line(done), (verb, name)
                refused[verb].add(name)
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))
    assert {"kl", "label", "row_err_p99", "rel_l2", "obs_kl", "prompt_rows", "case_bucket"} <= refused["verdict"]
    assert "verdict" in refused["status"]
