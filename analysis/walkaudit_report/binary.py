"""The walkaudit program, for what only it knows: judging by other bounds, printing a bounds set."""
import os
import pathlib
import shutil
import subprocess

from .errors import VERDICT, Failure


def find(beside):
    """$WALKAUDIT, then the program beside the script, then the PATH. beside: the script's folder."""
    named = os.environ.get("WALKAUDIT")
    places = [named] if named else [pathlib.Path(beside) / "walkaudit", shutil.which("walkaudit")]
    for place in places:
        if place and os.access(place, os.X_OK) and pathlib.Path(place).is_file():
            return str(place)
    raise Failure("the program walkaudit is not found", "in $WALKAUDIT" if named else f"beside '{beside}' and in PATH",
                  f"found {named or 'none'}, expected an executable file; set WALKAUDIT")


def ask(program, *words):
    """Run `walkaudit WORDS…`. Returns (exit code 0 or 1, stdout); any other end is a Failure with its one line."""
    try:
        done = subprocess.run([program, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True,
                              encoding="utf-8", errors="replace", env=dict(os.environ, NO_COLOR="1"))
    except OSError as error:
        raise Failure("cannot start walkaudit", program, error.strerror) from None
    if done.returncode not in (0, VERDICT):
        lines = [line for line in done.stderr.splitlines() if line.startswith("walkaudit: ")]
        raise Failure(f"'walkaudit {words[0]}' failed", program,
                      lines[-1] if lines else f"found exit code {done.returncode}, expected 0 or {VERDICT}")
    return done.returncode, done.stdout


