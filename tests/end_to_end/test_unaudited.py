"""Nothing unaudited passes: a verdict says when nobody looked at a kernel or at stored rows."""
import pytest

import harness

MODEL = "tiny-gemma3"


def audit(shop, vindexes, only, expect=0, **keys):
    """A job that has run, and its result."""
    job = shop.job(shop.model(MODEL), vindexes, only, **keys)
    job.printed = job.run(expect=expect).stdout
    return job, harness.Result(job.result_path)


@pytest.mark.parametrize("keys, said", [
    ({"kernel_check": 0, "encoding_check": "none"}, ("met no oracle", "not compared with the model's: layer 0, ")),
    ({"kernel_check": 0}, ("met no oracle",)),
    ({"encoding_check": "none"}, ("not compared with the model's: layer 0, ",)),
])
def test_a_check_that_is_off_leaves_no_pass(shop, keys, said):
    vindexes = {"f": shop.vindex(MODEL, "f32"), "q": shop.vindex(MODEL, "q4k")}
    job, result = audit(shop, vindexes, {"f": [{"path": "full_mmap"}], "q": [{"path": "sparse"}]}, **keys)
    assert result.verdicts() == {"f:full_mmap": "UNCHECKED", "q:sparse": "UNCHECKED"}
    for case in result.cases:
        lines = result.case(case, "fail_reasons").splitlines()
        assert len(lines) == len(said) and all(words in line for words, line in zip(said, lines)), lines
    assert "2 cases: 0 pass, 0 measured (no bound for their bucket), 2 unchecked, 0 fail; exit code 0" in job.printed
    assert "UNCHECKED" in harness.run(["verdict", job.result_path]).stdout
    assert "UNCHECKED" in harness.run(["status", job.result_path]).stdout


def test_both_checks_say_pass_and_measured(shop):
    vindexes = {"f": shop.vindex(MODEL, "f32"), "q": shop.vindex(MODEL, "q4k")}
    only = {"f": [{"path": "full_mmap"}], "q": [{"path": "sparse"}]}
    for checked in (1, 8):
        assert audit(shop, vindexes, only, kernel_check=checked)[1].verdicts() == {"f:full_mmap": "PASS", "q:sparse": "MEASURED"}


def test_a_failure_outranks_what_was_not_checked(shop, tmp_path):
    bounds = tmp_path / "bounds.yaml"
    bounds.write_text("quantized: {rel_l2: 1.0e-6}\n")
    job = shop.job(shop.model(MODEL), {"q": shop.vindex(MODEL, "q4k")}, {"q": [{"path": "sparse"}]},
                   kernel_check=0, bounds=str(bounds))
    result = job.result(expect=1)
    assert result.verdicts() == {"q:sparse": "BOUND"}
