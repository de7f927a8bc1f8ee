"""A file is read in a process of its own: what becomes of it there is one Failure, and the next file is read."""
import os
import signal
import time

import pytest

from walkaudit_report import apart
from walkaudit_report.errors import Failure


def crash(path):
    os.kill(os.getpid(), signal.SIGSEGV)


def loop(path):
    time.sleep(1000)


def refuse(path):
    raise Failure("the file is odd", f"'{path}'", "found this, expected that")


def stumble(path):
    raise AttributeError("no such thing")


def test_what_is_read_comes_back(tmp_path):
    file = tmp_path / "r.h5"
    file.write_bytes(b"12")
    assert apart.apart(lambda path: [{"size": path.stat().st_size}], file) == [{"size": 2}]


@pytest.mark.parametrize("work, words", [(crash, "found a crash when HDF5 read it"), (loop, "found no end in 1 s"),
                                         (refuse, "the file is odd"), (stumble, "found AttributeError")])
def test_whatever_happens_is_one_failure_that_names_the_file(tmp_path, monkeypatch, work, words):
    monkeypatch.setattr(apart, "SECONDS", 1)
    file = tmp_path / "r.h5"
    file.write_bytes(b"")
    with pytest.raises(Failure, match=words) as told:
        apart.apart(work, file)
    assert str(file) in str(told.value) and "\n" not in str(told.value)
