#!/usr/bin/env python3
"""Cut answers.bin and stats.json out of what a LARQL server of August 2026 answered: make.py FIXTURES,
the folder of those that this LARQL wrote.

Little-endian: "WAANSWER", u32 number of models, then for each: name [16] (NUL-padded), u32 layers, positions, hidden size; x f32
[layers, positions, hidden]; then for each of the vindexes f32, q4k, q4k-down4: u32 whether it was asked in Q8_K; y of f32 as f32, of
f16 as f16, of Q8_K as f32, in the shape of x. `unit/test_answers.c` reads it. stats.json: {model: {vindex: what /v1/stats answered}}.
"""
import json
import pathlib
import struct
import sys

import h5py
import numpy as np

FIXTURES, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent
MODELS = ["tiny-gemma3", "tiny-llama", "tiny-qwen3", "tiny-odd"]
VINDEXES = ["f32", "q4k", "q4k-down4"]

parts, stats = [b"WAANSWER", struct.pack("<I", len(MODELS))], {}
for model in MODELS:
    files = [h5py.File(FIXTURES / model / variant / "served.h5") for variant in VINDEXES]
    stats[model] = {variant: json.loads(file.attrs["stats"]) for variant, file in zip(VINDEXES, files)}
    x = files[0]["x"][:]
    assert all(np.array_equal(x, file["x"][:]) for file in files)
    parts += [model.encode().ljust(16, b"\0"), struct.pack("<3I", *x.shape), x.tobytes()]
    for file in files:
        half = file["y_f16"][:].astype("<f2")
        assert np.array_equal(half.astype("<f4"), file["y_f16"][:])
        parts += [struct.pack("<I", "y_q8k" in file), file["y_f32"][:].tobytes(), half.tobytes()]
        parts += [file["y_q8k"][:].tobytes()] if "y_q8k" in file else []
(OUT / "answers.bin").write_bytes(b"".join(parts))
(OUT / "stats.json").write_text(json.dumps(stats, indent=1, sort_keys=True) + "\n")
