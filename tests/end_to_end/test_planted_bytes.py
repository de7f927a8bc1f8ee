"""Damage in a vindex's bytes is found and named: layer, projection, row. Illegal structure stops the run.

The model is tiny-gemma3: 4 layers, 512 features, hidden size 256. Every vindex is healthy but for one defect.
"""
import json

import numpy as np
import pytest

import harness

MODEL, LAYERS, FEATURES, HIDDEN = "tiny-gemma3", 4, 512, 256
FILES = {"gate": "gate_vectors.bin", "up": "up_features.bin", "down": "down_features.bin"}
READS = {"sparse": {"gate", "up", "down"}, "full_mmap": {"gate", "up", "down"}, "exact": {"down"},
         "interleaved": {"gate", "up", "down"}}


@pytest.fixture
def damaged(shop, tmp_path):
    """A function (variant) -> private copy of a vindex."""
    return lambda variant="f32": shop.copy(MODEL, variant, tmp_path / "damaged")


def rows_of(folder, projection, kind="<f4"):
    """A stored projection as a writable array [layer, feature, hidden]."""
    return np.memmap(folder / FILES[projection], kind, "r+", shape=(LAYERS, FEATURES, HIDDEN))


def audit(shop, folder, ranks=None, expect=1, **keys):
    return shop.job(shop.model(MODEL), {"v": folder}, **keys).result(ranks=ranks, expect=expect)


def reasons(result, case, kind):
    """The reasons of a case that speak of one kind."""
    return [line for line in result.case(case, "fail_reasons").splitlines() if kind in line]


def check_encoding(result, projection, layer, rows):
    """ENCODING in each case that reads the projection, and in no other; layer, projection and row are named."""
    for case in result.cases:
        if projection not in READS[case.split(":")[1]]:
            assert result.case(case, "verdict") == "PASS", case
            continue
        assert result.case(case, "verdict") == "ENCODING", (case, result.case(case, "fail_reasons"))
        said = result.case(case, "fail_reasons").splitlines()[0]
        assert f"layer {layer}, {projection}, row " in said, said
        assert any(f"row {row}:" in said for row in rows), said
        at = list(FILES).index(projection)
        assert result.stored(case, "row_err_worst")[layer, at] in rows
        assert np.argwhere(is_outlier(result, case)).tolist() == [[layer, at]]


def is_outlier(result, case):
    """[layer, projection] where the worst row that a case reads is far from the others of its matrix."""
    return result.stored(case, "row_err_max") > 1e-3 + 4 * result.stored(case, "row_err_p99")


@pytest.mark.parametrize("projection, layer, row, column, bit", [("gate", 0, 0, 0, 23), ("up", 2, 37, 5, 26),
                                                                 ("up", 3, 511, 255, 24), ("down", 1, 300, 100, 27)])
def test_one_flipped_exponent_bit_of_f32(shop, damaged, projection, layer, row, column, bit):
    folder = damaged()
    values = rows_of(folder, projection, "<u4")
    values[layer, row, column] ^= np.uint32(1 << bit)
    values.flush()
    check_encoding(audit(shop, folder), projection, layer, {row})


@pytest.mark.parametrize("bit", [11, 13])
def test_one_flipped_exponent_bit_of_f16(shop, damaged, bit):
    folder = damaged("f16")
    values = rows_of(folder, "gate", "<u2")
    values[3, 200, 17] ^= np.uint16(1 << bit)
    values.flush()
    check_encoding(audit(shop, folder), "gate", 3, {200})


@pytest.mark.parametrize("projection", list(FILES))
@pytest.mark.parametrize("ranks", [None, 2])
def test_two_swapped_rows(shop, damaged, projection, ranks):
    folder = damaged()
    values = rows_of(folder, projection)
    values[1, [10, 411]] = values[1, [411, 10]]
    values.flush()
    check_encoding(audit(shop, folder, ranks), projection, 1, {10, 411})


