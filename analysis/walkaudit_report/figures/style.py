"""How every figure looks: colours that colour-blind readers tell apart, log axes that bear zeros, the same bytes twice."""
import io
import itertools
import math
import re
import textwrap

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib import colors, font_manager, ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

matplotlib.use("Agg")

# Okabe and Ito's hues, dark enough for white paper; shape and dash repeat what colour says.
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, GREY = ("#0072b2", "#d55e00", "#008a64", "#b4508a", "#2b8cc4", "#a86f00",
                                                 "#6b737c")
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, GREY)
MARKERS = "osD^vPX*<>"
INK, MUTED, GRID = "#1f2328", "#59636e", "#d1d9e1"  # in a page they become its own variables
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", BLUE: "var(--blue)", ORANGE: "var(--orange)",
             GREEN: "var(--green)", PURPLE: "var(--purple)", SKY: "var(--sky)", AMBER: "var(--amber)", GREY: "var(--grey)"}

RC = {"font.family": "DejaVu Sans", "font.size": 8.5, "axes.titlesize": 9, "axes.titleweight": "bold",
      "axes.titlelocation": "left", "axes.edgecolor": MUTED, "axes.labelcolor": INK, "text.color": INK,
      "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
      "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
      "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.4,
      "lines.markersize": 3.5, "svg.fonttype": "none", "svg.hashsalt": "walkaudit", "figure.dpi": 100,
      "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "mathtext.default": "regular"}

LEGEND, LEGEND_ROW, MARGIN = 0.32, 0.19, 0.1  # inches: a legend of one row, each further row, beside it
WIDTH_OF_BOLD = 0.095  # inches of a character of a title
SPELT = 20  # characters that a text may grow to when its own are spelt
MAP_DECADES = 8  # of a colour scale; what is smaller has its last colour


def styled(build):
    """Run a figure-building function under our settings, whatever the caller's are."""
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "Agg", **RC}):
            return build(*args, **kwargs)
    wrapper.__name__, wrapper.__doc__ = build.__name__, build.__doc__
    return wrapper


def new_figure(width, height):
    return matplotlib.figure.Figure(figsize=(width, height), layout="constrained")


