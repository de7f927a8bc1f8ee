"""LARQL's own audit report out of a result: its schema, its aggregates, its number formats (walk_path_audit).

One document per vindex, as LARQL audits one vindex at a time. Figures are f32 as LARQL's; verdicts, reasons and bounds
are those of the result, which `semantics: larql-2026-05` (or -08) and `bounds: larql` make LARQL's.
"""
import collections
import json
import math

import numpy as np

from .facts import SUCCESS

SEMANTICS = ("larql-2026-05", "larql-2026-08")
MASKS = ("fp4", "q4", "interleaved", "full_mmap", "q4k", "down_features")
# What LARQL hides of the vindex so that its ladder takes the path; the paths it does not audit read what they name.
HIDDEN = {"interleaved": MASKS[:2], "full_mmap": MASKS[:3], "interleaved_q4k": MASKS[:4], "interleaved_kquant_native": MASKS[:4],
          "q8k": MASKS[:4],
          "exact": MASKS[:5],
          "interleaved_q4": MASKS[:1], "weights_fallback": MASKS, "external": MASKS, "served": MASKS}
NAMES = {"interleaved_kquant_native": "interleaved_kquant"}  # of a case of LARQL's audit, where it has another
SPARSE = ("sparse", "sparse_serial", "sparse_parallel", "weights_fallback")  # paths that have a K
ALL = -1  # K, in the result and in LARQL's JSON
PARIS = "paris"  # the one prompt whose ΔP LARQL judges

METRICS = ("**Metrics.** Assertion: `min cos`, `max rel L2 = L2 / ‖primary‖` — both magnitude-invariant. Diagnostic: "
           "`max abs L2`, `max|Δ|` — vary with residual magnitude, included for triage of outlier observations (e.g. "
           "residual-norm spikes at specific (layer, token) pairs).")
SUMMARY = ("path", "bound", "min cos (assert)", "max rel L2 (assert)", "top-1 ok", "Paris ΔP", "max abs L2 (diag)",
           "worst rel-L2 layer", "worst rel-L2 prompt", "verdict")
PER_PROMPT = ("prompt", "walk top-1", "dense top-1", "match", "walk P", "dense P", "ΔP")
PER_LAYER = ("layer", "dispatch", "min cos (assert)", "max rel L2 (assert)", "rel L2 worst (prompt/pos)",
             "max abs L2 (diag)", r"max\|Δ\| (diag)", "abs L2 worst (prompt/pos)", "n")


# --- The document: LARQL's JSON

def build(result, vindex, step=lambda name: None):
    """LARQL's report on one vindex of a result, as the object its JSON holds. step(name) before each case."""
    cases = [case for case in range(len(result.cases)) if result["case_vindex"][case] == vindex]
    return {"model": result.attribute("model_path"), "vindex": str(result["vindex_path"][vindex]),
            "prompts": [{"key": key, "text": str(text)} for key, text in zip(result.prompts, result["prompt_text"])],
            "paths": [describe_case(result, case, step) for case in cases]}


def describe_case(result, case, step):
    step(result.cases[case])
    path, verdict = result.words("case_path")[case], result.words("verdict")[case]
    layers = describe_layers(result, case)
    name = result.cases[case].removeprefix(result.vindexes[result["case_vindex"][case]] + ":")
    described = {
        "name": NAMES.get(name, name),
        "mask": {f"hide_{name}": name in HIDDEN.get(path, ()) for name in MASKS},
        "sparse_k": int(result["case_k"][case]) if path in SPARSE else None,
        "bound": {"kind": result.words("case_bucket")[case], "min_cos": single(result["bound_cos"][case]),
                  "rel_l2": single(result["bound_rel_l2"][case])},
        "aggregate": aggregate(layers),
        "dispatch_counts": count_labels(result, case),
        "fallthrough_layers": [],  # a path of ours never falls through
        "per_prompt": {key: describe_prompt(result, case, at) for at, key in enumerate(result.prompts)},
        "per_layer": layers,
        "verdict": "pass" if verdict in SUCCESS else "fail",
    }
    described["fail_reasons"] = fail_reasons(result, case, described)
    return described


def single(value):
    """A figure as LARQL's f32, widened."""
    return float(np.float32(value))


