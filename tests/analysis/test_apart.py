"""A file is read in a process of its own: what becomes of it there is one Failure, and the next file is read."""
import os
import signal
import subprocess
import sys
import time

import pytest

import command
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


# --- A whole verb


def verb(work, path="r.h5"):
    """A process whose verb does this, with a second for each call of HDF5."""
    program = "\n".join([
        "import os, signal, sys, time", f"sys.path.insert(0, {str(command.SOURCE)!r})", "from walkaudit_report import apart, cli",
        "apart.SECONDS = 1", "def work():", f"    apart.tell({path!r})" if path else "    pass", "    with apart.limited():", f"        {work}",
        "    return 1", "cli.execute = lambda words, beside: work()", "sys.exit(cli.guarded_main([], None))"])
    return subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_verb_answers_as_ever():
    done = verb("print('said')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "said\n", "")


@pytest.mark.parametrize("work, words", [
    ("os.kill(os.getpid(), signal.SIGSEGV)", "found a crash when HDF5 read it"),
    ("any(iter(int, 1))", "found no end in 1 s"),  # never returns to Python
    ("raise AttributeError('no such\\nthing')", "found AttributeError (no such thing)")])
def test_whatever_a_file_does_to_a_verb_is_one_line_and_code_3(work, words):
    done = verb(work)
    assert done.returncode == 3 and words in command.one_line(done) and "'r.h5'" in done.stderr


def test_a_fault_that_no_file_led_to_is_not_laid_on_one():
    assert "AttributeError" in verb("raise AttributeError", path=None).stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_verb_that_is_ended_from_outside_ends_so(number):
    assert verb(f"os.kill(os.getpid(), {int(number)})").returncode == -number
