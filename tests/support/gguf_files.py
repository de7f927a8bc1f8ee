"""GGUF files and safetensors directories with weights of our own choosing, in numpy, and encoders of the formats of GGUF.

Each encoder takes rows of f32 [rows, elements] and gives (bytes [rows, n], the values that they mean [rows, elements]): the scale
follows from a group's extremes, is rounded to what the format stores, and codes are the nearest levels of the stored scale. The
layouts are those of ggml-common.h; their values were compared with `gguf.quants.dequantize`.
"""
import json
import struct

import numpy as np

F32 = np.float32
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
ALIGNMENT = 32
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], F32)
MX = np.array([0, 1, 2, 3, 4, 6, 8, 12], F32)  # twice E2M1


def half(x):
    return np.asarray(x, F32).astype(np.float16).astype(F32)


def raw_half(x):
    return np.ascontiguousarray(np.asarray(x, F32).astype("<f2")[..., None]).view(np.uint8)


def groups(rows, size):
    """[rows * groups, size]"""
    return np.ascontiguousarray(rows, F32).reshape(-1, size)


def over(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, F32), where=b != 0)


def finish(rows, parts, values):
    """Blocks' parts side by side, and the values in the shape of the rows."""
    blocks = np.concatenate([np.asarray(p, np.uint8) for p in parts], axis=1)
    return blocks.reshape(rows.shape[0], -1), values.reshape(rows.shape)


def signed_largest(x):
    return np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1)


def two_halves(q):
    """Element j in the low nibble of byte j, j + 16 in the high one."""
    return q[:, :16] | q[:, 16:] << 4


def fifth_bits(q):
    bits = (q >> 4 & 1).astype(np.uint32) << np.arange(32, dtype=np.uint32)
    return bits.sum(1, dtype=np.uint32)[:, None].view(np.uint8)


def even(rows, low, high, parts):
    x = groups(rows, 32)
    d = half(signed_largest(x) / F32(low))
    q = np.clip(np.rint(over(x, d)), low, high)
    return finish(rows, parts(d, None, (q - low).astype(np.uint8)), (q * d).astype(F32))


def ranged(rows, high, parts):
    x = groups(rows, 32)
    m = half(x.min(1, keepdims=True))
    d = half((x.max(1, keepdims=True) - m) / F32(high))
    q = np.clip(np.rint(over(x - m, d)), 0, high)
    return finish(rows, parts(d, m, q.astype(np.uint8)), (q * d).astype(F32) + m)


def q4_0(rows):
    return even(rows, -8, 7, lambda d, m, q: (raw_half(d[:, 0]), two_halves(q)))


def q5_0(rows):
    return even(rows, -16, 15, lambda d, m, q: (raw_half(d[:, 0]), fifth_bits(q), two_halves(q & 15)))


def q4_1(rows):
    return ranged(rows, 15, lambda d, m, q: (raw_half(d[:, 0]), raw_half(m[:, 0]), two_halves(q)))


def q5_1(rows):
    return ranged(rows, 31, lambda d, m, q: (raw_half(d[:, 0]), raw_half(m[:, 0]), fifth_bits(q), two_halves(q & 15)))


def q8_0(rows):
    x = groups(rows, 32)
    d = half(np.abs(x).max(1, keepdims=True) / F32(127))
    q = np.clip(np.rint(over(x, d)), -127, 127)
    return finish(rows, (raw_half(d[:, 0]), q.astype(np.int8).view(np.uint8)), (q * d).astype(F32))