def count_labels(result, case):
    words = result.words("label")[case].reshape(-1).tolist()
    return dict(collections.Counter(word for word in words if word != "none"))


class Extreme:
    """The first strictly best value, in prompt and then position order; where nothing was seen LARQL says prompt "", 0."""

    def __init__(self, start, sign):
        self.value, self.sign, self.obs = np.float32(start), sign, None

    def add(self, row):
        """row: f32 values of a layer. NaN never improves on anything."""
        signed = np.where(np.isnan(row), -np.inf, row * self.sign)
        at = int(np.argmax(signed)) if signed.size else 0
        if signed.size and signed[at] > self.value * self.sign:
            self.value, self.obs = row[at], at
        return self


def describe_layers(result, case):
    """LARQL's rows, from the observations: each metric of each layer is read once."""
    found = {}
    for name in ("cos", "rel_l2", "l2", "max_abs"):
        for part, values in result.slabs(name, case):
            for at, row in enumerate(values, part.start):
                start, sign = (1.0, -1) if name == "cos" else (0.0, 1)
                found[name, at] = Extreme(start, sign).add(row.astype(np.float32))
    counts, labels = result["layer_n_obs"][case], result.words("label")[case]
    return [describe_layer(result, at, {name: found[name, at] for name in ("cos", "rel_l2", "l2", "max_abs")},
                           int(counts[at]), labels[at]) for at in range(result.size["layer"])]


def describe_layer(result, layer, best, count, labels):
    """A layer without observations is an all-zero row, as LARQL's is."""
    rel_prompt, rel_pos = prompt_and_position(result, layer, best["rel_l2"].obs)
    abs_prompt, abs_pos = prompt_and_position(result, layer, best["l2"].obs)
    return {"layer": layer, "dispatch": labels[0] if len(labels) else "none", "fallthrough": False, "n_obs": count,
            "assertion": {"min_cos": single(best["cos"].value) if count else 0.0,
                          "max_rel_l2": single(best["rel_l2"].value),
                          "worst_rel_l2_prompt": rel_prompt, "worst_rel_l2_pos": rel_pos},
            "diagnostic": {"max_abs_l2": single(best["l2"].value), "max_abs": single(best["max_abs"].value),
                           "worst_prompt": abs_prompt, "worst_pos": abs_pos}}


def prompt_and_position(result, layer, obs):
    place = None if obs is None else result.place(layer, obs)
    return ("", 0) if place is None else (place.key, place.position)


def aggregate(layers):
    """LARQL's extremes over layers, the first of equals; `mean_abs_l2` is its mean of the layers' largest."""
    count = sum(layer["n_obs"] for layer in layers)
    rel = first_largest(layers, lambda layer: layer["assertion"]["max_rel_l2"])
    far = first_largest(layers, lambda layer: layer["diagnostic"]["max_abs_l2"])
    weighed = sum(layer["diagnostic"]["max_abs_l2"] * layer["n_obs"] for layer in layers)
    return {"n_obs": count,
            "assertion": {"min_cos": min((layer["assertion"]["min_cos"] for layer in layers), default=1.0),
                          "max_rel_l2": rel["assertion"]["max_rel_l2"] if rel else 0.0,
                          "worst_rel_l2_layer": rel["layer"] if rel else 0,
                          "worst_rel_l2_prompt": rel["assertion"]["worst_rel_l2_prompt"] if rel else "",
                          "worst_rel_l2_pos": rel["assertion"]["worst_rel_l2_pos"] if rel else 0},
            "diagnostic": {"max_abs_l2": far["diagnostic"]["max_abs_l2"] if far else 0.0,
                           "mean_abs_l2": single(weighed / count) if count else 0.0,
                           "max_abs": max((layer["diagnostic"]["max_abs"] for layer in layers), default=0.0),
                           "worst_layer": far["layer"] if far else 0,
                           "worst_prompt": far["diagnostic"]["worst_prompt"] if far else "",
                           "worst_pos": far["diagnostic"]["worst_pos"] if far else 0}}


def first_largest(layers, key):
    """The layer of the largest figure; None where all are 0."""
    best = max(layers, key=key, default=None)  # max keeps the first of equals
    return best if best and key(best) > 0 else None


