"""Bounds from measurement: the worst of each bucket, with headroom (walk-paths 4.12).

The native rule keeps one headroom f in lengths for both figures: a ceiling of f·r on rel_L2 is a floor of 1 − f²·(1 − c) on the
cosine, since 1 − c grows with the square. LARQL's rule gives the cosine one decimal less and rel_L2 four times.
"""
import dataclasses
import decimal
import fnmatch
import math

import numpy as np

from . import text
from .errors import Failure

BUCKETS = ("exact", "quantized", "fp4")  # what K leaves out is a choice, not an error to bound
FEW = 2000  # distinct observations below which a worst case is no bound
# Bounds below these would judge the rounding of f32, which another BLAS changes.
LEAST_REL, LEAST_DP = 1.6e-6, 1e-5
FAITHFUL = ("PASS", "MEASURED")  # verdicts of cases known to compute what they should
DISTANT = ("BOUND", "TOP-1", "DELTA-P", "RATE")  # the same, but beyond the bounds of their result: with --accept-failing
UNSEEN = ("met no oracle", "were not compared with the model's", "no server has layer")  # reasons of what nobody looked at, whatever the verdict
RATES = ("mean_kl", "p99_kl", "flip_rate", "ppl_ratio")
KEPT = ("near_tie", *RATES)  # bounds of the results, the loosest: near_tie always, the others where nothing new is known
RATE_MARGIN = 1.5  # of upper limits, which cover what other prompts of the kind show
LEAST_RATE = {"mean_kl": 1e-9, "p99_kl": 1e-8, "flip_rate": 1e-3, "ppl_ratio": 1e-5}  # below is the rounding of f32
VOID = {"cos": 0, "rel_l2": 1, "dp": 1, "flip_rate": 1}  # from here on `walkaudit verdict` refuses them: they bound nothing
PARIS = "paris"


@dataclasses.dataclass
class Worst:
    """One figure with its evidence."""

    value: float
    case: str
    place: str
    n: int
    source: str


@dataclasses.dataclass
class Bucket:
    """What was measured of one bucket. seen: {inputs: (distinct observations of the best case, prompts)}."""

    cos: Worst = None  # value: 1 − cosine
    rel_l2: Worst = None
    dp: Worst = None
    cases: int = 0
    seen: dict = dataclasses.field(default_factory=dict)
    kept: dict = dataclasses.field(default_factory=dict)
    rates: dict = dataclasses.field(default_factory=dict)  # {name: Worst of the upper limits}

    @property
    def n(self):
        return sum(count for count, _ in self.seen.values())

    @property
    def prompts(self):
        return sum(prompts for _, prompts in self.seen.values())


def objection(result, case, accept_failing):
    """Why a case is no evidence, or None: it must be known to run its kernel on a faithful encoding, and be within its own bounds."""
    verdict = result.words("verdict")[case]
    if verdict in DISTANT and not accept_failing:
        return f"{verdict} under its own bounds (--accept-failing would take it)"
    if verdict not in FAITHFUL + DISTANT:
        return verdict
    unseen = [line for line in result["fail_reasons"][case].splitlines() if any(words in line for words in UNSEEN)]
    return f"{verdict}, but {unseen[0]}" if unseen else None


def measure(results, rule, accept_failing=False, patterns=("*",)):
    """({bucket: Bucket}, [why a case or result is no evidence]); of cases whose name is like one of the patterns."""
    found, left_out = {}, []
    for result in results:
        if rule == "native" and result.attribute("requantised", 0):
            left_out.append(f"{result.path.name}: its vindexes are requantised from a model of 6 bits or fewer")
            continue
        for case, name in enumerate(result.cases):
            bucket = result.words("case_bucket")[case]
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                left_out.append(f"{result.path.name}: {name} is not asked for")
            elif bucket not in BUCKETS:
                left_out.append(f"{result.path.name}: {name} is {bucket}")
            elif objection(result, case, accept_failing):
                left_out.append(f"{result.path.name}: {name} is {objection(result, case, accept_failing)}")
            else:
                add(found.setdefault(bucket, Bucket()), result, case, rule)
    return found, left_out


