"""Path external by a program: audited as a library is, and whatever it does, the run ends with one line.

The model is tiny-gemma3: 4 layers, 512 features, hidden size 256, tanh-GELU.
"""
import os
import pathlib
import shutil
import sys
import time

import numpy as np
import pytest

import harness

MODEL = "tiny-gemma3"
EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "jobs/external/numpy_kernel.py"
FAULTS = EXAMPLE.parents[2] / "tests/support/process_faults.py"


def program(**keys):
    return {"path": "external", "command": f"exec {sys.executable} {EXAMPLE}", "name": "mine", "bucket": "exact", **keys}


def faulty(fault, **keys):
    return program(command=f"{sys.executable} {FAULTS} {EXAMPLE} {fault}", timeout=6, **keys)


def job(shop, *paths, **keys):
    return shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=list(paths), **keys)


def children(text):
    """Processes whose command line holds a text."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_the_example_passes_as_the_path_it_is_like(shop):
    result = job(shop, program(like="full_mmap"), {"path": "full_mmap"}).result()
    assert result.verdicts() == {"v:mine": "PASS", "v:full_mmap": "PASS"}
    assert result.case("v:mine", "case_kernel") == "example:numpy"
    assert np.all(result.case("v:mine", "rel_l2") < 1e-5) and np.all(result.case("v:mine", "drift") < 1e-4)
    for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
        assert 0 < np.nanmax(result.case("v:mine", field)) < 2e-6


def test_its_numbers_are_the_same_bits_on_any_ranks(shop, tmp_path):
    prompts = harness.corpus(tmp_path / "corpus.jsonl", 6)
    keys = {"prompts": prompts, "batch": {"rows": 8}}
    paths = [program(like="full_mmap"), {"path": "sparse"}]
    alone = job(shop, *paths, **keys)
    alone.run()
    for ranks, grid in ((2, {"stages": 2}), (3, {"stages": 1, "teams": 1})):
        other = job(shop, *paths, grid=grid, **keys)
        other.run(ranks=ranks)
        harness.assert_equal_bits(alone, other)


def test_it_is_asked_for_one_prompt_at_a_time_whatever_a_batch_holds(shop, tmp_path):
    """At layer 1 this kernel's answer is too large by so many 1,024ths as there are rows."""
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6)}
    for rows in (8, 512):
        result = job(shop, faulty("counts"), batch={"rows": rows}, **keys).result(expect=None)
        expected = result["prompt_rows"][result["obs_prompt"]] / 1024
        assert np.allclose(result.case("v:mine", "rel_l2")[1], expected, rtol=1e-3)


def test_it_starts_where_the_job_file_is_and_ends_with_the_run(shop):
    here = job(shop, program(command=f"{sys.executable} a_kernel_of_mine.py"))
    shutil.copyfile(EXAMPLE, here.folder / "a_kernel_of_mine.py")
    here.run(ranks=2)
    assert not children("a_kernel_of_mine.py")
    assert "is finished" in here.run().stderr
    with open(here.folder / "a_kernel_of_mine.py", "a") as file:
        file.write("# another program\n")
    assert "case v:mine: a_kernel_of_mine.py" in harness.one_error_line(here.run(expect=3))


BREACHES = [
    ("other_magic", "answer begins with 0x00000007, expected 0x41554157"),
    ("other_version", "version 9 of walkaudit/external_process.h, expected 1"),
    ("long_label", "answers with 101 bytes, expected at most 100"),
    ("nul_label", "label holds a NUL byte"),
    ("other_kind", "answers request kind 2, expected 1"),
    ("exits", "the program ended with code 7"),
    ("silent", "did not answer within 6 s and was killed"),
    ("deaf", "did not answer within 6 s and was killed"),
    ("dies", "the program ended with code 5; at layer 1"),
    ("is_killed", "ended"),
    ("sleeps", "did not answer within 6 s and was killed; at layer 1"),
    ("half", "did not answer within 6 s and was killed; at layer 1"),
    ("drips", "did not answer within 6 s and was killed; at layer 1"),
    ("raises", r"answers status 1, expected 0: 'RuntimeError: no weights\nfor this layer'; at layer 1"),
    ("short", "expected "),
]
ON_TWO_RANKS = ("exits", "silent", "dies", "half")


@pytest.mark.parametrize("ranks, fault, said", [(None, *breach) for breach in BREACHES] +
                         [(2, *breach) for breach in BREACHES if breach[0] in ON_TWO_RANKS])
def test_a_program_that_breaks_the_contract_is_one_line(shop, ranks, fault, said):
    broken = job(shop, faulty(fault))
    start = time.monotonic()
    line = harness.one_error_line(broken.run(ranks=ranks, expect=3))
    assert time.monotonic() - start < 30
    assert said in line and "in program '" in line and "of case 'v:mine'" in line, line
    assert not broken.result_path.exists()
    assert not children(f"{FAULTS} {EXAMPLE} {fault}")


def test_a_program_that_leaves_its_group_is_killed_all_the_same(shop):
    command = f"exec {sys.executable} {FAULTS} {EXAMPLE} leaves"  # no shell in between
    line = harness.one_error_line(job(shop, program(command=command, timeout=6)).run(expect=3))
    assert "did not answer within 6 s and was killed; at layer 1" in line, line
    assert not children(f"{FAULTS} {EXAMPLE} leaves")


def test_a_command_that_is_not_there_is_one_line(shop):
    line = harness.one_error_line(job(shop, program(command="no_such_program_here")).run(expect=3))
    assert "the program ended with code 127" in line, line


def test_nan_that_it_gives_is_not_finite(shop):
    result = job(shop, faulty("nan")).result(expect=1)
    assert result.verdicts() == {"v:mine": "NON-FINITE"}


def test_sigterm_does_not_wait_for_it(shop):
    slow = job(shop, {**faulty("sleeps"), "timeout": 1000})
    with harness.subprocess.Popen(harness.command(["run", slow.path]), env=harness.environment(), text=True,
                                  stderr=harness.subprocess.PIPE, stdout=harness.subprocess.DEVNULL) as running:
        time.sleep(3)
        start = time.monotonic()
        running.terminate()
        assert running.wait(20) == 3
        assert time.monotonic() - start < 5
        assert 'stopped by SIGTERM' in running.stderr.read()
    assert not children(f"{FAULTS} {EXAMPLE} sleeps")


@pytest.mark.parametrize("keys, said", [
    ({"library": "x.so"}, "needs one of 'file', 'library' and 'command'"),
    ({"timeout": 0}, "is 0, expected 1 to 86400"),
])
def test_what_contradicts_a_command_is_refused(shop, keys, said):
    assert said in harness.one_error_line(job(shop, program(**keys)).run(expect=2))


def test_no_other_path_takes_a_command(shop):
    refused = job(shop, {"path": "exact", "command": "true"})
    assert "takes no 'command' or 'timeout'" in harness.one_error_line(refused.run(expect=2))
    alone = job(shop, {"path": "external", "library": "x.so", "timeout": 5})
    assert "'timeout' needs 'command'" in harness.one_error_line(alone.run(expect=2))
