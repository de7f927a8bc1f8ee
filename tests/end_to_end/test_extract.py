"""extract as a user meets it: every supported model in every format, little memory for a wide model, a bar on a terminal."""
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

import harness

FLOATS = ["f32", "f16", "interleaved"]
BLOCKS = ["q4_0", "q4k", "q4k --down q4k --feature-major-down --drop-gate", "fp4 --fp4-policy a", "fp4 --fp4-policy b", "fp4 --fp4-policy c"]
# Directories (one in shards, one with the other names of GPT-2) and single files, of every family but those that
# test_walk_goldens.py and test_families.py have. Hidden sizes are 64 and 96 but for two files: rows of blocks are padded.
MODELS = ["gemma2", "granite", "gpt2-hub", "llama-linear", "llama-llama3", "mistral-sharded", "qwen2", "qwen2-v2.gguf",
          "gemma2-q5k-bf16.gguf", "tiny-gemma3-mixed.gguf", "tiny-llama-mixed.gguf"]


@pytest.mark.parametrize("name", MODELS)
def test_any_model_in_any_format(shop, name):
    """What is written encodes the model, and each path computes what its numbers say."""
    model, vindexes = shop.model(name), {}
    for options in FLOATS + ([] if name.startswith("gpt2") else BLOCKS):
        vindex = "-".join(options.replace("-", "").split())
        vindexes[vindex] = shop.root / f"{name}-{vindex}.vindex"
        harness.run(["extract", model, vindexes[vindex], "--format", *options.split()])
    result = shop.job(model, vindexes, kernel_check=-1).result()
    assert {case.split(":")[0] for case in result.cases} == set(vindexes)
    for case in result.cases:
        exact = result.case(case, "case_bucket") == "exact"
        assert result.case(case, "verdict") == ("PASS" if exact else "MEASURED"), (case, result.case(case, "fail_reasons"))
        assert np.max(result.case(case, "kernel_rel_l2")) <= 2e-6, case
        worst = np.max(result.case(case, "rel_l2"))
        assert worst <= (2e-6 if case.startswith(("f32", "interleaved")) else 1e-3 if exact else 0.5), case
    checked = result["row_err_checked"] == "yes"
    assert checked.any(axis=(1, 2, 3)).all()


@pytest.fixture(scope="module")
def wide(shop):
    """One layer as wide as Gemma 3 4B's: a projection has 105 MB in f32, and the file 191 MB."""
    folder = shop.root / "wide"
    harness.run(["synth", folder, "--family", "gemma3", "--shape", "4b", "--layers", "1", "--vocab", "512"])
    return folder


@pytest.mark.parametrize("options", ["f16", "q4k --feature-major-down --drop-gate", "fp4 --fp4-policy a"])
def test_memory_is_that_of_panels_whatever_the_width(shop, wide, options):
    """The kernel refuses more than 200 MB of private memory, of which OpenBLAS may reserve a part. Layers add nothing but the ratios of FP4's compliance scan, one for a
    row and five for its tiles: all 34 layers of a 4B model take 108 MB with FP4, 50 MB with f16 and 42 MB with Q4_K."""
    limit = 200 << 20
    words = harness.command(["extract", wide, shop.root / "wide.vindex", "--force", "--format", *options.split()])
    done = subprocess.run(words, env=harness.environment(), capture_output=True, text=True, timeout=harness.LIMIT,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)))
    assert done.returncode == 0, done.stderr
    assert "not requantised, from bf16" in done.stdout


