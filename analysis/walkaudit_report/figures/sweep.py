"""Approximate cases as a curve over K: how the error falls with the number of features taken."""
import numpy as np

from .. import metrics
from . import style


def curves(facts):
    """{(vindex, path): [case, …] by K} of the cases with a K; one point is a curve too."""
    groups = {}
    for at, case in enumerate(facts["cases"]):
        if case["k"] is not None and "extremes" in case:
            groups.setdefault((case["vindex"] or "", case["path"]), []).append(at)
    return {key: sorted(cases, key=lambda at: facts["cases"][at]["k"]) for key, cases in groups.items()}


@style.styled
def over_k(facts):
    """Panels: rel_L2 (p50, p95, max), KL of the worst prompt, prompts with the same top-1, seconds."""
    figure, axes, legend = style.facets(4, columns=2, width=4.4, height=2.2, share_y=False,
                                        x_label="K: features taken per position")
    seen = {0: [], 1: [], 3: []}
    ks = set()
    for number, ((vindex, path), cases) in enumerate(curves(facts).items()):
        points = [facts["cases"][at] for at in cases]
        k = [case["k"] for case in points]
        ks.update(k)
        look = {"color": style.CYCLE[number % len(style.CYCLE)], "marker": style.MARKERS[number % len(style.MARKERS)]}
        name = f"{vindex}:{path}" if vindex else path
        for quantity, dash in (("p50", "-"), ("p95", "--")):
            values = [case["rel_l2"][quantity] for case in points]
            axes[0].plot(k, none_as_nan(values), linestyle=dash, **look, label=name if quantity == "p50" else None)
            seen[0].append(none_as_nan(values))
        kl = [None if case["next_token"]["kl"] is None else case["next_token"]["kl"]["value"] for case in points]
        axes[1].plot(k, none_as_nan(kl), **look)
        axes[2].plot(k, [case["next_token"]["top1_same"] / max(case["next_token"]["of"], 1) for case in points], **look)
        seconds = [case["cost"]["seconds"] for case in points]
        axes[3].plot(k, seconds, **look)
        seen[1].append(none_as_nan(kl))
        seen[3].append(seconds)
    for at, title in enumerate((f"{metrics.axis('rel_l2')}: p50 solid, p95 dashed", "largest KL of a prompt [nat]",
                                "prompts with the same top-1", "seconds in the FFN")):
        axes[at].set_title(title)
        if at in seen:
            style.log_axis(axes[at].yaxis, seen[at])
    axes[2].set_ylim(-0.03, 1.03)
    axes[2].yaxis.set_major_formatter(style.ticker.PercentFormatter(1.0, decimals=0))
    name_ks(axes, sorted(ks))
    style.share_legend(legend, axes, 3)
    return figure


def none_as_nan(values):
    return np.array([np.nan if value is None else value for value in values], float)


def name_ks(axes, ks):
    """K on a log axis, the very values of the job as ticks; few enough to read."""
    shown = ks[::max(1, -(-len(ks) // 8))]
    for panel in axes:
        panel.set_xscale("log", base=2)
        panel.set_xlim(min(ks) / 1.25, max(ks) * 1.25)
        panel.set_xticks(shown, [str(k) for k in shown])
        panel.xaxis.set_minor_locator(style.ticker.NullLocator())
