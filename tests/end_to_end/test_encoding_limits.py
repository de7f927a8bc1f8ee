"""ENCODING: wrong numbers are found however many rows they fill, and no healthy file is accused (doc/encoding.md).

Healthy files are LARQL's encoder's in every format and by both f16 converters, of models of many shapes, and those of other
encoders, in numpy (foreign_encoders). Margins are printed; `pytest -s` shows them.
"""
import json
import re
import shutil
import sys

import numpy as np
import pytest

import harness

sys.path.insert(0, str(harness.GOLDEN.parent / "support"))
import foreign_encoders as foreign  # noqa: E402

PAYLOADS = ("interleaved_q4", "interleaved_kquant", "down_features_kquant", "fp4")
FORMATS = {"f32": "f32", "f16": "f16", "f16-larql": "f16 --compat larql", "interleaved": "interleaved", "q4_0": "q4_0",
           "q4k": "q4k", "q4k-larql": "q4k --compat larql", "q4k-down4": "q4k --down q4k --feature-major-down",
           "q4k-nogate": "q4k --drop-gate", "fp4a": "fp4 --fp4-policy a", "fp4b": "fp4 --gate f16", "fp4c": "fp4 --fp4-policy c"}
STATISTICS = ("steps", "ratio", "gain", "row_gain", "row_ratio", "expert_ratio")
BLOCKS = ("q4_0", "q4k", "q4k-down4", "fp4a", "fp4b")


@pytest.fixture
def work(shop, tmp_path):
    return Work(shop, tmp_path)


class Work:
    """One model and vindexes of it. Those of given weights are made once for the file; a test changes copies of its own."""

    def __init__(self, shop, folder):
        self.shop, self.folder, self.made, self.model, self.vindexes = shop, folder, folder, folder / "model", {}

    def synth(self, family="gemma3", shape="tiny", weights=None, **options):
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        if weights:
            self.made = self.shop.root / "-".join(["reweighed", family, shape, *words, weights.__name__])
            self.model = self.made / "model"
            words += ["--dtype", "f32"]
        if not self.model.exists():
            self.made.mkdir(exist_ok=True)
            harness.run(["synth", self.model, "--family", family, "--shape", shape, *words])
            if weights:
                foreign.reweigh(self.model, weights)
        return self

    def extract(self, *names):
        for name in names:
            source, target = self.made / f"{name}.vindex", self.folder / f"{name}.vindex"
            if not source.exists():
                done = harness.run(["extract", self.model, source, "--format", *FORMATS[name].split()], expect=None)
                if done.returncode != 0:  # a shape that a format cannot hold
                    assert done.returncode in (2, 3) and len(done.stderr.strip().splitlines()) >= 1, done.stderr
                    continue
            if source != target:
                shutil.copytree(source, target)
            self.vindexes[name] = target
        return self

    def rewritten(self, name, encoders, call=None, **how):
        """A copy of a vindex whose blocks another encoder made."""
        call = call or f"{name}-foreign"
        self.vindexes[call] = self.folder / f"{call}.vindex"
        shutil.copytree(self.vindexes[name], self.vindexes[call])
        foreign.Vindex(self.vindexes[call], self.vindexes["f32"]).rewrite(encoders, **how)
        return self

    def audit(self, names=None, expect=0, **keys):
        chosen = {name: self.vindexes[name] for name in names or self.vindexes}
        return self.shop.job(self.model, chosen, kernel_check=keys.pop("kernel_check", "none"), **keys).result(expect=expect)


def accused(result):
    """{vindex: first line of the reasons} of those with an ENCODING case."""
    return {case.split(":")[0]: result.case(case, "fail_reasons").splitlines()[0] for case in result.cases
            if result.case(case, "verdict") == "ENCODING"}


def margins(result):
    """Largest [steps, ratio, |gain|, |row gain|, row ratio, expert ratio] of foreign rows, and how many rows of how many are not
    LARQL's."""
    checked = result["row_err_checked"] == "yes"
    figures = [np.abs(result[f"row_err_{name}"])[checked].max() for name in STATISTICS]
    return figures, int(result["row_err_unequal"][checked].sum()), int(result["row_err_rows"][checked].sum())


# --- Healthy files --------------------------------------------------------------------------------------------------------

