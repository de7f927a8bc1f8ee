#!/usr/bin/python3
"""What `plan` says of a model too large for this machine: nothing is written but names and sizes.

usage: bench_large.py WALKAUDIT [--shape 70b] [--ranks 8,64,512] [--nodes 32] [--mem 256G] [--prompts 1000]

The model is a synthetic llama without weights, its f16 vindex that of a tiny model with files made as long as they would be;
both are holes, which take no room. Prints the table of `plan`: grid, utilisation, time, messages, memory.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from bench_prompts import corpus

FILES = ("gate_vectors.bin", "up_features.bin", "down_features.bin")


def answer(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} answered {done.returncode}:\n{done.stderr}")
    return done.stdout


def stretch(vindex, config):
    """The vindex of one tiny layer, made that of the model."""
    index = json.loads((vindex / "index.json").read_text())
    layers, hidden, features = (config[key] for key in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    before = index["hidden_size"] * index["intermediate_size"] * index["num_layers"]
    for name in FILES:
        value = (vindex / name).stat().st_size // before
        os.truncate(vindex / name, value * layers * hidden * features)
    gate = (vindex / FILES[0]).stat().st_size // layers
    index.pop("checksums", None)
    index.update(num_layers=layers, hidden_size=hidden, intermediate_size=features, vocab_size=config["vocab_size"],
                 layers=[{"layer": i, "num_features": features, "offset": i * gate, "length": gate} for i in range(layers)])
    index["model_config"].update(head_dim=config["hidden_size"] // config["num_attention_heads"],
                                 num_q_heads=config["num_attention_heads"], num_kv_heads=config["num_key_value_heads"])
    (vindex / "index.json").write_text(json.dumps(index))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walkaudit")
    parser.add_argument("--shape", default="70b")
    parser.add_argument("--ranks", default="8,64,512")
    parser.add_argument("--nodes", default="32")
    parser.add_argument("--mem", default="256G")
    parser.add_argument("--prompts", type=int, default=1000)
    args = parser.parse_args()
    program = os.path.abspath(args.walkaudit)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        answer(program, "synth", str(folder / "model"), "--family", "llama", "--shape", args.shape, "--no-weights")
        answer(program, "synth", str(folder / "tiny"), "--family", "llama", "--shape", "tiny", "--layers", "1")
        answer(program, "extract", str(folder / "tiny"), str(folder / "f16.vindex"), "--format", "f16")
        stretch(folder / "f16.vindex", json.loads((folder / "model" / "config.json").read_text()))
        corpus(folder / "prompts.jsonl", args.prompts)
        job = folder / "job.yaml"
        job.write_text(json.dumps({"name": "large", "prompts": {"file": "prompts.jsonl"},
                                   "audits": [{"name": args.shape, "model": str(folder / "model"),
                                               "vindexes": [{"name": "f16", "path": str(folder / "f16.vindex")}]}]}))
        print(answer(program, "plan", str(job), "--ranks", args.ranks, "--nodes", args.nodes, "--mem", args.mem))


if __name__ == "__main__":
    main()
