"""`worst`: the largest observations with token, context and norms; first positions apart."""
import os
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest

import harness
from command import LIMIT, SCRIPT, json_of, one_line, report
from edit_result import edit

METRIC = {"rel_l2": "rel_l2", "cos": "one_minus_cos", "eta": "eta", "drift": "drift", "kernel": "kernel_rel_l2"}


def tables(done):
    """{title: rows} of the output, each row split at its columns."""
    found = {}
    for block in done.stdout.split("\n\n")[1:-1]:
        title, _, *rows = block.splitlines()
        found[title] = [re.split(r"  +", row) for row in rows if not row.startswith("|x|")]
    return found


def expected(result, name, limit):
    """(case, layer, obs) of the largest after the first position, by hand."""
    values = result[name].copy()
    values[:, :, result["obs_position"] == 0] = -1
    values[np.isnan(values)] = -1
    order = np.argsort(-values.reshape(-1), kind="stable")[:limit]
    return list(zip(*np.unravel_index(order, values.shape)))


@pytest.mark.parametrize("by", METRIC)
def test_the_list_is_the_sorted_tensor(sweep, by):
    result = harness.Result(sweep)
    rows = tables(report("worst", sweep, "-n", 7, "--by", by))["After the first position"]
    assert len(rows) == 7
    for row, (case, layer, obs) in zip(rows, expected(result, METRIC[by], 7)):
        prompt = result.prompts[result["obs_prompt"][obs]]
        assert row[:3] == [result.cases[case], str(layer), f"{prompt}/{result['obs_position'][obs]}"]
        assert row[3] == f"{result[METRIC[by]][case, layer, obs]:.2e}"
        assert row[8:11] == [f"{result[name][layer, obs]:.2e}" for name in ("x_norm", "ref_norm", "h_norm")]
        assert f"[{result['token_text'][obs]}]".replace("\n", "\\n") in "  ".join(row[11:])


def test_first_positions_stand_apart_and_once_per_token(gemma):
    result = harness.Result(gemma)
    found = tables(report("worst", gemma, "-n", 30, "--case", "f16:exact"))
    first = found["First positions"]
    assert len(first) == 4 and sorted(row[1] for row in first) == ["0", "1", "2", "3"]  # <bos> in all prompts
    assert all("[<bos>]" in row[11] and row[12] == "worst of 3 prompts that begin so" for row in first)
    worst = result.case("f16:exact", "rel_l2")[:, result["obs_position"] == 0].max(axis=1)
    assert [row[3] for row in first] == [f"{value:.2e}" for value in sorted(worst, reverse=True)]
    assert all(not row[2].endswith("/0") for row in found["After the first position"])


def test_context_is_the_neighbouring_tokens(gemma):
    result = harness.Result(gemma)
    rows = tables(report("worst", gemma, "-n", 100, "--case", "f16:exact"))["After the first position"]
    middle = next(row for row in rows if row[2] == "paris/3")
    rows = result.rows("paris")
    tokens = list(result["token_text"][rows])
    assert middle[11] == "".join(tokens[:3]) + f"[{tokens[3]}]" + tokens[4] + "…"


def test_near_zero_references_and_broken_numbers_are_marked(gemma, tmp_path):
    path = tmp_path / "marked.h5"
    shutil.copyfile(gemma, path)
    with edit(path) as file:
        file["ref_norm"][1, 3] = 1e-6
        file["rel_l2"][0, 1, 3] = 50.0
        file["rel_l2"][1, 2, 4] = np.nan
        file["obs_status"][1, 2, 4] = 2
    rows = tables(report("worst", path, "-n", 3))["After the first position"]
    assert rows[0][:4] == ["f16:full_mmap", "2", "paris/4", "NaN"] and "non-finite" in rows[0][-1]
    assert rows[1][:4] == ["f16:sparse", "1", "paris/3", "5.00e+01"] and "dense output near zero" in rows[1][-1]
    assert "near zero" not in "".join(rows[2])


def test_of_equals_the_first_are_listed(gemma, tmp_path):
    path = tmp_path / "equal.h5"
    shutil.copyfile(gemma, path)
    with edit(path) as file:
        for name in ("rel_l2", "eta"):
            file[name][1, 2] = np.nan
    rows = tables(report("worst", path, "-n", 5))["After the first position"]
    assert [row[:3] for row in rows] == [["f16:full_mmap", "2", f"paris/{at}"] for at in range(1, 6)]
    assert all(row[3] == "NaN" and row[5] == "NaN" and row[4] != "NaN" for row in rows)  # rel_L2, eta and 1 - cos


