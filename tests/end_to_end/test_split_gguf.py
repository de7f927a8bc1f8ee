"""A GGUF in several files, as llama.cpp's gguf-split writes it: opened by any part, and as one model."""
import struct

import numpy as np
import pytest

import gguf_files
import harness

MODEL = "tiny-llama-mixed.gguf"
COUNT = 3


def entry(key, kind, layout, value):
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + struct.pack(layout, value)


def part_name(number, count=COUNT):
    return f"m-{number:05d}-of-{count:05d}.gguf"


def write_parts(folder, total=0, **other):
    """Three parts, the keys in the first; {number: (split.no, split.count)} to be stored instead. total: tensors more than there are."""
    folder.mkdir(parents=True, exist_ok=True)
    keys, head, tensors = gguf_files.read_gguf(harness.GOLDEN / "gguf" / MODEL)
    names = list(tensors)
    for number in range(1, COUNT + 1):
        no, count = other.get(f"part{number}", (number - 1, COUNT))
        own = entry("split.no", 2, "<H", no) + entry("split.count", 2, "<H", count) + \
            entry("split.tensors.count", 5, "<i", len(names) + total)
        here = {name: tensors[name] for name in names[number - 1::COUNT]}
        gguf_files.write_gguf(folder / part_name(number), 3 + (keys if number == 1 else 0), own + (head if number == 1 else b""), here)
    return folder


def audited(shop, model):
    vindex = shop.root / "whole.vindex"
    if not vindex.exists():
        harness.run(["extract", shop.model(MODEL), vindex, "--format", "f16"])
    return shop.job(model, {"f16": vindex})


@pytest.mark.parametrize("name", [part_name(1), part_name(3), ""])
def test_every_part_and_their_directory_are_the_whole(shop, tmp_path, name):
    whole, split = audited(shop, shop.model(MODEL)).result(), audited(shop, write_parts(tmp_path / "parts") / name).result()
    for field in ("token_id", "x_norm", "ref_norm", "h_norm", "rel_l2", "ref_topk_id", "ref_topk_logprob", "row_err_max"):
        assert np.array_equal(whole[field], split[field], equal_nan=True), field
    assert whole.verdicts() == split.verdicts()


def test_inspect_lists_all_parts_and_finds_the_vocabulary(tmp_path):
    folder = write_parts(tmp_path)
    said = harness.run(["inspect", folder / part_name(2)]).stdout
    assert all(str(folder / part_name(number)) in said for number in (1, 2, 3))
    words = harness.run(["tokenize", folder / part_name(2), "Hello"]).stdout
    assert words == harness.run(["tokenize", harness.GOLDEN / "gguf" / MODEL, "Hello"]).stdout


def test_a_result_belongs_to_the_bytes_of_every_part(shop, tmp_path):
    folder = write_parts(tmp_path / "parts")
    job = audited(shop, folder / part_name(1))
    job.result()
    path = folder / part_name(3)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    said = harness.one_error_line(job.run(expect=None))
    assert part_name(3) in said and "another" in said or "differ" in said or "changed" in said, said


@pytest.mark.parametrize("change, said", [
    ("missing", f"cannot open '{{folder}}/{part_name(2)}'"),
    ("count", f"by its name part 2 of 3, by its keys 'split.no' and 'split.count' part 2 of 4; in file '{{folder}}/{part_name(2)}'"),
    ("number", "by its name part 2 of 3, by its keys 'split.no' and 'split.count' part 1 of 3"),
    ("total", "'split.tensors.count' of part 1 is"),
    ("again", "have the same meaning"),
    ("renamed", "one of 3 parts of a split GGUF, but not named like one: expected NAME-00001-of-00003.gguf beside the others"),
    ("cut", "truncated"),
])
def test_a_missing_or_foreign_part_is_one_line(tmp_path, change, said):
    other = {"count": {"part2": (1, 4)}, "number": {"part2": (0, 3)}, "total": {"total": 1}}
    folder = write_parts(tmp_path, **other.get(change, {}))
    model, second = folder / part_name(1), folder / part_name(2)
    if change == "missing":
        second.unlink()
    elif change == "again":
        keys, head, _ = gguf_files.read_gguf(second)
        gguf_files.write_gguf(second, keys, head, gguf_files.read_gguf(folder / part_name(3))[2])
    elif change == "renamed":
        model = model.rename(folder / "model.gguf")
    elif change == "cut":
        second.write_bytes(second.read_bytes()[:-4096])
        said = "leaves the file"
    assert said.format(folder=folder) in harness.one_error_line(harness.run(["inspect", model], expect=3))
