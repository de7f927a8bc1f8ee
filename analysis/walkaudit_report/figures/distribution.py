"""How the differences of each case are distributed, against the bound that judges them."""
import math

import numpy as np

from .. import metrics, stats, text
from . import style


@style.styled
def against_bound(facts, surveys, cases):
    """A row per case, columns rel_L2 and 1 − cos: share of observations per bar, first positions and the others each
    for themselves, the bound, the headroom."""
    figure, axes, legend = style.facets(2 * len(cases), columns=2, width=4.9, height=1.45, share_x=False, share_y=False)
    columns = (("rel_l2", axes[0::2]), ("one_minus_cos", axes[1::2]))
    for name, panels in columns:
        limits = []
        for panel, case in zip(panels, cases):
            limits += draw(panel, facts["cases"][case], surveys[case, name], name)
        for panel in panels:
            style.log_axis(panel.xaxis, [limits], 2)
            panel.set_ylim(bottom=0)
            panel.yaxis.set_major_locator(style.ticker.MaxNLocator(3))
            panel.yaxis.set_major_formatter(style.ticker.PercentFormatter(1.0, decimals=0))
            panel.tick_params(labelbottom=panel is panels[-1])
        panels[-1].set_xlabel(metrics.axis(name))
    figure.supylabel("share of such positions", fontsize=style.RC["font.size"])
    style.share_legend(legend, axes, 4)
    return figure


def bound_of(case, name):
    """The bound in the metric's own terms: the bound on cos is one on 1 − cos."""
    if name == "rel_l2":
        return case["bounds"]["rel_l2"]
    return None if case["bounds"]["cos"] is None else 1.0 - case["bounds"]["cos"]


def draw(panel, case, survey, name):
    """One histogram. Returns the values that the axis must hold."""
    edges = stats.EDGES
    held = []
    totals = {kind: sum(survey.histogram[kind]) + survey.zeros[kind] for kind in ("rest", "first")}
    for kind, color, label in (("rest", style.BLUE, "positions after the first"), ("first", style.PURPLE, "position 0")):
        counts = survey.histogram[kind]
        if counts.any():
            panel.stairs(counts / totals[kind], edges, fill=kind == "rest", color=color, linewidth=1.3,
                         alpha=0.75 if kind == "rest" else 1.0, label=label)
            used = np.flatnonzero(counts)
            held += [edges[used[0]], edges[used[-1] + 1]]
    zeros = survey.zeros["rest"] + survey.zeros["first"]
    bound = bound_of(case, name)
    notes = ["no bound"] if bound is None else []
    if bound is not None and bound > 0:
        panel.axvline(bound, color=style.ORANGE, linestyle="--", linewidth=1.4, label="bound")
        held.append(bound)
        room = case.get("headroom", {}).get("rel_l2" if name == "rel_l2" else "cos")
        if room is not None and math.isfinite(room):
            notes.append(f"headroom {text.decades(room)} decades")
    if zeros:
        notes.append(f"{100 * zeros / sum(totals.values()):.0f} % exactly 0")
    nonfinite = int(survey.nonfinite.sum())
    if nonfinite:
        notes.append(f"{nonfinite} not finite")
    panel.set_title(style.escape(style.shorten(case["name"])), pad=15)  # room for the notes below it
    panel.text(0, 1.04, ", ".join(notes), transform=panel.transAxes, fontsize=8)
    return held
