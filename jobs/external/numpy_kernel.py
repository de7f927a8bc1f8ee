"""A kernel for path external, as a program: the FFN of a vindex's f32 files, by numpy or, where torch is installed, by torch.

    paths: [{path: external, command: "python3 numpy_kernel.py", name: mine, like: full_mmap}]

The command starts in the directory of the job file: copy this file there, or give its path. With
`--torch` torch multiplies, on a GPU if there is one. include/walkaudit/external_process.h says what
is read from file descriptor 3 and written to 4; print() goes to the audit's standard error.

It needs gate_vectors.bin, up_features.bin and down_features.bin as f32, [layers, features, hidden]
each, of a gated model whose layers are equally wide.
"""
import json
import os
import struct
import sys

import numpy as np

MAGIC, VERSION, HELLO, RUN = 0x41554157, 1, 1, 2
REQUEST, ANSWER = struct.Struct("=4I3Q"), struct.Struct("=3IiQ")


def silu(z):
    return z / (1 + np.exp(-z))


def gelu_tanh(z):
    return 0.5 * z * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z**3)))


ACTIVATIONS = {"silu": silu, "gelu_tanh": gelu_tanh}


class Kernel:
    """One position at a time: then an answer depends on no other position, whatever BLAS does."""

    def __init__(self, model):
        if not model["gated"] or model["activation"] not in ACTIVATIONS:
            raise ValueError(f"no FFN with {model['activation']}, gated {model['gated']}")
        shape = model["layers"], model["features"], model["hidden"]
        self.gate, self.up, self.down = (
            np.memmap(os.path.join(model["vindex"], name), "<f4", "r", shape=shape)
            for name in ("gate_vectors.bin", "up_features.bin", "down_features.bin"))
        self.activation = ACTIVATIONS[model["activation"]]
        self.label = "example:numpy"

    def run(self, layer, x):
        gate, up, down = self.gate[layer], self.up[layer], self.down[layer]
        with np.errstate(over="ignore"):
            return np.stack([(self.activation(gate @ row) * (up @ row)) @ down for row in x])


class TorchKernel(Kernel):
    """The same by torch."""

    def __init__(self, model):
        import torch
        super().__init__(model)
        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.label = f"example:torch on {self.device}"

    def run(self, layer, x):
        gate, up, down = (self.torch.tensor(np.array(m[layer]), device=self.device)
                          for m in (self.gate, self.up, self.down))
        rows = self.torch.tensor(x, device=self.device)
        act = np.float32(self.activation((rows @ gate.T).cpu().numpy().astype(np.float64)))
        return ((self.torch.tensor(act, device=self.device) * (rows @ up.T)) @ down).cpu().numpy()


def read(file, size):
    """All of so many bytes; None at the end of the requests."""
    data = b""
    while len(data) < size:
        piece = file.read(size - len(data))
        if not piece:
            return None
        data += piece
    return data


def main():
    make = TorchKernel if "--torch" in sys.argv[1:] else Kernel
    requests, answers = open(3, "rb", buffering=0), open(4, "wb", buffering=0)
    kernel = None
    while (head := read(requests, REQUEST.size)) is not None:
        magic, version, kind, layer, rows, hidden, size = REQUEST.unpack(head)
        if (magic, version) != (MAGIC, VERSION):
            sys.exit(f"request of version {version}, this kernel speaks {VERSION}")
        data, status = read(requests, size), 0
        try:
            if kind == HELLO:
                kernel = make(json.loads(data))
                body = kernel.label.encode()
            else:
                x = np.frombuffer(data, np.float32).reshape(rows, hidden)
                body = np.ascontiguousarray(kernel.run(layer, x), np.float32).tobytes()
        except Exception as failure:
            status, body = 1, f"{type(failure).__name__}: {failure}".encode()[:400]
        out = memoryview(ANSWER.pack(MAGIC, VERSION, kind, status, len(body)) + body)
        while out:
            out = out[answers.write(out):]


if __name__ == "__main__":
    main()
