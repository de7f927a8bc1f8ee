"""Bytes of an input that change while its size and its time stay: found before anything is said to be done."""
import hashlib
import os
import shutil
import struct

import h5py

import harness
import pytest


@pytest.fixture(scope="module")
def made(shop):
    """A model whose gate file is so large (4 MB) that a quick fingerprint sees neither end of its middle."""
    model, vindex = shop.root / "made", shop.root / "made.vindex"
    harness.run(["synth", model, "--family", "llama", "--shape", "small", "--layers", "3", "--seed", "7"])
    harness.run(["extract", model, vindex, "--format", "f32"])
    assert (vindex / "gate_vectors.bin").stat().st_size > 3 << 20
    return model, vindex


def change(path, at, by=b"\x01"):
    """One byte, size and time kept."""
    state = path.stat()
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ by[0]]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size and path.stat().st_mtime_ns == state.st_mtime_ns


def middle(path, layer, layers=3):
    size = path.stat().st_size
    return size * (2 * layer + 1) // (2 * layers)


@pytest.mark.parametrize("ranks", [None, 3])
def test_a_finished_result_is_not_called_unchanged(shop, made, ranks):
    model, vindex = made
    job = shop.job(model, {"v": vindex}, paths=[{"path": "full_mmap"}])
    job.run(ranks)
    again = job.run(ranks)
    assert "is finished and nothing changed" in again.stderr
    assert "MB read again in" in again.stderr
    gate = vindex / "gate_vectors.bin"
    change(gate, middle(gate, 1))
    done = job.run(ranks, expect=3)
    line = harness.one_error_line(done)
    assert "layer 1, gate: the stored bytes are not those that were audited" in line
    assert "gate_vectors.bin" in line and "--fresh" in line
    fresh = job.run(ranks, words=["--fresh"], expect=None)
    assert fresh.returncode in (0, 1)
    change(gate, middle(gate, 1))
    assert "gate_vectors.bin" in harness.one_error_line(job.run(ranks, expect=3))


# AES-128 of a block of zeros, and of the counter 1, under the key b"walkaudit digest": from Python's cryptography package.
H, MASK = 0x028192a44701c47b4f42f58f2a87f6a4, 0x210217c59520a10e5870cb2af5510283


def times_h(x):
    """In the field of GCM (NIST SP 800-38D, 6.3)."""
    z, v = 0, H
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= v
        v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
    return z


def gmac(data):
    """By hand: the cryptography package gives the same for b"abc"."""
    y = 0
    for at in range(0, len(data), 16):
        y = times_h(y ^ int.from_bytes(data[at:at + 16].ljust(16, b"\0"), "big"))
    return (times_h(y ^ len(data) * 8 << 64) ^ MASK).to_bytes(16, "big")


