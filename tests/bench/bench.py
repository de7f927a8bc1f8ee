#!/usr/bin/python3
"""What this machine can do, and what an audit makes of it: one command, tables of fractions of the limits.

usage: bench.py BUILD_DIR [--sections limits,codecs,products,phases,strong,weak] [--ranks 1,2,...] [--shape 270m] [--layers 6]
                [--vocab 32768] [--prompts 64] [--mpirun "mpirun -q"]

BUILD_DIR is a built tree with target `bench` (cmake --build BUILD_DIR --target bench). Needs no network: models are synthetic
(gemma3), made and deleted here, beside a vindex in f16; --folder says where (TMPDIR). Sections, in order:

limits    FMA peak of a core, sgemm at its best, reading memory
codecs    decoding and encoding of each format beside reading and sgemm
products  our own products and engine blas at 1 to 512 rows x 1 and 7 evaluations, as fractions of the FMA peak
phases    where one rank's time goes, the seed job's three prompts and --prompts of 18 to 55 words, checks on; GFLOP/s of the peak
strong    the same job (--prompts prompts, checks off) and the seed job's size (3 prompts) on more ranks: times faster than on one
weak      --prompts / 8 prompts for each rank: time on one rank / time on many
          Both beside how many times one core's FMAs and reading as many cores do at once (bench_cores): cores share a clock's
          budget and memory, and on rented machines with strangers

Rates of one core are by its processor time; those of ranks by the clock, so other work on the machine lowers them. By hand:
nothing here passes or fails.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile

import h5py

from bench_prompts import corpus, environment

SECTIONS = ["limits", "codecs", "products", "phases", "strong", "weak"]
PHASES = ["projections", "attention", "dense_ffn", "walk_ffn", "compare", "kernel_check", "encoding_check", "head",
          "wait", "gather", "write"]
UNCHECKED = ["kernel_check=none", "encoding_check=none"]


def answer(*command, quiet=False):
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} answered {done.returncode}:\n{done.stderr}")
    if not quiet:
        print(done.stdout, flush=True)
    return done.stdout


def title(text):
    print(f"\n## {text}\n", flush=True)


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder, self.build = args, folder, pathlib.Path(args.build).resolve()
        self.program = str(self.build / "walkaudit")
        self.limits, self.worth = None, {}

    def tool(self, name, *words, quiet=False):
        return answer(str(self.build / "tests" / name), *words, quiet=quiet)

    def peak(self):
        if self.limits is None:
            self.limits = json.loads(self.tool("bench_limits", "39", "640", "2048", quiet=True))
        return self.limits

    def cores(self, ranks):
        """How much of one core's rate so many do at once: FMAs, reading memory."""
        if ranks not in self.worth:
            found = json.loads(answer(*shlex.split(self.args.mpirun), "-n", str(ranks), str(self.build / "tests" / "bench_cores"),
                                      quiet=True))
            self.worth[ranks] = (found["fma_gflops"]["cores"], found["read_gbps"]["cores"])
        return self.worth[ranks]

    def job(self, prompts):
        """A job of so many prompts; 0: those of the seed job."""
        model, vindex = self.folder / "model", self.folder / "f16.vindex"
        if not model.exists():
            answer(self.program, "synth", str(model), "--family", "gemma3", "--shape", self.args.shape, "--layers",
                   str(self.args.layers), "--vocab", str(self.args.vocab), quiet=True)
            answer(self.program, "extract", str(model), str(vindex), "--format", "f16", quiet=True)
        text = self.folder / f"prompts-{prompts}.jsonl"
        if prompts > 0:
            corpus(text, prompts)
        job = self.folder / f"job-{prompts}.yaml"
        job.write_text(json.dumps({"name": "bench", "prompts": {"file": text.name} if prompts > 0 else {"builtin": "seed"},
                                   "audits": [{"name": "bench", "model": str(model),
                                               "vindexes": [{"name": "f16", "path": str(vindex)}]}]}))
        return str(job)

    def run(self, ranks, job, settings=()):
        """Facts of /run: medians of the repeats."""
        out = str(self.folder / "bench.h5")
        words = [word for setting in settings for word in ("--set", setting)]
        facts = []
        for _ in range(self.args.repeats + 1):
            answer(*shlex.split(self.args.mpirun), "-n", str(ranks), self.program, "run", job, "--fresh", "--out", out, *words,
                   quiet=True)
            with h5py.File(out) as file:
                run = file["run"][max(file["run"], key=int)].attrs
                facts.append({key: float(value[0]) for key, value in run.items()
                              if getattr(value, "shape", ()) == (1,) and value.dtype.kind in "iuf"})
                rows = file["token_id"].shape[0]
        facts = facts[1:] if self.args.repeats > 0 else facts  # the first warms the page cache
        return {key: statistics.median(one[key] for one in facts) for key in facts[0]} | {"rows": rows}


