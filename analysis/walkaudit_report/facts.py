"""What a report says, as one document: the JSON report. analysis/README.md, "The JSON report", lists its keys.

Numbers that are not there are None. Verdicts, reasons and bounds are the file's own.
"""
import collections
import json
import math

import numpy as np

from . import findings, follow, layout, routing, stats
from .touched import touched
from .progress import Progress

SCHEMA, VERSION = "walkaudit-report", 1
SUCCESS = findings.SUCCESS
SURVEYED = ("rel_l2", "eta", "drift", "one_minus_cos")
EXTREMES = ("min_cos", "max_rel_l2", "max_eta", "max_l2", "max_max_abs")


def build(result, prompt_limit=40, quiet=False):
    """The document of one result, and {(case, metric): Survey or Growth} for its plots."""
    surveys = survey_all(result, quiet)
    shown = choose_prompts(result, prompt_limit)
    cases = [describe_case(result, case, surveys, shown) for case in range(len(result.cases))]
    vindexes = describe_vindexes(result)
    document = {
        "schema": SCHEMA, "schema_version": VERSION,
        "result": result.path.name, "title": result.attribute("title"), "source": result.attribute("source"),
        "walkaudit_format": result.attribute("walkaudit_format"),
        "job": describe_job(result),
        "size": {name: result.size[axis] for name, axis in
                 (("cases", "case"), ("layers", "layer"), ("prompts", "prompt"), ("observations", "obs"),
                  ("vindexes", "vindex"))},
        "summary": summarise(cases, vindexes, result.attribute("reference_verdict")),
        "reference": describe_reference(result),
        "vindexes": vindexes,
        "findings": findings.of_vindexes(vindexes, cases),
        "cases": cases,
        "places": follow.places(result, cases),
        "flips": follow.flips(result, cases),
        "prompts": [describe_prompt(result, prompt, cases, at) for at, prompt in enumerate(shown)],
        "prompts_left_out": len(result.prompts) - len(shown),
        "not_offered": [str(line) for line in result["not_offered"]],
        "runs": result.runs(),
        "captures": describe_captures(result),
        "routing": routing.describe(result),
    }
    return document, surveys


def survey_all(result, quiet):
    names = [(case, name) for case in range(len(result.cases)) for name in (*SURVEYED, "growth")]
    surveys = {}
    with Progress("reading", 1 if quiet else len(names)) as bar:
        for case, name in names:
            surveys[case, name] = stats.growth(result, case) if name == "growth" else stats.survey(result, name, case)
            if not quiet:
                bar.step(f"{result.cases[case]} {name}")
    return surveys


def choose_prompts(result, limit):
    """All prompts; of more than `limit` those with the largest KL in any case, in the job's order."""
    if len(result.prompts) <= limit:
        return list(range(len(result.prompts)))
    worst = result["kl"].copy()
    worst[~np.isfinite(worst)] = np.inf
    order = np.argsort(-worst.max(axis=0), kind="stable") if len(result.cases) else np.arange(len(result.prompts))
    return sorted(order[:limit].tolist())


def describe_job(result):
    return {"name": result.attribute("job_name"), "audit": result.attribute("audit_name"),
            "model": result.attribute("model_path"), "family": result.attribute("model_family"),
            "semantics": result.attribute("semantics"), "bounds": result.attribute("bounds_name"),
            "source_format": {name: result.attribute(f"source_format_{name}") for name in layout.PROJECTIONS},
            "requantised": bool(result.attribute("requantised", 0)),
            "warnings": (result.attribute("warnings", "") or "").splitlines(),
            "fingerprints": result.fingerprints(), "text": result.attribute("job_text")}


def describe_reference(result):
    """What the file says of the dense model itself."""
    return {"perplexity": number(result.attribute("reference_perplexity", math.nan)),
            "positions": int(result.attribute("reference_perplexity_positions", 0)),
            "warning": result.attribute("reference_warning") or None,
            "verdict": result.attribute("reference_verdict") or None,
            "agreement": result.attribute("reference_agreement") or None}