def inputs(result):
    """What the observations are of: results of one model on the same prompts hold the same ones, whatever their vindexes."""
    prints = result.fingerprints()
    return (*sorted(value for key, value in prints.items() if key.startswith("model: ")), prints.get("prompts"), prints.get("semantics"))


def add(bucket, result, case, rule):
    bucket.cases += 1
    count, prompts = bucket.seen.get(inputs(result), (0, 0))
    bucket.seen[inputs(result)] = (max(count, int(result["n_obs_distinct"][case])), max(prompts, len(judged_prompts(result, rule))))
    for name, key in (("min_cos", "cos"), ("max_rel_l2", "rel_l2")):
        value, place = result.extreme(name, case)
        if place is None:
            continue
        if key == "cos":  # tiny angles are kept by 1 − cos, large ones by both
            value = max(1.0 - value, float(result.read("one_minus_cos", (case, place.layer, place.obs))))
        words = f"layer {place.layer}, {text.plain(place.key)}/{place.position} {text.token(place.token)}"
        replace(bucket, key, Worst(value, result.cases[case], words, int(result["n_obs"][case]), result.path.name))
    prompts = judged_prompts(result, rule)
    sizes = np.abs(result["prob_delta" if rule == "native" else "prob_delta_compat"][case][prompts])
    if sizes.size and np.isfinite(sizes).all():
        at = int(np.argmax(sizes))
        replace(bucket, "dp", Worst(float(sizes[at]), result.cases[case], f"prompt {text.plain(result.prompts[prompts[at]])}",
                                    len(prompts), result.path.name))
    add_rates(bucket, result, case)
    for name in KEPT:
        if result.has(f"bound_{name}") and math.isfinite(result[f"bound_{name}"][case]):
            bucket.kept[name] = max(bucket.kept.get(name, -math.inf), float(result[f"bound_{name}"][case]))


def add_rates(bucket, result, case):
    """Upper limits, where the result has logits at all positions; of flips the limit that `walkaudit verdict` holds against the bound."""
    near_tie = math.isfinite(result["bound_near_tie"][case])
    for name in RATES:
        figure = f"{'far_' if name == 'flip_rate' and near_tie else ''}{name}_upper"
        if result.has(figure) and not math.isnan(result[figure][case]):
            worst = Worst(float(result[figure][case]), result.cases[case], f"{int(result['n_clusters'][case])} independent prompts",
                          int(result["n_distinct"][case]), result.path.name)
            if name not in bucket.rates or worst.value > bucket.rates[name].value:
                bucket.rates[name] = worst


def replace(bucket, key, worst):
    """The larger stays; of equals the first."""
    old = getattr(bucket, key)
    if old is None or worst.value > old.value:
        setattr(bucket, key, worst)


def judged_prompts(result, rule):
    """LARQL judges ΔP on one prompt."""
    if rule == "larql" and PARIS in result.prompts:
        return [result.prompts.index(PARIS)]
    return list(range(len(result.prompts)))


# --- Rules: what was measured to a bound, as a decimal

def native_floor(worst, factor):
    """1 − f²·(1 − c), the step from 1 rounded down to three digits: so rounding never contradicts the ceiling."""
    return 1 - rounded(factor ** 2 * max(worst, LEAST_REL ** 2 / 2), 3, decimal.ROUND_FLOOR)


def larql_floor(worst, _factor):
    """One decimal fewer: 0.999996 becomes 0.99999."""
    return 1 - decimal.Decimal(1).scaleb(math.ceil(math.log10(max(worst, LEAST_REL ** 2 / 2))))


def ceiling(worst, factor, least):
    """Rounded up to two digits."""
    return rounded(factor * max(worst, least), 2, decimal.ROUND_CEILING)


def rate_bound(name, limit):
    """The limit with margin, rounded up to two digits; of a ratio what it is above 1."""
    base = 1 if name == "ppl_ratio" else 0
    return base + ceiling(limit - base, RATE_MARGIN, LEAST_RATE[name] / RATE_MARGIN)


def refuse_void(key, value, worst, bucket):
    """A bound that nothing breaks looks like one and is none."""
    if key in VOID and (value <= VOID[key] if key == "cos" else value >= VOID[key]):
        raise Failure("the evidence allows no bound", f"'{text.plain(worst.source)}'", f"found {text.plain(worst.case)} so far off that {bucket}.{key} "
                      f"would be {plain(value)}, which bounds nothing; expected less error or a smaller --factor")
    return value


