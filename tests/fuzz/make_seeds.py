#!/usr/bin/env python3
"""Write seeds/: a few small inputs per fuzz target, made of the golden data and of what is written here.

Run by hand when a reader learns a new form: make_seeds.py
"""
import hashlib
import json
import pathlib
import shutil
import struct

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden"
JOBS = HERE.parent.parent / "jobs"
DEEPEST = 8192  # bytes of a seed: small ones mutate best


def seed(target, name, content):
    path = HERE / "seeds" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    assert len(content) <= 2 * DEEPEST, path
    path.write_bytes(content)


def pretty(value):
    return json.dumps(value, indent=1, ensure_ascii=False)


# --- Models -----------------------------------------------------------------------------------------------------------

LLAMA = {"model.embed_tokens.weight": [4, 8], "model.norm.weight": [8], "lm_head.weight": [4, 8],
         "model.layers.0.input_layernorm.weight": [8], "model.layers.0.post_attention_layernorm.weight": [8],
         **{f"model.layers.0.self_attn.{p}_proj.weight": [8, 8] for p in "qkvo"},
         **{f"model.layers.0.mlp.{p}_proj.weight": [8, 8] for p in ("gate", "up", "down")}}


def elements(shape):
    count = 1
    for size in shape:
        count *= size
    return count


WIDTHS = {"F32": 4, "BF16": 2, "F8_E4M3": 1, "U8": 1}


def safetensors(tensors, dtype):
    """{name: shape}, of one type, or {name: (shape, type)}; all bytes are 0."""
    header, at = {}, 0
    for name, shape in tensors.items():
        shape, own = shape if isinstance(shape, tuple) else (shape, dtype)
        size = elements(shape) * WIDTHS[own]
        header[name] = {"dtype": own, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


class U16(int):
    """An integer of 16 bits."""


class I32(int):
    """An integer of 32 bits with a sign."""


def value(v):
    """Type number and bytes of one metadata value."""
    if isinstance(v, U16):
        return 2, struct.pack("<H", v)
    if isinstance(v, I32):
        return 5, struct.pack("<i", v)
    if isinstance(v, bool):
        return 7, struct.pack("<B", v)
    if isinstance(v, int):
        return 4, struct.pack("<I", v)
    if isinstance(v, float):
        return 6, struct.pack("<f", v)
    if isinstance(v, str):
        return 8, text(v)
    kind = value(v[0])[0]
    return 9, struct.pack("<IQ", kind, len(v)) + b"".join(value(x)[1] for x in v)


def gguf(metadata, tensors, version=3):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, v in metadata.items():
        kind, raw = value(v)
        out += text(key) + struct.pack("<I", kind) + raw
    at = 0
    for name, shape in tensors.items():
        out += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in reversed(shape))
        out += struct.pack("<IQ", 0, at)
        at += (4 * elements(shape) + 31) // 32 * 32
    out += bytes(-len(out) % 32)
    return out + bytes(at)


GGUF_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
              "model.layers.0.input_layernorm": "blk.0.attn_norm", "model.layers.0.post_attention_layernorm": "blk.0.ffn_norm",
              **{f"model.layers.0.self_attn.{p}_proj": f"blk.0.attn_{n}" for p, n in zip("qkvo", ("q", "k", "v", "output"))},
              **{f"model.layers.0.mlp.{p}_proj": f"blk.0.ffn_{p}" for p in ("gate", "up", "down")}}


def small_gguf(version=3, tokenizer="gpt2", parts=1):
    """One file, or a list of several with the keys in the first."""
    piece = "\u0120" if tokenizer == "gpt2" else "\u2581"
    metadata = {
        "general.architecture": "llama", "llama.block_count": 1, "llama.embedding_length": 8, "llama.feed_forward_length": 8,
        "llama.attention.head_count": 1, "llama.attention.head_count_kv": 1, "llama.context_length": 16,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0, "llama.vocab_size": 5,
        "tokenizer.ggml.model": tokenizer, "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.tokens": ["<s>", "a", "b", piece, piece + "a"],
        "tokenizer.ggml.scores": [0.0, -1.0, -2.0, -3.0, -4.0], "tokenizer.ggml.token_type": [3, 1, 1, 1, 1],
        "tokenizer.ggml.merges": [piece + " a"], "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.add_bos_token": True}
    tensors = {GGUF_NAMES[name.removesuffix(".weight")] + ".weight": shape for name, shape in LLAMA.items()}
    tensors |= {"token_embd.weight": [5, 8], "output.weight": [5, 8]}
    if parts == 1:
        return gguf(metadata, tensors, version)
    names, files = list(tensors), []
    for part in range(parts):
        own = {"split.no": U16(part), "split.count": U16(parts), "split.tensors.count": I32(len(names))}
        files.append(gguf((metadata if part == 0 else {}) | own, {name: tensors[name] for name in names[part::parts]}, version))
    return files