def describe_vindexes(result):
    """Each vindex with its verdict, the files of it that nobody read, and those that nobody knows."""
    out = []
    for at, name in enumerate(result.vindexes):
        files = [line.rpartition(": unknown") if ": unknown" in line else line.partition(": ")
                 for line in str(result["vindex_files"][at]).split("\n") if line]
        out.append({"name": name, "path": str(result["vindex_path"][at]), "verdict": result.words("vindex_verdict")[at],
                    "reason": str(result["vindex_reason"][at]),
                    "read": [file for file, _, what in files if what.split(",")[0] == "read"],
                    "checksum_differs": [file for file, _, what in files if what.endswith("SHA-256 differs from index.json")],
                    "not_read": [file for file, _, what in files if what.startswith("not read")],
                    "unknown": [file + like for file, mark, like in files if mark == ": unknown"],
                    "orders": orders_of(result, at)})
    return out


def orders_of(result, vindex):
    """"FILE, PROJECTION: FORMAT, ORDER" of the payloads whose formats have two element orders."""
    payloads = zip(result["payload_file"][vindex], result["payload_order"][vindex])
    return [f"{file}, {line}" for file, lines in payloads for line in str(lines).split("\n") if line]


def summarise(cases, vindexes, reference):
    """Verdicts counted; reference: the word of the dense model itself."""
    verdicts = collections.Counter(case["verdict"] for case in cases)
    failed = sum(count for verdict, count in verdicts.items() if verdict not in SUCCESS)
    ran = len(cases) - verdicts["NOT-RUN"]
    unaudited = sum(vindex["verdict"] == "UNAUDITED" for vindex in vindexes)
    return {"cases": len(cases), "passed": verdicts["PASS"], "measured": verdicts["MEASURED"],
            "unchecked": verdicts["UNCHECKED"], "failed": failed, "not_run": verdicts["NOT-RUN"], "unaudited": unaudited,
            "success": failed == 0 and unaudited == 0 and ran > 0 and reference != "REFERENCE"}


# --- Cases


def describe_case(result, case, surveys, shown):
    ran = result.words("verdict")[case] != "NOT-RUN"
    vindex = int(result["case_vindex"][case])
    k = int(result["case_k"][case])
    reasons = [line for line in str(result["fail_reasons"][case]).split("\n") if line]
    described = {
        "name": result.cases[case], "vindex": result.vindexes[vindex] if vindex >= 0 else None,
        "path": result.words("case_path")[case], "k": None if k < 0 else k,
        "bucket": result.words("case_bucket")[case],
        "reads": reads(result, case),
        "verdict": result.words("verdict")[case], "reasons": reasons,
        "observations": {name: int(result[f"n_{key}"][case]) for name, key in
                         (("all", "obs"), ("distinct", "obs_distinct"), ("non_finite", "non_finite"),
                          ("missing", "missing"))},
        "bounds": {name: number(result[f"bound_{name}"][case]) for name in ("cos", "rel_l2", "dp", "near_tie")},
        "cost": {"bytes": int(result["bytes_read"][case].sum()), "touched": touched(result, case),
                 "flops": int(result["flops"][case].sum()),
                 "seconds": float(result["seconds"][case].sum())},
        "labels": count_labels(result, case),
        "served": describe_served(result, case),
    }
    if not ran:
        return described
    described["extremes"] = {
        "all": {name: extreme(result, name, case) for name in (*EXTREMES, "max_drift", "max_kernel_rel_l2", "max_kernel_own_rel_l2")},
        "first": {name: extreme(result, f"first_{name}", case) for name in EXTREMES},
        "rest": {name: extreme(result, f"rest_{name}", case) for name in EXTREMES}}
    described["rel_l2"] = {name: number(result[f"{name}_rel_l2"][case]) for name in ("mean", "p50", "p95", "p99")}
    described["next_token"] = describe_next_token(result, case)
    described["headroom"] = headroom(described, surveys[case, "one_minus_cos"])
    described["rates"] = describe_rates(result, case)
    described["encoding"] = describe_encoding(result, case)
    described["layers"] = describe_layers(result, case, surveys)
    described["prompts"] = [describe_case_prompt(result, case, prompt) for prompt in shown]
    return described


def describe_served(result, case):
    """What the servers of a case said of themselves, and how far apart answers to the same x are; None without a server."""
    said = str(result["case_served"][case]) if result.has("case_served") else ""
    if not said:
        return None
    return {**json.loads(said), "ways": {way: describe_way(result[f"{way}_rel_l2"][case], result) for way in layout.WAYS}}


