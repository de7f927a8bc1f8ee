"""Vindexes of every generation of LARQL: K-quant files by their older and newer names, elements in the order of before and since
August 2026, and mixtures. Nothing in a vindex says which order it has; the model does. (larql-2026-08.md 1.1, 1.4)
"""
import json
import shutil

import numpy as np
import pytest

import harness

MODEL = "tiny-gemma3"
BEFORE = "Q6_K, order of before August 2026: LARQL since then reads this as noise"
SINCE = "Q6_K, order since August 2026"
FIGURES = ("cos", "rel_l2", "kl", "prob_delta")


def rename(folder):
    """The names since 17 May 2026."""
    for path in folder.glob("*q4k*"):
        path.rename(folder / path.name.replace("q4k", "kquant"))


def reordered_q6_k(raw):
    """Blocks [n, 210] of elements in order, repacked as ggml has them."""
    raw = raw.reshape(-1, 210)
    index = np.arange(256)
    code = (raw[:, index // 2] >> 4 * (index % 2) & 15) | (raw[:, 128 + index // 4] >> 2 * (index % 4) & 3) << 4
    quarters = code.reshape(-1, 2, 4, 32)  # [block, half, quarter, place]
    out = raw.copy()
    low, high = quarters & 15, quarters >> 4
    out[:, :128] = (low[:, :, :2] | low[:, :, 2:] << 4).reshape(-1, 128)
    out[:, 128:192] = (high << (2 * np.arange(4, dtype=np.uint8))[None, None, :, None]).sum(2, dtype=np.uint8).reshape(-1, 64)
    return out.reshape(-1)


def reordered_q4_0(raw):
    raw = raw.reshape(-1, 18)
    code = np.stack([raw[:, 2:] & 15, raw[:, 2:] >> 4], 2).reshape(-1, 32)
    out = raw.copy()
    out[:, 2:] = code[:, :16] | code[:, 16:] << 4
    return out.reshape(-1)


def rewrite_down(folder, layers, change):
    """`change` on the bytes of down of these layers in the interleaved K-quant file, whichever its name."""
    stem = "kquant" if (folder / "interleaved_kquant.bin").exists() else "q4k"
    entries = json.loads((folder / f"interleaved_{stem}_manifest.json").read_text())
    raw = np.memmap(folder / f"interleaved_{stem}.bin", np.uint8, "r+")
    for entry in (entries[3 * layer + 2] for layer in layers):
        assert entry["format"] == "Q6_K"
        at = slice(entry["offset"], entry["offset"] + entry["length"])
        raw[at] = change(np.array(raw[at]))
    raw.flush()


def shifted(raw):
    """Every block's codes from the block behind it: rows that are the model's in no order."""
    blocks = raw.reshape(-1, 210).copy()
    blocks[:, :192] = np.roll(blocks[:, :192], 7, axis=1)
    return blocks.reshape(-1)


def audit(job, **options):
    """What it printed, and its result."""
    printed = job.run(**options).stdout
    return printed, harness.Result(job.result_path)


def generations(shop, folder):
    """name: vindex, lines about its order."""
    old = shop.vindex(MODEL, "q4k")
    made = {"old": (old, [f"interleaved_q4k.bin, down: {BEFORE}"])}
    for name in ("renamed", "new", "mixed"):
        copy = shop.copy(MODEL, "q4k", folder / name)
        if name != "mixed":
            rename(copy)
        made[name] = (copy, [f"interleaved_kquant.bin, down: {BEFORE}"])
    rewrite_down(folder / "new", range(4), reordered_q6_k)
    made["new"] = (folder / "new", [f"interleaved_kquant.bin, down: {SINCE}"])
    rewrite_down(folder / "mixed", [1, 3], reordered_q6_k)
    made["mixed"] = (folder / "mixed", [f"interleaved_q4k.bin, down, layers 0, 2: {BEFORE}",
                                        f"interleaved_q4k.bin, down, layers 1, 3: {SINCE}"])
    return made


@pytest.mark.parametrize("check", ["all", "none"])
def test_every_generation_is_audited_alike(shop, tmp_path, check):
    """The stored numbers are the same, so every figure is, bit for bit."""
    made = generations(shop, tmp_path)
    job = shop.job(shop.model(MODEL), {name: vindex for name, (vindex, _) in made.items()}, encoding_check=check)
    printed, result = audit(job)
    for name, (_, lines) in made.items():
        for line in lines:
            assert f"\n{name}: {line}\n" in printed, printed
        at = list(result["vindex_name"]).index(name)
        payloads = zip(result["payload_file"][at], result["payload_order"][at])
        assert [f"{file}, {line}" for file, text in payloads for line in text.split("\n") if line] == lines
        assert result["vindex_verdict"][at] == ("MEASURED" if check == "all" else "UNCHECKED")
        for path in ("sparse", "interleaved_q4k"):
            for figure in FIGURES:
                np.testing.assert_array_equal(result.case(f"{name}:{path}", figure), result.case(f"old:{path}", figure))


@pytest.mark.parametrize("rename_too", [False, True])
def test_a_matrix_in_neither_order_is_encoding(shop, tmp_path, rename_too):
    copy = shop.copy(MODEL, "q4k", tmp_path / "v")
    rewrite_down(copy, [2], shifted)
    if rename_too:
        rename(copy)
    job = shop.job(shop.model(MODEL), {"v": copy})
    printed, result = audit(job, expect=1)
    assert result.case("v:interleaved_q4k", "verdict") == "ENCODING"
    assert "layer 2, down" in result.case("v:interleaved_q4k", "fail_reasons")
    assert "down, layer 2: Q6_K, order undecided, since neither fits the model: read in that since August 2026" in printed
    assert f"down, layers 0-1, 3: {BEFORE}" in printed


def test_q4_0_of_either_order_gives_the_same_figures(shop, tmp_path):
    """Its kernel has integers of its own, and its down lies by features."""
    folder = tmp_path
    harness.run(["extract", shop.model(MODEL), folder / "a", "--format", "q4_0", "--compat", "larql", "--force"])
    harness.run(["extract", shop.model(MODEL), folder / "b", "--format", "q4_0", "--compat", "larql", "--force"])
    raw = np.memmap(folder / "b" / "interleaved_q4.bin", np.uint8, "r+")
    raw[:] = reordered_q4_0(np.array(raw))
    raw.flush()
    job = shop.job(shop.model(MODEL), {"a": folder / "a", "b": folder / "b"}, paths=[{"path": "interleaved_q4"}])
    printed, result = audit(job)
    for figure in FIGURES:
        np.testing.assert_array_equal(result.case("b:interleaved_q4", figure), result.case("a:interleaved_q4", figure))
    for projection in ("gate", "up", "down"):
        assert f"a: interleaved_q4.bin, {projection}: Q4_0, order of before August 2026" in printed
        assert f"b: interleaved_q4.bin, {projection}: Q4_0, order since August 2026" in printed


@pytest.mark.parametrize("others, cases", [
    ("f32", "case full_mmap"), ("interleaved", "case interleaved"), ("interleaved-and-features", "cases interleaved and full_mmap"), (None, None)])
def test_inspect_says_where_larqls_own_audit_measures_another_kernel(shop, tmp_path, others, cases):
    """larql-2026-08.md 2.5; test_native_audits.py has its figures."""
    copy = shop.copy(MODEL, "q4k", tmp_path / "v")
    for file in shop.vindex(MODEL, others).iterdir() if others else []:
        if file.name.startswith(("interleaved", "up_features", "down_features")):
            shutil.copyfile(file, copy / file.name)
    shown = harness.run(["inspect", copy]).stdout
    said = "LARQL's own audit of August measures interleaved_kquant:native in its "
    assert (f"  {said}{cases} here, since it does not hide interleaved_q4k.bin\n" in shown) == (said in shown) == (others is not None)
    assert "\nformat        VINDEX2, as LARQL's states of May to August 2026 write it\n" in shown


def test_inspect_tells_what_the_bytes_tell(shop, tmp_path):
    shown = harness.run(["inspect", shop.vindex(MODEL, "q4k")]).stdout
    assert ("interleaved_q4k.bin, down: Q6_K, order of before August 2026, by the bytes: LARQL since then reads this as noise"
            in shown)
    copy = shop.copy(MODEL, "q4k", tmp_path / "v")
    rewrite_down(copy, range(4), reordered_q6_k)
    assert "interleaved_q4k.bin, down: Q6_K, order since August 2026, by the bytes" in harness.run(["inspect", copy]).stdout
