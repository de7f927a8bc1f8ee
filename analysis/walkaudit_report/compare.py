"""One result against another of the same inputs: which bits differ, and which figures got worse.

The dense model alone drives what the isolated figures measure, so that a change in one layer shows in that layer's, and in
the drift of all later ones.
"""
import dataclasses
import math

import numpy as np

from . import layout, text
from .errors import Failure
from .metrics import METRICS

# Figures below these are f32 rounding, which another BLAS or order of sums changes freely; they are never worse.
NOISE = {"kernel_rel_l2": 2e-6, "rel_l2": 2e-6, "one_minus_cos": 2e-12, "eta": 2e-6, "drift": 2e-5, "kl": 2e-6,
         "prob_delta": 1e-5, "row_err": 1e-6, "mean_kl": 2e-6, "p99_kl": 2e-6, "flip_rate": 1e-3, "far_flip_rate": 1e-3,
         "ppl_ratio": 1e-5, "mean_next_logprob_delta": 1e-5}
GROUPS = {"kernel": "Kernels, against the stored numbers", "encoding": "Encoding: stored rows, against the model's",
          "fidelity": "Fidelity, against the dense model"}
PROGRAM = ("blas_core", "numeric_version")  # fingerprints of the program; all others are of its inputs
PIECE = 1 << 20  # observations of a small dataset read at once
CELLS = ("rel_l2", "one_minus_cos", "eta", "drift", "kernel_rel_l2", "cos", "l2", "max_abs", "norm_ratio", "max_abs_index",
         "obs_status")
NORMS = ("x_norm", "ref_norm", "h_norm")  # of the dense model, [layer, obs]
DENSE_TOKENS = ("ref_top1_id", "ref_top1_prob", "ref_margin", "ref_topk_id", "ref_topk_logprob")
TOKENS = ("top1_id", "top1_prob", "prob_of_ref_top1", "prob_delta", "top1_match", "kl", "js", "topk_overlap", "topk_id",
          "topk_logprob", "obs_kl")  # of a case; the last with `logits: all` only
FINITE = ("rel_l2", "one_minus_cos", "eta", "drift")  # every observation has them


@dataclasses.dataclass
class Change:
    """One figure of one place; ratio: how many times larger it is, beyond noise."""

    group: str
    measure: str
    case: str
    where: str
    old: float
    new: float
    ratio: float
    layer: int = -1


@dataclasses.dataclass
class Pair:
    """A case in both results, by its numbers there; or the dense model of both."""

    name: str
    old: int
    new: int
    equal: list  # per layer: whether all is equal bit for bit
    differing: list  # per layer: names of the datasets that differ
    tokens_equal: bool = True  # next tokens, their probabilities and KL, bit for bit

    def all_equal(self):
        return all(self.equal) and self.tokens_equal


def ratio(old, new, noise):
    """New over old, both at least the noise. What is no number any more is infinitely worse; what was none tells nothing."""
    if math.isnan(old):
        return 1.0
    return math.inf if not math.isfinite(new) else max(new, noise) / max(old, noise) if math.isfinite(old) else 0.0


def different_inputs(old, new):
    """[(key, old value, new value)] of fingerprints that differ: (of inputs, of the program)."""
    one, other = old.fingerprints(), new.fingerprints()
    if not one and not other:  # nothing vouches for them
        return [("fingerprints", "none", "none")], []
    keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
    found = [(key, one.get(key, "none"), other.get(key, "none")) for key in keys]
    return [item for item in found if item[0] not in PROGRAM], [item for item in found if item[0] in PROGRAM]


def check_shapes(old, new):
    """Observations must be the same ones: no option overrules that."""
    where = f"'{old.path}' and '{new.path}'"
    for axis in ("layer", "obs"):
        if old.size[axis] != new.size[axis]:
            raise Failure("the results cannot be compared", where, f"found {old.size[axis]} and {new.size[axis]} in dimension "
                          f"'{axis}', expected the same")
    if old.prompts != new.prompts or not same_tokens(old, new):
        raise Failure("the results cannot be compared", where, "found other prompts or tokens, expected the same")


def same_tokens(old, new):
    """Piece by piece: the ids of all positions may be many."""
    pieces = (slice(start, start + PIECE) for start in range(0, old.size["obs"], PIECE))
    return all(np.array_equal(old.read("token_id", piece), new.read("token_id", piece)) for piece in pieces)


def pairs(old, new):
    """Cases of the same name in both."""
    return [pair_of(old, name, old.cases.index(name), new.cases.index(name)) for name in old.cases if name in new.cases]


def pair_of(result, name, old, new):
    layers = result.size["layer"]
    return Pair(name, old, new, [True] * layers, [[] for _ in range(layers)])


def compare_dense(old, new):
    """The dense model of both: where it differs, every case is measured against something else."""
    pair = pair_of(old, "dense", -1, -1)
    for name in NORMS:
        for layer in range(old.size["layer"]):
            if not same(old.read(name, layer), new.read(name, layer)):
                pair.equal[layer] = False
                pair.differing[layer].append(name)
    pair.tokens_equal = all(same(old[name], new[name]) for name in DENSE_TOKENS)
    return pair


def bits(values):
    return values.view(f"u{values.dtype.itemsize}") if values.dtype.kind == "f" else values


def same(one, other):
    return one.shape == other.shape and np.array_equal(bits(one), bits(other))


