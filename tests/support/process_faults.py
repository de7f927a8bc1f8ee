"""The example kernel of jobs/external with one fault: process_faults.py EXAMPLE.py FAULT [TEXT]."""
import importlib.util
import os
import signal
import struct
import sys
import time

import numpy as np

spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
fault = sys.argv[2]
LAYER = 1  # where a fault of RUN shows


def answer(kind, body, status=0, magic=example.MAGIC, version=example.VERSION, size=None):
    head = example.ANSWER.pack(magic, version, kind, status, len(body) if size is None else size)
    os.write(4, head + body)


HELLO = {
    "other_magic": lambda: answer(example.HELLO, b"", magic=7),
    "other_version": lambda: answer(example.HELLO, b"", version=9),
    "long_label": lambda: answer(example.HELLO, b"x" * 101),
    "nul_label": lambda: answer(example.HELLO, b"x\0y"),
    "other_kind": lambda: answer(example.RUN, b""),
    "exits": lambda: sys.exit(7),
    "silent": lambda: time.sleep(1000),
}


class Faulty(example.Kernel):
    def __init__(self, model):
        if fault in HELLO:
            HELLO[fault]()
            time.sleep(1000)
        print("a kernel may print")
        super().__init__(model)

    def run(self, layer, x):
        y = np.array(super().run(layer, x), np.float32)
        if layer != LAYER:
            return y
        if fault == "dies":
            sys.exit(5)
        if fault == "is_killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "sleeps":
            time.sleep(1000)
        if fault == "leaves":
            os.setpgid(0, os.getpgid(os.getppid()))
            time.sleep(1000)
        if fault == "raises":
            raise RuntimeError("no weights\nfor this layer")
        if fault == "short":
            return y[:-1]
        if fault == "half":
            body = y.tobytes()
            answer(example.RUN, body[:len(body) // 2], size=len(body))
            time.sleep(1000)
        if fault == "drips":  # never silent for long, and never done
            body = y.tobytes()
            answer(example.RUN, b"", size=len(body))
            for at in range(0, len(body), 4):
                os.write(4, body[at:at + 4])
                time.sleep(0.05)
        if fault == "counts":
            y *= 1 + len(y) / 1024
        if fault == "lonely" and len(y) == 1:
            y *= 1.5
        if fault == "nan":
            y[0, 0] = np.nan
        return y


if fault == "deaf":  # takes no request
    time.sleep(1000)
example.Kernel = Faulty
sys.argv[1:] = []
example.main()
