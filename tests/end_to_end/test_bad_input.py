"""Bad input: exit 2 (usage, job) or 3 (data), one line on stderr, nothing half-written, no hang; on any number of ranks."""
import hashlib
import json
import shutil
import struct

import pytest

import harness

MODEL = "qwen2"  # the smallest: no BOS, so an empty text is no token
RANKS = pytest.mark.parametrize("ranks", [None, 3])
ALONE = None  # most run without mpirun; a few of each kind on three ranks too


def some_on_ranks(names, few):
    """Parameters (what, ranks)."""
    return [(name, ALONE) for name in names] + [(name, 3) for name in few]


def fails(job, ranks, code, *words, **options):
    """The command fails with one line that holds the words, and leaves nothing."""
    line = harness.one_error_line(job.run(ranks=ranks, expect=code, limit=30, **options))
    for word in words:
        assert word in line, line
    assert len(line) < 1000
    harness.nothing_half_written(job)


# --- Job files ------------------------------------------------------------------------------------------------------

GOOD = """
audits:
  - name: audit
    model: MODEL
    vindexes:
      - {name: v, path: VINDEX}
result: results
name: job
"""
JOBS = {
    "unknown key": (GOOD + "colour: red\n", ["colour"]),
    "repeated key": (GOOD + "name: other\n", ["name"]),
    "wrong type": (GOOD + "threads: many\n", ["threads"]),
    "out of range": (GOOD + "batch: {rows: 0}\n", ["rows"]),
    "huge number": (GOOD + "batch: {rows: 99999999999999999999}\n", ["rows"]),
    "empty": ("", ["job.yaml"]),
    "only a comment": ("# nothing\n", ["job.yaml"]),
    "two documents": (GOOD + "---\n" + GOOD, ["job.yaml"]),
    "no YAML": ("audits: [\n", ["job.yaml"]),
    "a list": ("- a\n- b\n", ["job.yaml"]),
    "alias": (GOOD.replace("name: job", "name: &a job") + "semantics: *a\n", ["job.yaml"]),
    "no audits": ("name: job\n", ["audits"]),
    "no vindexes": ("audits: [{model: MODEL}]\n", ["vindexes"]),
    "unknown path": (GOOD + "paths: [{path: fastest}]\n", ["fastest"]),
    "unknown semantics": (GOOD + "semantics: mine\n", ["mine"]),
    "unknown built-in prompts": (GOOD + "prompts: {builtin: many}\n", ["many"]),
    "both kinds of prompts": (GOOD + "prompts: {builtin: seed, file: a.jsonl}\n", ["prompts"]),
    "k of 0": (GOOD + "paths: [{path: sparse_serial, k: 0}]\n", ["k"]),
    "k where there is none": (GOOD + "paths: [{path: full_mmap, k: 3}]\n", ["k"]),
    "two vindexes of one name": (GOOD.replace("      - {", "      - {name: v, path: VINDEX}\n      - {"), ["v"]),
    "a path that runs nowhere": (GOOD + "paths: [{path: interleaved}]\n", ["interleaved"]),
    "bounds that contradict themselves": (GOOD + "bounds: bounds.yaml\n", ["bounds", "contradicts"]),
    "an unprintable byte": (GOOD + "name: \"a\\x01\"\n", ["job.yaml"]),
}


@pytest.mark.parametrize("what, ranks", some_on_ranks(JOBS, ["unknown key", "empty", "a path that runs nowhere"]))
def test_a_wrong_job_file(shop, what, ranks):
    text, words = JOBS[what]
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")})
    job.path.write_text(text.replace("MODEL", str(shop.model(MODEL))).replace("VINDEX", str(shop.vindex(MODEL, "f32"))))
    (job.folder / "bounds.yaml").write_text("exact: {cos: 0.99, rel_l2: 1.0e-6}\n")
    fails(job, ranks, 2, *words)


