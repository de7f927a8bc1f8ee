"""Writes components.jsonl: ids and texts that Hugging Face's `tokenizers` gives for variations of the small tokenizers.

    pip install tokenizers==0.21.4
    python3 make_components.py > components.jsonl

A line: `base` (a directory of golden/models), `set` (members that replace those of its tokenizer.json; `model` is merged
member by member; `added_tokens` are appended), `cases` ([text, ids]) and `decoded` ([id, text], the token decoded alone).
"""

import copy
import itertools
import json
import pathlib
import tempfile

from tokenizers import Tokenizer

MODELS = pathlib.Path(__file__).parent.parent / "models"
BASES = ["tiny-gemma3", "tiny-llama", "tiny-odd", "tiny-qwen3", "gpt2"]
TEXTS = ["", " ", "The capital of France is", "  two   spaces \n\n end ", "I'm 12345, you'LL see 1 2\t3\r\n", "e\u0301 caf\u00e9 \u6f22\u5b57 \U0001f916",
         "\u00a0a\u2028b\u0085c\u180ed\u3000e", "\u0663 \u2167 \u00bd 7", "<s>x<unk> <bos>\n<|eot_id|>\n y", "a\u2581\u2581b \u2581", "nul\0 del\x7f <0x41>",
         "e\u0301\u0323 \u1112\u1161\u11ab \u212b", "ab foo bar  foo\tbar is on", "\u017f'\u017f 'S"]


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(space, regex):
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": regex}


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut}


def replace(old, new):
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def added(identifier, content, special=False, normalized=False, lstrip=False, rstrip=False):
    return {"id": identifier, "content": content, "single_word": False, "lstrip": lstrip, "rstrip": rstrip,
            "normalized": normalized, "special": special}


def variations(first_free):
    behaviors = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    patterns = [{"String": " "}, {"Regex": "\\s+"}, {"Regex": "\\p{N}{1,2}|[aeiou]"}]
    yield {}
    for behavior, invert, pattern in itertools.product(behaviors, [False, True], patterns):
        yield {"pre_tokenizer": split(pattern, behavior, invert)}
    for space, regex in itertools.product([False, True], repeat=2):
        yield {"pre_tokenizer": byte_level(space, regex)}
    for individual in [False, True]:
        yield {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": individual}, byte_level(False, True)]}}
    for scheme, cut in itertools.product(["always", "first", "never"], [False, True]):
        yield {"normalizer": None, "pre_tokenizer": metaspace(scheme, cut), "decoder": metaspace(scheme, cut)}
    normalizers = [{"type": "NFC"}, {"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581"), replace("a", ""),
                   {"type": "Sequence", "normalizers": [{"type": "NFC"}, replace("e", "is"), {"type": "Prepend", "prepend": "x "}]}]
    for normalizer in normalizers:
        yield {"normalizer": normalizer}
    for lstrip, rstrip, normalized in itertools.product([False, True], repeat=3):
        flags = {"lstrip": lstrip, "rstrip": rstrip, "normalized": normalized}
        yield {"added_tokens": [added(first_free, "foo", **flags), added(first_free + 1, "foo bar", **flags),
                                added(first_free + 2, "is on", special=True, **flags)]}
    for fuse, fallback, ignore in itertools.product([False, True], repeat=3):
        yield {"model": {"fuse_unk": fuse, "byte_fallback": fallback, "ignore_merges": ignore}}
    yield {"model": {"unk_token": None}}
    yield {"decoder": None}
    yield {"decoder": {"type": "Sequence", "decoders": [replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                                                        {"type": "Strip", "content": " ", "start": 1, "stop": 1}]}}


def apply(base, changes):
    out = copy.deepcopy(base)
    for key, value in changes.items():
        if key == "model":
            out["model"].update(value)
        elif key == "added_tokens":
            out["added_tokens"] += value
        else:
            out[key] = value
    return out


def main():
    bases = {name: json.loads((MODELS / name / "tokenizer.json").read_text()) for name in BASES}
    free = {name: 1 + max([*b["model"]["vocab"].values(), *(t["id"] for t in b["added_tokens"])]) for name, b in bases.items()}
    count = len(list(variations(0)))
    for index in range(count):
        # Each variation on two of the bases, in turn, so that the file stays small.
        for name in (BASES[index % len(BASES)], BASES[(index + 2) % len(BASES)]):
            changes = list(variations(free[name]))[index]
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(apply(bases[name], changes), file)
                file.flush()
                tokenizer = Tokenizer.from_file(file.name)
            special = {t["id"] for t in bases[name]["added_tokens"] + changes.get("added_tokens", []) if t["special"]}
            cases = [[text, tokenizer.encode(text).ids] for text in TEXTS]
            used = sorted({i for _, ids in cases for i in ids} - special)[:: 9]
            decoded = [[i, tokenizer.decode([i], skip_special_tokens=False)] for i in used]
            print(json.dumps({"base": name, "set": changes, "cases": cases, "decoded": decoded}, separators=(",", ":")))


if __name__ == "__main__":
    main()
