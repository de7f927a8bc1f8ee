"""Path external: a user's library is audited as our own paths are, and what breaks its contract is said in one line.

The model is tiny-gemma3: 4 layers, 512 features, hidden size 256, tanh-GELU.
"""
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

import harness

MODEL = "tiny-gemma3"


def external(name, **keys):
    return {"path": "external", "library": str(harness.kernel(name)), "name": "mine", **keys}


def job(shop, *paths, **keys):
    return shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=list(paths), **keys)


def test_a_sound_kernel_passes_as_exact(shop):
    result = job(shop, external("f32_kernel", bucket="exact"), {"path": "full_mmap"}).result()
    assert result.verdicts() == {"v:mine": "UNCHECKED", "v:full_mmap": "PASS"}
    assert result.case("v:mine", "case_kernel") == "example:f32"
    assert set(result.case("v:mine", "label").reshape(-1)) == {"external"}
    # f32 products of exact weights, double sums: nearer to the model than any bound asks for
    assert np.all(result.case("v:mine", "rel_l2") < 1e-5) and np.all(result.case("v:mine", "drift") < 1e-4)
    assert np.all(np.abs(result.case("v:mine", "prob_delta")) < 1e-4) and np.all(result.case("v:mine", "kl") < 1e-6)
    # nobody knows its stored numbers: neither its kernel nor its encoding is judged
    assert np.all(np.isnan(result.case("v:mine", "kernel_rel_l2")))
    assert np.any(np.isfinite(result.case("v:full_mmap", "kernel_rel_l2")))
    assert not np.any(result.case("v:mine", "bytes_read"))


def test_its_bucket_is_approximate_unless_the_job_says_otherwise(shop):
    result = job(shop, external("q8_kernel")).result()
    assert result.verdicts() == {"v:mine": "UNCHECKED"}
    assert result.case("v:mine", "case_bucket") == "approximate"
    assert result.case("v:mine", "case_kernel") == "example:q8"
    # half a step of 1/127 of a row's largest value, in three matrices: below 5 %, and far above f32's rounding
    worst = np.max(result.case("v:mine", "rel_l2"))
    assert 1e-4 < worst < 5e-2


def test_a_feature_left_out_is_found_at_its_layer(shop):
    result = job(shop, external("f32_kernel_faulty", bucket="exact")).result(expect=1)
    assert result.verdicts() == {"v:mine": "BOUND"}
    first = result.case("v:mine", "fail_reasons").splitlines()[0]
    assert "layer 2," in first, first
    error = np.max(result.case("v:mine", "rel_l2"), axis=1)
    assert np.argmax(error) == 2 and error[2] > 1e-2 and np.all(error[[0, 1, 3]] < 1e-5)
    drift = np.max(result.case("v:mine", "drift"), axis=1)
    assert np.all(drift[:2] < 1e-4) and np.all(drift[2:] > 1e-4)  # its own stream goes astray from there on


def test_its_numbers_are_the_same_bits_on_any_ranks(shop, tmp_path):
    prompts = harness.corpus(tmp_path / "corpus.jsonl", 6)
    keys = {"prompts": prompts, "batch": {"rows": 8}}
    paths = [external("q8_kernel"), {"path": "sparse"}, {"path": "exact"}]
    alone = job(shop, *paths, **keys)
    alone.run()
    for ranks, grid in ((2, {"stages": 2}), (4, {"stages": 2, "teams": 2})):
        other = job(shop, *paths, grid=grid, **keys)
        other.run(ranks=ranks)
        harness.assert_equal_bits(alone, other)


def test_what_a_call_leaves_changed_is_told_of_its_prompt_alone(shop):
    """A kernel that sets FTZ when it sees an odd number of rows: a call is one prompt's, whatever it is batched with."""
    prompts = harness.corpus(shop.root / "odd.jsonl", 8)
    result = job(shop, external("external_odd_sets_flush"), prompts=prompts).result()
    told, odd = result.case("v:mine", "modes_changed"), result["prompt_rows"] % 2 == 1
    assert 0 < odd.sum() < len(odd)
    assert np.array_equal(told[1] != 0, odd) and not np.any(np.delete(told, 1, axis=0))


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("fault, said", [
    ("declines", "walkaudit_external returned 5, expected 0"),
    ("other_version", "version 2 of walkaudit/external.h, expected 1"),
    ("no_run", "gives no function 'run'"),
    ("long_label", "label has more bytes, expected 1 to 100"),
    ("no_entry", "exports no function 'walkaudit_external'"),
    ("fails", "the external kernel returned 7"),
    ("is_not_there", "cannot open"),
])
def test_a_broken_contract_is_one_line(shop, ranks, fault, said):
    broken = job(shop, external(f"external_{fault}"))
    line = harness.one_error_line(broken.run(ranks=ranks, expect=3))
    assert said in line and f"external_{fault}.so" in line, line
    if fault == "fails":
        assert "layer 1" in line and "v:mine" in line, line
    assert not broken.result_path.exists()


