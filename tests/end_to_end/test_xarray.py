"""A result opens in xarray with names on every dimension, by both engines."""
import numpy as np
import pytest
import xarray

import harness


@pytest.fixture(scope="module")
def result_path(shop):
    job = shop.job(shop.model("tiny-qwen3"), {"f16": shop.vindex("tiny-qwen3", "f16")})
    job.run(ranks=2)
    return job.result_path


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_open_dataset_gives_named_dimensions_and_coordinates(result_path, engine):
    want = {"case": 3, "layer": 2, "obs": 34, "prompt": 3, "slot": 16, "vindex": 1, "payload": 21, "projection": 3}
    with xarray.open_dataset(result_path, engine=engine) as data:
        assert {name: data.sizes[name] for name in want} == want
        assert set(want) <= set(data.coords)
        for name in data.variables:
            assert not any(d.startswith("phony") for d in data[name].dims), name
            assert data[name].attrs.get("long_name"), name
        assert data["rel_l2"].dims == ("case", "layer", "obs")
        assert data["label"].dims == ("case", "layer", "prompt")
        assert data["row_err_max"].dims == ("vindex", "payload", "layer", "projection")
        assert data["topk_logprob"].dims == ("case", "prompt", "slot")
        assert data["token_id"].dtype.kind == "i" and data["dense_evaluations"].dtype.kind == "i"
        assert data["rel_l2"].dtype == np.float64
        assert [str(name) for name in data["case_name"].values] == ["f16:sparse", "f16:full_mmap", "f16:exact"]
        assert [str(key) for key in data["prompt_key"].values] == list(harness.SEED)
        worst = data["rel_l2"].max("obs").sel(layer=1, case=0)
        assert float(worst) == float(data["layer_max_rel_l2"].sel(layer=1, case=0))
        meanings = data["label"].attrs["flag_meanings"].split()
        assert meanings[int(data["label"][0, 0, 0])] == "sparse:gemv_full_k"
        assert data.attrs["walkaudit_format"] == 5


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_logits_of_all_positions_open_too(shop, engine):
    job = shop.job(shop.model("tiny-qwen3"), {"f16": shop.vindex("tiny-qwen3", "f16")}, logits="all")
    job.run(ranks=2)
    with xarray.open_dataset(job.result_path, engine=engine) as data:
        for name in data.variables:
            assert not any(d.startswith("phony") for d in data[name].dims), name
            assert data[name].attrs.get("long_name") and data[name].attrs.get("units"), name
        for name in ("kl", "js", "top1_id", "top1_prob", "top1_match", "prob_of_ref_top1", "prob_delta", "topk_overlap",
                     "next_logprob", "next_prob_delta"):
            assert data["obs_" + name].dims == ("case", "obs"), name
        for name in ("top1_id", "top1_prob", "margin", "next_logprob"):
            assert data["obs_ref_" + name].dims == ("obs",), name
        assert data["obs_top1_id"].dtype == np.int32 and data["obs_top1_match"].dtype == np.int8
        assert data["obs_kl"].attrs["units"] == "nat" and data["mean_kl_upper"].dims == ("case",)
        assert float(data["n_distinct"][0]) <= data.sizes["obs"]


def test_both_engines_read_the_same_numbers(result_path):
    with xarray.open_dataset(result_path, engine="h5netcdf") as a, \
            xarray.open_dataset(result_path, engine="netcdf4") as b:
        assert set(a.variables) == set(b.variables)
        for name in a.variables:
            if a[name].dtype.kind in "iuf":
                np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)
            else:
                assert [str(x) for x in a[name].values.reshape(-1)] == [str(x) for x in b[name].values.reshape(-1)], name
