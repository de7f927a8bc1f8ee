"""`walkaudit_report.open`: a result as xarray datasets whose labels and words are those of the file, read when they are asked for."""
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

import harness
import walkaudit_report
from conftest import ROOT
from walkaudit_report.errors import Failure

NOTEBOOK = ROOT / "analysis" / "example.ipynb"


@pytest.fixture
def opened(sweep):
    with walkaudit_report.open(sweep) as result:
        yield result


def test_a_case_is_selected_by_its_name_and_its_words_are_words(opened, sweep):
    plain = harness.Result(sweep)
    case = opened.sel(case="f16:sparse")
    assert case.verdict.item() == plain.verdicts()["f16:sparse"]
    np.testing.assert_array_equal(case.rel_l2, plain.case("f16:sparse", "rel_l2"))
    np.testing.assert_array_equal(case.label, plain.case("f16:sparse", "label"))
    assert case.rel_l2.dims == ("layer", "obs") and case.rel_l2.attrs["units"] == "1"
    with pytest.raises(KeyError):
        opened.sel(case="f16:nowhere")


def test_every_dataset_of_the_file_is_there_with_its_numbers(opened, sweep):
    plain = harness.Result(sweep)
    names = set(plain.data) - {"obs_prompt", "obs_position", "token_text"}
    assert names - set(opened.data.variables) == set() and len(names) > 150
    for name in names - {"case", "vindex", "prompt", "projection", "payload"}:  # scales have labels instead
        np.testing.assert_array_equal(opened[name].values, plain[name], err_msg=name)


def test_one_prompt_is_cut_out_of_all_positions(opened, sweep):
    plain = harness.Result(sweep)
    rows = [int(n) for n in plain["prompt_rows"]]
    part = opened.prompt("apollo")
    first = rows[0]
    np.testing.assert_array_equal(part.rel_l2, plain["rel_l2"][..., first:first + rows[1]])
    assert list(part.token.values) == list(plain["token_text"][first:first + rows[1]])
    assert set(part.obs_prompt.values) == {"apollo"} and list(part.position) == list(range(rows[1]))
    with pytest.raises(KeyError, match="paris, apollo, code"):
        opened.prompt("nobody")


def test_nothing_large_is_read_before_it_is_asked_for(opened, monkeypatch):
    read = []
    plain = type(opened.result).read
    monkeypatch.setattr(type(opened.result), "read", lambda self, name, key=(), axes=None: read.append((name, key)) or plain(self, name, key, axes))
    one = opened["rel_l2"].isel(case=1, layer=0, obs=slice(2, 4))
    assert read == []
    assert one.values.shape == (2,) and read == [("rel_l2", (1, 0, slice(2, 4, 1)))]


def test_captures_have_labels_too(shop):
    job = shop.job(shop.model("tiny-qwen3"), {"f16": shop.vindex("tiny-qwen3", "f16")}, paths=[{"path": "sparse"}, {"path": "exact"}],
                   captures={"tensors": ["x", "y_ref", "y_walk"], "layers": [1], "cases": ["f16:exact"]})
    job.run()
    with walkaudit_report.open(job.result_path) as result:
        kept = result.captures
        difference = (kept.y_walk - kept.y_ref).sel(case="f16:exact", layer=1)
        measured = result.sel(case="f16:exact", layer=1).l2
        np.testing.assert_allclose(np.sqrt((difference.astype(float) ** 2).sum("hidden")), measured, rtol=1e-5)
    file = sorted(job.result_path.with_name(job.result_path.name + ".captures").glob("*/*-case-*.h5"))[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with walkaudit_report.open(job.result_path) as result:
        assert result.sel(case="f16:exact").l2.values.size > 0
        with pytest.raises(Failure, match=f"{file.name}'.*damaged"):
            result.captures


def test_a_damaged_file_and_a_missing_xarray_are_one_line(sweep, tmp_path, monkeypatch):
    damaged = tmp_path / "damaged.h5"
    data = bytearray(sweep.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(Failure, match="damaged"):
        walkaudit_report.open(damaged)
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(Failure, match="pip install xarray"):
        walkaudit_report.open(sweep)


def test_the_package_imports_without_xarray_and_matplotlib():
    lines = ("import sys; sys.modules['xarray'] = sys.modules['matplotlib'] = None; "
             f"sys.path.insert(0, {str(ROOT / 'analysis')!r}); import walkaudit_report; print(walkaudit_report.open.__name__)")
    assert subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout == "open\n"


def test_the_notebook_runs_and_its_pictures_have_numbers(sweep, monkeypatch, tmp_path):
    import matplotlib
    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    book = json.loads(NOTEBOOK.read_text())
    assert book["nbformat"] == 4 and all(cell.get("outputs", []) == [] for cell in book["cells"])
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    monkeypatch.chdir(tmp_path)
    assert cells[0].count('"../results/demo-smollm2.h5"') == 1
    cells[0] = cells[0].replace('"../results/demo-smollm2.h5"', repr(str(sweep)))
    names = {}
    for cell in cells:
        exec(compile(cell, str(NOTEBOOK), "exec"), names)
    assert plt.get_fignums() and all(np.isfinite(line.get_ydata()).any() for n in plt.get_fignums() for line in plt.figure(n).axes[0].lines)
    names["result"].close()
    plt.close("all")


def test_h5py_still_opens_what_is_open(opened, sweep):
    with h5py.File(sweep) as file:
        assert file["rel_l2"].shape == opened["rel_l2"].shape
