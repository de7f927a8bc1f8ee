"""Pages work in a browser: navigation, unfolding, sorting, filtering, light and dark, print; without a console error."""
import contextlib
import json
import math
import re
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import Select, WebDriverWait

import harness
from command import report

OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
           "--force-device-scale-factor=1", "--window-size=1280,900")


@contextlib.contextmanager
def browser_of(profile):
    options = webdriver.ChromeOptions()
    for word in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver") or "chromedriver"), options=options)
    driver.set_page_load_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browser_of(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def folder(failing, gemma, tmp_path_factory):
    """Reports of a failing and a passing result, and the index of both."""
    out = tmp_path_factory.mktemp("pages")
    for name, path, code in (("failing", failing, 1), ("passing", gemma, 0)):
        (out / f"{name}.h5").write_bytes(path.read_bytes())
        report("report", out / f"{name}.h5", "-o", out, expect=code, *() if name == "failing" else ("--no-plots",))
    report("index", out, expect=1)
    return out


@pytest.fixture(scope="module")
def curves(sweep, tmp_path_factory):
    """The page of a sweep over K on two vindexes, with logits at all positions, and the result itself."""
    out = tmp_path_factory.mktemp("curves")
    report("report", sweep, "-o", out)
    return out / f"{sweep.stem}.html", harness.Result(sweep)


@pytest.fixture
def page(browser, folder):
    """The failing result's page, freshly loaded; in the end the console must be silent."""
    browser.get_log("browser")
    browser.get((folder / "failing.html").as_uri())
    yield browser
    emulate(browser)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    silent(browser)


def silent(browser):
    entries = browser.get_log("browser")
    assert entries == [], entries


def emulate(browser, **features):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "media": features.pop("media", ""),
        "features": [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]})


def wait(browser, holds):
    return WebDriverWait(browser, 20).until(holds)


def visible(element):
    """Of an element, also inside what is folded: there it keeps its box, but is not painted."""
    return element.parent.execute_script("return arguments[0].checkVisibility({visibilityProperty: true})", element)


def in_view(browser, element):
    return browser.execute_script("const box = arguments[0].getBoundingClientRect();"
                                  "return box.top < innerHeight && box.bottom > 0 && box.height > 0", element)


def test_every_link_of_the_navigation_brings_its_section_into_view(page):
    links = page.find_elements(By.CSS_SELECTOR, "nav a")
    assert len(links) >= 10
    for link in links:
        link.click()
        target = page.find_element(By.ID, link.get_attribute("href").split("#")[1])
        wait(page, lambda driver: in_view(driver, target))


def test_link_to_a_worst_place_leads_to_its_context_norms_and_next_tokens(page, failing):
    link = page.find_element(By.CSS_SELECTOR, "#places tbody td a")
    anchor = link.get_attribute("href").split("#")[1]
    place = page.find_element(By.ID, anchor)
    assert re.match(r"place-\d+$", anchor) and not visible(place)
    link.click()
    wait(page, lambda driver: visible(place) and in_view(driver, place))
    direct = harness.Result(failing)
    layer, prompt, position, token = re.match(r"L(\d+) (\w+)/(\d+) '(.*)'$", link.text).groups()
    obs = direct.rows(prompt).start + int(position)
    assert place.find_element(By.TAG_NAME, "mark").text == token == direct["token_text"][obs].strip() or not token.strip()
    values = {item.find_element(By.TAG_NAME, "dt").text: item.find_element(By.TAG_NAME, "dd").text
              for item in place.find_elements(By.CSS_SELECTOR, "dl div")}
    assert values["norm of the FFN input"] == f"{direct['x_norm'][int(layer), obs]:.2e}"
    assert values["norm of the dense output"] == f"{direct['ref_norm'][int(layer), obs]:.2e}"
    assert any(words.startswith("next token") and "dense " in value and "; KL " in value for words, value in values.items())
    row = page.find_element(By.ID, place.find_element(By.TAG_NAME, "a").get_attribute("href").split("#")[1])
    assert not visible(row)
    place.find_element(By.TAG_NAME, "a").click()
    wait(page, lambda driver: visible(row) and in_view(driver, row))
    assert row.find_element(By.CSS_SELECTOR, "th").text == layer


def test_matrix_leads_from_a_verdict_to_its_case(page):
    cell = page.find_element(By.CSS_SELECTOR, "#verdicts .tiles td.bad a")
    fold = page.find_element(By.ID, cell.get_attribute("href").split("#")[1])
    cell.click()
    wait(page, lambda driver: fold.get_attribute("open") is not None and in_view(driver, fold.find_element(By.TAG_NAME, "summary")))
    assert cell.text in fold.find_element(By.TAG_NAME, "h3").text