def fp8_model():
    """FP8 codes with a scale for each block of four rows and columns."""
    projections = [name for name in LLAMA if name.endswith("_proj.weight")]
    return LLAMA | {name: ([8, 8], "F8_E4M3") for name in projections} | {name + "_scale_inv": ([2, 2], "F32") for name in projections}


def mxfp4_model():
    """Two experts of gpt_oss, a byte of scale for each 32 codes."""
    layer, experts = "model.layers.0.", "model.layers.0.mlp.experts."
    heads = {"q": 16, "k": 8, "v": 8, "o": 32}
    return {"model.embed_tokens.weight": [4, 32], "model.norm.weight": [32], "lm_head.weight": [4, 32],
            layer + "input_layernorm.weight": [32], layer + "post_attention_layernorm.weight": [32],
            **{f"{layer}self_attn.{p}_proj.weight": [rows, 16 if p == "o" else 32] for p, rows in heads.items()},
            **{f"{layer}self_attn.{p}_proj.bias": [rows] for p, rows in heads.items()}, layer + "self_attn.sinks": [2],
            layer + "mlp.router.weight": [2, 32], layer + "mlp.router.bias": [2],
            experts + "gate_up_proj_blocks": ([2, 64, 1, 16], "U8"), experts + "gate_up_proj_scales": ([2, 64, 1], "U8"),
            experts + "gate_up_proj_bias": [2, 64], experts + "down_proj_blocks": ([2, 32, 1, 16], "U8"),
            experts + "down_proj_scales": ([2, 32, 1], "U8"), experts + "down_proj_bias": [2, 32]}


def models():
    seed("safetensors", "model-f32", safetensors(LLAMA, "F32"))
    seed("safetensors", "model-bf16", safetensors(LLAMA, "BF16"))
    seed("safetensors", "model-fp8", safetensors(fp8_model(), "BF16"))
    seed("safetensors", "model-mxfp4", safetensors(mxfp4_model(), "BF16"))
    for name in ("ok", "overlap", "shape-overflow"):
        seed("safetensors", name, (GOLDEN / "malformed/safetensors" / f"{name}.safetensors").read_bytes())
    whole = json.loads((GOLDEN / "models/mistral-sharded/model.safetensors.index.json").read_text())
    seed("shards", "whole", pretty(whole))
    files = whole["weight_map"]
    seed("shards", "lost", pretty({"weight_map": dict(list(files.items())[:-1])}))
    seed("shards", "elsewhere", pretty({"weight_map": {**files, "lm_head.weight": "../model.safetensors"}}))
    seed("gguf", "model-v3", small_gguf())
    seed("gguf", "model-v2-spm", small_gguf(2, "llama"))
    first, second = small_gguf(parts=2)
    seed("gguf_parts", "two", struct.pack("<H", len(first)) + first + second)
    seed("gguf_parts", "twice", struct.pack("<H", len(first)) + first + first)
    for name in ("ok", "offset", "block-rows"):
        seed("gguf", name, (GOLDEN / "malformed/gguf" / f"{name}.gguf").read_bytes())
    for name in ("qwen2", "gemma2", "gpt2", "llama-llama3", "tiny-gemma3", "granite"):
        seed("config", name, (GOLDEN / "models" / name / "config.json").read_bytes())


