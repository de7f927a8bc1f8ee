"""The plots of a result, as matplotlib figures; none touches pyplot or a screen."""
import dataclasses

from .. import text
from . import cost, distribution, heatmap, profile, rates, style, sweep  # noqa: F401  (style is for callers)

PANELS = 12  # cases of one figure of panels
ROWED = 30  # cases of one figure with a line each
ROWS = 8  # cases of one figure of distributions


@dataclasses.dataclass
class Plot:
    """name: of its file; section: of the report it belongs to; alt: what it shows, in words."""

    name: str
    section: str
    title: str
    alt: str
    figure: object
    note: str = ""  # beside the title, for readers of the page


def pages(cases, limit):
    """Lists of at most `limit` cases, as even as can be."""
    count = -(-len(cases) // limit)
    size = -(-len(cases) // count) if count else 1
    return [cases[at:at + size] for at in range(0, len(cases), size)]


def buckets(facts, cases):
    """Lists of cases of one bucket: what is compared by eye has errors of one size."""
    groups = {}
    for at in cases:
        groups.setdefault(facts["cases"][at]["bucket"], []).append(at)
    return groups.values()


def overviews(facts, surveys):
    """Every plot but the maps, one after the other."""
    ran = [at for at, case in enumerate(facts["cases"]) if "extremes" in case]
    if not ran or not facts["size"]["layers"]:
        return
    for name, section, title, limit, build in (
            ("profile-rel_l2", "profiles", "rel_L2 by layer", PANELS,
             lambda cases: profile.by_layer(facts, surveys, cases, "rel_l2")),
            ("profile-eta", "profiles", "η by layer", PANELS, lambda cases: profile.by_layer(facts, surveys, cases, "eta")),
            ("distribution", "distributions", "Distribution of the differences", ROWS,
             lambda cases: distribution.against_bound(facts, surveys, cases)),
            ("depth", "depth", "Drift along the depth", PANELS, lambda cases: profile.along_depth(facts, surveys, cases)),
            ("growth", "depth", "Growth of the error by layer", PANELS, lambda cases: profile.growth(facts, surveys, cases))):
        groups = [page for bucket in buckets(facts, ran) for page in pages(bucket, limit)]
        for number, cases in enumerate(groups):
            part = f"-{number + 1}" if len(groups) > 1 else ""
            names = ", ".join(text.plain(facts["cases"][at]["name"]) for at in cases)
            words = f"{title}, {facts['cases'][cases[0]]['bucket']} cases"
            yield Plot(name + part, section, words, f"{words}, a panel for each of: {names}. The tables of the cases hold the "
                       "numbers.", build(cases))
    rated = [at for at in ran if facts["cases"][at]["rates"]]
    for number, cases in enumerate(groups := pages(rated, ROWED)):
        part = f"-{number + 1}" if len(groups) > 1 else ""
        yield Plot(f"rates{part}", "rates-plotted", "Rates over all positions", "Mean and 99th percentile of KL, flip rate and "
                   "perplexity ratio of each case with standard errors, upper limits and bounds. The table of rates holds the "
                   "numbers.", rates.with_limits(facts, cases))
    if sweep.curves(facts):
        yield Plot("sweep", "sweep", "Error over K", "Error, divergence, share of unchanged predictions and time over the "
                   "number of features taken. The summary and the table of costs hold the numbers.", sweep.over_k(facts))
    yield Plot("cost", "cost", "Accuracy against cost", "The 95th percentile of rel_L2 of each case over the bytes it reads "
               "and over its seconds. The table of costs holds the numbers.", cost.against_accuracy(facts),
               "Colour and shape are the bucket's; the numbers are those of the list.")


def next_tokens(result, facts, prompts, first=0, last=None):
    """Maps of KL over every position, one per prompt; none without `logits: all`."""
    cases = [at for at, case in enumerate(facts["cases"]) if "extremes" in case][:ROWED]
    if not cases or not result.has("obs_kl"):
        return
    keys = text.slugs(result.prompts)
    for prompt in prompts:
        key = text.plain(result.prompts[prompt], 24)
        yield Plot(f"next-{keys[prompt]}", "next", f"Next tokens on {key}",
                   f"Map of KL at every position of prompt {key}, a row for each case. The table of rates holds their means.",
                   heatmap.next_tokens(result, cases, prompt, first, last))


def maps(result, facts, pairs, first=0, last=None):
    """Maps of (case, prompt) pairs, indices of the result, one after the other."""
    names, keys = text.slugs(result.cases), text.slugs(result.prompts)
    for case, prompt in pairs:
        name, key = text.plain(result.cases[case]), text.plain(result.prompts[prompt], 24)
        worst = facts["cases"][case]["extremes"]["all"]["max_rel_l2"]
        where = f" The largest rel_L2 of the case is {text.figure(worst['value'])} at layer {worst['layer']}, prompt " \
                f"{text.plain(worst['prompt'], 24)}, position {worst['position']}." if worst else ""
        yield Plot(f"map-{names[case]}-{keys[prompt]}", "maps", f"{name}, {key}",
                   f"Maps of rel_L2 and 1 − cos of {name} on prompt {key}, layers upwards, positions to the right.{where}",
                   heatmap.by_position(result, case, prompt, first=first, last=last), where.strip())
