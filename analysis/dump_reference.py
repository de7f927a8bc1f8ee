#!/usr/bin/env python3
"""Write a reference dump with transformers: what another implementation computes for a model and its prompts.

    dump_reference.py MODEL PROMPTS [-o OUT.h5] [--dtype float32|float64]

MODEL is a Hugging Face directory. PROMPTS is a prompts file of a job (JSONL), a job file (YAML), `seed` (the three published
prompts), or a result of walkaudit (HDF5), whose token ids are taken as they are. `walkaudit run JOB.yaml --reference-dump OUT.h5` compares; doc/reference-dump.md has the layout.

An optional tool: nothing else here needs torch or transformers. Nothing is fetched from a network, and no code of the model's is run.
"""
import argparse
import json
import os
import pathlib
import sys

NEEDED = ("torch", "transformers", "tokenizers", "h5py", "numpy")
FFN = ("mlp", "feed_forward", "ffn", "block_sparse_moe")  # of a decoder layer, as the families call it
SEED = {"paris": "The capital of France is",
        "apollo": "The Apollo 11 mission landed on the Moon on July 20, 1969. The commander was",
        "code": "def fibonacci(n):"}  # as a job's `builtin: seed`


class Failure(Exception):
    """One line for the user."""


# --- Prompts: {key: token ids}


def read_lines(path, model):
    prompts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            prompt = json.loads(line)
            key, limit = prompt["key"], prompt.get("max_tokens")
            ids = [int(token) for token in prompt["ids"]] if "ids" in prompt else encode(model, prompt["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise Failure(f"'{path}', line {number}: {error!r}, expected an object with 'key', and 'text' or 'ids'") from None
        prompts[key] = ids[:limit]
    return prompts


def encode(model, text):
    import tokenizers
    path = model / "tokenizer.json"
    if not path.is_file():
        raise Failure(f"'{path}' is missing: prompts of texts need the model's tokenizer; give a result of walkaudit, or ids")
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer.encode(text).ids


def read_job(path, model):
    import yaml
    job = yaml.safe_load(path.read_text(encoding="utf-8"))
    prompts = (job or {}).get("prompts") or {}
    return read_lines(path.parent / prompts["file"], model) if "file" in prompts else seed(model)


def seed(model):
    return {key: encode(model, text) for key, text in SEED.items()}


def read_result(path):
    import h5py
    with h5py.File(path, "r") as file:
        if "walkaudit_format" not in file.attrs:
            raise Failure(f"'{path}' is no result of walkaudit: no attribute 'walkaudit_format'")
        ids, owner = file["token_id"][()], file["obs_prompt"][()]
        return {key: ids[owner == at].tolist() for at, key in enumerate(file["prompt_key"].asstr()[()])}


def read_prompts(path, model):
    if str(path) == "seed":
        return seed(model)
    if not path.is_file():
        raise Failure(f"'{path}' is no file, expected `seed`, prompts (JSONL), a job (YAML) or a result of walkaudit (HDF5)")
    if path.suffix in (".yaml", ".yml"):
        prompts = read_job(path, model)
    elif path.suffix in (".h5", ".hdf5"):
        prompts = read_result(path)
    else:
        prompts = read_lines(path, model)
    if not prompts or not all(prompts.values()):
        raise Failure(f"'{path}' has no prompts, or one without tokens")
    return prompts


# --- The model


def open_model(path, dtype):
    import torch
    import transformers
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if not (path / "config.json").is_file():
        raise Failure(f"'{path}' has no config.json, expected a Hugging Face directory (a GGUF file is read by walkaudit alone)")
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(torch, dtype), attn_implementation="eager", local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise Failure(f"transformers cannot open '{path}': {str(error).splitlines()[0]}") from None
    return model.eval()


def decoder_layers(model):
    """[(FFN module)] by layer: the list of as many modules as the text model has layers, each with an FFN of its own."""
    import torch
    config = model.config.get_text_config()
    count = config.num_hidden_layers
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or len(module) != count:
            continue
        ffns = [next((getattr(layer, ffn) for ffn in FFN if hasattr(layer, ffn)), None) for layer in module]
        if all(ffn is not None for ffn in ffns):
            return ffns
    raise Failure(f"{type(model).__name__} has no list of {count} layers with one of {', '.join(FFN)}: its FFN cannot be watched")


def watch(ffns, seen):
    """Input and output of each FFN into seen[layer]."""
    hooks = []
    for layer, ffn in enumerate(ffns):
        def hook(_, args, kwargs, output, layer=layer):
            x = args[0] if args else kwargs["hidden_states"]
            y = output[0] if isinstance(output, tuple) else output
            seen[layer] = (x.detach().reshape(-1, x.shape[-1]), y.detach().reshape(-1, y.shape[-1]))
        hooks.append(ffn.register_forward_hook(hook, with_kwargs=True))
    return hooks


def run(model, ffns, ids):
    """x [layer, n, hidden], y likewise, logits [n, vocabulary] of one prompt, f32."""
    import torch
    seen = {}
    hooks = watch(ffns, seen)
    try:
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != len(ffns):
        raise Failure(f"{len(ffns) - len(seen)} of {len(ffns)} FFNs were not called")
    stack = [torch.stack([seen[layer][which] for layer in range(len(ffns))]).float().numpy() for which in (0, 1)]
    return stack[0], stack[1], logits.float().numpy()


# --- The dump


def group_name(key):
    return "%2E" if key == "." else key.replace("%", "%25").replace("/", "%2F")


def write(out, model_path, prompts, dtype):
    import h5py
    import torch
    import transformers
    model = open_model(model_path, dtype)
    ffns = decoder_layers(model)
    temporary = out.with_name(out.name + ".tmp")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs.update(format="walkaudit reference dump 1", model=model_path.name, implementation=type(model).__name__,
                              versions=f"transformers {transformers.__version__}, torch {torch.__version__}", dtype=dtype)
            for key, ids in prompts.items():
                group = file.create_group(f"native/{group_name(key)}")
                group["token_id"] = [int(token) for token in ids]
                group["x"], group["y"], group["logits"] = run(model, ffns, ids)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{out}: {len(ffns)} layers, {len(prompts)} prompts, {sum(map(len, prompts.values()))} positions; {type(model).__name__} in {dtype}")


def missing():
    """Packages that are not installed."""
    import importlib.util
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="doc/reference-dump.md has the layout.")
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL", help="Hugging Face directory")
    parser.add_argument("prompts", type=pathlib.Path, metavar="PROMPTS", help="prompts (JSONL), job (YAML), result (HDF5), or `seed`")
    parser.add_argument("-o", "--out", type=pathlib.Path, metavar="OUT.h5", help="default: MODEL's name and .dump.h5")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of weights and activations (float32)")
    words = parser.parse_args()
    try:
        if missing():
            raise Failure(f"{', '.join(missing())} not installed: 'pip install torch transformers h5py' provides what this needs")
        prompts = read_prompts(words.prompts, words.model)
        write(words.out or pathlib.Path(words.model.resolve().name + ".dump.h5"), words.model, prompts, words.dtype)
    except (Failure, OSError) as error:
        print(f"dump_reference: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