def describe_way(apart, result):
    asked = np.isfinite(apart) | np.isinf(apart)
    if not asked.any():
        return None
    layer, prompt = (int(at) for at in np.unravel_index(np.argmax(np.where(asked, apart, -1.0)), apart.shape))
    return {"asked": int(asked.sum()), "differ": int((apart[asked] != 0).sum()), "most": float(apart[layer, prompt]),
            "layer": layer, "prompt": result.prompts[prompt]}


def reads(result, case):
    """Projections that a case reads from its vindex."""
    return [name for name, payload in zip(layout.PROJECTIONS, result["case_payload"][case]) if payload >= 0]


def number(value):
    """A stored f64; NaN there means "none"."""
    return None if math.isnan(value) else float(value)


def extreme(result, name, case):
    value, place = result.extreme(name, case)
    return None if place is None else {"value": value, **place.described()}


def count_labels(result, case):
    seen, expected = result.words("label")[case], result.words("expected_label")[case]
    return {"seen": dict(sorted(collections.Counter(seen.reshape(-1)).items())),
            "expected": dict(sorted(collections.Counter(expected).items())),
            "right": int((seen == expected[:, None]).sum()), "of": int(seen.size)}


def largest(values):
    """Index of the largest magnitude; what is no number is larger than any. None of nothing."""
    if len(values) == 0:
        return None
    sizes = np.where(np.isfinite(values), np.abs(values), np.inf)
    return int(np.argmax(sizes))


def describe_next_token(result, case):
    out = {}
    for name in ("prob_delta", "kl", "js"):
        values = result[name][case]
        at = largest(values)
        out[name] = None if at is None else {"value": float(values[at]), "prompt": result.prompts[at]}
    out["top1_same"], out["of"] = int((result["top1_match"][case] == 1).sum()), len(result.prompts)
    return out


def headroom(case, angles):
    """Powers of ten between each judged figure and its bound."""
    bounds, dp = case["bounds"], case["next_token"]["prob_delta"]
    worst_angle = np.nanmax(np.concatenate([angles.rest, angles.first, [-np.inf]]))
    figures = {"cos": (None if bounds["cos"] is None else 1.0 - bounds["cos"], worst_angle),
               "rel_l2": (bounds["rel_l2"], (case["extremes"]["all"]["max_rel_l2"] or {}).get("value")),
               "dp": (bounds["dp"], None if dp is None else abs(dp["value"]))}
    return {name: decades_to(*pair) for name, pair in figures.items()}


def decades_to(bound, value):
    if bound is None or value is None or not bound > 0.0 or not math.isfinite(value):
        return None
    return math.inf if value <= 0.0 else math.log10(bound / value)


def describe_rates(result, case):
    """Rates over all positions with error, upper 95 % limit and bound; only results of `logits: all` have them."""
    if not result.has(layout.RATES[0]):
        return None
    rates = {}
    for name in layout.RATES:
        bound = f"bound_{name}"
        rates[name] = {"value": float(result[name][case]), "error": number(result[f"{name}_err"][case]),
                       "upper": float(result[f"{name}_upper"][case]),
                       "bound": number(result[bound][case]) if result.has(bound) else None}
    return {**rates, "flip_margin": float(result["flip_margin"][case]), "positions_with_next": int(result["n_next"][case]),
            "positions_distinct": int(result["n_distinct"][case]), "independent_prompts": int(result["n_clusters"][case])}


def describe_encoding(result, case):
    """The worst of the projections that the case reads from its vindex, each in the payload that it reads."""
    checked = result.read_by(case, "row_err_checked", 0) == 1
    if not checked.any():
        return None
    sizes, at_99 = result.read_by(case, "row_err_max"), result.read_by(case, "row_err_p99")
    rows, non_finite = result.read_by(case, "row_err_worst", -1), result.read_by(case, "row_nonfinite", 0)
    order = np.where(checked, np.where(np.isfinite(sizes), sizes, np.inf), -np.inf)
    layer, projection = (int(at) for at in np.unravel_index(np.argmax(order), order.shape))
    name, row = stored_row(result, case, layer, projection, int(rows[layer, projection]))
    return {"max": float(sizes[layer, projection]), "p99": float(at_99[layer, projection]),
            "layer": layer, "projection": name, "row": row,
            "non_finite": int(non_finite[checked].sum()), "judged": describe_rule(result, case)}


