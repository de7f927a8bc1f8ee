"""Thresholds of `walkaudit selftest` on published models: what doc/selftest.md promises of each number format.

usage: test_selftest.py WALKAUDIT

Fetches SmolLM2-135M and Gemma 3 270M (jobs/fetch.sh). Half a minute each. Exit code 77: nothing could be downloaded.
"""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import selftest_tables  # noqa: E402
from test_published_models import environment  # noqa: E402
from test_tokenizers import NoDownload, model_of_script  # noqa: E402

THRESHOLDS = "The smallest relative error that is found"
# (stored format, encoder): most in one row, most in all rows
PROMISED = {("f32", "extract's"): (1e-3, 1e-3), ("f16", "extract's"): (1e-3, 1e-3),
            ("Q4_K", "extract's"): (0.05, 0.02), ("Q4_K", "another"): (0.06, 0.03),
            ("Q4_0", "extract's"): (1, 0.05), ("Q4_0", "another"): (1, 0.05),
            ("FP4", "extract's"): (1, 0.05), ("FP4", "another"): (1, 0.05)}


def check(program, model):
    done = subprocess.run([program, "selftest", str(model), "--thresholds", "--markdown"], env=environment(), capture_output=True,
                          text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = set()
    for row in selftest_tables.tables(done.stdout)[THRESHOLDS]:
        which = row["stored"], row["encoder"]
        seen.add(which)
        for name, cell in row.items():
            if " row" in name and which in PROMISED:
                limit = PROMISED[which][name.startswith("all")]
                assert float(cell.removeprefix("≤ ")) <= limit, (model.name, row, name)
    assert set(PROMISED) <= seen, seen


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = str(pathlib.Path(sys.argv[1]).resolve())
    try:
        for name in ("smollm2", "gemma3-270m"):
            check(program, model_of_script(name))
            print(f"{name}: every threshold within what is promised")
    except NoDownload as reason:
        print(f"skipped: {reason}")
        sys.exit(77)


if __name__ == "__main__":
    main()
