"""The scripts of slurm/, submitted to a real Slurm: one node, and two pretended ones over TCP."""
import json
import os
import pathlib
import re
import shutil

import h5py
import pytest

import harness
from compare_results import differences

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent.parent / "slurm"
MODEL = "tiny-gemma3"
# Two nodes on one host: shared memory is named by host, so their ranks would meet in it.
OVER_TCP = {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,tcp", "OMPI_MCA_btl_tcp_if_include": "lo"}


class Site:
    """A directory to submit from: job file, results and what the scripts print."""

    def __init__(self, slurm, folder, **environment):
        self.slurm, self.folder = slurm, folder
        self.slurm.env.update(harness.environment(WALKAUDIT=harness.binary(), WALKAUDIT_SLURM=str(SCRIPTS),
                                                  WALKAUDIT_REPORT=str(SCRIPTS.parent / "analysis/walkaudit-report"),
                                                  WALKAUDIT_BIND="none", PATH=slurm.env["PATH"], **environment))

    def write(self, job):
        path = self.folder / "job.yaml"
        path.write_text(json.dumps(job))  # YAML holds JSON
        return path

    def submit(self, script, *words, options=()):
        """A job's id and the path of its output."""
        out = self.folder / "out-%A-%a.txt" if "--array" in " ".join(options) else self.folder / "out-%j.txt"
        job = self.slurm.submit(f"--output={out}", *options, SCRIPTS / script, *words, cwd=self.folder)
        return job

    def output(self, job):
        return "\n".join(p.read_text() for p in sorted(self.folder.glob(f"out-{job}*.txt")))

    def finish(self, job, states, seconds=120):
        found = self.slurm.finish(job, seconds)
        assert sorted(found) == sorted(states), f"{found}\n{self.output(job)}\n{self.slurm.logs()}"
        return self.output(job)


def audit(shop, name="audit", model=MODEL, vindex="f16"):
    return {"name": name, "model": str(shop.model(model)),
            "vindexes": [{"name": vindex, "path": str(shop.vindex(model, vindex))}]}


def corpus(folder, prompts):
    """Prompts of a few tokens each."""
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"key": f"p{i:03d}", "text": f"number {i} of these lines is short"}) + "\n"
                            for i in range(prompts)))
    return str(path)


def plain_result(job_path, ranks=1):
    """The same job without Slurm, in a directory of its own."""
    out = job_path.parent / "plain.h5"
    harness.run(["run", job_path, "--out", out], ranks)
    return out


def ranks_of(path):
    """Ranks of the last run that went into a result: its numbers are the same for any."""
    with h5py.File(path) as file:
        runs = file["run"]
        return int(runs[max(runs, key=int)].attrs["ranks"])


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_a_job_on_one_node(one_node, shop, tmp_path, launcher):
    site = Site(one_node, tmp_path, WALKAUDIT_LAUNCHER=launcher)
    path = site.write({"name": "job", "audits": [audit(shop)], "result": "results"})
    text = site.finish(site.submit("audit.sbatch", path, options=["--nodes=1", "--ntasks-per-node=3"]), ["COMPLETED"])
    assert ranks_of(tmp_path / "results/job-audit.h5") == 3 and "allocation of" not in text
    assert "the run answered 0, the result files say 0" in text
    assert text.count("Verdicts, and the largest differences") == 1  # one rank prints
    assert not differences(tmp_path / "results/job-audit.h5", plain_result(path))


def test_an_array_with_a_broken_pair_and_a_second_run_of_it_alone(one_node, shop, tmp_path):
    site = Site(one_node, tmp_path, WALKAUDIT_LAUNCHER="srun")
    broken = {"name": "two", "model": str(shop.model(MODEL)),
              "vindexes": [{"name": "f16", "path": str(tmp_path / "late.vindex")}]}
    path = site.write({"name": "job", "result": "results",
                       "audits": [audit(shop, "one"), broken, audit(shop, "three", vindex="f32")]})
    array = site.submit("sweep-array.sbatch", path, options=["--array=0-2%2", "--ntasks=2"])
    collector = site.submit("collect.sbatch", path, options=[f"--dependency=afterany:{array}"])
    site.finish(array, ["COMPLETED", "COMPLETED", "FAILED"])
    assert ranks_of(tmp_path / "results/job-one.h5") == 2
    text = site.finish(collector, ["FAILED"])
    assert one_node.job(collector)["ExitCode"] == "3:0"
    assert "late.vindex" in text
    failed = json.loads((tmp_path / "results/job-two.failed.json").read_text())
    assert "late.vindex" in json.dumps(failed)
    before = (tmp_path / "results/job-one.h5").stat().st_mtime_ns

    shop.copy(MODEL, "f16", tmp_path / "late.vindex")
    again = site.submit("sweep-array.sbatch", path, "--only-failed", options=["--array=1", "--ntasks=2"])
    site.finish(again, ["COMPLETED"])
    assert not (tmp_path / "results/job-two.failed.json").exists()
    assert (tmp_path / "results/job-one.h5").stat().st_mtime_ns == before
    done = site.submit("collect.sbatch", path, "results")
    site.finish(done, ["COMPLETED"])
    assert (tmp_path / "results/sweep.h5").exists() and len((tmp_path / "results/sweep.csv").read_text().splitlines()) > 3


