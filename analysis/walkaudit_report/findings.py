"""What an audit found, vindex by vindex, in words: encoding, kernel, and what became of the predictions.

Works on cases as facts.describe_case or index.light_case give them. The verdict is always the file's: these are its words.
"""
from . import text

SUCCESS = ("PASS", "MEASURED", "UNCHECKED", "LEFT-OUT")  # verdicts that count as success
# Verdicts in the order in which walkaudit looks (src/judge/verdict.c): a case whose verdict comes later passed what comes before.
ORDER = ("NOT-RUN", "UNAUDITED", "DISPATCH", "NON-FINITE", "ENCODING", "KERNEL", "ROUTING", "BOUND", "TOP-1", "DELTA-P", "RATE", "UNCHECKED",
         "LEFT-OUT", "MEASURED", "PASS")
MEANS = {"NOT-RUN": "did not run", "UNAUDITED": "no case ran", "DISPATCH": "another kernel ran", "NON-FINITE": "outputs that are not finite",
         "ENCODING": "stored rows are wrong", "KERNEL": "the kernel computes something else",
         "ROUTING": "other experts are chosen", "BOUND": "outputs differ by more than the bounds",
         "TOP-1": "a next token changes", "DELTA-P": "a probability shifts by more than its bound", "RATE": "a rate exceeds its bound",
         "UNCHECKED": "not everything was checked", "LEFT-OUT": "left out by the job", "MEASURED": "measured, no bound", "PASS": "passes"}


NEWER = {"interleaved_q4k": "interleaved_kquant_dequant"}  # LARQL's newer names of paths


def path_word(case, path):
    """The path as the case's name has it, where that is LARQL's newer name of it."""
    newer = NEWER.get(path)
    return newer if newer in case.split(":") else path


def rank(verdict):
    """Most severe first; a verdict that this version does not know counts as severe."""
    return ORDER.index(verdict) if verdict in ORDER else -1


def kind(verdict):
    """The look of a verdict: "good", "bad", or "fair" for what succeeds without having been judged by a bound."""
    return "good" if verdict == "PASS" else "fair" if verdict in SUCCESS else "bad"


def of_vindexes(vindexes, cases):
    """[{"name", "verdict", "words", "cases"}] of described vindexes, failing ones first, else in their order; words:
    "encoding ok, kernel ok, bit for bit"; cases: indices of the vindex's own."""
    out = []
    for vindex in vindexes:
        own = [at for at, case in enumerate(cases) if case["vindex"] == vindex["name"]]
        out.append({"name": vindex["name"], "verdict": vindex["verdict"], "cases": own,
                    "words": words(vindex, [cases[at] for at in own])})
    return sorted(out, key=lambda found: (found["verdict"] in SUCCESS, rank(found["verdict"]) if found["verdict"] not in SUCCESS else 0))


def words(vindex, cases):
    ran = [case for case in cases if "extremes" in case]
    if not ran:
        return text.plain(vindex["reason"]) or MEANS.get(vindex["verdict"], "no case ran")
    parts = [encoding(ran), kernel(ran), *others(cases), fidelity(ran)]
    return ", ".join(part for part in parts if part)


def worst(cases):
    """The case of the most severe verdict."""
    return min(cases, key=lambda case: rank(case["verdict"]))


def stage(cases, verdict, checked, name):
    """One of the two questions that come before fidelity: ok, wrong, not checked, or not reached."""
    if any(case["verdict"] == verdict for case in cases):
        return f"{name} wrong"
    seen = [case for case in cases if checked(case)]
    if len(seen) < len(cases):
        return f"{name} not checked" if not seen else f"{name} checked for {len(seen)} of {len(cases)} cases"
    return f"{name} ok" if all(rank(case["verdict"]) > rank(verdict) for case in cases) else ""


def encoding(cases):
    reading = [case for case in cases if case["reads"]]
    return stage(reading, "ENCODING", lambda case: case["encoding"] is not None, "encoding") if reading else "reads nothing of the vindex"


def kernel(cases):
    """Where a case failed before its kernel was judged, the figure that was measured."""
    found = stage(cases, "KERNEL", lambda case: all_of(case)["max_kernel_rel_l2"] is not None, "kernel")
    largest = max((all_of(case)["max_kernel_rel_l2"]["value"] for case in cases if all_of(case)["max_kernel_rel_l2"]), default=None)
    return found or f"kernel within {text.figure(largest)} of its oracle"


def all_of(case):
    return case["extremes"]["all"]


def others(cases):
    """What fails beside encoding and kernel, each kind once."""
    kinds = dict.fromkeys(case["verdict"] for case in sorted(cases, key=lambda case: rank(case["verdict"])))
    return [MEANS.get(one, one) for one in kinds if one not in SUCCESS and one not in ("ENCODING", "KERNEL")]


def is_equal(case):
    """Is every output the dense model's, bit for bit, at every layer and position?"""
    place = all_of(case)["max_rel_l2"]
    return place is not None and place["value"] == 0.0


def fidelity(cases):
    """What became of the outputs and the next tokens; approximate cases, which leave features out on purpose, only if there
    are no others."""
    cases = [case for case in cases if case["bucket"] != "approximate"] or cases
    if all(map(is_equal, cases)):
        return "bit for bit"
    return tokens(max(cases, key=share))


def share(case):
    """Of next tokens that are not the dense model's."""
    if case.get("rates"):
        value = case["rates"]["flip_rate"]["value"]
        return value if value == value else 2.0
    token = case["next_token"]
    return 1.0 - token["top1_same"] / token["of"] if token["of"] else 0.0


def percent(share):
    """In two digits: 0.36 %, 6.2 %, 100 %."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def tokens(case):
    """"6.0 % of tokens flip", or of the prompts' last positions only."""
    if case.get("rates"):
        value = case["rates"]["flip_rate"]["value"]
        return "no token flips" if value == 0.0 else f"{percent(value)} of tokens flip" if value == value else "tokens are no numbers"
    token = case["next_token"]
    changed, of = token["of"] - token["top1_same"], text.plural(token["of"], "prompt")
    return f"no next token flips on {of}" if changed == 0 else f"the next token flips on {changed} of {of}"


def brief(case):
    """Below a verdict, in few words: what a reader asks next."""
    if "extremes" not in case:
        return ""
    if is_equal(case):
        return "bit for bit"
    place = all_of(case)["max_rel_l2"]
    size = f"rel_L2 {text.figure(place['value'])}" if place else ""
    flips = "no flip" if share(case) == 0 else f"{percent(share(case))} flip" if share(case) <= 1 else "no numbers"
    return ", ".join(part for part in (size, flips) if part)