def describe_prompt(result, case, prompt):
    walk, dense = single(result["top1_prob"][case, prompt]), single(result["ref_top1_prob"][prompt])
    return {"walk_top1_token": str(result["top1_text"][case, prompt]), "walk_top1_prob": walk,
            "dense_top1_token": str(result["ref_top1_text"][prompt]), "dense_top1_prob": dense,
            "top1_match": bool(result.words("top1_match")[case, prompt] == "yes"), "prob_delta": abs(walk - dense)}


def fail_reasons(result, case, described):
    """The result's reasons, those that LARQL knows too in its words."""
    spoken = {"cos ": say_cos, "rel_L2 ": say_rel_l2, "prompt ": say_prompt}
    reasons = []
    for line in str(result["fail_reasons"][case]).split("\n"):
        say = next((say for start, say in spoken.items() if line.startswith(start)), None)
        reasons += (say(result, case, described) or [line]) if say else [line] if line else []
    return list(dict.fromkeys(reasons))


def say_cos(_result, _case, described):
    return [f"min cos {fixed(described['aggregate']['assertion']['min_cos'], 6)} below floor "
            f"{fixed(described['bound']['min_cos'], 6)}"]


def say_rel_l2(_result, _case, described):
    worst = described["aggregate"]["assertion"]
    return [f"max rel L2 {power(worst['max_rel_l2'])} exceeds bound {power(described['bound']['rel_l2'], 0)} at layer "
            f"{worst['worst_rel_l2_layer']} (prompt {worst['worst_rel_l2_prompt']}, pos {worst['worst_rel_l2_pos']})"]


def say_prompt(result, case, described):
    """Top-1 and ΔP: LARQL names every mismatch, and of ΔP only the prompt it judges."""
    out = [f"top-1 mismatch on `{key}`: walk=`{found['walk_top1_token']}` dense=`{found['dense_top1_token']}`"
           for key, found in described["per_prompt"].items() if not found["top1_match"]]
    paris, bound = described["per_prompt"].get(PARIS), float(result["bound_dp"][case])
    if paris and paris["prob_delta"] > bound:
        out.append(f"Paris prob delta {power(paris['prob_delta'])} exceeds {power(bound, 0)}")
    return out


# --- Number formats: Rust's

def power(value, digits=3):
    """`{:.3e}` and `{:.0e}`: exponents without padding."""
    if value is None or math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def fixed(value, digits):
    return power(value) if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def number(value):
    """A JSON number as serde writes an f64: the shortest that reads back, an exponent below 1e-5 and from 1e16 on."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "null"
    sign, digits, exponent = shortest(value)
    point = len(digits) + exponent  # digits before the decimal point
    if exponent >= 0 and point <= 16:
        return f"{sign}{digits}{'0' * exponent}.0"
    if 0 < point <= 16:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -5 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1}"


def shortest(value):
    """(sign, digits, exponent) with value = digits * 10^exponent: Python's repr is the same shortest form."""
    mantissa, _, power_of_ten = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = int(power_of_ten or 0) - len(fraction)
    digits = (whole + fraction).lstrip("0") or "0"
    stripped = digits.rstrip("0") or "0"
    exponent = 0 if stripped == "0" else exponent + len(digits) - len(stripped)
    return "-" if math.copysign(1.0, value) < 0 else "", stripped, exponent


def to_json(value, indent=0):
    """Two spaces, keys sorted, no newline at the end."""
    pad, inner = "\n" + "  " * indent, "\n" + "  " * (indent + 1)
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {to_json(value[key], indent + 1)}" for key in sorted(value)]
        return "{" + inner + ("," + inner).join(items) + pad + "}" if items else "{}"
    if isinstance(value, list):
        return "[" + inner + ("," + inner).join(to_json(item, indent + 1) for item in value) + pad + "]" if value else "[]"
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    return number(value)


# --- Markdown

