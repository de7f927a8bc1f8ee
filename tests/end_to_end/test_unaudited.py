"""Nothing unaudited passes: a verdict says when nobody looked at a kernel or at stored rows."""
import hashlib
import json

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


def spoilt(shop, tmp_path, variant, **names):
    """A private copy of a vindex with files renamed."""
    folder = shop.copy(MODEL, variant, tmp_path / "spoilt")
    for old, new in names.items():
        (folder / old.replace("__", ".")).rename(folder / new)
    return folder


@pytest.mark.parametrize("variant, names, keys, said, like", [
    ("f32", {"gate_vectors__bin": "gate_vectrs.bin"}, {}, "unknown file gate_vectrs.bin, where gate_vectors.bin is missing",
     "gate_vectrs.bin: unknown, like gate_vectors.bin"),
    # its other files could serve other paths: what the job asks for is what is mistyped
    ("interleaved-and-features", {"interleaved__bin": "Interlaved.bin"}, {"paths": [{"path": "interleaved"}]},
     "unknown file Interlaved.bin, where interleaved.bin is missing", "Interlaved.bin: unknown, like interleaved.bin"),
    ("q4k", {"interleaved_q4k_manifest__json": "manifest.json"}, {}, "interleaved_q4k.bin has no manifest",
     "manifest.json: unknown"),
])
def test_a_vindex_that_can_run_nothing_is_unaudited(shop, tmp_path, variant, names, keys, said, like):
    good = shop.vindex(MODEL, "interleaved-and-features")
    job, result = audit(shop, {"good": good, "bad": spoilt(shop, tmp_path, variant, **names)}, None, expect=1, **keys)
    assert list(result["vindex_verdict"]) == ["PASS", "UNAUDITED"]
    assert all(verdict in ("PASS", "NOT-RUN") for verdict in result["verdict"])
    assert said in result["vindex_reason"][1] and result["vindex_reason"][0] == ""
    assert like in result["vindex_files"][1].splitlines()
    line, = [line for line in job.printed.splitlines() if line.startswith("bad: ")]
    assert line.startswith("bad: UNAUDITED: ") and line.count(said) == 1
    assert f"warning: bad: unknown file: {like.replace(': unknown', '')}" in job.printed
    status = harness.run(["status", job.result_path], expect=1).stdout
    assert "vindexes of which no case ran: 1" in status
    assert "bad: UNAUDITED: " in harness.run(["verdict", job.result_path], expect=1).stdout


def test_a_vindex_that_the_job_leaves_out_is_shown(shop):
    job, result = audit(shop, {"f": shop.vindex(MODEL, "f32"), "q": shop.vindex(MODEL, "q4k")}, None, paths=[{"path": "full_mmap"}])
    assert list(result["vindex_verdict"]) == ["PASS", "LEFT-OUT"]
    assert "q: LEFT-OUT: it runs no path that the job names; up_features.bin is missing" in job.printed
    assert "exit code 0" in job.printed
    harness.run(["status", job.result_path])


def test_every_file_is_read_or_known_or_unknown(shop, tmp_path):
    folder = shop.copy(MODEL, "interleaved-and-features", tmp_path / "v")
    (folder / "embeddings.bin").write_bytes(b"\0" * 393216)
    (folder / "up_featurse.bin").write_bytes(b"\0")
    (folder / "layers").mkdir()
    job, result = audit(shop, {"v": folder}, {"v": [{"path": "full_mmap"}]})
    assert result["vindex_verdict"][0] == "PASS"
    files = dict(line.split(": ", 1) for line in result["vindex_files"][0].splitlines())
    assert sorted(files) == sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    read = {name for name, what in files.items() if what.split(",")[0] == "read"}
    assert read == {"index.json", "gate_vectors.bin", "up_features.bin", "down_features.bin"}
    assert files["interleaved.bin"] == "not read: gate, up and down"
    assert files["embeddings.bin"] == "not read: token embeddings" and files["layers/"].startswith("not read: ")
    assert files["up_featurse.bin"] == "unknown"  # like up_features.bin, which is there
    assert "warning: v: unknown file: up_featurse.bin" in job.printed
    shown = harness.run(["inspect", folder]).stdout
    assert "not read: embeddings.bin (token embeddings)" in shown and "unknown file: up_featurse.bin" in shown