@pytest.mark.parametrize("setting, word, ranks", [("colour=red", "colour", ALONE), ("batch.rows=none", "rows", ALONE),
                                                  ("batch.rows", "batch.rows", ALONE), ("threads=-1", "threads", 3)])
def test_a_wrong_setting(shop, setting, word, ranks):
    fails(shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}), ranks, 2, word, sets=(setting,))


@pytest.mark.parametrize("words", [["walk"], ["run"], ["run", "--colour", "x"], ["extract", "a"], ["verdict"], ["plan"], []])
def test_a_wrong_command_line(words):
    done = harness.run(words, expect=2)
    assert done.stderr.strip() and not done.stdout.strip()


def test_a_grid_that_does_not_fit(shop):
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, grid={"stages": 5, "teams": 1})
    done = job.run(ranks=2, expect=None, limit=30)
    assert done.returncode in (2, 3)
    harness.one_error_line(done)
    harness.nothing_half_written(job)


# --- Prompts --------------------------------------------------------------------------------------------------------

CORPORA = {
    "a text of no tokens": ('{"key": "a", "text": ""}\n', 3),
    "no ids": ('{"key": "a", "ids": []}\n', 3),
    "an id beyond the vocabulary": ('{"key": "a", "ids": [1, 409]}\n', 3),
    "an id far beyond": ('{"key": "a", "ids": [99999999999]}\n', 3),
    "a negative id": ('{"key": "a", "ids": [-1]}\n', 3),
    "an id that is no integer": ('{"key": "a", "ids": [1.5]}\n', 3),
    "a repeated key": ('{"key": "a", "text": "x"}\n{"key": "a", "text": "y"}\n', 3),
    "neither text nor ids": ('{"key": "a"}\n', 3),
    "text and ids": ('{"key": "a", "text": "x", "ids": [1]}\n', 3),
    "a line that is no JSON": ('{"key": "a", "text": "x"}\n{"key": \n', 3),
    "an unknown key": ('{"key": "a", "text": "x", "colour": 1}\n', 3),
    "nothing": ("", 3),
    "bytes that are no UTF-8": (b'{"key": "a", "text": "\xff"}\n', 3),
}


@pytest.mark.parametrize("what, ranks", some_on_ranks(CORPORA, ["a text of no tokens", "an id beyond the vocabulary", "nothing"]))
def test_a_wrong_corpus(shop, what, ranks):
    text, code = CORPORA[what]
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, prompts={"file": "corpus.jsonl"})
    (job.folder / "corpus.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    fails(job, ranks, code)


# --- Models ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(shop, tmp_path):
    """A private copy of the model, to be damaged."""
    return shutil.copytree(shop.model(MODEL), tmp_path / "model")


def header_of(path):
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def write_header(path, header, body):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def cut(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def long_header(model):
    path = model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 10 ** 12) + path.read_bytes()[8:])


def overlap(model):
    header, body = header_of(model / "model.safetensors")
    names = sorted(n for n in header if n.endswith("mlp.up_proj.weight"))
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]
    write_header(model / "model.safetensors", header, body)


def lose_tensor(model):
    header, body = header_of(model / "model.safetensors")
    del header["model.layers.1.mlp.up_proj.weight"]
    write_header(model / "model.safetensors", header, body)


def wrong_shape(model):
    header, body = header_of(model / "model.safetensors")
    header["model.layers.1.mlp.up_proj.weight"]["shape"].reverse()
    write_header(model / "model.safetensors", header, body)


def config(**changes):
    def change(model):
        path = model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def no_json(model):
    (model / "config.json").write_text('{"model_type": ')


def no_tokenizer(model):
    (model / "tokenizer.json").unlink()


