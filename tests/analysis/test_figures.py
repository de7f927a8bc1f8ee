"""Every figure shows what it says: axes, ranges, labels, numbers of cells; and bears zeros, NaN and long prompts."""
import re

import matplotlib.colors
import matplotlib.figure
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import harness
from command import one_line, report
from walkaudit_report import facts, figures, stats, text
from walkaudit_report.figures import cost, distribution, heatmap, profile, style, sweep as sweep_figure
from walkaudit_report.result import open_result
from edit_result import edit


class Loaded:
    """A result with its facts and surveys, open while the tests of the module run."""

    def __init__(self, path):
        self.result = open_result(path)
        self.facts, self.surveys = facts.build(self.result, quiet=True)
        self.direct = harness.Result(path)
        self.cases = list(range(len(self.result.cases)))


@pytest.fixture(scope="module")
def exact(gemma):
    return Loaded(gemma)


@pytest.fixture(scope="module")
def curve(sweep):
    return Loaded(sweep)


@pytest.fixture(scope="module")
def odd(gemma, tmp_path_factory):
    """Case 0 differs nowhere, case 1 is not finite in one place of layer 1 and zero in layer 0."""
    path = tmp_path_factory.mktemp("odd") / "odd.h5"
    path.write_bytes(gemma.read_bytes())
    with edit(path) as file:
        for name in ("rel_l2", "one_minus_cos", "eta", "drift"):
            file[name][0] = 0.0
            file[name][1, 0] = 0.0
            file[name][1, 1, 5] = np.nan
            file[name][1, 1, 7] = np.inf
    return Loaded(path)


@pytest.fixture(scope="module")
def renamed(sweep, tmp_path_factory):
    """Long names of cases and prompts, tokens of other scripts, and rates far apart."""
    path = tmp_path_factory.mktemp("renamed") / "renamed.h5"
    path.write_bytes(sweep.read_bytes())
    with edit(path) as file:
        names = file["case_name"].asstr()[()]
        file["case_name"][...] = [f"a-vindex-with-a-long-name-{at}:{name.split(':', 1)[1]}" for at, name in enumerate(names)]
        file["prompt_key"][...] = [f"a prompt whose key is long, number {at}" for at in range(3)]
        file["token_text"][3:6] = ["人工智能的未来是什么", "$x^2$ \\frac", "wwwwwwwwwwwwwwwwwwwwwwwwwww"]
        file["rel_l2"][:, 1, 5] = np.nan
        file["bound_rel_l2"][...] = 1e-3
        file["ppl_ratio"][1] = 5e3
    return Loaded(path)


def drawn(figure):
    """Draw it, as a file would be; constrained layout settles only then."""
    style.to_svg(figure, "t")
    return figure


def panels(figure):
    return [panel for panel in figure.axes if panel.axison and panel.get_label() != "<colorbar>"]


def lines(panel):
    return {line.get_label(): line for line in panel.get_lines()}


def test_profile_has_a_panel_per_case_with_its_quantiles(exact):
    figure = drawn(profile.by_layer(exact.facts, exact.surveys, exact.cases))
    shown = panels(figure)
    assert [panel.get_title("left") for panel in shown] == exact.result.cases
    first = exact.direct["obs_position"] == 0
    for case, panel in enumerate(shown):
        values = exact.direct["rel_l2"][case]
        assert np.allclose(lines(panel)["p50"].get_ydata(), np.quantile(values[:, ~first], 0.5, axis=1), rtol=1e-12)
        assert np.allclose(lines(panel)["p95"].get_ydata(), np.quantile(values[:, ~first], 0.95, axis=1), rtol=1e-12)
        assert np.array_equal(lines(panel)["max"].get_ydata(), values[:, ~first].max(axis=1))
        assert np.array_equal(lines(panel)["position 0, max"].get_ydata(), values[:, first].max(axis=1))
        assert set(lines(panel)["bound"].get_ydata()) == {0.01}
        assert panel.get_yscale() == "log"
        low, high = panel.get_ylim()
        assert low < values.min(axis=1).min() * 2 and values.max() < high and 0.01 < high
        assert panel.get_xlim() == (-0.5, exact.result.size["layer"] - 0.5)
    assert figure._supylabel.get_text() == "rel_L2"
    assert shown[-1].get_xlabel() == "layer"
    legend = [panel for panel in figure.axes if panel.get_legend()][0].get_legend()
    assert [item.get_text() for item in legend.get_texts()] == ["p50", "p95", "max", "position 0, max", "bound"]


