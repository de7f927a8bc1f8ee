"""No number depends on the C library's choice of exp, sin or log: none is called, and a library without FMA gives the same.
Nor on the instruction set at which our own loops were compiled."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

import harness
from harness import assert_equal_bits, corpus

# Names of math.h whose results no standard fixes; each also with f or l behind it. What is exact (fmax, ldexp, round, sqrt,
# fma) may be called.
INEXACT = re.compile(r"(exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|cbrt|hypot|sin|cos|tan|sincos|asin|acos|atan|atan2|sinh"
                     r"|cosh|tanh|asinh|acosh|atanh|erf|erfc|lgamma|tgamma|lgamma_r)[fl]?(@.*)?")
# glibc 2.33 and later name features so; what it does with them is the processor's matter, so `effect` asks.
WITHOUT_FMA = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2,-AVX512F"}
EFFECT = """
import hashlib, math, random
draw = random.Random(1)
values = [draw.uniform(-20, 20) for _ in range(20000)]
print(hashlib.sha256(repr([(math.exp(v), math.sin(v), math.pow(abs(v), 1.7)) for v in values]).encode()).hexdigest())
"""


def test_the_program_calls_no_inexact_function_of_the_c_library():
    listing = subprocess.run(["nm", "-D", "--undefined-only", harness.binary()], capture_output=True, text=True, check=True)
    names = [line.split()[-1] for line in listing.stdout.splitlines()]
    assert len(names) > 100 and any(name.startswith("fmax") for name in names)
    assert not (found := [name for name in names if INEXACT.fullmatch(name)]), found


def effect(**extra):
    return subprocess.run([sys.executable, "-c", EFFECT], env=harness.environment(**extra), capture_output=True, text=True,
                          check=True).stdout


# Of gemma2 scores and logits are capped by tanh; qwen2's activation is silu, starcoder2's tanh-GELU without a gate.
@pytest.mark.parametrize("model", ["tiny-gemma3", "gemma2", "tiny-starcoder2", "qwen2"])
def test_a_c_library_without_fma_gives_the_same_bits(shop, model):
    prompts = corpus(shop.root / f"{model}.jsonl", 3, below=400)
    jobs = []
    for extra in ({}, WITHOUT_FMA):
        job = shop.job(shop.model(model), {"f32": shop.vindex(model, "f32")}, prompts=prompts, logits="all", kernel_check=-1)
        job.run(**extra)
        jobs.append(job)
    assert_equal_bits(*jobs)
    if effect() == effect(**WITHOUT_FMA):
        pytest.skip("here the tunable changes no result of the C library: the bits are equal, which says little")


# What /proc/cpuinfo calls the features of each level.
LEVELS = {"x86-64": set(), "x86-64-v3": {"avx2", "fma", "bmi2", "f16c"},
          "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}}


def probe(name):
    return subprocess.run([pathlib.Path(os.environ["WALKAUDIT_KERNELS"]) / name], capture_output=True, text=True,
                          check=True).stdout


@pytest.mark.parametrize("level", LEVELS)
def test_loops_compiled_for_any_instruction_set_give_the_same_bits(level):
    if not (pathlib.Path(os.environ["WALKAUDIT_KERNELS"]) / f"isa_probe_{level}").exists():
        pytest.skip("not built: another processor, or sanitizers")
    flags = set(re.search(r"^flags\s*:(.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE).group(1).split())
    if not LEVELS[level] <= flags:
        pytest.skip(f"this processor is below {level}")
    expected = probe("isa_probe")
    assert expected.count("\n") > 30 and len(set(expected.splitlines())) == expected.count("\n")
    assert probe(f"isa_probe_{level}") == expected
