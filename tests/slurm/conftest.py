"""A private Slurm per number of nodes, golden models, and a place where jobs are submitted from."""
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "end_to_end"))
sys.path.insert(0, str(TESTS / "support"))

import bed
import harness


def pytest_collection_modifyitems(items):
    reason = bed.why_not()
    if reason is not None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"SKIPPED: no Slurm: {reason}"))


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    return harness.Workshop(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def one_node():
    with bed.Bed(1) as started:
        yield started


@pytest.fixture(scope="module")
def two_nodes():
    with bed.Bed(2) as started:
        yield started
