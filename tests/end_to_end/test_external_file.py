"""Path external by a file: outputs that numpy computes for captured x are judged as isolated errors, and only for that x.

The model is tiny-gemma3: 4 layers, 512 features, hidden size 256, tanh-GELU.
"""
import re

import h5py
import numpy as np
import pytest

import harness

MODEL, LAYERS, FEATURES, HIDDEN = "tiny-gemma3", 4, 512, 256


@pytest.fixture(scope="module")
def captured(shop):
    """x and ids of a job, and what an FFN in double precision makes of them."""
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=[{"path": "full_mmap"}],
                   captures={"tensors": ["x", "y_ref"]})
    job.run()
    with h5py.File(job.result_path) as file:
        out = {"x": file["captures/x"][()], "y_ref": file["captures/y_ref"][()], "token_id": file["token_id"][()],
               "x_norm": file["x_norm"][()]}
    folder = shop.vindex(MODEL, "f32")
    gate, up, down = (np.fromfile(folder / name, "<f4").reshape(LAYERS, FEATURES, HIDDEN).astype(np.float64)
                      for name in ("gate_vectors.bin", "up_features.bin", "down_features.bin"))
    g = np.einsum("loh,lfh->lof", out["x"].astype(np.float64), gate)
    act = 0.5 * g * (1 + np.tanh(np.sqrt(2 / np.pi) * (g + 0.044715 * g**3)))
    out["y"] = np.einsum("lof,lfh->loh", act * np.einsum("loh,lfh->lof", out["x"].astype(np.float64), up), down)
    return out


def answer(path, captured, **changes):
    data = {"y_walk": captured["y"], "token_id": captured["token_id"], "x_norm": captured["x_norm"], **changes}
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            if values is not None:
                file[name] = values
    return path


def job(shop, file, bucket="exact", **keys):
    paths = [{"path": "external", "file": str(file), "name": "mine", "bucket": bucket}, {"path": "exact"}]
    return shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=paths, **keys)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sound_outputs_pass_as_exact(shop, captured, tmp_path, kind):
    done = job(shop, answer(tmp_path / "y.h5", captured, y_walk=captured["y"].astype(kind)))
    printed = done.run().stdout
    result = harness.Result(done.result_path)
    assert result.verdicts() == {"v:mine": "UNCHECKED", "v:exact": "PASS"}
    assert np.all(result.case("v:mine", "rel_l2") < 1e-5)
    ref = captured["y_ref"].astype(np.float64)
    far = np.linalg.norm(captured["y"].astype(np.float32).astype(np.float64) - ref, axis=-1) / np.linalg.norm(ref, axis=-1)
    assert np.allclose(far, result.case("v:mine", "rel_l2"), rtol=1e-9, atol=0)
    assert set(result.case("v:mine", "label").reshape(-1)) == {"external"}
    assert np.all(result.case("v:mine", "walk_evaluations") == 1) and result.case("v:mine", "case_own_stream") == "no"
    for field in ("drift", "kl", "prob_delta", "kernel_rel_l2"):
        assert np.all(np.isnan(result.case("v:mine", field))), field
        assert not np.all(np.isnan(result.case("v:exact", field))), field
    assert "v:mine answers given inputs only: drift, |ΔP|, KL, TOP-1 and RATE do not apply" in printed
    assert printed.count("0 of 1") == len(harness.SEED)  # of the cases that say a next token, none differs
    assert not re.search(r"\bnan\b", printed, re.IGNORECASE), printed  # a word: paths of scratch directories hold any letters


def test_a_wrong_row_is_found_where_it_is(shop, captured, tmp_path):
    wrong = captured["y"].copy()
    wrong[3, 17] *= 1.5
    result = job(shop, answer(tmp_path / "y.h5", captured, y_walk=wrong)).result(expect=1)
    assert result.case("v:mine", "verdict") == "BOUND" and result.case("v:exact", "verdict") == "PASS"
    assert (result.case("v:mine", "max_rel_l2_at_layer"), result.case("v:mine", "max_rel_l2_at_obs")) == (3, 17)
    wrong[2, 5, 7] = np.nan
    result = job(shop, answer(tmp_path / "z.h5", captured, y_walk=wrong)).result(expect=1)
    assert result.case("v:mine", "verdict") == "NON-FINITE"


