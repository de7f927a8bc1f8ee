"""sweep.py WALKAUDIT SHIM [--ranks N …] [--kinds K …] [--every N] [--part A B] [--jobs N] [--seed N]
[--seconds S] [--fresh]: make system calls of an audit fail, one at a time, and see that nothing wrong is ever published.

A small job of two vindexes, one of which holds a wrong row, is run once whole: its result is the truth. Then, for each kind
of system call, each rank and each N (every one, or one in --every), a fresh run in which the N-th such call below the job's
directory fails. What must hold:

* the exit code stands in README's table, and no process is killed by a signal;
* the run ends within its time;
* whatever stands under the result's final name is the truth, bit for bit;
* exit code 0 or 1 comes with that result, and is the truth's;
* a failure is told in one line;
* the same command without the fault then gives the truth.

With --fresh the job keeps captures, and each run begins beside a finished result of another job, so that the command has --fresh, and
the one after the fault has not (but where the fault came before a file said so). Then the old result may stand, too, until the
rerun; and whichever stands shows captures of its own.

Prints each fault that breaks a rule, and how many were tried. Exit code 1 if any did.
"""
import argparse
import contextlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from compare_results import differences  # noqa: E402
from pool import in_order  # noqa: E402
import scratch  # noqa: E402

CODES = {0, 1, 2, 3, 4, 75}  # README's table
LIMIT = 60  # seconds: a run takes about one
CAUSES = {
    "open": ["EACCES", "EMFILE", "ESTALE"], "create": ["ENOSPC", "EACCES", "EMFILE"], "read": ["EIO", "short"],
    "write": ["EIO", "EDQUOT", "ENOSPC", "short"], "close": ["EIO", "EDQUOT"], "sync": ["EIO", "EDQUOT"],
    "truncate": ["EIO", "ENOSPC"], "reserve": ["ENOSPC", "EIO"], "map": ["ENOMEM"], "rename": ["EIO", "EDQUOT"],
    "link": ["EIO"], "unlink": ["EIO"], "mkdir": ["EIO", "EDQUOT"],
}


def environment(**extra):
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_rmaps_base_oversubscribe="1",
               OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_pml="ob1", LC_ALL="C.UTF-8", **extra)
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return env


