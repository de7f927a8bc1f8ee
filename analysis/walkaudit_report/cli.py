"""The command line: one module of `verbs` per verb.

A verb module offers NAME, HELP, add_arguments(parser) and run(args) -> exit code; args.beside is the script's
folder. It raises Failure; only `main` prints failures and turns them into exit codes.
"""
import argparse
import importlib
import os
import pathlib
import sys
import textwrap
import warnings

from . import apart, say
from .errors import INPUT, OK, USAGE, Failure
from .say import PROGRAM

VERBS = ("report", "index", "plot", "diff", "worst", "collect", "tighten")


class Parser(argparse.ArgumentParser):
    """One line for a wrong command line, and the program's exit code for it."""

    def error(self, message):
        self.exit(USAGE, f"{PROGRAM}: {message}; see '{self.prog} --help'\n")


class Paragraphs(argparse.HelpFormatter):
    """A description keeps its paragraphs and fits the terminal."""

    def _fill_text(self, text, width, indent):
        return "\n\n".join(textwrap.fill(" ".join(part.split()), width) for part in text.split("\n\n"))


def modules():
    return [importlib.import_module(f".verbs.{name.replace('-', '_')}", __package__) for name in VERBS]


def build_parser():
    parser = Parser(prog=PROGRAM, allow_abbrev=False,
                    description="Reports, plots and comparisons of walkaudit's result files.",
                    epilog="Exit codes: 0 done, 1 done and some case fails its verdict (report, index) or is worse (diff), "
                           "2 wrong command line, 3 a file cannot be read or written, 75 some result is not finished (collect, "
                           "index).")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for module in modules():
        verb = verbs.add_parser(module.NAME, help=module.HELP, description=module.__doc__.strip(), allow_abbrev=False,
                                formatter_class=Paragraphs)
        module.add_arguments(verb)
        verb.add_argument("-q", "--quiet", action="store_true",
                          help="print errors and what was asked for: no progress, notes, or names of the files made")
        verb.set_defaults(run=module.run)
    return parser


def execute(words, beside):
    try:
        args = build_parser().parse_args(words)
        args.beside = beside
        say.state["quiet"] = args.quiet
        return args.run(args)
    except ImportError as error:
        raise Failure(f"the Python package '{error.name}' is missing", sys.executable,
                      f"expected Debian's python3-{error.name}; 'sh setup.sh' installs it") from None


def guarded_main(words, beside):
    """main in a child process, whose end by a file that HDF5 crashes on or loops over is one line and a code."""
    try:
        return apart.whole(lambda: main(words, beside))
    except Failure as failure:
        print(f"{PROGRAM}: {failure}", file=sys.stderr)
        return failure.code


def main(words, beside):
    """Exit code of `walkaudit-report WORDS…`."""
    for stream in (sys.stdout, sys.stderr):  # a terminal or pipe that is not UTF-8 gets escapes, not a traceback
        stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", category=UserWarning)  # a library's advice is no message for our user
    try:
        code = execute(words, beside)
        sys.stdout.flush()
        return code
    except Failure as failure:
        print(f"{PROGRAM}: {failure}", file=sys.stderr)
        return failure.code
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        if error.filename is None:  # what is left of the answer would fail again at the end of Python
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = "standard output" if error.filename is None else error.filename
        print(f"{PROGRAM}: '{where}': cannot read or write; {error.strerror}", file=sys.stderr)
        return INPUT
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001: what h5py and numpy say of damaged data is of any kind
        if apart.state["path"] is None:
            raise
        told = " ".join(str(error).split())
        print(f"{PROGRAM}: '{apart.state['path']}': the file is not as a result is; found {type(error).__name__} ({told}) when "
              "it was read, expected a whole result; if walkaudit verdict takes it, the fault is walkaudit-report's", file=sys.stderr)
        return INPUT


def program():
    """The command as pip installs it."""
    sys.exit(guarded_main(sys.argv[1:], pathlib.Path(sys.argv[0]).resolve().parent))
