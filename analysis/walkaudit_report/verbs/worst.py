"""List the worst observations of a result, with their token, its neighbours and the norms at the place.

First positions stand apart: they hold the same token in every prompt, and often an outlier of the residual stream. The
list says where to look first; by itself it names no cause.
"""
import math

from .. import answer, plain, text, worst
from ..errors import OK, Failure, UsageFailure, hint
from ..metrics import METRICS, NOT_A_CAUSE
from ..progress import Progress
from ..result import open_result

NAME, HELP = "worst", "the worst observations of a result, each with token, context and norms"
CONTEXT = 3  # tokens before the place, and 1 after
TITLES = {"rest": "After the first position", "first": "First positions", "next": "Next tokens", "flipped": "Tokens that flipped"}


def add_arguments(parser):
    parser.add_argument("result", metavar="RESULT.h5", help="a finished result file")
    parser.add_argument("-n", "--rows", type=int, default=20, metavar="N", help="observations listed (default: %(default)s)")
    parser.add_argument("--by", choices=list(worst.ORDERS), default="rel_l2", help="what ranks them (default: %(default)s)")
    parser.add_argument("--case", action="append", metavar="CASE", help="only these cases (may be repeated)")
    parser.add_argument("--json", action="store_true", help="print JSON, schema walkaudit.worst")


def run(args):
    if args.rows < 1:
        raise UsageFailure(f"-n is {args.rows}, expected 1 or more")
    with open_result(args.result) as result:
        cases = choose_cases(result, args.case)
        with Progress("reading", len(cases)) as bar:
            lists = worst.rank(result, args.by, cases, args.rows, bar.step)
        if args.json:
            answer.print_json("worst", 1, document(result, args.by, lists))
        else:
            print("\n".join(render(result, args.by, lists)))
    return OK


def document(result, by, lists):
    """doc/json.md, walkaudit.worst 1"""
    return {"result": str(result.path), "by": worst.ORDERS[by],
            "lists": [{"list": kind, "places": [place_object(result, by, item) for item in found]} for kind, found in lists.items()]}


def place_object(result, by, item):
    place = {"case": result.cases[item.case], "prompt": item.place.key, "position": item.place.position, "token": item.place.token,
             "context": context(result, item.place), "value": item.value}
    if by == "kl":
        said = worst.said(item)
        return {**place, "dense_token": said["dense"], "dense_probability": said["dense_p"], "case_token": said["case"],
                "case_probability": said["case_p"], "margin": said["margin"]}
    return {**place, "layer": item.place.layer, **item.figures, **dict(zip(worst.NORMS, item.norms)), "remark": worst.remark(item)}


def choose_cases(result, names):
    unknown = [name for name in names or [] if name not in result.cases]
    if unknown:
        raise UsageFailure(f"no case '{text.plain(unknown[0])}'{hint(unknown[0], result.cases)}", f"'{result.path}'")
    ran = [case for case in range(len(result.cases)) if result.words("verdict")[case] != "NOT-RUN"]
    chosen = [case for case in ran if not names or result.cases[case] in names]
    if not chosen:
        raise Failure("no case ran, so there is nothing to list", f"'{result.path}'")
    return chosen


def render(result, by, lists):
    metric = METRICS[worst.ORDERS[by]]
    lines = [f"{result.path.name}: the largest {metric.symbol}. {metric.sentence}"]
    for kind, found in lists.items():
        lines += ["", TITLES[kind]]
        lines += render_list(result, by, kind, found) if found else ["none"]
    return lines + ["", NOT_A_CAUSE]


def render_list(result, by, kind, found):
    if kind in ("next", "flipped"):
        rows = [(result.cases[item.case], f"{text.plain(item.place.key)}/{item.place.position}", text.figure(item.value),
                 item.says[0][0], text.probability(item.says[0][1]), item.says[1][0], text.probability(item.says[1][1]),
                 f"{item.says[2]:.3f}", context(result, item.place)) for item in found]
        return plain.table(("case", "prompt/position", f">{METRICS['kl'].symbol}", "dense next token", ">p", "the case's", ">p",
                            ">margin", "context"), rows)
    others = [name for name in worst.SHOWN if name != worst.ORDERS[by]]
    titles = ["case", ">layer", "prompt/position", f">{METRICS[worst.ORDERS[by]].symbol}",
              *(f">{METRICS[name].symbol}" for name in others), ">|x|", ">|y|", ">|h|", "context", "remark"]
    rows = []
    for item in found:
        rows.append((result.cases[item.case], item.place.layer, f"{text.plain(item.place.key)}/{item.place.position}",
                     text.figure(item.value), *(figure(item, name) for name in others),
                     *(text.figure(value) for value in item.norms), context(result, item.place), worst.remark(item)))
    return plain.table(titles, rows) + ["|x|, |y|, |h|: norms of the FFN input, the dense output, the residual stream after the layer"]


def figure(item, name):
    """kernel_rel_l2 is there at some positions only; elsewhere NaN is a value that is no number."""
    value = item.figures[name]
    return text.ABSENT if name == "kernel_rel_l2" and math.isnan(value) else text.figure(value)


def context(result, place):
    """The tokens around a place, its own in brackets."""
    start, stop = int(result.starts[place.prompt]), int(result.starts[place.prompt + 1])
    first, last = max(place.obs - CONTEXT, start), min(place.obs + 2, stop)
    tokens = [text.visible(str(token), 24) for token in result.read("token_text", slice(first, last))]
    at = place.obs - first
    before, after = "".join(tokens[:at]), "".join(tokens[at + 1:])
    return f"{'…' if first > start else ''}{before}[{tokens[at]}]{after}{'…' if last < stop else ''}"