def on_a_terminal(words):
    """Exit code of a command, and what it writes to a terminal on its stderr."""
    master, slave = pty.openpty()
    process = subprocess.Popen(words, env=harness.environment(), stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    said = b""
    while True:
        try:
            more = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        said += more
    os.close(master)
    return process.wait(timeout=harness.LIMIT), said.decode()


def test_a_terminal_sees_a_bar(shop):
    words = harness.command(["extract", shop.model("qwen2"), shop.root / "bar.vindex", "--format", "fp4"])
    code, said = on_a_terminal(words)
    percents = [int(part.split("]")[1].split("%")[0]) for part in said.split("\r[")[1:]]
    assert code == 0 and len(percents) >= 6 and percents == sorted(percents) and percents[-1] == 100, said
    assert percents.count(100) == 1 and f"[{'#' * 40}] 100 %" in said, said
    again = harness.run(["extract", shop.model("qwen2"), shop.root / "plain.vindex", "--format", "fp4"])
    assert "%" not in again.stderr  # a log has none


def test_an_error_stands_below_the_bar(shop):
    """A weight beyond f16, in the last matrix."""
    folder = shutil.copytree(shop.model("qwen2"), shop.root / "beyond")
    data = bytearray((folder / "model.safetensors").read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    at = start + json.loads(data[8:start])["model.layers.1.mlp.down_proj.weight"]["data_offsets"][0]
    data[at:at + 2] = b"\x80\x47"  # bf16: 65536
    (folder / "model.safetensors").write_bytes(data)
    code, said = on_a_terminal(harness.command(["extract", folder, shop.root / "beyond.vindex", "--format", "f16"]))
    *bar, error, rest = said.split("\r\n")
    assert code == 3 and rest == "" and len(bar) == 1 and bar[0].endswith(" 83 %"), said
    assert error.startswith("walkaudit: weight 65536 does not fit f16") and "down of layer 1" in error, said


def test_a_weight_beyond_the_scale_of_its_block_is_refused(shop):
    """bf16 of 1.3e9, of which an eighth lies beyond f16 as well."""
    folder, out = shutil.copytree(shop.model("qwen2"), shop.root / "far"), shop.root / "far.vindex"
    data = bytearray((folder / "model.safetensors").read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    at = start + json.loads(data[8:start])["model.layers.1.mlp.up_proj.weight"]["data_offsets"][0]
    data[at:at + 2] = b"\x9b\x4e"
    (folder / "model.safetensors").write_bytes(data)
    line = harness.one_error_line(harness.run(["extract", folder, out, "--format", "q4_0"], expect=3))
    assert "does not fit Q4_0, whose scale would be infinite" in line and "up of layer 1" in line
    assert not out.exists()


@pytest.mark.parametrize("words, said", [
    (["--format", "fp5"], "unknown format 'fp5', expected one of f32 f16 interleaved q4_0 q4k fp4 bf16 q6k"),
    (["--format", "fp4", "--fp4-policy", "d"], "--fp4-policy 'd', expected a, b or c"),
    (["--format", "fp4", "--fp4-floor", "most"], "--fp4-floor 'most' is no number"),
    (["--format", "q4k", "--down", "q5k"], "--down 'q5k', expected q6k or q4k"),
    (["--format", "q4k", "--gate", ""], "--gate '', expected f32 or f16"),
    (["--format", "q4k", "--compat", "ggml"], "--compat 'ggml', expected larql-2026-08, larql-2026-05 or larql"),
    (["--format", "f32", "--down", "q4k"], "--down is of format q4k, not f32"),
    (["--format", "q4k", "--fp4-policy", "a"], "--fp4-… are of format fp4, not q4k"),
    (["--format", "f32", "--drop-gate"], "of format q4k, not f32"), ([], "--format")])
def test_a_wrong_option_is_told_with_what_was_expected(shop, words, said):
    folder = shop.root / "wrong.vindex"
    assert said in harness.one_error_line(harness.run(["extract", shop.model("qwen2"), folder, *words], expect=2))
    assert not folder.exists()


def test_padded_fp4_rows_are_ours_alone(shop):
    """`--compat larql` refuses them as upstream's converter does; without it index.json tells the width."""
    folder = shop.root / "padded.vindex"
    words = ["extract", shop.model("qwen2"), folder, "--format", "fp4"]
    said = harness.one_error_line(harness.run([*words, "--compat", "larql"], expect=3))
    assert "hidden size 64, expected a multiple of 256" in said and "padded" in said, said
    assert not folder.exists()
    harness.run(words)
    assert json.loads((folder / "index.json").read_text())["fp4"]["padded_hidden"] == 256
    assert (folder / "up_features_fp4.bin").stat().st_size == 2 * 128 * 137


def interrupted(shop, wide, signal_number):
    """An extraction that gets the signal as soon as its directory is there; None if it was faster."""
    folder = shop.root / "interrupted.vindex"
    words = harness.command(["extract", wide, folder, "--force", "--format", "fp4"])
    process = subprocess.Popen(words, env=harness.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(shop.root.glob("interrupted.vindex.tmp-*")):
        time.sleep(0.001)
    process.send_signal(signal_number)
    _, said = process.communicate(timeout=harness.LIMIT)
    left = sorted(path.name for path in shop.root.glob("interrupted*"))
    shutil.rmtree(folder, ignore_errors=True)
    return None if process.returncode == 0 else (process.returncode, said, left)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_extraction_removes_what_it_wrote(shop, wide, signal_number):
    ends = filter(None, (interrupted(shop, wide, signal_number) for _ in range(10)))
    code, said, left = next(ends)
    assert code == 3 and left == [], (code, said, left)
    assert said.startswith(f"walkaudit: stopped by {signal.Signals(signal_number).name} after ") and said.count("\n") == 1, said


def test_what_a_killed_extraction_left_is_named(shop):
    """By the next one to the same place; it removes nothing that it did not make."""
    model, folder = shop.model("qwen2"), shop.root / "named.vindex"
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = shop.root / f"named.vindex.tmp-{gone.pid}-0"
    left.mkdir()
    (shop.root / "named.vindex.tmp-notes").mkdir()
    done = harness.run(["extract", model, folder, "--format", "f16"])
    assert done.stderr.count("\n") == 1 and f"a killed extract left '{left}', which nothing reads" in done.stderr
    left.rename(shop.root / f"named.vindex.old-{gone.pid}")
    done = harness.run(["extract", model, folder, "--format", "f16", "--force"])
    assert f"named.vindex.old-{gone.pid}', the vindex that it was replacing" in done.stderr
    assert left.with_name(f"named.vindex.old-{gone.pid}").is_dir() and (folder / "index.json").exists()
