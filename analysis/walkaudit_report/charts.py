"""Small charts of a page as SVG: lines over layers or K, bars, and points with labels that keep apart.

Colours are the page's own variables, so that light, dark and paper each have theirs. What a reader points at is told from
`data-x` and `data-series` by page.js; without a script the tables hold the numbers.
"""
import dataclasses
import json
import math

from .text import markup

WIDTH, HEIGHT = 300, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
CHARACTER = 6.4  # widest average of a label's characters, in units of the drawing
COLORS = ("blue", "orange", "green", "purple", "sky", "amber", "grey")
SHAPES = ("circle", "square", "diamond", "triangle")


@dataclasses.dataclass
class Series:
    """values along the common x; None and NaN leave a gap, 0 lies on the floor of a log axis. dash: "", "dash" or "dots" (no
    line). name: as the reader is told it; () group: cases that a series of several is about."""

    name: str
    values: list
    color: str = "blue"
    dash: str = ""
    about: tuple = ()


@dataclasses.dataclass
class Scale:
    low: float
    high: float
    start: float  # place of low and of high in the drawing
    stop: float
    log: bool = True

    def at(self, value):
        """Place of a value, held within the scale."""
        value = min(max(value, self.low), self.high)
        share = math.log(value / self.low) / math.log(self.high / self.low) if self.log else \
            (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, most=5):
        if not self.log:
            step = nice((self.high - self.low) / most)
            first = math.ceil(self.low / step - 1e-9)
            return [step * at for at in range(first, int(self.high / step + 1e-9) + 1)]
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last - first >= 2:
            step = max(1, math.ceil((last - first + 1) / most))
            return [10.0 ** at for at in range(first, last + 1, step)]
        found = [base * 10.0 ** at for at in range(first - 1, last + 1) for base in (1, 2, 5)]
        return [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]