def rounded(value, digits, how):
    exact = decimal.Decimal(f"{value:.12g}")  # a product's last bits are no evidence
    return exact.quantize(decimal.Decimal(1).scaleb(exact.adjusted() - digits + 1), how)


FLOORS = {"native": native_floor, "larql": larql_floor}
LARQL_FACTOR = 4.0


# --- The bounds file

def render(found, left_out, rule, factor, sources):
    """The file: a row per bucket, evidence as comments."""
    lines = [f"# Proposed by 'walkaudit-report tighten', rule {rule}, from {text.plural(len(sources), 'result')}:"]
    lines += [f"#   {text.plain(source)}" for source in sources]
    lines += [HEADROOM[rule].format(factor=factor, square=factor ** 2)]
    lines += [f"# no evidence: {reason}" for reason in left_out]
    for name in BUCKETS:
        if name in found:
            lines += ["", *bucket_lines(name, found[name], rule, factor)]
    return "\n".join(lines) + "\n"


HEADROOM = {"native": "# Headroom: {factor:g} in rel_L2 and dp, {square:g} in 1 - cos, which is {factor:g} in length; 1.5 in limits of rates.",
            "larql": "# Headroom: one decimal of the cosine; {factor:g} in rel_L2 and dp, rounded up."}


def bucket_lines(name, bucket, rule, factor):
    lines = [f"# {bucket.n} distinct observations of {text.plural(bucket.cases, 'case')}, {text.plural(bucket.prompts, 'prompt')}"]
    if bucket.n < FEW:
        lines.append(f"# warning: fewer than {FEW} observations: a larger corpus will find worse ones")
    lines.append(f"{name}:")
    if bucket.cos:
        floor = refuse_void("cos", FLOORS[rule](bucket.cos.value, factor), bucket.cos, name)
        lines += evidence(bucket.cos, f"1 - cos {bucket.cos.value:.4g}")
        lines += [f"  cos: {plain(floor)}  # which allows rel_L2 from {math.sqrt(1 - floor ** 2):.4g} on"]
    if bucket.rel_l2:
        lines += evidence(bucket.rel_l2, f"rel_L2 {bucket.rel_l2.value:.4g}")
        lines += [f"  rel_l2: {plain(refuse_void('rel_l2', ceiling(bucket.rel_l2.value, factor, LEAST_REL), bucket.rel_l2, name))}"]
    if bucket.dp:
        lines += evidence(bucket.dp, f"|dP| {bucket.dp.value:.4g}", "prompt")
        lines += [f"  dp: {plain(refuse_void('dp', ceiling(bucket.dp.value, factor, LEAST_DP / factor), bucket.dp, name))}"]
        lines += [f'  dp_prompts: ["{PARIS}"]'] if bucket.dp.place == f"prompt {PARIS}" and rule == "larql" else []
    for key in KEPT:
        lines += rate_lines(key, bucket, name)
    return lines


def rate_lines(key, bucket, name):
    """A bound from the upper limit where there is one; else what the results had."""
    limit = bucket.rates.get(key)
    if limit and math.isfinite(limit.value):
        bound = refuse_void(key, rate_bound(key, limit.value), limit, name)
        return evidence(limit, f"upper 95 % limit of {key} {limit.value:.4g}", "distinct position") + [f"  {key}: {plain(bound)}"]
    lines = [f"  # {key}: no upper limit, {limit.place} and {text.plural(limit.n, 'distinct position')} are too few; {text.plain(limit.source)}"] if limit else []
    return lines + ([f"  {key}: {bucket.kept[key]:g}  # as in the results"] if key in bucket.kept else [])


def evidence(worst, figure, unit="observation"):
    return [f"  # worst {figure}: {text.plain(worst.case)}, {worst.place}; of {text.plural(worst.n, unit)}; {text.plain(worst.source)}"]


def plain(value):
    """A decimal as YAML takes it, without an exponent where it is short."""
    value = value.normalize()
    return f"{value:f}" if -8 <= value.adjusted() <= 3 else f"{value:e}"