def test_depth_has_drift_and_eta_of_every_case(exact):
    figure = drawn(profile.along_depth(exact.facts, exact.surveys, exact.cases))
    first = exact.direct["obs_position"] == 0
    for case, panel in enumerate(panels(figure)):
        drift = exact.direct["drift"][case][:, ~first]
        assert np.allclose(lines(panel)["drift, p50: all layers so far"].get_ydata(), np.median(drift, axis=1))
        assert np.allclose(lines(panel)["η, p50: this layer alone"].get_ydata(),
                           np.median(exact.direct["eta"][case][:, ~first], axis=1))
        assert np.array_equal(lines(panel)["drift at position 0, max"].get_ydata(),
                              exact.direct["drift"][case][:, first].max(axis=1))
        band = panel.collections[0].get_paths()[0].vertices  # from the median to the largest of each layer
        assert np.isclose(band[:, 1].max(), drift.max()) and np.isclose(band[:, 1].min(), np.median(drift, axis=1).min())
        assert panel.get_title("left") == exact.result.cases[case] and panel.get_yscale() == "log"
        assert panel.get_ylim()[0] < np.median(drift, axis=1).min() and drift.max() < panel.get_ylim()[1]
        assert panel.get_xlim() == (-0.5, exact.result.size["layer"] - 0.5)
    assert figure._supylabel.get_text() == "relative to the residual stream" and panels(figure)[-1].get_xlabel() == "layer"
    legend = [panel for panel in figure.axes if panel.get_legend()][0].get_legend()
    assert [item.get_text() for item in legend.get_texts()] == [
        "drift, p50 to max", "drift, p50: all layers so far", "η, p50: this layer alone", "drift at position 0, max"]


def direct_growth(direct, case):
    """[layer, position after the first], by the definition."""
    after, added = (direct[name][case] * direct["h_norm"] for name in ("drift", "eta"))
    before = np.concatenate([np.zeros_like(after[:1]), after[:-1]])
    return (after / np.hypot(before, added))[:, direct["obs_position"] > 0]


def test_growth_is_what_a_layer_makes_of_an_error(exact, curve, monkeypatch):
    figure = drawn(profile.growth(exact.facts, exact.surveys, exact.cases))
    for case, panel in enumerate(panels(figure)):
        values = direct_growth(exact.direct, case)
        for label, share in (("p50", 0.5), ("p95", 0.95)):
            expected = np.quantile(values, share, axis=1, method="inverted_cdf")
            np.testing.assert_allclose(lines(panel)[label].get_ydata(), expected, rtol=0.024)  # a bin of the histogram
        assert set(lines(panel)["1: neither more nor less"].get_ydata()) == {1.0} and panel.get_yscale() == "log"
        low, high = panel.get_ylim()
        assert low < min(1, values.min()) * 1.5 and max(1, np.quantile(values, 0.95, axis=1).max()) < high
        assert panel.get_title("left") == exact.result.cases[case]
    assert figure._supylabel.get_text() == "growth" and panels(figure)[-1].get_xlabel() == "layer"
    np.testing.assert_allclose(exact.surveys[0, "growth"].p50[0], 1, rtol=0.024)  # all of the first layer's error is its own
    same = next(at for at in curve.cases if not curve.direct["drift"][at].any())
    assert np.isnan(curve.surveys[same, "growth"].p50).all()  # nothing differs, nothing grows
    monkeypatch.setattr(stats, "BLOCK", 4)
    monkeypatch.setattr(stats, "CHUNK", 1)  # observation by observation
    again = stats.growth(exact.result, 1)
    assert np.array_equal(again.p50, exact.surveys[1, "growth"].p50) and np.array_equal(again.p95, exact.surveys[1, "growth"].p95)