@pytest.mark.parametrize("ranks, stages, teams", [(2, 2, 1), (2, 1, 2), (4, 2, 2)])
@pytest.mark.parametrize("logits", ["last", "all"])
def test_same_bits_on_any_grid(shop, captured, tmp_path, ranks, stages, teams, logits):
    file = answer(tmp_path / "y.h5", captured)
    alone, other = (job(shop, file, logits=logits, batch={"rows": 8}, grid=grid)
                    for grid in ({}, {"stages": stages, "teams": teams}))
    alone.run()
    other.run(ranks=ranks)
    harness.assert_equal_bits(alone, other)


@pytest.mark.parametrize("change, said", [
    ({"token_id": None}, "token_id"), ({"y_walk": None}, "y_walk"),
    ({"token_id": lambda c: c["token_id"] + 1}, "it answers other prompts: token_id[0] is 3, the job's is 2"),
    ({"token_id": lambda c: c["token_id"][1:]}, "'token_id': dimension 0 has 27 entries, the job's has 28"),
    ({"y_walk": lambda c: c["y"][:3]}, "'y_walk': dimension 0 has 3 entries, the job's has 4"),
    ({"y_walk": lambda c: c["y"][0]}, "'y_walk' has 2 dimensions, expected 3"),
    ({"y_walk": lambda c: c["y"].astype(np.int32)}, "'y_walk' holds no floating-point numbers"),
    ({"x_norm": lambda c: c["x_norm"] * (1 + 1e-3)}, "it answers another x: x_norm at observation 0"),
    ({"x_norm": lambda c: c["x_norm"] * np.nan}, "it answers another x"),
])
@pytest.mark.parametrize("ranks", [None, 2])
def test_outputs_of_something_else_are_refused(shop, captured, tmp_path, change, said, ranks):
    made = {name: how(captured) if how else None for name, how in change.items()}
    done = job(shop, answer(tmp_path / "y.h5", captured, **made)).run(ranks=ranks, expect=3)
    line = harness.one_error_line(done)
    assert said in line and "y.h5" in line and "v:mine" in line, line


def test_no_hdf5_file_is_one_line(shop, tmp_path):
    (tmp_path / "y.h5").write_text("text")
    assert "not a whole HDF5 file" in harness.one_error_line(job(shop, tmp_path / "y.h5").run(expect=3))
    assert "no such file" in harness.one_error_line(job(shop, tmp_path / "none.h5").run(expect=3)).lower()


def test_like_a_path_given_outputs_get_a_kernel_verdict(shop, captured, tmp_path):
    """On the inputs they answer: there is no other stream."""
    wrong = captured["y"].copy()
    wrong[3, 17] *= 1.5
    for values, verdict in ((captured["y"], "MEASURED"), (wrong, "KERNEL")):
        made = job(shop, answer(tmp_path / f"{verdict}.h5", captured, y_walk=values), bucket="approximate")
        text = made.path.read_text().replace('"bucket": "approximate"', '"bucket": "approximate", "like": "full_mmap"')
        made.path.write_text(text)
        done = made.run(expect=None)
        result = harness.Result(made.result_path)
        assert result.case("v:mine", "verdict") == verdict
        assert result.case("v:mine", "case_kernel_own_due") == 0 < result.case("v:mine", "case_kernel_due")
        assert np.all(np.isnan(result.case("v:mine", "kernel_own_rel_l2")))
        assert "the reference's stream (cases without one of their own)" in done.stdout
    assert np.nan_to_num(result.case("v:mine", "kernel_rel_l2"))[3, 17] > 0.3
