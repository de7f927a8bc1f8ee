"""Report on results: for each one a Markdown file, a JSON document and an HTML page that needs nothing else.

The page shows the verdicts first, then plots, then every case by prompt and by layer. Verdicts, reasons and bounds
are those of the file; --bounds also asks `walkaudit verdict` to judge by others.
"""
import pathlib

from .. import binary, compat_larql, explorer, facts, markdown, metrics, output, page, pictures, say, sections, text
from ..document import Maps, Section, Terms
from ..errors import OK, VERDICT, UsageFailure
from ..progress import Progress
from ..result import open_result

NAME, HELP = "report", "Markdown, JSON and an HTML page of each result"

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
        raise UsageFailure("--compat and --bounds exclude each other; for LARQL's bounds, run the job with 'bounds: larql'")
    if args.prompts < 1:
        raise UsageFailure(f"--prompts is {args.prompts}, expected 1 or more")
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
        raise UsageFailure(f"two results are called '{min(twice)}', and so would be their reports: report each by itself, with its own -o")
    return names


def report(result, folder, name, args, program):
    """Write the three files; True when no case fails and one ran."""
    document, surveys = facts.build(result, args.prompts)
    judged = binary.ask(program, "verdict", result.path, "--bounds", args.bounds)[1] if program else ""
    plots = [] if args.no_plots else plot_sections(result, document, surveys, args.prompts)
    shown = sections.build(document, plots, judged)
    for suffix, content in (("json", facts.to_json(document)), ("md", markdown.render(shown)),
                            ("html", page.render(shown))):
        output.write(folder / f"{name}.{suffix}", content)
        say.made(folder / f"{name}.{suffix}")
    return document["summary"]["success"]


def report_compat(result, folder, name):
    """LARQL's pair of files for each vindex; True when no case fails and one ran."""
    with Progress("reading", len(result.cases)) as bar:
        documents = {vindex: compat_larql.build(result, at, bar.step) for at, vindex in enumerate(text.slugs(result.vindexes))}
    semantics, bounds = result.attribute("semantics"), result.attribute("bounds_name")
    if semantics not in compat_larql.SEMANTICS or bounds != "larql":
        say.note(f"'{result.path}' was made with semantics {semantics}, bounds {bounds}; LARQL's own figures take semantics "
                 f"{' or '.join(compat_larql.SEMANTICS)}, and bounds larql")
    for vindex, document in documents.items():
        stem = f"walk_path_audit_{name}_{vindex}"
        for suffix, content in (("json", compat_larql.to_json(document)), ("md", compat_larql.to_markdown(document))):
            output.write(folder / f"{stem}.{suffix}", content)
            say.made(folder / f"{stem}.{suffix}")
    verdicts = {path["verdict"] for document in documents.values() for path in document["paths"]}
    return verdicts == {"pass"}


def plot_sections(result, document, surveys, prompt_limit):
    """Charts, and before the costs the maps of all cases that ran on the prompts shown."""
    found = pictures.build(document, surveys)
    ran = [at for at, case in enumerate(document["cases"]) if "extremes" in case]
    data = explorer.build(result, facts.choose_prompts(result, prompt_limit), ran)
    if data is None:
        return found
    named = [quantity["name"] for quantity in data["quantities"]]
    blocks = [Terms(metrics.explain(*named, "first")), Maps(data, map_words(data, document))]
    return [*found[:-1], Section("By layer and position", "maps", blocks), *found[-1:]]


def map_words(data, document):
    left = f" Not shown: {text.plural(document['prompts_left_out'], 'prompt')} of smaller KL." if document["prompts_left_out"] else ""
    step = f" From position 1 on, a column is the largest of {data['step']} positions." if data["step"] > 1 else ""
    return f"One colour scale for all cases shown; values are known to four per cent.{step}{left} 'walkaudit-report plot' draws every map as a file."
