#!/usr/bin/python3
"""What `plan` foretells beside what `run` does, at several numbers of ranks.

usage: bench_plan.py WALKAUDIT JOB.yaml [--ranks 1,2,3,4] [--repeats 1] [--checks] [--set KEY=VALUE ...]

Messages and bytes must be equal: else it answers 1 (but for bytes to rank 0 where groups compete for batches). Busy is the share
of the ranks' time in which they do not wait: on a machine of fewer cores than ranks, or with other work on it, it says little. Time
is that of layers and logits: both checks are switched off without --checks; beside it stands what the busiest rank's thread
had of a processor, which other work changes less. Several runs: the median, of plan and of run.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

import h5py

WITHOUT_CHECKS = ["--set", "kernel_check=none", "--set", "encoding_check=none"]


def environment():
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_mpi_yield_when_idle="1")
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return env


def answer(command):
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=3600)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} answered {done.returncode}:\n{done.stderr}")
    return done.stdout


def seconds(amount, unit):
    return float(amount) * {"s": 1, "min": 60, "h": 3600}[unit]


def foretold(walkaudit, job, ranks, settings):
    text = answer([walkaudit, "plan", job, "--ranks", str(ranks), *settings])
    messages, size, to_root = map(int, re.search(r"^messages: (\d+) of (\d+) bytes in all, (\d+)", text, re.M).groups())
    return {"messages": messages, "bytes": size, "to rank 0": to_root,
            "busy": int(re.search(r"utilisation (\d+) %", text)[1]) / 100,
            "time": seconds(*re.search(r"^time: +about (\S+) (s|min|h)", text, re.M).groups()),
            "grid": re.search(r": (\d+ groups?) x (\d+ stages?) x (teams of \d+)", text)[0][2:]}


def measured(walkaudit, job, ranks, settings):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "result.h5")
        answer(["mpirun", "-q", "-n", str(ranks), walkaudit, "run", job, "--fresh", "--out", out, *settings])
        with h5py.File(out) as file:
            run = {key: value[0] for key, value in file["run"]["0"].attrs.items() if getattr(value, "shape", ()) == (1,)}
    return {"messages": int(run["messages"]), "bytes": int(run["message_bytes"]), "to rank 0": int(run["message_bytes_to_rank_0"]),
            "busy": run["utilisation"], "time": run["processor_seconds_of_busiest"], "groups": int(run["groups"])}


def repeated(take, repeats):
    """The first answer, with medians of what differs each time."""
    answers = [take() for _ in range(repeats)]
    return {**answers[0], **{key: statistics.median(a[key] for a in answers) for key in ("time", "busy")}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walkaudit")
    parser.add_argument("job")
    parser.add_argument("--ranks", default="1,2,3,4")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--checks", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    settings = ([] if args.checks else WITHOUT_CHECKS) + [word for value in args.set for word in ("--set", value)]
    wrong = 0
    print(f"{'ranks':>5}  {'grid':32} {'messages':>17} {'bytes':>25} {'to rank 0':>23} {'busy':>13} {'time, s':>15}")
    for ranks in map(int, args.ranks.split(",")):
        plan, run = (repeated(lambda: ask(args.walkaudit, args.job, ranks, settings), args.repeats) for ask in (foretold, measured))
        exact = ["messages", "bytes"] + (["to rank 0"] if run["groups"] == 1 else [])
        equal = all(plan[key] == run[key] for key in exact)
        wrong += not equal
        print(f"{ranks:5}  {plan['grid']:32} {plan['messages']:8} {run['messages']:8} {plan['bytes']:12} {run['bytes']:12} "
              f"{plan['to rank 0']:11} {run['to rank 0']:11} {plan['busy']:6.0%} {run['busy']:6.0%} "
              f"{plan['time']:7.3g} {run['time']:7.3g}  {plan['time'] / run['time'] - 1:+.0%}"
              f"{'' if equal else '   NOT EQUAL'}")
    print("each pair: foretold, measured")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
