"""Encoders that are not LARQL's, in numpy, and a way to rewrite a vindex's payloads with them.

Each encoder takes rows of f32 [rows, elements] and gives their bytes in the order of a vindex [rows, bytes]; elements are whole
blocks. They follow what encoders in use do: a search over scales with weights (Q4_K), the signed largest value over -8 (Q4_0), the
least squared error over a grid of scales, a refit of the scale after the codes are chosen, nearest levels under rounded scales.
`TRUNCATING` ones are faults: they take the level below, not the nearest.
"""
import json

import numpy as np

F32 = np.float32


def half(x):
    return np.asarray(x, F32).astype(np.float16).astype(F32)


def half_bytes(x):
    return np.ascontiguousarray(np.asarray(x, F32).astype("<f2")[..., None]).view(np.uint8)


def nearest(x):
    """Half away from zero."""
    return np.trunc(x + np.copysign(0.5, x))


def half_up(x):
    return np.floor(x + F32(0.5))


def over(a, b):
    """a / b, 0 where b is."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, F32), where=b != 0).astype(F32)


# --- Q4_0: neighbours share a byte, value = (q - 8) * d -----------------------------------------------------------------


def pack_pairs(codes):
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)


def join_q4_0(d, q):
    blocks = np.concatenate([half_bytes(d), pack_pairs((q + 8).astype(np.uint8))], axis=-1)
    return blocks.reshape(blocks.shape[0], -1)


def blocks_of(rows, size):
    return np.ascontiguousarray(rows, F32).reshape(len(rows), -1, size)


def importance(x, spread=1.0):
    """Of each column, log-normal and the same in every row, in the shape of the row's groups x: what an importance matrix says."""
    columns = x[0].size
    return np.exp(spread * np.random.default_rng(columns).standard_normal(columns)).astype(F32).reshape(x.shape[1:])


def signed_largest(x):
    at = np.argmax(np.abs(x), axis=-1)
    return np.take_along_axis(x, at[..., None], axis=-1)[..., 0]


def q4_0_ggml(rows, rounding=half_up, stretch=1.0):
    """The value of the largest magnitude becomes -8; codes come from the unrounded scale, halves upwards. A fault: scales `stretch`
    times as large."""
    x = blocks_of(rows, 32)
    d = signed_largest(x) / F32(-8) * F32(stretch)
    return join_q4_0(d, np.clip(rounding(x * over(F32(1), d)[..., None]), -8, 7))


def q4_0_min_mse(rows):
    """The scale of 24 that leaves the least squared error, as f16; nearest levels."""
    x = blocks_of(rows, 32)
    amax = np.abs(x).max(axis=-1)
    best, least = np.zeros_like(amax), np.full(amax.shape, np.inf, F32)
    for divisor in np.linspace(6.0, 9.0, 24):
        d = half(amax / F32(divisor))
        q = np.clip(nearest(x * over(F32(1), d)[..., None]), -8, 7)
        error = np.square(q * d[..., None] - x).sum(axis=-1)
        better = error < least
        best, least = np.where(better, d, best), np.where(better, error, least)
    return join_q4_0(best, np.clip(nearest(x * over(F32(1), best)[..., None]), -8, 7))


def q4_0_refit(rows):
    """Codes of 19 scales, each then fitted by least squares with its codes kept; the best by weighted squared error."""
    x = blocks_of(rows, 32)
    largest, weights = signed_largest(x), np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.square(x))
    best, codes, most = np.zeros_like(largest), np.zeros_like(x), np.full(largest.shape, -1, F32)
    for i in range(-9, 10):
        q = np.clip(nearest(x * over(F32(-(8 + 0.1 * i)), largest)[..., None]), -8, 7)
        product, square = (weights * x * q).sum(axis=-1), (weights * q * q).sum(axis=-1)
        better = (square > 0) & (over(product * product, square) > most)
        best, codes = np.where(better, over(product, square), best), np.where(better[..., None], q, codes)
        most = np.where(better, over(product * product, square), most)
    return join_q4_0(best, codes)


# --- Q4_K: eight sub-blocks of 32, value = d * sc * q - dmin * m ----------------------------------------------------------


def pack_q4_k(d, dmin, sc, m, q):
    """d, dmin [rows, blocks]; sc, m [rows, blocks, 8]; q [rows, blocks, 8, 32]."""
    sc, m, q = sc.astype(np.uint8), m.astype(np.uint8), q.astype(np.uint8)
    packed = np.concatenate([sc[..., :4] | (sc[..., 4:] >> 4) << 6, m[..., :4] | (m[..., 4:] >> 4) << 6,
                             sc[..., 4:] & 15 | (m[..., 4:] & 15) << 4], axis=-1)
    nibbles = (q[..., 0::2, :] | q[..., 1::2, :] << 4).reshape(*q.shape[:2], 128)
    blocks = np.concatenate([half_bytes(d), half_bytes(dmin), packed, nibbles], axis=-1)
    return blocks.reshape(len(blocks), -1)