def nice(step):
    """The next of 1, 2, 5, 10 … that is no smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(base * power for base in (1, 2, 5, 10) if base * power >= step * 0.999)


def numbers(series):
    return [value for one in series for value in one.values if value is not None and math.isfinite(value)]


def log_scale(values, start, stop, slack=1.4):
    """Over what is positive, at least a decade and a half; None where nothing is."""
    values = [value for value in values if value is not None and math.isfinite(value) and value > 0]
    if not values:
        return None
    low, high = min(values) / slack, max(values) * slack
    if high / low < 30:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(30), middle * math.sqrt(30)
    return Scale(low, high, start, stop)


def y_scale(groups):
    """The common scale of several charts, from their series; None: nothing but zeros."""
    return log_scale([value for series in groups for value in numbers(series)], HEIGHT - BOTTOM, TOP)


def tick_text(value):
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e") if 1e-3 <= abs(value) < 1e5 or value == 0 else \
        f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def place(value):
    return f"{value:.1f}".removesuffix(".0")


# --- A frame with axes


def svg(inside, alt, data="", width=WIDTH, height=HEIGHT):
    return (f'<svg role="img" aria-label="{markup(alt)}" viewBox="0 0 {width} {height}" style="width:{width}px;max-width:100%"'
            f'{data}>{inside}</svg>')


def axes(x, y, x_label, x_ticks, width=WIDTH, height=HEIGHT, form=tick_text):
    """Grid, ticks and their labels. x_ticks: [(value, text)]; y None: no scale to show."""
    parts = []
    for value in y.ticks() if y else ():
        at = place(y.at(value))
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{width - RIGHT}"/><text x="{LEFT - 4}" y="{at}" dy="3.5" class="end">'
                     f"{form(value)}</text>")
    for value, words in x_ticks:
        at = place(x.at(value))
        parts.append(f'<path class="grid" d="M{at} {TOP}V{height - BOTTOM}"/><text x="{at}" y="{height - BOTTOM + 13}" class="middle">'
                     f"{markup(words)}</text>")
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{height - BOTTOM}H{width - RIGHT}"/>')
    parts.append(f'<text x="{(LEFT + width - RIGHT) / 2:g}" y="{height - 5}" class="middle">{markup(x_label)}</text>')
    return "".join(parts)


def polyline(series, x, y, xs, floor):
    """Pieces between gaps; dots where a series has no line or a piece is one point."""
    pieces, current = [], []
    for at, value in zip(xs, series.values):
        if value is None or not math.isfinite(value):
            pieces, current = pieces + [current], []
        else:
            current.append((place(x.at(at)), place(y.at(value) if value > 0 or not y.log else floor)))
    pieces = [piece for piece in pieces + [current] if piece]
    line = "".join("M" + "L".join(f"{px} {py}" for px, py in piece) for piece in pieces if len(piece) > 1) if series.dash != "dots" else ""
    dots = "".join(f"M{px} {py}h0" for piece in pieces for px, py in piece if series.dash == "dots" or len(pieces) > 1 and len(piece) == 1
                   or len(xs) == 1)
    about = f' data-about="{" ".join(map(str, series.about))}"' if series.about else ""
    return ((f'<path class="line {series.color} {series.dash}"{about} d="{line}"/>' if line else "")
            + (f'<path class="dot {series.color}"{about} d="{dots}"/>' if dots else ""))


def lines(series, xs, y, x_label, alt, bound=None, x_log=False, x_ticks=None, form=tick_text):
    """A chart of lines. y: its scale, or None where all is 0. bound: a line across."""
    x = Scale(min(xs), max(xs), LEFT + 4, WIDTH - RIGHT - 4, log=x_log) if max(xs) > min(xs) else \
        Scale(min(xs) - 1, min(xs) + 1, LEFT + 4, WIDTH - RIGHT - 4, log=False)
    ticks = x_ticks or [(value, f"{value:g}") for value in (x.ticks(6) if max(xs) > min(xs) else xs) if value == int(value)]
    inside = axes(x, y, x_label, ticks, form=form)
    known = numbers(series)
    if y is None or known and not any(known):
        inside += note("exactly 0 everywhere" if known else "nothing was measured")
    else:
        floor = HEIGHT - BOTTOM
        if bound is not None and bound > 0:
            inside += f'<path class="line ink dots-line" d="M{LEFT} {place(y.at(bound))}H{WIDTH - RIGHT}"/>'
        inside += "".join(polyline(one, x, y, xs, floor) for one in series)
    lost = [at for at, values in zip(xs, zip(*(one.values for one in series))) if any(value is not None and not math.isfinite(value) for value in values)]
    if lost:
        inside += f'<path class="line orange" d="{"".join(f"M{place(x.at(at) - 4)} {TOP}l8 8m0 -8l-8 8" for at in lost)}"/>'
    return svg(inside, alt, data_of(x_label, xs, series, x))


def note(words):
    return f'<text class="middle strong" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{(TOP + HEIGHT - BOTTOM) / 2:g}">{markup(words)}</text>'


def data_of(x_label, xs, series, x):
    """What the script reads: names and values along x, and where each x lies."""
    held = {"x": x_label, "xs": list(xs), "at": [round(x.at(value), 1) for value in xs],
            "series": [[one.name, [rounded(value) for value in one.values]] for one in series]}
    return f' data-chart="{markup(json.dumps(held, ensure_ascii=False, separators=(",", ":")))}"'


def rounded(value):
    if value is None:
        return None
    return float(f"{value:.3g}") if math.isfinite(value) else "not finite"


# --- Bars


def histogram(edges, groups, bound, x_label, alt, notes):
    """groups: [(name, counts, color, filled)], each a share of its own total. edges: of the bins, log scale."""
    used = [at for _, counts, _, _ in groups for at, count in enumerate(counts) if count]
    held = [edges[min(used)], edges[max(used) + 1]] if used else []
    x = log_scale(held + ([bound] if bound else []), LEFT, WIDTH - RIGHT, 2)
    if not used:
        return svg(axes(Scale(0, 1, LEFT, WIDTH - RIGHT, False), None, x_label, []) + note(notes or "nothing was measured"), alt)
    shares = [[count / max(sum(counts), 1) for count in counts] for _, counts, _, _ in groups]
    y = Scale(0, max(map(max, shares)) * 1.1 or 1, HEIGHT - BOTTOM, TOP, log=False)
    inside = axes(x, y, x_label, [(value, tick_text(value)) for value in x.ticks(5)], form=lambda value: f"{100 * value:.3g} %")
    first, last = min(used), max(used) + 1
    for (_, counts, color, filled), heights in zip(groups, shares):
        if any(counts):
            path = f"M{place(x.at(edges[first]))} {HEIGHT - BOTTOM}" + "".join(
                f"V{place(y.at(heights[at]))}H{place(x.at(edges[at + 1]))}" for at in range(first, last)) + f"V{HEIGHT - BOTTOM}"
            inside += f'<path class="{"bar" if filled else "line"} {color}" d="{path}"/>'
    if bound:
        inside += f'<path class="line orange dash" d="M{place(x.at(bound))} {TOP}V{HEIGHT - BOTTOM}"/>'
    if notes:
        inside += f'<text x="{LEFT + 4}" y="{TOP + 9}" class="strong">{markup(notes)}</text>'
    xs = [math.sqrt(edges[at] * edges[at + 1]) for at in range(first, last)]
    series = [Series(f"{name}, share", [heights[at] for at in range(first, last)]) for (name, _, _, _), heights in zip(groups, shares)]
    return svg(inside, alt, data_of(x_label, [float(f"{value:.2g}") for value in xs], series, Scale(x.low, x.high, x.start, x.stop)))


# --- Points with names


@dataclasses.dataclass
class Point:
    """name: its label; told: further words for who points at it."""

    x: float
    y: float
    name: str
    color: str
    shape: str
    told: str = ""
    about: tuple = ()
    link: str = ""


def scatter(points, x_label, y_label, alt, curves=(), width=760, height=430):
    """Points on two log axes with labels that do not overlap; who finds no place is told by pointing at it. A y of 0 lies on the
    floor. curves: lists of indices of points that belong together, in order."""
    points_known = [point for point in points if point.x > 0 and math.isfinite(point.x) and math.isfinite(point.y)]
    x = log_scale([point.x for point in points_known], LEFT + 14, width - RIGHT - 14, 1.15)
    y = log_scale([point.y for point in points_known], height - BOTTOM - (16 if any(point.y == 0 for point in points_known) else 0), TOP + 8)
    if x is None:
        return ""
    floor = height - BOTTOM - 3
    places = {id(point): (x.at(point.x), y.at(point.y) if y and point.y > 0 else floor) for point in points_known}
    inside = axes(x, y, x_label, [(value, tick_text(value)) for value in x.ticks(7)], width, height)
    inside += f'<text x="{LEFT}" y="{TOP - 1}" class="strong">{markup(y_label)}</text>'
    if any(point.y == 0 for point in points_known):
        inside += f'<text x="{LEFT - 4}" y="{floor + 3:g}" class="end">0</text>'
    for curve in curves:
        at = [places[id(points[number])] for number in curve if id(points[number]) in places]
        if len(at) > 1:
            first = points[curve[0]]
            cases = sorted({case for number in curve for case in points[number].about})
            inside += (f'<path class="line {first.color}" data-about="{" ".join(map(str, cases))}" '
                       f'd="M{"L".join(f"{place(px)} {place(py)}" for px, py in at)}"/>')
    labels = spread([(point, *places[id(point)]) for point in points_known], width, height)
    for point in points_known:
        px, py = places[id(point)]
        about = f' data-about="{" ".join(map(str, point.about))}"' if point.about else ""
        words = markup(f"{point.name}: {point.told}")
        mark = f'<path class="mark {point.color}" d="{shape(point.shape, px, py)}"/>'
        if point.link:
            mark = f'<a href="{markup(point.link)}" aria-label="{words}" data-told="{words}">{mark}</a>'
        else:
            mark = f'<g tabindex="0" role="img" aria-label="{words}" data-told="{words}">{mark}</g>'
        inside += f"<g{about}>{mark}"
        if id(point) in labels:
            lx, ly, anchor = labels[id(point)]
            inside += f'<text class="label {anchor}" x="{place(lx)}" y="{place(ly)}">{markup(short(point.name))}</text>'
        inside += "</g>"
    return svg(inside, alt, "", width, height).replace('role="img"', 'role="group"', 1)


def shape(name, x, y, size=5):
    x, y = round(x, 1), round(y, 1)
    return {"circle": f"M{x - size:g} {y:g}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 -{2 * size} 0z",
            "square": f"M{x - 4.5:g} {y - 4.5:g}h9v9h-9z", "diamond": f"M{x:g} {y - 6:g}l6 6l-6 6l-6 -6z",
            "triangle": f"M{x:g} {y - 6:g}l6 10h-12z"}[name]


def short(name, limit=30):
    return name if len(name) <= limit else name[:limit // 2 - 1] + "…" + name[-(limit - limit // 2):]


def spread(placed, width, height):
    """{id of a point: (x, y, anchor)} of labels that overlap neither each other nor a mark nor the frame, greedily: points from
    left to right, eight places around each, near ones first."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, x, y in placed]
    out = {}
    for point, x, y in sorted(placed, key=lambda one: (one[1], one[2])):
        long = CHARACTER * len(short(point.name))
        for away in (9, 22, 36):
            found = next((spot for spot in around(x, y, long, away) if LEFT < spot[0][0] and spot[0][2] < width and
                          0 < spot[0][1] and spot[0][3] < height - BOTTOM + 4 and not any(overlap(spot[0], box) for box in taken)), None)
            if found:
                box, where = found
                taken.append(box)
                out[id(point)] = where
                break
    return out