def tokenizers():
    """The golden ones with few tokens: what they are made of stays."""
    for name in ("qwen2", "gemma2", "llama-llama3", "gpt2"):
        whole = json.loads((GOLDEN / "models" / name / "tokenizer.json").read_text())
        model = whole["model"]
        keep = {"The", " ", "\u0120", "\u2581", "<s>", "<unk>", "<bos>"} | {t["content"] for t in whole["added_tokens"]}
        vocab = [t for t in sorted(model["vocab"], key=model["vocab"].get) if len(t) == 1 or t in keep]
        merges = [m if isinstance(m, list) else m.split(" ") for m in model["merges"]]
        merges = [m for m in merges if all(len(p) == 1 for p in m)][:12]
        vocab += [a + b for a, b in merges if a + b not in vocab]
        kept = set(vocab)
        merges = [m for m in merges if m[0] in kept and m[1] in kept]
        model["merges"] = merges if isinstance(model["merges"][0], list) else [" ".join(m) for m in merges]
        model["vocab"] = {t: i for i, t in enumerate(vocab)}
        for token in whole["added_tokens"]:
            token["id"] = model["vocab"].get(token["content"], len(vocab) + token["id"])
        seed("tokenizer", name, json.dumps(whole, ensure_ascii=False))
        if name == "llama-llama3":  # its post-processor adds ids that no token has
            for special in whole["post_processor"]["processors"][1]["special_tokens"].values():
                special["ids"] = [9999]
            seed("tokenizer", "foreign-template", json.dumps(whole, ensure_ascii=False))
    for name in ("unigram", "unknown-normalizer"):
        seed("tokenizer", name, (GOLDEN / "malformed/tokenizer" / f"{name}.json").read_bytes())


# --- Jobs, bounds, prompts --------------------------------------------------------------------------------------------

FULL_JOB = """# every kind of key
name: all
audits:
  - name: one
    model: a/model
    vindexes:
      - {path: a/f32.vindex}
      - {name: v, path: b.vindex, paths: [sparse, {path: sparse_serial, k: 16, name: short}]}
prompts: {file: prompts.jsonl}
semantics: larql-2026-05
bounds: default
kernel_check: 2
encoding_check: false
batch: {rows: 16}
grid: {stages: 2, teams: 1}
threads: 1
result: out
"""

BOUNDS = """exact: {cos: 0.99999, rel_l2: 1e-2, dp: 5e-3}
quantized:
  cos: 0.99
  rel_l2: 0.5
  dp: 5e-2
  dp_prompts: [paris, code]
  near_tie: 0.1
approximate: {mean_kl: 1e-3, p99_kl: 0.1, flip_rate: 0.01, ppl_ratio: 1.01}
encoding_factor: 4
encoder: compensating
kernel: 1e-5
"""

PROMPTS = ["""{"key": "paris", "text": "The capital of France is"}
{"key": "ids", "ids": [1, 2, 3], "max_tokens": 2}
""", """
{"key":"a\\u00e9","text":"\\ud83e\\udd16 \\u0000","max_tokens":0}

{"key":"empty","text":""}"""]


def texts():
    for path in sorted(JOBS.glob("*.yaml")):
        seed("job", path.stem, path.read_bytes())
    seed("job", "full", FULL_JOB)
    seed("bounds", "all", BOUNDS)
    seed("bounds", "one", "exact: {cos: 0.5}\n")
    for i, lines in enumerate(PROMPTS):
        seed("prompts", f"lines-{i}", lines)


# --- Vindexes ---------------------------------------------------------------------------------------------------------

def kquants(count, shapes, formats):
    entries, at = [], 0
    for layer in range(2):
        for role, shape, kind in zip(count, shapes, formats):
            length = shape[0] * shape[1] // 256 * {"Q4_K": 144, "Q6_K": 210}[kind]
            entries.append({"key": f"layers.{layer}.mlp.{role}_proj.weight", "shape": shape, "format": kind, "offset": at,
                            "length": length})
            at += length
    return json.dumps(entries).encode()


