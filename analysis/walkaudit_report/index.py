"""What an index over many results says: which files there are, a row per result, vindex and bucket, a section each."""
import pathlib

from . import facts, findings, metrics, text
from .document import Bullets, Cell, Document, Section, Table, Text
from .result import open_result
from .sections import column_list, failures, figure_cell, headline, place_words, sortable, value_of, verdict_cell

PURPOSE = ("Does every walk path of every vindex compute the same FFN as the dense weights, at every layer and every position, "
           "and does the model still say the same? Each result answers it for one model.")
METHOD = (  # (title, sentences)
    ("Forced kernels", (
        "A case is one walk path on one vindex, and names the files that it may read. The kernel that really ran is recorded for "
        "every layer and prompt; a case whose kernel did not run fails, it never falls back to another.",)),
    ("Two readings of each case", (
        "The dense model alone drives the residual stream that is compared: at each layer the dense FFN and the walk path see the "
        "same input, and their outputs are compared at every position. This is the error of a layer by itself.",
        "Beside it each case drives a stream of its own: drift, next tokens and their probabilities come from that one.")),
    ("What is judged, and what is shown for diagnosis", (
        "Three questions are judged apart: whether the stored numbers encode the model's, whether the kernel computes what they "
        "say, and how far the result is from the dense model. For the last cos, rel_L2, top-1 and |ΔP| are held against bounds; "
        "they do not depend on the size of the activations.",
        "L2, the largest difference of one element, η and drift are shown for diagnosis: they tell where to look, and have no "
        "bounds.")),
    ("Buckets", (
        "Exact, quantized and fp4 cases have bounds of their own, by the least exact number that a case really reads. Cases that "
        "leave features out are approximate: a choice, shown as a curve over K.",)),
    ("Measure, then tighten", (
        "Bounds come from measurement: a bucket without calibrated bounds is MEASURED, which is a fact and no failure. "
        "'walkaudit-report tighten' proposes bounds with headroom from what was measured, and names its evidence.",)),
    ("cos and rel_L2", (
        "The two are tied: with ρ the ratio of the outputs' lengths, rel_L2² = 1 + ρ² − 2ρ·cos. So rel_L2 is at least √(1 − cos²), "
        "and √(2(1 − cos)) when both are equally long: a bound on one cannot be chosen without the other.",)),
)


# Bounds that a result may have: dataset, symbol, sense.
BOUNDS = (("cos", "cos", "≥"), ("rel_l2", "rel_L2", "≤"), ("dp", "|ΔP|", "≤"),
          *((name, metrics.METRICS[name].symbol, "≤") for name in ("mean_kl", "p99_kl", "flip_rate", "ppl_ratio")))


def read(path, folder):
    """A light description of one result: no pass over its observations."""
    with open_result(path) as result:
        cases = [light_case(result, case) for case in range(len(result.cases))]
        runs = result.runs()
        vindexes = facts.describe_vindexes(result)
        dates = [str(run[name])[:10] for run in runs for name in ("ended", "started") if run.get(name)]
        return {"path": path.relative_to(folder).as_posix(), "title": result.attribute("title"),
                "job": facts.describe_job(result), "size": dict(result.size), "cases": cases,
                "summary": facts.summarise(cases, vindexes, result.attribute("reference_verdict")),
                "findings": findings.of_vindexes(vindexes, [whole(case) for case in cases]),
                "date": max(dates, default=""),
                "not_offered": [str(line) for line in result["not_offered"]]}


def light_case(result, case):
    vindex = int(result["case_vindex"][case])
    described = {"name": result.cases[case], "vindex": result.vindexes[vindex] if vindex >= 0 else "",
                 "bucket": result.words("case_bucket")[case], "verdict": result.words("verdict")[case],
                 "reasons": [line for line in str(result["fail_reasons"][case]).split("\n") if line],
                 "n_obs": int(result["n_obs"][case]), "reads": facts.reads(result, case),
                 "bounds": {name: facts.number(result[f"bound_{name}"][case]) for name, _, _ in BOUNDS
                            if result.has(f"bound_{name}")}}
    if described["verdict"] != "NOT-RUN":
        described["extremes"] = {name: facts.extreme(result, name, case) for name in (*facts.EXTREMES, "max_kernel_rel_l2")}
        described["rates"], described["encoding"] = facts.describe_rates(result, case), facts.describe_encoding(result, case)
        described["rest"] = {name: facts.extreme(result, f"rest_{name}", case) for name in ("max_rel_l2", "max_eta")}
        described["next_token"] = facts.describe_next_token(result, case)
    return described