class Bench:
    """Model, vindexes and job, made once; runs of it, each in a directory of its own."""

    def __init__(self, root, program, shim, fresh=False):
        self.root, self.program, self.shim, self.fresh = pathlib.Path(root), program, shim, fresh
        self.old = None  # a results directory to begin beside
        self.call(["synth", self.root / "model", "--family", "llama", "--shape", "tiny", "--seed", "7"])
        self.call(["extract", self.root / "model", self.root / "good", "--format", "f16"])
        shutil.copytree(self.root / "good", self.root / "bad")
        self.plant(self.root / "bad" / "up_features.bin")
        self.prompts = self.corpus("prompts.jsonl", 3)

    def corpus(self, name, first):
        path = self.root / name
        path.write_text("".join(json.dumps({"key": f"p{i}", "ids": [first + i, 5, 7 + i, 11][: 2 + i % 3]}) + "\n" for i in range(4)))
        return path

    @staticmethod
    def plant(path):
        """Exchange two neighbouring rows: wrong, and of the right size."""
        data = bytearray(path.read_bytes())
        size = 64 * 4
        data[size:2 * size], data[2 * size:3 * size] = data[2 * size:3 * size], data[size:2 * size]
        path.write_bytes(data)

    def call(self, words):
        subprocess.run([self.program, *map(str, words)], check=True, env=environment(), stdout=subprocess.DEVNULL)

    def job(self, folder):
        folder.mkdir(parents=True)
        if self.old:
            shutil.copytree(self.old, folder / "results")
        path = folder / "job.yaml"
        vindexes = [{"name": n, "path": str(self.root / n), "paths": [{"path": "full_mmap"}]} for n in ("good", "bad")]
        path.write_text(json.dumps({"name": "job", "audits": [{"name": "audit", "model": str(self.root / "model"),
                                                               "vindexes": vindexes}],
                                    "prompts": {"file": str(self.prompts)}, "result": "results", "batch": {"rows": 5},
                                    **({"captures": {"tensors": ["x", "y_ref", "y_walk"]}} if self.fresh else {})}))
        return path

    def make_old(self):
        """A result of other prompts, and its captures."""
        truth, self.prompts = self.prompts, self.corpus("old.jsonl", 23)
        job = self.job(self.root / "old")
        assert self.run(job, 1)[0] == 1
        self.prompts, self.old = truth, job.parent / "results"

    def run(self, job, ranks, fault=None, rank=0, count=None, fresh=False):
        words = [self.program, "run", str(job), *(["--fresh"] if fresh else [])]
        extra = {}
        if fault or count:
            extra = {"LD_PRELOAD": self.shim, "WALKAUDIT_FAULT_UNDER": str(job.parent), "WALKAUDIT_FAULT_RANK": str(rank)}
        if fault:
            extra["WALKAUDIT_FAULT"] = fault
        if count:
            extra["WALKAUDIT_FAULT_COUNT"] = str(count)
        if ranks > 1:
            passed = itertools.chain.from_iterable(("-x", name) for name in extra)
            words = ["mpirun", "-q", "-n", str(ranks), "--oversubscribe", *passed, *words]
        # mpirun itself is left alone: it takes the preload for its ranks only.
        launcher = {key: value for key, value in extra.items() if ranks == 1 or key != "LD_PRELOAD"}
        if ranks > 1 and "LD_PRELOAD" in extra:
            at = words.index("LD_PRELOAD")
            words[at] = f"LD_PRELOAD={self.shim}"
        process = subprocess.Popen(words, env=environment(**launcher), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            for number in (signal.SIGTERM, signal.SIGKILL):  # mpirun ends its ranks at the first
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                time.sleep(2)
            out, err = process.communicate()
            return None, out, err
        return process.returncode, out, err


def captures(path):
    """{name: bytes} of what a result shows; NaN where a file of it is not there."""
    with h5py.File(path) as file:
        return {name: item[()].tobytes() for name, item in file["captures"].items()} if "captures" in file else {}


def unlike(expected, found):
    """How a result differs from another; both with their captures."""
    try:
        told = differences(expected, found)
        return told if told or captures(expected) == captures(found) else ["its captures are others"]
    except Exception as error:  # noqa: BLE001: whatever h5py says of a broken file
        return [f"cannot be read: {error}"]


def judge(bench, folder, ranks, rank, fault, truth):
    """The rules that one fault breaks, as sentences."""
    job = bench.job(folder)
    result = folder / "results" / "job-audit.h5"
    broken = []

    def look_at(code, when, text):
        if code is None:
            broken.append(f"{when}: did not end within {LIMIT} s")
        elif code not in CODES:
            broken.append(f"{when}: exit code {code}: {text[-300:]!r}")
        if result.exists():
            found = unlike(truth["path"], result)
            if found and bench.old and not (code in (0, 1) or when == "rerun"):
                found = unlike(bench.old / result.name, result)
            if found:
                broken.append(f"{when}: exit {code}, a result with other bits: {found[:2]}")
        elif code in (0, 1):
            broken.append(f"{when}: exit code {code} without a result")
        if code in (0, 1) and code != truth["code"]:
            broken.append(f"{when}: exit code {code}, the truth's is {truth['code']}")

    code, _, err = bench.run(job, ranks, fault, rank, fresh=bench.fresh)
    look_at(code, "fault", err)
    lines = [line for line in err.splitlines() if line.startswith("walkaudit: ")]
    if code not in (0, 1, None) and (len(lines) != 1 if ranks == 1 else not lines):
        broken.append(f"fault: exit {code} is told in {len(lines)} lines: {err[-300:]!r}")
    parts = result.with_name(result.name + ".parts")
    written = any((parts / name).exists() for name in ("owed", "job.json"))
    code, _, err = bench.run(job, ranks, fresh=bench.fresh and not written and bool(unlike(truth["path"], result)))
    look_at(code, "rerun", err)
    if code not in (None, truth["code"]):
        broken.append(f"rerun: exit code {code}, the truth's is {truth['code']}: {err[-300:]!r}")
    shutil.rmtree(folder)
    return broken


def count_calls(bench, ranks, folder):
    """{(rank, kind): calls} of a run without faults."""
    job, counts, out = bench.job(folder), folder / "counts", {}
    code, _, err = bench.run(job, ranks, count=counts, fresh=bench.fresh)
    assert code == 1, f"the job without a fault: exit {code}\n{err}"
    for line in counts.read_text().splitlines():
        rank, kind, calls = line.split()
        out[int(rank), kind] = out.get((int(rank), kind), 0) + int(calls)
    return out


def list_faults(counts, every, part, kinds, seed):
    """(rank, fault) in a fixed order: of each kind, one call in `every`, from a place the seed chooses; causes take turns. Only of
    calls in this part of all."""
    chance = random.Random(seed)
    for (rank, kind), calls in sorted(counts.items()):
        if kinds and kind not in kinds:
            continue
        causes = itertools.cycle(CAUSES[kind])
        for n in range(1 + int(part[0] * calls) + chance.randrange(every), int(part[1] * calls) + 1, every):
            yield rank, f"{kind}:{n}:{next(causes)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("walkaudit")
    parser.add_argument("shim")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=sorted(CAUSES))
    parser.add_argument("--every", type=int, default=1, help="try one call in so many of each kind")
    parser.add_argument("--part", type=float, nargs=2, default=[0.0, 1.0], metavar=("A", "B"),
                        help="only calls between these shares of all of a kind, e.g. 0.7 0.8")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="begin no fault after so many for each number of ranks; faults in random order")
    parser.add_argument("--fresh", action="store_true", help="each run replaces a result of another job, with captures")
    parser.add_argument("--directory", help="where to work; default: a temporary directory, in memory where there is room")
    asked = parser.parse_args()
    tried, bad = 0, 0
    with tempfile.TemporaryDirectory(prefix="faults-", dir=asked.directory or scratch.root()) as root:
        bench = Bench(pathlib.Path(root).resolve(), os.path.abspath(asked.walkaudit), os.path.abspath(asked.shim), asked.fresh)
        job = bench.job(bench.root / "truth")
        code, _, err = bench.run(job, 1)
        assert code == 1, f"the job without a fault: exit {code}\n{err}"
        truth = {"code": code, "path": bench.root / "truth" / "results" / "job-audit.h5"}
        if asked.fresh:
            bench.make_old()
        for ranks in asked.ranks:
            counts = count_calls(bench, ranks, bench.root / f"count-{ranks}")
            print(f"{ranks} ranks: calls by (rank, kind):", counts, flush=True)
            faults = list(list_faults(counts, asked.every, asked.part, asked.kinds, asked.seed))
            if asked.seconds:
                random.Random(asked.seed).shuffle(faults)  # whatever the time allows is of all kinds
            work = ((bench, bench.root / f"{ranks}-{i}", ranks, rank, fault, truth) for i, (rank, fault) in enumerate(faults))
            for (*_, rank, fault, _), broken in in_order(judge, work, asked.jobs, asked.seconds):
                tried += 1
                bad += bool(broken)
                for text in broken:
                    print(f"{ranks} ranks, rank {rank}, {fault}: {text}", flush=True)
    print(f"{tried} faults tried, {bad} broke a rule")
    sys.exit(1 if bad or tried == 0 else 0)


if __name__ == "__main__":
    main()