def notes(panel):
    """What a panel of distributions says below its title."""
    return panel.texts[0].get_text()


def test_distribution_counts_every_observation_once(exact):
    figure = drawn(distribution.against_bound(exact.facts, exact.surveys, exact.cases))
    shown = panels(figure)
    first = exact.direct["obs_position"] == 0
    assert len(shown) == 2 * len(exact.cases)
    for case in exact.cases:
        for panel, name in zip(shown[2 * case:2 * case + 2], ("rel_l2", "one_minus_cos")):
            shares = {patch.get_label(): patch.get_data().values.sum() for patch in panel.patches}
            for kind, where in (("positions after the first", ~first), ("position 0", first)):
                assert np.isclose(shares[kind], (exact.direct[name][case][:, where] > 0).mean())
            assert panel.get_xscale() == "log"
            assert panel.get_xlim()[0] < exact.direct[name][case].max() < panel.get_xlim()[1]
            low, high = panel.get_xlim()
            values = exact.direct[name][case]
            assert low < values[values > 0].min() and values.max() < high and panel.get_ylim()[0] == 0
            assert panel.get_title("left") == exact.result.cases[case]
            assert panel.yaxis.get_major_formatter()(0.5) == "50%"
            assert sum(low <= tick <= high for tick in panel.get_xticks()) >= 2  # one label gives no scale
        room = exact.facts["cases"][case]["headroom"]["rel_l2"]
        assert f"headroom {room:+.2f} decades" in notes(shown[2 * case])
        assert list(lines(shown[2 * case])["bound"].get_xdata()) == [0.01, 0.01]
        worst = exact.direct["rel_l2"][case].max()
        assert np.isclose(room, np.log10(0.01 / worst), atol=1e-9) and shown[2 * case].get_xlim()[1] > 0.01
        assert np.allclose(lines(shown[2 * case + 1])["bound"].get_xdata(), 1e-5)
    assert [panel.get_xlabel() for panel in shown[-2:]] == ["rel_L2", "1 − cos"]
    assert figure._supylabel.get_text() == "share of such positions"


def test_survey_histogram_puts_values_into_their_bins(exact):
    for case in exact.cases:
        values = np.abs(exact.direct["rel_l2"][case])
        expected, _ = np.histogram(values[values > 0], stats.EDGES)
        got = exact.surveys[case, "rel_l2"].histogram
        assert np.abs(np.cumsum(got["rest"] + got["first"]) - np.cumsum(expected)).max() <= 1  # at an edge, by rounding


def test_map_has_a_cell_per_layer_and_position_and_names_its_tokens(exact):
    for case, prompt in ((0, 0), (2, 1)):
        figure = drawn(heatmap.by_position(exact.result, case, prompt))
        rows, layers = exact.direct.rows(harness.SEED[prompt]), exact.result.size["layer"]
        images = [panel.get_images()[0] for panel in figure.axes if panel.get_images()]
        assert len(images) == 4  # two metrics, position 0 apart
        count = exact.result.rows(prompt)
        assert [image.get_array().shape for image in images] == [(layers, 1), (layers, count - 1)] * 2
        values = exact.direct["rel_l2"][case][:, rows]
        assert np.allclose(np.hstack([images[0].get_array(), images[1].get_array()]), values)
        norm = images[1].norm
        assert isinstance(norm, matplotlib.colors.LogNorm) and np.isclose(norm.vmax, values.max())
        assert np.isclose(norm.vmin, values.min())
        ticks = [label.get_text() for panel in (images[2].axes, images[3].axes) for label in panel.get_xticklabels()]
        assert len(ticks) == count and ticks[0].startswith("0 '")
        for at, token in enumerate(exact.direct["token_text"][rows]):
            assert ticks[at].startswith(f"{at} '") and (len(token) > 10 or token.strip()[:3].replace("$", r"\$") in ticks[at])
        assert exact.result.cases[case] in figure._suptitle.get_text() and harness.SEED[prompt] in figure._suptitle.get_text()
        assert {panel.get_ylabel() for panel in figure.axes if panel.get_label() == "<colorbar>"} == {"rel_L2", "1 − cos"}
        angles = np.hstack([image.get_array() for image in images[2:]])
        assert np.allclose(angles, exact.direct["one_minus_cos"][case][:, rows], rtol=1e-9, atol=angles.max() * 1e-8)
        assert isinstance(images[3].norm, matplotlib.colors.LogNorm) and np.isclose(images[3].norm.vmax, angles.max())
        assert [images[at].axes.get_ylabel() for at in (0, 2)] == ["layer"] * 2
        assert images[3].axes.get_xlabel() == "position and token"
        assert all(image.axes.get_ylim() == (-0.5, layers - 0.5) for image in images)  # layer 0 at the bottom