def limits(bench):
    title("Limits of one core")
    found = bench.peak()
    print("| | |\n|---|---|")
    print(f"| FMA peak ({found['isa']}) | {found['fma_peak_gflops']:.1f} GFLOP/s |")
    for name, key in (("sgemm, 2048 x 2048 x 2048", "sgemm_peak_gflops"), ("sgemm at 39 rows", "sgemm_rows_gflops")):
        share = found[key] / found["fma_peak_gflops"] if found["fma_peak_gflops"] > 0 else float("nan")
        print(f"| {name}, core {found['core']} | {found[key]:.1f} GFLOP/s ({share:.0%}) |")
    print(f"| reading memory | {found['read_gbps']:.1f} GB/s |", flush=True)


def codecs(bench):
    title("Formats")
    bench.tool("bench_codec")


def products(bench):
    title("Products")
    for hidden, features in ((2560, 10240), (640, 2048), (576, 1536)):
        bench.tool("bench_products", str(hidden), str(features))


def phases(bench):
    peak = bench.peak()["fma_peak_gflops"]
    for prompts in (0, bench.args.prompts):
        facts = bench.run(1, bench.job(prompts))
        title(f"Phases of one rank: {facts['rows']} positions, wall {facts['wall_seconds']:.2f} s")
        print("| phase | seconds | of the wall | GFLOP/s | of the FMA peak |\n|---|---|---|---|---|")
        for phase in PHASES:
            seconds = facts[f"seconds_{phase}"]
            rate = facts.get(f"flops_{phase}", 0.0) / max(seconds, 1e-9) / 1e9
            print(f"| {phase} | {seconds:.3f} | {seconds / facts['wall_seconds']:.0%} | {rate:.1f} | "
                  f"{rate / peak if peak > 0 else float('nan'):.0%} |", flush=True)


def scaling(bench, what, job_of):
    print("| ranks | groups x stages x teams | wall, s | faster | FMAs | reading | of FMAs | waiting | MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    first = None
    for ranks in bench.args.ranks:
        facts = bench.run(ranks, job_of(ranks), UNCHECKED)
        wall = facts["wall_seconds"]
        first = first or (wall, ranks)
        faster = first[0] / wall * first[1] * (ranks / first[1] if what == "weak" else 1.0)
        fmas, reading = bench.cores(ranks)
        print(f"| {ranks} | {facts['groups']:.0f} x {facts['stages']:.0f} x {facts['teams']:.0f} | {wall:.2f} | {faster:.2f} | "
              f"{fmas:.2f} | {reading:.2f} | {faster / (fmas if fmas > 0 else ranks):.0%} | "
              f"{facts['seconds_wait'] / (wall * ranks):.0%} | "
              f"{facts['anonymous_bytes_per_rank_max'] / 1e6:.0f} |", flush=True)


def strong(bench):
    for prompts in (bench.args.prompts, 0):
        title(f"Strong scaling: {prompts or 3} prompts")
        scaling(bench, "strong", lambda ranks, prompts=prompts: bench.job(prompts))


def weak(bench):
    share = max(1, bench.args.prompts // 8)
    title(f"Weak scaling: {share} prompts for each rank")
    scaling(bench, "weak", lambda ranks: bench.job(share * ranks))


def main():
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--ranks", default=",".join(str(n) for n in (1, 2, 4, 8, 16, 32, 64) if n <= cores))
    parser.add_argument("--shape", default="270m")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mpirun", default="mpirun -q")
    parser.add_argument("--folder")
    args = parser.parse_args()
    args.ranks = [int(word) for word in args.ranks.split(",")]
    unknown = set(args.sections.split(",")) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    print(f"# {platform.node()}: {cores} cores, load {os.getloadavg()[0]:.1f}; synthetic gemma3 {args.shape}, {args.layers} layers, "
          f"vocabulary {args.vocab}, f16 vindex", flush=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        bench = Bench(args, pathlib.Path(folder))
        for section in SECTIONS:
            if section in args.sections.split(","):
                {"limits": limits, "codecs": codecs, "products": products, "phases": phases, "strong": strong,
                 "weak": weak}[section](bench)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