SHAPES = [dict(family="gemma3", shape="tiny", seed=3), dict(family="llama", shape="tiny"), dict(family="gemma3", shape="tiny", layers=1),
          dict(family="llama", shape="tiny", dtype="f16"), dict(family="gemma3", shape="tiny", dtype="f32", seed=7),
          dict(family="llama", shape="small", layers=1), dict(family="gemma3", shape="small", layers=1),
          dict(family="gemma3", shape="270m", layers=1, vocab=600), dict(family="llama", shape="270m", layers=1, vocab=600),
          dict(family="llama", shape="tiny", weights=foreign.log_normal(1, 1.0)),
          dict(family="gemma3", shape="tiny", weights=foreign.log_normal(2, 2.0)),
          dict(family="llama", shape="tiny", weights=foreign.log_normal(3, 0.5, 0.7)),
          dict(family="gemma3", shape="tiny", weights=foreign.log_normal(4, 1.0, 1.2))]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(str(v) for v in s.values() if not callable(v)) +
                         ("-log-normal" if "weights" in s else ""))
def test_every_row_of_a_healthy_file_is_what_the_encoder_gives(work, shape):
    """Ten shapes and more, every format, both f16 converters: not one row is unequal, so that no limit is even near."""
    work.synth(**shape).extract(*FORMATS)
    assert len(work.vindexes) >= 10
    result = work.audit(expect=None)  # the bounds of f16 may be broken where rows are tiny: that is another question
    assert accused(result) == {}
    figures, unequal, rows = margins(result)
    print(f"{len(work.vindexes)} vindexes: {unequal} of {rows} rows unequal")
    assert unequal == 0 and figures == [0] * len(STATISTICS)
    for case in result.cases:
        assert (result.stored(case, "row_err_unequal")[:, result.case(case, "case_payload") >= 0] == 0).all()


@pytest.mark.parametrize("model", ["tiny-gemma3", "tiny-llama", "tiny-qwen3", "tiny-odd", "tiny-starcoder2", "gpt2", "gemma2", "granite"])
def test_every_row_of_other_families_is_equal_too(shop, tmp_path, model):
    """Turned matrices, ungated models, widths that no block divides."""
    work = Work(shop, tmp_path)
    work.model = shop.model(model)
    work.extract(*FORMATS)
    result = work.audit(expect=None)
    assert accused(result) == {} and margins(result)[1] == 0 and len(work.vindexes) >= 3  # no block divides GPT-2's rows


FOREIGN = [None, foreign.log_normal(1, 1.0), foreign.log_normal(2, 2.0), foreign.log_normal(3, 0.5, 0.7)]


# importance weights on log-normal ones move a row's length by more than its limit: doc/encoding.md 3
@pytest.mark.parametrize("family, weights", [
    pytest.param(family, weights, id=f"{name}-{family}") for name, weights in zip(("gauss", "spread1", "spread2", "tails"), FOREIGN)
    for family in foreign.FAMILIES if (family, name) != ("imatrix", "tails")])
def test_no_other_encoder_is_accused(work, family, weights):
    work.synth(weights=weights or foreign.log_normal(0, 0.0)).extract("f32", *BLOCKS)
    for name in BLOCKS:
        work.rewritten(name, foreign.FAMILIES[family])
    names = [f"{name}-foreign" for name in BLOCKS]
    result = work.audit(names, expect=None)
    assert accused(result) == {}
    figures, unequal, rows = margins(result)
    print(f"{family}: {unequal} of {rows} rows; steps {figures[0]:.3f}, ratio {figures[1]:.3f}, gain {figures[2]:.4f}, row {figures[3]:.3f}; "
          f"ratio of a row {figures[4]:.3f}")
    assert figures[4] < 2.5 / 1.2 and figures[5] == pytest.approx(figures[1], rel=1e-3)  # one matrix, one expert
    assert unequal > rows // 3  # they are indeed another's


# --- J2: a fault in every row -----------------------------------------------------------------------------------------------


