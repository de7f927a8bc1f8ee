"""Accuracy against cost: what a smaller or faster case pays for it."""
import math

import numpy as np

from .. import metrics
from . import style

LISTED = 40  # cases named beside the plot


@style.styled
def against_accuracy(facts):
    """Two panels, bytes read and seconds against the p95 of rel_L2; points are numbered as in the list."""
    cases = [case for case in facts["cases"] if "extremes" in case]
    lines = min(len(cases), LISTED) + (len(cases) > LISTED)
    figure = style.new_figure(10.4, max(3.4, 0.3 + 0.155 * lines))
    left, right, names = figure.subplots(1, 3, gridspec_kw={"width_ratios": [3, 3, 2.6]})
    accuracy = np.array([math.nan if case["rel_l2"]["p95"] is None else case["rel_l2"]["p95"] for case in cases])
    floor = accuracy[accuracy > 0].min() / 10 if (accuracy > 0).any() else 1e-9
    heights = np.where(accuracy > 0, accuracy, np.where(accuracy == 0, floor, np.nan))
    for panel, costs, label in ((left, [case["cost"]["bytes"] / 1e6 for case in cases], metrics.axis("bytes")),
                                (right, [case["cost"]["seconds"] for case in cases], "seconds in the FFN")):
        scatter(panel, np.array(costs, float), heights, cases)
        panel.set_xlabel(label)
        style.log_axis(panel.xaxis, [costs], 1.5)
        style.log_axis(panel.yaxis, [heights], 1.8)
    left.set_ylabel(f"{metrics.axis('rel_l2')}, p95")
    right.tick_params(labelleft=False)
    if (accuracy == 0).any():
        left.set_title("at the floor: exactly 0", fontweight="normal", fontsize=8)
    list_names(names, cases)
    return figure


def look(case):
    """Colour and marker by bucket; the words are in the list."""
    at = ("exact", "quantized", "fp4", "approximate").index(case["bucket"])
    return {"color": style.CYCLE[at], "marker": style.MARKERS[at]}


def scatter(panel, costs, heights, cases):
    """Points as numbered marks; those that lie together share one text."""
    at = [number for number, (x, y) in enumerate(zip(costs, heights)) if np.isfinite(x) and np.isfinite(y) and x > 0]
    for number in at:
        panel.plot([costs[number]], [heights[number]], linestyle="none", markersize=6, **look(cases[number]))
    for members in clusters([(math.log10(costs[number]), math.log10(heights[number])) for number in at]):
        numbers = [at[member] + 1 for member in members]
        words = ", ".join(map(str, numbers[:6])) + ("…" if len(numbers) > 6 else "")
        top = max(members, key=lambda member: heights[at[member]])
        panel.annotate(words, (costs[at[top]], heights[at[top]]), xytext=(6, 4), textcoords="offset points", fontsize=7.5)


def clusters(points):
    """Lists of points of which each lies within a 15th of the picture of another."""
    spread = [max(max(axis) - min(axis), 1.5) if axis else 1.0 for axis in zip(*points)]
    groups = []
    for at, point in enumerate(points):
        near = [group for group in groups
                if any(all(abs(a - b) < size / 15 for a, b, size in zip(point, points[other], spread)) for other in group)]
        groups = [group for group in groups if group not in near] + [sorted(sum(near, []) + [at])]
    return groups


def list_names(panel, cases):
    panel.set_axis_off()
    panel.set_xlim(0, 1)
    lines = [(f"{at + 1}  {style.shorten(case['name'], 28)}, {case['bucket']}", case) for at, case in enumerate(cases[:LISTED])]
    if len(cases) > LISTED:
        lines.append((f"… and {len(cases) - LISTED} more", None))
    for at, (line, case) in enumerate(lines):
        y = 1.0 - (at + 0.5) / max(len(lines), 12)
        if case is not None:
            panel.plot([0.02], [y], linestyle="none", markersize=5, **look(case))
        panel.text(0.08, y, style.escape(line), va="center", fontsize=8)
    panel.set_ylim(0, 1)
