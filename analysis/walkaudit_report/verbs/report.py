"""Report on results: for each one a Markdown file, a JSON document and an HTML page that needs nothing else.

The page shows the verdicts first, then plots, then every case by prompt and by layer. Verdicts, reasons and bounds
are those of the file; --bounds also asks `walkaudit verdict` to judge by others.
"""
import pathlib
import sys

from .. import binary, compat_larql, facts, figures, markdown, metrics, output, page, sections, text
from ..document import Picture, Section, Terms, Text
from ..errors import OK, VERDICT, UsageFailure
from ..progress import Progress
from ..result import open_result

NAME, HELP = "report", "Markdown, JSON and an HTML page of each result"
NEXT = 3  # prompts of which the page shows the KL of every position
MAPS = 8  # cases of which the page shows a map; `plot` draws all

SECTIONS = {  # of plots, in order: title and the metrics that they show
    "profiles": ("By layer", ("rel_l2", "eta", "quantiles", "first")),
    "distributions": ("Against the bounds", ("rel_l2", "one_minus_cos", "headroom", "first")),
    "depth": ("Along the depth", ("drift", "eta", "growth", "quantiles", "first")),
    "rates-plotted": ("Rates and their limits", ("mean_kl", "p99_kl", "flip_rate", "ppl_ratio", "upper")),
    "next": ("Next tokens by position", ("obs_kl",)),
    "sweep": ("Over K", ("k", "rel_l2", "quantiles", "kl", "top1", "seconds")),
    "maps": ("By layer and position", ("rel_l2", "one_minus_cos", "first")),
    "cost": ("Accuracy against cost", ("rel_l2", "quantiles", "bytes", "seconds", "bucket")),
}


def add_arguments(parser):
    parser.add_argument("results", nargs="+", metavar="RESULT.h5", help="finished result files")
    parser.add_argument("-o", "--output", default=".", metavar="DIR", help="where the files go (default: here)")
    parser.add_argument("--bounds", metavar="FILE|NAME", help="also judge by these bounds, with walkaudit verdict")
    parser.add_argument("--prompts", type=int, default=40, metavar="N",
                        help="prompts listed, those with the largest KL (default: %(default)s)")
    parser.add_argument("--compat", choices=["larql"], help="LARQL's own Markdown and JSON instead, a pair per vindex: "
                        "walk_path_audit_RESULT_VINDEX")
    parser.add_argument("--no-plots", action="store_true", help="tables only")


def run(args):
    if args.compat and args.bounds:
        raise UsageFailure("--compat and --bounds exclude each other", "on the command line",
                           "found both, expected a result of a job with 'bounds: larql'")
    if args.prompts < 1:
        raise UsageFailure("--prompts must be at least 1", "on the command line", f"found {args.prompts}")
    names = output_names(args.results)
    program = binary.find(args.beside) if args.bounds else None
    folder = output.folder(args.output)
    code = OK
    for path, name in zip(args.results, names):
        with open_result(path) as result:
            if args.compat:
                success = report_compat(result, folder, name)
            else:
                success = report(result, folder, name, args, program)
        code = code if success else VERDICT
    return code


def output_names(paths):
    """The stem of each result; two results of one stem would overwrite each other."""
    names = [pathlib.Path(path).stem for path in paths]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageFailure(f"two results are called '{min(twice)}'", "on the command line",
                           "found one name for two reports, expected a run with -o for each")
    return names


def report(result, folder, name, args, program):
    """Write the three files; True when no case fails and one ran."""
    document, surveys = facts.build(result, args.prompts)
    judged = binary.ask(program, "verdict", result.path, "--bounds", args.bounds)[1] if program else ""
    plots = [] if args.no_plots else plot_sections(result, document, surveys)
    shown = sections.build(document, plots, judged)
    for suffix, content in (("json", facts.to_json(document)), ("md", markdown.render(shown)),
                            ("html", page.render(shown))):
        output.write(folder / f"{name}.{suffix}", content)
        print(folder / f"{name}.{suffix}")
    return document["summary"]["success"]


def report_compat(result, folder, name):
    """LARQL's pair of files for each vindex; True when no case fails and one ran."""
    with Progress("reading", len(result.cases)) as bar:
        documents = {vindex: compat_larql.build(result, at, bar.step) for at, vindex in enumerate(text.slugs(result.vindexes))}
    others = [f"{key} {result.attribute(attribute)}" for key, attribute in (("semantics", "semantics"), ("bounds", "bounds_name"))
              if result.attribute(attribute) != "larql"]
    if others:
        print(f"walkaudit-report: note: '{result.path}' was made with {', '.join(others)}; LARQL's own report has larql",
              file=sys.stderr)
    for vindex, document in documents.items():
        stem = f"walk_path_audit_{name}_{vindex}"
        for suffix, content in (("json", compat_larql.to_json(document)), ("md", compat_larql.to_markdown(document))):
            output.write(folder / f"{stem}.{suffix}", content)
            print(folder / f"{stem}.{suffix}")
    verdicts = {path["verdict"] for document in documents.values() for path in document["paths"]}
    return verdicts == {"pass"}


def plot_sections(result, document, surveys):
    pairs = map_pairs(document, result)
    found = {key: [] for key in SECTIONS}
    number = 0
    with Progress("drawing", 12 + len(pairs)) as bar:
        for plots in (figures.overviews(document, surveys), figures.next_tokens(result, document, next_prompts(result)),
                      figures.maps(result, document, pairs)):
            for plot in plots:
                found[plot.section].append(Picture(figures.style.to_svg(plot.figure, f"p{number}"), plot.title, plot.alt,
                                                    plot.note))
                number += 1
                bar.step(plot.title)
    out = []
    for key, (title, named) in SECTIONS.items():
        if found[key]:
            words = [Terms(metrics.explain(*named))]
            more = [Text(f"One map for each of {len(pairs)} cases, on the prompt where its rel_L2 after the first position is "
                         "largest; 'walkaudit-report plot' draws every case and prompt.")] if key == "maps" else []
            out.append(Section(title, key, words + more + found[key]))
    return out


def next_prompts(result):
    """The prompts with the largest KL in any case, in the job's order."""
    return facts.choose_prompts(result, NEXT)


def map_pairs(document, result):
    """(case, prompt) of the maps: each case at the prompt of its largest rel_L2 after the first position."""
    pairs = []
    for at, case in enumerate(document["cases"]):
        extremes = case.get("extremes")
        worst = extremes and (extremes["rest"]["max_rel_l2"] or extremes["all"]["max_rel_l2"])
        if worst and document["size"]["layers"]:
            pairs.append((at, result.place(worst["layer"], worst["obs"]).prompt))
    return pairs[:MAPS]