def test_map_window_shows_only_its_positions(exact):
    figure = heatmap.by_position(exact.result, 0, 1, first=3, last=9)
    images = [panel.get_images()[0] for panel in figure.axes if panel.get_images()]
    assert [image.get_array().shape[1] for image in images] == [6, 6]
    assert "positions 3 to 8 of" in figure._suptitle.get_text()
    assert [label.get_text().split()[0] for label in images[1].axes.get_xticklabels()] == list("345678")


def test_long_prompt_keeps_its_largest_value_and_few_names(exact, monkeypatch):
    monkeypatch.setattr(heatmap, "COLUMNS", 7)
    monkeypatch.setattr(heatmap, "NAMES", 4)
    figure = heatmap.by_position(exact.result, 0, 1)
    image = [panel.get_images()[0] for panel in figure.axes if panel.get_images()][1]
    values = exact.direct["rel_l2"][0][:, exact.direct.rows("apollo")][:, 1:]
    assert image.get_array().shape[1] <= 7 and image.get_array().max() == values.max()
    assert "largest of" in figure._suptitle.get_text()
    assert len(image.axes.get_xticklabels()) <= 4


def painted_colors(image):
    """What each cell of a map is painted with."""
    values = image.get_array()
    return np.array([matplotlib.colors.to_hex(color) for color in image.to_rgba(values).reshape(-1, 4)]).reshape(values.shape)


def test_zeros_and_nan_are_shown_as_such(odd):
    figure = drawn(heatmap.by_position(odd.result, 1, 0))
    images = [panel.get_images()[0] for panel in figure.axes if panel.get_images()]
    assert images[1].get_array().mask.sum() == 1 and images[1].get_array().mask[1, 4]  # position 5, the NaN
    painted = painted_colors(images[1])
    assert set(painted[0]) == {heatmap.ZERO} and painted[1, 4] == heatmap.NOT_FINITE  # layer 0; position 5
    assert heatmap.ZERO not in painted[1] and list(painted[1]).count(heatmap.NOT_FINITE) == 1
    assert "grey: exactly 0" in images[1].axes.get_title("right") and "not finite" in images[1].axes.get_title("right")
    assert np.isfinite([images[1].norm.vmin, images[1].norm.vmax]).all()
    nothing = drawn(heatmap.by_position(odd.result, 0, 0))
    assert all(set(painted_colors(panel.get_images()[0]).flat) == {heatmap.ZERO} for panel in nothing.axes if panel.get_images())
    survey = odd.surveys[1, "rel_l2"]
    assert list(survey.nonfinite) == [0, 2] + [0] * (len(survey.nonfinite) - 2) and np.isfinite(survey.rest).all()
    shown = panels(drawn(profile.by_layer(odd.facts, odd.surveys, odd.cases)))
    assert list(lines(shown[1])["not finite"].get_xdata()) == [1]
    rows = panels(drawn(distribution.against_bound(odd.facts, odd.surveys, odd.cases)))
    assert "100 % exactly 0" in notes(rows[0]) and "2 not finite" in notes(rows[2])
    for plot in figures.overviews(odd.facts, odd.surveys):
        drawn(plot.figure)


