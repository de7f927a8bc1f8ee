import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "end_to_end"), str(ROOT / "analysis")]

import harness  # noqa: E402  (found through the path set above)
import scratch  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    scratch.choose(config)


def pytest_sessionfinish(session, exitstatus):
    scratch.tidy(session.config, exitstatus)


def pytest_collection_modifyitems(items):
    """Without a binary there are no results to read: that is a failure, not a skip."""
    if "WALKAUDIT" not in os.environ:
        raise pytest.UsageError("set WALKAUDIT to the binary that makes the results")


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    return harness.Workshop(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def gemma(shop):
    """Three exact cases of tiny-gemma3, all passing: the path of the result."""
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")})
    job.run(ranks=2)
    return job.result_path


@pytest.fixture(scope="session")
def sweep(shop):
    """Exact cases and a sweep over K of tiny-qwen3, on two vindexes, with logits at all positions."""
    paths = [{"path": "sparse"}, {"path": "full_mmap"}, *({"path": "sparse_serial", "k": k} for k in (8, 24))]
    job = shop.job(shop.model("tiny-qwen3"), {"f16": shop.vindex("tiny-qwen3", "f16"),
                                              "f32": shop.vindex("tiny-qwen3", "f32")}, paths=paths,
                   logits="all")
    job.run(ranks=2)
    return job.result_path


@pytest.fixture(scope="session")
def failing(shop):
    """The f32 vindex of tiny-llama with one down row of layer 1 doubled: a result with a failing verdict."""
    import numpy as np
    folder = shop.copy("tiny-llama", "f32", shop.root / "wrong-row.vindex")
    values = np.memmap(folder / "down_features.bin", np.float32, "r+")
    values[-64:] *= 2
    values.flush()
    job = shop.job(shop.model("tiny-llama"), {"wrong": folder})
    job.run(ranks=2, expect=1)
    return job.result_path