def test_what_it_does_not_write_is_not_finite(shop):
    result = job(shop, external("external_writes_nothing")).result(expect=1)
    assert result.verdicts() == {"v:mine": "NON-FINITE"}
    assert "layer 1" in result.case("v:mine", "fail_reasons").splitlines()[0]


def test_another_library_is_another_job(shop, tmp_path):
    copy = tmp_path / "kernel.so"
    shutil.copyfile(harness.kernel("f32_kernel"), copy)
    mine = {"path": "external", "library": str(copy), "name": "mine"}
    one = job(shop, mine)
    one.run()
    assert "is finished" in one.run().stderr
    copy.unlink()
    shutil.copyfile(harness.kernel("q8_kernel"), copy)
    assert "case v:mine: kernel.so" in harness.one_error_line(one.run(expect=3))
    one.run(words=["--fresh"])


def test_a_library_beside_the_job_needs_no_directory(shop):
    here = job(shop, {"path": "external", "library": "kernel.so", "name": "mine"})
    shutil.copyfile(harness.kernel("f32_kernel"), here.folder / "kernel.so")
    done = harness.subprocess.run([*harness.command(["run", "job.yaml"])], cwd=here.folder, env=harness.environment(),
                                  capture_output=True, text=True, timeout=harness.LIMIT)
    assert done.returncode == 0, done.stderr


def test_like_a_path_its_kernel_is_judged_by_that_paths_oracle(shop):
    """Both streams; the numbers that are read are full_mmap's, and so are their row errors."""
    made = job(shop, external("f32_kernel", bucket="exact", like="full_mmap"), {"path": "full_mmap"})
    done = made.run()
    result = harness.Result(made.result_path)
    assert result.verdicts() == {"v:mine": "PASS", "v:full_mmap": "PASS"}
    assert result.case("v:mine", "case_like") == "full_mmap" and result.case("v:full_mmap", "case_like") == ""
    assert result.case("v:mine", "case_kernel_tolerance") == 1e-3 and np.isnan(result.case("v:full_mmap", "case_kernel_tolerance"))
    assert np.array_equal(result.case("v:mine", "case_payload"), result.case("v:full_mmap", "case_payload"))
    assert "kernel: v:mine is held against the oracle of full_mmap, within 0.001\n" in done.stdout
    for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
        assert 0 < np.nanmax(result.case("v:mine", field)) < 1e-6
        assert np.array_equal(np.isnan(result.case("v:mine", field)), np.isnan(result.case("v:full_mmap", field)))


def test_a_feature_left_out_is_kernel_where_the_bucket_has_no_bound(shop):
    result = job(shop, external("f32_kernel_faulty", like="full_mmap")).result(expect=1)
    assert result.verdicts() == {"v:mine": "KERNEL"}
    first = result.case("v:mine", "fail_reasons").splitlines()[0]
    assert first.startswith("layer 2, ") and "above 0.001; kernel_tolerance: " in first, first


def test_other_numbers_than_it_claims_are_kernel_unless_the_job_tolerates_them(shop):
    """8-bit weights are not the f32 ones that it says it is like."""
    strict = job(shop, external("q8_kernel", like="full_mmap")).result(expect=1)
    assert strict.verdicts() == {"v:mine": "KERNEL"}
    mild = job(shop, external("q8_kernel", like="full_mmap", kernel_tolerance=0.05)).result()
    assert mild.verdicts() == {"v:mine": "MEASURED"}
    assert mild.case("v:mine", "case_kernel_tolerance") == 0.05
    assert np.array_equal(mild.case("v:mine", "kernel_rel_l2"), strict.case("v:mine", "kernel_rel_l2"), equal_nan=True)


@pytest.mark.parametrize("k, verdict", [(100, "KERNEL"), (512, "PASS"), (100000, "PASS")])
def test_like_a_path_with_k_the_oracle_chooses_the_features(shop, k, verdict):
    """The kernel takes all 512."""
    result = job(shop, external("f32_kernel", bucket="exact", like="sparse_serial", k=k)).result(expect=None)
    assert result.verdicts() == {"v:mine": verdict}
    assert result.case("v:mine", "case_k") == k