def finish_q4_k(x, scale, least, rounding=nearest):
    """From a step and a minimum (at most 0) of each sub-block: 6-bit scales under f16 ones, then codes from what was stored."""
    d, dmin = half(scale.max(axis=-1) / F32(63)), half(-least.min(axis=-1) / F32(63))
    sc = np.clip(nearest(over(scale, d[..., None])), 0, 63)
    m = np.clip(nearest(over(-least, dmin[..., None])), 0, 63)
    step, low = (d[..., None] * sc).astype(F32), (dmin[..., None] * m).astype(F32)
    q = np.clip(rounding((x + low[..., None]) * over(F32(1), step)[..., None]), 0, 15)
    return pack_q4_k(d, dmin, sc, m, q)


def sub_blocks(rows):
    return np.ascontiguousarray(rows, F32).reshape(len(rows), -1, 8, 32)


def q4_k_plain(rows, rounding=nearest):
    """From the least and the largest of each sub-block."""
    x = sub_blocks(rows)
    low, high = np.minimum(x.min(axis=-1), 0), np.maximum(x.max(axis=-1), 0)
    return finish_q4_k(x, (high - low) / F32(15), low, rounding)


def q4_k_search(rows, rounding=nearest, weigh=lambda x: F32(1)):
    """The best of 21 ranges by a weighted squared error, each with step and minimum refitted: the search that ggml makes."""
    x = sub_blocks(rows)
    weights = weigh(x) * (np.sqrt(np.square(x).mean(axis=-1, keepdims=True)) + np.abs(x))
    low, high = np.minimum(x.min(axis=-1), 0), x.max(axis=-1)
    span = high - low
    sum_w, sum_x = weights.sum(axis=-1), (weights * x).sum(axis=-1)

    def error(step, least, codes):
        return (weights * np.square(step[..., None] * codes + least[..., None] - x)).sum(axis=-1)

    best, least = span / F32(15), low
    smallest = error(best, least, np.clip(nearest((x - low[..., None]) * over(F32(15), span)[..., None]), 0, 15))
    for i in range(21):
        inverse = over(F32(-1.0 + 0.1 * i + 15), span)[..., None]
        codes = np.clip(nearest((x - low[..., None]) * inverse), 0, 15)
        wl = weights * codes
        sum_l, sum_l2, sum_xl = wl.sum(axis=-1), (wl * codes).sum(axis=-1), (wl * x).sum(axis=-1)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        step = over(sum_w * sum_xl - sum_x * sum_l, determinant)
        start = over(sum_l2 * sum_x - sum_l * sum_xl, determinant)
        step, start = np.where(start > 0, over(sum_xl, sum_l2), step), np.minimum(start, 0)
        now = error(step, start, codes)
        better = (now < smallest) & (determinant > 0)
        best, least, smallest = (np.where(better, a, b) for a, b in ((step, best), (start, least), (now, smallest)))
    return finish_q4_k(x, np.maximum(best, 0).astype(F32), least.astype(F32), rounding)


# --- Q6_K: sixteen sub-blocks of 16, value = d * sc * (q - 32) ---------------------------------------------------------------


def q6_k_search(rows, rounding=nearest, weigh=lambda x: F32(1)):
    """The best of 19 scales by squared error weighted with x^2, then 8-bit scales under an f16 one."""
    x = np.ascontiguousarray(rows, F32).reshape(len(rows), -1, 16, 16)
    largest, weights = signed_largest(x), weigh(x) * np.square(x)
    best, gain = np.zeros_like(largest), np.full(largest.shape, -1, F32)
    for i in range(-9, 10):
        codes = np.clip(nearest(x * over(F32(-(32 + 0.1 * i)), largest)[..., None]), -32, 31)
        product, square = (weights * x * codes).sum(axis=-1), (weights * codes * codes).sum(axis=-1)
        now = over(product * product, square)
        better = now > gain
        best, gain = np.where(better, over(product, square), best), np.where(better, now, gain)
    top = signed_largest(best)
    d = half(top / F32(-128))
    sc = np.clip(nearest(over(best, d[..., None])), -128, 127)
    q = np.clip(rounding(x * over(F32(1), (d[..., None] * sc).astype(F32))[..., None]), -32, 31) + 32
    q = q.astype(np.uint8).reshape(*d.shape, 256)
    ql = q[..., 0::2] & 15 | (q[..., 1::2] & 15) << 4
    qh = q[..., 0::4] >> 4 | (q[..., 1::4] >> 4) << 2 | (q[..., 2::4] >> 4) << 4 | (q[..., 3::4] >> 4) << 6
    blocks = np.concatenate([ql, qh, sc.astype(np.int8).view(np.uint8), half_bytes(d)], axis=-1)
    return blocks.reshape(len(blocks), -1)


