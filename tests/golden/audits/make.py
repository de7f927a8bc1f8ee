#!/usr/bin/env python3
"""Cut the end-to-end goldens out of the shared fixtures: make.py ASSEMBLED_TREE FIXTURES GOLDEN.

GOLDEN/dense/NAME.bin, little-endian (tests/unit/test_dense.c and tests/end_to_end/harness.py read it):
  "WADENSE1", groups, L, H (i32 each), then for each group (semantics, prompt):
  semantics [16], prompt [16] (NUL-padded), n i32, unused i32, token_id [n] i32, top5_id [5] i32, top5_prob [5] f64,
  x [L, n, H] f32, y [L, n, H] f64
GOLDEN/audits/NAME/walk.npz: the figures of walk_golden.h5's f32 and f16 variants; VARIANT.json: LARQL's own audit.
GOLDEN/audits/NAME/packed.npz: of its K-quant and FP4 variants, and all of extra_walk_golden.h5's; packed.json: LARQL's own
audits of those variants, only what is compared.
GOLDEN/audits/sha256.tsv: hashes of the payload files that LARQL wrote, from FIXTURES/FILES.tsv.
"""
import contextlib
import gzip
import json
import os
import shutil
import sys

import h5py
import numpy as np

TREE, FIXTURES, OUT = sys.argv[1:4]
TINY = ["tiny-gemma3", "tiny-llama", "tiny-qwen3", "tiny-odd", "tiny-starcoder2"]
GATED = TINY[:4]
FAMILIES = ["gemma2", "mistral", "qwen2", "granite", "gpt2", "llama-linear", "llama-llama3"]
VARIANTS = ["f32", "f16", "interleaved", "interleaved-and-features", "browse", "x-down-only"]
PAYLOADS = ["gate_vectors.bin", "up_features.bin", "down_features.bin", "interleaved.bin"]
PACKED = ["q4k", "q4k-down4", "q4k-nogate", "q4k-from-f32", "fp4a", "fp4b", "fp4c", "x-q4k-and-down", "x-q4k-no-manifest",
          "x-fp4b-and-features", "x-fp4b-and-q4k"]
WRITTEN = [*PACKED[:7], "q4k-fm"]
PACKED_FILES = ["gate_vectors.bin", "interleaved_q4k.bin", "interleaved_q4k_manifest.json", "up_features_fp4.bin",
                "down_features_fp4.bin", "down_features_fp8.bin", "down_features.bin", "down_features_q4k.bin",
                "down_features_q4k_manifest.json"]
UNGATED = {"inmem-features": "f32", "x-inmem-interleaved": "interleaved-and-features"}  # whose names those vindexes have here
PACKED_FIGURES = ["rel_l2", "one_minus_cos", "kl", "top1_id", "top1_prob"]
FIGURES = ["l2", "rel_l2", "one_minus_cos", "max_abs", "kl", "top1_id", "top1_prob", "hits_last"]


def padded(text):
    return text.encode().ljust(16, b"\0")


def dense(name, path):
    with h5py.File(path) as file:
        same = name in ("tiny-qwen3", "tiny-odd")  # both semantics lead to one group there
        groups = [(s, p, file[s][p]) for s in file if not (same and s == "larql") for p in ("paris", "apollo", "code")]
        layers, _, hidden = groups[0][2]["x"].shape
        parts = [b"WADENSE1", np.array([len(groups), layers, hidden], "<i4").tobytes()]
        for semantics, prompt, g in groups:
            semantics = {"larql": "larql-2026-05"}.get(semantics, semantics)
            parts += [padded(semantics), padded(prompt), np.array([len(g["token_id"]), 0], "<i4").tobytes()]
            for key, kind in (("token_id", "<i4"), ("top5_id", "<i4"), ("top5_prob", "<f8"), ("x", "<f4"), ("y", "<f8")):
                parts.append(g[key][()].astype(kind).tobytes())
    with open(f"{OUT}/dense/{name}.bin", "wb") as out:
        out.write(b"".join(parts))


def walks(name):
    folder = f"{OUT}/audits/{name}"
    os.makedirs(folder, exist_ok=True)
    figures = {}
    with h5py.File(f"{TREE}/{name}/walk_golden.h5") as file:
        for variant in ("f32", "f16"):
            for path in file.get(variant, {}):
                for prompt, group in file[variant][path].items():
                    for figure in FIGURES:
                        if figure in group:
                            figures[f"{variant}/{path}/{prompt}/{figure}"] = group[figure][()]
    np.savez_compressed(f"{folder}/walk.npz", **figures)


