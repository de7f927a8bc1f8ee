"""Model directories with weights that follow from a seed, so that golden data need no stored weights.

numpy's RandomState gives the same numbers in every version (NEP 19). Used by golden/families/make.py and golden/experts/make.py, and by
the tests that read what they wrote.
"""
import json
import struct
import zlib

import numpy as np


def as_bf16(values):
    """The bf16 bits nearest to f32 values, ties to even."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def widened(bits):
    return (bits.astype("<u4") << 16).view("<f4")


def bits_of(name, shape, seed):
    """bf16 bits of one tensor: norms near 1, biases that matter, matrices that keep a row's size."""
    rng = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    values = rng.standard_normal(shape) * (8 if name.endswith("gate_up_proj") else 1)  # GPT-OSS clamps at 7
    if name.endswith(".bias"):
        values *= 0.3
    elif len(shape) == 1:
        values = 1 + 0.2 * values
    else:
        values *= (1.0 if "embed" in name else 1.3) / np.sqrt(shape[-1])
    return as_bf16(values)


def tensors(shapes, seed):
    """{name: f32 array} of {name: shape}."""
    return {name: widened(bits_of(name, shape, seed)) for name, shape in shapes.items()}


def tokenizer(count):
    """A tokenizer.json whose tokens are single characters."""
    vocabulary = {chr(0x100 + i): i for i in range(count)}
    return {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}


def write(folder, config, shapes, seed):
    """config.json, tokenizer.json and model.safetensors (bf16)."""
    header, body = {}, b""
    for name, shape in shapes.items():
        content = bits_of(name, shape, seed).tobytes()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(config["vocab_size"])))
    return folder


class Golden:
    """What a make.py wrote into a folder: of each variant NAME.json (configuration, shapes, seed) and NAME.npz (truth by prompt)."""

    def __init__(self, folder):
        self.folder = folder
        self.names = sorted(path.stem for path in folder.glob("*.json"))

    def description(self, name):
        return json.loads((self.folder / f"{name}.json").read_text())

    def truth(self, name):
        """{prompt: {field: array}}"""
        with np.load(self.folder / f"{name}.npz") as file:
            out = {}
            for key in file.files:
                prompt, field = key.split("/")
                out.setdefault(prompt, {})[field] = file[key]
        return out

    def prompts(self, name):
        """The prompts as lines of a prompts file."""
        return "".join(json.dumps({"key": key, "ids": one["ids"].tolist()}) + "\n" for key, one in self.truth(name).items())

    def model(self, name, root):
        """The model's directory below `root`, written if it is not there."""
        folder = root / "variants" / name
        if not folder.exists():
            told = self.description(name)
            write(folder, told["config"], told["shapes"], told["seed"])
        return folder
