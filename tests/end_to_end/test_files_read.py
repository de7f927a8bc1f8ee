"""A case reads the files it names and no other: spoil all the others, and not a bit of it changes.

The vindex holds every payload at once; every file is spoilt with bytes that are legal numbers of its format.
"""
import numpy as np
import pytest

import harness

MODEL = "tiny-qwen3"
FP4 = {"up_features_fp4.bin", "down_features_fp8.bin"}
Q4K = {"interleaved_q4k.bin"}
FEATURES = set(harness.FEATURES)
GATE = {"gate_vectors.bin"}
EVERY = GATE | FEATURES | FP4 | Q4K | {"interleaved.bin", "interleaved_q4.bin", "down_features_q4k.bin"}
READS = {"sparse": GATE | FEATURES, "sparse_serial": GATE | FEATURES, "sparse_parallel": GATE | Q4K, "fp4_storage": GATE | FP4,
         "interleaved_q4": {"interleaved_q4.bin"}, "interleaved": {"interleaved.bin"}, "full_mmap": GATE | FEATURES,
         "interleaved_q4k": Q4K, "exact": {"down_features.bin"}, "weights_fallback": GATE}


def everything(shop, folder):
    """An FP4 vindex with every other payload put beside."""
    shop.copy(MODEL, "fp4b", folder)
    for variant in ("f32", "interleaved", "q4_0", "q4k-from-f32"):
        for file in shop.vindex(MODEL, variant).iterdir():
            if not (folder / file.name).exists():
                (folder / file.name).write_bytes(file.read_bytes())
    assert all((folder / file).exists() for file in EVERY)
    return folder


def spoil(path):
    """0x3c everywhere: 0.0115 as f32, and finite scales in each block format."""
    path.write_bytes(bytes([0x3C]) * path.stat().st_size)


@pytest.fixture(scope="module")
def audited(shop):
    folders = {"whole": everything(shop, shop.root / "whole")}
    only = {"whole": [request(path) for path in READS]}
    for path, reads in READS.items():
        folders[f"for_{path}"] = everything(shop, shop.root / path)
        only[f"for_{path}"] = [request(path)]
        for file in EVERY - reads:
            spoil(folders[f"for_{path}"] / file)
    return shop.job(shop.model(MODEL), folders, only, encoding_check="none").result()


def request(path):
    return {"path": path, "name": path, **({"k": 100} if path == "weights_fallback" else {})}


@pytest.mark.parametrize("path", list(READS))
def test_no_other_file_is_read(audited, path):
    for field in ("rel_l2", "one_minus_cos", "max_abs", "drift", "kernel_rel_l2", "kl", "top1_prob"):
        spoilt, whole = (audited.case(f"{v}:{path}", field) for v in (f"for_{path}", "whole"))
        assert np.array_equal(spoilt, whole, equal_nan=True), field
    assert audited.case(f"for_{path}:{path}", "case_bucket") == audited.case(f"whole:{path}", "case_bucket")


def test_spoiling_would_be_seen(shop, audited):
    """Each file that a path names does decide its numbers."""
    folders, only = {}, {}
    for path, reads in READS.items():
        for file in sorted(reads):
            name = f"{path}_{file.split('.')[0]}"
            folders[name] = everything(shop, shop.root / name)
            spoil(folders[name] / file)
            only[name] = [request(path)]
    result = shop.job(shop.model(MODEL), folders, only, encoding_check="none", kernel_check=0).result(expect=1)
    for case in result.cases:
        path = case.split(":", 1)[1]
        assert not np.array_equal(result.case(case, "rel_l2"), audited.case(f"whole:{path}", "rel_l2")), case
