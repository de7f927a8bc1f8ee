"""`walkaudit selftest`: it finds what it plants, says so as doc/selftest.md does, and leaves nothing behind."""
import os
import re
import signal
import subprocess
import time

import pytest

import harness
import random_model
import selftest_tables

FAULTS, THRESHOLDS = "Faults in a vindex, by whole audits", "The smallest relative error that is found"
BITS, KERNELS = "Every bit of a block, flipped alone", "Faults in the kernels, by whole audits"
FOUND = "Everything that must be found was found at its place, and nothing healthy was accused."
# Figures of another machine or compiler may fall on the next grid point: ten a decade.
STEP = 10 ** 0.1


@pytest.fixture(scope="module", params=selftest_tables.OPTIONS, ids=["dense", "experts"])
def options(request):
    return request.param


@pytest.fixture(scope="module")
def printed(tmp_path_factory, options):
    place = tmp_path_factory.mktemp("copies")
    done = harness.run(["selftest", "--quick", "--markdown", *options], program=os.environ["WALKAUDIT_FAULTY"], limit=5 * harness.LIMIT,
                       TMPDIR=str(place))
    assert list(place.iterdir()) == []
    assert FOUND in done.stdout
    return selftest_tables.tables(done.stdout)


@pytest.fixture(scope="module")
def documented(options):
    return selftest_tables.tables(selftest_tables.printed_part(selftest_tables.DOCUMENT.read_text(), options))


def test_the_document_has_the_same_words_for_every_fault(printed, documented):
    for title in (FAULTS, KERNELS):
        assert printed[title] == documented[title]
    assert len(printed[FAULTS]) > 20 and len(printed[KERNELS]) == 10


def key(row):
    return row["format"], row["matrix"], row["stored"], row.get("encoder")


def test_the_document_has_the_same_thresholds(printed, documented, options):
    known = {key(row): row for row in documented[THRESHOLDS]}
    seen = set()
    for row in printed[THRESHOLDS]:
        seen.add(row["stored"])
        for name, cell in row.items():
            if " row" not in name:
                continue
            numbers = [float(text.removeprefix("≤ ")) for text in (cell, known[key(row)][name])]
            assert max(numbers) <= 1.01 * STEP * min(numbers), (key(row), name, numbers)
    assert seen == {"f32", "f16", "Q4_0", "Q4_K", "Q6_K", "FP4", "bf16" if options else "FP8"}


def test_faults_of_experts_are_found_in_every_format(printed, options):
    rows = {row.pop("fault"): set(row.values()) for row in (dict(row) for row in printed[FAULTS])}
    idle, router = rows["one row × 1.34 of an expert that no prompt reaches"], rows["every row of the router holds the next one"]
    assert (idle, router) == (({"up: ENCODING"}, {"router: ENCODING"}) if options else ({"–"}, {"–"}))


@pytest.mark.parametrize("name", ["qwen2_moe-step", "gpt_oss-plain", "mixtral-single"])
def test_models_with_experts_dense_layers_and_biases(shop, tmp_path, name):
    """Layers without experts among such with them have no expert to exchange; experts of another model are planted in all the same."""
    golden = random_model.Golden(harness.GOLDEN / "experts")
    done = harness.run(["selftest", "--quick", "--markdown", "--formats", "f16,q4k", "--directory", tmp_path, golden.model(name, shop.root)])
    assert FOUND in done.stdout
    row = {r["fault"]: r["q4k"] for r in selftest_tables.tables(done.stdout)[FAULTS]}
    assert row["every row of the router holds the next one"] == "router: ENCODING"
    assert row["an expert and the next exchanged"].endswith(": ENCODING")
    assert list(tmp_path.iterdir()) == []


def test_the_document_has_the_same_bits(printed, documented):
    known = {key(row): row for row in documented[BITS]}
    for row in printed[BITS]:
        assert row == known[key(row)]
        assert row["missed"] == "0"


def test_a_model_of_narrow_rows_has_padding_that_cannot_be_seen(shop, tmp_path):
    """Q4_K rows of 512 weights, of which the model has 320."""
    done = harness.run(["selftest", "--quick", "--markdown", "--formats", "q4k", "--seed", "5", "--directory", tmp_path,
                        shop.model("tiny-odd")])
    row = {r["fault"]: r["q4k"] for r in selftest_tables.tables(done.stdout)[FAULTS]}
    assert re.fullmatch(r"(gate|up|down): not seen", row["weights beyond the end of a padded row"])
    assert re.fullmatch(r"(gate|up|down): ENCODING", row["two neighbouring rows exchanged"])
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_prints_the_same_and_another_plants_elsewhere(tmp_path):
    def run(seed):
        return harness.run(["selftest", "--quick", "--formats", "f16", "--seed", seed], TMPDIR=str(tmp_path)).stdout
    assert run(3) == run(3) != run(4)


def test_formats_that_a_model_cannot_have_are_named(shop, tmp_path):
    done = harness.run(["selftest", "--quick", "--formats", "f32,q4_0", "--directory", tmp_path, shop.model("tiny-starcoder2")])
    assert re.search(r"^Not tested: q4_0: ", done.stdout, re.MULTILINE)
    assert FOUND in done.stdout


def test_unknown_words_are_usage_errors(tmp_path):
    for words in (["--formats", "f32,q9"], ["--seed", "x"], ["a", "b"], ["--experts", "a"]):
        done = harness.run(["selftest", *words], expect=2, TMPDIR=str(tmp_path))
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(tmp_path, which):
    started = subprocess.Popen(harness.command(["selftest"]), env=harness.environment(TMPDIR=str(tmp_path)),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + harness.LIMIT
    while not any(tmp_path.glob("*/f32/f32.*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    started.send_signal(which)
    said = started.communicate(timeout=harness.LIMIT)[1]
    assert started.returncode == 3, said
    assert f"stopped by {which.name}" in said
    assert list(tmp_path.iterdir()) == []
