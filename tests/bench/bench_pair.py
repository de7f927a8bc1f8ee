"""bench_pair.py JOB.yaml A B [--rounds 5] [--ranks 1] [--prompts FILE]: the same job by two builds of walkaudit in turns, and what
B takes more than A.

Each round runs both, in an order that alternates, each with --fresh and a result of its own; the first round warms the page cache
and does not count. Prints the median wall time of each, the median of the rounds' ratios, and its range. What sealing, digests,
syncs, locks and heartbeats cost is the ratio of a build with them to one of commit 5abff7f, which has none of them; issue or
release notes should say how busy the machine was.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time


def environment():
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return env


def seconds(program, asked, result):
    words = ["mpirun", "-q", "-n", str(asked.ranks), program, "run", asked.job, "--fresh", "--out", result]
    words += ["--set", f"prompts.file={os.path.abspath(asked.prompts)}"] if asked.prompts else []
    begun = time.monotonic()
    done = subprocess.run(words, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{program}: exit code {done.returncode}\n{done.stderr}")
    return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("job")
    parser.add_argument("a", help="the build to compare with")
    parser.add_argument("b", help="the build whose cost is asked")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--prompts", help="other prompts than the job's")
    asked = parser.parse_args()
    took = {"a": [], "b": []}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for number in range(asked.rounds + 1):
            for which in ("ab", "ba")[number % 2]:
                result = pathlib.Path(folder).resolve() / f"{which}.h5"
                wall = seconds(os.path.abspath(getattr(asked, which)), asked, result)
                if number > 0:
                    took[which].append(wall)
    ratios = [b / a for a, b in zip(took["a"], took["b"])]
    print(f"A {statistics.median(took['a']):.2f} s, B {statistics.median(took['b']):.2f} s; B / A {statistics.median(ratios):.4f} "
          f"({min(ratios):.4f} to {max(ratios):.4f}, {asked.rounds} rounds, {asked.ranks} ranks)")


if __name__ == "__main__":
    main()