def test_next_tokens_of_prompts_and_of_positions(gemma, sweep):
    result = harness.Result(gemma)
    rows = tables(report("worst", gemma, "--by", "kl", "-n", 4))["Next tokens"]
    order = np.argsort(-result["kl"].reshape(-1), kind="stable")[:4]
    assert [(row[0], row[1].split("/")[0]) for row in rows] == [(result.cases[at // 3], result.prompts[at % 3]) for at in order]
    assert rows[0][3].startswith("'")
    result = harness.Result(sweep)
    rows = tables(report("worst", sweep, "--by", "kl", "-n", 2))["Next tokens"]
    case, obs = np.unravel_index(np.argmax(result["obs_kl"]), result["obs_kl"].shape)
    assert rows[0][:3] == [result.cases[case], f"{result.prompts[result['obs_prompt'][obs]]}/{result['obs_position'][obs]}",
                           f"{result['obs_kl'][case, obs]:.2e}"]


def test_no_list_names_a_cause(gemma):
    assert "not by itself the cause" in report("worst", gemma).stdout.splitlines()[-1]


def test_wrong_words_and_files_are_one_line(gemma, tmp_path):
    assert "f16:exact" in one_line(report("worst", gemma, "--case", "none", expect=2))
    assert one_line(report("worst", gemma, "--case", "exact", expect=2)).endswith(".h5': no case 'exact', did you mean 'f16:exact'?")
    one_line(report("worst", gemma, "-n", 0, expect=2))
    (tmp_path / "text.h5").write_text("no result")
    one_line(report("worst", tmp_path / "text.h5", expect=3))


def test_tokens_that_flipped_are_listed_with_what_both_say(sweep):
    """At all positions, from the stored ids; a token whose text no prompt and no top k holds has its id."""
    result = harness.Result(sweep)
    rows = tables(report("worst", sweep, "--by", "kl", "-n", 5))["Tokens that flipped"]
    flips = np.argwhere(result["obs_top1_id"] != result["obs_ref_top1_id"][None, :])
    flips = sorted(flips.tolist(), key=lambda at: (-result["obs_kl"][tuple(at)], *at))[:5]
    assert len(rows) == len(flips) == 5
    texts = dict(zip(result["token_id"].tolist(), result["token_text"]))
    for row, (case, obs) in zip(rows, flips):
        prompt = result.prompts[result["obs_prompt"][obs]]
        assert row[:2] == [result.cases[case], f"{prompt}/{result['obs_position'][obs]}"]
        assert row[4] == f"{result['obs_ref_top1_prob'][obs]:.6f}" and row[6] == f"{result['obs_top1_prob'][case, obs]:.6f}"
        assert row[7] == f"{result['obs_ref_margin'][obs]:.3f}" and row[3] != row[5]
        own = int(result["obs_top1_id"][case, obs])
        assert row[5] == f"token {own}" or row[5].startswith("'") and (own not in texts or texts[own].strip()[:3] in row[5])


@pytest.mark.parametrize("by", METRIC)
def test_the_list_is_told_in_json_in_full_precision(sweep, by):
    result = harness.Result(sweep)
    said = json_of("walkaudit.worst", "worst", sweep, "-n", 5, "--by", by)
    rest, first = said["lists"]
    assert (said["by"], rest["list"], first["list"]) == (METRIC[by], "rest", "first")
    for place, (case, layer, obs) in zip(rest["places"], expected(result, METRIC[by], 5), strict=True):
        assert (place["case"], place["layer"], place["position"]) == (result.cases[case], layer, result["obs_position"][obs])
        assert place["value"] == place[METRIC[by]] == result[METRIC[by]][case, layer, obs]
        assert place["h_norm"] == result["h_norm"][layer, obs] and place["token"] == result["token_text"][obs]


def test_flipped_tokens_are_told_in_json(sweep):
    said = json_of("walkaudit.worst", "worst", sweep, "--by", "kl")
    by_list = {item["list"]: item["places"] for item in said["lists"]}
    assert list(by_list) == ["next", "flipped"] and by_list["next"]
    assert all(place["dense_token"] != place["case_token"] for place in by_list["flipped"])


def test_the_table_fits_a_terminal_and_stays_as_it_is_in_a_pipe(sweep):
    words = ["worst", sweep, "-n", 3]
    piped = report(*words).stdout
    assert report(*words, COLUMNS="70").stdout == piped
    line = " ".join(shlex.quote(str(word)) for word in [SCRIPT, *words])
    shown = {columns: subprocess.run(["script", "-qec", line, "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                     env=dict(os.environ, COLUMNS=str(columns), LC_ALL="C.UTF-8"), timeout=LIMIT, check=True).stdout
             for columns in (70, 400)}
    wide, narrow = (re.sub(r"\x1b\[K|\r", "", shown[columns]).split("After the first position\n")[1] for columns in (400, 70))
    assert piped.split("After the first position\n")[1].split("\n\n")[0] == wide.split("\n\n")[0]
    rows = wide.split("\n\n")[0].splitlines()[:4]
    assert max(map(len, rows)) > 70 >= max(len(row) for row in narrow.split("|x|, |y|")[0].splitlines())
    parts = [part.splitlines()[:4] for part in narrow.split("|x|, |y|")[0].split("\n\n")]
    assert len(parts) > 1 and all(part[at].split()[0] == rows[at].split()[0] for part in parts for at in range(4))
    for at in range(4):
        assert sum((re.split(r"  +", part[at])[1:] for part in parts), []) == re.split(r"  +", rows[at])[1:]