def audits(name):
    folder = f"{OUT}/audits/{name}"
    for variant in VARIANTS:
        with open(f"{TREE}/{name}/{variant}/upstream_audit.json") as file:
            audit = json.load(file)
        with open(f"{folder}/{variant}.json", "w") as file:
            json.dump(audit, file, indent=1, sort_keys=True)


def pruned(path):
    """What a test compares of one path of LARQL's audit."""
    return {"name": path["name"], "verdict": path["verdict"], "bound": {"kind": path["bound"]["kind"]},
            "aggregate": {"n_obs": path["aggregate"]["n_obs"]}, "dispatch_counts": path["dispatch_counts"],
            "per_prompt": path["per_prompt"],
            "per_layer": [{"dispatch": layer["dispatch"], "n_obs": layer["n_obs"],
                           "assertion": {"max_rel_l2": layer["assertion"]["max_rel_l2"]}} for layer in path["per_layer"]]}


def packed(name):
    folder = f"{OUT}/audits/{name}"
    os.makedirs(folder, exist_ok=True)
    figures, compared = {}, {}
    walked = f"{TREE}/{name}/walk_golden.h5"
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(h5py.File(path)) for path in [walked] if os.path.exists(path)]
        files.append(stack.enter_context(h5py.File(f"{FIXTURES}/families/extra_walk_golden.h5")).get(name, {}))
        for file in files:
            for variant in file:
                for path in file[variant] if variant not in ("f32", "f16") else []:
                    for prompt, group in file[variant][path].items():
                        for figure in PACKED_FIGURES:
                            key = f"{variant}/{path.replace('sparse_serial_k', 'sparse_serial:k')}/{prompt}/{figure}"
                            figures[key] = group[figure][()]
    np.savez_compressed(f"{folder}/packed.npz", **figures)
    for variant in PACKED:
        path = f"{TREE}/{name}/{variant}/upstream_audit.json"
        if os.path.exists(path):
            with open(path) as file:
                compared[variant] = [pruned(each) for each in json.load(file)["paths"]]
    if name in GATED[:3]:  # upstream misreads padded rows, and families without a gate
        with open(f"{folder}/packed.json", "w") as file:
            json.dump(compared, file, sort_keys=True, separators=(",", ":"))


def model(name):
    folder = f"{OUT}/models/{name}"
    os.makedirs(folder, exist_ok=True)
    for file in ("config.json", "tokenizer.json"):
        shutil.copyfile(f"{TREE}/{name}/model/{file}", f"{folder}/{file}")
    with open(f"{TREE}/{name}/model/model.safetensors", "rb") as file, open(f"{folder}/model.safetensors.gz", "wb") as out:
        out.write(gzip.compress(file.read(), 9, mtime=0))


def hashes():
    with open(f"{FIXTURES}/FILES.tsv") as file, open(f"{OUT}/audits/sha256.tsv", "w") as out:
        out.write("# model\tformat\tfile\tSHA-256 of the file upstream wrote\n")
        for line in file:
            path, _, digest, *_ = line.split("\t")
            parts = path.split("/")
            if len(parts) != 4 or parts[0] not in TINY:
                continue
            if parts[0] in GATED:
                plain = parts[0] in GATED[:3] and parts[1] in VARIANTS[:3] and parts[3] in PAYLOADS
                variant = parts[1] if plain or (parts[1] in WRITTEN and parts[3] in PACKED_FILES) else None
            else:
                variant = UNGATED.get(parts[1]) if parts[3] in PAYLOADS else None
            if variant is not None:
                out.write("\t".join([parts[0], variant, parts[3], digest]) + "\n")


os.makedirs(f"{OUT}/dense", exist_ok=True)
hashes()
for each in TINY:
    dense(each, f"{TREE}/{each}/dense_golden.h5")
for each in FAMILIES:
    dense(each, f"{FIXTURES}/families/{each}/dense_golden.h5")
for each in GATED:
    walks(each)
for each in GATED[:3]:
    audits(each)
for each in TINY:
    packed(each)
for each in [*TINY[:2], "tiny-starcoder2"]:
    model(each)
for folder, each in [("gguf", "tiny-gemma3-mixed"), ("gguf", "tiny-llama-mixed"), ("families/gguf", "qwen2-v2"),
                     ("families/gguf", "gemma2-q5k-bf16")]:
    shutil.copyfile(f"{FIXTURES}/{folder}/{each}.gguf.top5.json", f"{OUT}/gguf/{each}.gguf.top5.json")