def test_what_it_is_like_is_what_encoding_judges(shop, tmp_path):
    folder = shop.copy(MODEL, "f32", tmp_path / "wrong")
    with open(folder / "up_features.bin", "r+b") as file:
        rows = np.frombuffer(file.read(), "<f4").reshape(4, 512, 256).copy()
        rows[3, 100] *= 1.5
        file.seek(0)
        file.write(rows.tobytes())
    paths = [external("f32_kernel", bucket="exact", like="full_mmap"), {**external("f32_kernel", bucket="exact"), "name": "other"}]
    result = shop.job(shop.model(MODEL), {"v": folder}, paths=paths).result(expect=1)
    assert result.case("v:mine", "verdict") == "ENCODING"
    assert result.case("v:mine", "fail_reasons").splitlines()[0].startswith("layer 3, up")
    assert result.case("v:other", "verdict") != "ENCODING"  # it claims nothing


@pytest.mark.parametrize("keys, said", [
    ({"like": "interleaved_q4k"}, "like 'interleaved_q4k': interleaved_kquant.bin is missing"),
    ({"like": "mine"}, "expected another walk path"),
    ({"like": "external"}, "expected another walk path"),
    ({"kernel_tolerance": 0.1}, "needs 'like'"),
    ({"like": "exact", "kernel_tolerance": "lax"}, "expected a number above 0, at most 0.1"),
    ({"like": "exact", "kernel_tolerance": 0}, "expected a number above 0, at most 0.1"),
    ({"like": "exact", "k": 5}, "takes no 'k'"),
    ({"k": 5}, "takes no 'k'"),
])
def test_what_it_cannot_be_like_is_refused_in_one_line(shop, keys, said):
    refused = job(shop, external("f32_kernel", **keys))
    assert said in harness.one_error_line(refused.run(expect=None))
    assert not refused.result_path.exists()


def test_our_paths_are_like_nothing(shop):
    refused = job(shop, {"path": "exact", "like": "full_mmap"})
    assert "takes no 'like'" in harness.one_error_line(refused.run(expect=None))


# What a library does to the process that loads it.

def measured(result):
    """The numbers of a result by name, cost and what the test is about aside."""
    return {name: values for name, values in result.data.items()
            if name not in ("seconds", "modes_changed") and values.dtype.kind in "fiu"}


@pytest.mark.parametrize("fault, words, layers, bits", [
    ("sets_rounding", "the rounding mode", 1, 1),
    ("sets_flush", "FTZ or DAZ", 1, 2),
    ("load_sets_flush", "FTZ or DAZ", 0, 0),
])
def test_modes_of_arithmetic_are_put_back_and_told(shop, fault, words, layers, bits):
    """Every number of every case is what it is beside a kernel that changes nothing and computes the same."""
    others = [{"path": "full_mmap"}, {"path": "sparse"}, {"path": "exact"}]
    calm = job(shop, external("external_sound"), *others).result()
    made = job(shop, external(f"external_{fault}"), *others)
    done = made.run()
    result = harness.Result(made.result_path)
    before, after = measured(calm), measured(result)
    changed = [name for name in before if not np.array_equal(before[name], after[name], equal_nan=before[name].dtype.kind == "f")]
    assert before.keys() == after.keys() and not changed, changed
    said = (f"warning: case v:mine: its library changed {words} in 1 of 4 layers; put back after each call" if layers else
            f"warning: case v:mine: loading its library changed {words} of this process; put back")
    assert done.stderr.splitlines().count(said) == 1 and done.stdout.splitlines().count(said) == 1
    assert harness.run(["verdict", made.result_path]).stdout.splitlines().count(said) == 1
    told = result.case("v:mine", "modes_changed")
    assert np.all(told[1] == bits) and not np.any(np.delete(told, 1, axis=0))
    assert not np.any(result["modes_changed"][1:]) and not np.any(calm["modes_changed"])
    other = job(shop, external(f"external_{fault}"), *others)
    other.run(ranks=2)
    harness.assert_equal_bits(made, other)


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("fault, said", [
    ("writes_x", "the library wrote to x, which it may only read; at layer 1"),
    ("writes_past_y", "the library read or wrote past the end of y; at layer 1"),
    ("writes_before_y", "wrote before the start of y"),
    ("calls_exit", "the library called exit; at layer 1"),
    ("calls_quick_exit", "the library called exit; at layer 1"),
    ("calls__exit", "the library called _exit; at layer 1"),
    ("closes", "the library closed file descriptor "),
    ("load_exits", "the library called exit"),
    ("aborts", "the library was ended by SIGABRT; at layer 1"),
    ("crashes", "the library was ended by SIGSEGV; at layer 1"),
    ("recurses", "the library was ended by SIGSEGV; at layer 1"),
])
def test_what_would_end_or_harm_the_process_is_one_line(shop, ranks, fault, said):
    """Under one rank of two, the other does not wait for ever."""
    broken = job(shop, external(f"external_{fault}"), {"path": "full_mmap"})
    done = broken.run(ranks=ranks, expect=3)
    lines = [line for line in done.stderr.splitlines() if line.startswith("walkaudit: ")]
    assert lines and len(lines) <= (ranks or 1) and len(set(lines)) == 1, done.stderr  # each rank may meet it
    assert said in lines[0] and f"external_{fault}.so" in lines[0] and "v:mine" in lines[0], lines[0]
    assert not broken.result_path.exists()


