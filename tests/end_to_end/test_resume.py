"""What a begun or finished result says of itself, and what it refuses: status, --resume, --fresh, fingerprints."""
import json
import os
import re
import signal

import h5py
import pytest

import harness
from harness import assert_equal_bits, corpus, one_error_line, parts, slow_path, slowly, start, wait_for_parts

PATHS = [{"path": "sparse"}, slow_path()]


@pytest.fixture(scope="module")
def prompts(shop):
    return corpus(shop.root / "long.jsonl", 90, seed=5)


def own_inputs(shop, name):
    """A model and a vindex that may be changed."""
    vindex = shop.copy("tiny-gemma3", "f16", shop.root / name)
    return shop.model("tiny-gemma3"), vindex


def begun(job, ranks=None, count=5):
    """Kill the job with some parts done."""
    process = start(job, ranks, **slowly())
    wait_for_parts(job, process, count)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 75
    assert parts(job)


def flip_middle(path, keep_time):
    """Change one byte in neither the first nor the last MiB, if the file is that long."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(before.st_size // 2)
        old = file.read(1)
        file.seek(before.st_size // 2)
        file.write(bytes([old[0] ^ 1]))
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_status_of_a_running_a_stopped_and_a_finished_run(shop, prompts):
    model, vindex = own_inputs(shop, "status.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS, batch={"rows": 8}, prompts=prompts)
    typo = harness.run(["status", job.result_path], expect=3)
    assert typo.stdout == "" and "not found: neither a result nor an unfinished run" in typo.stderr
    process = start(job, 2, **slowly())
    wait_for_parts(job, process, 3)
    told = harness.run(["status", job.result_path], expect=75).stdout
    assert "running: wait for it" in told, told
    assert re.search(r"rate: [\d.e+]+ prompts a minute; about \d+ s left", told), told
    process.kill()
    process.wait(timeout=30)
    harness.wait_until_gone(job)
    there = harness.prompts_done(job)
    told = harness.run(["status", job.result_path], expect=75).stdout
    assert "gone; the next run takes over" in told and re.search(rf"{there} of \d+ prompts done", told), told
    job.run(ranks=2, words=["--resume"])
    assert "finished" in harness.run(["status", job.result_path]).stdout


@pytest.mark.parametrize("mode, keep_time, word", [("quick", False, "'vindex v: gate_vectors.bin' differs"),
                                                   ("full", False, "'vindex v: gate_vectors.bin' differs"),
                                                   ("full", True, "'vindex v: gate_vectors.bin' differs"),
                                                   ("quick", True, "gate_vectors.bin")])
def test_a_byte_changed_in_the_middle_of_a_file(shop, mode, keep_time, word):
    """quick goes by the time of the file and by the digests of payloads that are read, full by all bytes. No golden model is
    large enough, so synth makes one."""
    folder = shop.root / f"big-{mode}-{keep_time}"
    folder.mkdir()
    model = folder / "model"
    harness.run(["synth", model, "--family", "llama", "--shape", "small", "--layers", "2"])
    vindex = folder / "f32.vindex"
    harness.run(["extract", model, vindex, "--format", "f32"])
    changed = vindex / "gate_vectors.bin"
    assert changed.stat().st_size > 3 << 20
    job = shop.job(model, {"v": vindex}, paths=[{"path": "full_mmap"}], fingerprint=mode)
    job.run(expect=None)
    flip_middle(changed, keep_time)
    again = job.run(expect=None)
    assert again.returncode == 3
    line = one_error_line(again)
    assert word in line and "--fresh" in line
    assert job.run(words=["--fresh"], expect=None).returncode in (0, 1)


def test_changed_inputs_refuse_to_go_on_by_name(shop, prompts):
    model, vindex = own_inputs(shop, "changed.vindex")
    keys = {"paths": PATHS, "batch": {"rows": 8}, "prompts": prompts}
    job = shop.job(model, {"f16": vindex}, **keys)
    begun(job)
    kept = [p.name for p in parts(job)]
    saved = (vindex / "down_features.bin").stat()
    flip_middle(vindex / "down_features.bin", keep_time=False)
    assert "'vindex f16: down_features.bin' differs" in one_error_line(job.run(expect=3))
    assert "'settings' differs" not in one_error_line(job.run(expect=3))
    flip_middle(vindex / "down_features.bin", keep_time=False)  # as it was
    os.utime(vindex / "down_features.bin", ns=(saved.st_atime_ns, saved.st_mtime_ns))
    assert "'settings' differs" in one_error_line(job.run(sets=["topk=7"], expect=3))
    assert [p.name for p in parts(job)] == kept
    job.run(ranks=3, sets=["grid.stages=3"])  # another rank count and grid are welcome
    whole = shop.job(model, {"f16": vindex}, **keys)
    whole.run()
    assert_equal_bits(whole, job)
    fresh = job.run(words=["--fresh"], ranks=2)
    assert "prompt " in fresh.stderr
    assert_equal_bits(whole, job)


def test_an_input_changed_under_a_run_is_noticed_at_its_end(shop, prompts):
    model, vindex = own_inputs(shop, "written.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS, batch={"rows": 8}, prompts=prompts)
    process = start(job, 2, **slowly(10))
    wait_for_parts(job, process, 3)
    flip_middle(vindex / "up_features.bin", keep_time=False)
    assert process.wait(timeout=60) == 3
    log = (job.folder / "log").read_text()
    assert log.count("walkaudit: ") == 1 and "changed while this run read it" in log and "up_features.bin" in log
    assert not job.result_path.exists()


def test_an_input_replaced_under_a_run_is_noticed_at_its_end(shop, prompts):
    model, vindex = own_inputs(shop, "replaced.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS, batch={"rows": 8}, prompts=prompts)
    process = start(job, 2, **slowly(10))
    wait_for_parts(job, process, 3)
    other = vindex / "another.bin"
    other.write_bytes((vindex / "down_features.bin").read_bytes())
    other.rename(vindex / "down_features.bin")
    assert process.wait(timeout=60) == 3
    log = (job.folder / "log").read_text()
    assert log.count("walkaudit: ") == 1 and "changed while this run read it" in log and "down_features.bin" in log
    assert not job.result_path.exists()


@pytest.mark.parametrize("ranks", [None, 2])
def test_an_input_replaced_by_one_of_the_same_size_and_time_is_noticed(shop, prompts, ranks):
    """Each rank asks whether its paths still name the files that it has mapped."""
    model, vindex = own_inputs(shop, f"same{ranks}.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS, batch={"rows": 8}, prompts=prompts)
    process = start(job, ranks, **slowly(10))
    wait_for_parts(job, process, 3)
    place = vindex / "down_features.bin"
    other = vindex / "another.bin"
    other.write_bytes(place.read_bytes())
    flip_middle(other, keep_time=True)
    os.utime(other, ns=(place.stat().st_atime_ns, place.stat().st_mtime_ns))
    other.rename(place)
    assert process.wait(timeout=60) == 3
    log = (job.folder / "log").read_text()
    assert log.count("walkaudit: ") == 1 and "while this run read it" in log and "down_features.bin" in log
    assert not job.result_path.exists()


def test_a_changed_status_of_equal_bytes_is_no_change(shop, prompts):
    model, vindex = own_inputs(shop, "rights.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS, batch={"rows": 8}, prompts=prompts)
    process = start(job, None, **slowly(10))
    wait_for_parts(job, process, 3)
    (vindex / "down_features.bin").chmod(0o640)
    assert process.wait(timeout=60) == 0, (job.folder / "log").read_text()


def test_parts_left_beside_a_finished_result_are_removed(shop, prompts):
    """A kill between the renaming of the result and the removal of its parts."""
    model, vindex = own_inputs(shop, "left.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS)
    job.run()
    before = job.result_path.stat().st_mtime_ns
    left = job.result_path.with_name("job-audit.h5.parts")
    left.mkdir()
    (left / "prompts-000000-000001.h5").write_bytes(b"a part")
    (left / "lock").write_text('{"host": "%s", "process": 999999999, "start": 1, "slurm_job": ""}' % os.uname().nodename)
    os.utime(left / "lock", (0, 0))  # silent for long: who names no boot and no process space is judged by that alone
    job.run()
    assert not left.exists() and job.result_path.stat().st_mtime_ns == before


def told(job, code, *words):
    """status of a job in words and in JSON, and of its result: all with this exit code. Returns the line and what JSON says."""
    line = harness.run(["status", job.path, *words], expect=code).stdout.splitlines()[0]
    said = json.loads(harness.run(["status", "--json", job.path, *words], expect=code).stdout)["audits"][0]
    assert said["exit_code"] == code
    harness.run(["status", said["result"]], expect=code)
    return line, said


def can_go_on(job):
    return harness.run(["status", "--resumable", job.path], expect=None).returncode == 0


@pytest.mark.parametrize("words", [[], ["--out"]])
def test_a_failed_run_counts_beside_a_finished_result(shop, words):
    """Until a run of the audit succeeds; also where the job has one audit, and where its result is named."""
    model, vindex = own_inputs(shop, f"failed{len(words)}.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS[:1])
    words = [*words, job.folder / "named.h5"] if words else []
    record = (job.folder / "named.h5" if words else job.result_path).with_suffix(".failed.json")
    job.run(words=words)
    flip_middle(vindex / "up_features.bin", keep_time=False)
    reason = one_error_line(job.run(words=words, expect=3)).removeprefix("walkaudit: ")
    assert json.loads(record.read_text())["reason"] == reason
    line, said = told(job, 3, *words)
    assert "finished, 3 prompts; every case passes or is measured; the last run failed: " + reason in line
    assert (said["state"], said["failure"]) == ("finished", reason)
    job.run(words=["--only-failed", "--fresh", *words], expect=1)  # it is run, and ENCODING
    assert not record.exists()
    line, said = told(job, 1, *words)
    assert "some case fails" in line and said["failure"] is None
    assert "no audit is left to run" in job.run(words=["--only-failed", *words]).stderr


def test_a_failed_run_counts_beside_parts(shop, prompts):
    """They can go on when a run has begun since and been stopped; a run that is computing is no failure, nor is one that meets it."""
    model, vindex = own_inputs(shop, "parted.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS, batch={"rows": 8}, prompts=prompts)
    begun(job)
    assert can_go_on(job)
    saved = (vindex / "up_features.bin").stat()
    flip_middle(vindex / "up_features.bin", keep_time=False)
    reason = one_error_line(job.run(expect=3)).removeprefix("walkaudit: ")
    line, said = told(job, 3)
    assert re.search(r"unfinished, \d+ of 90 prompts; the last run failed: ", line) and line.endswith(reason)
    assert (said["state"], said["failure"]) == ("unfinished", reason)
    assert not can_go_on(job)
    flip_middle(vindex / "up_features.bin", keep_time=False)  # as it was
    os.utime(vindex / "up_features.bin", ns=(saved.st_atime_ns, saved.st_mtime_ns))
    process = start(job, 2, ["--only-failed"], **slowly())
    wait_for_parts(job, process, len(parts(job)) + 2)
    assert "another run is computing" in one_error_line(job.run(expect=3))
    line, said = told(job, 75)
    assert "running, " in line and (said["state"], said["failure"]) == ("running", None)
    process.kill()
    process.wait(timeout=30)
    harness.wait_until_gone(job)
    line, said = told(job, 75)
    assert "the last run was cut short: it was run again" in line and said["state"] == "unfinished"
    assert can_go_on(job)
    job.run(words=["--only-failed"])
    line, said = told(job, 0)
    assert said["state"] == "finished" and said["failure"] is None


def test_only_failed_runs_the_only_audit_again(shop, prompts):
    model, vindex = own_inputs(shop, "late.vindex")
    vindex.rename(shop.root / "not-yet.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS[:1])
    for words in ([], ["--only-failed"], ["--only-failed"]):
        assert "late.vindex" in one_error_line(job.run(words=words, expect=3))
    line, said = told(job, 3)
    assert "no result; the last run failed: " in line and said["state"] == "failed"
    (shop.root / "not-yet.vindex").rename(vindex)
    job.run(words=["--only-failed"])
    assert told(job, 0)[1]["failure"] is None


def test_status_answers_for_the_keys_that_the_run_had(shop):
    model, vindex = own_inputs(shop, "keys.vindex")
    job = shop.job(model, {"f16": vindex}, paths=PATHS[:1])
    job.run(sets=["result=other"])
    assert "not begun" in told(job, 3)[0]
    line, said = told(job, 0, "--set", "result=other")
    assert "finished, 3 prompts" in line and said["result"] == str(job.folder / "other" / "job-audit.h5")
    text = json.loads(job.path.read_text())
    text["audits"].append(dict(text["audits"][0], name="second"))
    job.path.write_text(json.dumps(text))
    assert "--out names one file" in one_error_line(harness.run(["status", job.path, "--out", "x.h5"], expect=2))


def test_what_an_earlier_run_told_of_itself_is_set_aside_when_damaged(shop, prompts):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS, batch={"rows": 8},
                   prompts=prompts)
    begun(job, count=2)
    record = parts(job)[0].with_name("run-0.json")
    record.write_bytes(record.read_bytes()[:100])
    said = job.run().stderr
    assert "what an earlier run told of itself is damaged and set aside" in said and "run-0.json" in said, said
    with h5py.File(job.result_path) as file:
        assert list(file["run"]) == ["0"] and file["run/0"].attrs["finished"] == 1
    assert not record.parent.exists()
