"""`diff`, `worst`, `collect` and LARQL's report on ten million observations stay below 500 MB."""
import os
import subprocess

import h5py
import pytest

from command import SCRIPT
from made import Made

OBSERVATIONS, LAYERS = 5_000_000, 2
LIMIT = 500 << 20
MEASURED = ("rel_l2", "one_minus_cos", "eta", "drift", "kernel_rel_l2", "cos", "l2", "max_abs", "norm_ratio", "x_norm", "ref_norm",
            "h_norm")


@pytest.fixture(scope="module")
def large(gemma, tmp_path_factory):
    """Two results of one case, two layers and one prompt; one observation of the second is worse. Metrics are fill values."""
    folder = tmp_path_factory.mktemp("large")
    for name in ("old.h5", "new.h5"):
        made = Made(folder / name, gemma, ["v:exact"], LAYERS, {"long": OBSERVATIONS}, fill={metric: 0.25 for metric in MEASURED})
        made["rel_l2"][0, 1, 12345] = 0.5
        if name == "new.h5":
            made["rel_l2"][0, 1, 4_000_000] = 3.0
        made["kl"][...] = made["prob_delta"][...] = made["top1_prob"][...] = made["ref_top1_prob"][...] = 0.0
        made.close()
    return folder


def measured(folder, *words, expect=0):
    with open(folder / "out", "w+") as out:
        child = subprocess.Popen([SCRIPT, *map(str, words)], stdout=out, stderr=subprocess.STDOUT,
                                 env=dict(os.environ, LC_ALL="C.UTF-8"))
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    assert child.returncode == expect, text
    assert used.ru_maxrss * 1024 < LIMIT, f"{used.ru_maxrss >> 10} MB"
    return text


def test_diff(large):
    assert h5py.File(large / "old.h5")["rel_l2"].shape == (1, LAYERS, OBSERVATIONS)
    text = measured(large, "diff", large / "old.h5", large / "new.h5", expect=1)
    assert "L1 largest at long/4000000" in text and "1 figure worse than 1.5 times" in text


def test_worst(large):
    text = measured(large, "worst", large / "new.h5", "-n", 2)
    assert "long/4000000" in text and "long/12345" in text


def test_collect(large):
    assert "2 cases" in measured(large, "collect", large, "-o", large / "table/sweep.h5")


def test_compat(large):
    measured(large, "report", "--compat", "larql", large / "new.h5", "-o", large / "larql")
    assert '"worst_rel_l2_pos": 4000000' in (large / "larql/walk_path_audit_new_v.json").read_text()
