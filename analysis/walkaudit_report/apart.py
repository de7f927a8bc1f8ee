"""Reading a file in a process of its own: HDF5 crashes on some damaged files and loops for ever on others, and must take neither the
files after them nor the answer with it.

`apart` reads one file of many; `whole` runs a verb, whose child tells which file it reads (`tell`) and limits each call of HDF5
(`limited`).
"""
import contextlib
import multiprocessing
import os
import pathlib
import signal
import sys

from .errors import Failure

SECONDS, BYTES_A_SECOND = 60, 20 << 20  # the digest of a large file takes its time
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT, signal.SIGILL)
state = {"pipe": None, "path": None, "depth": 0}  # of this process: where to tell, what was told, how deep in `limited`


def tell(path):
    """From now on this file is read."""
    state["path"] = path
    if state["pipe"] is not None:
        os.write(state["pipe"], os.fsencode(f"{path}\0"))


@contextlib.contextmanager
def limited():
    """Around calls of HDF5: a child of `whole` that finds no end in SECONDS of processor time dies of it. A signal whose handler is
    Python's would wait for HDF5 to return."""
    if state["pipe"] is None:
        yield
        return
    state["depth"] += 1
    if state["depth"] == 1:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        state["depth"] -= 1
        if state["depth"] == 0:
            signal.setitimer(signal.ITIMER_PROF, 0)


def whole(work):
    """work()'s exit code; work runs in a child. Returns in the child too, which ends with that code. A Failure where the child crashed
    or found no end."""
    here, there = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(here)
        state["pipe"] = there
        return work()
    os.close(there)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal sends it to the child too, which answers
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(child, number))
    with open(here, "rb") as pipe:
        told = pipe.read().split(b"\0")
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    path = os.fsdecode(told[-2]) if len(told) > 1 else None
    if ended >= 0:
        return ended
    if path is not None and -ended in (*CRASHES, signal.SIGPROF):
        raise damaged(path, "a crash" if -ended in CRASHES else f"no end in {SECONDS} s")
    if -ended != signal.SIGKILL:
        signal.signal(-ended, signal.SIG_DFL)
    os.kill(os.getpid(), -ended)  # it was ended from outside: so are we
    return 128 - ended


def damaged(path, ended):
    return Failure("the file is damaged", f"'{path}'", f"found {ended} when HDF5 read it, expected a whole result of walkaudit")


def apart(work, path):
    """work(path), or its Failure, from a child; a Failure too when the child dies or finds no end."""
    limit = SECONDS + size_of(path) / BYTES_A_SECOND
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(work, path, there), daemon=True)
    child.start()
    there.close()
    try:
        ended = "" if here.poll(limit) else f"no end in {limit:.0f} s"
        answer = None if ended else here.recv()
    except EOFError:
        ended = "a crash"
    finally:
        here.close()
        child.kill()
        child.join()
    if ended:
        raise damaged(path, ended)
    value, failure = answer
    if failure is not None:
        raise Failure(*failure)
    return value


def size_of(path):
    try:
        return pathlib.Path(path).stat().st_size
    except OSError:
        return 0  # who reads it says why


def _answer(work, path, there):
    value = failure = None
    try:
        value = work(path)
    except Failure as told:
        failure = told.parts
    except Exception as error:  # noqa: BLE001: what h5py and numpy say of damaged data is of any kind
        failure = ["the file is damaged", f"'{path}'", f"found {type(error).__name__} when it was read ({error}), expected a whole result"]
    there.send((value, failure))
