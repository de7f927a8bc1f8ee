"""Fewer ranks than tasks of a batch system; what the batch scripts share, without a Slurm."""
import pathlib
import re
import subprocess

import harness
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCRIPTS = ROOT / "slurm"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    shop = harness.Workshop(tmp_path_factory.mktemp("allocation"))
    path = shop.root / "job.yaml"
    path.write_text(f"name: job\nresult: results\naudits:\n  - name: one\n    model: {shop.model('tiny-gemma3')}\n"
                    f"    vindexes:\n      - {{name: f16, path: {shop.vindex('tiny-gemma3', 'f16')}}}\n")
    return path


@pytest.mark.parametrize("tasks, slurm", [
    (64, {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "16", "SLURM_JOB_NUM_NODES": "4"}),  # --ntasks in a script
    (3, {"SLURM_NTASKS": "3", "SLURM_JOB_NUM_NODES": "1"}),
    (2, {"SLURM_NTASKS": "2"}),
    (0, {"SLURM_NTASKS": "-5"}), (0, {"SLURM_NTASKS": "99999999999999999999"}), (0, {})])
def test_a_run_on_fewer_ranks_than_the_allocation_has_tasks_warns(job, tasks, slurm):
    done = harness.run(["run", job, "--fresh"], 2, SLURM_JOB_ID="1", OMPI_MCA_ras="^slurm", OMPI_MCA_plm="^slurm", **slurm)
    warned = re.findall(r"warning: (\d+) ranks run in a Slurm allocation of (\d+) tasks", done.stderr)
    assert warned == ([("2", str(tasks))] if tasks > 2 else [])


def shared(words, **environment):
    """Source launch.sh and go on with `words`."""
    return subprocess.run(["/bin/bash", "-uc", f". {SCRIPTS}/launch.sh; {words}"], capture_output=True, text=True, timeout=60,
                          env=harness.environment(WALKAUDIT_SLURM=str(SCRIPTS), **environment), stdin=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize("launcher, program, missing", [("mpirun", "no-such-walkaudit", "no-such-walkaudit"),
                                                        ("srun", "/bin/true", "srun")])
def test_a_program_that_is_missing_ends_the_script_in_one_line(tmp_path, launcher, program, missing):
    for name in ("mpirun", "uname"):
        (tmp_path / name).symlink_to("/bin/true")
    done = shared("echo went on", WALKAUDIT=program, WALKAUDIT_LAUNCHER=launcher, PATH=str(tmp_path))
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and f"'{missing}' not found" in done.stderr


def test_what_mpirun_cannot_do_is_said():
    done = shared("launch job.yaml", WALKAUDIT="/bin/true", WALKAUDIT_LAUNCHER="mpirun", SLURM_CPUS_PER_TASK="9999")
    assert "no available cpus" in done.stderr


def test_documented_commands_do_not_silence_mpirun():
    """`mpirun -q -n 3` on two slots prints nothing at all."""
    quiet = [f"{path.name}: {line}" for path in (ROOT / "README.md", ROOT / "jobs/README.md", *SCRIPTS.iterdir())
             for line in path.read_text().splitlines() if re.search(r"mpirun\S* -q", line)]
    assert quiet == []


def batch(script, *words, **environment):
    """A batch script on one rank, by mpirun and without a Slurm: its exit code and what it prints."""
    done = subprocess.run(["/bin/bash", SCRIPTS / script, *map(str, words)], capture_output=True, text=True, timeout=120, check=False,
                          env=harness.environment(WALKAUDIT=harness.binary(), WALKAUDIT_SLURM=str(SCRIPTS), WALKAUDIT_LAUNCHER="mpirun",
                                                  WALKAUDIT_BIND="none", SLURM_NTASKS="1", **environment), stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def answers(said):
    return re.search(r"the run answered (\d+), the result files say (\d+)", said).groups()


def test_a_broken_vindex_is_no_success_of_the_script(tmp_path):
    """Neither where --set sends the result elsewhere, nor beside a result of the vindex when it was whole."""
    shop = harness.Workshop(tmp_path)
    vindex = shop.copy("tiny-gemma3", "f16", tmp_path / "own.vindex")
    job = shop.job(shop.model("tiny-gemma3"), {"f16": vindex}, paths=[{"path": "sparse"}])
    code, said = batch("audit.sbatch", job.path)
    assert code == 0 and answers(said) == ("0", "0"), said
    with open(vindex / "up_features.bin", "r+b") as file:
        file.seek(5000)
        file.write(b"\x45" * 64)
    for words in (["--set", "result=other"], ["--set=result=third"], ["-s", "result=fourth", "--fresh"], ["--out", job.folder / "x.h5"]):
        code, said = batch("audit.sbatch", job.path, "--grace", "5", *words)
        assert code == 1 and answers(said) == ("1", "1") and "some case fails" in said, said
    code, said = batch("audit.sbatch", job.path)
    assert code == 3 and answers(said) == ("3", "3") and "the last run failed: " in said, said


def test_a_run_that_failed_decides_where_the_files_tell_of_no_failure(job):
    harness.run(["run", job])
    code, said = batch("audit.sbatch", job, "--no-such-option")
    assert code == 2 and answers(said) == ("2", "0"), said


def test_the_scripts_ask_about_what_the_words_of_run_chose(tmp_path):
    """Whatever else is among them, however it is abbreviated or quoted."""
    show = tmp_path / "show"
    show.write_text("#!/bin/sh\nfor word; do printf '<%s>' \"$word\"; done\n")
    show.chmod(0o755)
    words = "--array-index=3 --set 'a b=c d' -v --grace 1 --se x=1 -sy=2 -s z=3 --out 'o o.h5' --max-time 3h --only-failed --aud q"
    for question, asked in (("--prompts", "<--prompts>"), ("''", "")):
        done = shared(f"ask {question} job.yaml {words}", WALKAUDIT=str(show), WALKAUDIT_LAUNCHER="mpirun")
        assert done.stdout == (f"<status>{asked}<job.yaml><--array-index=3><--set><a b=c d><--se><x=1><-sy=2><-s><z=3><--out><o o.h5>"
                               "<--aud><q>"), done.stderr


@pytest.mark.parametrize("restarts, can_go_on, given, before", [("0", 0, "job.yaml -v --fresh", 0), ("1", 0, "job.yaml -v", 24),
                                                                ("1", 1, "job.yaml -v --fresh", 0)])
def test_a_requeued_job_begins_nothing_anew_that_can_go_on(tmp_path, restarts, can_go_on, given, before):
    """A launcher that prints its words, and a program that can go on, or cannot, with what is there."""
    program, mpirun = tmp_path / "program", tmp_path / "mpirun"
    program.write_text(f"#!/bin/sh\nexit {can_go_on}\n")
    mpirun.write_text("#!/bin/sh\n[ \"$1\" = --version ] || echo \"words: $*\"\n")
    program.chmod(0o755)
    mpirun.chmod(0o755)
    for words in ("--fresh -v", "-v --fre"):
        done = shared(f"before=24; launch job.yaml {words}; echo before=$before", WALKAUDIT=str(program), WALKAUDIT_LAUNCHER=str(mpirun),
                      SLURM_RESTART_COUNT=restarts)
        assert done.stdout.splitlines()[0].endswith(f" run {given}") and f"before={before}\n" in done.stdout, done.stdout + done.stderr
