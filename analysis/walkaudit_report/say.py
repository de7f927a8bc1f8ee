"""What is said beside answers and errors, unless the user wants it quiet."""
import os
import sys

# As the user called it: `walkaudit report` becomes this program and says so.
PROGRAM = os.environ.get("WALKAUDIT_CALLED") or "walkaudit-report"
state = {"quiet": False}


def note(remark):
    if not state["quiet"]:
        print(f"{PROGRAM}: note: {remark}", file=sys.stderr)


def lost(place, why):
    """What could not be read, where the work goes on without it."""
    print(f"{PROGRAM}: '{place}': {why}", file=sys.stderr)


def made(*lines):
    """Where outputs lie, and what they hold."""
    if not state["quiet"]:
        print(*lines, sep="\n")
