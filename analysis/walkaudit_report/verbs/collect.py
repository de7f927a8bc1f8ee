"""Collect a sweep into one table: SWEEP.h5, SWEEP.csv beside it, and SWEEP.html with a matrix and curves.

A row per case of every result below the folder, with extremes and their places, verdict, cost and rates; a row with its
reason for every audit that could not run (NAME-AUDIT.failed.json) or is not finished (then the exit code is 75), and for every file that is no result (3).
"""
import os
import pathlib

from .. import output, page, say, sweep, sweep_page, text
from ..errors import INPUT, OK, UNFINISHED, Failure, UsageFailure
from ..folder import Found
from ..progress import Progress

NAME, HELP = "collect", "one table over the results of a folder: HDF5 and CSV"


def add_arguments(parser):
    parser.add_argument("folder", metavar="DIR", help="folder of results, searched with its subfolders")
    parser.add_argument("-o", "--output", required=True, metavar="SWEEP.h5", help="the table; the CSV file lies beside it")


def run(args):
    folder, target = pathlib.Path(args.folder), pathlib.Path(args.output)
    if target.suffix != ".h5":
        raise UsageFailure(f"-o '{target}': the table's name must end in .h5")
    found = Found(folder)
    found.results = [path for path in found.results if os.path.realpath(path) != os.path.realpath(target)]
    refuse_what_is_no_table(target)
    with Progress("reading", len(found.results)) as bar:
        rows = sweep.collect(found, bar.step)
    if not rows:
        raise Failure(f"no results below '{folder}', whether finished, failed or begun")
    output.folder(target.parent)
    output.save(target, lambda temporary: sweep.write_table(rows, temporary))
    output.write(target.with_suffix(".csv"), sweep.to_csv(rows))
    output.write(target.with_suffix(".html"), page.render(sweep_page.build(rows)))
    say.made(target, target.with_suffix(".csv"), target.with_suffix(".html"))
    lost = sum(row["verdict"] == "FAILED" for row in rows)
    cases = sum("case" in row for row in rows)
    unreadable = [row for row in rows if row["verdict"] == "UNREADABLE"]
    say.made(f"{text.plural(cases, 'case')}; {text.plural(lost, 'audit')} that could not run; "
             f"{text.plural(len(unreadable), 'file')} that cannot be read")
    for row in unreadable:
        say.lost(folder / row["result"], row["reasons"])
    return INPUT if unreadable else UNFINISHED if found.unfinished else OK


def refuse_what_is_no_table(target):
    """Only a table of ours is replaced."""
    if target.exists() and not sweep.is_sweep(target):
        raise Failure(f"'{target}' is not a table of an earlier 'collect', so it is not replaced")