def test_a_swap_inside_interleaved(shop, damaged):
    folder = damaged("interleaved")
    values = np.memmap(folder / "interleaved.bin", "<f4", "r+", shape=(LAYERS, 3, FEATURES, HIDDEN))
    values[2, 1, [7, 8]] = values[2, 1, [8, 7]]
    values.flush()
    check_encoding(audit(shop, folder), "up", 2, {7, 8})


def edit_index(folder, change):
    path = folder / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def test_exchanged_offsets_of_two_layers(shop, damaged):
    def exchange(index):
        a, b = index["layers"][1], index["layers"][2]
        a["offset"], b["offset"] = b["offset"], a["offset"]

    folder = damaged()
    edit_index(folder, exchange)
    result = audit(shop, folder)
    for case in ("v:sparse", "v:full_mmap"):
        assert result.case(case, "verdict") == "ENCODING", result.case(case, "fail_reasons")
        assert "layer 1, gate" in result.case(case, "fail_reasons") or "layer 2, gate" in result.case(case, "fail_reasons")
        assert "row" in result.case(case, "fail_reasons")
    assert result.case("v:exact", "verdict") == "PASS"
    errors = result.stored("v:full_mmap", "row_err_p50")
    assert np.all(errors[1:3, 0] > 1) and np.all(errors[:, 1:] < 1e-6) and np.all(errors[[0, 3], 0] < 1e-6)


@pytest.mark.parametrize("projection", list(FILES))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number(shop, damaged, projection, value):
    folder = damaged()
    values = rows_of(folder, projection)
    values[2, 99, 31] = value
    values.flush()
    result = audit(shop, folder, ranks=2)
    for case in result.cases:
        if projection not in READS[case.split(":")[1]]:
            assert result.case(case, "verdict") == "PASS", case
            continue
        assert result.case(case, "verdict") == "NON-FINITE", (case, result.case(case, "fail_reasons"))
        assert f"layer 2, {projection}, row 99" in result.case(case, "fail_reasons")
    at = list(FILES).index(projection)
    assert result["row_nonfinite"][0, :, 2, at].sum() == 1 and result["row_nonfinite"].sum() == 1
    done = harness.run(["inspect", folder], expect=None)
    assert "layer 2" in done.stdout and "99" in done.stdout


def test_a_value_that_is_no_number_with_the_checks_off(shop, damaged):
    folder = damaged()
    values = rows_of(folder, "up")
    values[2, 99, 31] = np.nan
    values.flush()
    result = audit(shop, folder, encoding_check="none", kernel_check=0)
    assert [result.case(c, "verdict") for c in ("v:sparse", "v:full_mmap")] == ["NON-FINITE"] * 2
    assert "layer 2" in result.case("v:full_mmap", "fail_reasons")
    assert set(result.case("v:full_mmap", "obs_status")[2]) == {"non_finite"}
    assert set(result.case("v:full_mmap", "obs_status")[:2].reshape(-1)) == {"ok"}


def drop_layer(index):
    del index["layers"][2]


def unaligned(index):
    index["layers"][3]["offset"] += 2


def overlapping(index):
    index["layers"][3]["offset"] = index["layers"][2]["offset"]


def beyond(index):
    index["layers"][3]["offset"] += 4


def wrong_length(index):
    index["layers"][1]["length"] -= 4


def huge(index):
    index["layers"][1]["offset"] = 2 ** 62


def no_integer(index):
    index["layers"][1]["offset"] = 2 ** 63


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("change, word", [(drop_layer, "3"), (unaligned, "layer 3"), (overlapping, "layers 2 and 3"),
                                          (beyond, "layer 3"), (wrong_length, "layer 1"), (huge, "layer 1"),
                                          (no_integer, "index.json")],
                         ids=lambda x: getattr(x, "__name__", None))
