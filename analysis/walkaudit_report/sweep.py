"""One table over the results of a sweep: a row per case, and one per audit or file that could not be read.

sweep.h5 holds a dataset per column along the dimension `row`; sweep.csv the same columns. analysis/README.md lists them.
"""
import csv
import io
import json
import math
import os
import re

import h5py
import numpy as np

from . import layout
from .apart import apart
from .errors import UNFINISHED, Failure
from .result import open_result
from .touched import touched

FORMAT = "walkaudit_sweep"  # root attribute: version of this layout, and what tells the file from a result
VERSION = 1
TEXT, NUMBER, COUNT = "text", "number", "count"
UNITS = {"max_kl": "nat", "mean_kl": "nat", "p99_kl": "nat", "mean_next_logprob_delta": "nat", "max_l2": "activation",
         "max_max_abs": "activation", "bytes_read": "byte", "bytes_touched": "byte", "seconds": "s"}  # all others: none
ABSENT = {TEXT: "", NUMBER: math.nan, COUNT: -1}

_LOCAL = {"min_cos": "least cosine", "max_rel_l2": "largest rel_L2", "max_eta": "largest eta", "max_l2": "largest L2",
          "max_max_abs": "largest difference of one element"}
EXTREMES = {**_LOCAL, "max_drift": "largest drift", "max_kernel_rel_l2": "largest error of the kernel against its oracle",
            **{f"rest_{name}": f"{meaning} after the first position" for name, meaning in _LOCAL.items()},
            **{f"first_{name}": f"{meaning} at position 0" for name, meaning in _LOCAL.items()}}
PLACE = {"layer": (COUNT, "its layer"), "prompt": (TEXT, "its prompt"), "position": (COUNT, "its position"),
         "token": (TEXT, "its token")}
PLAIN = {"mean_rel_l2": "mean rel_L2", "p50_rel_l2": "median rel_L2", "p95_rel_l2": "95th percentile of rel_L2",
         "p99_rel_l2": "99th percentile of rel_L2", "bound_cos": "bound on the cosine as applied",
         "bound_rel_l2": "bound on rel_L2 as applied", "bound_dp": "bound on |dP| as applied"}
COST = {"bytes_read": "stored bytes of weights read", "flops": "floating-point operations", "seconds": "time in the case's FFN, over ranks"}


def columns():
    """{name: (kind, meaning)} of the table, in order."""
    out = {"result": (TEXT, "file, relative to the folder"), "job": (TEXT, "name of the job"), "audit": (TEXT, "name of the audit"),
           "model": (TEXT, "path of the model"), "family": (TEXT, "family of the model"), "semantics": (TEXT, "native, larql-2026-05 or larql-2026-08"),
           "bounds": (TEXT, "name of the bounds"), "source_format": (TEXT, "formats of the model's FFN: gate, up, down"),
           "requantised": (COUNT, "1 when one of them has 6 bits or fewer"), "vindex": (TEXT, "name of the vindex"),
           "vindex_path": (TEXT, "path of the vindex"), "case": (TEXT, "name of the case"), "path": (TEXT, "walk path"),
           "k": (COUNT, "features taken per position; -1 = all"), "bucket": (TEXT, "which bounds apply"),
           "verdict": (TEXT, "verdict; FAILED: the audit could not run; UNFINISHED; UNREADABLE: no result"),
           "reasons": (TEXT, "why, one per line"), "layers": (COUNT, "layers"), "prompts": (COUNT, "prompts"),
           "n_obs": (COUNT, "observations"), "n_obs_distinct": (COUNT, "observations, a shared first token counted once"),
           "n_non_finite": (COUNT, "observations that are not finite")}
    for name, meaning in EXTREMES.items():
        out[name] = (NUMBER, meaning)
        out.update({f"{name}_{part}": (kind, f"{words}: {meaning}") for part, (kind, words) in PLACE.items()})
    out.update({name: (NUMBER, meaning) for name, meaning in PLAIN.items()})
    out.update({"row_err_max": (NUMBER, "largest error of a stored row of the vindex"), "row_err_layer": (COUNT, "its layer"),
                "row_err_projection": (TEXT, "its projection"), "row_err_row": (COUNT, "its row"),
                "top1_same": (COUNT, "prompts whose most probable next token is the dense model's"),
                "max_prob_delta": (NUMBER, "largest |dP|"), "max_prob_delta_prompt": (TEXT, "its prompt"),
                "max_kl": (NUMBER, "largest KL of a prompt's next token"), "max_kl_prompt": (TEXT, "its prompt")})
    for name in layout.RATES:
        out.update({name: (NUMBER, f"rate {name} over all positions (logits: all)"),
                    f"{name}_upper": (NUMBER, "its upper 95 % limit")})
    out.update({name: (NUMBER if name == "seconds" else COUNT, f"{meaning}, all layers") for name, meaning in COST.items()})
    out["bytes_touched"] = (COUNT, "stored bytes of weights that one position needs, all layers: with K the gate and K rows each of up and down")
    return out


