"""The reference itself: does the dense model know the prompts' text, and does it agree with another implementation?

tests/golden/reference/NAME.h5: float64 dense goldens with logits at every position, independent of this program.
"""
import json

import h5py
import numpy as np
import pytest

import harness
from harness import Result, assert_equal_bits, corpus

DUMPS = harness.GOLDEN / "reference"


def surprise(name, semantics="native"):
    """{prompt: (sum of -ln p of its own next tokens, their number)} by float64."""
    out = {}
    with h5py.File(DUMPS / f"{name}.h5") as file:
        for prompt, group in file[semantics].items():
            logits, ids = group["logits"][()], group["token_id"][()]
            norm = np.log(np.sum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)) + logits.max(axis=1)
            out[prompt] = (float(np.sum(norm[:-1] - logits[np.arange(len(ids) - 1), ids[1:]])), len(ids) - 1)
    return out


def f32(shop, name):
    vindex = shop.root / f"{name}.f32"
    if not vindex.exists():
        harness.run(["extract", shop.model(name), vindex, "--format", "f32"])
    return vindex


@pytest.mark.parametrize("name, semantics", [("gemma2", "native"), ("gpt2", "native"), ("qwen2", "native"),
                                             ("tiny-gemma3", "native"), ("tiny-gemma3", "larql")])
@pytest.mark.parametrize("logits", ["last", "all"])
def test_perplexity_agrees_with_float64(shop, name, semantics, logits):
    job = shop.job(shop.model(name), {"f32": f32(shop, name)}, semantics=semantics, logits=logits)
    done = job.run()
    result, truth = Result(job.result_path), surprise(name, semantics)
    for at, prompt in enumerate(result.prompts):
        assert result["ref_nll_positions"][at] == truth[prompt][1]
        assert abs(result["ref_nll"][at] - truth[prompt][0]) <= 1e-5 * truth[prompt][1]
    total, count = (sum(values) for values in zip(*truth.values()))
    with h5py.File(job.result_path) as file:
        assert abs(file.attrs["reference_perplexity"] / np.exp(total / count) - 1) <= 1e-5
        assert file.attrs["reference_perplexity_positions"] == count
        shown, warning = file.attrs["reference_perplexity"].item(), file.attrs["reference_warning"]
    assert f"\ndense perplexity: {shown:.2f} on {count} of the prompts' own tokens\n" in done.stdout
    assert (warning != "") == (shown > 1000) == ("\nwarning: dense perplexity " in done.stdout)


def test_perplexity_has_the_same_bits_on_any_grid(shop):
    """Also where positions are sampled: more than 1,024 observations."""
    prompts = corpus(shop.root / "long.jsonl", 240)
    keys = {"prompts": prompts, "kernel_check": 0, "encoding_check": "none", "batch": {"rows": 64}}
    jobs = [shop.job(shop.model("tiny-gemma3"), {"f32": f32(shop, "tiny-gemma3")},
                     only={"f32": [{"path": "sparse"}, {"path": "full_mmap"}]}, grid=grid, **keys)
            for grid in ({"stages": 1, "teams": 1}, {"stages": 2, "teams": 2})]
    jobs[0].run(), jobs[1].run(ranks=4)
    assert_equal_bits(*jobs)
    result = Result(jobs[0].result_path)
    rows, measured = result["prompt_rows"], result["ref_nll_positions"]
    assert rows.sum() > 1400 and (measured >= 0).all() and (measured < rows).all()
    early = np.cumsum(rows) <= 1024
    assert (measured[early] == rows[early] - 1).all()
    assert 0 < measured[~early].sum() < 0.3 * rows[~early].sum()


def test_a_model_that_does_not_know_its_text_is_warned_of(shop):
    """The last norm times 30: sure of what is wrong. The warning is in the table, the result and what `verdict` prints."""
    model = shop.root / "sure"
    if not model.exists():
        harness.shutil.copytree(shop.model("tiny-qwen3"), model)
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    start, stop = json.loads(data[8:8 + size])["model.norm.weight"]["data_offsets"]
    norm = np.frombuffer(data, "<f4", (stop - start) // 4, 8 + size + start)
    data[8 + size + start:8 + size + stop] = (norm * np.float32(30)).tobytes()
    path.write_bytes(data)
    vindex = shop.root / "sure.f32"
    harness.run(["extract", model, vindex, "--format", "f32"])
    job = shop.job(model, {"f32": vindex})
    done = job.run()
    assert "\nwarning: dense perplexity " in done.stdout
    assert "\nwarning: dense perplexity " in harness.run(["verdict", job.result_path]).stdout
    with h5py.File(job.result_path) as file:
        assert file.attrs["reference_perplexity"] > 1000
        assert file.attrs["reference_warning"].startswith("dense perplexity ")
