"""FP8 safetensors, whose codes have scales in tensors of their own. (MXFP4: test_mxfp4.py.)

support/scaled_files.py writes them. golden/blocks/apart.tsv, read by unit/test_apart.c, has what transformers makes of such tensors.
"""
import shutil

import numpy as np
import pytest

import gguf_files
import harness
import scaled_files
from test_checkpoints import job

MODEL = "tiny-llama"  # hidden 256, 768 features
BLOCKS = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128], "modules_to_not_convert": ["lm_head"]}
KINDS = {"blocks": (BLOCKS, {}),
         "usual": ({"quant_method": "fp8"}, {}),  # transformers assumes blocks of 128 x 128
         "cut": (BLOCKS | {"weight_block_size": [80, 48]}, {"block": (80, 48)}),
         "bf16": (BLOCKS, {"dtype": "BF16"}),
         "rows": ({"quant_method": "fbgemm_fp8"}, {"block": (1, None), "suffix": "_scale"}),
         "tensor": (BLOCKS | {"weight_block_size": None}, {"block": (None, None)})}


def weights(shop):
    return gguf_files.read_safetensors(shop.model(MODEL) / "model.safetensors")


def directory(shop, path, tensors, config=None):
    shutil.copytree(shop.model(MODEL), path)
    scaled_files.write(path / "model.safetensors", tensors)
    if config is not None:
        told = harness.json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(harness.json.dumps(told | {"quantization_config": config}))
    return path


def quantised(shop, root, kind, change=lambda tensors: None):
    """Every linear layer in FP8, the rest in f32: the directory, and an f32 one of the values."""
    config, how = KINDS[kind]
    stored, values = {}, {}
    for name, rows in weights(shop).items():
        if name.endswith("_proj.weight"):
            parts, values[name] = scaled_files.fp8(rows, **how)
            stored |= {name + suffix: part for suffix, part in parts.items()}
        else:
            stored[name], values[name] = scaled_files.plain(rows, "F32"), rows
    change(stored)
    plain = {name: scaled_files.plain(rows, "F32") for name, rows in values.items()}
    return directory(shop, root / "fp8", stored, config), directory(shop, root / "f32", plain), values


def relative(values, model):
    return np.linalg.norm(values - model, axis=1) / np.maximum(np.linalg.norm(model, axis=1), np.linalg.norm(model) / np.sqrt(len(model)))


@pytest.mark.parametrize("kind", KINDS)
def test_fp8_is_code_times_scale(shop, tmp_path, kind):
    """Against the f32 directory of its values no bit differs, whichever is the model; beside the original it has its format's error."""
    path, f32, values = quantised(shop, tmp_path, kind)
    for model, other in ((f32, path), (path, f32)):
        result = job(shop, model, {"other": other}).result()
        assert (result.stored("other:checkpoint", "row_err_max") == 0).all()
        assert result.case("other:checkpoint", "max_rel_l2") == 0 and (result.case("other:checkpoint", "kl") == 0).all()
    whole = job(shop, f32, {"fp8": path})
    text = harness.json.loads(whole.path.read_text())
    text["audits"][0]["vindexes"][0]["scope"] = "model"
    whole.path.write_text(harness.json.dumps(text))
    result = whole.result()
    assert all((result.case(case, "kl") == 0).all() for case in result.cases) and len(result.cases) == 2
    result = job(shop, shop.model(MODEL), {"fp8": path}).result()
    assert result.case("fp8:checkpoint", "verdict") == "MEASURED", result.case("fp8:checkpoint", "fail_reasons")
    assert result.case("fp8:checkpoint", "case_bucket") == "quantized"
    assert result.case("fp8:checkpoint", "max_kernel_rel_l2") < 1e-6
    assert 0.9 < result.stored("fp8:checkpoint", "row_err_ratio").max() < 1.1
    model = weights(shop)
    worst = [max(relative(values[name], model[name]).max() for name in model if f".{p}_proj" in name) for p in ("gate", "up", "down")]
    np.testing.assert_allclose(result.stored("fp8:checkpoint", "row_err_max").max(0), worst, rtol=1e-4)
    said = harness.run(["inspect", path]).stdout
    assert "F8_E4M3" in said and "kernels of FP8 round activations too" in " ".join(said.split())


