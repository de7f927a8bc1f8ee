"""Propose bounds from results: measure first, then tighten.

The worst cosine, rel_L2 and |dP| and the upper limits of rates of each bucket, with headroom, as a bounds file whose comments are the evidence. It is
written only if `walkaudit verdict` takes it: a pair that contradicts itself is refused. Nothing takes effect by itself:
`walkaudit verdict RESULT.h5 --bounds FILE` judges by it, and a job with `bounds: FILE`.
"""
import contextlib
import pathlib
import tempfile

from .. import binary, output, say, text, tighten
from ..errors import OK, Failure, UsageFailure
from ..result import open_result

LEAST_FACTOR = 1.1  # less would be lost in rounding
NAME, HELP = "tighten", "propose a bounds file from what was measured, with the evidence"


def add_arguments(parser):
    parser.add_argument("results", nargs="+", metavar="RESULT.h5", help="finished result files")
    parser.add_argument("-o", "--output", required=True, metavar="BOUNDS.yaml", help="the bounds file")
    parser.add_argument("--rule", choices=list(tighten.FLOORS), default="native", help="how (default: %(default)s)")
    parser.add_argument("--factor", type=float, metavar="F", help="headroom in rel_L2 (default: 4; rule native only)")
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="PATTERN", help="only cases whose name is like one of these, such as 'q4k*'")
    parser.add_argument("--accept-failing", action="store_true", help="take cases as evidence that fail BOUND, TOP-1, DELTA-P or RATE under "
                        "the bounds of their own result")


def run(args):
    factor = tighten.LARQL_FACTOR if args.factor is None else args.factor
    if args.rule == "larql" and args.factor is not None or not LEAST_FACTOR <= factor <= 1000:
        raise UsageFailure(f"--factor is {factor:g} with rule {args.rule}, expected {LEAST_FACTOR:g} to 1000 with rule native")
    program = binary.find(args.beside)
    with contextlib.ExitStack() as stack:
        results = [stack.enter_context(open_result(path)) for path in args.results]
        found, left_out = tighten.measure(results, args.rule, args.accept_failing, args.cases)
        if not found:
            raise Failure("nothing to measure", ", ".join(f"'{path}'" for path in args.results),
                          f"found {left_out[0] if left_out else 'no case'}, expected a case that computes what it should")
        content = tighten.render(found, left_out, args.rule, factor, [f"{result.path.name}: {describe(result)}" for result in results])
    check(program, args.results[0], content)
    target = pathlib.Path(args.output)
    output.folder(target.parent)
    output.write(target, content)
    say.made(content.removesuffix("\n"))
    for name, bucket in found.items():
        if bucket.n < tighten.FEW:
            say.note(f"{name} rests on {bucket.n} distinct observations, fewer than {tighten.FEW}")
    return OK


def describe(result):
    """What a result is evidence of: the model and the fingerprint of its weights."""
    prints = [value for key, value in result.fingerprints().items() if key.startswith("model: ")]
    return text.plain(f"{result.attribute('model_path')}, {result.attribute('semantics')}, {' '.join(mark[:22] for mark in prints[-1:])}")


def check(program, path, content):
    """`walkaudit verdict` knows what a bounds file may say."""
    with tempfile.TemporaryDirectory() as folder:
        draft = pathlib.Path(folder) / "bounds.yaml"
        draft.write_text(content, encoding="utf-8")
        try:
            binary.ask(program, "verdict", path, "--bounds", draft)
        except Failure as failure:
            raise Failure("the proposed bounds are refused", f"'{path}'", failure.parts[2] or failure.parts[0]) from None