def test_each_payload_has_a_digest_of_its_own_bytes(shop):
    assert gmac(b"abc").hex() == "7e8f795e0a281440568ad7c05873fbba"
    vindex = shop.vindex("tiny-gemma3", "f32")
    result = shop.job(shop.model("tiny-gemma3"), {"v": vindex}, paths=[{"path": "full_mmap"}]).result()
    layers = len(result["layer"])
    payloads = ["gate_vectors.bin", "up_features.bin", "down_features.bin"]  # of the first three codes of `payload`
    for at, name in enumerate(payloads):
        data = (vindex / name).read_bytes()
        for layer in range(layers):
            digest = gmac(data[len(data) * layer // layers:len(data) * (layer + 1) // layers])
            assert result["row_err_checked"][0, at, layer, at] == "yes"
            assert result["payload_digest_high"][0, at, layer, at] == int.from_bytes(digest[:8], "big", signed=True)
            assert result["payload_digest_low"][0, at, layer, at] == int.from_bytes(digest[8:], "big", signed=True)
    assert (result["payload_digest_high"] != 0).sum() == 3 * layers


def test_a_resumed_run_compares_too(shop, made, tmp_path):
    model, vindex = made
    prompts = harness.corpus(tmp_path / "corpus.jsonl", 12)
    job = shop.job(model, {"v": vindex}, prompts=prompts, batch={"rows": 8},
                   paths=[{"path": "full_mmap"}, harness.slow_path()])
    process = harness.start(job, None, **harness.slowly())
    harness.wait_for_parts(job, process, 2)
    process.kill()
    process.wait()
    up = vindex / "up_features.bin"
    change(up, middle(up, 2))
    line = harness.one_error_line(job.run(expect=3))
    assert "layer 2, up: the stored bytes are not those that were audited" in line
    change(up, middle(up, 2))
    done = job.run()
    assert "MB read again in" in done.stderr


def test_parts_without_digests_are_kept_only_beside_files_that_nobody_touched(shop, made, tmp_path):
    """No part carries the encoding check: the bytes could be others, and what was done be of both."""
    model, vindex = made
    prompts = harness.corpus(tmp_path / "corpus.jsonl", 12)
    job = shop.job(model, {"v": vindex}, prompts=prompts, batch={"rows": 8}, encoding_check="none",
                   paths=[{"path": "full_mmap"}, harness.slow_path()])

    def begin(parts):
        process = harness.start(job, None, **harness.slowly())
        harness.wait_for_parts(job, process, parts)
        process.kill()
        process.wait()
        return (job.folder / "log").read_text()

    begin(2)
    assert "set aside" not in begin(3)
    up = vindex / "up_features.bin"
    change(up, middle(up, 2))
    try:
        told = job.run().stderr
        assert "set aside and computed again: 'vindex v: up_features.bin' was written, moved" in told
        mixed = shutil.copy(job.result_path, tmp_path / "mixed.h5")
        job.run(words=["--fresh"])
        assert not harness.differences(mixed, job.result_path)
    finally:
        change(up, middle(up, 2))


@pytest.mark.parametrize("ranks", [None, 3])
def test_a_full_fingerprint_is_that_of_whole_files_on_any_ranks(shop, made, ranks):
    """A byte of the model itself, which no digest of a payload covers; and a digest that sha256sum gives too."""
    model, vindex = made
    job = shop.job(model, {"v": vindex}, paths=[{"path": "full_mmap"}], fingerprint="full", encoding_check="none")
    done = job.run(ranks)
    assert "fingerprint: full: " in done.stderr
    with h5py.File(job.result_path) as file:
        items = dict(zip(file.attrs["fingerprint_keys"], file.attrs["fingerprint_values"]))
    weights = model / "model.safetensors"
    for key, path in (("model: model.safetensors", weights), ("vindex v: gate_vectors.bin", vindex / "gate_vectors.bin")):
        head = struct.pack("<3q", path.stat().st_size, 0, 0)
        assert items[key] == "full:" + hashlib.sha256(head + path.read_bytes()).hexdigest()
    assert "nothing changed" in job.run(ranks).stderr
    change(weights, weights.stat().st_size // 2)
    line = harness.one_error_line(job.run(ranks, expect=3))
    assert "model: model.safetensors" in line and "--fresh" in line
    change(weights, weights.stat().st_size // 2)
    assert "nothing changed" in job.run(ranks).stderr


def at_work(shop, made, tmp_path, ranks, **keys):
    """A run that has a part, and is not done."""
    model, vindex = made
    job = shop.job(model, {"v": vindex}, prompts=harness.corpus(tmp_path / "corpus.jsonl", 12), batch={"rows": 8},
                   paths=[{"path": "full_mmap"}, harness.slow_path()], **keys)
    process = harness.start(job, ranks, **harness.slowly())
    harness.wait_for_parts(job, process, 1)
    return job, process


@pytest.mark.parametrize("ranks", [None, 3])
@pytest.mark.parametrize("what, encoding", [("up_features.bin", "all"), ("up_features.bin", "none"), ("model", "all")])
def test_an_edit_during_a_run_whose_time_is_set_back_is_told_at_its_end(shop, made, tmp_path, what, encoding, ranks):
    """Neither size, time nor the ends of the file tell."""
    model, vindex = made
    file = model / "model.safetensors" if what == "model" else vindex / what
    job, process = at_work(shop, made, tmp_path, ranks, encoding_check=encoding)
    change(file, middle(file, 1))
    try:
        assert process.wait(timeout=120) == 3
        lines = [line for line in (job.folder / "log").read_text().splitlines() if line.startswith("walkaudit: ")]
        assert len(lines) == 1 and file.name in lines[0], lines
        assert "an input changed while this run read it, and its time was set back" in lines[0]
        assert not job.result_path.exists()
    finally:
        change(file, middle(file, 1))
    said = job.run(ranks).stderr
    assert "computed anew: an earlier run asked for that" in said, said
    resumed = shutil.copy(job.result_path, tmp_path / "resumed.h5")
    job.run(words=["--fresh"])
    assert not harness.differences(resumed, job.result_path)


@pytest.mark.parametrize("ranks", [None, 3])
def test_other_rights_and_other_names_during_a_run_are_no_change(shop, made, tmp_path, ranks):
    model, vindex = made
    job, process = at_work(shop, made, tmp_path, ranks)
    for path in [*model.iterdir(), *vindex.iterdir()]:
        path.chmod(0o600)
        os.link(path, tmp_path / path.name)
        (tmp_path / path.name).unlink()
    assert process.wait(timeout=120) == 0, (job.folder / "log").read_text()
    assert job.result_path.exists()


def test_parts_are_not_kept_beside_a_model_that_was_edited_between_two_runs(shop, made, tmp_path):
    model, _ = made
    weights = model / "model.safetensors"
    job, process = at_work(shop, made, tmp_path, None)
    process.kill()
    process.wait()
    change(weights, middle(weights, 1))
    try:
        assert "set aside and computed again: 'model: model.safetensors' was written, moved" in job.run(expect=None).stderr
    finally:
        change(weights, middle(weights, 1))


@pytest.fixture(scope="module")
def experts(shop):
    """A model in whose layers most bytes are those of experts."""
    model, vindex = shop.root / "experts", shop.root / "experts.vindex"
    harness.run(["synth", model, "--family", "olmoe", "--shape", "small", "--layers", "3", "--experts", "8", "--chosen", "2"])
    harness.run(["extract", model, vindex, "--format", "f16"])
    index = harness.json.loads((vindex / "index.json").read_text())
    index.pop("checksums", None)
    (vindex / "index.json").write_text(harness.json.dumps(index))
    return model, vindex


def of_expert(model, layer):
    """The middle of an expert's first matrix in the model's file."""
    with open(model / "model.safetensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = harness.json.loads(file.read(length))
    name = next(key for key in sorted(header) if f"layers.{layer}." in key and ".experts." in key)
    return 8 + length + sum(header[name]["data_offsets"]) // 2


@pytest.mark.parametrize("ranks, words", [(None, []), (3, []), (3, ["--set", "grid.experts=spread", "--set", "grid.teams=3"])])
@pytest.mark.parametrize("what, encoding", [("model", "all"), ("model", "none"), ("vindex", "none")])
def test_an_edit_of_an_expert_during_a_run_is_told_at_its_end(shop, experts, tmp_path, what, encoding, ranks, words):
    """Which experts are computed with is known only when a layer's router has answered."""
    model, vindex = experts
    file = model / "model.safetensors" if what == "model" else sorted((vindex / "layers").iterdir())[1]
    at = of_expert(model, 1) if what == "model" else file.stat().st_size // 2
    job = shop.job(model, {"v": vindex}, prompts=harness.corpus(tmp_path / "corpus.jsonl", 12), batch={"rows": 64},
                   paths=[{"path": "experts"}, harness.slow_path()], encoding_check=encoding)
    process = harness.start(job, ranks, words=words, **harness.slowly())
    harness.wait_for_parts(job, process, 1)
    change(file, at)
    try:
        assert process.wait(timeout=120) == 3, (job.folder / "log").read_text()
        lines = [line for line in (job.folder / "log").read_text().splitlines() if line.startswith("walkaudit: ")]
        assert len(lines) == 1 and file.name in lines[0], lines
        assert "an input changed while this run read it, and its time was set back" in lines[0]
        assert not job.result_path.exists()
    finally:
        change(file, at)
