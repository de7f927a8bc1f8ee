"""The charts of a report's page, section by section: small ones of each case over its layers, and those that compare cases."""
import math

from . import charts, findings, metrics, stats, text
from .charts import Interval, Point, Series
from .document import Picture, Section, Terms, Text
from .sections import path_words

SECTIONS = (  # title, anchor and the metrics that it shows
    ("By layer", "profiles", ("rel_l2", "eta", "quantiles", "first")),
    ("Against the bounds", "distributions", ("rel_l2", "one_minus_cos", "headroom", "first")),
    ("Along the depth", "depth", ("drift", "eta", "growth", "quantiles", "first")),
    ("Rates and their limits", "rates-plotted", ("mean_kl", "p99_kl", "flip_rate", "ppl_ratio", "upper")),
    ("Over K", "sweep", ("k", "rel_l2", "quantiles", "kl", "top1", "touched", "seconds")),
    ("Accuracy against cost", "cost", ("rel_l2", "quantiles", "touched", "seconds", "bucket")),
)
KEYS = {
    "profiles": "Blue: half (line) or 95 % (dashes) of the positions after the first lie below. Orange: the largest of them. Purple dots: the "
                "largest at position 0. Dotted: the bound. Crosses at the top: values that are not finite. Charts of one bucket have one scale.",
    "distributions": "Blue area: positions after the first; purple line: position 0; dashed: the bound.",
    "depth": "Drift: blue, half (line) and largest (dashes); purple dots, position 0; orange dashes, η of the layer alone. Growth: half (line) and "
             "95 % (dashes) of the positions lie below; dotted: 1, neither more nor less.",
    "rates-plotted": "Dot: value ± standard error; bar: upper 95 % limit; diamond: the bound on the limit.",
}
RATES = (("mean_kl", True, charts.tick_text), ("p99_kl", True, charts.tick_text),
         ("flip_rate", False, lambda value: f"{100 * value:.3g} %"), ("ppl_ratio", False, lambda value: f"{value:.4g}"))


def build(document, surveys):
    """[Section] of those that have a chart."""
    ran = [at for at, case in enumerate(document["cases"]) if "extremes" in case]
    if not ran or not document["size"]["layers"]:
        return []
    makers = {"profiles": profiles, "distributions": distributions, "depth": depth, "rates-plotted": rates, "sweep": over_k, "cost": cost}
    out = []
    for title, anchor, named in SECTIONS:
        pictures = [picture for picture in makers[anchor](document, surveys, ran) if picture.svg]
        if pictures:
            words = [Text(KEYS[anchor])] if anchor in KEYS else []
            out.append(Section(title, anchor, [Terms(metrics.explain(*named)), *words, *pictures]))
    return out


def name_of(document, at):
    return text.plain(document["cases"][at]["name"])


def scales(document, ran, series_of):
    """{case: the common y scale of the cases of its bucket}."""
    buckets = {}
    for at in ran:
        buckets.setdefault(document["cases"][at]["bucket"], []).append(at)
    out = {}
    for cases in buckets.values():
        scale = charts.y_scale([series_of(at) for at in cases])
        out.update({at: scale for at in cases})
    return out


def small(document, ran, series_of, title, what, bound_of=lambda at: None):
    """A chart over layers of each case that ran."""
    held = scales(document, ran, lambda at: [*series_of(at), Series("bound", [bound_of(at)])])
    layers = list(range(document["size"]["layers"]))
    for at in ran:
        series = series_of(at)
        name = name_of(document, at)
        yield Picture(charts.lines(series, layers, held[at], "layer", f"{what} of {name} over the layers. The table of the case holds the numbers.",
                                   bound_of(at)), f"{name}: {title}", "", "", (at,))


def gaps(values):
    """NaN of a survey means that there is no such position: a gap, and no value that is not finite."""
    return [None if math.isnan(value) else float(value) for value in values]


def profiles(document, surveys, ran):
    for name in ("rel_l2", "eta"):
        def series(at, name=name):
            survey = surveys[at, name]
            worst = [math.inf if lost else value for value, lost in zip(gaps(survey.rest), survey.nonfinite)]
            return [Series("p50", gaps(survey.p50)), Series("p95", gaps(survey.p95), "blue", "dash"), Series("max", worst, "orange"),
                    Series("position 0, max", gaps(survey.first), "purple", "dots")]
        symbol = metrics.axis(name)
        bound = (lambda at: document["cases"][at]["bounds"]["rel_l2"]) if name == "rel_l2" else lambda at: None
        yield from small(document, ran, series, symbol, f"{symbol}: median, 95th percentile and largest", bound)


def depth(document, surveys, ran):
    def drifts(at):
        drift, eta = surveys[at, "drift"], surveys[at, "eta"]
        return [Series("drift, p50", gaps(drift.p50)), Series("drift, max", gaps(drift.rest), "blue", "dash"),
                Series("η, p50", gaps(eta.p50), "orange", "dash"), Series("drift at position 0, max", gaps(drift.first), "purple", "dots")]

    def growths(at):
        found = surveys[at, "growth"]
        return [Series("growth, p50", gaps(found.p50)), Series("growth, p95", gaps(found.p95), "blue", "dash")]
    yield from small(document, ran, drifts, "drift and η", "Drift of the residual stream and η")
    yield from small(document, ran, growths, "growth", "What each layer makes of an error", lambda at: 1.0)