def exchange(tensors):
    name = "model.layers.1.mlp.up_proj.weight"
    dtype, shape, data = tensors[name]
    rows = np.frombuffer(data, np.uint8).reshape(shape).copy()
    rows[[40, 41]] = rows[[41, 40]]
    tensors[name] = dtype, shape, rows.tobytes()


def enlarge(tensors):
    """One rectangle's scale, a quarter too large."""
    name = "model.layers.1.mlp.up_proj.weight_scale_inv"
    dtype, shape, data = tensors[name]
    scales = np.frombuffer(data, "<f4").reshape(shape).copy()
    scales[3, 1] *= np.float32(1.25)
    tensors[name] = dtype, shape, scales.tobytes()


@pytest.mark.parametrize("change, rows", [(exchange, range(40, 42)), (enlarge, range(384, 512))])
def test_wrong_codes_and_scales_of_fp8_are_encoding(shop, tmp_path, change, rows):
    path, *_ = quantised(shop, tmp_path, "blocks", change)
    result = job(shop, shop.model(MODEL), {"fp8": path}).result(expect=1)
    assert result.case("fp8:checkpoint", "verdict") == "ENCODING"
    reasons = result.case("fp8:checkpoint", "fail_reasons")
    assert "layer 1, up" in reasons and any(f"row {row}" in reasons for row in rows), reasons


def test_changed_scales_are_seen_on_resuming(shop, tmp_path):
    path, *_ = quantised(shop, tmp_path, "blocks")
    made = job(shop, shop.model(MODEL), {"fp8": path})
    first = made.result().stored("fp8:checkpoint", "payload_digest_low").copy()
    shutil.rmtree(tmp_path / "fp8")
    shutil.rmtree(tmp_path / "f32")
    quantised(shop, tmp_path, "blocks", enlarge)
    made.run(expect=1, words=["--fresh"])
    second = harness.Result(made.result_path).stored("fp8:checkpoint", "payload_digest_low")
    assert (first != second).sum() == 1


DAMAGED = [
    (lambda t: t.pop("model.layers.0.mlp.up_proj.weight_scale_inv"), "'model.layers.0.mlp.up_proj.weight' has type F8_E4M3, but no scales"),
    (lambda t: t.update({"model.layers.0.mlp.up_proj.weight_scale_inv": ("F32", [6, 3], bytes(72))}), "have shape [6, 3], which is neither"),
    (lambda t: t.update({"model.layers.0.mlp.up_proj.weight_scale_inv": ("I32", [6, 2], bytes(48))}), "have type I32, expected F32"),
    (lambda t: t.update({"model.norm.weight": ("F8_E4M3", [256], bytes(256))}), "'model.norm.weight' has type F8_E4M3 and is a vector"),
]


@pytest.mark.parametrize("change, said", DAMAGED)
def test_damaged_fp8_is_one_line(shop, tmp_path, change, said):
    path, *_ = quantised(shop, tmp_path, "blocks", change)
    assert said in harness.one_error_line(harness.run(["inspect", path], expect=None))


def test_scales_of_blocks_that_the_configuration_denies(shop, tmp_path):
    path, *_ = quantised(shop, tmp_path, "blocks")
    config = harness.json.loads((path / "config.json").read_text())
    config["quantization_config"]["weight_block_size"] = None
    (path / "config.json").write_text(harness.json.dumps(config))
    line = harness.one_error_line(harness.run(["inspect", path], expect=None))
    assert "neither one for all of [256, 256], nor one a row ('weight_block_size' gives no blocks)" in line, line
