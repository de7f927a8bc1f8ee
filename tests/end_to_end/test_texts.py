"""The key `texts`: a result that can be passed on holds no text of prompts and tokens, in any file and any line."""
import json

import numpy as np

import harness

MODEL = "tiny-gemma3"
WORDS = ("Zanzibar", "platypus")


def prompts(folder):
    """Two prompts, whose words no file of the program has."""
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"key": f"p{i}", "text": f"The {word} is in the"}) + "\n" for i, word in enumerate(WORDS)))
    return {"file": str(path)}


def holding(job, done, words):
    """What holds any of `words`: files of the result's directory, and the lines printed."""
    files = {str(p.relative_to(job.folder)): p.read_bytes() for p in (job.folder / "results").rglob("*") if p.is_file()}
    places = {**files, "stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    return sorted(name for name, data in places.items() if any(word.encode() in data for word in words))


def test_without_texts_no_file_and_no_line_has_them_and_the_figures_are_the_same(shop, tmp_path):
    audits = shop.model(MODEL), {"v": shop.vindex(MODEL, "f16")}
    open_job = shop.job(*audits, prompts=prompts(tmp_path), logits="all")
    told = open_job.run(ranks=2)
    assert holding(open_job, told, WORDS) == ["results/job-audit.h5"]
    private = shop.job(*audits, prompts=prompts(tmp_path), logits="all", texts="none")
    done = private.run(ranks=2)
    assert holding(private, done, WORDS) == []
    a, b = harness.Result(open_job.result_path), harness.Result(private.result_path)
    differ = {name for name in a.data if name in b.data and not np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f")}
    differ -= {"seconds"}
    assert differ == {"prompt_text", "token_text", "ref_top1_text", "ref_topk_text", "top1_text", "topk_text"}
    assert list(b["token_text"]) == [f"#{i}" for i in b["token_id"]]
    assert list(b["ref_top1_text"]) == [f"#{i}" for i in b["ref_top1_id"]] and set(b["prompt_text"]) == {""}
    assert "'#" in done.stdout


def test_a_finished_result_with_texts_is_not_taken_for_one_without(shop, tmp_path):
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f16")}, prompts=prompts(tmp_path))
    job.run()
    line = harness.one_error_line(job.run(sets=["texts=none"], expect=3))
    assert "'settings' differs" in line and "texts none" in line, line


def test_a_token_that_the_tokenizer_does_not_have_is_named_by_its_number(shop, tmp_path):
    """tiny-llama has 416 rows of logits and a tokenizer of 409 tokens, as published models have that are padded."""
    path = tmp_path / "ids.jsonl"
    path.write_text(json.dumps({"key": "padded", "ids": [3, 409, 415]}) + "\n")
    job = shop.job(shop.model("tiny-llama"), {"v": shop.vindex("tiny-llama", "f32")}, prompts={"file": str(path)}, topk=128)
    result = job.result()
    assert list(result["token_text"])[1:] == ["#409", "#415"] and not result["token_text"][0].startswith("#")
    for ids, texts in (("ref_topk_id", "ref_topk_text"), ("topk_id", "topk_text")):
        unnamed = result[ids] >= 409
        assert unnamed.any() and (result[texts] != "").all()
        assert list(result[texts][unnamed]) == [f"#{i}" for i in result[ids][unnamed]]