def test_curves_over_k_have_a_point_per_case(curve):
    figure = drawn(sweep_figure.over_k(curve.facts))
    shown = panels(figure)
    assert len(shown) == 4 and shown[-1].get_xlabel() == "K: features taken per position"
    solid = [line for line in shown[0].get_lines() if line.get_linestyle() == "-"]
    assert [line.get_label() for line in solid] == ["f16:sparse_serial", "f32:sparse_serial"]
    for line, vindex in zip(solid, ("f16", "f32")):
        assert list(line.get_xdata()) == [8, 24]
        for k, value in zip(line.get_xdata(), line.get_ydata()):
            assert value == curve.direct.case(f"{vindex}:sparse_serial:k{k}", "p50_rel_l2")
    names = [f"{vindex}:sparse_serial:k{k}" for vindex in ("f16", "f32") for k in (8, 24)]
    dashed = [line for line in shown[0].get_lines() if line.get_linestyle() == "--"]
    for panel_lines, of_case in (
            (dashed, lambda name: curve.direct.case(name, "p95_rel_l2")),
            (shown[1].get_lines(), lambda name: curve.direct.case(name, "kl").max()),
            (shown[2].get_lines(), lambda name: (curve.direct.case(name, "top1_match") == "yes").mean()),
            (shown[3].get_lines(), lambda name: curve.direct.case(name, "seconds").sum())):
        assert np.allclose([y for line in panel_lines for y in line.get_ydata()], [of_case(name) for name in names])
    assert [panel.get_title("left") for panel in shown] == [
        "rel_L2: p50 solid, p95 dashed", "largest KL of a prompt [nat]", "prompts with the same top-1", "seconds in the FFN"]
    assert shown[2].get_ylim() == (-0.03, 1.03)
    assert [label.get_text() for label in shown[3].get_xticklabels()] == ["8", "24"]
    assert shown[0].get_yscale() == "log" and shown[0].get_xscale() == "log"


def test_rates_show_value_error_and_limit_of_every_case(curve):
    plot = next(plot for plot in figures.overviews(curve.facts, curve.surveys) if plot.name == "rates")
    shown = panels(drawn(plot.figure))
    assert [panel.get_title("left") for panel in shown] == ["mean KL [nat]", "p99 KL [nat]", "flip rate", "PPL ratio"]
    assert [label.get_text() for label in shown[0].get_yticklabels()] == curve.result.cases
    for panel, name in zip(shown, ("mean_kl", "p99_kl", "flip_rate", "ppl_ratio")):
        data = panel.containers[0].lines[0]
        assert np.array_equal(data.get_xdata(), curve.direct[name])
        limits = [line for line in panel.get_lines() if line.get_label() == "upper 95 % limit"][0].get_xdata()
        upper = curve.direct[f"{name}_upper"]
        assert np.array_equal(limits, np.where(np.isfinite(upper), upper, np.nan), equal_nan=True)


def test_perplexities_far_apart_have_a_log_axis(curve, renamed):
    for loaded, scale in ((curve, "linear"), (renamed, "log")):
        plot = next(plot for plot in figures.overviews(loaded.facts, loaded.surveys) if plot.name == "rates")
        panel = panels(drawn(plot.figure))[3]
        assert panel.get_title("left") == "PPL ratio" and panel.get_xscale() == scale
        assert panel.get_xlim()[1] > loaded.direct["ppl_ratio"].max()


def test_next_tokens_have_a_cell_per_case_and_position(curve):
    figure = drawn(heatmap.next_tokens(curve.result, curve.cases, 2))
    rows = curve.direct.rows("code")
    images = [panel.get_images()[0].get_array() for panel in figure.axes if panel.get_images()]
    count = rows.stop - rows.start
    assert [image.shape for image in images] == [(len(curve.cases), 1), (len(curve.cases), count - 1)]
    values = curve.direct["obs_kl"][:, rows]
    shown = np.hstack(images)
    norm = figure.axes[0].get_images()[0].norm
    assert (values > 0).any() and np.allclose(shown[values > 0], np.maximum(values, norm.vmin)[values > 0])
    assert (values == 0).any() and (shown[values == 0] < norm.vmin).all()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        style.shorten(name, 26) for name in curve.result.cases]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_next_tokens_keep_their_case_names_in_a_file(curve, tmp_path, kind):
    """The panel of position 0 has the names, the one beside it shares its axis and shows none."""
    figure = heatmap.next_tokens(curve.result, curve.cases, 2)
    style.to_file(figure, tmp_path / f"map.{kind}")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        style.shorten(name, 26) for name in curve.result.cases]


