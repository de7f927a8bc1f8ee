import os

import pytest

import harness
import scratch


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    scratch.choose(config)


def pytest_sessionfinish(session, exitstatus):
    scratch.tidy(session.config, exitstatus)


def pytest_collection_modifyitems(items):
    """Without a binary nothing is tested: that is a failure, not a skip."""
    if "WALKAUDIT" not in os.environ:
        raise pytest.UsageError("set WALKAUDIT to the binary that is to be tested")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return harness.Workshop(tmp_path_factory.mktemp("work"))
