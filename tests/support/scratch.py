"""Where tests write: in memory where there is room, since a run makes each of its files durable and a disk takes its time for that:
a virtual one may let every fsync of the machine wait for a minute while others write.

What concerns disks is tested on file systems of its own (test_failures.py), by faults.sweep's failing calls and, on the disk of the
machine, by the tests under slurm/ and mpi/.
"""
import os
import pathlib
import shutil
import tempfile

MEMORY = pathlib.Path("/dev/shm")
ROOM = 4 << 30  # bytes: six files of tests at a time take up to 200 MiB each


def root():
    """A directory in memory; None: the usual one, because TMPDIR names it or memory is short."""
    if os.environ.get("TMPDIR") or not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM else None


def choose(config):
    """For pytest_configure: its directories of this session stand there, unless --basetemp says where."""
    if config.option.basetemp is None and (memory := root()) is not None:
        config.option.basetemp = config.walkaudit_scratch = tempfile.mkdtemp(prefix="walkaudit-tests-", dir=memory)


def tidy(config, exit_status):
    """For pytest_sessionfinish: gone, unless a test failed and somebody may want to look."""
    if exit_status == 0 and (made := getattr(config, "walkaudit_scratch", None)) is not None:
        shutil.rmtree(made, ignore_errors=True)
