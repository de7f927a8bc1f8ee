"""Runs walkaudit-report as a user does."""
import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "analysis"
SCRIPT = pathlib.Path(os.environ.get("WALKAUDIT_REPORT_COMMAND", SOURCE / "walkaudit-report"))  # newest.sh: another
LIMIT = 300  # seconds


def report(*words, expect=0, script=SCRIPT, **extra):
    """Run it; the exit code must be `expect`, and a failure is one line without a traceback."""
    done = subprocess.run([str(script), *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=LIMIT, env=dict(os.environ, LC_ALL="C.UTF-8", **extra))
    assert done.returncode == expect, f"exit {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def json_of(schema, *words, expect=0):
    """The object that --json prints; each of its members is in doc/json.md."""
    said = json.loads(report(*words, "--json", expect=expect).stdout)
    assert list(said)[:2] == ["schema", "version"] and (said["schema"], said["version"]) == (schema, 1)
    section = (ROOT / "doc" / "json.md").read_text().split(f"## {schema}, version 1")[1].split("\n## ")[0]

    def check(value):
        for item in value if isinstance(value, list) else [value]:
            for name, inner in item.items() if isinstance(item, dict) else ():
                assert name in ("schema", "version") or re.search(rf"`(\w+\[\]\.)?{name}(\[\])?`", section), name
                check(inner)
    check(said)
    return said


def one_line(done):
    """The one line of a failure."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("walkaudit-report: "), done.stderr
    return lines[0]
