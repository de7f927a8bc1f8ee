"""Runs walkaudit-report as a user does."""
import os
import pathlib
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "analysis" / "walkaudit-report"
LIMIT = 300  # seconds


def report(*words, expect=0, script=SCRIPT, **extra):
    """Run it; the exit code must be `expect`, and a failure is one line without a traceback."""
    done = subprocess.run([str(script), *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=LIMIT, env=dict(os.environ, LC_ALL="C.UTF-8", **extra))
    assert done.returncode == expect, f"exit {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def one_line(done):
    """The one line of a failure."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("walkaudit-report: "), done.stderr
    return lines[0]