def around(x, y, long, away):
    """[(box, (x, y, anchor))] of places for a label of this length."""
    for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
        ax, ay = x + dx * away * (0.8 if dy else 1), y + dy * away + 3.5
        left = ax if dx > 0 else ax - long if dx < 0 else ax - long / 2
        yield (left, ay - 10, left + long, ay + 3), (ax, ay, "start" if dx > 0 else "end" if dx < 0 else "middle")


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


# --- Values with limits


@dataclasses.dataclass
class Interval:
    """A value with its error, its upper limit and the bound that judges the limit; any of them may be None."""

    name: str
    value: float
    error: float = None
    upper: float = None
    bound: float = None
    about: tuple = ()


def intervals(rows, x_label, alt, form=tick_text, log=False, width=360):
    """A line per row: a dot with its error, a bar at the limit, a diamond at the bound."""
    left = min(CHARACTER * max((len(short(row.name)) for row in rows), default=1) + 8, width / 2)
    height = 18 * len(rows) + 44
    known = [value for row in rows for value in (row.value, row.upper, row.bound, (row.value or 0) + (row.error or 0))
             if value is not None and math.isfinite(value)]
    x = log_scale(known, left, width - RIGHT - 8) if log else None
    if x is None:
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        x = Scale(low - margin if low else -margin / 4, high + margin, left, width - RIGHT - 8, log=False)
    inside = "".join(f'<path class="grid" d="M{place(x.at(value))} 8V{height - 30}"/><text class="middle" x="{place(x.at(value))}" y="{height - 18}">'
                     f"{form(value)}</text>" for value in x.ticks(4))
    for at, row in enumerate(rows):
        y = 18 * at + 18
        told = ", ".join([f"{row.name}: {form_of(row.value, form)}" + (f" ± {form_of(row.error, form)}" if row.error is not None else ""),
                          *(f"{words} {form_of(value, form)}" for words, value in (("limit", row.upper), ("bound", row.bound)) if value is not None)])
        marks = f'<text class="end" x="{left - 6:g}" y="{y + 3.5}">{markup(short(row.name))}</text>'
        if row.value is not None and math.isfinite(row.value):
            if row.error:
                marks += f'<path class="line blue" d="M{place(x.at(row.value - row.error))} {y}H{place(x.at(row.value + row.error))}"/>'
            marks += f'<path class="mark blue" d="{shape("circle", x.at(row.value), y, 4)}"/>'
        if row.upper is not None and math.isfinite(row.upper):
            marks += f'<path class="line purple thick" d="M{place(x.at(row.upper))} {y - 6}v12"/>'
        if row.bound is not None:
            marks += f'<path class="mark orange" d="{shape("diamond", x.at(row.bound), y)}"/>'
        about = f' data-about="{" ".join(map(str, row.about))}"' if row.about else ""
        inside += f'<g{about} data-told="{markup(told)}"><rect class="hit" x="0" y="{y - 9}" width="{width}" height="18"/>{marks}</g>'
    inside += f'<text class="middle" x="{(left + width) / 2:g}" y="{height - 4}">{markup(x_label)}</text>'
    return svg(inside, alt, "", width, height)


def form_of(value, form):
    return "absent" if value is None else form(value) if math.isfinite(value) else "∞" if value > 0 else "not a number"