def test_scales_of_q4_0_times_seven_tenths(work):
    work.synth(seed=3).extract("q4_0")
    path = work.vindexes["q4_0"] / "interleaved_q4.bin"
    blocks = np.memmap(path, np.uint8, "r+").reshape(-1, 18)
    blocks[:, :2] = foreign.half_bytes(blocks[:, :2].copy().view("<f2")[:, 0].astype(np.float32) * np.float32(0.7))
    blocks.flush()
    result = work.audit(expect=1)
    said = accused(result)["q4_0"]
    assert re.match(r"layer \d, (gate|up|down)(, row \d+)?: .*\(Q4_0 in interleaved_q4.bin; projections broken: 12\)", said), said
    assert (result.stored("q4_0:interleaved_q4", "row_err_steps") > 0.7).all()


def test_one_row_with_scales_that_are_too_large(work):
    """Of a healthy file of another encoder: nearest levels of the stored scales, length about right, an error five times that of the others."""
    work.synth(weights=foreign.log_normal(10, 0.3)).extract("f32", "q4_0").rewritten("q4_0", {"Q4_0": foreign.q4_0_ggml}, "other")
    assert accused(work.audit(["other"])) == {}
    for layer, projection, _, stored, rows in foreign.Vindex(work.vindexes["other"], work.vindexes["f32"]).matrices():
        if (layer, projection) == (2, "gate"):
            stored[100] = foreign.q4_0_ggml(rows[100:101], stretch=5.2)[0]
            stored.base.flush()
    result = work.audit(["other"], expect=1)
    said = accused(result)["other"]
    assert said.startswith("layer 2, gate, row 100: the error of this row is "), said
    assert result.case("other:interleaved_q4", "encoding_statistic") == "row_ratio"
    assert result.stored("other:interleaved_q4", "row_err_ratio").max() < 1.15  # which is what all rows together show


@pytest.mark.parametrize("name, format", [("q4k-down4", "Q4_K"), ("q4k", "Q6_K"), ("q4_0", "Q4_0")])
def test_an_encoder_that_truncates(work, name, format):
    work.synth(weights=foreign.log_normal(5, 0.3)).extract("f32", name)
    work.rewritten(name, {format: foreign.TRUNCATING[format]}, "cut")
    result = work.audit(["cut"], expect=1)
    said = accused(result)["cut"]
    assert re.match(rf"layer \d, (gate|up|down)(, row \d+)?: .*\({format} in ", said), said
    case = next(name for name in result.cases if result.case(name, "verdict") == "ENCODING")
    steps = result.stored(case, "row_err_steps")
    assert np.nanmax(steps[:, 2]) > 0.9


# --- J3: more rows than a percentile hides ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 16, 120, 200])
def test_some_rows_of_one_matrix_are_longer(work, count):
    """Of LARQL's file: 16 of 512 rows are more than the 1 % that p99 leaves out. Layer and projection are named, and a row."""
    work.synth(weights=foreign.log_normal(6, 0.3)).extract("f32", "q4k-down4")
    rows = np.arange(7, 7 + 2 * count, 2)
    for layer, projection, format, stored, _ in foreign.Vindex(work.vindexes["q4k-down4"], work.vindexes["f32"]).matrices():
        if (layer, projection) == (2, "up"):
            blocks = stored.reshape(len(stored), -1, 144)
            scaled = blocks[rows][..., :4].copy().view("<f2").astype(np.float32) * np.float32(1.34)
            blocks[rows, :, :4] = scaled.astype("<f2").view(np.uint8)
            stored[:] = blocks.reshape(stored.shape)
            stored.flush()
    said = accused(work.audit(["q4k-down4"], expect=1))["q4k-down4"]
    assert said.startswith("layer 2, up"), said
    if 4 * count < 512:  # else it might be another encoder's: its limits hold, and find it, too
        assert f"{count} of 512 rows are not LARQL's encoding" in said, said
        assert int(said.split("row ")[1].split(":")[0]) in rows