def test_cost_numbers_every_case_and_lists_its_name(curve):
    figure = drawn(cost.against_accuracy(curve.facts))
    left, right = panels(figure)
    assert (left.get_xlabel(), right.get_xlabel()) == ("MB read", "seconds in the FFN")
    assert len(left.get_lines()) == len(right.get_lines()) == len(curve.cases)
    heights = [line.get_ydata()[0] for line in left.get_lines()]
    p95 = curve.direct["p95_rel_l2"]
    assert (p95 == 0).any() and left.get_title("left") == "at the floor: exactly 0"
    assert np.array_equal(heights, np.where(p95 > 0, p95, p95[p95 > 0].min() / 10))
    for panel in (left, right):
        numbers = sorted(int(word) for text in panel.texts for word in re.findall(r"\d+", text.get_text()))
        assert numbers == list(range(1, len(curve.cases) + 1))
    names = [text.get_text() for text in figure.axes[2].texts]
    buckets = curve.direct["case_bucket"]
    assert names == [f"{at + 1}  {name}, {bucket}" for at, (name, bucket) in enumerate(zip(curve.result.cases, buckets))]


def labels_apart(panel, renderer):
    """Drawn tick labels of an axis do not touch each other."""
    for axis, low, high in ((panel.xaxis, "x0", "x1"), (panel.yaxis, "y0", "y1")):
        limits = sorted(axis.get_view_interval())
        boxes = sorted((tick.label1.get_window_extent(renderer) for tick in axis.get_major_ticks()
                        if tick.label1.get_visible() and tick.label1.get_text() and limits[0] <= tick.get_loc() <= limits[1]),
                       key=lambda box: getattr(box, low))
        for one, other in zip(boxes, boxes[1:]):
            assert getattr(one, high) <= getattr(other, low) + 1, (panel.get_title("left"), one, other)


def all_plots(loaded):
    yield from figures.overviews(loaded.facts, loaded.surveys)
    for cases in ([0], [0, 1]):  # a figure of a few panels is narrow
        yield from figures.overviews({**loaded.facts, "cases": [loaded.facts["cases"][at] for at in cases]}, loaded.surveys)
    yield from figures.next_tokens(loaded.result, loaded.facts, [0])
    yield from figures.maps(loaded.result, loaded.facts, [(0, 0), (1, 1)])


@pytest.mark.filterwarnings("error:Glyph")
def test_a_file_spells_the_characters_that_its_font_lacks(renamed, tmp_path):
    figure = heatmap.by_position(renamed.result, 0, 0)
    figure.axes[0].set_title("\u4eba", loc="left")
    style.to_file(figure, tmp_path / "map.png")
    names = [label.get_text() for panel in figure.axes for label in panel.get_xticklabels()]
    assert figure.axes[0].get_title("left") == r"\u{4EBA}" and r"3 '\u{4EBA}\u{5DE5}" in "".join(names)
    assert r"'\$x^2\$ " in "".join(names) and not any(ord(char) > 0x3000 for name in names for char in name)


@pytest.mark.parametrize("name", ["exact", "curve", "odd", "renamed"])
def test_nothing_is_cut_off_or_overlaps(name, request):
    """Legends, labels and titles of every plot lie inside its figure, apart from each other."""
    for plot in all_plots(request.getfixturevalue(name)):
        style.replace_absent_glyphs(plot.figure)  # as in a file
        figure = plot.figure
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw_without_rendering()  # the layout settles
        box = figure.get_tightbbox(renderer)
        assert min(box.x0, box.y0) > -0.02, (plot.name, box)
        assert box.x1 < figure.get_figwidth() + 0.02 and box.y1 < figure.get_figheight() + 0.02, (plot.name, box)
        for panel in panels(figure):
            assert panel.bbox.width > 0.1 * figure.bbox.width or panel.get_images(), (plot.name, panel.bbox)
            labels_apart(panel, renderer)
            titles = [text for text in (panel._left_title, panel._right_title, *panel.texts) if text.get_text()]
            for at, one in enumerate(titles):
                for other in titles[at + 1:]:
                    assert not one.get_window_extent(renderer).overlaps(other.get_window_extent(renderer)), (
                        plot.name, one.get_text(), other.get_text())


