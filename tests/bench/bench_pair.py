"""bench_pair.py JOB.yaml A B [--rounds 5] [--ranks 1] [--prompts FILE] [--set KEY=VALUE] [--env-a NAME=VALUE] [--env-b NAME=VALUE]:
the same job by two builds of walkaudit in turns, and what B takes more than A.

Each round runs both, in an order that alternates, each with --fresh and a result of its own; the first round warms the page cache
and does not count. Prints the medians of each, the median of the rounds' ratios B / A, and their range: of the wall time, of the
processor time, of the layer loop (projections, attention, dense and walk FFN, comparison) and of each phase of a run. A phase is
the clock's time summed over ranks: beside other work on the machine only its ratio says something. What sealing, digests,
syncs, locks and heartbeats cost is the ratio of a build with them to one of commit 5abff7f, which has none of them; issue or
release notes should say how busy the machine was.
"""
import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import h5py

LAYER_LOOP = ["projections", "attention", "dense_ffn", "walk_ffn", "compare"]
PHASES = LAYER_LOOP + ["kernel_check", "encoding_check", "head", "wait", "gather", "write"]


def environment(words):
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    env.update(word.split("=", 1) for word in words)
    return env


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(program, words_of_environment, asked, result):
    """Seconds of one run, by what they were spent on."""
    words = ["mpirun", "-q", "-n", str(asked.ranks), program, "run", asked.job, "--fresh", "--out", result]
    words += ["--set", f"prompts.file={os.path.abspath(asked.prompts)}"] if asked.prompts else []
    words += [word for setting in asked.set for word in ("--set", setting)]
    used, begun = processor_seconds(), time.monotonic()
    done = subprocess.run(words, env=environment(words_of_environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{program}: exit code {done.returncode}\n{done.stderr}")
    took = {"wall": time.monotonic() - begun, "processor": processor_seconds() - used}
    with h5py.File(result) as file:
        run = file["run"][max(file["run"], key=int)].attrs
        phases = {phase: float(run[f"seconds_{phase}"][()]) for phase in PHASES}
    took["layer loop"] = sum(phases[phase] for phase in LAYER_LOOP)
    return took | phases


def middle(values):
    return f"{statistics.median(values):8.3f}"


def report(took):
    print(f"{'seconds':16} {'A':>8} {'B':>8}   B / A   from      to")
    for what in took["a"][0]:
        a, b = ([run[what] for run in took[which]] for which in "ab")
        line = f"{what:16} {middle(a)} {middle(b)}"
        if min(a) > 0.0:
            ratios = [y / x for x, y in zip(a, b)]
            line += f" {statistics.median(ratios):7.4f} {min(ratios):7.4f} {max(ratios):7.4f}"
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("job")
    parser.add_argument("a", help="the build to compare with")
    parser.add_argument("b", help="the build whose cost is asked")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--prompts", help="other prompts than the job's")
    parser.add_argument("--set", action="append", default=[], help="a key of the job")
    parser.add_argument("--env-a", action="append", default=[], help="of A alone, as in OPENBLAS_CORETYPE=SkylakeX")
    parser.add_argument("--env-b", action="append", default=[])
    asked = parser.parse_args()
    took = {"a": [], "b": []}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for number in range(asked.rounds + 1):
            for which in ("ab", "ba")[number % 2]:
                result = pathlib.Path(folder).resolve() / f"{which}.h5"
                environment_of = asked.env_a if which == "a" else asked.env_b
                one = measured(os.path.abspath(getattr(asked, which)), environment_of, asked, result)
                if number > 0:
                    took[which].append(one)
    print(f"{asked.rounds} rounds, {asked.ranks} ranks")
    report(took)


if __name__ == "__main__":
    main()
