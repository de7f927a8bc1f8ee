"""The kernel check: what it looks at, and that it looks at every case it can judge."""
import numpy as np
import pytest

import harness

WIDE = 100000  # above any FFN width of the golden models


@pytest.mark.parametrize("variant, path", [("q4k", "sparse_serial"), ("q4k", "sparse_parallel"), ("f16", "sparse_serial"),
                                           ("f16", "weights_fallback")])
def test_a_k_above_the_width_means_all_features(shop, variant, path):
    """It once wrote hit lists of k entries into room for as many as there are features."""
    paths = [{"path": path, "k": WIDE}, {"path": path}]
    job = shop.job(shop.model("tiny-qwen3"), {"v": shop.vindex("tiny-qwen3", variant)}, paths=paths)
    done = job.run()
    result = harness.Result(job.result_path)
    wide, whole = f"v:{path}:k{WIDE}", f"v:{path}"
    layers = result["rel_l2"].shape[1]
    assert result.cases == [wide, whole]
    for figure in ("rel_l2", "eta", "drift", "kl", "top1_id"):
        assert np.array_equal(result.case(wide, figure), result.case(whole, figure), equal_nan=True), figure
    assert np.nanmax(result.case(wide, "kernel_rel_l2")) <= 1e-5
    assert result["case_k"].tolist() == [WIDE, -1] and result["case_k_all_layers"].tolist() == [layers, 0]
    assert f"note: {wide}: k = {WIDE} takes all features of {layers} of {layers} layers" in done.stdout
    assert f"note: {whole}: " not in done.stdout
