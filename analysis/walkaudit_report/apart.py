"""Reading a file in a process of its own: HDF5 crashes on some damaged files and loops for ever on others, and must not take the
files after them with it."""
import multiprocessing
import pathlib

from .errors import Failure

SECONDS, BYTES_A_SECOND = 60, 20 << 20  # the digest of a large file takes its time


def apart(work, path):
    """work(path), or its Failure, from a child; a Failure too when the child dies or finds no end."""
    limit = SECONDS + pathlib.Path(path).stat().st_size / BYTES_A_SECOND
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
        raise Failure("the file is damaged", f"'{path}'", f"found {ended} when HDF5 read it, expected a whole result of walkaudit")
    value, failure = answer
    if failure is not None:
        raise Failure(*failure)
    return value


def _answer(work, path, there):
    value = failure = None
    try:
        value = work(path)
    except Failure as told:
        failure = told.parts
    except Exception as error:  # noqa: BLE001: what h5py and numpy say of damaged data is of any kind
        failure = ["the file is damaged", f"'{path}'", f"found {type(error).__name__} when it was read ({error}), expected a whole result"]
    there.send((value, failure))
