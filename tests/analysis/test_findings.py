"""What a report says in words of each vindex, which tokens flipped, and what it tells of a worst place."""
import copy
import json

import numpy as np
import pytest

import harness
from command import report
from edit_result import edit
from walkaudit_report import facts, findings
from walkaudit_report.result import open_result


def read(path):
    with open_result(path) as result:
        return facts.build(result, quiet=True)[0]


@pytest.fixture(scope="module")
def documents(gemma, sweep, failing):
    return {"gemma": read(gemma), "sweep": read(sweep), "failing": read(failing)}


def test_words_of_a_vindex_are_what_its_file_says(documents, sweep):
    words = {name: {one["name"]: one["words"] for one in document["findings"]} for name, document in documents.items()}
    assert words["failing"]["wrong"].startswith("encoding wrong, kernel within ")
    assert words["gemma"]["f16"].startswith("encoding ok, kernel ok, ")
    direct = harness.Result(sweep)
    full = [at for at, name in enumerate(direct.cases) if name.startswith("f32:") and direct["case_bucket"][at] != "approximate"]
    assert full and (direct["rel_l2"][full] == 0).all()
    assert words["sweep"]["f32"] == "encoding ok, kernel ok, bit for bit"
    assert words["sweep"]["f16"] in ("encoding ok, kernel ok, no token flips",
                                     f"encoding ok, kernel ok, {findings.percent(direct['flip_rate'][:2].max())} of tokens flip")


def test_words_follow_the_verdict_and_the_share_of_flips(documents):
    document = copy.deepcopy(documents["sweep"])
    vindex, own = document["vindexes"][0], [case for case in document["cases"] if case["vindex"] == "f16" and case["bucket"] != "approximate"]
    own[0]["extremes"]["all"]["max_rel_l2"]["value"] = 0.1
    own[0]["rates"]["flip_rate"]["value"] = 0.0625
    assert findings.words(vindex, own) == "encoding ok, kernel ok, 6.2 % of tokens flip"
    own[0]["verdict"] = "RATE"
    assert findings.words(vindex, own) == "encoding ok, kernel ok, a rate exceeds its bound, 6.2 % of tokens flip"
    own[1]["verdict"] = "KERNEL"
    assert findings.words(vindex, own) == "encoding ok, kernel wrong, a rate exceeds its bound, 6.2 % of tokens flip"
    own[1]["verdict"], own[0]["encoding"] = "PASS", None
    assert findings.words(vindex, own).startswith(f"encoding checked for {len(own) - 1} of {len(own)} cases, kernel ok")
    for case in own:
        case["encoding"] = case["extremes"]["all"]["max_kernel_rel_l2"] = None
    assert findings.words(vindex, own).startswith("encoding not checked, kernel not checked")
    assert findings.words(vindex, []) == findings.MEANS[vindex["verdict"]]
    assert findings.words({**vindex, "reason": "gate_vectors.bin is missing"}, []) == "gate_vectors.bin is missing"


def test_a_path_has_the_name_that_its_cases_have():
    assert findings.path_word("q4k:interleaved_kquant_dequant", "interleaved_q4k") == "interleaved_kquant_dequant"
    assert findings.path_word("q4k:interleaved_q4k", "interleaved_q4k") == "interleaved_q4k"
    assert findings.path_word("q4k:mine", "interleaved_q4k") == "interleaved_q4k"


def test_failing_vindexes_stand_first(documents):
    document = copy.deepcopy(documents["sweep"])
    document["vindexes"][1]["verdict"] = "BOUND"
    assert [one["name"] for one in findings.of_vindexes(document["vindexes"], document["cases"])] == ["f32", "f16"]
    document["vindexes"][0]["verdict"] = "KERNEL"
    assert [one["name"] for one in findings.of_vindexes(document["vindexes"], document["cases"])] == ["f16", "f32"]


def test_every_verdict_has_words_and_a_place_in_the_order(gemma):
    with open_result(gemma) as result:
        known = set(result.meanings("verdict").values())
    assert known == set(findings.ORDER) == set(findings.MEANS)
    assert {word for word in known if findings.kind(word) != "bad"} == set(findings.SUCCESS)


def flips_of(direct, case):
    """{observation: KL} of a case, from the file itself."""
    at = np.flatnonzero(direct["obs_ref_top1_id"] != direct["obs_top1_id"][case])
    return dict(zip(at.tolist(), direct["obs_kl"][case][at].tolist()))


def test_flipped_tokens_are_all_there_with_text_and_probabilities(documents, sweep, tmp_path):
    direct, flips = harness.Result(sweep), documents["sweep"]["flips"]
    texts = {}
    for number, word in zip(direct["token_id"].tolist(), direct["token_text"].tolist()):
        texts.setdefault(number, word)
    total = 0
    for case in range(len(direct.cases)):
        expected = flips_of(direct, case)
        found = {flip["obs"]: flip for flip in flips if flip["case"] == case}
        assert set(found) == set(expected)
        assert [flip["next"]["kl"] for flip in found.values()] == sorted(expected.values(), reverse=True)
        for obs, flip in found.items():
            said = flip["next"]
            assert (said["dense_p"], said["case_p"], said["margin"]) == (
                direct["obs_ref_top1_prob"][obs], direct["obs_top1_prob"][case][obs], direct["obs_ref_margin"][obs])
            assert flip["token"] == visible(direct["token_text"][obs]) and flip["position"] == direct["obs_position"][obs]
            assert flip["prompt"] == direct.prompts[direct["obs_prompt"][obs]]
            number = int(direct["obs_ref_top1_id"][obs])
            assert number not in texts or visible(texts[number]) in said["dense"]
        total += len(expected)
    assert total > 3
    report("report", sweep, "-o", tmp_path, "--no-plots")
    words = (tmp_path / f"{sweep.stem}.html").read_text().split("Tokens that flipped</h2>")[1].split("</section>")[0]
    assert words.count("<tr data-about") + words.count('<tr class="more"') == total


def visible(word):
    return word.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("'", "\\'")


def test_a_result_without_flips_says_so(documents, gemma, tmp_path):
    assert documents["gemma"]["flips"] == []
    report("report", gemma, "-o", tmp_path, "--no-plots")
    assert "No most probable next token changes, at each prompt&#x27;s last position" in (tmp_path / f"{gemma.stem}.html").read_text()


def test_places_have_the_figures_of_the_file(documents, failing):
    direct, places = harness.Result(failing), documents["failing"]["places"]
    assert {place["case"] for place in places} == set(range(len(direct.cases)))
    for place in places:
        at = (place["case"], place["layer"], place["obs"])
        assert place["figures"]["rel_l2"] == direct["rel_l2"][at] and place["norms"]["h"] == direct["h_norm"][at[1:]]
        last = direct["prompt_rows"][direct["obs_prompt"][place["obs"]]] - 1
        assert place["next"]["here"] == (place["position"] == last)  # no logits elsewhere
        assert place["next"]["kl"] == direct["kl"][place["case"]][direct["obs_prompt"][place["obs"]]]


def test_a_token_without_text_is_its_number(sweep, tmp_path):
    path = tmp_path / "bare.h5"
    path.write_bytes(sweep.read_bytes())
    with edit(path) as file:
        for name in ("token_text", "ref_topk_text", "topk_text"):
            file[name][...] = np.full(file[name].shape, "", object)
    direct = harness.Result(path)
    flips = read(path)["flips"]
    assert flips and all(flip["next"]["dense"] == f"token {direct['obs_ref_top1_id'][flip['obs']]}" for flip in flips)
    assert json.dumps(flips)
