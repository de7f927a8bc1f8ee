"""Bounds from measurement: the worst of each bucket, with headroom (walk-paths 4.12).

The native rule keeps one headroom f in lengths for both figures: a ceiling of f·r on rel_L2 is a floor of 1 − f²·(1 − c) on the
cosine, since 1 − c grows with the square. LARQL's rule gives the cosine one decimal less and rel_L2 four times.
"""
import dataclasses
import decimal
import math

import numpy as np

from . import text

BUCKETS = ("exact", "quantized", "fp4")  # what K leaves out is a choice, not an error to bound
FEW = 2000  # distinct observations below which a worst case is no bound
# Bounds below these would judge the rounding of f32, which another BLAS changes.
LEAST_REL, LEAST_DP = 1.6e-6, 1e-5
FAITHFUL = ("PASS", "MEASURED", "BOUND", "TOP-1", "DELTA-P", "RATE")  # verdicts of cases known to compute what they should
KEPT = ("near_tie", "mean_kl", "p99_kl", "flip_rate", "ppl_ratio")  # bounds that no rule moves: the loosest of the results
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

    @property
    def n(self):
        return sum(count for count, _ in self.seen.values())

    @property
    def prompts(self):
        return sum(prompts for _, prompts in self.seen.values())


def usable(result, case):
    """A case that ran its kernel on a faithful encoding is evidence, whatever the bounds said of it."""
    return result.words("verdict")[case] in FAITHFUL


def measure(results, rule):
    """({bucket: Bucket}, [why a case or result is no evidence])."""
    found, left_out = {}, []
    for result in results:
        if rule == "native" and result.attribute("requantised", 0):
            left_out.append(f"{result.path.name}: its vindexes are requantised from a model of 6 bits or fewer")
            continue
        for case, name in enumerate(result.cases):
            bucket = result.words("case_bucket")[case]
            if bucket not in BUCKETS:
                left_out.append(f"{result.path.name}: {name} is {bucket}")
            elif not usable(result, case):
                left_out.append(f"{result.path.name}: {name} is {result.words('verdict')[case]}")
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
    for name in KEPT:
        if result.has(f"bound_{name}") and math.isfinite(result[f"bound_{name}"][case]):
            bucket.kept[name] = max(bucket.kept.get(name, -math.inf), float(result[f"bound_{name}"][case]))


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


HEADROOM = {"native": "# Headroom: {factor:g} in rel_L2 and dp, {square:g} in 1 - cos, which is {factor:g} in length.",
            "larql": "# Headroom: one decimal of the cosine; {factor:g} in rel_L2 and dp, rounded up."}


def bucket_lines(name, bucket, rule, factor):
    lines = [f"# {bucket.n} distinct observations of {text.plural(bucket.cases, 'case')}, {text.plural(bucket.prompts, 'prompt')}"]
    if bucket.n < FEW:
        lines.append(f"# warning: fewer than {FEW} observations: a larger corpus will find worse ones")
    lines.append(f"{name}:")
    if bucket.cos:
        floor = FLOORS[rule](bucket.cos.value, factor)
        lines += evidence(bucket.cos, f"1 - cos {bucket.cos.value:.4g}")
        lines += [f"  cos: {plain(floor)}  # which allows rel_L2 from {math.sqrt(1 - floor ** 2):.4g} on"]
    if bucket.rel_l2:
        lines += evidence(bucket.rel_l2, f"rel_L2 {bucket.rel_l2.value:.4g}")
        lines += [f"  rel_l2: {plain(ceiling(bucket.rel_l2.value, factor, LEAST_REL))}"]
    if bucket.dp:
        lines += evidence(bucket.dp, f"|dP| {bucket.dp.value:.4g}", "prompt")
        lines += [f"  dp: {plain(min(ceiling(bucket.dp.value, factor, LEAST_DP / factor), decimal.Decimal(1)))}"]
        lines += [f'  dp_prompts: ["{PARIS}"]'] if bucket.dp.place == f"prompt {PARIS}" and rule == "larql" else []
    return lines + [f"  {key}: {value:g}  # as in the results" for key, value in bucket.kept.items()]


def evidence(worst, figure, unit="observation"):
    return [f"  # worst {figure}: {text.plain(worst.case)}, {worst.place}; of {text.plural(worst.n, unit)}; {text.plain(worst.source)}"]


def plain(value):
    """A decimal as YAML takes it, without an exponent where it is short."""
    value = value.normalize()
    return f"{value:f}" if -8 <= value.adjusted() <= 3 else f"{value:e}"