def to_markdown(document):
    """LARQL's Markdown of a document, from figures alone; tokens that would break its tables are escaped."""
    lines = ["# walk_path_audit", "", f"**Model:** `{document['model']}`  ", f"**Vindex:** `{document['vindex']}`  ",
             f"**Prompts:** {len(document['prompts'])}", "", METRICS, "", "## Summary", ""]
    lines += table(SUMMARY, [summary_row(path) for path in document["paths"]])
    for path in document["paths"]:
        lines += ["", f"## `{path['name']}`", "", *facts(path), "", "### Per-prompt", ""]
        lines += table(PER_PROMPT, [prompt_row(key, path["per_prompt"][key]) for key in sorted(path["per_prompt"])])
        lines += ["", "### Per-layer", "", *table(PER_LAYER, [layer_row(layer) for layer in path["per_layer"]])]
    return "\n".join(lines) + "\n\n"


def table(columns, rows):
    return [line(columns), "|" + "---|" * len(columns), *map(line, rows)]


def line(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def escape(token):
    """Without what would break the line or the table."""
    return token.replace("\n", "\\n").replace("\r", "\\r").replace("|", "\\|")


def tick(path):
    missed = [key for key in sorted(path["per_prompt"]) if not path["per_prompt"][key]["top1_match"]]
    return f"✗ ({','.join(missed)})" if missed else "✓"


def summary_row(path):
    worst, far, bound = path["aggregate"]["assertion"], path["aggregate"]["diagnostic"], path["bound"]
    paris = path["per_prompt"].get(PARIS)
    return (f"`{path['name']}`", f"{bound['kind']} (cos≥{fixed(bound['min_cos'], 5)}, rel_L2≤{power(bound['rel_l2'], 0)})",
            fixed(worst["min_cos"], 6), power(worst["max_rel_l2"]), tick(path),
            power(paris["prob_delta"]) if paris else "—", power(far["max_abs_l2"]), worst["worst_rel_l2_layer"],
            worst["worst_rel_l2_prompt"], f"**{path['verdict'].upper()}**")


def facts(path):
    """The lines before the tables."""
    worst, far, bound = path["aggregate"]["assertion"], path["aggregate"]["diagnostic"], path["bound"]
    mask = " ".join(f"{name}={str(path['mask'][f'hide_{name}']).lower()}" for name in MASKS)
    sparse_k = {None: "—", ALL: "MAX"}.get(path["sparse_k"], path["sparse_k"])
    counts = ", ".join(f"`{label}`={count}" for label, count in sorted(path["dispatch_counts"].items()))
    lines = [f"**Mask:** {mask}  ", f"**Sparse K:** {sparse_k}  ",
             f"**Bound ({bound['kind']}):** cos ≥ {fixed(bound['min_cos'], 5)}, rel_L2 ≤ {power(bound['rel_l2'], 0)}  ",
             f"**Assertion aggregate:** min cos = {fixed(worst['min_cos'], 6)}, max rel_L2 = {power(worst['max_rel_l2'])} "
             f"(layer {worst['worst_rel_l2_layer']}, prompt {worst['worst_rel_l2_prompt']}, pos {worst['worst_rel_l2_pos']})  ",
             f"**Diagnostic aggregate:** max abs_L2 = {power(far['max_abs_l2'])} (layer {far['worst_layer']}, prompt "
             f"{far['worst_prompt']}, pos {far['worst_pos']}), max|Δ| = {power(far['max_abs'])}, "
             f"n_obs = {path['aggregate']['n_obs']}  ",
             f"**Dispatch counts:** {counts}  "]
    if path["fail_reasons"]:
        lines += ["**Fail reasons:**", *(f"- {escape(reason)}" for reason in path["fail_reasons"])]
    return lines


def prompt_row(key, found):
    return (f"`{key}`", f"`{escape(found['walk_top1_token'])}`", f"`{escape(found['dense_top1_token'])}`",
            "✓" if found["top1_match"] else "✗", fixed(found["walk_top1_prob"], 6), fixed(found["dense_top1_prob"], 6),
            power(found["prob_delta"]))


def layer_row(layer):
    worst, far = layer["assertion"], layer["diagnostic"]
    return (layer["layer"], f"`{layer['dispatch']}`", fixed(worst["min_cos"], 6), power(worst["max_rel_l2"]),
            f"{worst['worst_rel_l2_prompt']}/{worst['worst_rel_l2_pos']}", power(far["max_abs_l2"]), power(far["max_abs"]),
            f"{far['worst_prompt']}/{far['worst_pos']}", layer["n_obs"])
