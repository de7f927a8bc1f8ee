"""A page of 18 cases × 4,000 positions: its size, its pages of paper, its maps; a small one on paper."""
import base64
import re

import h5py
import numpy as np
import pytest
from selenium.webdriver.common.by import By

from command import report
from made import Made
from test_pages import browser, emulate, silent, wait  # noqa: F401  (browser is a fixture)

PATHS = ("sparse", "sparse_serial", "sparse_parallel", "full_mmap", "exact", "interleaved_q4k")
LAYERS, PROMPTS, POSITIONS = 30, 10, 400
SIZE, PAGES = 5_000_000, 20  # bytes of the page, sheets of paper


@pytest.fixture(scope="module")
def large(sweep, tmp_path_factory):
    """18 cases of three vindexes; the first is equal everywhere, the last is not finite at one place."""
    path = tmp_path_factory.mktemp("large") / "large.h5"
    vindexes = ("f16", "q8", "q4k")
    cases = [f"{vindex}:{kind}" for vindex in vindexes for kind in PATHS]
    made = Made(path, sweep, cases, LAYERS, {f"prompt-{at}": POSITIONS for at in range(PROMPTS)}, vindexes)
    random = np.random.default_rng(5)
    observations = PROMPTS * POSITIONS
    made["token_text"][...] = random.choice([" the", " of", "ing", "\n", "é", " question"], observations).astype(object)
    made["token_id"][...] = random.integers(1, 900, observations)
    for name in ("obs_ref_top1_id", "obs_top1_id"):
        made[name][...] = random.integers(1, 900, made[name].shape)
    for name in ("obs_ref_top1_prob", "obs_top1_prob", "obs_ref_margin"):
        made[name][...] = random.random(made[name].shape)
    for name in ("x_norm", "ref_norm", "h_norm"):
        made[name][...] = 1 + random.random(made[name].shape)
    scales = np.repeat([1e-7, 1e-3, 1e-1], len(PATHS))
    for name in ("rel_l2", "one_minus_cos", "eta", "drift", "obs_kl"):
        for case, scale in enumerate(scales):
            made[name][case] = 0.0 if case == 0 else scale * random.lognormal(0, 0.7, made[name].shape[1:])
    made["rel_l2"][len(cases) - 1, 3, 17] = np.nan
    for case in range(1, len(cases)):
        values = np.nan_to_num(made["rel_l2"][case])
        layer, obs = np.unravel_index(np.argmax(values), values.shape)
        for prefix in ("", "rest_"):
            for name in ("max_rel_l2", "max_eta"):
                made[prefix + name][case], made[f"{prefix}{name}_at_layer"][case], made[f"{prefix}{name}_at_obs"][case] = values.max(), layer, obs
    for name in ("flip_rate", "far_flip_rate", "mean_kl", "p99_kl", "ppl_ratio", "mean_next_logprob_delta"):
        made[name][...] = scales
        made[f"{name}_err"][...], made[f"{name}_upper"][...] = scales / 9, 2 * scales
    for name in ("kl", "js", "prob_delta"):
        made[name][...] = scales[:, None]
    for name in ("bytes_read", "flops"):
        made[name][...] = (np.arange(len(cases))[:, None] + 3) * 1_000_000
    made["seconds"][...] = 0.01 + 0.001 * np.arange(len(cases))[:, None]
    made["p95_rel_l2"][...] = np.where(np.arange(len(cases)) == 0, 0, scales * 3)
    made.close()
    return path


@pytest.fixture(scope="module")
def page_of_large(large, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    report("report", large, "-o", out)
    return out / "large.html"


def paper(browser):
    """(sheets, bytes) of the page printed as its style says."""
    data = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})["data"])
    return len(re.findall(rb"/Type\s*/Page\b", data)), len(data)


def drawn(browser):
    wait(browser, lambda driver: driver.execute_script("return document.getElementById('explorer').ariaBusy !== 'true' && "
                                                       "document.querySelectorAll('figure.map canvas[aria-label]').length > 0"))


def test_a_large_page_is_small_and_prints_on_few_sheets(browser, page_of_large):
    size = page_of_large.stat().st_size
    browser.get(page_of_large.as_uri())
    drawn(browser)
    sheets, weight = paper(browser)
    print(f"\n18 cases × {PROMPTS * POSITIONS} positions × {LAYERS} layers: {size / 1e6:.2f} MB of HTML, {sheets} sheets of paper "
          f"({weight / 1e6:.2f} MB of PDF)")
    assert size < SIZE and sheets <= PAGES
    silent(browser)


