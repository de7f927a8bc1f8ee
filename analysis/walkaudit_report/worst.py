"""The worst observations of a result, ranked in one pass over the datasets that rank them."""
import dataclasses
import math

import numpy as np

from . import stats, text

# What `--by` ranks by: always the larger, the worse. What is no number ranks above all.
ORDERS = {"rel_l2": "rel_l2", "cos": "one_minus_cos", "eta": "eta", "drift": "drift", "kernel": "kernel_rel_l2", "kl": "kl"}
SHOWN = ("rel_l2", "one_minus_cos", "eta", "drift", "kernel_rel_l2")
NORMS = ("x_norm", "ref_norm", "h_norm")
BLOCK = 1 << 20  # observations ranked at once
NEAR_ZERO = 0.05  # of the layer's median norm of the dense output: below it a relative error says little


@dataclasses.dataclass
class Item:
    """One observation; near_zero: the dense output is much shorter than usual in its layer; times: prompts that
    begin with its token, for a first position."""

    case: int
    place: object
    value: float = math.nan
    figures: dict = dataclasses.field(default_factory=dict)
    norms: tuple = ()
    status: str = ""
    near_zero: bool = False
    share: float = 1.0
    times: int = 1
    says: tuple = ()  # of a next token: (text, probability) of the dense model and of the case, and the dense margin


def rank(result, by, cases, limit, step):
    """{"rest": [Item], "first": [Item]} by an observation's metric; {"next": [Item]} by KL. step(name) after each case."""
    if by == "kl":
        return rank_next(result, cases, limit, step)
    kept = {"rest": [], "first": []}
    at_first = stats.first_positions(result)
    tokens = first_tokens(result, at_first)
    for case in cases:
        for part, values in result.slabs(ORDERS[by], case):
            for layer, row in zip(range(part.start, part.stop), values):
                kept["first"] += best_first(scores_of(row[at_first], by), tokens, at_first, case, layer, limit)
                row[at_first] = -np.inf
                kept["rest"] += best(row, by, case, layer, limit)
        kept = {kind: sorted(found, key=order)[:limit] for kind, found in kept.items()}
        step(result.cases[case])
    medians = {}
    return {kind: [describe(result, by, found, medians) for found in items] for kind, items in kept.items()}


def first_tokens(result, at_first):
    """Token ids of the first positions, read in pieces."""
    ids = np.empty(at_first.size, np.int64)
    for start in range(0, result.size["obs"], BLOCK):
        low, high = np.searchsorted(at_first, (start, start + BLOCK))
        if high > low:
            ids[low:high] = result.read("token_id", slice(start, min(start + BLOCK, result.size["obs"])))[at_first[low:high] - start]
    return ids


def order(found):
    """Largest first; ties by case, layer and observation, so that the list is always the same."""
    score, case, layer, obs, *_ = found
    return -score, case, layer, obs


def scores_of(values, by):
    """What is no number is infinitely bad, but kernels are measured at some positions only."""
    return np.where(np.isnan(values), -np.inf if by == "kernel" else np.inf, values)


def best(row, by, case, layer, limit):
    """[(score, case, layer, obs, 1)] of the largest of a row, of equals the first."""
    found = []
    for start in range(0, row.size, BLOCK):
        scores = scores_of(row[start:start + BLOCK], by)
        count = min(limit, scores.size)
        least = np.partition(scores, scores.size - count)[scores.size - count]
        above = np.flatnonzero(scores > least)
        chosen = [*above, *np.flatnonzero(scores == least)[:count - above.size]]
        found += [(float(scores[at]), case, layer, start + int(at), 1) for at in chosen if scores[at] > -np.inf]
    return sorted(found, key=order)[:limit]


def best_first(scores, tokens, at_first, case, layer, limit):
    """The same of first positions: of those that hold the same token only the worst, with their number."""
    order_of = np.argsort(-scores, kind="stable")
    _, index, counts = np.unique(tokens[order_of], return_index=True, return_counts=True)
    found = [(float(scores[at]), case, layer, int(at_first[at]), int(count)) for at, count in zip(order_of[index], counts)
             if scores[at] > -np.inf]
    return sorted(found, key=order)[:limit]


def describe(result, by, found, medians):
    _, case, layer, obs, times = found
    status = result.meanings("obs_status").get(int(result.read("obs_status", (case, layer, obs))), "")
    item = Item(case, result.place(layer, obs), status=status, times=times)
    item.figures = {name: float(result.read(name, (case, layer, obs))) for name in SHOWN}
    item.value = item.figures[ORDERS[by]]
    item.norms = tuple(float(result.read(name, (layer, obs))) for name in NORMS)
    if layer not in medians:
        medians[layer] = float(np.median(result.read("ref_norm", (layer, slice(None))), overwrite_input=True))
    item.share = item.norms[1] / medians[layer] if medians[layer] > 0 else 1.0
    item.near_zero = item.share < NEAR_ZERO
    return item