def chosen(driver):
    """Cases in the summary that are shown."""
    return [row.find_element(By.TAG_NAME, "th").text for row in driver.find_elements(By.CSS_SELECTOR, "#summary tbody tr") if row.is_displayed()]


def test_one_choice_filters_the_whole_page(browser, curves):
    """Tables, lists, tiles, plots and details of other cases go; the page of the sweep has two vindexes."""
    path, direct = curves
    browser.get_log("browser")
    browser.get(path.as_uri())
    vindex, case = (Select(browser.find_element(By.ID, f"choose-{name}")) for name in ("vindex", "case"))
    assert [option.text for option in vindex.options] == ["all", "f16", "f32"] and chosen(browser) == direct.cases
    vindex.select_by_visible_text("f32")
    own = [name for name in direct.cases if name.startswith("f32:")]
    assert chosen(browser) == own
    assert [option.text for option in case.options if option.is_enabled()] == ["all", *own]
    assert browser.find_element(By.ID, "chosen").text == f"{len(own)} of {len(direct.cases)} cases shown"
    case.select_by_visible_text(own[1])
    assert chosen(browser) == own[1:2]
    at = str(direct.cases.index(own[1]))
    for item in browser.find_elements(By.CSS_SELECTOR, "[data-about]"):
        if at not in item.get_attribute("data-about").split():
            assert item.tag_name == "td" or not item.is_displayed(), item.get_attribute("outerHTML")[:200]
    shown = [fold.find_element(By.TAG_NAME, "h3").text.split(": ")[0] for fold in browser.find_elements(By.CSS_SELECTOR, "#cases details")
             if fold.is_displayed()]
    assert shown == own[1:2]
    browser.execute_script("location.hash = '#case-0'")  # a link to what is left out brings it back
    wait(browser, lambda _: browser.find_element(By.ID, "case-0").is_displayed())
    assert chosen(browser) == direct.cases and browser.find_element(By.ID, "chosen").text == ""
    silent(browser)


def test_heads_of_long_tables_stay_in_sight(browser, curves):
    browser.get(curves[0].as_uri())
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1280, "height": 300, "deviceScaleFactor": 1, "mobile": False})
    box = browser.find_element(By.CSS_SELECTOR, "#summary .scroll")
    assert browser.execute_script("return arguments[0].scrollHeight > arguments[0].clientHeight + 20", box)
    browser.execute_script("arguments[0].scrollTop = 60", box)
    top = browser.execute_script("return arguments[0].querySelector('thead th').getBoundingClientRect().top - "
                                 "arguments[0].getBoundingClientRect().top", box)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert abs(top) < 2


def test_perplexity_ratios_are_in_sight_on_a_screen_of_1400(browser, curves):
    browser.get(curves[0].as_uri())
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    box = browser.find_element(By.CSS_SELECTOR, "#rates .scroll")
    head = next(head for head in box.find_elements(By.CSS_SELECTOR, "thead th") if head.text == "PPL ratio")
    right, edge = (browser.execute_script("return arguments[0].getBoundingClientRect().right", item) for item in (head, box))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert right <= edge + 1 <= 1401


def test_folded_case_opens_and_closes_by_keyboard(page):
    fold = page.find_element(By.CSS_SELECTOR, "#cases details")
    summary = fold.find_element(By.CSS_SELECTOR, "summary")
    assert fold.get_attribute("open") is None
    summary.send_keys(Keys.ENTER)
    wait(page, lambda _: fold.get_attribute("open") is not None)
    assert visible(fold.find_element(By.CSS_SELECTOR, "table"))
    summary.send_keys(Keys.ENTER)
    wait(page, lambda _: fold.get_attribute("open") is None)


def column(table, number):
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[number].text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]


def test_tables_sort_by_number_both_ways(page, failing):
    page.find_element(By.CSS_SELECTOR, "#cases summary").click()
    table = page.find_elements(By.CSS_SELECTOR, "#cases table")[1]
    heads = table.find_elements(By.CSS_SELECTOR, "thead th")
    number = [head.text for head in heads].index("max rel_L2")
    values = [float(word) for word in column(table, number)]
    button = heads[number].find_element(By.CSS_SELECTOR, "button")
    button.click()
    assert heads[number].get_attribute("aria-sort") == "ascending"
    assert [float(word) for word in column(table, number)] == sorted(values)
    button.send_keys(Keys.SPACE)
    assert heads[number].get_attribute("aria-sort") == "descending"
    assert [float(word) for word in column(table, number)] == sorted(values, reverse=True)
    heads[0].find_element(By.CSS_SELECTOR, "button").click()
    assert heads[number].get_attribute("aria-sort") is None
    assert [int(word) for word in column(table, 0)] == list(range(len(values)))


