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
