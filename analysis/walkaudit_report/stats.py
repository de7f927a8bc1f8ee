"""Passes over the observations of a case: quantiles per layer and histograms, position 0 apart from the rest."""
import dataclasses
import math

import numpy as np

QUANTILES = (0.5, 0.95, 0.99)
LEAST, MOST, PER_DECADE = -18, 5, 8  # decades of the histograms
EDGES = 10.0 ** np.linspace(LEAST, MOST, (MOST - LEAST) * PER_DECADE + 1)
BLOCK = 1 << 20  # observations whose logarithms are taken at once
CHUNK = 8192  # observations of a chunk in the file
GROWTH_EDGES = 10.0 ** np.linspace(-4, 4, 801)  # 2.3 % apart


@dataclasses.dataclass
class Survey:
    """Of one metric of one case. Arrays are [layer]; NaN where a class of positions has no finite value."""

    p50: np.ndarray  # of the positions after the first
    p95: np.ndarray
    p99: np.ndarray
    rest: np.ndarray  # largest after the first position
    first: np.ndarray  # largest at position 0
    nonfinite: np.ndarray  # observations that are no number
    histogram: dict  # "rest", "first": counts per bin of EDGES; smaller and larger ones in the end bins
    zeros: dict  # "rest", "first": observations that are exactly 0, in no bin


def first_positions(result):
    """Observations at position 0 of their prompt, as indices."""
    starts = result.starts[:-1]
    return starts[result.starts[1:] > starts]


def survey(result, name, case):
    """All layers of `name` of one case; memory of a slab and two rows."""
    layers, at_first = result.size["layer"], first_positions(result)
    out = Survey(*(np.full(layers, np.nan) for _ in range(5)), np.zeros(layers, np.int64),
                 {kind: np.zeros(len(EDGES) - 1, np.int64) for kind in ("rest", "first")}, {"rest": 0, "first": 0})
    for part, values in result.slabs(name, case):
        for at, row in enumerate(values, part.start):
            add_row(out, at, row, at_first)
    return out


def add_row(out, layer, row, at_first):
    first, rest = row[at_first], np.delete(row, at_first)
    for kind, values in (("first", first), ("rest", rest)):
        finite = values[np.isfinite(values)]
        out.nonfinite[layer] += values.size - finite.size
        count(out, kind, finite)
        if finite.size:
            getattr(out, kind)[layer] = finite.max()
            if kind == "rest":
                out.p50[layer], out.p95[layer], out.p99[layer] = np.quantile(finite, QUANTILES, overwrite_input=True)


def count(out, kind, values):
    for start in range(0, values.size, BLOCK):
        block = np.abs(values[start:start + BLOCK])
        positive = block[block > 0]
        out.zeros[kind] += block.size - positive.size
        bins = np.clip(np.floor((np.log10(positive) - LEAST) * PER_DECADE), 0, len(EDGES) - 2).astype(np.int64)
        out.histogram[kind] += np.bincount(bins, minlength=len(EDGES) - 1)


@dataclasses.dataclass
class Growth:
    """Of a case's own stream. Arrays are [layer], over the positions after the first; NaN where nothing differs."""

    p50: np.ndarray
    p95: np.ndarray


def growth(result, case):
    """What each layer makes of an error: the length of the difference between the case's stream and the dense one after the
    layer, over the root of the squares of that before it and of what the layer itself adds. All layers of a block of
    observations at once; quantiles from a fine histogram."""
    layers, at_first = result.size["layer"], first_positions(result)
    counts = np.zeros((layers, len(GROWTH_EDGES) - 1), np.int64)
    step = max(CHUNK, BLOCK // max(layers, 1) // CHUNK * CHUNK)
    for start in range(0, result.size["obs"], step):
        part = slice(start, min(start + step, result.size["obs"]))
        drift, eta = (result.read(name, (case, slice(None), part)) for name in ("drift", "eta"))
        norm = result.read("h_norm", (slice(None), part))
        after, added = drift * norm, eta * norm
        before = np.vstack([np.zeros_like(after[:1]), after[:-1]])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = after / np.sqrt(before ** 2 + added ** 2)
        ratio[:, at_first[(at_first >= part.start) & (at_first < part.stop)] - part.start] = np.nan
        for layer, row in enumerate(ratio):
            known = np.clip(row[np.isfinite(row)], GROWTH_EDGES[0], GROWTH_EDGES[-1])
            counts[layer] += np.histogram(known, GROWTH_EDGES)[0]
    return Growth(*(np.array([quantile(row, share) for row in counts]) for share in (0.5, 0.95)))


def quantile(counts, share):
    """Of a histogram over GROWTH_EDGES, even within a bin; NaN of nothing."""
    total = counts.sum()
    if total == 0:
        return np.nan
    known = np.concatenate([[0], np.cumsum(counts)])
    return float(10.0 ** np.interp(share * total, known, np.log10(GROWTH_EDGES)))


def fold(values, step):
    """[row, column] of [row, position]: the largest of each `step` positions; what is no number outweighs any number."""
    columns = math.ceil(values.shape[1] / step)
    padded = np.full((values.shape[0], columns * step), -np.inf)
    padded[:, :values.shape[1]] = np.where(np.isfinite(values), values, np.inf)
    folded = padded.reshape(values.shape[0], columns, step).max(axis=2)
    return np.where(np.isfinite(folded), folded, np.nan)