def luminance(color):
    """WCAG 2's relative luminance of "rgb(r, g, b)"."""
    parts = [int(word) / 255 for word in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_light_and_dark_are_both_readable(page, scheme, dark):
    emulate(page, prefers_color_scheme=scheme)
    style = "return getComputedStyle(arguments[0])[arguments[1]]"
    ground = page.execute_script(style, page.find_element(By.TAG_NAME, "body"), "backgroundColor")
    assert (luminance(ground) < 0.05) == dark
    for selector, name in (("p", "color"), ("dd", "color"), ("nav a", "color"), ("td.bad, td.good", "color"),
                           ("svg text", "fill"), ("figcaption", "color")):
        color = page.execute_script(style, page.find_element(By.CSS_SELECTOR, selector), name)
        assert contrast(color, ground) >= 4.5, (selector, color, ground)
    for name in ("blue", "orange", "green", "purple", "sky", "amber", "grey"):  # WCAG 2 asks 3 of what is no text
        color = page.execute_script("const probe = document.body.appendChild(document.createElement('i'));"
                                    "probe.style.color = `var(--${arguments[0]})`;"
                                    "const found = getComputedStyle(probe).color; probe.remove(); return found", name)
        assert contrast(color, ground) >= 3, (name, color)


def test_print_leaves_out_what_paper_cannot_do_and_what_is_folded(page):
    page.execute_cdp_cmd("Page.printToPDF", {})
    emulate(page, media="print")
    assert not page.find_element(By.CSS_SELECTOR, "nav").is_displayed()
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1030, "height": 700, "deviceScaleFactor": 1, "mobile": False})
    for table in page.find_elements(By.CSS_SELECTOR, "main > section table"):  # 297 mm less the margins
        assert page.execute_script("return arguments[0].scrollWidth", table) <= 1030, table.text.splitlines()[0]
    assert not any(visible(table) for table in page.find_elements(By.CSS_SELECTOR, "details table"))
    page.execute_script("document.getElementById('case-0').open = true")
    assert all(visible(table) for table in page.find_elements(By.CSS_SELECTOR, "#case-0 table"))


