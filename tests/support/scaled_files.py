"""FP8 safetensors, whose codes have their scales in tensors of their own.

The encoder takes scales from the extremes and codes at the nearest level; it returns its tensors as {suffix: (dtype, shape, bytes)} and the
f32 values that they stand for.
"""
import json
import struct

import numpy as np

import gguf_files

F32 = np.float32


def e4m3_values():
    code = np.arange(127)
    exponent, mantissa = code >> 3, code & 7
    return np.where(exponent == 0, mantissa * 2.0 ** -9, (8 + mantissa) * 2.0 ** (exponent - 10.0)).astype(F32)


E4M3 = e4m3_values()


def e4m3(x):
    """The nearest codes, ties to even."""
    size = np.abs(x)
    above = np.searchsorted(E4M3, size).clip(1, 126)
    below = above - 1
    down, up = size - E4M3[below], E4M3[above] - size
    code = np.where((up < down) | ((up == down) & (above % 2 == 0)), above, below)
    return (code | np.where(np.signbit(x), 128, 0)).astype(np.uint8)


def decoded_e4m3(codes):
    return np.where(codes & 128, -1, 1).astype(F32) * E4M3[codes & 127]


def fp8(rows, block=(128, 128), dtype="F32", suffix="_scale_inv"):
    """A scale for each block [rows, columns], cut at the ends; None: all rows or columns."""
    down, across = (size or whole for size, whole in zip(block, rows.shape))
    first, left = np.arange(0, rows.shape[0], down), np.arange(0, rows.shape[1], across)
    most = np.maximum.reduceat(np.maximum.reduceat(np.abs(rows), first, 0), left, 1)
    data, scale = gguf_files.TYPES[dtype][1]((np.where(most > 0, most, 1) / F32(448)).astype(F32))
    scale = scale.reshape(most.shape)
    wide = np.repeat(np.repeat(scale, down, 0)[:rows.shape[0]], across, 1)[:, :rows.shape[1]]
    codes = e4m3((rows / wide).clip(-448, 448))
    return {"": ("F8_E4M3", rows.shape, codes.tobytes()), suffix: (dtype, most.shape, data.tobytes())}, decoded_e4m3(codes) * wide


def plain(values, dtype="BF16"):
    return dtype, values.shape, gguf_files.TYPES[dtype][1](np.ascontiguousarray(values))[0].tobytes()


def write(path, tensors):
    """{name: (dtype, shape, bytes)}"""
    header, body, at = {}, [], 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [int(size) for size in shape], "data_offsets": [at, at + len(raw)]}
        body.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(body))