def test_illegal_structure_stops_the_run(shop, damaged, change, word, ranks):
    folder = damaged()
    edit_index(folder, change)
    job = shop.job(shop.model(MODEL), {"v": folder})
    line = harness.one_error_line(job.run(ranks=ranks, expect=3))
    assert word in line and str(folder) in line, line
    harness.nothing_half_written(job)


@pytest.mark.parametrize("projection", list(FILES))
@pytest.mark.parametrize("ranks", [None, 3])
def test_a_cut_file_stops_the_run(shop, damaged, projection, ranks):
    folder = damaged()
    path = folder / FILES[projection]
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(size - 4)
    job = shop.job(shop.model(MODEL), {"v": folder})
    line = harness.one_error_line(job.run(ranks=ranks, expect=3))
    assert FILES[projection] in line and str(size) in line and str(size - 4) in line, line
    harness.nothing_half_written(job)


def test_f16_bytes_in_an_f32_file_stop_the_run(shop, damaged):
    folder = damaged()
    values = np.fromfile(folder / "up_features.bin", "<f4").astype("<f2")
    values.tofile(folder / "up_features.bin")
    job = shop.job(shop.model(MODEL), {"v": folder})
    assert "up_features.bin" in harness.one_error_line(job.run(expect=3))
    harness.nothing_half_written(job)


@pytest.mark.parametrize("ranks", [None, 2])
def test_no_payload_is_never_a_pass(shop, ranks):
    done = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "browse")}).run(ranks=ranks, expect=1)
    assert "PASS" not in done.stdout
    assert "features.bin" in done.stdout + done.stderr


def test_no_false_alarm_on_healthy_vindexes(shop):
    """Margins: rows of f32 files are exact, those of f16 files stay below half of the limit."""
    vindexes = {v: shop.vindex(MODEL, v) for v in ("f32", "f16", "interleaved")}
    result = shop.job(shop.model(MODEL), vindexes, kernel_check=-1).result()
    assert set(result["verdict"]) == {"PASS"}
    for case in result.cases:
        error, limit = result.stored(case, "row_err_max"), 1e-3 + 4 * result.stored(case, "row_err_p99")
        reads = result.case(case, "case_payload") >= 0
        assert np.isfinite(error[:, reads]).all() and reads.any()
        assert np.all(error[:, reads] <= limit[:, reads] / 2)
        if not case.startswith("f16"):
            assert np.nanmax(error) == 0
        elif reads[0]:
            assert np.all(error[:, 0] > 0)  # LARQL's f16 truncates: the gate is not exact
    assert np.nanmax(result["kernel_rel_l2"]) <= 3.3e-6


# --- Packed payloads ------------------------------------------------------------------------------------------------