# --- FP4 and FP8: E2M1 and E4M3 codes under E4M3 scales -------------------------------------------------------------------

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], F32)
E4M3 = np.array([(m if e == 0 else 8 + m) * 2.0 ** (max(e, 1) - 10) for e in range(16) for m in range(8)][:127], F32)


def nearest_level(x, levels):
    """Code of the nearest level, ties to the even code, sign in the bit above the codes' own."""
    size = np.abs(x)
    bounds = (levels[1:] + levels[:-1]) / F32(2)
    code = np.searchsorted(bounds, size, side="left")
    tie = (code < len(bounds)) & (size == bounds[np.minimum(code, len(bounds) - 1)])
    return code + (tie & (code % 2 == 1))


def fp4_with(x, scale, sub):
    """scale [rows, blocks] and sub [rows, blocks, 8] are codes of E4M3; codes of weights [rows, blocks, 8, 32] nearest."""
    unit = (E4M3[sub] * E4M3[scale][..., None] / F32(6)).astype(F32)
    scaled = x * over(F32(1), unit)[..., None]
    code = nearest_level(scaled, E2M1)
    return np.where(scaled < 0, code | 8, code), np.square(np.copysign(E2M1[code], x) * unit[..., None] - x).sum(axis=-1)


def join_fp4(scale, sub, codes):
    packed = pack_pairs(codes.astype(np.uint8).reshape(*scale.shape, 256))
    blocks = np.concatenate([packed, sub.astype(np.uint8), scale.astype(np.uint8)[..., None]], axis=-1)
    return blocks.reshape(len(blocks), -1)


def fp4_nearest(rows, candidates=(0,)):
    """The block's scale rounded up to E4M3 so that nothing is cut, each sub-block's to nearest."""
    x = sub_blocks(rows)
    amax = np.abs(x).max(axis=-1)
    scale = np.minimum(np.searchsorted(E4M3, amax.max(axis=-1), side="left"), 126)
    first = nearest_level(over(amax, E4M3[scale][..., None]), E4M3)
    best, least = first, None
    for step in candidates:
        sub = np.clip(first + step, 0, 126)
        error = fp4_with(x, scale, sub)[1]
        best = sub if least is None else np.where(error < least, sub, best)
        least = error if least is None else np.minimum(error, least)
    return join_fp4(scale, best, fp4_with(x, scale, best)[0])


def fp4_min_mse(rows):
    """The sub-block's scale of five neighbours that leaves the least squared error."""
    return fp4_nearest(rows, (0, -2, -1, 1, 2))


def fp8_nearest(rows):
    """The scale that takes the largest value to 448 or less."""
    x = blocks_of(rows, 256)
    scale = np.minimum(np.searchsorted(E4M3, np.abs(x).max(axis=-1) / F32(448), side="left"), 126)
    scaled = x * over(F32(1), E4M3[scale])[..., None]
    code = nearest_level(scaled, E4M3)
    blocks = np.concatenate([np.where(scaled < 0, code | 128, code).astype(np.uint8), scale.astype(np.uint8)[..., None]], axis=-1)
    return blocks.reshape(len(blocks), -1)


# --- A model of other weights ------------------------------------------------------------------------------------------------


def reweigh(model, weights):
    """Rewrites the FFN matrices of a model that `synth --dtype f32` made: weights(name, values [rows, cols]) -> values."""
    path = model / "model.safetensors"
    data = np.memmap(path, np.uint8, "r+")
    size = int(data[:8].view("<u8")[0])
    for name, entry in json.loads(bytes(data[8:8 + size])).items():
        if ".mlp." in name and name.endswith(".weight"):
            assert entry["dtype"] == "F32", name
            start, end = (8 + size + at for at in entry["data_offsets"])
            values = np.ndarray(entry["shape"], "<f4", data, start)
            assert values.nbytes == end - start
            values[:] = weights(name, values.copy())
    data.flush()


def log_normal(seed, spread=1.0, tails=0.0):
    """Rows of norms that are log-normal; with `tails` the single weights are, too."""
    rng = np.random.default_rng(seed)

    def weights(_, values):
        scale = np.exp(spread * rng.standard_normal((len(values), 1)))
        return (values * scale * np.exp(tails * rng.standard_normal(values.shape))).astype(F32)
    weights.__name__ = f"log-normal-{seed}-{spread}-{tails}"
    return weights


# --- A vindex rewritten ------------------------------------------------------------------------------------------------

