"""Faults in the arithmetic of the walk kernels: KERNEL, at the layer where they are, in every path.

WALKAUDIT_FAULTY is the program built with WA_PLANT_FAULTS (src/path/fault.h lists the faults and what switches them on).
"""
import os

import numpy as np
import pytest

import harness

FAULTS = ["row-off-by-one", "bf16-activations", "erf-gelu", "f16-sum"]
PATHS = [{"path": "sparse"}, {"path": "full_mmap"}, {"path": "exact"}, {"path": "interleaved"}, {"path": "sparse_serial"},
         {"path": "sparse_serial", "k": 100}, {"path": "weights_fallback", "k": 100}]
# The activations of tiny-gemma3's first layers are too small for the two kinds of GELU to differ by more than 1e-5.
MODELS = [("tiny-gemma3", 3), ("tiny-qwen3", 0)]


def make(shop, model):
    vindexes = {v: shop.vindex(model, v) for v in ("interleaved-and-features", "f16")}
    return shop.job(shop.model(model), vindexes, paths=PATHS)


def audit(shop, model, ranks=None, expect=1, **planted):
    job = make(shop, model)
    job.run(ranks=ranks, expect=expect, program=os.environ["WALKAUDIT_FAULTY"], **planted)
    return harness.Result(job.result_path)


def kernel_by_layer(result, case):
    return np.nanmax(result.case(case, "kernel_rel_l2"), axis=-1)


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("model, layer", MODELS)
def test_every_fault_is_found_in_every_path(shop, model, layer, fault, ranks):
    result = audit(shop, model, ranks, WALKAUDIT_FAULT=fault, WALKAUDIT_FAULT_LAYER=str(layer))
    kernels = {case.split(":", 1)[1] for case in result.cases}
    assert kernels == {"sparse", "full_mmap", "exact", "interleaved", "sparse_serial", "sparse_serial:k100",
                       "weights_fallback:k100"}
    for case in result.cases:
        figures = kernel_by_layer(result, case)
        assert figures[layer] > 1e-5, (case, figures)
        assert np.all(np.delete(figures, layer) <= 1e-5), (case, figures)
        assert result.case(case, "verdict") == "KERNEL", (case, result.case(case, "fail_reasons"))
        assert f"layer {layer}, " in result.case(case, "fail_reasons").splitlines()[0]


@pytest.mark.parametrize("model, layer", MODELS)
def test_without_a_fault_the_faulty_program_finds_none(shop, model, layer):
    result = audit(shop, model, expect=0)
    assert set(result["verdict"]) == {"PASS", "MEASURED"}
    assert np.nanmax(result["kernel_rel_l2"]) <= 3.3e-6


def test_the_real_program_has_no_trace_of_the_faults(shop):
    job = make(shop, "tiny-qwen3")
    job.run(WALKAUDIT_FAULT="row-off-by-one")
    assert set(harness.Result(job.result_path)["verdict"]) == {"PASS", "MEASURED"}
    with open(harness.binary(), "rb") as file:
        assert b"WALKAUDIT_FAULT" not in file.read()


PACKED = ("q4k", "fp4b", "q4_0")
PACKED_PATHS = [{"path": p} for p in ("sparse", "interleaved_q4k", "q8k", "fp4_storage", "interleaved_q4")] + \
    [{"path": p, "k": 100} for p in ("sparse_serial", "sparse_parallel")]
LOOPS = {"fp4b:sparse", "fp4b:fp4_storage", "q4k:sparse_serial:k100", "fp4b:sparse_serial:k100", "q4k:sparse_parallel:k100"}
EVERYWHERE = LOOPS | {"q4k:sparse", "q4k:interleaved_q4k", "q4k:q8k", "q4_0:interleaved_q4"}


@pytest.mark.parametrize("fault, where", [*((fault, EVERYWHERE) for fault in FAULTS), ("wrong-down-row", LOOPS),
                                          ("nibble-order", {"q4_0:interleaved_q4", "q4k:q8k"}), (None, set())])
def test_faults_in_the_kernels_of_packed_payloads(shop, fault, where):
    job = shop.job(shop.model("tiny-qwen3"), {v: shop.vindex("tiny-qwen3", v) for v in PACKED}, paths=PACKED_PATHS)
    planted = {"WALKAUDIT_FAULT": fault, "WALKAUDIT_FAULT_LAYER": "1"} if fault else {}
    job.run(expect=1 if where else 0, program=os.environ["WALKAUDIT_FAULTY"], **planted)
    result = harness.Result(job.result_path)
    assert set(result.cases) == EVERYWHERE
    for case in result.cases:
        figures = kernel_by_layer(result, case)
        assert figures[0] <= 1e-5 and (figures[1] > 1e-5) == (case in where), (case, figures)
        assert result.case(case, "verdict") == ("KERNEL" if case in where else "MEASURED"), case
        assert case not in where or "layer 1, " in result.case(case, "fail_reasons").splitlines()[0]
