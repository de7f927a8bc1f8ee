"""What is said beside answers and errors, unless the user wants it quiet."""
import sys

state = {"quiet": False}


def note(remark):
    if not state["quiet"]:
        print(f"walkaudit-report: note: {remark}", file=sys.stderr)


def made(*lines):
    """Where outputs lie, and what they hold."""
    if not state["quiet"]:
        print(*lines, sep="\n")
