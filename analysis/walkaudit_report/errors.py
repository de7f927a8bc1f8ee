"""Failures with one clear line. The exit codes are walkaudit's own (README.md, Exit codes)."""
import difflib

OK, VERDICT, USAGE, INPUT, UNFINISHED = 0, 1, 2, 3, 75
LISTED = 20  # words of a list in a message


class Failure(Exception):
    """What went wrong, where, and what was found against what was expected: "'x.h5': no such file". A part may be empty."""

    code = INPUT

    def __init__(self, what, where="", detail=""):
        self.parts = [str(part).replace("\n", " ") for part in (what, where, detail)]
        what, where, detail = self.parts
        super().__init__((f"{where}: " if where else "") + what + (f"; {detail}" if detail else ""))

    def without_place(self):
        """For a list that names the place itself."""
        return "; ".join(part for part in (self.parts[0], self.parts[2]) if part)


class UsageFailure(Failure):
    """The command line asks for what cannot be."""

    code = USAGE


def hint(word, known):
    """What a message says after an unknown word: ", did you mean 'X'?", or which are known."""
    near = difflib.get_close_matches(word, known, 1, 0.7) or [one for one in known if one.endswith(f":{word}")]
    if near:
        return f", did you mean '{near[0]}'?"
    return f", expected one of {', '.join(known[:LISTED])}{' …' if len(known) > LISTED else ''}" if known else ""
