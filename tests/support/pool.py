"""Work dealt to processes by drivers that may run for hours: tests/faults/sweep.py, tests/fuzz/mutate.py."""
import collections
import concurrent.futures
import time


def in_order(function, work, jobs, seconds=None):
    """(arguments, answer) of each piece of `work`, a tuple of arguments, in its order, by `jobs` processes; begins no piece after so
    many seconds. Processes, because most of a piece's time may be Python's own, and threads of one interpreter wait for each other."""
    end = time.monotonic() + (seconds or float("inf"))
    pending, work = collections.deque(), iter(work)
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        while True:
            while len(pending) < 2 * jobs and time.monotonic() < end and (piece := next(work, None)):
                pending.append((piece, pool.submit(function, *piece)))
            if not pending:
                return
            piece, answer = pending.popleft()
            yield piece, answer.result()