def distributions(document, surveys, ran):
    for at in ran:
        case = document["cases"][at]
        for name, bound, room in (("rel_l2", case["bounds"]["rel_l2"], case["headroom"]["rel_l2"]),
                                  ("one_minus_cos", None if case["bounds"]["cos"] is None else 1.0 - case["bounds"]["cos"],
                                   case["headroom"]["cos"])):
            survey, symbol = surveys[at, name], metrics.axis(name)
            groups = [("positions after the first", survey.histogram["rest"].tolist(), "blue", True),
                      ("position 0", survey.histogram["first"].tolist(), "purple", False)]
            words = f"Shares of the positions of {name_of(document, at)} over {symbol}, and the bound. The tables hold the extremes."
            yield Picture(charts.histogram(stats.EDGES.tolist(), groups, bound, symbol, words, zero_words(survey)),
                          f"{name_of(document, at)}: {symbol}", "",
                          "no bound" if bound is None else f"headroom {text.decades(room)}", (at,))


def zero_words(survey):
    zeros = survey.zeros["rest"] + survey.zeros["first"]
    counted = int(survey.histogram["rest"].sum() + survey.histogram["first"].sum())
    lost = int(survey.nonfinite.sum())
    words = [] if not zeros else ["exactly 0 everywhere"] if not counted and not lost else [f"{100 * zeros / (zeros + counted + lost):.0f} % exactly 0"]
    return ", ".join(words + ([f"{lost} not finite"] if lost else []))


def rates(document, surveys, ran):
    rated = [at for at in ran if document["cases"][at]["rates"]]
    for name, log, form in RATES if rated else ():
        rows = [Interval(name_of(document, at), *(document["cases"][at]["rates"][name][key] for key in ("value", "error", "upper", "bound")),
                         (at,)) for at in rated]
        symbol = metrics.axis(name)
        far = name == "ppl_ratio" and max((row.value for row in rows if math.isfinite(row.value)), default=1) > 10
        yield Picture(charts.intervals(rows, symbol, f"{symbol} of each case with its standard error, upper limit and bound. The table of rates "
                                       "holds the numbers.", form, log or far), symbol, "")


# --- Over K, and against cost


def curves(cases):
    """{(vindex, path): [index by K]} of the cases with a K; one point is a curve too."""
    groups = {}
    for at, case in enumerate(cases):
        if case["k"] is not None and "extremes" in case:
            groups.setdefault((case["vindex"] or "", case["path"]), []).append(at)
    return {key: sorted(found, key=lambda at: cases[at]["k"]) for key, found in groups.items()}


def over_k(document, surveys, ran):
    cases = document["cases"]
    groups = curves(cases)
    ks = sorted({cases[at]["k"] for found in groups.values() for at in found})
    quantities = [("rel_L2, p50", lambda case: case["rel_l2"]["p50"]), ("rel_L2, p95", lambda case: case["rel_l2"]["p95"]),
                  ("largest KL of a prompt [nat]", lambda case: (case["next_token"]["kl"] or {}).get("value")),
                  ("share of flipped next tokens", findings.share),
                  ("MB touched by a position", lambda case: case["cost"]["touched"] / 1e6 if case["cost"].get("touched") else None),
                  ("seconds in the FFN", lambda case: case["cost"]["seconds"])]
    for title, pick in quantities if ks else ():
        series = []
        for number, ((vindex, path), found) in enumerate(groups.items()):
            own = {cases[at]["k"]: pick(cases[at]) for at in found}
            series.append(Series(f"{vindex}:{path}" if vindex else path, [own.get(k) for k in ks], charts.COLORS[number % len(charts.COLORS)],
                                 about=tuple(found)))
        if any(value is not None for one in series for value in one.values):
            names = ", ".join(f"{one.color} {text.plain(one.name)}" for one in series)
            yield Picture(charts.lines(series, ks, charts.y_scale([series]), "K: features taken per position",
                                       f"{title} over K, a line for each of: {names}. The tables hold the numbers.", x_log=len(ks) > 1,
                                       x_ticks=spaced(ks)), title, "", names)


def spaced(ks, most=7):
    return [(k, str(k)) for k in ks[::max(1, -(-len(ks) // most))]]


BUCKETS = ("exact", "quantized", "fp4", "approximate")


def look(bucket):
    at = BUCKETS.index(bucket) if bucket in BUCKETS else len(BUCKETS)
    return charts.COLORS[at], charts.SHAPES[at % len(charts.SHAPES)]


def cost(document, surveys, ran):
    cases = document["cases"]
    groups = [[ran.index(at) for at in found] for found in curves(cases).values()]
    for label, title, pick in (("MB read or touched per position", "bytes", bytes_of), ("seconds in the FFN", "seconds", lambda case: case["cost"]["seconds"])):
        points = []
        for at in ran:
            case, p95 = cases[at], cases[at]["rel_l2"]["p95"]
            points.append(Point(pick(case), math.nan if p95 is None else p95, name_of(document, at), *look(case["bucket"]),
                                f"{case['verdict']}, {label} {pick(case):.3g}, rel_L2 p95 {text.figure(p95)}, {findings.brief(case)}", (at,), f"#case-{at}"))
        used = [bucket for bucket in BUCKETS if any(cases[at]["bucket"] == bucket for at in ran)]
        key = ", ".join(f"{bucket}: {' '.join(look(bucket))}" for bucket in used)
        yield Picture(charts.scatter(points, label, "rel_L2, p95", f"The 95th percentile of rel_L2 of each case over {label}, with its name. The table "
                                     "of costs holds the numbers.", groups), f"Accuracy against {title}", "", f"{key}. Lines join the K of one path.")


def bytes_of(case):
    """Megabytes of weights that a position needs: those touched where the file knows them."""
    return (case["cost"].get("touched") or case["cost"]["bytes"]) / 1e6

