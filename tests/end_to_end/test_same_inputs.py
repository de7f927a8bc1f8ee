"""Hosts with copies of their own: rank 0's fingerprint is of what it has, and the others must have the same.

Inputs lie below /proc/self/cwd, and each part of the command line starts in a directory of its own. Ranks pretend to be on several
hosts where that is allowed (test_places.py).
"""
import os
import re
import shutil
import sys

import pytest

import harness
from test_external_process import EXAMPLE
from test_places import can_pretend, run_on_hosts

MODEL = "tiny-gemma3"
OTHER = "other" if can_pretend() else None
HERE = "/proc/self/cwd"


@pytest.fixture
def homes(shop, tmp_path):
    """Two of them; the inodes and times of the copies differ."""
    for name in ("here", "there"):
        home = tmp_path / name
        shutil.copytree(shop.model(MODEL), home / "model", copy_function=shutil.copyfile)
        shutil.copytree(shop.vindex(MODEL, "f32"), home / "v.vindex", copy_function=shutil.copyfile)
        shutil.copyfile(harness.kernel("f32_kernel"), home / "kernel.so")
        shutil.copyfile(EXAMPLE, home / "mine.py")
        (home / "words.txt").write_text("words")
    return tmp_path / "here", tmp_path / "there"


def job_of(shop, **keys):
    command = f"exec {sys.executable} {EXAMPLE} {HERE}/mine.py {HERE}/words.txt"
    paths = [{"path": "external", "library": f"{HERE}/kernel.so", "name": "library"},
             {"path": "external", "command": command, "name": "program", "bucket": "exact"}, {"path": "full_mmap"}]
    return shop.job(f"{HERE}/model", {"v": f"{HERE}/v.vindex"}, paths=paths, **keys)


def run(job, homes, expect, others=2, words=(), **variables):
    here, there = (["env", "-C", str(home)] for home in homes)
    return run_on_hosts(job, (None, 1, here, variables), (OTHER, others, there, variables), words=words, expect=expect)


def change_byte(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))


def other_epsilon(home):
    text = (home / "model/config.json").read_text()
    changed = re.sub(r'("rms_norm_eps": *)1e-0?6', r"\g<1>1e-05", text)
    assert changed != text
    (home / "model/config.json").write_text(changed)


def other_last_byte(name):
    return lambda home: change_byte(home / name, (home / name).stat().st_size - 1)


DIFFERENCES = {
    "configuration": (other_epsilon, "'model: config.json' has "),
    "weights": (other_last_byte("model/model.safetensors"), "'model: model.safetensors' has other bytes, though as many; in file"),
    "payload": (other_last_byte("v.vindex/up_features.bin"), "'vindex v: up_features.bin' has other bytes, though as many; in file"),
    "index": (lambda home: (home / "v.vindex/index.json").open("a").write("\n"), "'vindex v: index.json' has "),
    "library": (lambda home: shutil.copyfile(harness.kernel("q8_kernel"), home / "kernel.so"), "'case v:library: kernel.so' has "),
    "script": (other_last_byte("mine.py"), "'case v:program: mine.py' has other bytes, though as many; in file"),
    "no file": (lambda home: (home / "words.txt").unlink(), "'case v:program: words.txt' is missing"),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_another_input_on_another_host_is_one_line(shop, homes, what):
    edit, said = DIFFERENCES[what]
    edit(homes[1])
    job = job_of(shop)
    line = harness.one_error_line(run(job, homes, 3))
    assert f"host '{OTHER or os.uname().nodename}' reads other inputs than rank 0: {said}" in line, line
    assert not job.result_path.exists()


def test_a_file_that_only_another_host_has_is_named(shop, homes):
    (homes[0] / "words.txt").unlink()
    line = harness.one_error_line(run(job_of(shop), homes, 3))
    assert "'case v:program: words.txt' is there and not where rank 0 is" in line


@pytest.mark.parametrize("fingerprint", ["quick", "full"])
def test_copies_of_other_times_are_no_difference(shop, homes, fingerprint):
    for path in homes[1].rglob("*"):
        os.utime(path, (1e9, 1e9))
    job = job_of(shop, fingerprint=fingerprint)
    run(job, homes, 0, WALKAUDIT_APART="1")
    assert "is finished and nothing changed" in run(job, homes, 0, others=1).stderr


def test_with_a_full_fingerprint_each_host_reads_all_its_bytes(shop, homes, tmp_path):
    """One byte that no sample of a large file holds."""
    harness.run(["synth", tmp_path / "model", "--family", "llama", "--shape", "small", "--seed", "7"])
    harness.run(["extract", tmp_path / "model", tmp_path / "v.vindex", "--format", "f32"])
    for home in homes:
        for name in ("model", "v.vindex"):
            shutil.rmtree(home / name)
            shutil.copytree(tmp_path / name, home / name)
    up = homes[1] / "v.vindex/up_features.bin"
    size = up.stat().st_size
    assert size > 1 << 20
    change_byte(up, size // 3)
    job = shop.job(f"{HERE}/model", {"v": f"{HERE}/v.vindex"}, paths=[{"path": "full_mmap"}], fingerprint="full")
    line = harness.one_error_line(run(job, homes, 3, WALKAUDIT_APART="1"))
    assert "reads other inputs than rank 0: 'vindex v: up_features.bin' has other bytes, though as many" in line
