#!/usr/bin/env python3
"""The table that unit/test_apart.c reads: codes and scales of safetensors, and what transformers makes of them.

    PYTHON make_apart.py > apart.tsv      PYTHON has torch, transformers and numpy; versions stand in the first line

A line: type of the codes and of the scales, rows and columns, rows and columns that share a scale, then in hexadecimal, as in a
little-endian file, codes, scales and the f32 of all elements. FP8 by Fp8Dequantize, which divides what has no rest, and MXFP4 by
convert_moe_packed_tensors, whose [experts, in, out] is turned back into rows.
"""
import numpy as np
import torch
import transformers
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16}


def raw(tensor):
    return tensor.contiguous().view(torch.uint8).numpy().tobytes().hex()


def fp8(rng, dtype, rows, cols, down, across):
    codes = torch.from_numpy(rng.randint(0, 256, (rows, cols)).astype(np.uint8))
    codes[(codes & 127) == 127] = 0x7e  # NaN
    scales = torch.from_numpy(np.exp(3 * rng.standard_normal((rows // down, cols // across))).astype("f4") * 1e-3).to(DTYPES[dtype])
    values = Fp8Dequantize(None)._dequantize_one(codes.view(torch.float8_e4m3fn), scales, torch.float32)
    print("F8_E4M3", dtype, rows, cols, down, across, raw(codes), raw(scales), raw(values), sep="\t")


def mxfp4(rng, rows, cols):
    blocks = torch.from_numpy(rng.randint(0, 256, (1, rows, cols // 32, 16)).astype(np.uint8))
    scales = torch.from_numpy(rng.choice([0, 1, 2, 90, 118, 126, 127, 128, 140, 200, 250, 252], (1, rows, cols // 32)).astype(np.uint8))
    values = convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16)[0].T.float()
    print("MXFP4_blocks", "F8_E8M0", rows, cols, 1, 32, raw(blocks), raw(scales), raw(values), sep="\t")


print(f"# transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}")
rng = np.random.RandomState(14)
fp8(rng, "F32", 8, 80, 4, 16)
fp8(rng, "BF16", 6, 64, 3, 32)
fp8(rng, "F32", 5, 70, 1, 70)
fp8(rng, "F32", 4, 33, 4, 33)
mxfp4(rng, 6, 96)