def vindexes():
    malformed = GOLDEN / "malformed/vindex"
    for name in ("ok", "offset-overlap", "fp4-ok", "index-version-99"):
        seed("vindex_index", name, (malformed / name / "index.json").read_bytes())
    whole = json.loads((malformed / "ok/index.json").read_text())
    whole.update(checksums={"gate_vectors.bin": "0" * 64}, walkaudit={"source_format": {"gate": "BF16", "up": "BF16", "down": "BF16"}},
                 source={"extracted_at": "1970", "larql_version": "0"}, dtype="f32", quant="none",
                 model_config={"model_type": "llama", "head_dim": 8, "num_q_heads": 4, "num_kv_heads": 2, "rope_base": 1e4})
    seed("vindex_index", "all-keys", pretty(whole))
    fp4 = json.loads((malformed / "fp4-ok/index.json").read_text())["fp4"]
    seed("vindex_fp4", "fp4-fp8", json.dumps(fp4 | {"padded_hidden": 256}))
    fp4["projections"]["down"] = {"precision": "f16", "file": "down_features.bin"}
    seed("vindex_fp4", "policy-c", json.dumps(fp4 | {"padded_hidden": 256}))

    roles, wide, tall = ("gate", "up", "down"), [16, 256], [32, 256]
    seed("vindex_kquants", "interleaved", b"\2" + kquants(roles, (wide, wide, tall), ("Q4_K", "Q4_K", "Q6_K")))
    seed("vindex_kquants", "no-gate", b"\0" + kquants(roles, (wide, wide, tall), ("Q4_K", "Q4_K", "Q4_K")))
    seed("vindex_kquants", "feature-major", b"\3" + kquants(("down",), ([256, 256],), ("Q6_K",)))

    for name in ("down-meta-ok", "down-meta-short"):
        seed("vindex_down_meta", name, (malformed / name / "down_meta.bin").read_bytes())
    entries = [(f"layers.{layer}.mlp.{role}_proj.weight", "tensor", shape, 2048 * layer, 2048, f"{role}_weights.bin")
               for layer in range(2) for role, shape in (("up", [16, 32]), ("down", [32, 16]))]
    entries += [("norm.weight", "vector", [32], 0, 128, "norms.bin"), ("lm_head.weight", "tensor_q4k", [2, 256], 0, 288, ""),
                ("ple", "tensor_f16", [4, 8], 0, 64, "ple_weights.bin"), ("packed", "packed_bf16", [2, 4, 8], 0, 128, "")]
    keys = ("key", "kind", "shape", "offset", "length", "file")
    seed("vindex_weights", "all-kinds", json.dumps([dict(zip(keys, e)) for e in entries]))
    entries = [("layers.0.mlp.router.weight", "vector", [64], 0, 256, "norms.bin"),
               ("layers.0.mlp.router.bias", "vector", [2], 0, 4, "norms.bin"),
               ("layers.0.mlp.experts.gate_up_proj_bias", "packed_bf16", [2, 32], 0, 128, "norms.bin"),
               ("layers.0.mlp.experts.down_proj_bias", "vector", [64], 0, 256, "up_weights.bin")]
    seed("vindex_weights", "experts", json.dumps([dict(zip(keys, e)) for e in entries]))
    for name, code, features, lengths in layer_files():
        seed("vindex_layers", name, layer_file(code, features, lengths))


def layer_files():
    """Name, code of the format, features, lengths of an entry's regions, of experts 32 elements wide."""
    yield "padded-q4_k", 4, 2, (4 * 144, 32 * 144)
    yield "tight-q8_0", 6, 16, (32 * 34, 16 * 34)
    yield "flat-q4_k", 4, 16, (4 * 144, 2 * 144)
    yield "f16", 1, 3, (6 * 32 * 2, 32 * 3 * 2)
    yield "mxfp4", 8, 1, (2 * 128, 32 * 128, 2 * 8, 32 * 8)


def layer_file(code, features, lengths, experts=2):
    header = b"LYRW" + struct.pack("<5I", 1, code, experts, features, 32) + (struct.pack("<2I", 1, 0) if code == 8 else b"")
    at, table, body = len(header) + 16 * len(lengths) * experts, b"", b""
    for expert in range(experts):
        for length in lengths:
            table += struct.pack("<2Q", at + len(body), length)
            body += bytes((7 * expert + i) % 251 for i in range(length))
    return header + table + body


# --- Number formats ---------------------------------------------------------------------------------------------------

FORMATS = 16  # WA_FORMAT_COUNT


def codecs():
    """A format's number, then noise: blocks to decode, and 256 floats to encode."""
    for number in range(FORMATS):
        noise = b"".join(hashlib.sha256(bytes([number, part])).digest() for part in range(33))
        seed("codec", f"format-{number:02}", bytes([number]) + noise)


def main():
    for part in ("codec safetensors shards gguf gguf_parts config tokenizer job bounds prompts vindex_index vindex_fp4 vindex_kquants vindex_down_meta "
                 "vindex_weights vindex_layers").split():
        shutil.rmtree(HERE / "seeds" / part, ignore_errors=True)
    models()
    tokenizers()
    texts()
    vindexes()
    codecs()


main()
