"""Runs walkaudit-report as a user does."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "analysis"
SCRIPT = pathlib.Path(os.environ.get("WALKAUDIT_REPORT_COMMAND", SOURCE / "walkaudit-report"))  # newest.sh: another
LIMIT = 300  # seconds


def become_the_script(words, out, err):
    """In a child of this process, which has the packages that the script spends most of its time on loading. Does not return."""
    code = 1
    try:
        signal.alarm(LIMIT)
        for at, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(descriptor, at)
        sys.stdin, sys.stdout, sys.stderr = (open(at, mode, encoding="utf-8") for at, mode in enumerate("rww"))
        sys.argv = [str(SCRIPT), *words]
        from walkaudit_report import cli
        sys.exit(cli.guarded_main(words, SOURCE))
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001: what Python would print
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def forked(words):
    """As subprocess.run of the script, without starting Python."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            become_the_script(words, out.fileno(), err.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = [file.seek(0) or file.read().decode() for file in (out, err)]
    return subprocess.CompletedProcess([str(SCRIPT), *words], code, *said)


def report(*words, expect=0, script=SCRIPT, forks=True, **extra):
    """Run it; the exit code must be `expect`, and a failure is one line without a traceback. forks=False, another environment or
    another script: Python is started for it."""
    words = [str(word) for word in words]
    if forks and script == SOURCE / "walkaudit-report" and not extra:
        done = forked(words)
    else:
        done = subprocess.run([str(script), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
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