# --- Rows

def collect(found, step):
    """Rows of what was Found. A row holds what it knows."""
    rows = []
    for path in found.results:
        name = found.name(path)
        try:
            rows += [{"result": name, **row} for row in apart(result_rows, path)]
        except Failure as failure:
            rows.append({"result": name, "verdict": "UNREADABLE", "reasons": failure.without_place()})
        step(name)
    unfinished = {path for path, _ in found.unfinished}
    rows += [{"result": found.name(path), **failed_row(path)} for path in found.records if not is_begun_again(path, unfinished)]
    rows += [{"result": found.name(path), "verdict": "UNFINISHED", "reasons": why} for path, why in found.unfinished]
    return rows + [{"result": found.name(path), "verdict": "UNREADABLE", "reasons": why} for path, why in found.refused]


def result_rows(path):
    """Rows of one file; none of a table of ours."""
    if is_sweep(path):
        return []
    with open_result(path) as result:
        rows = [case_row(result, case) for case in range(len(result.cases))]
        rows += [*vindex_rows(result), *reference_rows(result)]
        if not result.cases:
            rows.append({**audit_row(result), "verdict": "NOT-RUN", "reasons": offers(result)})
        return rows


def is_sweep(path):
    """A table of ours beside the results is none of them."""
    if not os.path.isfile(path):
        return False  # a FIFO would never open
    try:
        with h5py.File(path, "r") as file:
            return FORMAT in file.attrs
    except OSError:
        return False  # open_result says why


def audit_row(result):
    formats = " ".join(str(result.attribute(f"source_format_{name}")) for name in layout.PROJECTIONS)
    return {"job": result.attribute("job_name"), "audit": result.attribute("audit_name"), "model": result.attribute("model_path"),
            "family": result.attribute("model_family"), "semantics": result.attribute("semantics"),
            "bounds": result.attribute("bounds_name"), "source_format": formats,
            "requantised": int(result.attribute("requantised", 0)), "layers": result.size["layer"],
            "prompts": result.size["prompt"]}


def offers(result):
    return "\n".join(str(entry) for entry in result["not_offered"])


def vindex_rows(result):
    """A row for each vindex of which no case ran."""
    return [{**audit_row(result), "vindex": name, "vindex_path": str(result["vindex_path"][at]),
             "verdict": result.words("vindex_verdict")[at], "reasons": str(result["vindex_reason"][at])}
            for at, name in enumerate(result.vindexes) if result.words("vindex_verdict")[at] in ("UNAUDITED", "LEFT-OUT")]


def reference_rows(result):
    """A row for a dense model that drifts from its reference dump: what its cases say means nothing then."""
    word = result.attribute("reference_verdict")
    return [{**audit_row(result), "verdict": word, "reasons": result.attribute("reference_agreement")}] if word == "REFERENCE" else []


def case_row(result, case):
    vindex = int(result["case_vindex"][case])
    row = {**audit_row(result), "case": result.cases[case], "path": result.words("case_path")[case],
           "k": int(result["case_k"][case]), "bucket": result.words("case_bucket")[case],
           "verdict": result.words("verdict")[case], "reasons": str(result["fail_reasons"][case])}
    row |= {name: int(result[name][case]) for name in ("n_obs", "n_obs_distinct", "n_non_finite")}
    if vindex >= 0:
        row |= {"vindex": result.vindexes[vindex], "vindex_path": str(result["vindex_path"][vindex]), **encoding(result, case)}
    if row["verdict"] == "NOT-RUN":
        return row
    for name in EXTREMES:
        row |= extreme(result, name, case)
    row |= {name: float(result[name][case]) for name in PLAIN}
    row |= next_tokens(result, case)
    row |= {name: float(result[name][case]) for rate in layout.RATES for name in (rate, f"{rate}_upper") if result.has(name)}
    row |= {name: result[name][case].sum().item() for name in COST}
    needed = touched(result, case)
    return row if needed is None else row | {"bytes_touched": needed}


