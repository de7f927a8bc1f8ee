"""Failures with one clear line. The exit codes are walkaudit's own (README.md, Exit codes)."""

OK, VERDICT, USAGE, INPUT = 0, 1, 2, 3


class Failure(Exception):
    """What went wrong, where, and what was found against what was expected."""

    code = INPUT

    def __init__(self, what, where, detail=""):
        self.parts = [str(part).replace("\n", " ") for part in (what, where, detail) if str(part)]
        super().__init__("; ".join(self.parts))


class UsageFailure(Failure):
    """The command line asks for what cannot be."""

    code = USAGE
