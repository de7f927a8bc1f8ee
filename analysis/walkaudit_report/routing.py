"""Routing of a model with experts, as data: which experts the prompts reach, where a case chooses others and what that adds, and which
experts' stored numbers and kernels are farthest off."""
import numpy as np

SHOWN = 20  # experts of the list of the worst, per vindex
COUNTS = ("same_input", "own_stream", "own_order", "pairs")
PARTS = ("same_experts", "other_experts")
BY_EXPERT, STORED = ("layer", "expert"), ("vindex", "layer", "expert", "projection")


def describe(result):
    """None for a model without experts."""
    if not result.has("expert_id"):
        return None
    layers = [describe_use(result, layer, count) for layer, count in enumerate(result["layer_experts"].tolist()) if count > 0]
    return {"experts": sum(one["experts"] for one in layers), "never_chosen": sum(len(one["never"]) for one in layers), "layers": layers,
            "cases": [describe_choices(result, case, [one["layer"] for one in layers]) for case in range(len(result.cases))],
            "worst": [row for vindex in range(len(result.vindexes)) for row in worst_experts(result, vindex)]}


def describe_use(result, layer, count):
    """How the reference's rows spread over a layer's experts, and how narrowly the last one was chosen."""
    margin = result.read("expert_margin", (layer, slice(None), -1), ("layer", "obs", "choice"))
    rows = result.read("expert_rows", (layer,), BY_EXPERT)[:count]
    finite = np.isfinite(margin)  # infinite where all experts are chosen
    least = int(np.argmin(np.where(finite, margin, np.inf)))
    return {"layer": layer, "experts": count, "never": np.flatnonzero(rows == 0).tolist(), "rows": rows.tolist(),
            "most": {"expert": int(rows.argmax()), "rows": int(rows.max()),
                     "of_even_share": float(rows.max() * count / rows.sum()) if rows.any() else None},
            "least_margin": {"value": float(margin[least]), **result.place(layer, least).described()} if finite.any() else None,
            "median_margin": float(np.median(margin[finite])) if finite.any() else None}


def describe_choices(result, case, layers):
    """Where a case's router chooses other experts, in all and by layer; and the largest of both parts of the difference."""
    by_layer = [{"layer": layer, **count_flips(result, case, layer)} for layer in layers]
    parts = {}
    for part in PARTS:
        value, place = result.extreme(f"max_{part}_rel_l2", case)
        parts[part] = None if place is None else {"value": value, **place.described()}
    return {"case": case, **{key: sum(one[key] for one in by_layer) for key in COUNTS}, **parts, "layers": by_layer}


def count_flips(result, case, layer):
    """Rows for which a case's router chooses other experts: on the reference's input, and on the case's own residual stream."""
    code = {word: number for number, word in result.meanings("routing_change").items()}
    same, own = (result.read(name, (case, layer), ("case", "layer", "obs")) for name in ("routing_change", "own_routing_change"))
    order, other = (int((own == code[word]).sum()) for word in ("other_order", "other_experts"))
    return dict(zip(COUNTS, (int((same == code["other_experts"]).sum()), other, order, order + other + int((own == code["same"]).sum()))))


def worst_experts(result, vindex):
    """The experts of a vindex, those that no prompt reaches among them: first those with rows that the basis does not give, then those whose
    rows are farthest from the model's, then those at which the kernels of its cases are farthest from their oracles. None that show nothing."""
    error, worst, unequal = (result.read(name, (vindex,), STORED) for name in ("expert_err_max", "expert_err_worst", "expert_err_unequal"))
    kernel, checked = kernel_of(result, vindex)
    by_expert = np.where(np.isnan(error), -1.0, error).max(axis=-1)
    wrong_rows = unequal.clip(0).sum(axis=-1)
    rows = []
    for at in np.lexsort((-np.nan_to_num(kernel, nan=-1.0).ravel(), -by_expert.ravel(), wrong_rows.ravel() == 0))[:SHOWN].tolist():
        layer, expert = (int(place) for place in np.unravel_index(at, by_expert.shape))
        wrong = by_expert[layer, expert] > 0
        if not wrong and not kernel[layer, expert] > 0:
            break
        projection = int(np.nanargmax(error[layer, expert])) if wrong else None
        rows.append({"vindex": vindex, "layer": layer, "expert": expert, "projection": projection,
                     "row": int(worst[layer, expert, projection]) if wrong else None, "error": max(float(by_expert[layer, expert]), 0.0),
                     "unequal": int(wrong_rows[layer, expert]),
                     "kernel": float(kernel[layer, expert]) if checked[layer, expert] > 0 else None, "checked": int(checked[layer, expert])})
    return rows


def kernel_of(result, vindex):
    """[layer, expert] of a vindex's cases: the kernel's largest error at rows that went through the expert, NaN without any, and how many."""
    shape = (result.size["layer"], result.size["expert"])
    most, rows = np.full(shape, np.nan), np.zeros(shape, np.int64)
    for case in np.flatnonzero(result["case_vindex"] == vindex):
        most = np.fmax(most, result.read("expert_kernel_rel_l2", (case,), ("case", *BY_EXPERT)))
        rows += result.read("expert_kernel_rows", (case,), ("case", *BY_EXPERT))
    return most, rows
