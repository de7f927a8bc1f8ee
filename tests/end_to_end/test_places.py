"""Hosts that differ: each part of the command line is given a host name of its own, as if the ranks were on several nodes.

That takes a name space of host names (unshare --uts), which only root may make.
"""
import os
import re
import subprocess

import h5py
import pytest

import harness

PATHS = [{"path": "full_mmap"}]


def can_pretend():
    tried = subprocess.run(["unshare", "--uts", "hostname", "other"], capture_output=True, check=False)
    return os.getuid() == 0 and tried.returncode == 0


pytestmark = pytest.mark.skipif(not can_pretend(), reason="a host name for each rank needs root and unshare --uts")


@pytest.fixture
def job(shop):
    return shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS)


def run_on_hosts(job, *hosts, words=(), expect=0):
    """hosts: (name, ranks, words before the program, variables); name None: this machine's."""
    line = ["mpirun", "-q", "--oversubscribe", "--bind-to", "none"]
    for i, (name, ranks, before, variables) in enumerate(hosts):
        line += [":"] * (i > 0) + ["-n", str(ranks)]
        line += [word for key, value in variables.items() for word in ("-x", f"{key}={value}")]
        if name is not None:
            line += ["unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh"]
        line += [*before, harness.binary(), "run", str(job.path), *words]
    done = subprocess.run(line, env=harness.environment(), timeout=harness.LIMIT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    assert done.returncode == expect, done.stderr
    return done


def facts(job):
    """What the last run says of itself."""
    with h5py.File(job.result_path) as file:
        last = max(file["run"], key=int)
        return dict(file["run"][last].attrs)


def warnings(done):
    """Of hosts: not of ranks without work."""
    return [line for line in done.stderr.splitlines() if re.match("warning: rank .* on host", line)]


def test_hosts_of_one_kind_are_no_news(job):
    done = run_on_hosts(job, (None, 1, [], {}), ("other", 2, [], {}))
    assert not warnings(done)
    run = facts(job)
    assert list(run["rank_host"]) == [os.uname().nodename, "other", "other"] and len(set(run["rank_cpus"])) == 1


def test_another_mask_is_a_warning_for_each_host(job):
    one = str(min(os.sched_getaffinity(0)))
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("this machine has one processor: all masks are equal")
    done = run_on_hosts(job, (None, 1, [], {}), ("small", 2, ["taskset", "-c", one], {}), ("tiny", 1, ["taskset", "-c", one], {}))
    told = warnings(done)
    assert len(told) == 2 and "host 'small'" in told[0] and "host 'tiny'" in told[1], done.stderr
    here = f"has 1 BLAS threads on 1 processors, rank 0 on host '{os.uname().nodename}' 1 on {len(os.sched_getaffinity(0))}"
    assert all(line.endswith(here) for line in told), told
    assert list(facts(job)["rank_cpus"][1:]) == [one] * 3


def core_of(run):
    """OpenBLAS's core of rank 0, and an older one that this processor can run too."""
    mine = run["rank_blas"][0].split(" x ")[0]
    return mine, "Nehalem" if mine != "Nehalem" else "Core2"


def test_other_processors_may_share_a_run(shop):
    """Ranks with another core of OpenBLAS, another libm and another instruction set: no word, no warning, the same numbers."""
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS, engine="walkaudit")
    job.run()
    alone = job.result_path.rename(job.folder / "alone.h5")
    other = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX512F", "WALKAUDIT_ISA": "portable"}
    with h5py.File(alone) as file:
        mine, older = core_of(dict(file["run/0"].attrs))
    done = run_on_hosts(job, (None, 1, [], {}), ("other", 2, [], {"OPENBLAS_CORETYPE": older, **other}))
    assert not warnings(done), done.stderr
    assert list(facts(job)["rank_blas"]) == [f"{mine} x 1"] + [f"{older} x 1"] * 2
    # KERNEL's truth is OpenBLAS's f64, in kernel_rel_l2 and what is folded from it; all else is ours.
    found = [line for line in harness.differences(alone, job.result_path) if "kernel_" not in line.split(":")[0]]
    assert not found, "\n".join(found)
    assert "not computed again" in job.run().stderr  # the processor is no part of the fingerprint


def test_with_engine_blas_another_core_stops_the_run_unless_it_is_allowed(shop):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS, engine="blas")
    plain = job.result()
    mine, older = core_of(facts(job))
    hosts = (None, 1, [], {}), ("other", 1, [], {"OPENBLAS_CORETYPE": older})
    job.result_path.unlink()
    line = harness.one_error_line(run_on_hosts(job, *hosts, expect=3))
    assert f"OpenBLAS core '{older}' on host 'other' (rank 1), '{mine}' on host '{os.uname().nodename}' (rank 0)" in line
    assert not job.result_path.exists()

    done = run_on_hosts(job, *hosts, words=["--mixed-cores"])
    assert len(warnings(done)) == 1 and "bits differ" in warnings(done)[0]
    assert list(facts(job)["rank_blas"]) == [f"{mine} x 1", f"{older} x 1"]
    assert harness.Result(job.result_path).cases == plain.cases
    # It is recorded: without the word, the same job is another one.
    assert "'blas_core' differs" in harness.one_error_line(job.run(expect=3))
    assert "not computed again" in job.run(words=["--mixed-cores"]).stderr