def rank_next(result, cases, limit, step):
    """{"next": [Item], "flipped": [Item]}: positions whose next-token distribution differs most, and those of them whose
    most probable token is another; all positions with `logits: all`, else each prompt's last."""
    everywhere = result.has("obs_kl")
    kept = {"next": [], "flipped": []}
    for case in cases:
        values = result.read("obs_kl", (case, slice(None))) if everywhere else result["kl"][case]
        same = result.read("obs_top1_match", (case, slice(None))) if everywhere else result["top1_match"][case]
        flipped = np.flatnonzero(np.asarray(same) == 0)
        kept["next"] += best(values, "kl", case, 0, limit)
        kept["flipped"] += [(score, case, 0, int(flipped[at]), 1) for score, _, _, at, _ in
                            (best(values[flipped], "kl", case, 0, limit) if flipped.size else [])]
        kept = {kind: sorted(found, key=order)[:limit] for kind, found in kept.items()}
        step(result.cases[case])
    chosen = {kind: [(case, at) for _, case, _, at, _ in found] for kind, found in kept.items()}
    items = iter(next_tokens(result, [pair for pairs in chosen.values() for pair in pairs], everywhere))
    return {kind: [next(items) for _ in pairs] for kind, pairs in chosen.items()}


def next_tokens(result, pairs, everywhere):
    """[Item] of pairs (case, observation), or (case, prompt) where only last positions have logits."""
    prefix, last = "obs_" if everywhere else "", result.starts[1:] - 1
    found = [(case, at, {name: result.read(f"{prefix}{name}", at) for name in ("ref_top1_id", "ref_top1_prob", "ref_margin")},
              {name: result.read(f"{prefix}{name}", (case, at)) for name in ("top1_id", "top1_prob", "kl")}) for case, at in pairs]
    texts = texts_of(result, {int(number) for _, _, dense, walk in found for number in (dense["ref_top1_id"], walk["top1_id"])})
    return [Item(case, result.place(0, at if everywhere else int(last[at])), float(walk["kl"]),
                 says=((texts[int(dense["ref_top1_id"])], float(dense["ref_top1_prob"])),
                       (texts[int(walk["top1_id"])], float(walk["top1_prob"])), float(dense["ref_margin"])))
            for case, at, dense, walk in found]


def texts_of(result, ids):
    """{id: quoted text}, as far as the file has it: from next tokens at the prompts' ends, and from the prompts themselves,
    read in pieces. An id of no text is its number."""
    known, wanted = {}, {number for number in ids if number >= 0}
    for numbers, words in (("ref_topk_id", "ref_topk_text"), ("topk_id", "topk_text")):
        for number, word in zip(result[numbers].reshape(-1).tolist(), result[words].reshape(-1).tolist()):
            if number in wanted and word:
                known.setdefault(number, str(word))
    for start in range(0, result.size["obs"], BLOCK):
        missing = np.array(sorted(wanted - set(known)), np.int64)
        if not missing.size:
            break
        block = result.read("token_id", slice(start, min(start + BLOCK, result.size["obs"])))
        at = np.flatnonzero(np.isin(block, missing))
        for number, first in zip(*np.unique(block[at], return_index=True)):
            word = result.token(start + int(at[first]))
            if word:
                known[int(number)] = word
    return {number: text.token(known[number], 24) if number in known else f"token {number}" for number in ids}


def next_at(result, places):
    """What dense model and case say after each (case, place), as `said`: there with `logits: all`, else at the prompt's end."""
    everywhere = result.has("obs_kl")
    pairs = [(case, place.obs if everywhere else place.prompt) for case, place in places]
    return [{**said(item), "here": everywhere or place.position == result.rows(place.prompt) - 1}
            for item, (_, place) in zip(next_tokens(result, pairs, everywhere), places)]


def said(item):
    """Of a next token: {"dense", "dense_p", "case", "case_p", "margin", "kl"}; texts in quotes."""
    (dense, dense_p), (walk, walk_p), margin = item.says
    return {"dense": dense, "dense_p": dense_p, "case": walk, "case_p": walk_p, "margin": margin, "kl": item.value}


def remark(item):
    """What is unusual about an observation, in words; empty where nothing is."""
    words = []
    if item.status not in ("ok", ""):
        words.append(item.status.replace("_", "-"))
    if item.near_zero:
        words.append(f"dense output near zero ({item.share:.1e} of the layer's median)")
    if item.times > 1:
        words.append(f"worst of {item.times} prompts that begin so")
    return ", ".join(words)
