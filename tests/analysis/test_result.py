"""A result is opened, checked and read in pieces; whatever is no result is refused in one clear line."""
import fcntl
import pathlib
import re
import shutil

import h5py
import numpy as np
import pytest

import harness
from walkaudit_report import layout
from walkaudit_report.errors import INPUT, Failure
from walkaudit_report.result import open_result
from edit_result import edit, seal

ROOT = pathlib.Path(__file__).resolve().parents[2]


def refusal(path):
    with pytest.raises(Failure) as caught, open_result(path):
        pass
    assert caught.value.code == INPUT
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"'{path}': "), text
    assert text.endswith("no such file") or "expected" in text, text
    return text


def changed(source, folder, change):
    """A copy of a result with something changed."""
    path = folder / "changed.h5"
    shutil.copyfile(source, path)
    with edit(path) as file:
        change(file)
    return path


def test_axes_are_those_of_the_readme(sweep):
    rows = re.findall(r"^\| `(\w+)` \| \[([a-z, ]+)\] \|", (ROOT / "analysis/README.md").read_text(), re.MULTILINE)
    listed = {name: tuple(axes.split(", ")) for name, axes in rows}
    assert len(listed) > 100
    of_experts = set(re.findall(r"X\((\w+), WA_CLT,", (ROOT / "src/measure/block.h").read_text())) | {"layer_experts"}  # this model has none
    of_experts |= {name for name, axes in listed.items() if set(layout.OPTIONAL_SCALES) & set(axes)}
    assert {"choice", "expert", "expert_id", "own_expert_id", "expert_err_max", "routing_gap", "routing_change"} <= of_experts <= set(listed)
    listed = {name: axes for name, axes in listed.items() if name not in of_experts}
    with open_result(sweep) as result:
        names = [name for name, item in result.file.items() if isinstance(item, h5py.Dataset)]
        assert {name: result.axes(name) for name in names} == listed


def test_newest_layout_is_that_of_the_program():
    header = (ROOT / "src/store/layout.h").read_text()
    assert int(re.search(r"WA_LAYOUT_VERSION = (\d+)", header).group(1)) == layout.NEWEST


def test_every_dataset_is_read_as_it_is_stored(sweep):
    """A result of `logits: all` holds them all."""
    with open_result(sweep) as result, h5py.File(sweep) as file:
        for name, item in file.items():
            if not isinstance(item, h5py.Dataset):
                continue
            if h5py.check_string_dtype(item.dtype):
                assert np.array_equal(result[name], item.asstr()[()]), name
            else:
                assert np.array_equal(result[name], item[()], equal_nan=item.dtype.kind == "f"), name


def test_cases_words_and_attributes(gemma):
    direct = harness.Result(gemma)
    with open_result(gemma) as result:
        assert result.cases == direct.cases and result.prompts == list(harness.SEED)
        assert list(result.words("verdict")) == ["PASS"] * len(result.cases)
        assert result.words("label").shape == direct["label"].shape
        assert set(result.words("label").reshape(-1)) == {"sparse:gemv_full_k", "full_mmap", "exact"}
        assert result.attribute("job_name") == "job" and result.attribute("walkaudit_format") == layout.NEWEST
        assert [run["ranks"] for run in result.runs()] == [2]
        assert result.fingerprints()["semantics"] == "native"


def test_places_name_prompt_position_and_token(gemma):
    direct = harness.Result(gemma)
    with open_result(gemma) as result:
        for case in range(len(result.cases)):
            value, place = result.extreme("max_rel_l2", case)
            where = np.unravel_index(np.argmax(direct["rel_l2"][case]), direct["rel_l2"][case].shape)
            assert (place.layer, place.obs) == where and value == direct["rel_l2"][case][where]
            assert place.key == harness.SEED[direct["obs_prompt"][place.obs]]
            assert place.position == direct["obs_position"][place.obs]
            assert place.token == direct["token_text"][place.obs]
        assert result.place(-1, -1) is None
        with pytest.raises(Failure, match="outside the result"):
            result.place(0, result.size["obs"])


def test_slabs_cover_a_case_once_whatever_their_size(gemma, monkeypatch):
    direct = harness.Result(gemma)
    for limit, count in ((1, 4), (500, 2), (1 << 20, 1)):  # 4 layers of 28 f64
        monkeypatch.setattr("walkaudit_report.result.SLAB_BYTES", limit)
        with open_result(gemma) as result:
            pieces = list(result.slabs("rel_l2", 1))
            assert len(pieces) == count
            assert np.array_equal(np.concatenate([values for _, values in pieces]), direct["rel_l2"][1])