def stored_row(result, case, layer, which, row):
    """("gate", 5), and of row 5 of the 17th of a layer's experts ("expert 17 gate", 5): rows of all experts are counted end to end."""
    name = layout.STORED[which]
    experts = int(result["layer_experts"][layer]) if "expert" in result.size else 0
    if row < 0 or which >= len(layout.PROJECTIONS) or experts == 0:
        return name, row
    each = int(result.read_by(case, "row_err_rows", 0)[layer, which]) // experts
    return (f"expert {row // each} {name}", row % each) if each > 0 else (name, row)


def describe_rule(result, case):
    """Which rule of ENCODING held where its limit was nearest, or exceeded, and what spoke."""
    layer, projection, row = (int(result[f"encoding_at_{name}"][case]) for name in ("layer", "projection", "row"))
    if layer < 0:
        return None
    name, row = stored_row(result, case, layer, projection, row)
    return {"rule": result.words("encoding_rule")[case], "statistic": result.words("encoding_statistic")[case],
            "value": number(result["encoding_value"][case]), "limit": number(result["encoding_limit"][case]),
            "excess": number(result["encoding_excess"][case]), "layer": layer, "projection": name,
            "row": row if row >= 0 else None}


def describe_layers(result, case, surveys):
    seen, expected = result.words("label")[case], result.words("expected_label")[case]
    rel, eta, drift, growth = (surveys[case, name] for name in ("rel_l2", "eta", "drift", "growth"))
    rows = []
    for layer in range(result.size["layer"]):
        labels = sorted(set(seen[layer]))
        rows.append({
            "layer": layer, "labels": labels, "expected_label": expected[layer],
            "min_cos": layer_extreme(result, "layer_min_cos", case, layer),
            "max_rel_l2": layer_extreme(result, "layer_max_rel_l2", case, layer),
            "max_eta": layer_extreme(result, "layer_max_eta", case, layer),
            "rest_p50_rel_l2": number(rel.p50[layer]), "rest_p95_rel_l2": number(rel.p95[layer]),
            "rest_max_rel_l2": number(rel.rest[layer]), "first_max_rel_l2": number(rel.first[layer]),
            "rest_p50_eta": number(eta.p50[layer]),
            "rest_p50_drift": number(drift.p50[layer]), "rest_max_drift": number(drift.rest[layer]),
            "first_max_drift": number(drift.first[layer]),
            "rest_p50_growth": number(growth.p50[layer]), "rest_p95_growth": number(growth.p95[layer]),
            "non_finite": int(rel.nonfinite[layer]),
            "bytes": int(result["bytes_read"][case][layer]), "seconds": float(result["seconds"][case][layer])})
    return rows


def layer_extreme(result, name, case, layer):
    place = result.place(layer, result[f"{name}_at_obs"][case][layer])
    return None if place is None else {"value": float(result[name][case][layer]), **place.described()}


# --- Prompts


def describe_case_prompt(result, case, prompt):
    return {"key": result.prompts[prompt], "top1": str(result["top1_text"][case][prompt]),
            "top1_id": int(result["top1_id"][case][prompt]), "top1_prob": float(result["top1_prob"][case][prompt]),
            "same": bool(result["top1_match"][case][prompt] == 1),
            **{name: float(result[name][case][prompt]) for name in ("prob_of_ref_top1", "prob_delta", "kl", "js",
                                                                    "topk_overlap")}}


def describe_prompt(result, prompt, cases, at):
    compared = [case for case in cases if "prompts" in case]
    return {"key": result.prompts[prompt], "text": str(result["prompt_text"][prompt]), "tokens": result.rows(prompt),
            "top1": str(result["ref_top1_text"][prompt]), "top1_id": int(result["ref_top1_id"][prompt]),
            "top1_prob": float(result["ref_top1_prob"][prompt]), "margin": float(result["ref_margin"][prompt]),
            "cases_that_differ": [case["name"] for case in compared if not case["prompts"][at]["same"]],
            "cases_compared": len(compared)}


def describe_captures(result):
    """Shapes of the captured tensors; None without captures."""
    with result.reading("captures"):
        group = result.file.get("captures")
        if group is None:
            return None
        return {name: {"shape": list(item.shape), "type": str(item.dtype)}
                for name, item in sorted(group.items()) if hasattr(item, "shape") and name not in layout.SCALES}


# --- As JSON


def plain(value):
    """JSON has no NaN and no infinities: they are the strings "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def to_json(document):
    return json.dumps(plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
