"""summarise.py REPORT.json…: JSON reports of the baselines, less layers and prompts, to results/ beside this file; and the table of doc/baselines.md.

    analysis/walkaudit-report report results/baseline-*.h5 results/august-*.h5 -o results
    /usr/bin/python3 jobs/baselines/summarise.py results/baseline-*.json results/august-*.json
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Of cases that are equal bit for bit, the table has one.
SHOWN = ("f32:sparse", "f32:exact", "f16:sparse", "f16:exact", "q4_0:interleaved_q4", "q4k:sparse", "q4k:interleaved_q4k", "q4k-down4:sparse",
         "q4k-down4:interleaved_q4k", "q4k:interleaved_kquant_dequant", "q4k-down4:interleaved_kquant_dequant", "fp4a:fp4_storage", "fp4b:fp4_storage", "fp4c:fp4_storage")
HEAD = ("case", "enc max", "kernel", "min cos", "rel_L2", "η", "mean KL", "p99 KL", "flips", "PPL ratio", "abs ΔP", "MB", "s")


def compact(report):
    """What is worth keeping in the repository: figures of the cases, and where they come from."""
    kept = {key: report[key] for key in ("schema", "schema_version", "title", "source", "walkaudit_format", "size", "summary")}
    job = report["job"]
    kept["job"] = {key: job[key] for key in ("name", "audit", "family", "semantics", "bounds", "source_format", "requantised",
                                             "fingerprints")}
    run = report["runs"][-1]
    kept["run"] = {key: run[key] for key in ("blas", "mpi", "ranks", "groups", "stages", "teams", "wall_seconds")}
    kept["cases"] = [{key: value for key, value in case.items() if key not in ("layers", "prompts")} for case in report["cases"]]
    return kept


def row(case):
    extremes, rates = case["extremes"]["all"], case["rates"]
    value = {name: item["value"] for name, item in extremes.items()}
    mean, ratio = rates["mean_kl"], rates["ppl_ratio"]
    return (f"`{case['name']}`", f"{case['encoding']['max']:.2g}", f"{value['max_kernel_rel_l2']:.1e}", f"{value['min_cos']:.6f}",
            f"{value['max_rel_l2']:.2e}", f"{value['max_eta']:.2e}", f"{mean['value']:.2e} ± {mean['error']:.0e}",
            f"{rates['p99_kl']['value']:.2e}", f"{100 * rates['flip_rate']['value']:.2f} %",
            f"{ratio['value']:.5f} ± {ratio['error']:.5f}", f"{abs(case['next_token']['prob_delta']['value']):.3f}",
            f"{case['cost']['bytes'] / 1e6:.0f}", f"{case['cost']['seconds']:.0f}")


def table(report):
    lines = [HEAD, ("---",) * len(HEAD)]
    lines += [row(case) for case in report["cases"] if case["name"] in SHOWN]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(paths):
    for path in paths:
        report = json.loads(pathlib.Path(path).read_text())
        job = report["job"]
        out = HERE / "results" / f"{job['audit']}{'' if job['name'] == 'baseline' else '-' + job['name']}.json"
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps(compact(report), indent=1, ensure_ascii=False) + "\n")
        size = report["size"]
        print(f"\n{report['job']['audit']}, {size['prompts']} prompts, {size['observations']} positions, "
              f"{size['layers']} layers\n\n{table(report)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