def test_a_sweep_in_one_allocation(one_node, shop, tmp_path):
    site = Site(one_node, tmp_path, WALKAUDIT_LAUNCHER="srun")
    path = site.write({"name": "job", "result": "results",
                       "audits": [audit(shop, "one"), audit(shop, "two", vindex="f32")]})
    text = site.finish(site.submit("sweep.sbatch", path, options=["--nodes=1", "--ntasks-per-node=4"]), ["COMPLETED"])
    assert "ranks 2 to 3: two" in text
    assert text.count("Verdicts, and the largest differences") == 2
    for name in ("one", "two"):
        assert (tmp_path / f"results/job-{name}.h5").exists()


def slow(shop, folder, prompts):
    """A job of a batch for each prompt, whose kernel waits when it is told to (harness.slowly)."""
    return {"name": "job", "audits": [audit(shop, vindex="f32")], "result": "results",
            "paths": [{"path": "sparse"}, harness.slow_path()], "batch": {"rows": 1}, "prompts": {"file": corpus(folder, prompts)}}


def test_a_time_limit_with_requeue_that_finishes(one_node, shop, tmp_path):
    """slurmctld looks every 30 s and warns when the time asked for will have come by its next look: 10 to 40 s after the start, when
    the run has batches done, and not yet all of its 48 s of waiting behind it."""
    site = Site(one_node, tmp_path, WALKAUDIT_LAUNCHER="srun", **harness.slowly(60))
    path = site.write(slow(shop, tmp_path, 200))
    job = site.submit("audit.sbatch", path, "--grace", "1", options=["--ntasks=2", "--time=1", "--signal=B:USR1@20"])
    text = site.finish(job, ["COMPLETED"], 400)
    assert "requeued" in text
    assert int(one_node.job(job)["Restarts"]) >= 1
    further = [int(n) for n in re.findall(r"slurm: (\d+) prompts further", text)]
    assert all(n > 0 for n in further)
    assert not differences(tmp_path / "results/job-audit.h5", plain_result(path, 2))


def test_a_node_set_down_in_the_middle(two_nodes, shop, tmp_path):
    site = Site(two_nodes, tmp_path, WALKAUDIT_LAUNCHER="srun", **OVER_TCP, **harness.slowly(40))
    path = site.write(slow(shop, tmp_path, 100))
    job = site.submit("audit.sbatch", path, options=["--nodes=1", "--ntasks=2"])
    parts = tmp_path / "results/job-audit.h5.parts"
    two_nodes.wait(lambda: len(list(parts.glob("prompts-*.h5"))) >= 3, 60, "three finished batches")
    node = two_nodes.job(job)["NodeList"]
    two_nodes.output(["scontrol", "update", f"nodename={node}", "state=down", "reason=test"])
    site.finish(job, ["COMPLETED"], 240)
    assert int(two_nodes.job(job)["Restarts"]) == 1
    assert not differences(tmp_path / "results/job-audit.h5", plain_result(path, 2))


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_a_job_on_two_nodes(two_nodes, shop, tmp_path, launcher):
    site = Site(two_nodes, tmp_path, WALKAUDIT_LAUNCHER=launcher, **OVER_TCP)
    path = site.write({"name": "job", "audits": [audit(shop)], "result": "results"})
    job = site.submit("audit.sbatch", path, options=["--nodes=2", "--ntasks-per-node=2"])
    site.finish(job, ["COMPLETED"])
    assert ranks_of(tmp_path / "results/job-audit.h5") == 4
    assert not differences(tmp_path / "results/job-audit.h5", plain_result(path))


