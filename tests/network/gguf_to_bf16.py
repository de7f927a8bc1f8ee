"""A published GGUF (llama or gemma3) as a Hugging Face directory in bf16: gguf_to_bf16.py IN.gguf OUT

Runs in a virtual environment with numpy, gguf, safetensors and ml_dtypes. Undoes what the common converter did
(forward-pass.md 1.7): q and k rows of llama go back to half-split order, Gemma's norms lose their 1. Values are rounded
to nearest even. Writes config.json, model.safetensors and, for llama, a tokenizer.json of the file's vocabulary.
"""
import json
import pathlib
import sys

import gguf
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

LAYER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm", "post_attention_norm": "post_attention_layernorm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
         "post_ffw_norm": "post_feedforward_layernorm"}
WHOLE = {"token_embd": "embed_tokens", "output_norm": "norm"}
CONTROL, USER = 3, 4  # token types


class Source:
    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.arch = self.value("general.architecture")

    def value(self, key, default=None):
        field = self.reader.fields.get(key)
        return default if field is None else field.contents()

    def of_arch(self, key, default=None):
        return self.value(f"{self.arch}.{key}", default)


def target_name(name, arch):
    words = name.split(".")
    if words[0] != "blk":
        return f"model.{WHOLE[words[0]]}.weight"
    pre_norm = "pre_feedforward_layernorm" if arch == "gemma3" else "post_attention_layernorm"
    return f"model.layers.{words[1]}.{LAYER.get(words[2], pre_norm)}.weight"


def half_split(rows, heads):
    """Stored row 2i + j of a head is row j * half + i."""
    shape = rows.shape
    pairs = rows.reshape(heads, shape[0] // heads // 2, 2, shape[1])
    return np.swapaxes(pairs, 1, 2).reshape(shape)


def tensors(source):
    heads = {"attn_q": source.of_arch("attention.head_count"), "attn_k": source.of_arch("attention.head_count_kv")}
    for tensor in source.reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        values = values.reshape(tuple(int(n) for n in tensor.shape)[::-1])
        kind = tensor.name.split(".")[-2]
        if source.arch == "llama" and kind in heads:
            values = half_split(values, heads[kind])
        if source.arch == "gemma3" and kind.endswith("norm"):
            values = values - np.float32(1)
        yield target_name(tensor.name, source.arch), np.ascontiguousarray(values.astype(ml_dtypes.bfloat16))


def config(source):
    heads = source.of_arch("attention.head_count")
    hidden = source.of_arch("embedding_length")
    facts = {"hidden_size": hidden, "num_hidden_layers": source.of_arch("block_count"),
             "intermediate_size": source.of_arch("feed_forward_length"), "num_attention_heads": heads,
             "num_key_value_heads": source.of_arch("attention.head_count_kv"),
             "head_dim": source.of_arch("attention.key_length", hidden // heads),
             "rms_norm_eps": round(float(source.of_arch("attention.layer_norm_rms_epsilon")), 9),
             "rope_theta": float(source.of_arch("rope.freq_base")), "tie_word_embeddings": True,
             "vocab_size": len(source.value("tokenizer.ggml.tokens"))}
    if source.arch == "gemma3":
        facts.update(model_type="gemma3_text", hidden_activation="gelu_pytorch_tanh",
                     query_pre_attn_scalar=facts["head_dim"], rope_local_base_freq=10000.0,
                     sliding_window=source.of_arch("attention.sliding_window"), sliding_window_pattern=6)
    else:
        facts.update(model_type="llama", hidden_act="silu")
    return facts


def tokenizer(source):
    """SmolLM2's: single digits, then byte-level BPE with the GPT-2 split."""
    pieces = source.value("tokenizer.ggml.tokens")
    types = source.value("tokenizer.ggml.token_type")
    special = [{"id": i, "content": piece, "special": True, "normalized": False, "single_word": False,
                "lstrip": False, "rstrip": False}
               for i, piece in enumerate(pieces) if types[i] in (CONTROL, USER)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    split = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "vocab": {piece: i for i, piece in enumerate(pieces)},
             "merges": source.value("tokenizer.ggml.merges")}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
            "pre_tokenizer": split, "post_processor": None, "decoder": byte_level, "model": model}


def main():
    source = Source(sys.argv[1])
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors(source)), out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config(source), indent=1))
    if source.arch == "llama":
        (out / "tokenizer.json").write_text(json.dumps(tokenizer(source)))


if __name__ == "__main__":
    main()
