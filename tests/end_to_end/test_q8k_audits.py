"""Path q8k: K-quant rows by integer dots with activations in Q8_K, as LARQL's server answers such requests. What that server answered
is held against the same kernel in unit/test_answers.c."""
import sys

import numpy as np
import pytest

import harness

sys.path.insert(0, str(harness.GOLDEN.parent / "support"))
from ffn_server import FfnServer  # noqa: E402

PATHS = [{"path": "q8k"}, {"path": "interleaved_kquant_dequant"}]
MODELS = ["tiny-gemma3", "tiny-llama", "tiny-qwen3"]


def job(shop, model, *variants, **keys):
    return shop.job(shop.model(model), {v: shop.vindex(model, v) for v in variants}, **{"paths": PATHS, **keys})


@pytest.mark.parametrize("model", MODELS)
def test_a_healthy_vindex_is_measured_a_little_farther_than_decoded(shop, model):
    """Rounding x and activations to 8 bits adds to the error of 4-bit weights in quadrature: a few percent of it."""
    result = job(shop, model, "q4k", "q4k-down4", kernel_check="all").result()
    assert set(result["verdict"]) == {"MEASURED"}, list(result["fail_reasons"])
    for variant in ("q4k", "q4k-down4"):
        ours, decoded = f"{variant}:q8k", f"{variant}:interleaved_kquant_dequant"
        assert set(result.case(ours, "label").ravel()) == set(result.case(ours, "expected_label")) == {"interleaved_kquant:q8k"}
        assert result.case(ours, "case_bucket") == "quantized"
        for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
            assert 0 < np.max(result.case(ours, field)) < 3e-6  # at every position: ties of the rounding included
        share = np.median(result.case(ours, "rel_l2") / result.case(decoded, "rel_l2"))
        assert 1 < share < 1.05
        assert not np.array_equal(result.case(ours, "rel_l2"), result.case(decoded, "rel_l2"))


def test_its_bits_are_the_same_on_any_ranks_and_batches(shop, tmp_path):
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8}}
    alone = job(shop, "tiny-gemma3", "q4k-down4", **keys)
    alone.run()
    for ranks, changed in ((2, {"grid": {"stages": 2}}), (3, {}), (4, {"grid": {"stages": 2, "teams": 2}}), (1, {"batch": {"rows": 64}})):
        other = job(shop, "tiny-gemma3", "q4k-down4", **{**keys, **changed})
        other.run(ranks=ranks)
        harness.assert_equal_bits(alone, other)


def test_a_wrong_stored_row_is_encoding(shop, tmp_path):
    folder = shop.copy("tiny-llama", "q4k", tmp_path / "damaged")
    stored = np.memmap(folder / "interleaved_q4k.bin", np.uint8, "r+")
    stored[144 * 7 + 20:144 * 8] ^= 0xff  # nibbles of gate row 7, layer 0
    stored.flush()
    result = shop.job(shop.model("tiny-llama"), {"v": folder}, paths=PATHS[:1]).result(expect=1)
    assert result.verdicts() == {"v:q8k": "ENCODING"}
    assert "layer 0, gate, row 7" in result.case("v:q8k", "fail_reasons")


def test_hidden_sizes_that_are_no_whole_blocks_are_declined(shop):
    one = shop.job(shop.model("tiny-odd"), {"v": shop.vindex("tiny-odd", "q4k")}, {"v": PATHS[:1]})
    assert "the Q8_K kernel takes rows of whole blocks of 256, not of 320" in harness.one_error_line(one.run(expect=2))


def test_a_server_that_is_like_it_is_held_within_f32(shop):
    """This server multiplies what arrives with f32 weights: no K-quants, so it fails, by the tolerance of f32 and not of the wire."""
    paths = [{"path": "served", "name": "live", "wire": "q8k", "like": "q8k"}]
    with FfnServer(shop.vindex("tiny-gemma3", "f32"), 4, 512, 256, "gelu_tanh") as server:
        paths[0]["url"] = server.url
        result = job(shop, "tiny-gemma3", "q4k", paths=paths).result(expect=1)
        loose = job(shop, "tiny-gemma3", "q4k", paths=[{**paths[0], "like": "interleaved_q4k"}]).result(expect=None)
    assert result.verdicts() == {"q4k:live": "KERNEL"}
    assert result.case("q4k:live", "case_kernel_tolerance") == 1e-5
    assert loose.case("q4k:live", "case_kernel_tolerance") == 3e-2