def whole(case):
    """As findings takes it."""
    return {**case, "extremes": {"all": case["extremes"]}} if "extremes" in case else case


def groups(entry):
    """{(vindex, bucket): cases} of a result, in the order of its cases."""
    found = {}
    for case in entry["cases"]:
        found.setdefault((case["vindex"], case["bucket"]), []).append(case)
    return found


# --- The document


def build(entries, refused, unfinished, artefacts):
    """artefacts(entry) -> [(words, link)]; refused, unfinished: [(path, why)]."""
    total = sum(entry["summary"]["cases"] for entry in entries)
    failed = sum(entry["summary"]["failed"] for entry in entries)
    good = failed == 0 and not refused and not unfinished and all(entry["summary"]["success"] for entry in entries)
    summary = (f"{text.plural(len(entries), 'result')}, {text.plural(total, 'case')}: {text.failing(failed)}.")
    lead = [Text(PURPOSE), Text(summary, "good" if good else "warning")]
    order = sorted(range(len(entries)), key=lambda at: entries[at]["summary"]["success"])  # failing ones first
    sections = [Section("Results", "results", [results(entries, order)])] if entries else []
    for title, name, words, listed in (("Not read", "refused", "What is no finished result, or cannot be read:", refused),
                                       ("Not finished", "unfinished", "What an audit has begun, and not yet ended:", unfinished)):
        if listed:
            sections.append(Section(title, name, [Text(words), Bullets(
                [Cell(f"{path}: {why}", kind="bad") for path, why in listed])]))
    sections.append(Section("Baselines", "baselines", [baselines(entries)]))
    sections += [entry_section(entries[at], at, artefacts(entries[at])) for at in order]
    sections.append(Section("Method", "method", [], sections=[
        Section(title, f"method-{at}", [Text(words) for words in sentences]) for at, (title, sentences) in enumerate(METHOD)]))
    return Document("Walk path audits", lead, sections)


def results(entries, order):
    """A row per result and vindex: what was found, in words; failing results first, and in each the failing vindexes."""
    rows = []
    for at in order:
        entry = entries[at]
        name = Cell(text.plain(entry["path"]), link=f"#result-{at}")
        rows += [[name, Cell(text.plain(found["name"])), verdict_cell(found["verdict"]), Cell(found["words"])]
                 for found in entry["findings"]] or [[name, Cell(text.ABSENT), Cell("no case ran", kind="bad"), Cell(text.ABSENT)]]
    return Table("What was found in each result, vindex by vindex", column_list("result", "vindex", "verdict", "in words"), rows,
                 filtered=len(rows) > 12)


def worst(cases, pick, largest=True):
    """The worst figure over cases; what is no number is the worst."""
    values = [value for value in map(pick, cases) if value is not None]
    nan = [value for value in values if value != value]
    return nan[0] if nan else (max if largest else min)(values) if values else None


def delta(case):
    shift = case["next_token"]["prob_delta"]
    return None if shift is None else abs(shift["value"])


