"""A progress line on a terminal; silence anywhere else."""
import sys

from . import say

WIDTH = 24


class Progress:
    """Counts steps of known number. `with Progress("reading", total) as bar: bar.step("f16:exact")`"""

    def __init__(self, what, total, stream=None):
        self.what, self.total, self.done = what, max(int(total), 1), 0
        self.stream = stream or sys.stderr
        self.shown = self.stream.isatty() and not say.state["quiet"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.shown:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def step(self, name=""):
        self.done = min(self.done + 1, self.total)
        if self.shown:
            filled = WIDTH * self.done // self.total
            bar = "█" * filled + "·" * (WIDTH - filled)
            self.stream.write(f"\r\x1b[K{self.what} {bar} {self.done}/{self.total} {name[:40]}")
            self.stream.flush()