def test_a_run_on_fewer_ranks_than_tasks_says_so(one_node, shop, tmp_path):
    site = Site(one_node, tmp_path, WALKAUDIT_LAUNCHER="srun")
    path = site.write({"name": "job", "audits": [audit(shop)], "result": "results"})
    script = tmp_path / "few.sbatch"
    script.write_text(f"#!/bin/sh\nsrun --mpi=pmix -n 2 {harness.binary()} run {path}\n")
    text = site.finish(site.submit(script, options=["--nodes=1", "--ntasks-per-node=4"]), ["COMPLETED"])
    assert "warning: 2 ranks run in a Slurm allocation of 4 tasks" in text


def test_a_script_away_from_its_directory_stops_at_the_first_thing_missing(one_node, tmp_path):
    site = Site(one_node, tmp_path)
    del one_node.env["WALKAUDIT_SLURM"]
    lines = site.finish(site.submit("audit.sbatch", "job.yaml"), ["FAILED"]).splitlines()
    assert len(lines) == 1 and "slurm/launch.sh' not found" in lines[0] and "set WALKAUDIT_SLURM" in lines[0]


def test_what_a_site_wants_stands_in_one_file(one_node, shop, tmp_path, monkeypatch):
    """submit.sh, from another directory: account, partition and mail reach Slurm, modules and words of the launcher the job."""
    site = Site(one_node, tmp_path, WALKAUDIT_LAUNCHER="srun")
    monkeypatch.setitem(one_node.env, "BASH_FUNC_module%%", '() { echo "module $*"; }')
    del one_node.env["WALKAUDIT_SLURM"]
    settings = tmp_path / "my site.sh"
    settings.write_text('WALKAUDIT_ACCOUNT=physics\nWALKAUDIT_PARTITION=debug\nWALKAUDIT_MAIL=me@example.org\n'
                        'WALKAUDIT_MODULES="gcc/13 hdf5"\nWALKAUDIT_LAUNCHER_OPTIONS="--label --job-name=of-the-step"\n')
    monkeypatch.setitem(one_node.env, "WALKAUDIT_SITE", str(settings))
    path = site.write({"name": "job", "audits": [audit(shop)], "result": "results"})
    words = [SCRIPTS / "submit.sh", "--parsable", f"--output={tmp_path}/out-%j.txt", "--ntasks=2", SCRIPTS / "audit.sbatch", path]
    job = one_node.output([str(word) for word in words]).strip()
    text = site.finish(job, ["COMPLETED"])
    facts = one_node.job(job)
    assert (facts["Account"], facts["Partition"], facts["MailUser"]) == ("physics", "debug", "me@example.org")
    assert text.startswith("module load gcc/13\nmodule load hdf5\n") and re.search("^0: .*Verdicts", text, re.M), text
    assert ranks_of(tmp_path / "results/job-audit.h5") == 2
    other = one_node.output([str(word) for word in [*words[:2], "--account=chemistry", *words[2:]]]).strip()
    site.finish(other, ["COMPLETED"])
    assert one_node.job(other)["Account"] == "chemistry"
    settings.write_text("WALKAUDIT_MODULES=nowhere\n")
    one_node.env["BASH_FUNC_module%%"] = "() { return 1; }"
    text = site.finish(one_node.output([str(word) for word in words]).strip(), ["FAILED"])
    assert text.startswith("slurm: cannot load module 'nowhere' of WALKAUDIT_MODULES")


@pytest.mark.parametrize("launcher, known", [("mpirun.openmpi", "--map-by"), ("mpiexec.mpich", "-bind-to")])
def test_each_launcher_gets_the_words_that_it_knows(one_node, tmp_path, launcher, known):
    """A launcher that prints its own version and its words, as a real one would be given them."""
    fake = tmp_path / launcher
    fake.write_text(f'#!/bin/sh\n[ "$1" != --version ] || exec {shutil.which(launcher)} --version\necho "words: $*"\n')
    fake.chmod(0o755)
    site = Site(one_node, tmp_path, WALKAUDIT_LAUNCHER=str(fake))
    path = site.write({"name": "job", "audits": [], "result": "results"})
    text = site.finish(site.submit("audit.sbatch", path), ["FAILED"])  # nothing ran, says status
    words = re.search("^words: (.*)", text, re.M).group(1).split()
    assert known in words and words[words.index("-bind-to" if known == "-bind-to" else "--bind-to") + 1] == "none"
    assert words[-2:] == ["run", str(path)]
