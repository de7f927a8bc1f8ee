"""Layer × position of one case and prompt: where on the text, and how deep, the path differs."""
import math

import matplotlib
import numpy as np

from .. import metrics, text
from . import style

COLUMNS = 180  # of a map; a longer prompt has several positions per column, the largest value shown
NAMES = 60  # positions whose token is named on the axis
ZERO, NOT_FINITE = "#c8ccd2", style.ORANGE


@style.styled
def by_position(result, case, prompt, names=("rel_l2", "one_minus_cos"), first=0, last=None):
    """One map per metric, below each other; position 0 is a column apart. Positions first to last - 1."""
    tokens = result.tokens(prompt, first, last)
    step = max(1, math.ceil(len(tokens) / COLUMNS))
    has_zero = first == 0 and len(tokens) > 0
    layers, columns = result.size["layer"], math.ceil(max(len(tokens) - has_zero, 0) / step)
    width = min(11.0, max(4.8, 0.16 * columns + 2.2))
    tall = min(4.5, max(1.1, 0.09 * layers))
    figure = style.new_figure(width, len(names) * (tall + 0.35) + 1.3)
    figure.suptitle(style.escape(title(result, case, prompt, tokens, step, first)), x=0.01, ha="left",
                    fontsize=9, fontweight="bold")
    grid = figure.subplots(len(names), 2, squeeze=False, sharey=True,
                           gridspec_kw={"width_ratios": [1, max(columns, 1)]}) if has_zero and columns else None
    for row, name in enumerate(names):
        values = result.window(name, case, prompt, first, last)
        panels = list(grid[row]) if grid is not None else [figure.add_subplot(len(names), 1, row + 1)]
        draw(figure, panels, values, name, step, has_zero, first)
        for panel in panels:
            panel.tick_params(labelbottom=row == len(names) - 1)
        panels[0].set_ylabel("layer")
    last_row = list(grid[-1]) if grid is not None else [panels[0]]
    name_positions(last_row, tokens, step, has_zero, first)
    return figure


def title(result, case, prompt, tokens, step, first):
    words = f"{result.cases[case]} on prompt {text.plain(result.prompts[prompt], 24)}"
    if first or len(tokens) < result.rows(prompt):
        words += f", positions {first} to {first + len(tokens) - 1} of {result.rows(prompt)}"
    return words + (f"; a column is the largest of {step} positions" if step > 1 else "")


def fold(values, step):
    """[layer, column]: the largest of each `step` positions; what is no number outweighs any number."""
    columns = math.ceil(values.shape[1] / step)
    padded = np.full((values.shape[0], columns * step), -np.inf)
    padded[:, :values.shape[1]] = np.where(np.isfinite(values), values, np.inf)
    folded = padded.reshape(values.shape[0], columns, step).max(axis=2)
    return np.where(np.isfinite(folded), folded, np.nan)


def draw(figure, panels, values, name, step, has_zero, first):
    values = np.abs(values)
    norm = style.color_norm(values)
    colormap = matplotlib.colormaps["viridis"].with_extremes(bad=NOT_FINITE, under=ZERO)
    pieces = [values] if len(panels) == 1 else [values[:, :1], values[:, 1:]]
    for panel, piece in zip(panels, pieces):
        folded = fold(piece, step if piece is pieces[-1] else 1)
        # what is below the scale but above 0 has the scale's last colour; only 0 itself is "under"
        shown = folded if norm is None else np.where(folded > 0, np.maximum(folded, norm.vmin), folded)
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
    bar = figure.colorbar(image, ax=panels, pad=0.01, fraction=0.05, aspect=12)
    bar.set_label(metrics.axis(name))
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    style.log_ticks(bar.ax.yaxis, norm.vmin, norm.vmax)


def name_positions(panels, tokens, step, has_zero, first):
    """Positions on the axis, each with its token as long as there is room."""
    if len(panels) == 2:
        panels[0].set_xticks([0], [style.escape(f"0 {text.token(tokens[0], 12)}")], rotation=90, fontsize=7)
    panel, offset = panels[-1], 1 if len(panels) == 2 else 0
    count = len(tokens) - offset
    every = max(1, math.ceil(count / NAMES / step)) * step
    places = np.arange(0, count, every)
    panel.set_xticks(places // step, [style.escape(f"{first + offset + at} {text.token(tokens[offset + at], 12)}")
                                      for at in places], rotation=90, fontsize=7)
    panel.set_xlabel("position and token")
