"""`report` and `index`: three files of each result that say what the file says, in every form the same."""
import base64
import csv
import html
import html.parser
import json
import math
import os
import pathlib
import re
import subprocess
import zlib

import h5py
import numpy as np
import pytest

import harness
from command import ROOT, SOURCE, one_line, report

from walkaudit_report import facts, layout, text
from edit_result import edit

VOID = {"meta", "link", "input", "br", "img"}


class Page(html.parser.HTMLParser):
    """Tags in balance; ids, links, tables as rows of texts, and what the page would fetch."""

    def __init__(self, source):
        super().__init__()
        self.open, self.ids, self.links, self.tables, self.cell, self.fetched = [], [], [], [], None, []
        self.feed(source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        self.fetched += [value for name, value in attributes.items() if name in ("src", "href", "xlink:href")
                         and value and not value.startswith(("#", "data:"))]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.cell = ""
            if tag == "th":
                assert attributes.get("scope") in ("col", "row")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def table_of(page, title):
    """The first table with a column of this title."""
    return next(table for table in page.tables if title in table[0])


@pytest.fixture(scope="module")
def made(gemma, sweep, failing, tmp_path_factory):
    """{name: (result, document, markdown, page source)} of all three results."""
    out = {}
    for name, path, code in (("gemma", gemma, 0), ("sweep", sweep, 0), ("failing", failing, 1)):
        folder = tmp_path_factory.mktemp(name)
        done = report("report", path, "-o", folder, expect=code)
        names = [pathlib.Path(line).name for line in done.stdout.splitlines()]
        assert names == ["job-audit.json", "job-audit.md", "job-audit.html"] and done.stderr == ""
        out[name] = (path, json.loads((folder / names[0]).read_text()), (folder / names[1]).read_text(),
                     (folder / names[2]).read_text())
    return out


def no_constant(word):
    raise AssertionError(f"{word} is no JSON")


def test_json_says_what_the_file_says(made):
    for path, document, _, _ in made.values():
        direct = harness.Result(path)
        assert (document["schema"], document["schema_version"]) == ("walkaudit-report", 1)
        assert [case["name"] for case in document["cases"]] == direct.cases
        assert [case["verdict"] for case in document["cases"]] == list(direct["verdict"])
        for at, case in enumerate(document["cases"]):
            assert case["extremes"]["all"]["max_rel_l2"]["value"] == direct["rel_l2"][at].max()
            assert case["extremes"]["all"]["min_cos"]["value"] == direct["cos"][at].min()
            first = direct["obs_position"] == 0
            assert case["extremes"]["first"]["max_rel_l2"]["value"] == direct["rel_l2"][at][:, first].max()
            assert case["extremes"]["rest"]["max_eta"]["value"] == direct["eta"][at][:, ~first].max()
            assert case["cost"]["bytes"] == direct["bytes_read"][at].sum()
            for row, layer in zip(direct["rel_l2"][at], case["layers"]):
                assert math.isclose(layer["rest_p50_rel_l2"], np.quantile(row[~first], 0.5), rel_tol=1e-12)
                assert math.isclose(layer["rest_p95_rel_l2"], np.quantile(row[~first], 0.95), rel_tol=1e-12)
                assert layer["first_max_rel_l2"] == row[first].max()
            for prompt, row in enumerate(case["prompts"]):
                assert row["kl"] == direct["kl"][at][prompt] and row["top1"] == direct["top1_text"][at][prompt]


def test_the_dense_model_itself_is_shown(made):
    """Its perplexity, and the warning as the file has it: gemma's weights are random and sure of themselves."""
    warned = set()
    for path, document, markdown, page in made.values():
        direct = harness.Result(path)
        value = math.exp(direct["ref_nll"].sum() / direct["ref_nll_positions"].sum())
        assert math.isclose(document["reference"]["perplexity"], value, rel_tol=1e-12)
        words = f"Perplexity of the dense model: {value:.2f} on {direct['ref_nll_positions'].sum()} of the prompts' own tokens."
        warning = document["reference"]["warning"]
        assert (warning is not None) == (value > 1000)
        warned.add(warning is not None)
        assert words.replace("'", "&#x27;") in page or words in page or words.replace("'", "&#39;") in page
        assert ("Warning: dense perplexity" in markdown) == (warning is not None)
    assert True in warned


def test_json_has_the_keys_that_the_readme_lists(made):
    section = (SOURCE / "README.md").read_text().split("## The JSON report")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `([a-z_0-9]+)` \|", section, re.MULTILINE))
    for _, document, _, _ in made.values():
        assert set(document) == listed
        for name in ("job", "size", "summary", "vindexes", "findings", "places", "cases", "prompts"):
            holds = set(re.findall(r"`([a-z_0-9]+)`", re.search(rf"^\| `{name}` \| (.*) \|$", section, re.MULTILINE).group(1)))
            items = document[name] if isinstance(document[name], list) else [document[name]]
            assert items and set().union(*items) <= holds, (name, set().union(*items) - holds)


def test_json_is_strict_and_spells_what_json_has_not():
    written = facts.to_json({"a": math.nan, "b": [math.inf, -math.inf], "c": None, "d": 1.5})
    assert json.loads(written, parse_constant=no_constant) == {"a": "NaN", "b": ["Infinity", "-Infinity"], "c": None,
                                                               "d": 1.5}


def test_headroom_is_the_distance_to_the_bound_in_powers_of_ten(made):
    _, document, _, _ = made["gemma"]
    for case in document["cases"]:
        worst = case["extremes"]["all"]["max_rel_l2"]["value"]
        assert math.isclose(case["headroom"]["rel_l2"], math.log10(0.01 / worst))
        assert case["headroom"]["cos"] > 0
    broken = [case for case in made["failing"][1]["cases"] if "BOUND" in case["verdict"] or any(
        "rel_L2" in reason for reason in case["reasons"])]
    assert broken and all(case["headroom"]["rel_l2"] < 0 for case in broken)


def test_rates_stand_with_their_errors_limits_and_bounds(made):
    path, document, words, source = made["sweep"]
    direct = harness.Result(path)
    for at, case in enumerate(document["cases"]):
        for name in ("mean_kl", "p99_kl", "flip_rate", "far_flip_rate", "mean_next_logprob_delta", "ppl_ratio"):
            assert case["rates"][name]["value"] == direct[name][at]
            upper = direct[f"{name}_upper"][at]
            assert case["rates"][name]["upper"] == (upper if math.isfinite(upper) else "Infinity")
            form = {"flip_rate": "{:.2f} %", "far_flip_rate": "{:.2f} %", "ppl_ratio": "{:.6f}"}.get(name, "{:.2e}")
            scale = 100 if "flip" in name else 1
            written = " ± ".join("0" if form == "{:.2e}" and value == 0 else form.format(scale * value)
                                 for value in (direct[name][at], direct[f"{name}_err"][at]))
            assert written in words
    assert "Over all positions</h2>" in source
    assert all(case["rates"] is None for case in made["gemma"][1]["cases"])
    assert "Over all positions" not in made["gemma"][2]


def test_case_that_did_not_run_says_so_and_has_no_figures(gemma, tmp_path):
    path = tmp_path / "notrun.h5"
    path.write_bytes(gemma.read_bytes())
    with edit(path) as file:
        file["verdict"][1] = 0
        file["fail_reasons"][1] = "the library is missing"
        for name in sorted(set(file) - set(layout.SCALES)):
            if not isinstance(file[name], h5py.Dataset):
                continue
            if re.match(r"(first_|rest_)?(min|max)_\w+_at_(layer|obs)$", name):
                file[name][1] = -1
            elif file[name].dims[0][0].name == "/case" and file[name].dtype.kind == "f":
                file[name][1] = np.nan
    report("report", path, "-o", tmp_path, expect=1)
    document = json.loads((tmp_path / "notrun.json").read_text())
    assert document["cases"][1]["verdict"] == "NOT-RUN" and "extremes" not in document["cases"][1]
    assert document["summary"] == {"cases": 3, "passed": 2, "measured": 0, "unchecked": 0, "failed": 1, "not_run": 1, "unaudited": 0,
                                   "success": False}
    rows = table_of(Page((tmp_path / "notrun.html").read_text()), "bucket")
    assert rows[2][1] == "NOT-RUN" and set(rows[2][3:10]) == {"–"}
    assert "the library is missing" in (tmp_path / "notrun.md").read_text()


def test_page_is_whole_and_fetches_nothing(made):
    for _, document, _, source in made.values():
        page = Page(source)
        assert page.fetched == []
        assert len(page.ids) == len(set(page.ids)), "an id stands twice"
        inside = [link[1:] for link in page.links if link.startswith("#")]
        assert set(inside) <= set(page.ids), set(inside) - set(page.ids)
        assert "Content-Security-Policy" in source and "default-src 'none'" in source
        assert "url(http" not in source and "@import" not in source


def test_page_begins_with_the_verdicts_and_links_to_the_worst_places(made):
    _, document, _, source = made["sweep"]
    page = Page(source)
    summary = table_of(page, "bucket")
    assert summary[0][:5] == ["case", "verdict", "bucket", "min cos", "max rel_L2"]
    assert [row[0] for row in summary[1:]] == [case["name"] for case in document["cases"]]
    assert [row[1] for row in summary[1:]] == [case["verdict"] for case in document["cases"]]
    assert source.index("<table") < source.index("<svg")
    for at, case in enumerate(document["cases"]):
        worst = case["extremes"]["rest"]["max_rel_l2"]
        if worst["value"] > 0:
            assert f"#case-{at}-layer-{worst['layer']}" in page.links


def test_page_shows_every_chart_with_an_alternative_text(made):
    """Of each case six over its layers or positions, two of costs; with rates four, over K six."""
    for name, count in (("gemma", 3 * 6 + 2), ("sweep", 8 * 6 + 4 + 6 + 2), ("failing", 3 * 6 + 2)):
        source = made[name][3]
        alts = re.findall(r'<svg role="(?:img|group)" aria-label="([^"]+)"', source)
        assert len(alts) == source.count("<svg") == source.count("<figcaption>")
        assert all(len(alt) > 40 for alt in alts)
        assert len(alts) == count, (name, len(alts))


def test_charts_and_maps_hold_the_values_of_the_file(made):
    path, document, _, source = made["sweep"]
    direct = harness.Result(path)
    charts = [json.loads(html.unescape(found)) for found in re.findall(r'data-chart="([^"]+)"', source)]
    first = direct["obs_position"] == 0
    for case in range(len(direct.cases)):
        series = dict(charts[case]["series"])  # the first charts are rel_L2 by layer
        for layer, row in enumerate(direct["rel_l2"][case]):
            for name, value in (("p50", np.quantile(row[~first], 0.5)), ("max", row[~first].max()), ("position 0, max", row[first].max())):
                assert math.isclose(series[name][layer], value, rel_tol=6e-3)
    data = json.loads(re.search(r'id="maps-data">(.*?)</script>', source, re.DOTALL).group(1))
    assert [one["name"] for one in data["quantities"]] == ["rel_l2", "obs_kl", "eta", "drift"] and data["names"] == direct.cases
    assert [prompt["rows"] for prompt in data["prompts"]] == direct["prompt_rows"].tolist() and data["step"] == 1
    for one in data["quantities"]:
        for case, packed in enumerate(one["maps"]):
            codes = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(one["rows"], -1)
            values = direct[one["name"]][case].reshape(codes.shape)
            assert ((codes == 0) == (values == 0)).all()
            told = one["high"] * 10.0 ** ((codes - 1.0) / data["steps"] - data["decades"])
            seen = values > one["high"] * 1e-8
            assert seen.any() == values.any() and np.allclose(told[seen], values[seen], rtol=0.038)


def test_reasons_of_failures_stand_first_and_word_for_word(made):
    path, document, words, source = made["failing"]
    reasons = [line for lines in harness.Result(path)["fail_reasons"] for line in lines.split("\n") if line]
    assert reasons
    for reason in reasons:
        assert text.markdown(reason) in words
        assert text.markup(reason) in source
    assert source.index(text.markup(reasons[0])) < source.index("Where the differences are</h2>")


def test_only_the_first_reason_carries_the_verdict(gemma, tmp_path):
    path = tmp_path / "two.h5"
    path.write_bytes(gemma.read_bytes())
    with edit(path) as file:
        file["verdict"][0] = 5
        file["fail_reasons"][0] = "first reason\nsecond reason"
    report("report", path, "-o", tmp_path, "--no-plots", expect=1)
    words = (tmp_path / "two.md").read_text()
    assert "f16:sparse: BOUND: first reason" in words and "f16:sparse: second reason" in words


def test_every_form_has_the_same_figures(made):
    for _, document, words, source in made.values():
        for case in document["cases"]:
            extreme = case["extremes"]["all"]
            for figure in (text.cosine(extreme["min_cos"]["value"]), text.figure(extreme["max_rel_l2"]["value"])):
                assert figure in words and figure in source


def test_every_metric_is_explained_where_it_stands(made):
    _, _, words, source = made["gemma"]
    for phrase in ("over the length of the dense output", "as the residual stream sees it", "Kullback–Leibler",
                   "Powers of ten between"):
        assert phrase in words.split("## Cases in detail")[0] and phrase in source


PLAIN = {"tokens", "cases that differ"}  # counts that their own titles explain


def test_every_column_of_numbers_is_explained_below_its_table(made):
    for _, _, _, source in made.values():
        seen = 0
        for piece in re.split(r"<table", source)[1:]:
            table, _, below = piece.partition("</table>")
            below = below.partition("</section>")[0]
            symbols = [part for symbol in re.findall(r"<dt>(.*?)</dt>", below) for part in symbol.split(", ")]
            for head in re.findall(r'<th scope="col" class=number>(.*?)</th>', table):
                seen += 1
                assert head in PLAIN or any(symbol in head for symbol in symbols), (head, symbols)
        assert seen > 30


def test_every_metric_of_a_plot_is_explained_above_it(made):
    for _, _, _, source in made.values():
        for section in re.findall(r"<section(.*?)</section>", source, re.DOTALL):
            if "<figure>" in section:
                symbols = [part for symbol in re.findall(r"<dt>(.*?)</dt>", section.split("<figure>")[0])
                           for part in symbol.split(", ")]
                titles = re.findall(r"<figcaption><strong>(.*?)</strong>", section)
                assert symbols and titles
                for symbol in re.findall(r">(rel_L2|1 − cos|η|KL \[nat\]|mean KL \[nat\]|PPL ratio|MB read|seconds)[,<]", section):
                    assert any(symbol.startswith(known) or known in symbol for known in symbols), (symbol, symbols)


def test_neither_rel_l2_nor_eta_is_called_the_cause(made):
    for _, _, words, source in made.values():
        assert re.findall(r"\bcause\b", words) == ["cause"] and "not by itself the cause" in words
        assert "not by itself the cause" in source


def test_markdown_tables_have_one_width_each(made):
    for _, _, words, _ in made.values():
        for block in re.findall(r"(?:^\|.*\n)+", words, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1, block


def test_same_file_gives_the_same_bytes(gemma, made, tmp_path):
    report("report", gemma, "-o", tmp_path)
    assert (tmp_path / "job-audit.html").read_text() == made["gemma"][3]


def test_warnings_on_the_model_are_in_every_form(gemma, tmp_path):
    path = tmp_path / "warned.h5"
    path.write_bytes(gemma.read_bytes())
    told = ["model: tensors of towers are not read: 'v.a'", "vindex 'v': index.json has vocab_size 9, the model has 8"]
    with edit(path) as file:
        file.attrs["warnings"] = "\n".join(told)
    report("report", path, "-o", tmp_path)
    assert json.loads((tmp_path / "warned.json").read_text())["job"]["warnings"] == told
    words = html.unescape((tmp_path / "warned.html").read_text())
    markdown = (tmp_path / "warned.md").read_text().replace("\\", "")
    for line in told:
        assert f"Warning: {line}." in words and f"Warning: {line}." in markdown


def test_hostile_names_and_tokens_stay_text(gemma, tmp_path):
    path = tmp_path / "hostile.h5"
    path.write_bytes(gemma.read_bytes())
    nasty = "</script><script>alert(1)</script>|`$x^$\n# *a* \u202e\x00"
    with edit(path) as file:
        for name in ("token_text", "prompt_key", "case_name", "ref_top1_text", "prompt_text", "top1_text", "not_offered"):
            file[name][...] = np.full(file[name].shape, nasty.replace("\x00", ""), object)
        file.attrs["job_text"] = nasty.replace("\x00", "")
        file.attrs["title"] = nasty.replace("\x00", "")
    report("report", path, "-o", tmp_path)
    source = (tmp_path / "hostile.html").read_text()
    assert source.count("<script>") == 1 and Page(source).fetched == []
    assert "<script>" not in (tmp_path / "hostile.md").read_text().split("```")[0].replace("\\<script", "")


def test_prompts_beyond_the_limit_are_counted(gemma, tmp_path):
    report("report", gemma, "-o", tmp_path, "--prompts", "2", "--no-plots")
    document = json.loads((tmp_path / "job-audit.json").read_text())
    assert len(document["prompts"]) == 2 and document["prompts_left_out"] == 1
    kl = harness.Result(gemma)["kl"].max(axis=0)
    assert {prompt["key"] for prompt in document["prompts"]} == {harness.SEED[at] for at in np.argsort(-kl)[:2]}
    assert "1 more prompt" in (tmp_path / "job-audit.md").read_text()


def test_other_bounds_are_judged_by_the_program(gemma, tmp_path):
    report("report", gemma, "-o", tmp_path, "--no-plots", "--bounds", "larql", WALKAUDIT=harness.binary())
    assert "bounds: larql" in (tmp_path / "job-audit.md").read_text()
    text = one_line(report("report", gemma, "-o", tmp_path, "--no-plots", "--bounds", "nonsense", expect=3,
                           WALKAUDIT=harness.binary()))
    assert "verdict" in text and "nonsense" in text


@pytest.mark.parametrize("words", [[], ["nonsense"], ["report"], ["report", "x.h5", "--nonsense"],
                                   ["report", "a/x.h5", "b/x.h5"], ["report", "x.h5", "--prompts", "0"],
                                   ["plot", "x.h5", "--positions", "5"], ["plot", "x.h5", "--format", "gif"]])
def test_wrong_command_line_is_one_line_and_exit_2(words):
    one_line(report(*words, expect=2))


@pytest.mark.parametrize("verb", ["report", "plot"])
def test_missing_result_is_one_line_and_exit_3(verb, tmp_path):
    assert "no such file" in one_line(report(verb, tmp_path / "x.h5", "-o", tmp_path, expect=3))


def test_index_lists_every_result_and_what_is_none(gemma, failing, tmp_path):
    folder = tmp_path / "results"
    (folder / "sub").mkdir(parents=True)
    (folder / "one.h5").write_bytes(gemma.read_bytes())
    (folder / "sub" / "two.h5").write_bytes(failing.read_bytes())
    report("report", folder / "one.h5", "-o", folder, "--no-plots")
    report("report", "--compat", "larql", folder / "one.h5", "-o", folder)
    with edit(folder / "one.h5") as file:
        file.create_dataset("bound_flip_rate", data=np.full(3, 0.05))
        file["bound_flip_rate"].dims[0].attach_scale(file["case"])
    assert report("index", folder, expect=1).stdout.splitlines() == [str(folder / "INDEX.md"), str(folder / "index.html")]
    words, source = (folder / "INDEX.md").read_text(), (folder / "index.html").read_text()
    page = Page(source)
    assert page.tables[0][0] == ["result", "vindex", "verdict", "in words"] and page.tables[0][1][:3] == ["sub/two.h5", "wrong", "ENCODING"]
    assert page.tables[0][1][3].startswith("encoding wrong, ") and page.tables[0][2][0] == "one.h5"
    assert words.index("audit: wrong (sub/two.h5)") < words.index("audit: f16 (one.h5)") < words.index("## Method")
    rows = table_of(page, "bucket")
    assert rows[0] == ["date", "model", "vindex", "bucket", "paths tested", "min cos", "max rel_L2", "max |ΔP|", "n_obs",
                       "verdict", "result"]
    assert [row[-1] for row in rows[1:]] == ["one.h5", "sub/two.h5"]
    assert rows[1][9] == "3/3 PASS" and rows[2][9] == "0/3 PASS; ENCODING"
    direct = harness.Result(failing)
    assert rows[2][6] == text.figure(direct["rel_l2"].max()) and rows[2][5] == text.cosine(direct["cos"].min())
    larql = {f"walk_path_audit_one_f16.{suffix}" for suffix in ("md", "json")}
    assert {"one.html", "one.md", "one.json", "one.h5", "sub/two.h5", *larql} <= set(page.links)
    assert "- bounds of bucket exact: cos ≥ 0.99999, rel_L2 ≤ 0.01, \\|ΔP\\| ≤ 0.005, flip rate ≤ 0.05\n" in words
    assert "2 results, 6 cases: 3 fail." in words
    assert "cos ≥ 0.99999" in words
    for title in ("## Method", "### Forced kernels", "### What is judged, and what is shown for diagnosis", "### Buckets",
                  "### Measure, then tighten", "### cos and rel_L2"):
        assert f"\n{title}\n".replace("_", "\\_") in words or f"\n{title}\n" in words
    assert re.search(r"\*\*wrong:\w+: ENCODING: layer 1, down, row ", words.replace("\\_", "_"))
    for name, heading in (("one.h5", "audit: f16 (one.h5)"), ("sub/two.h5", "audit: wrong (sub/two.h5)")):
        section = words.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        for part in ("3 cases: ", "largest rel_L2 ", "largest rel_L2 after position 0 ", "bounds of bucket exact: ", f"[{name.split('/')[-1]}]"):
            assert part in section, part
    (folder / "zero.h5").write_bytes(b"not a result")
    report("index", folder, expect=3)
    assert "zero.h5: not a result of walkaudit" in (folder / "INDEX.md").read_text()


def test_index_of_no_results_is_refused(tmp_path):
    assert "no results" in one_line(report("index", tmp_path, expect=3))
    assert "no such folder" in one_line(report("index", tmp_path / "none", expect=3))
    (tmp_path / "x.h5").touch()
    assert "x.h5': a file, expected a folder of results" in one_line(report("index", tmp_path / "x.h5", expect=3))


def test_success_is_what_the_program_calls_success(gemma, sweep, failing):
    """`walkaudit status` answers from the file's verdicts, with 0 or 1."""
    for path in (gemma, sweep, failing):
        code = subprocess.run([harness.binary(), "status", path], capture_output=True, env=harness.environment()).returncode
        verdicts = set(harness.Result(path)["verdict"])
        assert (code == 0) == (verdicts <= set(facts.SUCCESS))
    source = (ROOT / "src/judge/verdict.c").read_text()
    rule = re.search(r"wa_verdict_is_success.*?\{(.*?)\}", source, re.DOTALL).group(1)
    assert [word.replace("_", "-") for word in re.findall(r"WA_VERDICT_(\w+)", rule)] == list(facts.SUCCESS)


def test_installed_command_finds_its_package_and_program(gemma, tmp_path):
    prefix = tmp_path / "usr"
    subprocess.run(["cmake", "--install", os.environ["WALKAUDIT_BUILD"], "--prefix", prefix], check=True,
                   capture_output=True)
    script = prefix / "bin" / "walkaudit-report"
    extra = {"WALKAUDIT": "", "PATH": "/usr/bin:/bin"}
    report("report", gemma, "-o", tmp_path, "--no-plots", "--bounds", "larql", script=script, **extra)
    assert "bounds: larql" in (tmp_path / "job-audit.md").read_text()
    assert not list(prefix.rglob("__pycache__"))


def test_a_vindex_of_which_no_case_ran_fails_the_report(shop, tmp_path):
    """The page and its JSON say so, and so does the table of many results."""
    bad = shop.copy("tiny-gemma3", "f32", tmp_path / "bad")
    (bad / "gate_vectors.bin").rename(bad / "gate_vectrs.bin")
    job = shop.job(shop.model("tiny-gemma3"), {"good": shop.vindex("tiny-gemma3", "f32"), "bad": bad}, paths=[{"path": "full_mmap"}])
    job.run(expect=1)
    report("report", job.result_path, "-o", tmp_path, expect=1)
    document = json.loads((tmp_path / "job-audit.json").read_text())
    assert document["summary"]["failed"] == 0 and document["summary"]["unaudited"] == 1 and not document["summary"]["success"]
    good, lost = document["vindexes"]
    assert good["verdict"] == "PASS" and "gate_vectors.bin" in good["read"] and good["unknown"] == []
    assert lost["verdict"] == "UNAUDITED" and lost["unknown"] == ["gate_vectrs.bin, like gate_vectors.bin"]
    assert lost["read"] == ["index.json"] and "gate_vectors.bin is missing" in lost["reason"]
    assert "UNAUDITED" in (tmp_path / "job-audit.html").read_text()
    report("collect", job.result_path.parent, "-o", tmp_path / "all.h5")
    with h5py.File(tmp_path / "all.h5") as file:
        rows = [(verdict, reason) for verdict, reason in zip(file["verdict"].asstr(), file["reasons"].asstr())]
    assert rows[0][0] == "PASS" and rows[1][0] == "UNAUDITED" and "gate_vectors.bin is missing" in rows[1][1]


def test_a_drifting_reference_is_the_word_of_the_audit(shop, tmp_path):
    """The model's rope_theta edited, its vindex made of it: every case passes, and neither page nor table calls it good."""
    model = tmp_path / "theta"
    harness.shutil.copytree(shop.model("qwen2"), model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rope_theta": 500.0}))
    harness.run(["extract", model, tmp_path / "v", "--format", "f32"])
    job = shop.job(model, {"f32": tmp_path / "v"})
    job.run(words=["--reference-dump", harness.GOLDEN / "reference" / "qwen2.h5"], expect=1)
    report("report", job.result_path, "-o", tmp_path, "--no-plots", expect=1)
    document = json.loads((tmp_path / "job-audit.json").read_text())
    assert not document["summary"]["success"] and document["summary"]["failed"] == 0
    assert document["reference"]["verdict"] == "REFERENCE" and "layer 0, x, prompt" in document["reference"]["agreement"]
    for page in ("job-audit.md", "job-audit.html"):
        assert "The dense model, REFERENCE: drifts from " in (tmp_path / page).read_text()
    report("collect", job.folder / "results", "-o", tmp_path / "all.h5")
    with open(tmp_path / "all.csv", newline="") as file:
        words = [row["verdict"] for row in csv.DictReader(file)]
    assert words.count("REFERENCE") == 1 and set(words) == {"PASS", "REFERENCE"}