# --- J4: f16 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["f16", "f16-larql"])
@pytest.mark.parametrize("factor", [1.0024, 1.001, 0.999])
@pytest.mark.parametrize("rows", [slice(None), slice(9, 10)], ids=["all", "one"])
def test_rows_of_f16_that_are_a_little_too_long(work, name, factor, rows):
    """Made from longer weights by either converter, so that every value is an f16 value; gate file, and f32 files of f16 values."""
    work.synth(weights=foreign.log_normal(7, 0.3)).extract("f32", name)
    index = json.loads((work.vindexes[name] / "index.json").read_text())
    shape = (index["num_layers"], index["layers"][0]["num_features"], index["hidden_size"])
    for projection, kind in (("gate", "<f2"), ("up", "<f4")):
        model = np.memmap(work.vindexes["f32"] / foreign.FLOATS[projection], "<f4", "r", shape=shape)
        stored = np.memmap(work.vindexes[name] / foreign.FLOATS[projection], kind, "r+", shape=shape)
        longer = (model[1, rows] * np.float32(factor)).astype(np.float16)
        kept = stored[1, rows].copy()
        stored[1, rows] = longer
        stored.flush()
        said = accused(work.audit([name], expect=1))[name]
        assert said.startswith(f"layer 1, {projection}, row "), said
        # of an f32 file whose every row breaks both rules nothing says which was meant
        assert "values that no rounding to f16 gives" in said or (projection == "up" and "are not the model's values" in said), said
        if rows != slice(None):
            assert f"layer 1, {projection}, row 9: 1 of " in said
        stored[1, rows] = kept
        stored.flush()
    assert accused(work.audit([name])) == {}


# --- Thresholds of other encoders' files, and the switch ---------------------------------------------------------------------------


def longer(error):
    return lambda rows: (rows * np.float32(1 + error)).astype(np.float32)


def noisy(error):
    rng = np.random.default_rng(11)
    return lambda rows: (rows + error * np.sqrt(np.square(rows).mean(axis=1, keepdims=True)) *
                         rng.standard_normal(rows.shape)).astype(np.float32)


@pytest.mark.parametrize("fault", [longer, noisy])
@pytest.mark.parametrize("name, error, one", [("q4k-down4", 0.03, False), ("q4k-down4", 0.06, True), ("q4_0", 0.05, False),
                                              ("fp4a", 0.05, False)])
def test_small_errors_in_another_encoders_file(work, name, error, one, fault):
    work.synth(weights=foreign.log_normal(8, 0.3)).extract("f32", name)

    def change(layer, projection, rows):
        if (layer, projection) != (1, "up"):
            return rows
        rows = np.array(rows)
        which = slice(20, 21) if one else slice(None)
        rows[which] = fault(error)(rows[which])
        return rows
    for family, encoders in foreign.FAMILIES.items():
        work.rewritten(name, encoders, f"{family}-planted", change=change)
    said = accused(work.audit([f"{family}-planted" for family in foreign.FAMILIES], expect=1))
    assert len(said) == len(foreign.FAMILIES), said
    assert all(line.startswith("layer 1, up, row 20:" if one else "layer 1, up") for line in said.values()), said


def test_an_encoder_of_compensating_codes_needs_the_switch(work, tmp_path):
    """Every eighth code is one off, up or down: ENCODING, but where the bounds say that codes are no nearest levels."""
    def compensating(rows):
        blocks = foreign.q4_0_ggml(rows).reshape(-1, 18)
        codes = blocks[:, 2::4].astype(int)
        step = np.where(np.arange(codes.size).reshape(codes.shape) % 2 == 0, 1, -1)
        blocks[:, 2::4] = (codes & 0xf0) | np.clip((codes & 15) + step, 0, 15)
        return blocks.reshape(len(rows), -1)
    work.synth(weights=foreign.log_normal(9, 0.3)).extract("f32", "q4_0")
    work.rewritten("q4_0", {"Q4_0": foreign.q4_0_ggml}, "nearest").rewritten("q4_0", {"Q4_0": compensating}, "other")
    assert set(accused(work.audit(["nearest", "other"], expect=1))) == {"other"}
    bounds = tmp_path / "bounds.yaml"
    bounds.write_text("encoder: compensating\n")
    assert accused(work.audit(["nearest", "other"], bounds=str(bounds))) == {}
    blocks = np.memmap(work.vindexes["other"] / "interleaved_q4.bin", np.uint8, "r+").reshape(-1, 18)
    blocks[:, :2] = foreign.half_bytes(blocks[:, :2].copy().view("<f2")[:, 0].astype(np.float32) * np.float32(1.05))
    blocks.flush()  # of such a file, too, a wrong length is found
    assert "its length is off by" in accused(work.audit(["other"], expect=1, bounds=str(bounds)))["other"]
