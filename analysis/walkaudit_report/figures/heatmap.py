"""Layer × position of a case and prompt, and case × position: where on the text, and how deep, paths differ."""
import math

import matplotlib
import numpy as np

from .. import metrics, stats, text
from . import style

COLUMNS = 180  # of a map; a longer prompt has several positions per column, the largest value shown
NAMES = 60  # positions whose token is named on the axis
ZERO, NOT_FINITE = "#c8ccd2", style.ORANGE


READ = 1 << 16  # positions read at once


class Window:
    """Positions first to last - 1 of a prompt, `step` of them to a column; position 0, if among them, apart.

    read(name, first, last) gives the values [row, position] that a map shows.
    """

    def __init__(self, result, prompt, first, last, read):
        self.result, self.prompt, self.first, self.read = result, prompt, first, read
        self.rows = result.rows(prompt)
        self.last = self.rows if last is None else min(last, self.rows)
        self.has_zero = first == 0 and self.last > 0
        self.start = first + self.has_zero  # of the columns
        count = max(self.last - self.start, 0)
        self.step = max(1, math.ceil(count / COLUMNS))
        self.columns = math.ceil(count / self.step)

    def values(self, name):
        """[row, 1] at position 0, if among them, and [row, column] of a metric: the largest of each column."""
        pieces = []
        block = self.step * max(1, READ // self.step)
        for start in range(self.start, self.last, block):
            values = self.read(name, start, min(start + block, self.last))
            pieces.append(stats.fold(np.abs(values), self.step))
        return ([np.abs(self.read(name, 0, 1))] if self.has_zero else []) + ([np.hstack(pieces)] if pieces else [])

    def label(self, position):
        token = self.result.token(int(self.result.starts[self.prompt]) + position)
        return style.escape(f"{position} {text.token(token, 12)}")

    def title(self):
        words = f"prompt {text.plain(self.result.prompts[self.prompt], 24)}"
        if self.first or self.last < self.rows:
            words += f", positions {self.first} to {self.last - 1} of {self.rows}"
        return words + (f"; a column is the largest of {self.step} positions" if self.step > 1 else "")


@style.styled
def by_position(result, case, prompt, names=("rel_l2", "one_minus_cos"), first=0, last=None):
    """One map per metric, below each other; position 0 is a column apart. Positions first to last - 1, at least one."""
    window = Window(result, prompt, first, last, lambda name, *span: result.window(name, case, prompt, *span))
    return maps(window, names, result.size["layer"], f"{result.cases[case]} on ", "layer")


@style.styled
def next_tokens(result, cases, prompt, first=0, last=None):
    """KL at every position, a row per case: where each would go on otherwise. Needs `logits: all`."""
    start = int(result.starts[prompt])
    window = Window(result, prompt, first, last,
                    lambda name, begin, end: result.read(name, (cases, slice(start + begin, start + end))))
    figure = maps(window, ("obs_kl",), len(cases), "Next tokens on ", "")
    names = [style.escape(style.shorten(result.cases[case], 26)) for case in cases]
    figure.axes[0].set_yticks(range(len(cases)), names)
    figure.axes[0].invert_yaxis()
    return figure


def maps(window, names, rows, title, y_label):
    width = min(11.0, max(4.8, 0.16 * window.columns + 2.2)) + (0 if y_label else 1.2)
    tall = min(4.5, max(1.1, 0.09 * rows)) if y_label else max(1.0, 0.19 * rows)
    figure = style.new_figure(width, len(names) * (tall + 0.35) + 1.3)
    style.head(figure, title + window.title())
    widths = [size for size in (1 if window.has_zero else 0, window.columns) if size]
    grid = figure.subplots(len(names), len(widths), squeeze=False, sharey=True, gridspec_kw={"width_ratios": widths})
    for number, (row, name) in enumerate(zip(grid, names)):
        draw(figure, row, window.values(name), name)
        row[0].set_ylabel(y_label)
        for panel in row:
            panel.tick_params(bottom=number == len(names) - 1, labelbottom=number == len(names) - 1)
    name_positions(list(grid[-1]), window)
    return figure


def draw(figure, panels, pieces, name):
    values = np.hstack(pieces)
    norm = style.color_norm(values)
    colormap = matplotlib.colormaps["viridis"].with_extremes(bad=NOT_FINITE, under=ZERO)
    for panel, piece in zip(panels, pieces):
        # what is below the scale but above 0 has the scale's last colour; only 0 itself is "under"
        shown = piece if norm is None else np.where(piece == 0, norm.vmin / 2, np.maximum(piece, norm.vmin))
        image = panel.imshow(np.ma.masked_invalid(shown), aspect="auto", origin="lower", interpolation="nearest",
                             cmap=colormap, norm=norm or style.colors.Normalize(1.0, 2.0))
        panel.grid(False)
        panel.yaxis.set_major_locator(style.ticker.MaxNLocator(6, integer=True, min_n_ticks=1))
    notes = [word for word, holds in (("grey: exactly 0", (values == 0).any()),
                                      ("orange: not finite", not np.isfinite(values).all())) if holds]
    if norm is None:
        panels[-1].set_title(f"{metrics.axis(name)}: {'; '.join(notes) or 'nothing to show'}", fontweight="normal")
        return
    panels[-1].set_title("; ".join(notes), fontweight="normal", fontsize=8, loc="right")
    bar = figure.colorbar(image, ax=list(panels), pad=0.01, fraction=0.05, aspect=12)
    bar.set_label(metrics.axis(name))
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    style.log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)


def name_positions(panels, window):
    """Positions on the axis, each with its token as long as there is room."""
    if window.has_zero:
        panels[0].set_xticks([0], [window.label(0)], rotation=90, fontsize=7)
    panel = panels[-1]
    panel.set_xlabel("position and token")
    if window.columns:
        columns = np.arange(0, window.columns, max(1, math.ceil(window.columns / NAMES)))
        panel.set_xticks(columns, [window.label(window.start + int(at) * window.step) for at in columns], rotation=90,
                         fontsize=7)
