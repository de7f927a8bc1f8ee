"""Inputs that are not regular files: FIFOs, sockets, directories and devices give one line and exit 2 or 3, without a wait."""
import json
import os
import shutil
import socket

import pytest

import harness

MODEL = "qwen2"
LIMIT = 30  # seconds; a FIFO without a writer would wait for ever


def put_fifo(path):
    os.mkfifo(path)


def put_socket(path):
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # a socket's address has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def put_directory(path):
    path.mkdir()


def put_device(path):
    path.symlink_to("/dev/zero")


KINDS = {"a FIFO": put_fifo, "a socket": put_socket, "a directory": put_directory, "a device": put_device}
MODEL_FILES = ["config.json", "tokenizer.json", "model.safetensors"]
VINDEX_FILES = ["index.json", "gate_vectors.bin", "up_features.bin", "down_features.bin"]


def replace(path, kind):
    assert path.exists()
    path.unlink()
    KINDS[kind](path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return harness.Workshop(tmp_path_factory.mktemp("special"))


@pytest.fixture
def copies(shop, tmp_path):
    """A model and a vindex that may be broken."""
    shutil.copytree(shop.model(MODEL), tmp_path / "model")
    shop.copy(MODEL, "f32", tmp_path / "vindex")
    return tmp_path / "model", tmp_path / "vindex"


def told(done, kind):
    line = harness.one_error_line(done)
    assert kind in line or (kind == "a socket" and "No such device or address" in line), line


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODEL_FILES)
def test_in_place_of_a_model_file(shop, copies, name, kind):
    replace(copies[0] / name, kind)
    job = shop.job(copies[0], {"v": copies[1]}, only={"v": [{"path": "full_mmap"}]})
    done = job.run(expect=3, limit=LIMIT)
    if kind != "a directory":
        told(done, kind)
    harness.nothing_half_written(job)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", VINDEX_FILES)
def test_in_place_of_a_vindex_file(shop, copies, name, kind):
    replace(copies[1] / name, kind)
    job = shop.job(copies[0], {"v": copies[1]}, only={"v": [{"path": "full_mmap"}]})
    told(job.run(expect=3, limit=LIMIT), kind)
    harness.nothing_half_written(job)


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_of_a_gguf_file(shop, copies, tmp_path, kind):
    model = tmp_path / "model.gguf"
    KINDS[kind](model)
    job = shop.job(model, {"v": copies[1]})
    harness.one_error_line(job.run(expect=3, limit=LIMIT))


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_of_prompts_or_bounds(shop, copies, tmp_path, kind):
    place = tmp_path / "words"
    KINDS[kind](place)
    for keys, code in (({"prompts": {"file": str(place)}}, 3), ({"bounds": str(place)}, 2)):
        job = shop.job(copies[0], {"v": copies[1]}, **keys)
        done = job.run(expect=None, limit=LIMIT)
        assert done.returncode in (2, 3), (done.returncode, code)
        told(done, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_of_a_job(tmp_path, kind):
    place = tmp_path / "job.yaml"
    KINDS[kind](place)
    done = harness.run(["run", place], expect=None, limit=LIMIT)
    assert done.returncode in (2, 3)
    told(done, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["verdict", "status", "inspect"])
def test_in_place_of_a_result(tmp_path, verb, kind):
    place = tmp_path / "result.h5"
    KINDS[kind](place)
    done = harness.run([verb, place], expect=None, limit=LIMIT)
    assert done.returncode in (2, 3)
    if not (verb == "inspect" and kind == "a directory"):
        told(done, kind)


@pytest.mark.parametrize("kind", ["a FIFO", "a directory"])
@pytest.mark.parametrize("key", ["library", "file"])
def test_in_place_of_an_external_kernel(shop, copies, tmp_path, key, kind):
    place = tmp_path / "kernel"
    KINDS[kind](place)
    job = shop.job(copies[0], {"v": copies[1]}, only={"v": [{"path": "external", key: str(place), "name": "mine",
                                                             "bucket": "exact"}]})
    harness.one_error_line(job.run(expect=3, limit=LIMIT))


def test_a_failure_record_that_is_a_fifo_is_not_waited_for(shop, copies):
    job = shop.job(copies[0], {"v": copies[1]}, only={"v": [{"path": "full_mmap"}]})
    text = json.loads(job.path.read_text())
    text["audits"].append(dict(text["audits"][0], name="other"))
    job.path.write_text(json.dumps(text))
    (job.folder / "results").mkdir()
    put_fifo(job.folder / "results" / "job-other.failed.json")
    done = harness.run(["status", job.path], expect=None, limit=LIMIT)
    assert done.returncode in (1, 3, 75), done.stdout + done.stderr