PROJECTIONS = ("gate", "up", "down")
FLOATS = {"gate": "gate_vectors.bin", "up": "up_features.bin", "down": "down_features.bin"}
BLOCK = {"Q4_0": 32, "Q4_K": 256, "Q6_K": 256, "FP4": 256, "FP8": 256}
FAMILIES = {  # of encoders that keep to nearest levels: {format: encoder}
    "plain": {"Q4_K": q4_k_plain, "Q6_K": q6_k_search, "Q4_0": q4_0_ggml, "FP4": fp4_nearest, "FP8": fp8_nearest},
    "search": {"Q4_K": q4_k_search, "Q6_K": q6_k_search, "Q4_0": q4_0_min_mse, "FP4": fp4_min_mse, "FP8": fp8_nearest},
    "refit": {"Q4_K": q4_k_search, "Q6_K": q6_k_search, "Q4_0": q4_0_refit, "FP4": fp4_min_mse, "FP8": fp8_nearest},
    "imatrix": {"Q4_K": lambda rows: q4_k_search(rows, weigh=importance), "Q6_K": lambda rows: q6_k_search(rows, weigh=importance),
                "Q4_0": q4_0_refit, "FP4": fp4_min_mse, "FP8": fp8_nearest},
}
TRUNCATING = {"Q4_K": lambda rows: q4_k_search(rows, np.floor), "Q6_K": lambda rows: q6_k_search(rows, np.trunc),
              "Q4_0": lambda rows: q4_0_ggml(rows, np.trunc)}


class Vindex:
    """Block payloads of a vindex, matrix by matrix, and the model's rows from an f32 vindex of the same model."""

    def __init__(self, folder, floats):
        self.folder = folder
        index = json.loads((folder / "index.json").read_text())
        self.layers, self.hidden = index["num_layers"], index["hidden_size"]
        self.features, self.fp4 = index["layers"][0]["num_features"], index.get("fp4")
        shape = (self.layers, self.features, self.hidden)
        self.model = {p: np.memmap(floats / FLOATS[p], "<f4", "r", shape=shape) for p in PROJECTIONS}

    def matrices(self):
        """(layer, projection, format, writable stored rows [rows, bytes], the model's rows [rows, elements], padded)."""
        if (self.folder / "interleaved_q4.bin").exists():
            yield from self.triples("interleaved_q4.bin")
        for name in ("interleaved_q4k", "down_features_q4k", "interleaved_kquant", "down_features_kquant"):
            if (self.folder / f"{name}_manifest.json").exists():
                yield from self.kquants(name)
        if self.fp4 is not None:
            yield from self.fp4_files()

    def padded(self, rows, format):
        rest = -rows.shape[1] % BLOCK[format]
        return np.pad(rows, ((0, 0), (0, rest)))

    def triples(self, file):
        span = self.hidden // 32 * 18
        stored = np.memmap(self.folder / file, np.uint8, "r+", shape=(self.layers, 3, self.features, span))
        for layer in range(self.layers):
            for at, projection in enumerate(PROJECTIONS):
                yield layer, projection, "Q4_0", stored[layer, at], self.padded(self.model[projection][layer], "Q4_0")

    def kquants(self, name):
        whole = name.startswith("interleaved")
        for i, entry in enumerate(json.loads((self.folder / f"{name}_manifest.json").read_text())):
            layer, projection = (i // 3, PROJECTIONS[i % 3]) if whole else (i, "down")
            rows = self.model[projection][layer]
            rows = rows.T if whole and projection == "down" else rows
            shape = (entry["shape"][0], entry["length"] // entry["shape"][0])
            stored = np.memmap(self.folder / f"{name}.bin", np.uint8, "r+", entry["offset"], shape)
            yield layer, projection, entry["format"], stored, self.padded(rows, entry["format"])

    def fp4_files(self):
        for projection in ("up", "down"):
            which = self.fp4["projections"][projection]
            if which["precision"] not in ("fp4", "fp8"):
                continue
            format, blocks = which["precision"].upper(), -(-self.hidden // 256)
            span = blocks * (137 if format == "FP4" else 257)
            stored = np.memmap(self.folder / which["file"], np.uint8, "r+", shape=(self.layers, self.features, span))
            for layer in range(self.layers):
                yield layer, projection, format, stored[layer], self.padded(self.model[projection][layer], format)

    def rewrite(self, encoders, change=lambda layer, projection, rows: rows, only=None):
        """Every matrix anew, or those of `only` (layer, projection); `change` plants a fault in the rows before."""
        for layer, projection, format, stored, rows in self.matrices():
            if format in encoders and (only is None or (layer, projection) in only):
                stored[:] = encoders[format](change(layer, projection, rows))
                stored.base.flush() if isinstance(stored.base, np.memmap) else stored.flush()