def test_the_kernels_manifest_is_read_with_its_file(shop):
    _, result = audit(shop, {"q": shop.vindex(MODEL, "q4k")}, {"q": [{"path": "interleaved_q4k"}]})
    files = dict(line.split(": ", 1) for line in result["vindex_files"][0].splitlines())
    assert files["interleaved_q4k.bin"].startswith("read") and files["interleaved_q4k_manifest.json"] == "read"


def test_checksums_of_index_json_are_verified(shop, tmp_path):
    """LARQL's name the gate file alone among payloads; ours name each float file."""
    folder = shop.copy(MODEL, "f32", tmp_path / "v")
    index = json.loads((folder / "index.json").read_text())
    sums = index["checksums"]
    assert hashlib.sha256((folder / "gate_vectors.bin").read_bytes()).hexdigest() == sums["gate_vectors.bin"]
    del sums["up_features.bin"]
    (folder / "index.json").write_text(json.dumps(index))
    job, result = audit(shop, {"v": folder}, {"v": [{"path": "full_mmap"}]})
    files = dict(line.split(": ", 1) for line in result["vindex_files"][0].splitlines())
    assert files["gate_vectors.bin"] == files["down_features.bin"] == "read, SHA-256 as in index.json"
    assert files["up_features.bin"] == "read, no SHA-256 in index.json" and files["index.json"] == "read"
    assert "v: PASS; files: 4 read (1 without SHA-256 in index.json)" in job.printed and "not the bytes" not in job.printed
    with open(folder / "gate_vectors.bin", "r+b") as file:  # the last bit of one value: no verdict of rows sees it
        old = file.read(1)[0]
        file.seek(0)
        file.write(bytes([old ^ 1]))
    for ranks in (None, 2, 3):  # which share the files
        job = shop.job(shop.model(MODEL), {"v": folder}, {"v": [{"path": "full_mmap"}]})
        printed = job.run(ranks=ranks, expect=None).stdout
        assert "warning: v: gate_vectors.bin: not the bytes whose SHA-256 index.json has" in printed
        files = dict(line.split(": ", 1) for line in harness.Result(job.result_path)["vindex_files"][0].splitlines())
        assert files["gate_vectors.bin"] == "read, SHA-256 differs from index.json"
        assert files["down_features.bin"] == "read, SHA-256 as in index.json"
        assert files["up_features.bin"] == "read, no SHA-256 in index.json"


def test_rows_that_only_rank_features_are_compared_too(shop, tmp_path):
    """weights_fallback computes with the model's weights, but its features are those that the stored gate ranks first."""
    only = {"v": [{"path": "weights_fallback", "k": 20}]}
    _, result = audit(shop, {"v": shop.vindex(MODEL, "f32")}, only)
    assert result.verdicts() == {"v:weights_fallback:k20": "MEASURED"}
    assert set(result["row_err_checked"][0, 0, :, 0]) == {"yes"}  # the gate, in gate_vectors.bin
    _, result = audit(shop, {"v": shop.vindex(MODEL, "f32")}, only, encoding_check="none")
    assert result.verdicts() == {"v:weights_fallback:k20": "UNCHECKED"}
    folder = shop.copy(MODEL, "f32", tmp_path / "v")
    data = bytearray((folder / "gate_vectors.bin").read_bytes())
    row = len(data) // 2  # of some layer in the middle: every bit of one value's sign and exponent
    data[row + 3] ^= 0xC0
    (folder / "gate_vectors.bin").write_bytes(data)
    _, result = audit(shop, {"v": folder}, only, expect=1)
    assert result.verdicts() == {"v:weights_fallback:k20": "ENCODING"}
