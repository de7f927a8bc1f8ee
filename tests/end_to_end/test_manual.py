"""Manual pages and completion say what the parsers know: every verb, every option, every key."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness
from harness import run
from test_command_line import VERBS, report_verbs

MANUAL = pathlib.Path(harness.binary()).resolve().parent / "manual"
PAGES = ["walkaudit.1", "walkaudit-job.5", "walkaudit-report.1"]


def shown(page):
    """A page as man shows it, on one long line per paragraph, and what roff complains of."""
    done = subprocess.run(["groff", "-man", "-Tutf8", "-Kutf8", "-P-cbou", "-rLL=5000n", "-ww", str(page)], capture_output=True, text=True,
                          env=dict(os.environ, LC_ALL="C.UTF-8"))
    return done.stdout.replace("−", "-").replace("‐", "-"), done.stderr


def options_of(words, **options):
    """The long options that a help text lists, less those of argp and argparse themselves."""
    told = run([*words, "--help"], **options).stdout
    return set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", told)) - {"help", "usage", "version"}


@pytest.fixture(scope="module")
def page():
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    return {name: shown(MANUAL / name) for name in PAGES if (MANUAL / name).exists()}


def test_roff_has_no_complaint(page):
    assert "walkaudit.1" in page and "walkaudit-job.5" in page
    for text, complaints in page.values():
        assert complaints == "" and len(text) > 1000


def test_the_manual_has_every_verb_and_option(page):
    text = page["walkaudit.1"][0]
    for verb in (*VERBS, *report_verbs()):
        assert f"walkaudit {verb} " in text
    for verb in VERBS:
        for option in options_of([verb]):
            assert f"--{option}" in text, (verb, option)
    for code in (0, 1, 2, 3, 4, 75):
        assert re.search(rf"^ +{code} ", text, re.MULTILINE), code


def test_the_manual_of_jobs_has_every_key(page):
    lines = run(["run", "--help-job"]).stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    keys = [line.split()[0] for line in lines if re.match(r"\S+  \(", line)]
    assert {"paths[].k", "audits", "captures.layers"} <= set(keys)
    for key in keys:
        assert f" {key} (" in page["walkaudit-job.5"][0], key


def test_the_manual_of_the_report_has_every_verb_and_option(page):
    if "walkaudit-report.1" not in page:
        pytest.skip("the build's Python lacks walkaudit-report's libraries")
    for verb in report_verbs():
        for option in options_of([verb], WALKAUDIT_REPORT=str(pathlib.Path(__file__).parents[2] / "analysis" / "walkaudit-report")):
            assert f"--{option}" in page["walkaudit-report.1"][0], (verb, option)


def completed(file, function, *words):
    """What bash offers for the last word."""
    script = f'. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); {function}; echo "${{COMPREPLY[@]}}"'
    return subprocess.run(["bash", "-c", script, MANUAL / file, *words], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("words, offered", [
    (["ins"], ["inspect"]), (["help", "verd"], ["verdict"]), (["run", "--max"], ["--max-time"]), (["run", "job"], []),
    (["wor"], ["worst"]), (["plan", "--no"], ["--nodes"]),
])
def test_bash_completes_verbs_and_options(words, offered):
    assert completed("walkaudit.bash", "_walkaudit", "walkaudit", *words) == offered


def test_bash_knows_every_option():
    for verb in VERBS:
        offered = completed("walkaudit.bash", "_walkaudit", "walkaudit", verb, "--")
        assert set(offered) >= {f"--{option}" for option in options_of([verb])}


def test_bash_completes_the_report_itself():
    if not (MANUAL / "walkaudit-report.bash").exists():
        pytest.skip("the build's Python lacks walkaudit-report's libraries")
    assert completed("walkaudit-report.bash", "_walkaudit_report", "walkaudit-report", "wor") == ["worst"]
    assert "--by" in completed("walkaudit-report.bash", "_walkaudit_report", "walkaudit-report", "worst", "--b")


def test_zsh_reads_its_functions():
    text = (MANUAL / "_walkaudit").read_text()
    for verb in VERBS:
        for option in options_of([verb]):
            assert f"'--{option}" in text, (verb, option)
    if shutil.which("zsh") is not None:
        subprocess.run(["zsh", "-n", MANUAL / "_walkaudit"], check=True)
