"""Routing of a model with experts, as data: which experts the prompts reach, where a case chooses others, and whose stored numbers
are farthest off."""
import numpy as np

SHOWN = 20  # experts of the list of the worst, per vindex


def describe(result):
    """None for a model without experts."""
    if not result.has("expert_id"):
        return None
    layers = [describe_use(result, layer, int(count)) for layer, count in enumerate(result["layer_experts"]) if count > 0]
    return {"experts": sum(one["experts"] for one in layers), "never_chosen": sum(len(one["never"]) for one in layers), "layers": layers,
            "cases": [describe_flips(result, case, layers) for case in range(len(result.cases))],
            "worst": [row for vindex in range(len(result.vindexes)) for row in worst_experts(result, vindex)]}


def describe_use(result, layer, count):
    """How the reference's rows spread over a layer's experts."""
    chosen = result.read("expert_id", (layer,), ("layer", "obs", "choice"))
    margin = result.read("expert_margin", (layer, slice(None), -1), ("layer", "obs", "choice"))
    rows = np.bincount(chosen[(chosen >= 0) & (chosen < count)], minlength=count)
    least = int(np.argmin(np.where(np.isnan(margin), np.inf, margin)))
    return {"layer": layer, "experts": count, "never": np.flatnonzero(rows == 0).tolist(), "rows": rows.tolist(),
            "most": {"expert": int(rows.argmax()), "rows": int(rows.max())},
            "least_margin": {"value": float(margin[least]), **result.place(layer, least).described()} if np.isfinite(margin[least]) else None}


def describe_flips(result, case, layers):
    """Where a case's router chooses other experts: on the reference's input, and on the case's own residual stream."""
    out = {"case": case, "same_input": 0, "own_stream": 0, "own_order": 0, "pairs": 0, "layers": []}
    for one in layers:
        layer = one["layer"]
        gap = result.read("routing_gap", (case, layer), ("case", "layer", "obs"))
        own = result.read("own_expert_id", (case, layer), ("case", "layer", "obs", "choice"))
        dense = result.read("expert_id", (layer,), ("layer", "obs", "choice"))
        known = (own >= 0).all(axis=-1)
        other = known & (np.sort(own, axis=-1) != np.sort(dense, axis=-1)).any(axis=-1)
        counts = {"same_input": int((gap > 0).sum()), "own_stream": int(other.sum()),
                  "own_order": int((known & ~other & (own != dense).any(axis=-1)).sum()), "pairs": int(known.sum())}
        for key, value in counts.items():
            out[key] += value
        out["layers"].append({"layer": layer, **counts})
    return out


def worst_experts(result, vindex):
    """The experts of a vindex whose rows are farthest from the model's, those that no prompt reaches among them; none whose rows are all equal."""
    if not result.has("expert_err_max"):
        return []
    error = result.read("expert_err_max", (vindex,), ("vindex", "layer", "expert", "projection"))
    by_expert = np.where(np.isnan(error), -1.0, error).max(axis=-1)
    order = np.argsort(-by_expert, axis=None, kind="stable")[:SHOWN]
    worst = result.read("expert_err_worst", (vindex,), ("vindex", "layer", "expert", "projection"))
    unequal = result.read("expert_err_unequal", (vindex,), ("vindex", "layer", "expert", "projection"))
    rows = []
    for layer, expert in zip(*(at.tolist() for at in np.unravel_index(order, by_expert.shape))):
        if by_expert[layer, expert] <= 0:
            break
        projection = int(np.nanargmax(error[layer, expert]))
        rows.append({"vindex": vindex, "layer": layer, "expert": expert, "projection": projection,
                     "row": int(worst[layer, expert, projection]), "error": float(error[layer, expert, projection]),
                     "unequal": int(unequal[layer, expert].clip(0).sum())})
    return rows
