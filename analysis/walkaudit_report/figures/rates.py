"""Rates over all positions, each with its error, its upper limit and the bound that judges the limit."""
import math

import numpy as np

from .. import metrics
from . import style

SHOWN = ("mean_kl", "p99_kl", "flip_rate", "ppl_ratio")
WIDE = 10  # a perplexity ratio beyond which the others would all lie at 1


@style.styled
def with_limits(facts, cases):
    """A panel per rate, a line per case: value ± standard error, a bar at the upper 95 % limit, the bound."""
    figure = style.new_figure(11.0, 0.26 * len(cases) + 1.5)
    grid = figure.add_gridspec(2, len(SHOWN), height_ratios=[0.26 * len(cases) + 0.9, style.LEGEND])
    axes = [figure.add_subplot(grid[0, at]) for at in range(len(SHOWN))]
    at = np.arange(len(cases))
    for panel, name in zip(axes, SHOWN):
        rates = [facts["cases"][case]["rates"][name] for case in cases]
        value, error, upper, bound = (np.array([math.nan if rate[key] is None else rate[key] for rate in rates])
                                      for key in ("value", "error", "upper", "bound"))
        panel.errorbar(value, at, xerr=np.nan_to_num(error), fmt="o", color=style.BLUE, capsize=2,
                       label="value ± standard error")
        panel.plot(np.where(np.isfinite(upper), upper, np.nan), at, "|", color=style.PURPLE, markersize=9,
                   markeredgewidth=1.8, label="upper 95 % limit")
        if np.isfinite(bound).any():
            panel.plot(bound, at, "D", color=style.ORANGE, markersize=4, label="bound on the limit")
        panel.set_title(metrics.axis(name))
        panel.set_yticks(at, [])
        panel.set_ylim(len(cases) - 0.5, -0.5)
        panel.xaxis.set_major_locator(style.ticker.MaxNLocator(4))
        if name == "flip_rate":
            panel.xaxis.set_major_formatter(style.ticker.PercentFormatter(1.0))
        if name.endswith("kl") or name == "ppl_ratio" and np.nanmax(value, initial=1.0) > WIDE:
            style.log_axis(panel.xaxis, [value, upper, bound])
    axes[0].set_yticks(at, [style.escape(style.shorten(facts["cases"][case]["name"])) for case in cases])
    place = figure.add_subplot(grid[1, :])
    place.set_axis_off()
    style.share_legend(place, axes, 3)
    return figure