def broken_tokenizer(model):
    (model / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')


def no_weights(model):
    (model / "model.safetensors").unlink()


def nothing(model):
    shutil.rmtree(model)


DAMAGES = {
    "cut": (cut, "model.safetensors"), "long header": (long_header, "model.safetensors"), "overlap": (overlap, "up_proj"),
    "lost tensor": (lose_tensor, "up_proj"), "wrong shape": (wrong_shape, "up_proj"),
    "unknown family": (config(model_type="mystery"), "mystery"), "heads": (config(num_key_value_heads=3), "config.json"),
    "huge width": (config(hidden_size=2 ** 62), "4611686018427387904"), "many layers": (config(num_hidden_layers=10 ** 9), "layers"),
    "activation": (config(hidden_act="laplace"), "laplace"), "no JSON": (no_json, "config.json"),
    "no tokenizer": (no_tokenizer, "tokenizer"), "broken tokenizer": (broken_tokenizer, "tokenizer.json"),
    "no weights": (no_weights, "model"), "nothing": (nothing, "model"),
}


@pytest.mark.parametrize("what, ranks", some_on_ranks(DAMAGES, ["cut", "lost tensor", "broken tokenizer", "nothing"]))
def test_a_damaged_model(shop, model, what, ranks):
    damage, word = DAMAGES[what]
    damage(model)
    fails(shop.job(model, {"v": shop.vindex(MODEL, "f32")}), ranks, 3, word)


@pytest.mark.parametrize("name", ["truncated", "truncated-header", "magic", "version", "huge-count", "offset", "offset-unaligned",
                                  "block-rows", "unknown-type", "alignment"])
def test_a_hostile_gguf(shop, name):
    path = harness.GOLDEN / "malformed" / "gguf" / f"{name}.gguf"
    fails(shop.job(path, {"v": shop.vindex(MODEL, "f32")}), None, 3, f"{name}.gguf")


@RANKS
def test_a_cut_gguf(shop, tmp_path, ranks):
    path = tmp_path / "cut.gguf"
    path.write_bytes((harness.GOLDEN / "gguf" / "qwen2-v2.gguf").read_bytes()[:-1000])
    fails(shop.job(path, {"v": shop.vindex(MODEL, "f32")}), ranks, 3, "cut.gguf")


# --- Vindexes -------------------------------------------------------------------------------------------------------


@RANKS
def test_a_vindex_that_is_not_there(shop, ranks):
    fails(shop.job(shop.model(MODEL), {"v": shop.root / "nowhere"}), ranks, 3, "nowhere")


@RANKS
def test_a_vindex_of_another_model(shop, ranks):
    fails(shop.job(shop.model(MODEL), {"v": shop.vindex("llama-linear", "f32"), "w": shop.vindex("gemma2", "f32")}), ranks, 3)


VINDEXES = ["index-bad-json", "index-float-int", "index-unknown-enum", "index-version-99", "layer-out-of-range", "layer-missing",
            "length-wrong", "offset-overlap", "up-f16", "gate-truncated", "checkpoint"]


@pytest.mark.parametrize("name, ranks", some_on_ranks(VINDEXES, ["index-bad-json", "up-f16"]))
def test_a_malformed_vindex(shop, name, ranks):
    fails(shop.job(shop.model(MODEL), {"v": harness.GOLDEN / "malformed" / "vindex" / name}), ranks, 3, name)


def test_inspect_lists_values_that_are_no_numbers(tmp_path):
    """Floats, FP4 blocks and K-quant blocks: count and first place; a NaN scale of FP4 is damage besides."""
    malformed = harness.GOLDEN / "malformed" / "vindex"
    assert "down_features.bin, down: 2 non-finite values, first at layer 1, feature 5, element 7" in \
        harness.run(["inspect", malformed / "non-finite"]).stdout

    found = harness.run(["inspect", malformed / "fp4-nan-scale"], expect=3)
    assert "index.json: fp4, up: 256 non-finite values, first at layer 1, feature 1, element 0" in found.stdout
    assert "1 NaN scales, the first at layer 1, feature 1; in file 'up_features_fp4.bin'" in harness.one_error_line(found)

    copy = tmp_path / "q4k.vindex"
    shutil.copytree(malformed / "q4k-ok", copy)
    down = json.loads((copy / "interleaved_q4k_manifest.json").read_text())[5]
    payload = bytearray((copy / "interleaved_q4k.bin").read_bytes())
    scale = down["offset"] + 3 * down["length"] // down["shape"][0] + {"Q4_K": 0, "Q6_K": 208}[down["format"]]
    payload[scale:scale + 2] = b"\x00\x7e"
    (copy / "interleaved_q4k.bin").write_bytes(payload)
    report = harness.run(["inspect", copy]).stdout
    # down is [H, F]: stored row 3 is element 3 of every feature
    assert "interleaved_q4k.bin, down: 16 non-finite values, first at layer 1, feature 0, element 3" in report
    assert "row padding 16 -> 256 in down of layer 0; LARQL's dequantising path misreads it, its native one declines" in report


def test_inspect_says_what_nobody_can_use_and_which_copies_differ(tmp_path):
    """Files of LARQL's older builders, an empty file, and two copies of one projection (V16, V18, U14)."""
    copy = tmp_path / "legacy.vindex"
    shutil.copytree(harness.GOLDEN / "malformed" / "vindex" / "ok", copy)
    (copy / "interleaved_q4k.bin").write_bytes(bytes(144))
    (copy / "gate_vectors_q4.bin").write_bytes(bytes(18))
    (copy / "down_features_q4k.bin").write_bytes(bytes(144))
    (copy / "interleaved_q4.bin").write_bytes(b"")
    gate, up, down = ((copy / f"{name}.bin").read_bytes() for name in ("gate_vectors", "up_features", "down_features"))
    layers = [gate[at:at + 2048] + up[at:at + 2048] + down[at:at + 2048] for at in (0, 2048)]
    (copy / "interleaved.bin").write_bytes(b"".join(layers))
    healthy = harness.run(["inspect", copy]).stdout
    for line in ("interleaved_q4k.bin has no manifest (legacy): unusable, taken as absent",
                 "down_features_q4k.bin has no manifest (legacy): unusable, taken as absent",
                 "gate_vectors_q4.bin is not read", "interleaved_q4.bin is empty and taken as absent"):
        assert f"  {line}" in healthy, healthy
    payloads = healthy.split("payloads\n")[1].split("files\n")[0]
    assert [line.split()[0] for line in payloads.splitlines()] == ["gate_vectors.bin", "up_features.bin", "down_features.bin",
                                                                   "interleaved.bin"]
    assert "interleaved_kquant_dequant: interleaved_q4k.bin has no manifest" in healthy and "differ" not in healthy

    (copy / "interleaved.bin").write_bytes(b"".join(layers)[:-4] + b"\0\0\x80\x3f")
    assert "down_features.bin and interleaved.bin: 1 rows of down differ, first at layer 1, feature 15" in \
        harness.run(["inspect", copy]).stdout


def test_inspect_checks_the_checksums_when_asked(tmp_path):
    copy = tmp_path / "sums.vindex"
    shutil.copytree(harness.GOLDEN / "malformed" / "vindex" / "ok", copy)
    index = json.loads((copy / "index.json").read_text())
    index["checksums"] = {"up_features.bin": hashlib.sha256((copy / "up_features.bin").read_bytes()).hexdigest(),
                          "gate_vectors.bin": "0" * 64}
    (copy / "index.json").write_text(json.dumps(index))
    assert "checksum" not in harness.run(["inspect", copy]).stdout
    found = harness.run(["inspect", "--checksums", copy], expect=3)
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in found.stdout.partition("checksums\n")[2].splitlines()}
    assert rows == {"up_features.bin": "equal", "gate_vectors.bin": "DIFFERS", "down_features.bin": "no checksum recorded"}
    line = harness.one_error_line(found)
    assert "gate_vectors.bin" in line and "0" * 64 in line