def test_window_is_one_prompt(gemma):
    direct = harness.Result(gemma)
    with open_result(gemma) as result:
        rows = direct.rows("apollo")
        assert np.array_equal(result.window("eta", 2, 1), direct["eta"][2][:, rows])
        assert np.array_equal(result.window("eta", 2, 1, 3, 7), direct["eta"][2][:, rows][:, 3:7])
        assert [result.token(obs) for obs in range(rows.start, rows.stop)] == list(direct["token_text"][rows])


def test_absent_file_is_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.h5")


def test_folder_is_refused(tmp_path):
    assert refusal(tmp_path).endswith("a folder, expected a result file")


@pytest.mark.parametrize("content", [b"", b"name: a job\n", b"\x00" * 5000])
def test_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "other.h5"
    path.write_bytes(content)
    assert "not a result of walkaudit" in refusal(path)


def test_truncated_result_is_refused_at_any_length(gemma, tmp_path):
    data = gemma.read_bytes()
    for length in (9, 100, 2048, len(data) // 2, len(data) - 1):
        path = tmp_path / f"{length}.h5"
        path.write_bytes(data[:length])
        assert re.search("truncated|damaged", refusal(path))


def test_locked_file_is_not_called_damaged(gemma, tmp_path):
    path = tmp_path / "locked.h5"
    shutil.copyfile(gemma, path)
    with open(path, "r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert "the file is locked" in (line := refusal(path)) and "HDF5_USE_FILE_LOCKING=FALSE" in line


def test_hdf5_of_another_program_is_refused(tmp_path):
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file["rel_l2"] = np.zeros(3)
    assert "without the attribute 'walkaudit_format'" in refusal(path)


@pytest.mark.parametrize("version, word", [(layout.OLDEST - 1, "older"), (layout.NEWEST + 1, "newer"), ("x", "unknown")])
def test_result_of_another_layout_is_refused(gemma, tmp_path, version, word):
    text = refusal(changed(gemma, tmp_path, lambda file: file.attrs.__setitem__("walkaudit_format", version)))
    assert word in text and f"found walkaudit_format {version}, expected {layout.NEWEST}; run the job again" in text


def test_part_and_unfinished_result_are_refused(gemma, tmp_path):
    parts = tmp_path / "result.h5.parts"
    parts.mkdir()
    with h5py.File(parts / "prompts-000000-000001.h5", "w") as file:
        file.attrs["walkaudit_part"] = 1
    assert "some prompts" in refusal(parts / "prompts-000000-000001.h5")
    assert "1 finished part," in refusal(parts)
    assert "not finished" in refusal(tmp_path / "result.h5")


def remove(file):
    del file["verdict"]


def cut(file):
    del file["case_k"]
    file["case_k"] = np.zeros(2, np.int32)


def miscount(file):
    file["prompt_rows"][0] = 10**6


def misplace(file):
    file["case_vindex"][0] = 7


@pytest.mark.parametrize("change, name, use", [
    (remove, "verdict", lambda result: result["verdict"]), (cut, "case_k", lambda result: result["case_k"]),
    (miscount, "prompt_rows", None), (misplace, "case_vindex", None)])
def test_dataset_that_is_not_as_it_must_be_is_named(gemma, tmp_path, change, name, use):
    path = changed(gemma, tmp_path, change)
    with pytest.raises(Failure, match=f"dataset '{name}' is not as a result has it.*found.*expected"):
        with open_result(path) as result:
            use(result)


def test_unknown_code_is_no_word(gemma, tmp_path):
    path = changed(gemma, tmp_path, lambda file: file["verdict"].__setitem__(0, 99))
    with open_result(path) as result, pytest.raises(Failure, match="found code 99"):
        result.words("verdict")


def test_flipped_byte_of_the_numbers_is_noticed(gemma, tmp_path):
    with h5py.File(gemma) as file:
        offset = file["rel_l2"].id.get_chunk_info(0).byte_offset
    data = bytearray(gemma.read_bytes())
    data[offset + 3] ^= 0x10
    path = tmp_path / "flipped.h5"
    path.write_bytes(data)
    assert "the file is damaged" in refusal(path)
    seal(path)  # as if somebody had made the digest fit
    with open_result(path) as result, pytest.raises(Failure, match="dataset 'rel_l2' cannot be read"):
        list(result.slabs("rel_l2", 0))