SPAN = {"fp4": 137, "fp8": 257, "q4_0": HIDDEN // 32 * 18}  # bytes of a row of 256


def kquant_rows(folder, layer, projection):
    """A matrix of interleaved_q4k.bin as a writable array of stored rows."""
    entry = json.loads((folder / "interleaved_q4k_manifest.json").read_text())[3 * layer + list(FILES).index(projection)]
    shape = (entry["shape"][0], entry["length"] // entry["shape"][0])
    return np.memmap(folder / "interleaved_q4k.bin", np.uint8, "r+", entry["offset"], shape)


def feature_rows(file, span):
    """Rows of one of FP4's files."""
    return lambda folder, layer, projection: np.memmap(folder / file, np.uint8, "r+", layer * FEATURES * span, (FEATURES, span))


def q4_rows(folder, layer, projection):
    first = (3 * layer + list(FILES).index(projection)) * FEATURES * SPAN["q4_0"]
    return np.memmap(folder / "interleaved_q4.bin", np.uint8, "r+", first, (FEATURES, SPAN["q4_0"]))


# variant, rows, projection, the paths it is told of: those that read the projection from this payload
PACKED = [("q4k", kquant_rows, "up", {"sparse", "interleaved_q4k"}), ("q4k", kquant_rows, "gate", {"interleaved_q4k"}),
          ("q4k", kquant_rows, "down", {"sparse", "interleaved_q4k"}), ("q4k-down4", kquant_rows, "down", {"sparse", "interleaved_q4k"}),
          ("q4k-nogate", kquant_rows, "gate", {"sparse", "interleaved_q4k"}),
          ("fp4b", feature_rows("up_features_fp4.bin", SPAN["fp4"]), "up", {"sparse", "fp4_storage"}),
          ("fp4b", feature_rows("down_features_fp8.bin", SPAN["fp8"]), "down", {"sparse", "fp4_storage"}),
          ("fp4a", feature_rows("down_features_fp4.bin", SPAN["fp4"]), "down", {"sparse", "fp4_storage"}),
          *(("q4_0", q4_rows, projection, {"interleaved_q4"}) for projection in FILES)]


@pytest.mark.parametrize("variant, rows_of_file, projection, readers", PACKED)
def test_a_packed_row_overwritten_by_its_neighbour(shop, damaged, variant, rows_of_file, projection, readers):
    """Row 100 takes the bytes of row 101; of a down stored [H, F] a row is an output of the layer."""
    folder = damaged(variant)
    rows = rows_of_file(folder, 2, projection)
    rows[100] = rows[101]
    rows.flush()
    result = audit(shop, folder)
    for case in result.cases:
        if case.split(":")[1] not in readers:
            assert result.case(case, "verdict") == "MEASURED", case
            continue
        assert result.case(case, "verdict") == "ENCODING", (case, result.case(case, "fail_reasons"))
        assert f"layer 2, {projection}, row 100:" in result.case(case, "fail_reasons").splitlines()[0]
        assert np.argwhere(is_outlier(result, case)).tolist() == [[2, list(FILES).index(projection)]]


def feature_major_rows(folder, layer, projection):
    """A matrix of down_features_q4k.bin."""
    entry = json.loads((folder / "down_features_q4k_manifest.json").read_text())[layer]
    shape = (entry["shape"][0], entry["length"] // entry["shape"][0])
    return np.memmap(folder / "down_features_q4k.bin", np.uint8, "r+", entry["offset"], shape)


# Where a row's first block keeps a scale, and bytes that make it NaN. FP4: byte 136 scales the block, 128 to 135 its sub-blocks;
# Q6_K's f16 ends the block; Q4_K has one for the scales and one for the minima.
NAN_SCALE = {"Q4_0": (0, b"\x00\x7e"), "Q4_K": (0, b"\x00\x7e"), "Q4_K minima": (2, b"\x01\xfe"), "Q6_K": (208, b"\x00\x7e"),
             "fp4": (136, b"\x7f"), "fp4 sub-block": (130, b"\xff"), "fp8": (256, b"\xff")}


@pytest.mark.parametrize("variant, rows_of_file, projection, kind, file",
                         [("q4k", kquant_rows, "up", "Q4_K", "interleaved_q4k.bin"), ("q4k", kquant_rows, "down", "Q6_K", "interleaved_q4k.bin"),
                          ("q4k-down4", kquant_rows, "down", "Q4_K minima", "interleaved_q4k.bin"),
                          ("q4k-nogate", kquant_rows, "gate", "Q4_K minima", "gate_vectors.bin"),
                          ("q4k-fm", feature_major_rows, "down", "Q6_K", "down_features_q4k.bin"),
                          ("fp4b", feature_rows("up_features_fp4.bin", SPAN["fp4"]), "up", "fp4", "index.json: fp4"),
                          ("fp4a", feature_rows("down_features_fp4.bin", SPAN["fp4"]), "down", "fp4 sub-block", "index.json: fp4"),
                          ("fp4b", feature_rows("down_features_fp8.bin", SPAN["fp8"]), "down", "fp8", "index.json: fp4"),
                          ("q4_0", q4_rows, "up", "Q4_0", "interleaved_q4.bin")])
def test_a_scale_that_is_no_number(shop, damaged, variant, rows_of_file, projection, kind, file):
    """The case runs and is NON-FINITE, with its place; inspect lists the values, and a NaN scale of FP4 is damage besides."""
    folder = damaged(variant)
    rows = rows_of_file(folder, 2, projection)
    at, code = NAN_SCALE[kind]
    rows[99, at:at + len(code)] = np.frombuffer(code, np.uint8)
    rows.flush()
    result = audit(shop, folder, ranks=2, **({"paths": [{"path": "sparse_serial"}]} if variant == "q4k-fm" else {}))
    assert len(result.cases) > 0
    for case in result.cases:
        assert result.case(case, "verdict") == "NON-FINITE", (case, result.case(case, "fail_reasons"))
        assert f"layer 2, {projection}, row 99" in result.case(case, "fail_reasons")
    listed = harness.run(["inspect", folder], expect=3 if kind.startswith("fp") else 0).stdout
    count = {"Q4_0": 32, "fp4 sub-block": 32}.get(kind, 256)
    at = "feature 0, element 99" if projection == "down" and rows_of_file is kquant_rows else "feature 99, element " + \
        ("64" if kind == "fp4 sub-block" else "0")
    assert f"  {file}, {projection}: {count} non-finite values, first at layer 2, {at}\n" in listed, listed


def test_the_errors_of_a_format_hide_no_smaller_one_of_another_payload(shop, damaged):
    """The gate file is f16, where the gate of interleaved_q4k.bin is off by a tenth throughout: each is held against its own."""
    folder = damaged("q4k")
    values = rows_of(folder, "gate", "<u2")
    values[1, 7, 31] ^= np.uint16(1 << 9)  # the first bit of the mantissa: an error below that of Q4_K
    values.flush()
    result = audit(shop, folder)
    packed = audit(shop, folder, expect=0, paths=[{"path": "interleaved_q4k"}])
    assert result.stored("v:sparse", "row_err_max")[1, 0] < packed.stored("v:interleaved_q4k", "row_err_p99")[1, 0]
    assert "layer 1, gate, row 7:" in result.case("v:sparse", "fail_reasons").splitlines()[0]
    assert result.case("v:interleaved_q4k", "verdict") == "MEASURED"  # which reads another gate


def test_a_worse_payload_is_not_held_against_the_laxest_bound(shop, damaged):
    """Every scale of the f16 gate is wrong by a fifth, far beyond f16's nominal error and within that of Q4_K, where the gate stands too."""
    folder = damaged("q4k")
    values = rows_of(folder, "gate", "<f2")
    values[:] = (values.astype(np.float32) * np.float32(0.8)).astype(np.float16)
    values.flush()
    result = audit(shop, folder)
    assert result.case("v:sparse", "verdict") == "ENCODING", result.case("v:sparse", "fail_reasons")
    assert ", gate" in result.case("v:sparse", "fail_reasons").splitlines()[0]
    assert result.case("v:interleaved_q4k", "verdict") == "MEASURED", result.case("v:interleaved_q4k", "fail_reasons")


def test_no_false_alarm_on_healthy_packed_vindexes(shop):
    """Margins: the worst row of a healthy file stays below half of the limit."""
    variants = ["q4k", "q4k-down4", "q4k-fm", "q4k-nogate", "fp4a", "fp4b", "fp4c", "q4_0"]
    result = shop.job(shop.model(MODEL), {v: shop.vindex(MODEL, v) for v in variants}, kernel_check=-1).result()
    assert set(result["verdict"]) == {"PASS", "MEASURED"}
    for case in result.cases:
        error, limit = result.stored(case, "row_err_max"), 1e-3 + 4 * result.stored(case, "row_err_p99")
        reads = result.case(case, "case_payload") >= 0
        assert np.isfinite(error[:, reads]).all() and np.all(error[:, reads] <= limit[:, reads] / 2)
    assert np.nanmax(result["kernel_rel_l2"]) <= 2e-6