# --- Results --------------------------------------------------------------------------------------------------------


@RANKS
def test_a_result_directory_that_is_a_file(shop, ranks):
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")})
    (job.folder / "results").write_text("in the way")
    line = harness.one_error_line(job.run(ranks=ranks, expect=3, limit=30))
    assert "results" in line
    assert (job.folder / "results").read_text() == "in the way"


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n" + b"\0" * 500])
def test_a_file_that_is_no_result(tmp_path, content):
    path = tmp_path / "foreign.h5"
    path.write_bytes(content)
    for verb in ("verdict", "inspect", "status"):
        assert "foreign.h5" in harness.one_error_line(harness.run([verb, path], expect=3)), verb


@RANKS
def test_a_broken_audit_does_not_stop_the_sweep(shop, ranks):
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")})
    text = json.loads(job.path.read_text())
    broken = json.loads(json.dumps(text["audits"][0]))
    broken.update(name="broken", model=str(shop.root / "nowhere"))
    text["audits"].insert(0, broken)
    job.path.write_text(json.dumps(text))
    done = job.run(ranks=ranks, expect=3)
    assert "nowhere" in harness.one_error_line(done)
    assert done.stdout.splitlines()[-1] == "sweep: 1 of 2 audits finished, 0 of them with a verdict that fails; exit code 3"
    assert harness.Result(job.result_path).verdicts() == {"v:sparse": "PASS", "v:full_mmap": "PASS", "v:exact": "PASS"}
    left = sorted(p.name for p in (job.folder / "results").iterdir())
    assert left == ["job-audit.h5", "job-broken.failed.json"]
    assert "nowhere" in (job.folder / "results" / "job-broken.failed.json").read_text()


