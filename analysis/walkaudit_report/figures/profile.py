"""Error by layer: quantiles and extremes of every case; and how it grows along the depth."""
import numpy as np

from .. import metrics
from . import style


@style.styled
def by_layer(facts, surveys, cases, name="rel_l2"):
    """One panel per case: p50, p95 and max of the positions after the first, position 0 apart, the bound."""
    figure, axes, legend = style.facets(len(cases), x_label="layer")
    layers = facts["size"]["layers"]
    seen = []
    for panel, case in zip(axes, cases):
        survey = surveys[case, name]
        at = np.arange(layers)
        panel.plot(at, survey.p50, color=style.BLUE, label="p50")
        panel.plot(at, survey.p95, color=style.BLUE, linestyle="--", linewidth=1, label="p95")
        panel.plot(at, survey.rest, color=style.ORANGE, marker="o", linewidth=1, label="max")
        panel.plot(at, survey.first, color=style.PURPLE, marker="D", linestyle="none", label="position 0, max")
        bound = facts["cases"][case]["bounds"].get(name) if name == "rel_l2" else None
        if bound is not None:
            panel.axhline(bound, color=style.INK, linestyle=":", linewidth=1.2, label="bound")
            seen.append(bound)
        style.mark_nonfinite(panel, np.flatnonzero(survey.nonfinite))
        seen += [survey.p50, survey.rest, survey.first]
        finish(panel, facts, case, layers)
    for panel in axes:
        style.log_axis(panel.yaxis, seen)
    label_left(figure, metrics.axis(name))
    style.share_legend(legend, axes, 6)
    return figure


@style.styled
def along_depth(facts, surveys, cases):
    """One panel per case: what each layer adds (η) and what has come together (drift)."""
    figure, axes, legend = style.facets(len(cases), x_label="layer")
    layers = facts["size"]["layers"]
    seen = []
    for panel, case in zip(axes, cases):
        eta, drift = surveys[case, "eta"], surveys[case, "drift"]
        at = np.arange(layers)
        panel.fill_between(at, positive(drift.p50), positive(drift.rest), color=style.BLUE, alpha=0.18, linewidth=0,
                           label="drift, p50 to max")
        panel.plot(at, drift.p50, color=style.BLUE, label="drift, p50: all layers so far")
        panel.plot(at, eta.p50, color=style.ORANGE, linestyle="--", label="η, p50: this layer alone")
        panel.plot(at, drift.first, color=style.PURPLE, marker="D", linestyle="none", label="drift at position 0, max")
        style.mark_nonfinite(panel, np.flatnonzero(drift.nonfinite + eta.nonfinite))
        seen += [drift.p50, drift.rest, drift.first, eta.p50]
        finish(panel, facts, case, layers)
    for panel in axes:
        style.log_axis(panel.yaxis, seen)
    label_left(figure, "relative to the residual stream")
    style.share_legend(legend, axes, 4)
    return figure


@style.styled
def growth(facts, surveys, cases):
    """One panel per case: what each layer makes of the error that reaches it; above 1 it magnifies, below 1 it heals."""
    figure, axes, legend = style.facets(len(cases), x_label="layer")
    layers = facts["size"]["layers"]
    seen = [1.0]
    for panel, case in zip(axes, cases):
        found, at = surveys[case, "growth"], np.arange(layers)
        panel.axhline(1.0, color=style.INK, linestyle=":", linewidth=1.2, label="1: neither more nor less")
        panel.plot(at, found.p50, color=style.BLUE, marker="o", label="p50")
        panel.plot(at, found.p95, color=style.BLUE, linestyle="--", linewidth=1, label="p95")
        seen += [found.p50, found.p95]
        finish(panel, facts, case, layers)
    for panel in axes:
        style.log_axis(panel.yaxis, seen)
    label_left(figure, metrics.axis("growth"))
    style.share_legend(legend, axes, 3)
    return figure


def positive(values):
    """A filled band has no place for zeros on a log axis."""
    return np.where(values > 0, values, np.nan)


def finish(panel, facts, case, layers):
    panel.set_title(style.escape(style.shorten(facts["cases"][case]["name"])))
    style.layer_axis(panel, layers)


def label_left(figure, label):
    figure.supylabel(label, fontsize=style.RC["font.size"])
