#!/usr/bin/python3
"""What experts cost: FFN products of a model with experts beside those of a dense model, and memory as experts become more.

usage: bench_experts.py BUILD_DIR [--models 64:8,64:2,8:8,128:8] [--features 256] [--shape 1b] [--layers 2] [--rows 512]
                        [--repeats 3] [--folder DIR]

BUILD_DIR is a built tree. A model is EXPERTS:CHOSEN, made here by synth (qwen3_moe; --features wide each), and so is the dense model
of the same shape (llama). Each has an f16 vindex and three cases of it, so that four lanes run: `experts`, and `full_mmap` of the
dense model. One rank, one batch of --rows positions, checks off. Models of each line run in turns with the dense one; the
share is the median of the turns' ratios, so that other work on the machine does less to it. By hand: nothing here passes or fails.
"""
import argparse
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

import h5py

from bench_prompts import environment

CASES = 3
VOCABULARY = 4096


def answer(*command):
    done = subprocess.run([str(word) for word in command], env=environment(), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))} answered {done.returncode}:\n{done.stderr}")


def prompts(path, rows):
    """Of 32 positions each."""
    rng = random.Random(1)
    ids = [rng.randrange(3, VOCABULARY - 96) for _ in range(rows)]
    path.write_text("".join(json.dumps({"key": f"p{at:05d}", "ids": ids[at:at + 32]}) + "\n" for at in range(0, rows, 32)))


class Model:
    """A synthetic model, its vindex and its job, in a folder of their own."""

    def __init__(self, args, root, name, words, path):
        self.program, self.folder = pathlib.Path(args.build).resolve() / "walkaudit", root / name
        self.folder.mkdir()
        model, vindex = self.folder / "model", self.folder / "f16.vindex"
        answer(self.program, "synth", model, "--shape", args.shape, "--layers", args.layers, "--vocab", VOCABULARY, *words)
        answer(self.program, "extract", model, vindex, "--format", "f16")
        self.job = self.folder / "job.yaml"
        self.job.write_text(json.dumps(
            {"name": name, "prompts": {"file": str(root / "prompts.jsonl")}, "batch": {"rows": args.rows}, "paths": [{"path": path}],
             "kernel_check": "none", "encoding_check": "none",
             "audits": [{"name": name, "model": str(model),
                         "vindexes": [{"name": f"f16-{i}", "path": str(vindex)} for i in range(CASES)]}]}))

    def run(self):
        """GFLOP/s of all FFNs, their seconds, and the most anonymous bytes."""
        out = self.folder / "bench.h5"
        answer(self.program, "run", self.job, "--fresh", "--out", out)
        with h5py.File(out) as file:
            run = file["run"][max(file["run"], key=int)].attrs
            seconds, flops = (sum(float(run[f"{what}_{phase}"].item()) for phase in ("dense_ffn", "walk_ffn")) for what in ("seconds", "flops"))
            return flops / seconds / 1e9, seconds, float(run["anonymous_bytes_per_rank_max"].item())


def measure(args, dense, model):
    """Medians of the turns: rate of each, its share of the dense one, seconds and bytes."""
    dense.run(), model.run()  # these warm the page cache
    turns = [(dense.run(), model.run()) for _ in range(args.repeats)]
    own = [statistics.median(turn[1][i] for turn in turns) for i in range(3)]
    return statistics.median(turn[0][0] for turn in turns), own, statistics.median(turn[1][0] / turn[0][0] for turn in turns)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--models", default="64:8,64:2,8:8,128:8")
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--shape", default="1b")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder")
    args = parser.parse_args()
    print(f"# {platform.node()}: load {os.getloadavg()[0]:.1f}; shape {args.shape}, {args.layers} layers, experts of {args.features} "
          f"features, {args.rows} rows, {1 + CASES} lanes\n\n"
          "| experts | chosen | rows of one expert | FFNs, GFLOP/s | dense, GFLOP/s | of the dense rate | FFNs, s | MB beside the maps |\n"
          "|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root = pathlib.Path(folder)
        prompts(root / "prompts.jsonl", args.rows)
        dense = Model(args, root, "dense", ["--family", "llama"], "full_mmap")
        for experts, chosen in (map(int, word.split(":")) for word in args.models.split(",")):
            model = Model(args, root, f"experts-{experts}-{chosen}", ["--family", "qwen3_moe", "--experts", experts, "--chosen", chosen,
                                                                      "--features", args.features], "experts")
            theirs, (rate, seconds, held), share = measure(args, dense, model)
            print(f"| {experts} | {chosen} | {args.rows * chosen / experts:.0f} | {rate:.1f} | {theirs:.1f} | {share:.0%} | {seconds:.2f} | "
                  f"{held / 1e6:.0f} |", flush=True)
            shutil.rmtree(model.folder)


if __name__ == "__main__":
    main()
