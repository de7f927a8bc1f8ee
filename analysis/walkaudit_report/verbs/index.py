"""Index the results of a folder: INDEX.md and index.html with the method, a table of baselines and a section each.

Links to the reports that lie beside the results or in the output folder. A file that is no finished result is listed
with the reason, and so is a folder that cannot be read; then the exit code is 3. A result that is not finished is listed, too: 75.
"""
import glob
import os
import pathlib
import urllib.parse

from .. import index, markdown, output, page, say, sweep
from ..apart import apart
from ..errors import INPUT, OK, UNFINISHED, VERDICT, Failure
from ..folder import Found
from ..progress import Progress

NAME, HELP = "index", "INDEX.md and index.html over the results of a folder"


def add_arguments(parser):
    parser.add_argument("folder", metavar="DIR", help="folder of results, searched with its subfolders")
    parser.add_argument("-o", "--output", metavar="DIR", help="where the files go (default: the folder itself)")


def run(args):
    folder = pathlib.Path(args.folder)
    found = Found(folder)
    entries, refused = [], [(found.name(path), why) for path, why in found.refused]
    with Progress("reading", len(found.results)) as bar:
        for path in found.results:
            try:
                entry = apart(lambda path: None if sweep.is_sweep(path) else index.read(path, folder), path)
                entries += [entry] if entry is not None else []
            except Failure as failure:
                refused.append((found.name(path), failure.without_place()))
            bar.step(path.name)
    if not entries and not refused and not found.unfinished:
        raise Failure(f"no results below '{folder}': found no .h5 file")
    out = output.folder(args.output or folder)
    unfinished = [(found.name(path), why) for path, why in found.unfinished]
    document = index.build(entries, refused, unfinished, lambda entry: artefacts(folder / entry["path"], out))
    for name, content in (("INDEX.md", markdown.render(document)), ("index.html", page.render(document))):
        output.write(out / name, content)
        say.made(out / name)
    for name, why in refused:
        say.lost(folder / name, why)
    if refused or unfinished:
        return INPUT if refused else UNFINISHED
    return OK if entries and all(entry["summary"]["success"] for entry in entries) else VERDICT


def artefacts(path, out):
    """[(words, link)] of what belongs to a result, relative to the index."""
    places = [path]
    for folder in dict.fromkeys((path.parent, out)):
        places += [folder / f"{path.stem}.{suffix}" for suffix in ("html", "md", "json")]
        for suffix in ("md", "json"):  # in LARQL's form
            places += sorted(folder.glob(f"walk_path_audit_{glob.escape(path.stem)}_*.{suffix}"))
    return [(place.name, link(place, out)) for place in places if place.is_file()]


def link(place, out):
    return urllib.parse.quote(pathlib.PurePath(os.path.relpath(place, out)).as_posix())
