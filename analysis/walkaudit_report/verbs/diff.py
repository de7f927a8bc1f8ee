"""Compare a result with an older one of the same inputs: has anything become worse?

First, per case and layer, whether all is equal bit for bit. Then what changed: kernels and encoding, where a change of the
program shows first, and fidelity; per layer the largest and the median observation, per case the next tokens. A figure
is worse when it is more than --factor times the old one and above the rounding of f32. A changed program (BLAS core,
numeric version) is noted; changed inputs are refused. Exit code 1: something is worse, or a verdict now fails.
"""
import dataclasses

from .. import answer, compare, plain, text
from ..errors import OK, VERDICT, Failure, UsageFailure
from ..facts import SUCCESS
from ..progress import Progress
from ..result import open_result

LISTED = 8  # fingerprints named in a message
MOVERS = 3  # changes listed of a kind of which none is worse
NAME, HELP = "diff", "what changed between two results of the same inputs, and what became worse"


def add_arguments(parser):
    parser.add_argument("old", metavar="OLD.h5", help="the result to compare with")
    parser.add_argument("new", metavar="NEW.h5", help="the result to be judged")
    parser.add_argument("--factor", type=float, default=1.5, metavar="F",
                        help="a figure more than F times the old one is worse (default: %(default)s)")
    parser.add_argument("-n", "--rows", type=int, default=12, metavar="N", help="changes listed of a kind (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="compare the common cases of results of different inputs")
    parser.add_argument("--json", action="store_true", help="print JSON, schema walkaudit.diff")


def run(args):
    if not args.factor >= 1:
        raise UsageFailure(f"--factor is {args.factor:g}, expected 1 or more")
    if args.rows < 1:
        raise UsageFailure(f"--rows is {args.rows}, expected 1 or more")
    with open_result(args.old) as old, open_result(args.new) as new:
        return diff(old, new, args)


def diff(old, new, args):
    inputs, program = compare.different_inputs(old, new)
    if inputs and not args.force:
        raise Failure(f"'{old.path}' and '{new.path}' are of different inputs", detail=f"{describe(inputs)}; --force compares their common cases")
    compare.check_shapes(old, new)
    found = compare.pairs(old, new)
    if not found:
        raise Failure(f"'{old.path}' and '{new.path}' have no case in common", detail="; ".join(
            f"cases of the {name}: {', '.join(result.cases) or 'none'}" for name, result in (("old", old), ("new", new))))
    dense = compare.compare_dense(old, new)
    changes = compare.compare_encoding(old, new)
    with Progress("comparing", len(found)) as bar:
        for pair in found:
            changes += compare.compare_case(old, new, pair) + compare.compare_next_tokens(old, new, pair)
            bar.step(pair.name)
    verdicts = compare.verdict_changes(old, new, found)
    worse = [change for change in changes if change.ratio > args.factor]
    fallen = [item for item in verdicts if item[1] in SUCCESS and item[2] not in SUCCESS]
    code = VERDICT if worse or fallen else OK
    if args.json:
        differing = {"inputs": inputs, "program": program}
        answer.print_json("diff", 1, {"old": str(old.path), "new": str(new.path), "factor": args.factor, "exit_code": code,
                                      **document(differing, dense, found, changes, verdicts, args)})
        return code
    lines = head(old, new, inputs, program) + bit_lines([dense, *found])
    for group, title in compare.GROUPS.items():
        lines += group_lines(title, [change for change in changes if change.group == group], args)
    lines += verdict_lines(verdicts) + summary_lines([dense, *found], worse, fallen, args)
    print("\n".join(lines))
    return code


def document(differing, dense, found, changes, verdicts, args):
    """doc/json.md, walkaudit.diff 1; every change is listed."""
    return {**{f"different_{of}": [dict(zip(("name", "old", "new"), item)) for item in items] for of, items in differing.items()},
            "cases": [{"case": pair.name, "equal": pair.all_equal(), "next_tokens_equal": pair.tokens_equal,
                       "differing_layers": [layer for layer, equal in enumerate(pair.equal) if not equal]} for pair in (dense, *found)],
            "changes": [{**dataclasses.asdict(change), "layer": change.layer if change.layer >= 0 else None,
                         "worse": change.ratio > args.factor} for change in changes],
            "verdicts": [{"case": name, "old": before, "new": after, "fails_now": before in SUCCESS and after not in SUCCESS,
                          "reason": reason} for name, before, after, reason in verdicts]}


def describe(items):
    """Fingerprints that differ; of those that are words also what differs in them."""
    told = []
    for key, one, other in items:
        if any(value.startswith(("quick:", "sha256:")) or value == "none" for value in (one, other)):
            told.append(key)
        else:
            told.append(f"{key} ({' and '.join(alone(one, other))})")
    return "; ".join(told[:LISTED]) + (f"; {len(told) - LISTED} more" if len(told) > LISTED else "")


def alone(one, other):
    """Of two lists in words, what stands in one of them only."""
    mark = ", " if ", " in one + other else " "
    mine, theirs = one.split(mark), other.split(mark)
    return [", ".join(word for word in these if word not in those) or "none of these" for these, those in ((mine, theirs), (theirs, mine))]


def head(old, new, inputs, program):
    lines = [f"old: {old.path}, {old.attribute('source')}", f"new: {new.path}, {new.attribute('source')}"]
    lines += [f"different inputs (--force): {describe(inputs)}"] if inputs else []
    lines += [f"different program: {describe(program)}"] if program else []
    for one, other, word in ((old, new, "old"), (new, old, "new")):
        rest = [name for name in one.cases if name not in other.cases]
        lines += [f"only in {word}: {', '.join(rest)}"] if rest else []
    return lines


def bit_lines(found):
    """found: the dense model first."""
    rows = []
    for pair in found:
        same = [layer for layer, equal in enumerate(pair.equal) if equal]
        other = [layer for layer, equal in enumerate(pair.equal) if not equal]
        rows.append((pair.name, f"{len(same)} of {len(pair.equal)}", plain.ranges(other) or "none",
                     "equal" if pair.tokens_equal else "differ",
                     f"L{other[0]}: {', '.join(pair.differing[other[0]])}" if other else ""))
    lines = ["", "Equal bit for bit", *plain.table(("case", ">layers", "layers that differ", "next tokens", "first that differs"), rows)]
    if not found[0].all_equal():
        lines.append("the dense model itself differs: every case is compared with something else")
    return lines


def group_lines(title, changes, args):
    """The worst first; where nothing is worse the few figures that moved most, up or down; and how much got better."""
    if not changes:
        return ["", title, "all equal"]
    worse = sorted((change for change in changes if change.ratio > args.factor), key=lambda change: -change.ratio)
    movers = sorted(changes, key=lambda change: -max(change.ratio, 1 / max(change.ratio, 1e-300)))
    better = sum(change.ratio < 1 / args.factor for change in changes)
    shown = worse[:args.rows] if worse else movers[:min(MOVERS, args.rows)]
    lines = ["", title, *plain.table(("measure", "of", "where", ">old", ">new", ">times"), [row(change) for change in shown])]
    hidden = len(worse) - len(shown) if worse else 0
    notes = [f"{hidden} more are worse"] if hidden > 0 else []
    notes += [] if worse else [f"none is worse than {args.factor:g} times; shown is what moved most"]
    notes += [f"{text.plural(better, 'figure')} better by more than {args.factor:g}"] if better else []
    return lines + ([f"({'; '.join(notes)})"] if notes else [])


def row(change):
    times = "∞" if change.ratio == float("inf") else f"{change.ratio:.4g}"
    return change.measure, change.case, change.where, text.figure(change.old), text.figure(change.new), times


def verdict_lines(verdicts):
    if not verdicts:
        return ["", "Verdicts: unchanged"]
    return ["", "Verdicts", *(f"{name}: {before} → {after}" + (f": {reason}" if reason else "")
                              for name, before, after, reason in verdicts)]


def summary_lines(found, worse, fallen, args):
    first = min(((pair.equal.index(False), pair.name) for pair in found if False in pair.equal), key=by_layer, default=None)
    layers = [(change.layer, change.case) for change in worse if change.layer >= 0 and change.group != "encoding"]
    lines = ["", f"first layer that differs: L{first[0]} ({first[1]})" if first else
             "no observation differs in any bit" if all(pair.all_equal() for pair in found) else
             "no layer differs in any bit, but next tokens do"]
    if layers:
        lines.append(f"first layer that is worse: L{min(layers, key=by_layer)[0]} ({min(layers, key=by_layer)[1]})")
    verdict = f", {text.plural(len(fallen), 'verdict')} now failing" if fallen else ""
    lines.append(f"{text.plural(len(worse), 'figure')} worse than {args.factor:g} times{verdict}; exit code "
                 f"{VERDICT if worse or fallen else OK}")
    return lines


def by_layer(found):
    return found[0]
