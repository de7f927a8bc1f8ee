#!/usr/bin/env python3
"""Cut the walk goldens out of the shared fixtures: make.py ASSEMBLED_TREE FIXTURES OUT.

One blob per model layer, little-endian, no header; test_paths.c has the shapes:
  gate, up, down as stored (bf16; gate only if the model has one) - up bias, down bias f32 (only if it has them)
  - x [n, H] f32 - y [n, H] f64 - for each k: rel_l2 [n] f64, y_last [H] f64, hits_last [k] i32
"""
import json
import struct
import sys

import h5py
import numpy as np

TREE, FIXTURES, OUT = sys.argv[1:4]


def tensors(path):
    with open(path, "rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    return {k: data[slice(*v["data_offsets"])] for k, v in head.items() if k != "__metadata__"}


def widened(bf16):
    return (np.frombuffer(bf16, "<u2").astype("<u4") << 16).tobytes()


def layer(name, model, dense, layer, names, biases, walks):
    stored = tensors(f"{model}/model.safetensors")
    prefix = f"model.layers.{layer}.mlp."
    parts = [stored[prefix + n + ".weight"] for n in names]
    parts += [widened(stored[prefix + n + ".bias"]) for n in biases]
    parts += [dense["x"][layer].astype("<f4").tobytes(), dense["y"][layer].astype("<f8").tobytes()]
    for walk in walks:
        parts += [walk["rel_l2"][layer].astype("<f8").tobytes(), walk["y_last"][layer].astype("<f8").tobytes(),
                  walk["hits_last"][layer].astype("<i4").tobytes()]
    with open(f"{OUT}/{name}.bin", "wb") as file:
        file.write(b"".join(parts))


gemma, gemma_walk = (h5py.File(f"{TREE}/tiny-gemma3/{f}_golden.h5") for f in ("dense", "walk"))
layer("gemma3-layer3", f"{TREE}/tiny-gemma3/model", gemma["larql/code"], 3, ["gate_proj", "up_proj", "down_proj"],
      [], [gemma_walk[f"f32/sparse_k{k}/code"] for k in (16, 128, 384)])
extra = h5py.File(f"{FIXTURES}/families/extra_walk_golden.h5")["tiny-starcoder2/inmem-features"]
starcoder = h5py.File(f"{TREE}/tiny-starcoder2/dense_golden.h5")
layer("starcoder2-layer1", f"{TREE}/tiny-starcoder2/model", starcoder["larql/code"], 1, ["c_fc", "c_proj"],
      ["c_fc", "c_proj"], [extra[f"sparse_serial_k{k}/code"] for k in (64, 200, 512)])
qwen = h5py.File(f"{FIXTURES}/families/qwen2/dense_golden.h5")
layer("qwen2-layer0", f"{FIXTURES}/families/qwen2/model", qwen["native/code"], 0,
      ["gate_proj", "up_proj", "down_proj"], [], [])
