"""Assembly at 1, 2, 3 and 4 ranks gives the same file, with every value where the made-up job says (tests/support/store_fake.h).

usage: test_assemble.py TEST_ASSEMBLE WALKAUDIT MPIEXEC
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import h5py
import numpy

SUPPORT = pathlib.Path(__file__).resolve().parent.parent / "support"
sys.path.insert(0, str(SUPPORT))
from edit_result import edit  # noqa: E402  (found through the path set above)

BLOCK_H = pathlib.Path(__file__).resolve().parents[2] / "src" / "measure" / "block.h"
DIMENSIONS = {"C": 2, "L": 18, "O": 8808, "A": 8808, "P": 7, "S": 3, "T": 8808, "V": 2, "Y": 21, "J": 3, "E": 3, "N": 4}
PARTS = 4
SUMMED = ("CL", "LN", "CLN")  # of every part


def run(*command, expect=0):
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == expect, f"{command}: {done.returncode}, {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def fields():
    """(name, axes, type) of every measured field, from the header's list."""
    rows = re.findall(r"^    X\((\w+), WA_(\w+), WA_(\w+),", BLOCK_H.read_text(), re.M)
    assert len(rows) > 40
    return rows


def expected(index, name, axes, kind):
    shape = [DIMENSIONS[axis] for axis in axes]
    n = numpy.arange(numpy.prod(shape)).reshape(shape)
    if kind == "F64":
        values = (index + 1) + n / 1024
        return values * PARTS if axes in SUMMED and name != "expert_kernel_rel_l2" else values  # which is the largest
    if kind in ("I64", "I32"):
        values = (index + n) % 101
        return values * PARTS if axes in SUMMED and name != "bytes_read" else values  # which is of one pass
    return n % 2


def check_values(path):
    with h5py.File(path, "r") as result:
        for index, (name, axes, kind) in enumerate(fields()):
            assert numpy.array_equal(result[name][()], expected(index, name, axes, kind)), name
        assert result["cos"].chunks == (1, 9, 4404) and result["cos"].fletcher32, result["cos"].chunks
        assert result["label"].compression == "gzip" and result["label"].shuffle
        ids, texts = result["topk_id"][()], result["topk_text"].asstr()[()]
        assert all(text == f"<{number}>" for number, text in zip(ids.ravel(), texts.ravel()))
        assert result["prompt_text"].asstr()[0] == "café"
        assert result["token_text"].asstr()[0] == "\\xFF"
        assert result["not_offered"].asstr()[0] == "b:exact: no down_features.bin"
        assert result["case_name"].asstr()[()].tolist() == ["a:interleaved", "b:sparse_serial:k5"]
        assert result["case_payload"][()].tolist() == [[0, 0, 0], [0, -1, 0]]
        assert result["case_k"][()].tolist() == [-1, 5]
        # cos, rel_l2 grow with their place: the extremes are the first and the last of each case.
        cos, rel_l2 = result["cos"][()], result["rel_l2"][()]
        ok = result["obs_status"][()] == 1
        for case in range(2):
            assert result["min_cos"][case] == cos[case][ok[case]].min()
            assert result["max_rel_l2"][case] == rel_l2[case][ok[case]].max()
            place = result["max_rel_l2_at_layer"][case], result["max_rel_l2_at_obs"][case]
            assert rel_l2[case][place] == result["max_rel_l2"][case]
        run0 = result["run/0"].attrs
        assert run0["argv"].tolist() == ["a", "b"] and run0["ranks"][0] == 2 and run0["x"][0] == 0.5
        assert run0["n"] == '{"k":1}'


def check_refusals(walkaudit, whole, folder):
    """A cut or foreign file is one line and exit 3; a finished one answers 0 or 1."""
    cut = folder / "cut.h5"
    cut.write_bytes(whole.read_bytes()[:-100])
    unfinished = folder / "unfinished.h5"
    with h5py.File(whole, "r") as a, h5py.File(unfinished, "w") as b:
        for key in a.attrs:
            if key != "walkaudit_format":
                b.attrs[key] = a.attrs[key]
    older = folder / "older.h5"
    older.write_bytes(whole.read_bytes())
    with edit(older) as file:
        newest = int(file.attrs["walkaudit_format"][0])
        file.attrs["walkaudit_format"] = newest - 1
    for path in (cut, unfinished, older):
        for verb in ("status", "verdict"):
            said = run(walkaudit, verb, str(path), expect=3)
            assert said.count("\n") == 1 and said.startswith("walkaudit: ") and str(path) in said, said
    for verb in ("status", "verdict", "inspect"):
        said = run(walkaudit, verb, str(older), expect=3)
        assert f"result of format {newest - 1}, this walkaudit reads format {newest}: run the job again" in said, said
    assert "finished, 7 prompts" in run(walkaudit, "status", str(whole), expect=1)
    assert "a:interleaved" in run(walkaudit, "inspect", str(whole))


def check_damage(mpiexec, program, folder):
    """A part damaged under a running job: one line, no hang, no result, and the parts stay."""
    for ranks in (1, 3):
        path = folder / f"damaged{ranks}.h5"
        said = run(*mpiexec, "-n", str(ranks), program, str(path), "2", expect=1)
        assert "prompts-000004-000004.h5" in said and said.count("test_assemble:") == 1, said
        assert ranks == 1 or "on rank 2 of 3" in said, said  # parts are looked at by all ranks
        left = os.listdir(str(path) + ".parts")
        assert not path.exists() and sum(name.startswith("prompts-") for name in left) == PARTS, left
        assert not any(name.endswith(".tmp") for name in left), left


def main():
    program, walkaudit, mpiexec = sys.argv[1:]
    mpiexec = os.environ.get("WALKAUDIT_MPIRUN", mpiexec).split()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        paths = [folder / f"ranks{count}.h5" for count in (1, 2, 3, 4)]
        for count, path in enumerate(paths, start=1):
            run(*mpiexec, "-n", str(count), program, str(path))
            assert os.listdir(folder).count(path.name + ".parts") == 0, "the parts are removed at the end"
        check_values(paths[0])
        for path in paths[1:]:
            run(sys.executable, str(SUPPORT / "compare_results.py"), str(paths[0]), str(path))
        with h5py.File(paths[3], "r+") as changed:
            changed["cos"][1, 17, 8807] = numpy.nextafter(changed["cos"][1, 17, 8807], 100)
        run(sys.executable, str(SUPPORT / "compare_results.py"), str(paths[0]), str(paths[3]), expect=1)
        run(sys.executable, str(SUPPORT / "check_xarray.py"), str(paths[2]))
        assert "FLETCHER32" in run("h5dump", "-H", "-p", "-d", "cos", str(paths[1]))
        check_damage(mpiexec, program, folder)
        check_refusals(walkaudit, paths[1], folder)
    print("the same file at 1, 2, 3 and 4 ranks")


if __name__ == "__main__":
    main()
