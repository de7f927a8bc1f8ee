#!/usr/bin/python3
"""An audit of many prompts: memory that does not grow with them, and what more ranks bring.

usage: bench_prompts.py BUILD_DIR MODEL VINDEX [--prompts 10,100,1000] [--grids 1,2,2:2:1,2:1:2] [--repeats 1] [--set KEY=VALUE ...]

A grid is RANKS or RANKS:STAGES:TEAMS. Prompts are made here, 20 to 60 tokens each, always the same. Prints the median wall time,
the split of time over all ranks, and the most anonymous memory that any rank ever had (RssAnon, sampled). Run by hand.
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

WORDS = """the a of to and in that it was for on with as his they at be this from have or by one had not but what all were when we
there can an your which their said if do will each about how up out them then she many some so these would other into has more her
two like him see time could no make than first been its who now people my made over did down only way find use may water long
little very after words called just where most know river mountain engine letter colour number winter machine""".split()
SPLIT = re.compile(r"compute ([\d.]+) s, wait ([\d.]+) s, gather ([\d.]+) s, write ([\d.]+) s on \d+ ranks; "
                   r"assemble ([\d.]+) s; wall ([\d.]+) s")


def corpus(path, count):
    rng = random.Random(7)
    with open(path, "w") as file:
        for i in range(count):
            text = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(18, 56))).capitalize() + "."
            file.write(json.dumps({"key": f"p{i:05d}", "text": text}) + "\n")


def environment():
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return env


def children(pid):
    """Of all threads: mpirun starts its ranks from any of them."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(p) for p in task.read_text().split()]
    return found


def anonymous(pid):
    try:
        found = re.search(r"RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def sample(process, most):
    """The largest RssAnon of each rank, in order of start: rank 0 first."""
    while process.poll() is None:
        for rank, pid in enumerate(sorted(children(process.pid))):
            most[rank] = max(most.get(rank, 0), anonymous(pid))
        time.sleep(0.02)


def run(args, job, grid, out):
    ranks, _, rest = grid.partition(":")
    command = ["mpirun", "-q", "-n", ranks, f"{args.build}/walkaudit", "run", job, "--fresh", "--out", out]
    if rest:
        stages, teams = rest.split(":")
        command += ["--set", f"grid.stages={stages}", "--set", f"grid.teams={teams}"]
    for setting in args.set:
        command += ["--set", setting]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    most = {}
    watcher = threading.Thread(target=sample, args=(process, most))
    watcher.start()
    log = process.communicate()[1]
    watcher.join()
    found = SPLIT.search(log)
    if process.returncode not in (0, 1) or found is None:
        sys.exit(f"{' '.join(command)} answered {process.returncode}:\n{log}")
    figures = [float(x) for x in found.groups()]
    return figures, [most[r] for r in sorted(most)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for word in ("build", "model", "vindex"):
        parser.add_argument(word)
    parser.add_argument("--prompts", default="10,100,1000")
    parser.add_argument("--grids", default="1,2,2:2:1,2:1:2")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    print(f"{'prompts':>7} {'grid':>6} {'wall':>8} {'speed':>6} {'compute':>8} {'wait':>7} {'gather':>7} {'write':>7} {'assemble':>8} "
          f"{'overhead':>8}  anonymous MB per rank")
    with tempfile.TemporaryDirectory() as folder:
        for count in (int(n) for n in args.prompts.split(",")):
            corpus(f"{folder}/prompts.jsonl", count)
            job = f"{folder}/job.yaml"
            pathlib.Path(job).write_text(json.dumps({
                "name": "bench", "prompts": {"file": "prompts.jsonl"},
                "audits": [{"name": "bench", "model": os.path.abspath(args.model),
                            "vindexes": [{"name": "v", "path": os.path.abspath(args.vindex)}]}]}))
            first = None
            for grid in args.grids.split(","):
                runs = [run(args, job, grid, f"{folder}/bench.h5") for _ in range(args.repeats)]
                compute, wait, gather, write, assemble, wall = (statistics.median(f[i] for f, _ in runs) for i in range(6))
                memory = [max(m[r] for _, m in runs) / 1e6 for r in range(len(runs[0][1]))]
                ranks = int(grid.split(":")[0])
                first = first or wall
                overhead = ((gather + write) / ranks + assemble) / wall
                print(f"{count:7d} {grid:>6} {wall:8.2f} {first / wall:6.2f} {compute:8.2f} {wait:7.2f} {gather:7.2f} {write:7.2f} "
                      f"{assemble:8.2f} {overhead:8.1%}  {' '.join(f'{m:.1f}' for m in memory)}", flush=True)


if __name__ == "__main__":
    main()
