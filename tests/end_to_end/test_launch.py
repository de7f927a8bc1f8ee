"""run -n N: the program starts MPI's launcher itself, and is then what the launcher's ranks are; colour and who a rank is."""
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess

import pytest

import harness
from harness import assert_equal_bits, children, corpus, one_error_line, run, slow_path, slowly, wait_for_parts

# What no newcomer has set.
OURS = ("OMPI_MCA_rmaps_base_oversubscribe", "OMPI_MCA_mpi_yield_when_idle", "OMPI_MCA_pml", "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")

LAUNCHER = os.environ.get("WALKAUDIT_MPIRUN", "mpirun").split()[0]


def bare(yields=True, **extra):
    """What a newcomer has, but for `yields`: as many ranks as cores would spin while they wait, at the cost of other tests."""
    kind = {"OMPI_MCA_mpi_yield_when_idle": "1"} if yields else {}
    return {**{name: value for name, value in harness.environment().items() if name not in OURS}, **kind, **extra}


def launch(job, *words, yields=True, **extra):
    return subprocess.run(harness.command(["run", *words, job.path]), env=bare(yields, **extra), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=harness.LIMIT)


@pytest.fixture(scope="module")
def inputs(shop):
    return shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}


def make(shop, inputs, **keys):
    return shop.job(*inputs, **{"paths": [{"path": "sparse"}], **keys})


@pytest.mark.parametrize("words, ranks", [(["-n", "2"], 2), (["-n3"], 3), (["--ranks=5"], 5), (["-n", "1"], 1)])
def test_ranks_are_started_without_any_variable_and_beyond_the_slots(shop, inputs, words, ranks):
    alone, job = make(shop, inputs), make(shop, inputs)
    alone.run()
    done = launch(job, *words, yields=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf" on {ranks} ranks; ", done.stderr)
    assert_equal_bits(alone, job)


@pytest.mark.parametrize("keys, words, code", [
    ({"bounds": "tight.json"}, [], 1), ({"paths": [{"path": "full_mmap", "k": 3}]}, [], 2), ({"colour": 1}, [], 2),
    ({}, ["--memory", "1K"], 3),
])
def test_exit_code_and_lines_are_those_of_one_rank(shop, inputs, keys, words, code):
    job = make(shop, inputs, **keys)
    bounds = run(["verdict", "--print-bounds", "default"]).stdout
    (job.folder / "tight.json").write_text(bounds.replace("0.99999", "0.99999999999"))
    done = launch(job, "-n", "2", *words)
    if code == 1 and done.returncode == 2:
        pytest.fail(done.stderr)
    assert done.returncode == code, done.stderr
    assert "----" not in done.stderr  # of mpirun: "Primary job terminated normally, but 1 process returned …"
    if code != 1:
        one_error_line(done)