def k_ranges(rows, size, high, most):
    """Of super-blocks of 256: codes [n, subs, size], scale and min codes [n, subs], d and dmin [n], values."""
    x = groups(rows, 256).reshape(-1, 256 // size, size)
    least = np.maximum(-x.min(2), 0)
    scale = (np.maximum(x.max(2), 0) + least) / F32(high)
    d, dmin = half(scale.max(1) / F32(most)), half(least.max(1) / F32(most))
    sc = np.clip(np.rint(over(scale, d[:, None])), 0, most).astype(np.uint8)
    mc = np.clip(np.rint(over(least, dmin[:, None])), 0, most).astype(np.uint8)
    step, low = (d[:, None] * sc)[..., None].astype(F32), (dmin[:, None] * mc)[..., None].astype(F32)
    q = np.clip(np.rint(over(x + low, step)), 0, high)
    return q.astype(np.uint8), sc, mc, d, dmin, (step * q.astype(F32)).astype(F32) - low


def pack_k_scales(sc, mc):
    low = sc[:, :4] | (sc[:, 4:] >> 4) << 6
    middle = mc[:, :4] | (mc[:, 4:] >> 4) << 6
    return np.concatenate([low, middle, (sc[:, 4:] & 15) | (mc[:, 4:] & 15) << 4], 1)


def k_nibbles(q):
    """Groups of 64 elements in 32 bytes, low nibbles first."""
    pairs = (q & 15).reshape(-1, 4, 2, 32)
    return (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)


def q4_k(rows):
    q, sc, mc, d, dmin, values = k_ranges(rows, 32, 15, 63)
    return finish(rows, (raw_half(d), raw_half(dmin), pack_k_scales(sc, mc), k_nibbles(q)), values)


def q5_k(rows):
    q, sc, mc, d, dmin, values = k_ranges(rows, 32, 31, 63)
    fifth = ((q >> 4).reshape(-1, 8, 32) << np.arange(8, dtype=np.uint8)[:, None]).sum(1, dtype=np.uint8)
    return finish(rows, (raw_half(d), raw_half(dmin), pack_k_scales(sc, mc), fifth, k_nibbles(q)), values)


def quarters(q):
    """Two bits: element 128 n + 32 k + l in bits 2k of byte 32 n + l."""
    fours = (q & 3).reshape(-1, 2, 4, 32)
    return (fours << (2 * np.arange(4, dtype=np.uint8))[:, None]).sum(2, dtype=np.uint8).reshape(-1, 64)


def q2_k(rows):
    q, sc, mc, d, dmin, values = k_ranges(rows, 16, 3, 15)
    return finish(rows, (sc | mc << 4, quarters(q), raw_half(d), raw_half(dmin)), values)


def k_signed(rows, low, high, bits):
    """The same with signed scales of `bits` bits and no min, for groups of 16."""
    x = groups(rows, 256).reshape(-1, 16, 16)
    extreme = np.take_along_axis(x, np.abs(x).argmax(2)[..., None], 2)[..., 0]
    scale = extreme / F32(low)
    most = F32(1 << bits - 1)
    largest = np.take_along_axis(scale, np.abs(scale).argmax(1)[:, None], 1)
    d = half(largest / -most)
    sc = np.clip(np.rint(over(scale, d)), -most, most - 1)
    step = (d * sc)[..., None].astype(F32)
    q = np.clip(np.rint(over(x, step)), low, high)
    return (q - low).astype(np.uint8), sc.astype(np.int8), d[:, 0], (step * q.astype(F32)).astype(F32)


def q3_k(rows):
    q, sc, d, values = k_signed(rows, -4, 3, 6)
    code = (sc.astype(np.int16) + 32).astype(np.uint8)
    low = (code[:, :8] & 15) | (code[:, 8:] & 15) << 4
    high = ((code >> 4).reshape(-1, 4, 4) << (2 * np.arange(4, dtype=np.uint8))[:, None]).sum(1, dtype=np.uint8)
    mask = ((q >> 2).reshape(-1, 8, 32) << np.arange(8, dtype=np.uint8)[:, None]).sum(1, dtype=np.uint8)
    return finish(rows, (mask, quarters(q), low, high, raw_half(d)), values)


def q6_k(rows):
    q, sc, d, values = k_signed(rows, -32, 31, 8)
    fours = (q & 15).reshape(-1, 2, 4, 32)
    low = (fours[:, :, :2] | fours[:, :, 2:] << 4).reshape(-1, 128)
    return finish(rows, (low, quarters(q >> 4), sc.view(np.uint8), raw_half(d)), values)


def nearest_of(x, levels):
    return np.abs(x[..., None] - levels).argmin(-1).astype(np.uint8)


def iq4_nl(rows):
    x = groups(rows, 32)
    d = half(signed_largest(x) / IQ4[0])
    q = nearest_of(over(x, d), IQ4)
    return finish(rows, (raw_half(d[:, 0]), two_halves(q)), (d * IQ4[q]).astype(F32))


def iq4_xs(rows):
    x = groups(rows, 256).reshape(-1, 8, 32)
    extreme = np.take_along_axis(x, np.abs(x).argmax(2)[..., None], 2)[..., 0]
    scale = extreme / IQ4[0]
    largest = np.take_along_axis(scale, np.abs(scale).argmax(1)[:, None], 1)
    d = half(largest / F32(-32))
    sc = np.clip(np.rint(over(scale, d)), -32, 31)
    step = (d * sc)[..., None].astype(F32)
    q = nearest_of(over(x, step), IQ4)
    code = (sc + 32).astype(np.uint16)
    high = ((code >> 4) << (2 * np.arange(8, dtype=np.uint16))).sum(1, dtype=np.uint16)[:, None].view(np.uint8)
    low = (code[:, 0::2] & 15 | (code[:, 1::2] & 15) << 4).astype(np.uint8)
    nibbles = (q[..., :16] | q[..., 16:] << 4).reshape(-1, 128)
    return finish(rows, (raw_half(d[:, 0]), high, low, nibbles), (step * IQ4[q]).astype(F32))


def mxfp4(rows):
    """A power of two for 32, and E2M1: byte e means 2^(e - 127), levels are kept doubled."""
    x = groups(rows, 32)
    most = np.abs(x).max(1, keepdims=True)
    e = np.where(most > 0, np.floor(np.log2(np.where(most > 0, most, 1))) - 2 + 127, 0).clip(0, 254).astype(np.int32)
    d = np.ldexp(F32(1), e - 128).astype(F32)
    q = nearest_of(np.abs(x) / d, MX)
    values = np.copysign(MX[q] * d, x).astype(F32)
    code = q | np.where((x < 0) & (q > 0), 8, 0).astype(np.uint8)
    return finish(rows, (e.astype(np.uint8), two_halves(code)), np.where(q == 0, F32(0), values))


def f32(rows):
    return np.ascontiguousarray(rows, "<f4").view(np.uint8), np.asarray(rows, F32)


def f16(rows):
    return np.ascontiguousarray(np.asarray(rows).astype("<f2")).view(np.uint8), half(rows)


def bf16(rows):
    bits = np.ascontiguousarray(rows, F32).view(np.uint32)
    top = (bits + 0x7fff + (bits >> 16 & 1) >> 16).astype("<u2")
    return top.view(np.uint8), (top.astype(np.uint32) << 16).view(F32)


# name: number in GGUF, encoder
TYPES = {"F32": (0, f32), "F16": (1, f16), "Q4_0": (2, q4_0), "Q4_1": (3, q4_1), "Q5_0": (6, q5_0), "Q5_1": (7, q5_1),
         "Q8_0": (8, q8_0), "Q2_K": (10, q2_k), "Q3_K": (11, q3_k), "Q4_K": (12, q4_k), "Q5_K": (13, q5_k),
         "Q6_K": (14, q6_k), "IQ4_NL": (20, iq4_nl), "IQ4_XS": (23, iq4_xs), "BF16": (30, bf16), "MXFP4": (39, mxfp4)}


# --- Containers ---


def skip_value(data, at, kind):
    if kind == 8:
        return at + 8 + struct.unpack_from("<Q", data, at)[0]
    if kind == 9:
        kind, count = struct.unpack_from("<IQ", data, at)
        at += 12
        for _ in range(count):
            at = skip_value(data, at, kind)
        return at
    return at + SCALARS[kind]


def read_gguf(path):
    """(number of keys, their bytes, {tensor: (dimensions, type, bytes)} in the file's order)."""
    data = path.read_bytes()
    tensors, keys = struct.unpack_from("<QQ", data, 8)
    at = 24
    for _ in range(keys):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at = skip_value(data, at + 4, struct.unpack_from("<I", data, at)[0])
    head, infos = data[24:at], []
    for _ in range(tensors):
        length = struct.unpack_from("<Q", data, at)[0]
        name = data[at + 8:at + 8 + length].decode()
        at += 8 + length
        rank = struct.unpack_from("<I", data, at)[0]
        dims = struct.unpack_from(f"<{rank}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * rank)
        at += 16 + 8 * rank
        infos.append((name, dims, kind, offset))
    base = -(-at // ALIGNMENT) * ALIGNMENT
    ends = sorted([offset for *_, offset in infos] + [len(data) - base])
    return keys, head, {name: (dims, kind, data[base + offset:base + ends[ends.index(offset) + 1]])
                        for name, dims, kind, offset in infos}


def write_gguf(path, keys, head, tensors, alignment=ALIGNMENT):
    infos, body = b"", b""
    for name, (dims, kind, data) in tensors.items():
        word = name.encode()
        infos += struct.pack("<Q", len(word)) + word + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(body))
        body += bytes(data) + bytes(-len(data) % alignment)
    start = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), keys) + head + infos
    path.write_bytes(start + bytes(-len(start) % alignment) + body)
    return path


def read_safetensors(path):
    """{tensor: f32 array}"""
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    out = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        raw = np.frombuffer(data[8 + size:][slice(*entry["data_offsets"])], np.uint8)
        if entry["dtype"] == "BF16":
            values = (raw.view("<u2").astype(np.uint32) << 16).view(F32)
        else:
            values = raw.view({"F16": "<f2", "F32": "<f4"}[entry["dtype"]]).astype(F32)
        out[name] = values.reshape(entry["shape"])
    return out


def write_safetensors(path, tensors, dtype):
    """Every tensor as dtype: "F32", "F16" or "BF16"."""
    header, body, at = {}, [], 0
    for name, values in tensors.items():
        raw = np.ascontiguousarray(TYPES[dtype][1](np.ascontiguousarray(values))[0]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
        body.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(body))
    return path
