"""Every verb answers what is no finished result with one clear line, exit code 3, and writes nothing."""
import errno
import os
import shutil

import h5py
import pytest

from command import SOURCE
from walkaudit_report import cli, layout
from walkaudit_report.errors import INPUT, OK, VERDICT
from edit_result import edit

VERBS = {
    "report": lambda path, out: ["report", path, "-o", out],
    "compat": lambda path, out: ["report", "--compat", "larql", path, "-o", out],
    "plot": lambda path, out: ["plot", path, "-o", out],
    "diff": lambda path, out: ["diff", path, path],
    "worst": lambda path, out: ["worst", path],
    "tighten": lambda path, out: ["tighten", path, "-o", out / "bounds.yaml"],
}


def truncated(path, source):
    path.write_bytes(source.read_bytes()[:9000])


def foreign(path, source):
    with h5py.File(path, "w") as file:
        file["rel_l2"] = [[[1.0]]]


def text(path, source):
    path.write_text("name: a job\n")


def empty(path, source):
    path.write_bytes(b"")


def partial(path, source):
    parts = path.with_name(path.name + ".parts")
    parts.mkdir()
    (parts / "prompts-000000-000001.h5").write_bytes(source.read_bytes())


def part(path, source):
    with h5py.File(path, "w") as file:
        file.attrs["walkaudit_part"] = 1


def older(path, source):
    path.write_bytes(source.read_bytes())
    with edit(path) as file:
        file.attrs["walkaudit_format"] = layout.OLDEST - 1


def newer(path, source):
    path.write_bytes(source.read_bytes())
    with edit(path) as file:
        file.attrs["walkaudit_format"] = layout.NEWEST + 1


def unfinished_layout(path, source):
    """Written by something that broke off: the attribute that is written last is missing."""
    path.write_bytes(source.read_bytes())
    with edit(path) as file:
        del file.attrs["walkaudit_format"]


def incomplete(path, source):
    path.write_bytes(source.read_bytes())
    with edit(path) as file:
        for name in ("verdict", "rel_l2"):
            del file[name]


def flipped(path, source):
    with h5py.File(source) as file:
        offset = file["rel_l2"].id.get_chunk_info(0).byte_offset
    data = bytearray(source.read_bytes())
    data[offset + 3] ^= 0x10
    path.write_bytes(data)


KINDS = {  # and what the line says
    truncated: "truncated", foreign: "not a result of walkaudit", text: "not a result of walkaudit", empty: "not a result of walkaudit",
    partial: "not finished", part: "some prompts", older: "unknown older layout", newer: "unknown newer layout",
    unfinished_layout: "not a result of walkaudit", incomplete: "is not as a result has it", flipped: "the file is damaged"}


def answer(capsys, *words):
    """(exit code, the one line on stderr) of a command; nothing goes to stdout."""
    code = cli.main([str(word) for word in words], SOURCE)
    written = capsys.readouterr()
    lines = written.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("walkaudit-report: "), written.err
    return code, lines[0]


@pytest.mark.parametrize("verb, kind", [(verb, kind) for verb in VERBS for kind in KINDS])
def test_no_result_is_one_line(gemma, tmp_path, capsys, verb, kind):
    path, out = tmp_path / "x.h5", tmp_path / "out"
    kind(path, gemma)
    code, line = answer(capsys, *VERBS[verb](path, out))
    assert code == INPUT and KINDS[kind] in line and "x.h5" in line and "found" in line
    assert not out.exists() or not list(out.iterdir())


@pytest.fixture(scope="module")
def idle(shop):
    """A result in which no case ran: the vindex holds nothing that a path could read."""
    job = shop.job(shop.model("tiny-qwen3"), {"v": shop.vindex("tiny-qwen3", "browse")})
    job.run(expect=1)
    return job.result_path


@pytest.mark.parametrize("verb", ["plot", "diff", "worst", "tighten"])
def test_where_no_case_ran_there_is_nothing_to_show(idle, tmp_path, capsys, verb):
    code, line = answer(capsys, *VERBS[verb](idle, tmp_path / "out"))
    assert code == INPUT and ("none" in line or "no case" in line)


