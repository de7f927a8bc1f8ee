"""The page of a sweep: models and vindexes against paths, failing ones first, and accuracy against the bytes that a position needs."""
import math
import pathlib

from . import charts, findings, metrics, text
from .document import Bullets, Cell, Document, Picture, Section, Table, Terms, Text
from .sections import column_list

FIGURES = (("p95_rel_l2", "rel_L2, p95", "rel_l2"), ("flip_rate", "flip rate", "flip_rate"), ("max_kl", "largest KL of a prompt [nat]", "kl"))


def build(rows):
    """rows: as sweep.collect gives them; those with a case are on the charts, the others are listed with their reasons."""
    cases = [row for row in rows if "case" in row]
    lost = [row for row in rows if "case" not in row and row["verdict"] != "LEFT-OUT"]
    failed = sum(row["verdict"] not in findings.SUCCESS for row in cases)
    words = f"{text.plural(len(cases), 'case')} of {text.plural(len({group(row)[0] for row in cases}), 'model')}: {text.failing(failed)}" \
            + (f"; {text.plural(len(lost), 'row')} without a readable result." if lost else ".")
    sections = []
    if lost:
        sections.append(Section("Not audited", "lost", [Bullets([Cell(line(row), kind="bad") for row in lost])]))
    if cases:
        sections.append(Section("Models, vindexes and paths", "matrix", [matrix(cases)]))
        sections.append(Section("Accuracy against bytes", "cost", [Terms(metrics.explain("rel_l2", "flip_rate", "kl", "touched", "bucket")),
                                                                 Text(key(cases)), *curves(cases)]))
    return Document("A sweep of walk path audits", [Text(words, "warning" if failed or lost else "good")], sections,
                    [(f"{group(row)[0]} {text.plain(row['case'])}", group(row)[0]) for row in cases], "Model")


def line(row):
    reasons = "; ".join(str(row.get("reasons", "")).split("\n"))
    return text.plain(f"{row['result']}: {row['verdict']}{': ' + reasons if reasons else ''}")


def group(row):
    """(model, vindex), as a reader calls them."""
    return text.plain(pathlib.Path(str(row.get("model", ""))).name), text.plain(row.get("vindex", ""))


def path_of(row):
    return findings.path_word(row["case"], row["path"]) + ("" if row["k"] < 0 else f", K {row['k']}")


def matrix(cases):
    """A row per result and vindex; failing ones first."""
    paths = list(dict.fromkeys(map(path_of, cases)))
    held = {}
    for at, row in enumerate(cases):
        held.setdefault((row["result"], *group(row)), []).append(at)
    order = sorted(held.values(), key=lambda own: min(findings.rank(cases[at]["verdict"]) if cases[at]["verdict"] not in findings.SUCCESS
                                                     else len(findings.ORDER) for at in own))
    rows = []
    for own in order:
        first, by_path = cases[own[0]], {}
        for at in own:
            by_path.setdefault(path_of(cases[at]), at)
        rows.append([Cell(" ".join(group(first))), Cell(text.plain(first["result"])), *(cell(cases, by_path.get(path)) for path in paths)])
    return Table("Each model and vindex with its paths: the verdict, below it the 95th percentile of rel_L2 and the share of flipped tokens",
                 column_list("model and vindex", "result", *paths), rows, about=[tuple(own) for own in order], tiles=True)


def cell(cases, at):
    if at is None:
        return Cell(text.ABSENT, note="not run")
    row = cases[at]
    flips = row.get("flip_rate", math.nan)
    parts = [f"rel_L2 {text.figure(row['p95_rel_l2'])}" if "p95_rel_l2" in row else "", "" if math.isnan(flips) else f"{findings.percent(flips)} flip"]
    return Cell(row["verdict"], kind=findings.kind(row["verdict"]), note=", ".join(filter(None, parts)), about=(at,))


def colors(cases):
    models = list(dict.fromkeys(group(row)[0] for row in cases))
    return {model: charts.COLORS[at % len(charts.COLORS)] for at, model in enumerate(models)}


def key(cases):
    return ", ".join(f"{model}: {color}" for model, color in colors(cases).items()) + ". Lines join the K of one path. A figure of 0 lies on the floor."


def curves(cases):
    """A chart per figure: each case over the bytes that a position needs."""
    look, buckets = colors(cases), ("exact", "quantized", "fp4", "approximate")
    joined = {}
    for at, row in enumerate(cases):
        if row["k"] >= 0:
            joined.setdefault((row["result"], row.get("vindex", ""), row["path"]), []).append(at)
    lines = [sorted(own, key=lambda at: cases[at]["k"]) for own in joined.values()]
    for name, title, _ in FIGURES:
        points = []
        for at, row in enumerate(cases):
            size = row.get("bytes_touched", row.get("bytes_read", 0)) / 1e6
            shape = charts.SHAPES[buckets.index(row["bucket"])] if row["bucket"] in buckets else "circle"
            points.append(charts.Point(size, row.get(name, math.nan), f"{group(row)[0]} {text.plain(row['case'])}", look[group(row)[0]], shape,
                                       f"{row['verdict']}, {size:.3g} MB, {title} {text.figure(row.get(name))}", (at,)))
        if any(math.isfinite(point.y) for point in points):
            yield Picture(charts.scatter(points, "MB touched by a position", title, f"{title} of every case of the sweep over the megabytes that a "
                                         "position needs, with its name. The table and the CSV file hold the numbers.", lines), f"{title} against bytes", "")
