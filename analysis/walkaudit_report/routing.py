"""Routing of a model with experts, as data: which experts the prompts reach, where a case chooses others, and whose stored numbers
are farthest off."""
import numpy as np

SHOWN = 20  # experts of the list of the worst, per vindex
COUNTS = ("same_input", "own_stream", "own_order", "pairs")


def describe(result):
    """None for a model without experts."""
    if not result.has("expert_id"):
        return None
    layers, cases = [], [{"case": case, **dict.fromkeys(COUNTS, 0), "layers": []} for case in range(len(result.cases))]
    for layer, count in enumerate(result["layer_experts"].tolist()):
        if count == 0:
            continue
        dense = result.read("expert_id", (layer,), ("layer", "obs", "choice"))
        layers.append(describe_use(result, layer, count, dense))
        for case in cases:
            counts = count_flips(result, case["case"], layer, dense)
            case["layers"].append({"layer": layer, **counts})
            for key, value in counts.items():
                case[key] += value
    return {"experts": sum(one["experts"] for one in layers), "never_chosen": sum(len(one["never"]) for one in layers), "layers": layers,
            "cases": cases, "worst": [row for vindex in range(len(result.vindexes)) for row in worst_experts(result, vindex)]}


def describe_use(result, layer, count, dense):
    """How the reference's rows spread over a layer's experts. dense: [obs, choice] the experts of each."""
    margin = result.read("expert_margin", (layer, slice(None), -1), ("layer", "obs", "choice"))
    rows = np.bincount(dense[(dense >= 0) & (dense < count)], minlength=count)
    least = int(np.argmin(np.where(np.isnan(margin), np.inf, margin)))
    return {"layer": layer, "experts": count, "never": np.flatnonzero(rows == 0).tolist(), "rows": rows.tolist(),
            "most": {"expert": int(rows.argmax()), "rows": int(rows.max())},
            "least_margin": {"value": float(margin[least]), **result.place(layer, least).described()} if np.isfinite(margin[least]) else None}


def count_flips(result, case, layer, dense):
    """Rows for which a case's router chooses other experts: on the reference's input, and on the case's own residual stream."""
    gap = result.read("routing_gap", (case, layer), ("case", "layer", "obs"))
    own = result.read("own_expert_id", (case, layer), ("case", "layer", "obs", "choice"))
    known = (own >= 0).all(axis=-1)
    other = known & (np.sort(own, axis=-1) != np.sort(dense, axis=-1)).any(axis=-1)
    order = known & ~other & (own != dense).any(axis=-1)
    return dict(zip(COUNTS, (int((gap > 0).sum()), int(other.sum()), int(order.sum()), int(known.sum()))))


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