def facets(count, columns=3, width=3.4, height=2.3, share_x=True, share_y=True, x_label=""):
    """(figure, axes, axes for the legend) of `count` panels in rows of `columns`; count > 0."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = new_figure(max(width * columns, 5.4), height * rows + LEGEND + 0.3)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[height] * rows + [LEGEND])
    axes = []
    for at in range(count):
        first = axes[0] if axes else None
        axes.append(figure.add_subplot(grid[at // columns, at % columns], sharex=first if share_x else None,
                                       sharey=first if share_y else None))
        axes[at].tick_params(labelbottom=not share_x or at + columns >= count,
                             labelleft=not share_y or at % columns == 0)
        if at + columns >= count:
            axes[at].set_xlabel(x_label)
    legend = figure.add_subplot(grid[rows, :])
    legend.set_axis_off()
    return figure, axes, legend


def head(figure, title):
    """A title over the whole figure, in as many lines as it needs; each further line makes the figure taller."""
    lines = textwrap.wrap(title, int(figure.get_figwidth() / WIDTH_OF_BOLD))
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * (len(lines) - 1))
    figure.suptitle(escape("\n".join(lines)), x=0.01, ha="left", fontsize=9, fontweight="bold")


def share_legend(place, axes, columns=5):
    """One legend of the labels that any of the panels has, in the place kept for it: in as many columns as the figure
    is wide enough for. A legend of several rows makes the figure taller."""
    known = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            known.setdefault(label, handle)
    if not known:
        return
    figure, grid = place.figure, place.get_subplotspec().get_gridspec()
    renderer = FigureCanvasAgg(figure).get_renderer()
    for count in range(min(columns, len(known)), 0, -1):
        legend = place.legend(known.values(), known.keys(), loc="center", ncols=count, borderpad=0)
        if legend.get_window_extent(renderer).width / figure.dpi <= figure.get_figwidth() - 2 * MARGIN:
            break
    more = (math.ceil(len(known) / count) - 1) * LEGEND_ROW
    grid.set_height_ratios([*grid.get_height_ratios()[:-1], LEGEND + more])
    figure.set_figheight(figure.get_figheight() + more)


def log_axis(axis, values, slack=1.3):
    """A log scale over the positive finite values; a linear 0 to 1 where there are none. axis: panel.xaxis, .yaxis."""
    values = np.concatenate([np.atleast_1d(np.asarray(v, float)).reshape(-1) for v in values] or [np.zeros(0)])
    values = values[np.isfinite(values) & (values > 0)]
    set_scale, set_limits = ((axis.axes.set_yscale, axis.axes.set_ylim) if axis.axis_name == "y" else
                             (axis.axes.set_xscale, axis.axes.set_xlim))
    if values.size == 0:
        set_limits(0.0, 1.0)
        return None
    low, high = values.min() / slack, values.max() * slack
    if high / low < 30:  # at least a decade and a half, so that ticks have labels
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(30), middle * math.sqrt(30)
    set_scale("log")
    set_limits(low, high)
    log_ticks(axis, low, high)
    return low, high


def log_ticks(axis, low, high):
    """Powers of ten; over a short range also 2 and 5 of each, as plain numbers."""
    axis.set_minor_locator(ticker.NullLocator())
    if math.log10(high / low) > 2.5:
        axis.set_major_locator(ticker.LogLocator(numticks=7))
        return
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}" if 1e-3 <= value < 1e5 else
                                                  f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")))


def layer_axis(panel, layers):
    panel.set_xlim(-0.5, max(layers - 0.5, 0.5))
    panel.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True, min_n_ticks=1))


def mark_nonfinite(panel, layers):
    """Crosses at the top for layers with values that are no numbers."""
    if len(layers):
        panel.plot(layers, np.full(len(layers), 0.98), "x", color=ORANGE, markersize=6, markeredgewidth=1.6,
                   transform=panel.get_xaxis_transform(), clip_on=False, label="not finite")


def color_norm(values):
    """Logarithmic over what is positive and finite, at most MAP_DECADES deep; None where nothing is."""
    known = values[np.isfinite(values) & (values > 0)]
    if known.size == 0:
        return None
    high = float(known.max())
    low = max(float(known.min()), high * 10.0 ** -MAP_DECADES)
    return colors.LogNorm(low if low < high else high / 10.0, high)


def shorten(name, limit=34):
    return name if len(name) <= limit else name[:limit // 2 - 1] + "…" + name[-(limit - limit // 2):]


def escape(text):
    """Text that matplotlib takes as it is: a dollar would begin a formula."""
    return text.replace("$", r"\$")


# --- Out


@styled
def to_svg(figure, prefix):
    """An <svg> for a page: ids that no other figure has, the page's own colours for text and lines."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w.-]+)", text))  # what nothing refers to needs no id, and images repeat theirs
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{prefix}-\1"', text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, variable)
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)  # the page's own says it once
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    width = 96 * figure.get_figwidth()
    head = re.sub(r' (?:width|height|version)="[^"]*"', "", text[:text.index(">")])
    return f'{head} style="width: {width:.0f}px; min-width: {min(width, 720):.0f}px; max-width: 100%"' + \
        text[text.index(">"):]


def replace_absent_glyphs(figure):
    """A file has our font alone, a page whatever the browser finds: there CJK tokens stay as they are."""
    font = font_manager.get_font(font_manager.findfont(RC["font.family"])).get_charmap()

    def known(text):
        pieces = [char if ord(char) in font or char == "\n" else f"\\u{{{ord(char):X}}}" for char in text]
        lengths = itertools.accumulate(map(len, pieces))
        fits = [length <= max(len(text), SPELT) for length in lengths]
        return "".join(itertools.compress(pieces, fits)) + ("" if all(fits) else "…")
    for item in figure.findobj(Text):
        item.set_text(known(item.get_text()))
    for axis in (axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)):
        labels = axis.get_majorticklabels()
        # Labels that a draw would set again. A panel that shares its axis and shows none must not empty the other's.
        if labels and isinstance(axis.get_major_locator(), ticker.FixedLocator):
            axis.set_ticklabels([known(label.get_text()) for label in labels])


@styled
def to_file(figure, path):
    """A picture on white; the format by the name's suffix: png, svg or pdf."""
    kind = path.suffix[1:]
    replace_absent_glyphs(figure)
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None},
                "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}[kind]
    figure.savefig(path, format=kind, dpi=150, facecolor="white", metadata=metadata)