def test_no_figure_is_cut_by_the_end_of_a_sheet(browser, page_of_large):
    """What must stay whole says so, and is lower than a sheet: 210 mm less the margins, at 96 per inch."""
    browser.get(page_of_large.as_uri())
    drawn(browser)
    emulate(browser, media="print")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1030, "height": 700, "deviceScaleFactor": 1, "mobile": False})
    figures = browser.execute_script("return [...document.querySelectorAll('figure')].map(figure => [getComputedStyle(figure).breakInside, "
                                     "figure.getBoundingClientRect().height, figure.getBoundingClientRect().right])")
    emulate(browser)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert len(figures) > 100
    assert all(rule == "avoid" and height < 700 and right <= 1031 for rule, height, right in figures), max(figures, key=lambda one: one[1])


def test_maps_of_4000_positions_zoom_by_prompt_and_tell_the_place(browser, page_of_large, large):
    browser.get(page_of_large.as_uri())
    drawn(browser)
    with h5py.File(large) as file:
        value = file["rel_l2"][7, 4, 3 * POSITIONS + 20]
    canvas = browser.find_elements(By.CSS_SELECTOR, "figure.map canvas")[7]
    assert browser.find_element(By.CSS_SELECTOR, "#explorer .tools output").text == f"prompt-0/0 to prompt-9/{POSITIONS - 1}"
    step = "const select = document.querySelectorAll('#explorer select')[1]; select.value = 4; select.dispatchEvent(new Event('change'))"
    browser.execute_script(step)
    assert browser.find_element(By.CSS_SELECTOR, "#explorer .tools output").text == f"prompt-3/0 to prompt-3/{POSITIONS - 1}"
    box = browser.execute_script("const box = arguments[0].getBoundingClientRect(); return [box.left, box.top, box.width]", canvas)
    each = (box[2] - 34) / POSITIONS
    cell = min(9, 150 // LAYERS)
    browser.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointermove', {clientX: arguments[1], clientY: arguments[2]}))", canvas,
                           box[0] + 34 + 20.5 * each, box[1] + cell * (LAYERS - 4 - 0.5))
    told = browser.find_element(By.ID, "tip").text.splitlines()
    assert told[0] == "q8:sparse_serial" and told[1] == "layer 4, prompt-3/20" and "[" in told[2]
    said = float(re.search(r"rel_L2 about (\S+)", told[-1]).group(1))
    assert abs(said / value - 1) < 0.09  # four per cent of the byte, and two digits
    silent(browser)


def test_maps_say_where_all_is_zero_and_where_nothing_is_finite(browser, page_of_large):
    browser.get(page_of_large.as_uri())
    drawn(browser)
    figures = browser.find_elements(By.CSS_SELECTOR, "figure.map")
    assert figures[0].find_element(By.CSS_SELECTOR, ".zero").text == "rel_L2: exactly 0 at every layer and position."
    assert not figures[0].find_element(By.TAG_NAME, "canvas").is_displayed() and figures[1].find_element(By.TAG_NAME, "canvas").is_displayed()
    zero = browser.find_element(By.CSS_SELECTOR, "#profiles figure")
    assert "exactly 0 everywhere" in zero.text
    canvas = figures[17].find_element(By.TAG_NAME, "canvas")
    pixels = browser.execute_script("const canvas = arguments[0], pen = canvas.getContext('2d'), found = {}; const data = "
                                    "pen.getImageData(34, 0, canvas.width - 34, 150).data; for (let at = 0; at < data.length; at += 4) "
                                    "found[data.slice(at, at + 3)] = 1; return Object.keys(found)", canvas)
    assert "213,94,0" in pixels  # the one place that is not finite, though 4,000 positions share 1,200 pixels


def test_cost_labels_overlap_neither_each_other_nor_a_point(browser, page_of_large):
    browser.get(page_of_large.as_uri())
    boxes = browser.execute_script("return [...document.querySelectorAll('#cost figure svg')].map(svg => [...svg.querySelectorAll('.label, .mark')]"
                                   ".map(item => { const box = item.getBoundingClientRect(); return [item.textContent, box.left, box.top, box.right, "
                                   "box.bottom]; }))")
    assert len(boxes) == 2
    for chart in boxes:
        labels, marks = [box for box in chart if box[0]], [box for box in chart if not box[0]]
        assert len(marks) == 18 and len(labels) >= 12
        for at, one in enumerate(labels):
            for other in labels[at + 1:] + marks:
                assert not (one[1] < other[3] - 1 and other[1] < one[3] - 1 and one[2] < other[4] - 2 and other[2] < one[4] - 2), (one, other)