def test_a_thread_of_the_library_that_exits_does_not_end_the_run_well(shop):
    """The kernel that waits keeps the run busy until then."""
    paths = [external("external_thread_exits"), harness.slow_path()]
    broken = job(shop, *paths)
    assert "called exit" in harness.one_error_line(broken.run(expect=3, **harness.slowly()))
    assert not broken.result_path.exists()


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_thread_of_the_library_that_crashes_between_calls_is_one_line(shop, ranks):
    broken = job(shop, external("external_thread_crashes"), harness.slow_path())
    done = broken.run(ranks=ranks, expect=3, **harness.slowly())
    lines = [line for line in done.stderr.splitlines() if line.startswith("walkaudit: ")]
    assert lines and len(lines) <= (ranks or 1), done.stderr
    assert all(line.endswith("a thread was ended by SIGSEGV; in one of the libraries that cases have loaded")
               for line in lines), done.stderr
    assert not broken.result_path.exists()


def test_a_thread_that_the_library_leaves_keeps_its_code(shop):
    """In a sweep the next audit loads the library again."""
    made = job(shop, external("external_thread_remains"), {**external("external_sound"), "name": "sound"})
    words = json.loads(made.path.read_text())
    words["audits"].append({**words["audits"][0], "name": "second"})
    made.path.write_text(json.dumps(words))
    for ranks in (None, 2):
        done = made.run(ranks=ranks, words=["--fresh"])
        assert not [line for line in done.stderr.splitlines() if line.startswith("walkaudit: ")], done.stderr


def test_a_second_thread_that_exits_does_not_overtake_the_error_line(shop):
    """Standard error is a pipe with room for the lines before it, so the first thread waits while the others are in exit too."""
    first, second = (job(shop, external("external_thread_exits"), harness.slow_path()) for _ in range(2))
    first = first.run(expect=3, **harness.slowly())
    room = len(first.stderr.encode()) - len(harness.one_error_line(first).encode()) - 1
    reader, writer = os.pipe()
    filled = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096) - room
    os.write(writer, b"." * filled)
    run = subprocess.Popen(harness.command(["run", second.path]), env=harness.environment(**harness.slowly()),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(timeout=2)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()[filled:].decode()
    assert run.wait(timeout=harness.LIMIT) == 3, said
    assert "walkaudit: a thread called exit" in said.splitlines()[-1], said


def test_a_child_of_the_library_may_exit_as_it_likes(shop):
    result = job(shop, external("external_forks")).result()
    assert result.verdicts() == {"v:mine": "UNCHECKED"}


def test_where_the_process_is_is_put_back(shop):
    """Its directory, from which the result's path begins, its locale and the mask of new files."""
    calm, moved = job(shop, external("external_sound")), job(shop, external("external_moves"))
    for made in (calm, moved):
        command = [str(pathlib.Path(harness.binary()).resolve()), "run", "job.yaml"]
        done = subprocess.run(command, cwd=made.folder, env=harness.environment(), stdin=subprocess.DEVNULL,
                              timeout=harness.LIMIT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert moved.result_path.stat().st_mode == calm.result_path.stat().st_mode
    numbers, others = (measured(harness.Result(made.result_path)) for made in (calm, moved))
    assert all(np.array_equal(numbers[name], others[name], equal_nan=numbers[name].dtype.kind == "f") for name in numbers)


def test_x_and_y_are_aligned_to_64_bytes(shop):
    assert job(shop, external("external_needs_alignment")).result().verdicts() == {"v:mine": "UNCHECKED"}
