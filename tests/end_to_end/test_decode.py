"""`rows: decode`: a kernel one position at a time beside the whole batch.

The model is tiny-gemma3; the kernels beside ours are jobs/external's example and one that treats a single row otherwise.
"""
import numpy as np
import pytest

import harness
from test_external_process import EXAMPLE, FAULTS, MODEL, sys


def job(shop, *paths, **keys):
    return shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=list(paths), **keys)


def test_a_kernel_of_ours_differs_by_rounding_at_most(shop):
    made = job(shop, {"path": "full_mmap", "rows": "decode"}, {"path": "exact"}, {"path": "sparse_serial", "rows": "decode"})
    done = made.run()
    result = harness.Result(made.result_path)
    for name in ("v:full_mmap", "v:sparse_serial"):
        apart = result.case(name, "decode_rel_l2")
        assert apart.shape == (4, 3) and np.all(apart < 2e-6), apart
        assert f"\n{name}: one position at a time: " in done.stdout
    assert np.all(np.isnan(result.case("v:exact", "decode_rel_l2")))
    assert "v:exact: one position at a time" not in done.stdout
    for way in ("repeat", "order", "alone", "alike"):
        assert np.all(np.isnan(result[f"{way}_rel_l2"]))


def test_a_kernel_that_is_wrong_for_one_row_is_seen(shop):
    """At layer 1 its single rows are 1.5 times what they are in company."""
    command = f"{sys.executable} {FAULTS} {EXAMPLE} lonely"
    made = job(shop, {"path": "external", "command": command, "name": "mine", "like": "full_mmap", "rows": "decode"})
    done = made.run()
    apart = harness.Result(made.result_path).case("v:mine", "decode_rel_l2")
    assert np.all(apart[[0, 2, 3]] == 0) and np.allclose(apart[1], 0.5, rtol=1e-5), apart
    assert "v:mine: one position at a time: differs by at most 5.00e-01, at L1 " in done.stdout
    assert "(3 of 12 differ)" in done.stdout


def test_its_figures_are_the_same_bits_on_any_ranks(shop, tmp_path):
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8}}
    paths = [{"path": "full_mmap", "rows": "decode"}, {"path": "sparse", "rows": "decode"}]
    alone = job(shop, *paths, **keys)
    alone.run()
    other = job(shop, *paths, grid={"stages": 2, "teams": 2}, **keys)
    other.run(ranks=4)
    harness.assert_equal_bits(alone, other)


@pytest.mark.parametrize("word", ["row", "Decode"])
def test_another_word_is_refused(shop, word):
    refused = job(shop, {"path": "exact", "rows": word})
    assert "expected 'batch' or 'decode'" in harness.one_error_line(refused.run(expect=2))