def test_reports_say_why_no_case_ran(idle, tmp_path, capsys):
    for words in (["report", idle, "-o", tmp_path], ["index", idle.parent, "-o", tmp_path],
                  ["report", "--compat", "larql", idle, "-o", tmp_path]):
        assert cli.main([str(word) for word in words], SOURCE) == VERDICT
    for name in (f"{idle.stem}.md", "INDEX.md"):
        words = (tmp_path / name).read_text()
        assert "0 cases: 0 pass, 0 measured, 0 fail; " in words and "; no case ran, and so the audit fails." in words
        assert r"v:full\_mmap: " in words or "v:full_mmap: " in words
    assert "| **no case ran** |" in words
    collected = ["collect", str(idle.parent), "-o", str(tmp_path / "sweep.h5")]
    assert cli.main(collected, SOURCE) == OK and "NOT-RUN" in (tmp_path / "sweep.csv").read_text()


@pytest.mark.parametrize("verb", ["index", "collect"])
def test_a_folder_of_them_is_listed_file_by_file(gemma, tmp_path, capsys, verb):
    """All but those whose numbers alone are damaged, which neither verb reads."""
    folder = tmp_path / "results"
    folder.mkdir()
    listed = {kind: said for kind, said in KINDS.items() if kind not in (partial, flipped)}
    for kind in listed:
        kind(folder / f"{kind.__name__}.h5", gemma)
    words = ["index", folder, "-o", tmp_path] if verb == "index" else ["collect", folder, "-o", tmp_path / "sweep.h5"]
    assert cli.main([str(word) for word in words], SOURCE) == INPUT
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(listed) and all(line.startswith(f"walkaudit-report: '{folder}") for line in lines), lines
    table = (tmp_path / {"index": "INDEX.md", "collect": "sweep.csv"}[verb]).read_text()
    for kind, said in listed.items():
        for told in (table.splitlines(), lines):
            line = next(line for line in told if f"{kind.__name__}.h5" in line)
            assert said in line, line


@pytest.mark.parametrize("verb", ["index", "collect"])
def test_what_cannot_be_looked_at_is_named(gemma, failing, tmp_path, monkeypatch, capsys, verb):
    """A folder that may not be read, links that lead nowhere or in a circle, what has a result's name and is none."""
    folder, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    for place in (folder / "closed", folder / "folder.h5", elsewhere):
        place.mkdir(parents=True)
    shutil.copyfile(gemma, folder / "good.h5")
    shutil.copyfile(failing, folder / "closed/bad.h5")
    shutil.copyfile(failing, elsewhere / "bad.h5")
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (folder / "again").symlink_to(folder / "folder.h5")
    os.mkfifo(folder / "pipe.h5")
    os.mkfifo(folder / "job-pipe.failed.json")
    for name in ("gone", "gone.h5"):
        (folder / name).symlink_to(tmp_path / "none")
    for name in ("loop", "loop.h5"):
        (folder / name).symlink_to(folder / name)
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)
    monkeypatch.setattr(os, "scandir", refuse)
    words = ["index", folder, "-o", tmp_path] if verb == "index" else ["collect", folder, "-o", tmp_path / "sweep.h5"]
    assert cli.main([str(word) for word in words], SOURCE) == INPUT
    said = {line.split("'")[1].removeprefix(f"{folder}/"): line.split("': ")[1] for line in capsys.readouterr().err.splitlines()}
    record = {"job-pipe.failed.json": "not a record of walkaudit, expected audit, model and reason"} if verb == "collect" else {}
    assert said == {
        "closed": "cannot read the folder; Permission denied", "folder.h5": "a folder, expected a result file",
        "pipe.h5": "a device or pipe, expected a result file", "gone": "cannot follow the link; No such file or directory",
        "gone.h5": "a link that leads nowhere", "loop": "cannot follow the link; Too many levels of symbolic links",
        "loop.h5": "cannot read the file; Too many levels of symbolic links", **record}
    table = (tmp_path / {"index": "INDEX.md", "collect": "sweep.csv"}[verb]).read_text()
    assert all(any(name in line and why in line for line in table.splitlines()) for name, why in said.items())
    assert "linked/bad.h5" in table and "good.h5" in table and "back/" not in table and "again/" not in table