def compare_case(old, new, pair):
    """Changes of one case, layer by layer; marks in `pair` what is equal bit for bit."""
    changes = []
    for name in CELLS:
        for (part, before), (_, after) in zip(old.slabs(name, pair.old), new.slabs(name, pair.new)):
            for layer, one, other in zip(range(part.start, part.stop), before, after):
                if not same(one, other):
                    pair.equal[layer] = False
                    pair.differing[layer].append(name)
                    if name in NOISE:
                        changes += compare_rows(new, pair, name, layer, one, other)
    labels = old.words("label")[pair.old], new.words("label")[pair.new]
    for layer in np.flatnonzero((labels[0] != labels[1]).any(axis=1)):
        pair.equal[layer] = False
        pair.differing[layer].append("label")
    pair.tokens_equal = all(same(old.read(name, pair.old), new.read(name, pair.new)) for name in TOKENS
                            if old.has(name) and new.has(name))
    return changes


def compare_rows(new, pair, name, layer, one, other):
    """Largest and median of a layer. kernel_rel_l2 is there at some positions only."""
    group = "kernel" if name == "kernel_rel_l2" else "fidelity"
    symbol = METRICS[name].symbol
    broken = int((~np.isfinite(other)).sum()) - int((~np.isfinite(one)).sum()) if name in FINITE else 0
    if broken > 0:
        return [Change(group, symbol, pair.name, f"L{layer}: {broken} observations more are no number", 0.0, math.nan, math.inf,
                       layer)]
    found = []
    for word, figure in (("largest", largest), ("median", median)):
        before, after = figure(one), figure(other)
        where = f"L{layer} {word}"
        if word == "largest" and math.isfinite(after):
            where += " at " + place_words(new.place(layer, int(np.nanargmax(other))))
        found.append(Change(group, symbol, pair.name, where, before, after, ratio(before, after, NOISE[name]), layer))
    return found


def largest(values):
    return float(np.fmax.reduce(values, initial=-math.inf)) if np.isfinite(values).any() else math.nan


def median(values):
    finite = values[np.isfinite(values)]
    return float(np.median(finite, overwrite_input=True)) if finite.size else math.nan


def place_words(place):
    return f"{text.plain(place.key)}/{place.position} {text.token(place.token)}"


def stored_words(result, at):
    payload, layer, projection = at
    return f"L{layer} {layout.PROJECTIONS[projection]} of {result.words('payload')[payload]}"


def compare_encoding(old, new):
    """Rows of the vindexes that both results hold."""
    changes = []
    for name in old.vindexes:
        if name not in new.vindexes:
            continue
        one, other = old.vindexes.index(name), new.vindexes.index(name)
        for figure in ("p50", "p99", "max"):
            before, after = old[f"row_err_{figure}"][one], new[f"row_err_{figure}"][other]
            for at in zip(*np.nonzero(bits(before) != bits(after))):
                changes.append(Change("encoding", METRICS["row_err"].symbol, name, f"{stored_words(new, at)}, {figure}",
                                      float(before[at]), float(after[at]), ratio(before[at], after[at], NOISE["row_err"]),
                                      int(at[1])))
        before, after = old["row_nonfinite"][one], new["row_nonfinite"][other]
        changes += [Change("encoding", "values that are no number", name, stored_words(new, at), float(before[at]), float(after[at]),
                           math.inf, int(at[1]))
                    for at in zip(*np.nonzero(after > before))]
    return changes


def compare_next_tokens(old, new, pair):
    """KL and ΔP of the case's worst and median prompt, lost top-1, and the rates if both have them."""
    changes = []
    for name in ("kl", "prob_delta"):
        before, after = np.abs(old[name][pair.old]), np.abs(new[name][pair.new])
        if np.array_equal(bits(before), bits(after)):
            continue
        if np.isnan(after).sum() > np.isnan(before).sum():
            changes.append(Change("fidelity", METRICS[name].symbol, pair.name, "no number", 0.0, math.nan, math.inf))
            continue
        for word, figure in (("largest", largest), ("median", median)):
            one, other = figure(before), figure(after)
            at = f" at {new.prompts[int(np.nanargmax(after))]}" if word == "largest" and math.isfinite(other) else ""
            changes.append(Change("fidelity", METRICS[name].symbol, pair.name, f"{word}{at}", one, other,
                                  ratio(one, other, NOISE[name])))
    lost = (old.words("top1_match")[pair.old] == "yes") & (new.words("top1_match")[pair.new] != "yes")
    changes += [Change("fidelity", METRICS["top1"].symbol, pair.name, f"{new.prompts[prompt]}: lost (margin "
                       f"{new['ref_margin'][prompt]:.3g})", 0.0, 1.0, math.inf) for prompt in np.flatnonzero(lost)]
    return changes + compare_rates(old, new, pair)


def compare_rates(old, new, pair):
    changes = []
    for name in layout.RATES:
        if not (old.has(name) and new.has(name)):
            continue
        rest = 1.0 if name == "ppl_ratio" else 0.0  # its value without any difference
        before, after = float(old[name][pair.old]), float(new[name][pair.new])
        found = ratio(abs(before - rest), abs(after - rest), NOISE[name])
        if before != after and not (math.isnan(before) and math.isnan(after)):
            changes.append(Change("fidelity", METRICS[name].symbol, pair.name, "all positions", before, after, found))
    return changes


def verdict_changes(old, new, found):
    """[(case, old verdict, new verdict, first reason)] where they differ."""
    out = []
    for pair in found:
        before, after = old.words("verdict")[pair.old], new.words("verdict")[pair.new]
        if before != after:
            out.append((pair.name, before, after, str(new["fail_reasons"][pair.new]).split("\n")[0]))
    return out