def test_signals_pass_through(shop, inputs):
    job = make(shop, inputs, paths=[{"path": "sparse"}, slow_path()], batch={"rows": 8},
               prompts=corpus(shop.root / "launch.jsonl", 60, seed=5))
    with open(job.folder / "log", "w") as log:
        process = subprocess.Popen(harness.command(["run", "-n", "2", job.path]), env=bare(**slowly()), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=log)
    wait_for_parts(job, process, 2)
    launcher, = children(process.pid)
    assert len(children(launcher)) >= 1
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 75, (job.folder / "log").read_text()
    assert "stopped by SIGUSR1" in (job.folder / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_launcher_that_ends_its_ranks_answers_as_rank_0_did(shop, inputs, number, tmp_path):
    """It has a code of its own, 1, which would say that some case fails."""
    job = make(shop, inputs, paths=[{"path": "sparse"}, slow_path()], batch={"rows": 8},
               prompts=corpus(shop.root / "launch.jsonl", 60, seed=5))
    with open(job.folder / "log", "w") as log:
        process = subprocess.Popen(harness.command(["run", "-n", "2", job.path]), env=bare(TMPDIR=str(tmp_path), **slowly()),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    wait_for_parts(job, process, 2)
    process.send_signal(number)
    log = job.folder / "log"
    assert process.wait(timeout=60) == 75, log.read_text()
    assert len(re.findall("stopped by SIG|^SIGTERM: ended", log.read_text(), re.MULTILINE)) == 1, log.read_text()
    assert not list(tmp_path.glob("walkaudit-launch-*"))


@pytest.mark.parametrize("words", [[], ["-n", "2"]])
def test_a_signal_before_mpi_has_started_is_heard(shop, inputs, words):
    job = make(shop, inputs, paths=[{"path": "sparse"}, slow_path()], batch={"rows": 8},
               prompts=corpus(shop.root / "launch.jsonl", 60, seed=5))
    for _ in range(10):
        with open(job.folder / "log", "w") as log:
            process = subprocess.Popen(harness.command(["run", *words, job.path]), env=bare(**slowly(20)), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=log)
        if hears_early(process):
            break
        process.kill()
        process.wait()
    else:
        pytest.fail("it never handled SIGUSR1 before MPI started")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) in (3, 75), (job.folder / "log").read_text()  # no batch is done yet, or few are
    assert "stopped by SIGUSR1" in (job.folder / "log").read_text()


def hears_early(process):
    """Wait until the process handles or blocks SIGUSR1, as proc(5) says. Has it one thread then? MPI starts others."""
    while process.poll() is None:
        facts = dict(re.findall(r"^(SigBlk|SigCgt|Threads):\s+(\w+)$", pathlib.Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE))
        if facts.get("Threads", "1") != "1":
            return False
        if any(int(facts.get(name, "0"), 16) >> (signal.SIGUSR1 - 1) & 1 for name in ("SigBlk", "SigCgt")):
            return True
    return False


def rank_0_of(launcher):
    """Among those of Open MPI and MPICH, a level deeper in the latter."""
    for pid in [pid for child in children(launcher) for pid in (child, *children(child))]:
        words = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if b"OMPI_COMM_WORLD_RANK=0" in words or b"PMI_RANK=0" in words:
            return pid
    return None


def error_lines(log):
    return [line for line in log.read_text().splitlines() if line.startswith("walkaudit: ")]


@pytest.mark.parametrize("killed, own, told", [
    ("launcher", "", "137, as after signal 9"), ("rank 0", "", ""), ("rank 0", " || exit 1", "1,"), ("rank 0", " || exit 0", "0,")])
def test_what_is_killed_is_one_line_and_resumable(shop, inputs, tmp_path, killed, own, told):
    """The launcher's own code says nothing: 137 is in no table, 1 and 0 would tell of cases."""
    job = make(shop, inputs, paths=[{"path": "sparse"}, slow_path()], batch={"rows": 8},
               prompts=corpus(shop.root / "launch.jsonl", 60, seed=5))
    wrapper, log = tmp_path / "mpiexec", job.folder / "log"
    wrapper.write_text(f"#!/bin/sh\n{LAUNCHER} \"$@\"{own}\n")
    wrapper.chmod(0o755)
    chosen = {"WALKAUDIT_MPIEXEC": str(wrapper)} if own else {}
    with open(log, "w") as lines:
        process = subprocess.Popen(harness.command(["run", "-n", "2", job.path]), env=bare(**slowly(), **chosen),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=lines)
    wait_for_parts(job, process, 2)
    launcher, = children(process.pid)
    os.kill(launcher if killed == "launcher" else rank_0_of(*(children(launcher) if own else [launcher])), signal.SIGKILL)
    assert process.wait(timeout=60) == 75, log.read_text()
    line, = error_lines(log)
    assert f"-n 2: the launcher ended with {told}" in line and "rank 0 without a word: run the job again" in line
    harness.wait_until_gone(job)
    run(["status", job.result_path], expect=75)


def test_what_is_killed_before_a_batch_is_done_is_3(shop, inputs):
    job = make(shop, inputs, paths=[{"path": "sparse"}, slow_path()])
    log, begun = job.folder / "log", job.result_path.with_name(f"{job.result_path.name}.parts") / "job.json"
    with open(log, "w") as lines:
        process = subprocess.Popen(harness.command(["run", "-n", "2", job.path]), env=bare(**slowly(5000)), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=lines)
    harness.wait_until(begun.exists, process)
    os.kill(rank_0_of(*children(process.pid)), signal.SIGKILL)
    assert process.wait(timeout=60) == 3, log.read_text()
    line, = error_lines(log)
    assert line.endswith("and rank 0 without a word: no batch was done")
    harness.wait_until_gone(job)


def test_a_launcher_that_fails_after_rank_0_is_told_apart_from_a_case_that_fails(shop, inputs, tmp_path):
    wrapper = tmp_path / "mpiexec"
    wrapper.write_text(f"#!/bin/sh\n{LAUNCHER} \"$@\"\nexit 1\n")
    wrapper.chmod(0o755)
    done = launch(make(shop, inputs), "-n", "2", WALKAUDIT_MPIEXEC=str(wrapper))
    assert done.returncode == 4
    assert one_error_line(done).endswith("-n 2: the launcher ended with 1, though rank 0 with 0")


def test_a_lone_process_starts_no_other_and_looks_for_no_fabric(shop, inputs):
    """Open MPI would give it a daemon, and spend a fifth of a second on Omni-Path's libraries where they are installed. Without
    the daemon, processes that run at the same time would share a directory, which the first to end removes."""
    (shop.root / "session").mkdir()
    job = make(shop, inputs, paths=[{"path": "sparse"}, slow_path()], batch={"rows": 8},
               prompts=corpus(shop.root / "alone.jsonl", 20, seed=5))
    process = subprocess.Popen(harness.command(["run", job.path]), env=bare(TMPDIR=str(shop.root / "session"), **slowly()), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_parts(job, process, 1)
        assert children(process.pid) == [] and list((shop.root / "session").iterdir()) == []
        assert "mca_mtl" not in pathlib.Path(f"/proc/{process.pid}/maps").read_text()
        assert "libpsm" not in pathlib.Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        process.kill()
        process.wait()


def test_a_rank_of_a_launcher_is_refused_in_one_line(shop, inputs):
    job = make(shop, inputs)
    done = run(["run", "-n", "2", job.path], ranks=2, expect=2)
    assert "-n 2: a launcher has started this process already" in one_error_line(done)


@pytest.mark.parametrize("variables, told", [
    ({"PMI_RANK": "0"}, "PMI_RANK"), ({"PMIX_RANK": "0"}, "PMIX_RANK"), ({"SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}, "SLURM_PROCID"),
    ({"OMPI_COMM_WORLD_RANK": "0"}, "OMPI_COMM_WORLD_RANK"),
])
def test_every_launcher_is_known_by_its_variable(shop, inputs, variables, told):
    done = launch(make(shop, inputs), "-n", "2", **variables)
    assert done.returncode == 2
    assert one_error_line(done).endswith(f"-n 2: a launcher has started this process already ({told} is set); use one of the two")
    name, = [name for name in variables if "STEP" not in name]
    silent = launch(make(shop, inputs), "-n", "2", **{**variables, name: "1"})
    assert (silent.returncode, silent.stderr) == (2, "")


def test_the_shell_of_an_allocation_is_no_rank(shop, inputs):
    """In a batch script, and in salloc's shell, srun's variables stand for the one step that this shell is."""
    for step in ("4294967291", "4294967290"):
        assert launch(make(shop, inputs), "-n", "2", SLURM_STEP_ID=step, SLURM_PROCID="0").returncode == 0


def test_a_launcher_that_fails_is_one_line(shop, inputs):
    job = make(shop, inputs)
    for program, told in (("/nonexistent/mpiexec", "cannot start '/nonexistent/mpiexec'"), ("/bin/false", "the launcher ended with 1")):
        done = launch(job, "-n", "2", WALKAUDIT_MPIEXEC=program)
        assert done.returncode == 3
        assert told in one_error_line(done)


def test_the_launcher_of_another_mpi_is_one_line(shop, inputs):
    ours = run(["--version"]).stdout
    other = shutil.which("mpiexec.mpich" if "Open MPI" in ours else "mpiexec.openmpi")
    if other is None:
        pytest.skip("one MPI is installed")
    done = launch(make(shop, inputs), "-n", "2", WALKAUDIT_MPIEXEC=other, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    assert done.returncode == 3
    told = [line for line in done.stderr.splitlines() if line.startswith("walkaudit: ")]
    assert len(told) == 1 and "the launcher belongs to another MPI" in told[0], done.stderr


def on_a_terminal(words, stdout=True, **extra):
    """Standard output of a command whose stdout, or else only whose stderr, is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(harness.command(words), env=bare(**extra), stdin=subprocess.DEVNULL,
                               stdout=theirs if stdout else subprocess.PIPE, stderr=subprocess.DEVNULL if stdout else theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    piped = b"" if stdout else process.stdout.read()
    process.wait(timeout=harness.LIMIT)
    return (said if stdout else piped).decode()


def test_colour_follows_the_terminal_of_the_command(shop, inputs):
    job = make(shop, inputs)
    for words in (["run", job.path, "--fresh"], ["run", "-n", "2", job.path, "--fresh"], ["verdict", job.result_path]):
        assert "\x1b[" in on_a_terminal(words)
        assert "\x1b[" not in on_a_terminal(words, NO_COLOR="1")
        table = on_a_terminal(words, stdout=False)
        assert "Verdicts" in table and "\x1b[" not in table


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PALS_RANKID"])
def test_a_rank_of_any_launcher_uses_no_colour(shop, inputs, variable):
    job = make(shop, inputs)
    job.run()
    assert "\x1b[" not in on_a_terminal(["verdict", job.result_path], **{variable: "0"})


@pytest.mark.parametrize("chosen, expected", [({}, "pmix"), ({"WALKAUDIT_MPI": "pmi2"}, "pmi2")])
def test_the_batch_scripts_hand_srun_the_plugin_of_the_mpi(tmp_path, chosen, expected):
    stub = tmp_path / "srun"
    stub.write_text('#!/bin/sh\necho "$@"\n')
    stub.chmod(0o755)
    script = pathlib.Path(__file__).resolve().parents[2] / "slurm" / "launch.sh"
    done = subprocess.run(["sh", "-euc", '. "$0"; launch job.yaml', script], capture_output=True, text=True, check=True,
                          env=bare(PATH=f"{tmp_path}:{os.environ['PATH']}", WALKAUDIT="true", WALKAUDIT_SLURM=str(script.parent), **chosen))
    assert done.stdout == f"--mpi={expected} --cpus-per-task=1 --cpu-bind=cores true run job.yaml\n"
