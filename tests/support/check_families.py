#!/usr/bin/python3
"""check_families.py WALKAUDIT FOLDER [NAME ...]: models with captures of transformers, against our forward pass, and their vindexes.

FOLDER/NAME/model is a directory as transformers saves it, FOLDER/NAME/dense_golden.h5 what its classes computed with f64 products: a
group for each prompt, under `native`, with token_id [n], x and y [layer, n, hidden], top5_id and top5_prob of the last position, and of
models with experts router_logits [layer, n, experts], expert_id and expert_weight [layer, n, chosen] (-1: a layer without).

Each model is audited once, with a vindex in every format that `extract` makes of it and with itself as a checkpoint, and must keep to:
x and y over the whole pass within 2e-5 (the worst relative L2 of a position), the FFN's output on the stored x within 2e-6 (by
tests/ffn_given_x, which stands beside the program), the same five likeliest tokens, their probabilities within 1e-5, the same experts
wherever the last one chosen leads by more than 1e-5, their weights within 1e-6; and every case PASS or MEASURED.
A line for each model; exit code 1 if one does not.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "end_to_end"))
import harness  # noqa: E402

LIMITS = {"x": 2e-5, "y": 2e-5, "y given x": 2e-6, "probability": 1e-5, "weight": 1e-6, "top 5": 0, "experts": 0, "verdicts": 0}
DENSE, EXPERTS = ["f32", "f16", "interleaved", "q4_0", "q4k", "fp4"], ["f32", "f16", "bf16", "q4_0", "q4k", "q6k", "fp4"]
LEAD = 1e-5
SAME = {"name": "same", "scope": "model"}


def distance(got, want):
    got, want = got.astype("f8"), want.astype("f8")
    return (np.linalg.norm(got - want, axis=-1) / np.maximum(np.linalg.norm(want, axis=-1), 1e-6)).max()


def vindexes(program, model, folder, formats):
    """Those that can be made; a format that the family or its widths do not allow is left out."""
    made = {name: folder / f"{name}.vindex" for name in formats}
    return {name: path for name, path in made.items()
            if harness.run(["extract", model, path, "--format", name], program=program, expect=None).returncode == 0}


def audit(program, model, prompts, folder, formats):
    lines = [json.dumps({"key": key, "ids": prompt["token_id"][()].tolist()}) for key, prompt in prompts.items()]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    made = vindexes(program, model, folder, formats)
    job = {"audits": [{"model": str(model), "vindexes": [{"name": name, "path": str(path)} for name, path in made.items()] +
                       [{**SAME, "checkpoint": str(model)}]}],
           "prompts": {"file": "prompts.jsonl"}, "logits": "all", "captures": {"tensors": ["x", "y_ref"]}, "result": "out"}
    (folder / "job.yaml").write_text(json.dumps(job))
    harness.run(["run", folder / "job.yaml"], program=program, expect=None)
    path = next((folder / "out").glob("*.h5"))
    with h5py.File(path) as file:
        x, y = (file[f"captures/{name}"][()] for name in ("x", "y_ref"))
    return harness.Result(path), x, y, list(made)


def compare_experts(result, prompt, at, found):
    want_id, want_weight = prompt["expert_id"][()], prompt["expert_weight"][()]
    logits = np.sort(prompt["router_logits"][()], -1)[..., ::-1]
    chosen = want_id.shape[-1]
    for layer, row in np.argwhere(want_id[..., 0] >= 0):
        s = logits[layer, row]
        if chosen < len(s) and s[chosen - 1] - s[chosen] <= LEAD:
            continue
        got = dict(zip(result["expert_id"][layer, at[row]], result["expert_weight"][layer, at[row]]))
        want = dict(zip(want_id[layer, row], want_weight[layer, row]))
        found["experts"] += got.keys() != want.keys()
        if got.keys() == want.keys():
            found["weight"] = max(found["weight"], *(abs(got[e] - want[e]) for e in want))


def check(program, source, folder):
    """{what: the worst found}, and a text of formats and verdicts."""
    found = dict.fromkeys(LIMITS, 0)
    with h5py.File(source / "dense_golden.h5") as file:
        prompts = file["native"]
        with_experts = all("expert_id" in prompt for prompt in prompts.values())
        result, x, y, made = audit(program, source / "model", prompts, folder, EXPERTS if with_experts else DENSE)
        for key, prompt in prompts.items():
            p = result.prompts.index(key)
            at = np.flatnonzero(result["obs_prompt"] == p)
            found["x"] = max(found["x"], distance(x[:, at], prompt["x"][()]))
            found["y"] = max(found["y"], distance(y[:, at], prompt["y"][()]))
            given = harness.ffn_given(source / "model", prompt["x"][()], program.parent / "tests/ffn_given_x")
            found["y given x"] = max(found["y given x"], distance(given, prompt["y"][()]))
            found["top 5"] += list(result["ref_topk_id"][p][:5]) != list(prompt["top5_id"][()])
            off = np.abs(np.exp(result["ref_topk_logprob"][p][:5]) - prompt["top5_prob"][()]).max()
            found["probability"] = max(found["probability"], off)
            if with_experts:
                compare_experts(result, prompt, at, found)
    others = {case: word for case, word in result.verdicts().items() if word not in ("PASS", "MEASURED")}
    found["verdicts"] = len(others)
    return found, f"formats {' '.join(made)}" + (f"; {others}" if others else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    names = args.names or sorted(path.parent.name for path in args.folder.glob("*/dense_golden.h5"))
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found, text = check(pathlib.Path(args.program).resolve(), (args.folder / name).resolve(), pathlib.Path(folder))
        beyond = [what for what, limit in LIMITS.items() if not found[what] <= limit]
        failed += bool(beyond)
        print(f"{name:14} " + ", ".join(f"{what} {value:.1e}" if limit > 0 else f"{what} {value} other"
                                        for (what, limit), value in zip(LIMITS.items(), found.values())),
              f"; {text}" + (f"; beyond its limit: {', '.join(beyond)}" if beyond else ""), sep="", flush=True)
    print(f"{len(names)} models checked, {failed} beyond a limit")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    sys.exit(main())
