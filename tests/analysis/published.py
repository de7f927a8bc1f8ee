"""LARQL's published baselines (walk_path_audit, Gemma 3 4B) as a result file."""
import numpy as np

import harness
from made import SEED, Made

PROMPTS = {key[0]: key for key in SEED}

# Published with Gemma 3 4B (L 34, H 2560), one row per path: what LARQL's summary shows.
PUBLISHED = {  # min cos, max rel L2, its place; max abs L2 at L11/code/1, max |Δ|, mean_abs_l2, verdict
    "f16:sparse": (0.99999678, 1.881125e-3, (32, "paris", 0), 2.316651, 0.5480375, 0.0967049),
    "f16:full_mmap": (0.99999678, 1.881125e-3, (32, "paris", 0), 2.316651, 0.5480375, 0.0967049),
    "f16:exact": (0.99999624, 1.881349e-3, (32, "paris", 0), 2.2134998, 0.5469151, 0.0927949),  # 2.213500, and 2.213e0
    "q4k:sparse": (0.99630642, 9.562013e-2, (14, "paris", 1), 156.15038, 22.910767, 7.0690670),
    "q4k:interleaved_q4k": (0.99273735, 1.205209e-1, (10, "code", 1), 230.47568, 18.424686, 10.403248),
}
DENSE = {"paris": (" Paris", 0.8065804839), "apollo": (" Neil", 0.9996875525), "code": ("\n", 0.9982932806)}
WALK = {
    "f16:sparse": {"apollo": 0.9996867776, "code": 0.9982883334, "paris": 0.8064575791},
    "f16:full_mmap": {"apollo": 0.9996867776, "code": 0.9982883334, "paris": 0.8064575791},
    "f16:exact": {"apollo": 0.9996868968, "code": 0.9982876182, "paris": 0.8064380288},
    "q4k:sparse": {"apollo": 0.9997054338, "code": 0.9983347058, "paris": 0.8024097085},
    "q4k:interleaved_q4k": {"apollo": 0.9995749593, "code": 0.9982046485, "paris": 0.8323414922},
}
LABELS = {"sparse": "sparse:gemv_full_k", "full_mmap": "full_mmap", "exact": "exact", "interleaved_q4k": "interleaved_q4k:dequant"}


def place(word):
    """(prompt, position) of the table's p0, a21, c1."""
    return PROMPTS[word[0]], int(word[1:])


def published_layers(case):
    """[{layer, rel_l2, rel_l2_at, cos, l2, l2_at}] of a case; sparse and full_mmap of f16 are one row, as published."""
    variant, path = case.split(":")
    lines = (harness.GOLDEN / "audits/published/gemma3-4b.tsv").read_text().splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"))) for line in lines[1:]]
    wanted = "full_mmap" if case == "f16:sparse" else path
    return [row for row in rows if (row["variant"], row["path"]) == (variant, wanted)]


def published(path, template):
    """A result whose tensors have the published extremes at the published places, and nothing else."""
    made = Made(path, template, list(PUBLISHED), 34, vindexes=("f16", "q4k"))
    starts = dict(zip(SEED, np.concatenate([[0], np.cumsum(list(SEED.values()))])))
    made.file.attrs["semantics"], made.file.attrs["bounds_name"] = "larql-2026-05", "larql"
    for at, (prompt, (token, probability)) in enumerate((key, DENSE[key]) for key in SEED):
        made["ref_top1_text"][at], made["ref_top1_prob"][at] = token, probability
        made["top1_text"][:, at] = np.full(len(PUBLISHED), token, object)
    for case, (name, (cos, rel, rel_at, l2, max_abs, _)) in enumerate(PUBLISHED.items()):
        tensors = {key: np.full((34, 39), start) for key, start in (("cos", 1.0), ("rel_l2", 0.0), ("l2", 0.0), ("max_abs", 0.0))}
        for row in published_layers(name):
            layer = int(row["layer"])
            for key in ("rel_l2", "l2"):
                prompt, position = place(row[f"{key}_at"])
                tensors[key][layer, starts[prompt] + position] = float(row[key])
            if row["cos"] != "-":
                tensors["cos"][layer, 3] = float(row["cos"])
        where = starts[rel_at[1]] + rel_at[2]
        tensors["rel_l2"][rel_at[0], where] = rel
        tensors["l2"][11, starts["code"] + 1], tensors["max_abs"][11, starts["code"] + 1] = l2, max_abs
        tensors["cos"][np.argmin(tensors["cos"].min(axis=1)), 3] = cos
        for key, values in tensors.items():
            made[key][case] = values
        made["one_minus_cos"][case] = 1.0 - tensors["cos"]
        for key, value in (("min_cos", cos), ("max_rel_l2", rel)):
            made[key][case] = value
        made["min_cos_at_layer"][case], made["min_cos_at_obs"][case] = np.argmin(tensors["cos"].min(axis=1)), 3
        made["max_rel_l2_at_layer"][case], made["max_rel_l2_at_obs"][case] = rel_at[0], where
        bounds = (0.99, 0.5, 0.05) if name.startswith("q4k") else (0.99999, 1e-2, 5e-3)
        made["bound_cos"][case], made["bound_rel_l2"][case], made["bound_dp"][case] = bounds
        made["label"][case] = made.words("label", LABELS[name.split(":")[1]])
        made["expected_label"][case] = made.words("label", LABELS[name.split(":")[1]])
        made["top1_prob"][case] = [WALK[name][key] for key in SEED]
        made["prob_delta"][case] = [WALK[name][key] - DENSE[key][1] for key in SEED]
        made["prob_delta_compat"][case] = np.abs(made["prob_delta"][case])
    made["obs_status"][...] = made.words("obs_status", "ok")
    for name, value in (("kl", 0.0), ("js", 0.0), ("kernel_rel_l2", 1e-7), ("eta", 0.0), ("drift", 0.0), ("norm_ratio", 1.0)):
        made[name][...] = value
    made.close()
    return path
