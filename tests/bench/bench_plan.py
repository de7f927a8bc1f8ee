#!/usr/bin/python3
"""What `plan` foretells beside what `run` does, at several numbers of ranks.

usage: bench_plan.py WALKAUDIT JOB.yaml [--ranks 1,2,3,4] [--set KEY=VALUE ...]

Messages and bytes must be equal: else it answers 1 (but for bytes to rank 0 where groups compete for batches). Busy, the share
of the ranks' time in which they do not wait, and the seconds that a rank computes are reported: on a machine of fewer cores
than ranks, or with other work on it, they say little.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import h5py

PHASES = ["projections", "attention", "dense_ffn", "walk_ffn", "compare", "head"]
CHECKS = ["kernel_check", "encoding_check"]


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


def foretold(walkaudit, job, ranks, settings):
    text = answer([walkaudit, "plan", job, "--ranks", str(ranks), *settings])
    messages, size, to_root = map(int, re.search(r"^messages: (\d+) of (\d+) bytes in all, (\d+)", text, re.M).groups())
    return {"messages": messages, "bytes": size, "to rank 0": to_root,
            "busy": int(re.search(r"utilisation (\d+) %", text)[1]) / 100,
            "time": re.search(r"^time: +at least (\S+ \S+)", text, re.M)[1],
            "grid": re.search(r": (\d+ groups?) x (\d+ stages?) x (teams of \d+)", text)[0][2:]}


def measured(walkaudit, job, ranks, settings):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "result.h5")
        answer(["mpirun", "-q", "-n", str(ranks), walkaudit, "run", job, "--fresh", "--out", out, *settings])
        with h5py.File(out) as file:
            run = {key: value[0] for key, value in file["run"]["0"].attrs.items() if getattr(value, "shape", ()) == (1,)}
    own = sum(run[f"seconds_{phase}"] for phase in PHASES)
    checks = sum(run[f"seconds_{phase}"] for phase in CHECKS)
    return {"messages": int(run["messages"]), "bytes": int(run["message_bytes"]), "to rank 0": int(run["message_bytes_to_rank_0"]),
            "busy": (own + checks) / (own + checks + run["seconds_wait"]), "time": own / ranks, "groups": int(run["groups"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walkaudit")
    parser.add_argument("job")
    parser.add_argument("--ranks", default="1,2,3,4")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    settings = [word for value in args.set for word in ("--set", value)]
    wrong = 0
    print(f"{'ranks':>5}  {'grid':32} {'messages':>17} {'bytes':>25} {'to rank 0':>23} {'busy':>13}  computing, s of each rank")
    for ranks in map(int, args.ranks.split(",")):
        plan, run = foretold(args.walkaudit, args.job, ranks, settings), measured(args.walkaudit, args.job, ranks, settings)
        exact = ["messages", "bytes"] + (["to rank 0"] if run["groups"] == 1 else [])
        equal = all(plan[key] == run[key] for key in exact)
        wrong += not equal
        print(f"{ranks:5}  {plan['grid']:32} {plan['messages']:8} {run['messages']:8} {plan['bytes']:12} {run['bytes']:12} "
              f"{plan['to rank 0']:11} {run['to rank 0']:11} {plan['busy']:6.0%} {run['busy']:6.0%}  {plan['time']}, {run['time']:.3g} s"
              f"{'' if equal else '   NOT EQUAL'}")
    print("each pair: foretold, measured")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
