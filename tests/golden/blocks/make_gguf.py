#!/usr/bin/env python3
"""The table that unit/test_codec.c reads: blocks of every type of GGUF that is decoded, and what gguf.quants.dequantize makes of them.

    PYTHON make_gguf.py > gguf.tsv      PYTHON has the packages gguf and numpy; the version stands in the first line

A line is a type, the bytes of its blocks and the f32 of their elements, both in hexadecimal, in the order of a little-endian file.
Codes and scale codes are random bytes. Scales of 16 bits are numbers, both signs, in three sizes: usual, large, and subnormal or zero.
"""
import importlib.metadata

import gguf
import numpy as np
from gguf.quants import dequantize

# type: blocks, and where in a block its scales of 16 bits begin
TYPES = {"F16": (64, [0]), "BF16": (64, []), "Q4_0": (6, [0]), "Q4_1": (6, [0, 2]), "Q5_0": (6, [0]), "Q5_1": (6, [0, 2]), "Q8_0": (6, [0]),
         "Q2_K": (4, [80, 82]), "Q3_K": (4, [108]), "Q4_K": (4, [0, 2]), "Q5_K": (4, [0, 2]), "Q6_K": (4, [208]), "IQ4_NL": (6, [0]),
         "IQ4_XS": (4, [0]), "MXFP4": (12, [])}


def blocks_of(name, rng):
    count, scales = TYPES[name]
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][1]
    blocks = rng.randint(0, 256, (count, size)).astype(np.uint8)
    for at in scales:
        values = rng.standard_normal(count) * np.array([1e-2, 3e2, 2e-6] * count)[:count]
        values[-1] = 0
        blocks[:, at:at + 2] = values.astype("<f2")[:, None].view(np.uint8)
    if name == "BF16":
        blocks[:, 1] &= 0xBF  # no infinity, no NaN
    if name == "MXFP4":
        blocks[:, 0] = [0, 1, 2, 100, 120, 126, 127, 128, 130, 200, 250, 251]
    return blocks


print(f"# gguf {importlib.metadata.version('gguf')}, numpy {np.__version__}")
for name in TYPES:
    blocks = blocks_of(name, np.random.RandomState(14))
    values = dequantize(blocks, gguf.GGMLQuantizationType[name]).astype("<f4")
    assert np.isfinite(values).all(), name
    print(name, blocks.tobytes().hex(), values.tobytes().hex(), sep="\t")
