"""What a rank is about to read it asks for: the bytes of its own layers, all of them, and no others."""
import collections
import json
import os
import pathlib
import shutil

import pytest

import harness
from harness import corpus

LAYERS = 4
PAGE = os.sysconf("SC_PAGESIZE")


def wishes(job, tmp_path, ranks, *words):
    """For each process {file name: sorted [(start, end)]} of the bytes it asked for."""
    shim = pathlib.Path(os.environ["WALKAUDIT_KERNELS"]) / "wish_log.so"
    job.run(ranks=ranks, words=("--fresh", *words), LD_PRELOAD=str(shim), WALKAUDIT_TEST_WISHES=str(tmp_path / "wishes"))
    found = []
    for log in sorted(tmp_path.glob("wishes.*")):
        asked = collections.defaultdict(list)
        for line in log.read_text().splitlines():
            path, start, size = line.rsplit(" ", 2)
            asked[pathlib.Path(path).name].append((int(start), int(start) + int(size)))
        found.append({name: sorted(spans) for name, spans in asked.items()})
    return found


def covers(spans, start, end):
    """Do the spans hold every byte of [start, end)?"""
    for first, last in spans:
        if first <= start < last:
            start = last
    return start >= end


@pytest.fixture(scope="module")
def job(shop):
    return shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=[{"path": "sparse"}],
                    batch={"rows": 8}, prompts=corpus(shop.root / "ahead.jsonl", 9))


@pytest.fixture(scope="module")
def payloads(shop):
    """Bytes of the files that the case reads; each holds as many of every layer."""
    folder = shop.vindex("tiny-gemma3", "f16")
    return {name: (folder / name).stat().st_size for name in ("gate_vectors.bin", "up_features.bin", "down_features.bin")}


def test_every_byte_of_the_payloads_that_a_case_reads_is_asked_for(job, payloads, tmp_path):
    (asked,) = wishes(job, tmp_path, None)
    for name, size in payloads.items():
        assert covers(asked[name], 0, size), (name, size, asked[name])
    assert not [name for name in asked if name.endswith(".bin") and name not in payloads], sorted(asked)
    (weights,) = [name for name in asked if name.endswith((".gguf", ".safetensors"))]
    assert sum(end - start for start, end in asked[weights]) > payloads["gate_vectors.bin"]


def test_a_stage_asks_for_its_own_layers_alone(job, payloads, tmp_path):
    ranks = wishes(job, tmp_path, 2, "--set", "grid.stages=2")
    for name, size in payloads.items():
        assert size % LAYERS == 0
        spans = sorted(span for rank in ranks for span in rank[name])
        assert covers(spans, 0, size)
        firsts = sorted((min(rank[name])[0], max(end for _, end in rank[name])) for rank in ranks)
        (start, middle), (resumed, end) = firsts
        assert start == 0 and end >= size
        border = [layers * size // LAYERS for layers in range(1, LAYERS)]
        assert any(at <= middle < at + PAGE and at - PAGE < resumed <= at for at in border), (name, firsts)


@pytest.mark.parametrize("ranks", [None, 3])
def test_all_matrices_of_another_checkpoint_are_asked_for_by_who_compares_them(shop, tmp_path, ranks):
    """Also where the streams that read its attention are another rank's."""
    other = tmp_path / "other"
    shutil.copytree(shop.model("tiny-llama"), other)
    (other / "model.safetensors").rename(other / "other.safetensors")
    prompts = tmp_path / "ahead.jsonl"
    prompts.write_text("".join(json.dumps({"key": f"p{i}", "ids": [5, 6, 7]}) + "\n" for i in range(9)))
    job = shop.job(shop.model("tiny-llama"), {}, batch={"rows": 8}, prompts={"file": str(prompts)})
    text = json.loads(job.path.read_text())
    text["audits"][0]["vindexes"] = [{"name": "other", "checkpoint": str(other), "scope": "model"}]
    job.path.write_text(json.dumps(text))
    data = (other / "other.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    asked = wishes(job, tmp_path, ranks, *(["--set", "grid.teams=3"] if ranks else []))
    matrices = {name: (8 + size + at["data_offsets"][0], 8 + size + at["data_offsets"][1])
                for name, at in json.loads(data[8:8 + size]).items() if len(at.get("shape", [])) == 2}
    assert any(all(covers(rank["other.safetensors"], *span) for span in matrices.values()) for rank in asked if "other.safetensors" in rank)