def test_a_bounds_file_that_is_not_there_is_a_wrong_job_for_plan_and_run(shop):
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, bounds="nowhere.yaml")
    for verb in ("plan", "run"):
        line = harness.one_error_line(harness.run([verb, job.path], expect=2))
        assert "nowhere.yaml" in line and "bounds file" in line, verb
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, bounds="defualt")
    assert "; did you mean the built-in set 'default'?" in harness.one_error_line(harness.run(["plan", job.path], expect=2))


def test_a_folder_that_is_not_there_and_a_model_named_by_its_weights(shop, tmp_path):
    model = shop.model(MODEL)
    line = harness.one_error_line(harness.run(["extract", model, tmp_path / "no/x.vindex", "--format", "f16"], expect=3))
    assert f"'{tmp_path}/no'" in line and "make it first" in line and ".tmp-" not in line
    job = shop.job(model / "model.safetensors", {"v": shop.vindex(MODEL, "f32")})
    line = harness.one_error_line(job.run(expect=3))
    assert "name the directory that holds it" in line and "0x" not in line


def test_prompts_of_ids_need_no_tokenizer_that_is_understood(shop, model, tmp_path):
    lines = tmp_path / "ids.jsonl"
    lines.write_text('{"key": "a", "ids": [1, 5, 9]}\n')
    job = shop.job(model, {"v": shop.vindex(MODEL, "f32")}, prompts={"file": str(lines)})
    job.run(ranks=2)
    whole = harness.Result(job.result_path)
    (model / "tokenizer.json").write_text('{"model": {"type": "Unheard"}}')
    other = shop.job(model, {"v": shop.vindex(MODEL, "f32")}, prompts={"file": str(lines)})
    done = other.run(ranks=2)
    assert "tokens have no texts, all prompts being ids" in done.stderr
    result = harness.Result(other.result_path)
    assert result.verdicts() == whole.verdicts() and (result["rel_l2"] == whole["rel_l2"]).all()
    assert (result["token_id"] == [1, 5, 9]).all() and list(result["token_text"]) == ["#1", "#5", "#9"]
    lines.write_text('{"key": "a", "ids": [1, 5, 9]}\n{"key": "b", "text": "x"}\n')
    assert "Unheard" in harness.one_error_line(other.run(ranks=2, expect=3))