def baselines(entries):
    columns = column_list("date", "model", "vindex", "bucket", "paths tested", "=min cos", "=max rel_L2", "=max |ΔP|", "=n_obs",
                          "verdict", "result")
    rows = []
    for at, entry in enumerate(entries):
        if not entry["cases"]:
            rows.append([Cell(entry["date"] or text.ABSENT), Cell(text.plain(pathlib.Path(str(entry["job"]["model"])).name)),
                         *[Cell(text.ABSENT)] * 7, Cell("no case ran", kind="bad"), Cell(text.plain(entry["path"]), link=f"#result-{at}")])
        for (vindex, bucket), cases in groups(entry).items():
            ran = [case for case in cases if "extremes" in case]
            good = sum(case["verdict"] in facts.SUCCESS for case in cases)
            names = ", ".join(case["name"].partition(":")[2] or case["name"] for case in cases)
            cos = worst(ran, lambda case: value_of(case["extremes"]["min_cos"]), largest=False)
            rows.append([Cell(entry["date"] or text.ABSENT), Cell(text.plain(pathlib.Path(str(entry["job"]["model"])).name)),
                         Cell(text.plain(vindex) or text.ABSENT), Cell(bucket), Cell(text.plain(names)),
                         Cell(text.cosine(cos), sort=sortable(cos)),
                         figure_cell(worst(ran, lambda case: value_of(case["extremes"]["max_rel_l2"]))),
                         figure_cell(worst(ran, delta)),
                         Cell(text.count(sum(case["n_obs"] for case in ran)), sort=sum(case["n_obs"] for case in ran)),
                         Cell(verdict_words(cases, good), kind="good" if good == len(cases) else "bad"),
                         Cell(text.plain(entry["path"]), link=f"#result-{at}")])
    return Table("One row per result, vindex and bucket; each figure is the worst of its cases", columns, rows,
                 metrics.explain("bucket", "cos", "rel_l2", "prob_delta", "n_obs", "verdict"), filtered=len(rows) > 12)


def verdict_words(cases, good):
    """"2/3 PASS; ENCODING": how many succeed, and as what the others fail."""
    word = " or ".join(word for word in facts.SUCCESS if any(case["verdict"] == word for case in cases)) or "PASS"
    failed = dict.fromkeys(case["verdict"] for case in cases if case["verdict"] not in facts.SUCCESS)
    return "; ".join([f"{good}/{len(cases)} {word}", *failed])


def entry_section(entry, at, links):
    job, size = entry["job"], entry["size"]
    blocks = [Text(headline(entry["summary"]) + ".", "" if entry["summary"]["success"] else "warning"),
              Text(f"Model {text.plain(str(job['model']))}, semantics {job['semantics']}, bounds {job['bounds']}; "
                   f"{size['layer']} layers, {text.plural(size['prompt'], 'prompt')}, {size['obs']} observations per layer"
                   + ("; requantised: made from a model of 6 bits or fewer." if job["requantised"] else "."))]
    blocks += failures(entry)
    if not entry["cases"]:
        blocks.append(Bullets([Cell(text.plain(line), kind="bad") for line in entry["not_offered"]]))
    items = places(entry) + bounds(entry)
    blocks += [Bullets(items)] if items else []
    if links:
        blocks.append(Bullets([Cell(words, link=link, kind="link") for words, link in links]))
    title = f"{job['audit'] or entry['path']}: {', '.join(sorted({case['vindex'] for case in entry['cases']})) or 'no case'}"
    return Section(text.plain(f"{title} ({entry['path']})"), f"result-{at}", blocks)


def places(entry):
    """Where each figure is largest, by bucket; position 0 apart."""
    items = []
    for bucket in dict.fromkeys(case["bucket"] for case in entry["cases"]):
        ran = [case for case in entry["cases"] if "extremes" in case and case["bucket"] == bucket]
        for words, pick in (("largest rel_L2", lambda case: case["extremes"]["max_rel_l2"]),
                            ("largest rel_L2 after position 0", lambda case: case["rest"]["max_rel_l2"]),
                            ("largest η after position 0", lambda case: case["rest"]["max_eta"])):
            seen = [(pick(case), case) for case in ran if pick(case) is not None]
            if seen:
                place, case = max(seen, key=lambda pair: sortable(pair[0]["value"]))
                items.append(Cell(f"{bucket}: {words} {text.figure(place['value'])} at {place_words(place)} of "
                                  f"{text.plain(case['name'])}"))
    return items


def bounds(entry):
    """The bounds as applied, a line per bucket."""
    lines = {}
    for case in entry["cases"]:
        known = ", ".join(f"{symbol} {word} {case['bounds'][name]:g}" for name, symbol, word in BOUNDS
                          if case["bounds"].get(name) is not None)
        lines[case["bucket"]] = known or "none, so its cases are measured"
    return [Cell(f"bounds of bucket {bucket}: {line}") for bucket, line in lines.items()]