def extreme(result, name, case):
    value, place = result.extreme(name, case)
    if place is None:
        return {name: value}
    return {name: value, f"{name}_layer": place.layer, f"{name}_prompt": place.key, f"{name}_position": place.position,
            f"{name}_token": place.token}


def encoding(result, case):
    """The worst stored row of the projections that the case reads."""
    errors = result.read_by(case, "row_err_max")
    if not np.isfinite(errors).any():
        return {}
    layer, projection = np.unravel_index(np.nanargmax(errors), errors.shape)
    return {"row_err_max": float(errors[layer, projection]), "row_err_layer": int(layer),
            "row_err_projection": layout.PROJECTIONS[projection],
            "row_err_row": int(result.read_by(case, "row_err_worst", -1)[layer, projection])}


def next_tokens(result, case):
    row = {"top1_same": int((result.words("top1_match")[case] == "yes").sum())}
    for name in ("prob_delta", "kl"):
        sizes = np.abs(result[name][case])
        if sizes.size:
            at = int(np.argmax(np.where(np.isnan(sizes), np.inf, sizes)))  # no number is the worst
            row |= {f"max_{name}": float(sizes[at]), f"max_{name}_prompt": result.prompts[at]}
    return row


def is_begun_again(path, unfinished):
    """Of a record: has a later run left parts, which have a row of their own?"""
    try:
        code = read_record(path).get("exit_code")
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
    return code == UNFINISHED and path.with_name(path.name.removesuffix(".failed.json") + ".h5") in unfinished


def read_record(path):
    if not os.path.isfile(path):
        raise ValueError  # a FIFO would never open
    return json.loads(path.read_text(encoding="utf-8", errors="replace"))


def failed_row(path):
    """Of NAME-AUDIT.failed.json."""
    try:
        record = read_record(path)
        reason, audit, model = (record[key] for key in ("reason", "audit", "model"))
        if not all(isinstance(item, str) for item in (reason, audit, model)):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {"verdict": "UNREADABLE", "reasons": "not a record of walkaudit, expected audit, model and reason"}
    job = path.name.removesuffix(f"-{audit}.failed.json")
    return {"job": job, "audit": audit, "model": model, "verdict": "FAILED", "reasons": reason}


# --- The two files

def values(rows, name, kind):
    return [row.get(name, ABSENT[kind]) for row in rows]


def write_table(rows, path):
    """sweep.h5: a dataset per column, strings of variable length, NaN and -1 for what is absent."""
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"], file.attrs["title"] = "CF-1.10", "walkaudit: one row per case of a sweep"
        scale = file.create_dataset("row", data=np.arange(len(rows), dtype=np.int32))
        scale.make_scale("row")
        scale.attrs["long_name"], scale.attrs["units"] = "row of the table", "1"
        for name, (kind, meaning) in columns().items():
            dtype = {TEXT: h5py.string_dtype(), NUMBER: np.float64, COUNT: np.int64}[kind]
            found = values(rows, name, kind)
            item = file.create_dataset(name, (len(rows),), dtype, data=[plain(text) for text in found] if kind == TEXT else found)
            item.dims[0].attach_scale(scale)
            item.attrs["long_name"], item.attrs["units"] = meaning, unit(name)
            if kind == NUMBER:
                item.attrs["_FillValue"] = np.float64(math.nan)
        file.attrs[FORMAT] = VERSION  # written last, as in a result


def unit(name):
    """A limit has the unit of its rate, an extreme of some positions that of all."""
    return UNITS.get(re.sub("^(rest|first)_|_upper$", "", name), "1")


def plain(text):
    """HDF5's strings end at the first NUL."""
    return str(text).replace("\0", "\\x00")


def to_csv(rows):
    """RFC 4180, UTF-8; what is absent is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    kinds = columns()
    writer.writerow(kinds)
    for row in rows:
        writer.writerow([cell(row.get(name), name, kinds[name][0]) for name in kinds])
    return out.getvalue()


def cell(value, name, kind):
    if value is None or kind == NUMBER and math.isnan(value) or kind == COUNT and value == -1 and name != "k":
        return ""
    if name == "k":
        return "all" if value == -1 else value
    return repr(value) if kind == NUMBER else value
