"""Plot results: every figure of the report as a file of its own, and a map of every case and prompt.

Names: RESULT-profile-rel_l2.png, RESULT-distribution.png, RESULT-depth.png, RESULT-growth.png, RESULT-sweep.png
(with cases of several K), RESULT-cost.png, RESULT-map-CASE-PROMPT.png; with `logits: all` also RESULT-rates.png and RESULT-next-PROMPT.png.
The same file gives the same bytes.
"""
from .. import facts, output, say
from ..errors import OK, Failure, UsageFailure, hint
from ..progress import Progress
from ..result import open_result
from .report import output_names

NAME, HELP = "plot", "every figure as a file: profiles, distributions, drift, maps, curves over K, costs"
MAPS = 60  # drawn unless asked for by name


def add_arguments(parser):
    parser.add_argument("results", nargs="+", metavar="RESULT.h5", help="finished result files")
    parser.add_argument("-o", "--output", default=".", metavar="DIR", help="where the files go (default: here)")
    parser.add_argument("--format", choices=("png", "svg", "pdf"), default="png", help="default: %(default)s")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="maps of this case only; may be repeated")
    parser.add_argument("--prompt", action="append", default=[], metavar="KEY",
                        help="maps of this prompt only; may be repeated")
    parser.add_argument("--positions", metavar="FIRST:LAST",
                        help="maps of these positions only, the last not included; a long prompt has a column each")
    parser.add_argument("--maps", type=int, default=MAPS, metavar="N",
                        help="maps at most, those of the largest KL first (default: %(default)s, 0: none)")


def run(args):
    from .. import figures  # loads matplotlib, which takes longer than most other verbs take as a whole
    first, last = window(args.positions)
    names = output_names(args.results)
    folder = output.folder(args.output)
    for path, name in zip(args.results, names):
        with open_result(path) as result:
            document, surveys = facts.build(result)
            if not any("extremes" in case for case in document["cases"]):
                raise Failure("no case ran, so there is nothing to draw", f"'{path}'")
            pairs = map_pairs(result, document, args)
            if len(pairs) > args.maps > 0:
                say.note(f"{args.maps} of {len(pairs)} maps of '{path}' are drawn, those of the largest KL; "
                         "--maps, --case and --prompt choose others")
            pairs = pairs[:max(args.maps, 0)]
            with Progress("drawing", 12 + len(pairs)) as bar:
                for plots in (figures.overviews(document, surveys),
                              figures.next_tokens(result, document, prompts_of(pairs), first, last),
                              figures.maps(result, document, pairs, first, last)):
                    for plot in plots:
                        save(figures.style, plot, folder / f"{name}-{plot.name}.{args.format}")
                        bar.step(plot.title)
    return OK


def save(style, plot, path):
    output.save(path, lambda temporary: style.to_file(plot.figure, temporary))
    say.made(path)


def window(words):
    """(first, last) of "FIRST:LAST"; either may be left out."""
    if words is None:
        return 0, None
    first, colon, last = words.partition(":")
    try:
        pair = int(first or 0), int(last) if last else None
    except ValueError:
        pair = (-1, None)
    if not colon or pair[0] < 0 or (pair[1] is not None and pair[1] <= pair[0]):
        raise UsageFailure(f"--positions is '{words}', expected FIRST:LAST, such as 0:64")
    return pair


def prompts_of(pairs):
    """Each prompt once, in the order of the maps."""
    return list(dict.fromkeys(prompt for _, prompt in pairs))


def map_pairs(result, document, args):
    """(case, prompt) pairs to draw, those of the largest KL first."""
    for given, known, what in ((args.case, result.cases, "case"), (args.prompt, result.prompts, "prompt")):
        for name in given:
            if name not in known:
                raise UsageFailure(f"no {what} '{name}'{hint(name, known)}", f"'{result.path}'")
    if not result.size["layer"]:
        return []
    kl = result["kl"]
    pairs = [(case, prompt) for case, name in enumerate(result.cases) for prompt, key in enumerate(result.prompts)
             if "extremes" in document["cases"][case] and result.rows(prompt)
             and (not args.case or name in args.case) and (not args.prompt or key in args.prompt)]
    pairs.sort(key=lambda pair: -kl[pair] if kl[pair] == kl[pair] else float("-inf"))
    return pairs