def test_points_that_lie_together_share_a_number_text():
    assert cost.clusters([(0.0, 0.0), (10.0, 10.0), (0.1, 0.1), (0.5, 0.5)]) in ([[1], [0, 2, 3]], [[0, 2, 3], [1]])
    assert cost.clusters([]) == []


def test_many_cases_are_spread_over_figures_by_bucket(curve):
    assert figures.pages(list(range(30)), 12) == [list(range(10)), list(range(10, 20)), list(range(20, 30))]
    assert figures.pages([], 12) == []
    plots = [plot for plot in figures.overviews(curve.facts, curve.surveys) if plot.name.startswith("profile-rel_l2")]
    assert len(plots) == 2
    titles = [[panel.get_title("left") for panel in panels(plot.figure)] for plot in plots]
    assert sorted(sum(titles, [])) == sorted(curve.result.cases)
    assert all(":k" not in title for title in titles[0]) and all(":k" in title for title in titles[1])


@pytest.mark.parametrize("values, expected", [([], None), ([np.nan, 0.0], None), ([1e-3], (1e-4, 1e-3)),
                                              ([1e-30, 1.0, np.inf], (1e-8, 1.0)), ([1e-3, 1.0], (1e-3, 1.0))])
def test_colour_scale_bears_zeros_and_nan(values, expected):
    norm = style.color_norm(np.array(values, float))
    assert norm is None if expected is None else np.allclose((norm.vmin, norm.vmax), expected, rtol=1e-12)


def test_plot_writes_the_same_bytes_twice_and_nothing_else(gemma, tmp_path):
    for folder in ("a", "b"):
        done = report("plot", gemma, "-o", tmp_path / folder, "--maps", "1")
        assert len(done.stderr.splitlines()) == 1 and "1 of 9 maps" in done.stderr
        assert sorted(done.stdout.splitlines()) == sorted(str(path) for path in (tmp_path / folder).iterdir())
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert [name.split("-", 2)[2] for name in names if "map" not in name] == [
        "cost.png", "depth.png", "distribution.png", "growth.png", "profile-eta.png", "profile-rel_l2.png"]
    assert sum("-map-" in name for name in names) == 1
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_maps_of_names_that_look_alike_have_files_of_their_own(gemma, tmp_path):
    path = tmp_path / "keys.h5"
    path.write_bytes(gemma.read_bytes())
    with edit(path) as file:
        file["prompt_key"][...] = ["\u4e2d\u6587", "\u65e5\u672c", "k" * 300]
    done = report("plot", path, "-o", tmp_path / "out", "--case", "f16:exact", "--format", "svg")
    maps = sorted(name.name for name in (tmp_path / "out").glob("*-map-*"))
    assert maps == ["keys-map-f16-exact-" + name for name in ("k" * 60 + ".svg", "x-2.svg", "x.svg")]
    assert sum("-map-" in line for line in done.stdout.splitlines()) == 3
    assert text.slugs(["a/b", "A b", "a-b-2", "a b"]) == ["a-b", "A-b-2", "a-b-2-2", "a-b-3"]


def test_plot_draws_the_maps_that_are_asked_for(gemma, tmp_path):
    done = report("plot", gemma, "-o", tmp_path, "--case", "f16:exact", "--prompt", "code", "--prompt", "paris",
                  "--format", "svg")
    assert done.stderr == ""
    maps = {path.name for path in tmp_path.iterdir() if "-map-" in path.name}
    assert maps == {"job-audit-map-f16-exact-code.svg", "job-audit-map-f16-exact-paris.svg"}
    assert all(line.endswith(".svg") for line in done.stdout.splitlines())
    assert "no case 'nix'" in one_line(report("plot", gemma, "-o", tmp_path, "--case", "nix", expect=2))