def test_page_is_made_for_keyboards_and_screen_readers(page):
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    skip = page.switch_to.active_element
    assert skip.get_attribute("class") == "skip" and skip.rect["x"] >= 0
    outline = page.execute_script("return getComputedStyle(arguments[0]).outlineStyle", skip)
    assert outline == "solid"
    skip.send_keys(Keys.ENTER)
    wait(page, lambda driver: driver.switch_to.active_element.get_attribute("id") == "main")
    for landmark in ("header", "nav[aria-label]", "main", "footer"):
        assert len(page.find_elements(By.CSS_SELECTOR, landmark)) == 1
    assert page.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"
    levels = [int(head.tag_name[1]) for head in page.find_elements(By.CSS_SELECTOR, "h1, h2, h3, h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    for table in page.find_elements(By.CSS_SELECTOR, "table"):
        assert table.find_element(By.TAG_NAME, "caption").get_attribute("textContent")
        assert all(cell.get_attribute("scope") for cell in table.find_elements(By.TAG_NAME, "th"))
    for svg in page.find_elements(By.TAG_NAME, "svg"):
        assert svg.get_attribute("role") in ("img", "group") and len(svg.get_attribute("aria-label")) > 40


def test_everything_has_a_name_for_a_screen_reader(page):
    """As the browser's accessibility tree has it, with all cases unfolded."""
    page.execute_script("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    page.execute_cdp_cmd("Accessibility.enable", {})
    seen = {}
    for node in page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]:
        role = node.get("role", {}).get("value")
        if not node.get("ignored") and role in ("link", "button", "table", "image", "region", "navigation", "heading", "searchbox"):
            seen.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    page.execute_cdp_cmd("Accessibility.disable", {})
    assert {"link", "button", "table", "image", "region", "navigation", "heading"} <= set(seen)
    assert len(seen["image"]) == len(page.find_elements(By.CSS_SELECTOR, "svg[role=img], canvas[role=img]"))
    assert all(name.strip() for names in seen.values() for name in names), {role: names for role, names in seen.items() if "" in names}


def test_keyboard_stops_only_at_what_scrolls(page):
    boxes = page.find_elements(By.CSS_SELECTOR, "main .scroll")

    def stops():
        return {box for box in boxes if box.get_attribute("tabindex") == "0"}
    wide = {box for box in boxes if page.execute_script(
        "const box = arguments[0]; return box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight + 1", box)}
    assert stops() == wide and len(wide) < len(boxes) / 2
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    wait(page, lambda driver: len(stops()) > len(wide))
    box = page.find_element(By.CSS_SELECTOR, "#summary .scroll")
    assert box in stops() - wide
    box.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    wait(page, lambda driver: driver.execute_script("return arguments[0].scrollLeft", box) > 0)


def test_narrow_window_scrolls_tables_not_the_page(page):
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                         {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    words = page.find_element(By.CSS_SELECTOR, "#verdicts tbody td:last-child").rect  # what was found, without scrolling
    assert words["x"] + words["width"] <= 390, words
    region = page.find_element(By.CSS_SELECTOR, "#summary .scroll")
    page.execute_script("arguments[0].scrollLeft = 400", region)
    for selector in ("caption span", "tbody th"):  # what names a table and its rows stays in sight
        box = region.find_element(By.CSS_SELECTOR, selector).rect
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, (selector, box)


def test_charts_are_drawn_at_a_size_that_can_be_read(page):
    for svg in page.find_elements(By.CSS_SELECTOR, "figure svg"):
        assert svg.rect["width"] >= 280 and svg.rect["height"] >= 100
    sizes = page.execute_script("return [...document.querySelectorAll('figure svg text')].map("
                                "text => text.getBoundingClientRect()).map(box => box.height)")
    assert len(sizes) > 100 and min(sizes) >= 10


def test_pointing_at_a_chart_tells_the_layer_and_its_values(page, failing):
    direct = harness.Result(failing)
    svg = page.find_element(By.CSS_SELECTOR, "#profiles figure svg")
    tip = page.find_element(By.ID, "tip")
    assert not tip.is_displayed()
    first = direct["obs_position"] == 0
    for layer in range(2):
        page.execute_script("const svg = arguments[0], box = svg.getBoundingClientRect(), at = JSON.parse(svg.dataset.chart).at[arguments[1]];"
                            "svg.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + (at + 1) * box.width / 300, clientY: box.top + 40}))",
                            svg, layer)
        told = tip.text.splitlines()
        assert told[:2] == [f"{direct.cases[0]}: rel_L2", f"layer {layer}"]
        largest = direct["rel_l2"][0][layer][~first].max()
        assert math.isclose(float(told[4].removeprefix("max: ")), largest, rel_tol=6e-3)
    page.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerleave'))", svg)
    assert not tip.is_displayed()


def test_charts_are_read_by_keyboard(page):
    """One stop for a section; right and left walk over the layers, down and up to the next chart; what is told is spoken."""
    charts = page.find_elements(By.CSS_SELECTOR, "#profiles figure svg")
    assert [svg.get_attribute("tabindex") for svg in charts] == ["0"] + ["-1"] * (len(charts) - 1)
    page.execute_script("arguments[0].focus()", charts[0])
    spoken = page.find_element(By.CSS_SELECTOR, "output.spoken")
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert "layer 1" in spoken.get_attribute("textContent") and page.find_element(By.ID, "tip").is_displayed()
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert page.switch_to.active_element == charts[1]
    page.switch_to.active_element.send_keys(Keys.END)
    assert f"layer {json.loads(charts[1].get_attribute('data-chart'))['xs'][-1]}" in spoken.get_attribute("textContent")
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not page.find_element(By.ID, "tip").is_displayed()


def test_maps_are_read_by_keyboard_and_a_place_is_compared_over_cases(page, failing):
    wait(page, lambda driver: driver.find_elements(By.CSS_SELECTOR, "figure.map canvas[aria-label]"))
    direct, canvas = harness.Result(failing), page.find_element(By.CSS_SELECTOR, "figure.map canvas")
    prompt = Select(page.find_elements(By.CSS_SELECTOR, "#explorer select")[1])
    prompt.select_by_visible_text("code")
    page.execute_script("arguments[0].focus()", canvas)
    canvas.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_UP)
    spoken = page.find_element(By.CSS_SELECTOR, "output.spoken").get_attribute("textContent").splitlines()
    assert spoken[:2] == [direct.cases[0], "layer 1, code/1"]
    canvas.send_keys(Keys.ENTER)
    rows = page.find_elements(By.CSS_SELECTOR, "#pinned tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows] == direct.cases
    obs = direct.rows("code").start + 1
    for case, row in enumerate(rows):
        assert abs(float(row.find_element(By.TAG_NAME, "td").text.removeprefix("about ")) / direct["rel_l2"][case][1, obs] - 1) < 0.09


def test_two_cases_stand_side_by_side(browser, curves):
    path, direct = curves
    browser.get_log("browser")
    browser.get(path.as_uri())
    one, other = (Select(browser.find_element(By.ID, f"choose-{name}")) for name in ("case", "other"))
    assert not browser.find_element(By.ID, "choose-other").is_enabled() and not browser.find_elements(By.ID, "beside")
    names = direct.cases[2], direct.cases[3]
    one.select_by_visible_text(names[0])
    other.select_by_visible_text(names[1])
    assert chosen(browser) == list(names)
    table = browser.find_element(By.CSS_SELECTOR, "#beside table")
    assert [head.text for head in table.find_elements(By.CSS_SELECTOR, "thead th")] == ["figure", *names, "times"]
    rows = {row.find_element(By.TAG_NAME, "th").text: [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
            for row in reversed(table.find_elements(By.CSS_SELECTOR, "tbody tr"))}
    values = [direct["rel_l2"][case].max() for case in (2, 3)]
    assert rows["max rel_L2"][:2] == [f"{value:.2e}" for value in values]
    assert abs(float(rows["max rel_L2"][2]) / (values[1] / values[0]) - 1) < 6e-3
    assert {"flip rate", "PPL ratio", "seconds", "kernel that ran", "max rel_L2: place"} <= set(rows)
    browser.find_element(By.ID, "choose-all").click()
    assert not browser.find_elements(By.ID, "beside") and chosen(browser) == direct.cases
    silent(browser)


def test_long_tables_are_filtered(browser, shop, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"key": f"p{at}", "text": f"number {at}"}) + "\n" for at in range(20)))
    job = shop.job(shop.model("tiny-llama"), {"f32": shop.vindex("tiny-llama", "f32")}, prompts={"file": str(corpus)})
    job.run(expect=None)
    report("report", job.result_path, "-o", tmp_path, "--no-plots", expect=0)
    browser.get_log("browser")
    browser.get((tmp_path / f"{job.result_path.stem}.html").as_uri())
    field = browser.find_element(By.CSS_SELECTOR, "#prompts input[type=search]")
    rows = browser.find_elements(By.CSS_SELECTOR, "#prompts tbody tr")
    assert len(rows) == 20
    field.send_keys("p17")
    assert [row.is_displayed() for row in rows] == [at == 17 for at in range(20)]
    assert browser.find_element(By.CSS_SELECTOR, "#prompts output").text == "1 of 20"
    silent(browser)


def test_index_leads_to_the_reports(browser, folder):
    browser.get_log("browser")
    browser.get((folder / "index.html").as_uri())
    browser.find_element(By.LINK_TEXT, "failing.h5").click()
    assert browser.current_url.endswith("#result-0")
    browser.find_element(By.LINK_TEXT, "failing.html").click()
    wait(browser, lambda driver: driver.title and driver.current_url.endswith("failing.html"))
    assert browser.find_element(By.CSS_SELECTOR, "p.warning").is_displayed()
    silent(browser)


def test_console_errors_would_be_noticed(browser, folder, tmp_path):
    """A page with a changed script is refused by its own policy, and says so on the console."""
    source = (folder / "failing.html").read_text()
    (tmp_path / "changed.html").write_text(source.replace("unfold();\n", "unfold(); nonsense();\n", 1))
    browser.get_log("browser")
    browser.get((tmp_path / "changed.html").as_uri())
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_page_of_a_sweep_filters_by_model_and_tells_its_points(browser, folder):
    report("collect", folder, "-o", folder / "all.h5")
    browser.get_log("browser")
    browser.get((folder / "all.html").as_uri())
    model = Select(browser.find_element(By.ID, "choose-vindex"))
    assert [option.text for option in model.options] == ["all", "tiny-llama", "tiny-gemma3"]
    points = browser.find_elements(By.CSS_SELECTOR, "#cost figure:first-of-type [data-told]")
    model.select_by_visible_text("tiny-gemma3")
    shown = [point for point in points if point.is_displayed()]
    assert len(points) == 6 and len(shown) == 3
    browser.execute_script("arguments[0].focus()", shown[0])
    assert browser.find_element(By.ID, "tip").text.startswith("tiny-gemma3 f16:")
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#matrix tbody tr") if row.is_displayed()]
    assert len(rows) == 1 and rows[0].startswith("tiny-gemma3 f16")
    silent(browser)
