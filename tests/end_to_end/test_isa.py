"""Products of our own: every dataset is the same, bit for bit, by whichever instruction set, and whatever the batch."""
import h5py
import numpy as np
import pytest

import harness

# Who multiplied is not in these; KERNEL's truth is another library's, and so is what is folded from it.
APART = ("kernel", "seconds", "batch", "bytes_read")


@pytest.fixture()
def make(shop):
    vindexes = {v: shop.vindex("tiny-odd", v) for v in ("f32", "f16")}

    def make(rows):
        return shop.job(shop.model("tiny-odd"), vindexes, engine="walkaudit", batch={"rows": rows}, logits="all",
                        kernel_check="none",
                        paths=[{"path": p} for p in ("sparse", "full_mmap", "exact", "sparse_serial")])
    return make


def numbers(path):
    """Bytes of every dataset outside /run that holds measured numbers."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and not any(word in name for word in APART):
            found[name] = np.ascontiguousarray(item[()]).tobytes()
    with h5py.File(path) as file:
        file.visititems(lambda name, item: None if name.startswith("run/") else visit(name, item))
    return found


def test_every_instruction_set_gives_the_same_bits(make):
    job = make(8)
    seen = {}
    for isa in ("", "avx512", "avx2", "portable"):
        done = job.run(words=["--fresh"], WALKAUDIT_ISA=isa, expect=None)
        if done.returncode == 3 and "which this processor has not" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr
        seen[isa] = numbers(job.result_path)
    assert "portable" in seen and len(seen[""]) > 20
    for isa, found in seen.items():
        assert found.keys() == seen[""].keys()
        assert [name for name in found if found[name] != seen[""][name]] == [], isa


def test_the_batch_changes_no_bit(make):
    first = make(8)
    first.result()
    wanted = numbers(first.result_path)
    for rows in (1, 64, 512):
        job = make(rows)
        job.result()
        found = numbers(job.result_path)
        assert [name for name in wanted if found.get(name) != wanted[name]] == [], rows


def test_an_unknown_instruction_set_is_one_line(make):
    done = make(8).run(WALKAUDIT_ISA="mmx", expect=2)
    assert "WALKAUDIT_ISA is 'mmx'" in harness.one_error_line(done)
