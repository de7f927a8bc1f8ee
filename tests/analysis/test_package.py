"""walkaudit-report as pip installs it: the same command, with all its files, without the script of the sources."""
import os
import shutil
import subprocess
import sys

from conftest import ROOT


def run(words, **env):
    done = subprocess.run([str(word) for word in words], env={**os.environ, **env}, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pip_installs_the_command_with_all_its_files(gemma, tmp_path):
    shutil.copytree(ROOT / "analysis", tmp_path / "source")  # setuptools builds in the source folder
    place = tmp_path / "place"
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--target", place, tmp_path / "source"])
    named = {"PYTHONPATH": str(place), "WALKAUDIT": os.environ["WALKAUDIT"]}
    command = place / "bin" / "walkaudit-report"
    assert run([command, "--help"], **named) == run([ROOT / "analysis" / "walkaudit-report", "--help"])
    where = run([sys.executable, "-c", "import walkaudit_report; print(walkaudit_report.__file__)"], **named)
    assert where.startswith(str(place))
    for script, out, env in ((command, "installed", named), (ROOT / "analysis" / "walkaudit-report", "sources", {})):
        run([script, "report", gemma, "-o", tmp_path / out], **env)
    pages = [next((tmp_path / out).glob("*.html")).read_text() for out in ("installed", "sources")]
    assert pages[0] == pages[1] and "<style" in pages[0]
