"""GPT-OSS with packed experts: MXFP4 blocks and scales in safetensors, as OpenAI publishes it. The same numbers as bf16 in the other
layout, which test_experts.py holds against transformers, are the truth: a value is a level times a power of two, so that bf16 has it."""
import json
import shutil
import struct

import numpy as np
import pytest

import gguf_files
import harness

LEVELS = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])


def pack(values):
    """Blocks [..., cols / 32, 16] and scales [..., cols / 32] of rows, nearest levels; larql-2026-08 5.2 for the layout."""
    groups = values.reshape(*values.shape[:-1], -1, 32)
    largest = np.abs(groups).max(-1)
    scales = np.where(largest > 0, np.floor(np.log2(np.maximum(largest, 1e-30))) - 2, -127).astype(int) + 127
    codes = np.abs(groups[..., None] * 2.0 ** (127 - scales[..., None, None]) - LEVELS).argmin(-1).astype("u1")
    return codes[..., ::2] | codes[..., 1::2] << 4, scales.astype("u1")


def unpack(blocks, scales):
    codes = np.stack((blocks & 15, blocks >> 4), -1).reshape(*blocks.shape[:-1], 32)
    return (LEVELS[codes] * 2.0 ** (scales[..., None].astype(int) - 127)).reshape(*blocks.shape[:-2], -1)


def write(path, tensors):
    """Bytes as U8, all else as bf16."""
    header, body, at = {}, b"", 0
    for name, values in tensors.items():
        raw = values.tobytes() if values.dtype == np.uint8 else (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "U8" if values.dtype == np.uint8 else "BF16", "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
        body, at = body + raw, at + len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.fixture(scope="module")
def models(shop):
    """Directories of the same model: packed, and in bf16."""
    plain, packed = shop.root / "gpt-oss-bf16", shop.root / "gpt-oss-mxfp4"
    harness.run(["synth", plain, "--family", "gpt_oss", "--shape", "tiny", "--experts", "5", "--features", "96"])
    shutil.copytree(plain, packed)
    tensors = gguf_files.read_safetensors(plain / "model.safetensors")
    apart = {}
    for name, values in tensors.items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            apart[name] = values
            continue
        blocks, scales = pack(values.swapaxes(1, 2))
        apart[f"{name}_blocks"], apart[f"{name}_scales"] = blocks, scales
        tensors[name] = np.ascontiguousarray(unpack(blocks, scales).swapaxes(1, 2))
    write(plain / "model.safetensors", tensors)
    write(packed / "model.safetensors", apart)
    config = json.loads((packed / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    (packed / "config.json").write_text(json.dumps(config))
    return {"bf16": plain, "mxfp4": packed, "tensors": apart}


@pytest.mark.parametrize("model, other", [("mxfp4", "bf16"), ("bf16", "mxfp4")])
def test_packed_experts_are_the_numbers_that_they_stand_for(shop, models, model, other):
    made = shop.job(models[model], {})
    text = json.loads(made.path.read_text())
    text["audits"][0]["vindexes"] = [{"name": "other", "checkpoint": str(models[other])}]
    made.path.write_text(json.dumps(text))
    result = made.result()
    case = "other:checkpoint"
    assert "expert down MXFP4_blocks (4 of 4 layers)" in " ".join(harness.run(["inspect", models["mxfp4"]]).stdout.split())
    assert result.case(case, "max_rel_l2") == 0 and (result.case(case, "kl") == 0).all() and (result.case(case, "drift") == 0).all()
    assert not set(result.case(case, "fail_reasons").split()) & {"KERNEL", "ENCODING", "NON-FINITE"}


def test_experts_of_a_vindex_are_made_of_packed_ones(shop, models):
    """In f32 they are the very numbers, in the layout of vindexes: gate and up in halves, rows padded to 256."""
    folder = shop.root / "from-mxfp4.vindex"
    said = harness.run(["extract", models["mxfp4"], folder, "--format", "f32"])
    assert "requantised from MXFP4" in said.stdout
    data = (folder / "layers/layer_03.weights").read_bytes()
    truth = unpack(models["tensors"]["model.layers.3.mlp.experts.gate_up_proj_blocks"][4],
                   models["tensors"]["model.layers.3.mlp.experts.gate_up_proj_scales"][4])
    at, length = struct.unpack_from("<2Q", data, 24 + 32 * 4)
    rows = np.frombuffer(data[at:at + length], "<f4").reshape(2 * 96, 256)
    assert np.array_equal(rows, np.concatenate((truth[::2], truth[1::2])))


def test_wrong_shapes_and_types_are_named(shop, models):
    for name, change, said in (
            ("model.layers.1.mlp.experts.down_proj_scales", lambda v: v[..., :-1], "has shape [5, 256, 2], expected [5, 256, 3]"),
            ("model.layers.1.mlp.experts.gate_up_proj_blocks", lambda v: v[:, :-2], "expected [5, 192, 8, 16]"),
            ("model.layers.1.mlp.experts.down_proj_blocks", lambda v: v.astype("f4"), "has type BF16, expected U8"),
            ("model.layers.1.mlp.experts.down_proj_scales", None, "down_proj_scales' is missing")):
        folder = shop.root / "gpt-oss-damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(models["mxfp4"], folder)
        tensors = dict(models["tensors"])
        if change is None:
            del tensors[name]
        else:
            tensors[name] = np.ascontiguousarray(change(tensors[name]))
        write(folder / "model.safetensors", tensors)
        assert said in harness.one_error_line(harness.run(["inspect", folder], expect=3))


def test_another_quantisation_is_named(shop, models):
    folder = shop.root / "gpt-oss-other"
    shutil.copytree(models["mxfp4"], folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["quant_method"] = "gptq"
    (folder / "config.json").write_text(json.dumps(config))
    assert "'quantization_config' is an object, quant_method gptq" in harness.one_error_line(harness.run(["inspect", folder], expect=3))
