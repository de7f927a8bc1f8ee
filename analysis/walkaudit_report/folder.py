"""What lies below a folder of results. What cannot be looked at is named: a result that is left out unseen may be one that fails."""
import os
import pathlib
import stat

from .errors import Failure
from .result import count_parts


class Found:
    """All that lies below a folder and behind its links; each folder once, by its own name where no link is needed to reach it.

    Lists in the order of names: `results` (whatever is called NAME.h5: who opens it says what it is), `records`
    (NAME-AUDIT.failed.json), `unfinished` ((path of the result, what there is of it)), `refused` ((path, why) of folders and links).
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        if not self.folder.is_dir():
            raise Failure("a file, expected a folder of results" if self.folder.exists() else "no such folder", f"'{folder}'")
        self.results, self.records, self.unfinished, self.refused = [], [], [], []
        self.places, self.linked, self.seen = [], [], set()  # folders to be entered; (device, inode) of those that were
        self.sort_in(self.folder, self.enter(self.folder))
        while self.places or self.linked:
            self.look((self.places or self.linked).pop())
        for paths in (self.results, self.records, self.unfinished, self.refused):
            paths.sort(key=str)

    def name(self, path):
        """As lists show it."""
        return path.relative_to(self.folder).as_posix()

    def look(self, place):
        try:
            entries = self.enter(place)
        except FileNotFoundError:
            return  # the run that it belonged to has ended meanwhile
        except OSError as error:
            self.refused.append((place, f"cannot read the folder; {error.strerror}"))
            return
        if place.name.endswith(".h5.parts") and entries is not None:
            self.begun(place, [entry.name for entry in entries])
        elif entries is not None and not place.name.endswith(".captures"):
            self.sort_in(place, entries)

    def enter(self, place):
        """Its entries; None when it has been entered before."""
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in self.seen:
            return None
        self.seen.add((about.st_dev, about.st_ino))
        with os.scandir(place) as entries:
            return list(entries)

    def sort_in(self, place, entries):
        for entry in entries:
            path = place / entry.name
            if path.name.endswith(".failed.json"):
                self.records.append(path)
            elif path.name.endswith(".h5"):
                self.results.append(path)
            elif entry.is_symlink():
                self.follow(path)
            if entry.is_dir(follow_symlinks=False):
                self.places.append(path)

    def follow(self, path):
        try:
            if stat.S_ISDIR(os.stat(path).st_mode):
                self.linked.append(path)
        except OSError as error:
            self.refused.append((path, f"cannot follow the link; {error.strerror}"))

    def begun(self, parts, names):
        """A result that `walkaudit status` calls unfinished: until a run with --fresh ends, the old one stands beside its parts."""
        result = parts.with_suffix("")
        there = count_parts(names)
        if os.path.lexists(result):
            if not {"owed", "job.json"} & set(names):
                return  # left by a run that has finished
            there = f"to be computed anew, {there}; the result that stands there is an earlier run's"
        self.unfinished.append((result, f"{there}; 'walkaudit run' of the same job resumes it"))
