"""An input that changes after it was read, and before anybody took its fingerprint: the result would be of other bytes than it says.

A program of path external starts when model, vindexes and libraries are open, and before inputs are listed: it does the edits.
"""
import shutil
import sys

import h5py
import pytest

import harness
from test_external_process import EXAMPLE

MODEL = "tiny-gemma3"

REPLACE = 'cp "$1" "$1.new" && echo >> "$1.new" && mv "$1.new" "$1"'
EDITS = {
    "replaced": (REPLACE, "another file was put in the place of an input while this run read it"),
    "written": ('echo >> "$1"', "an input changed while this run read it: found"),
    "set back": ('cp -p "$1" "$1.old" && printf "\\n" | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") - 1)) conv=notrunc status=none && '
                 'touch -r "$1.old" "$1" && rm "$1.old"', "an input changed while this run read it, and its time was set back"),
}


@pytest.fixture
def made(shop, tmp_path):
    """Copies that a test may edit; no text ends in a newline, which an edit writes."""
    shutil.copytree(shop.model(MODEL), tmp_path / "model")
    shop.copy(MODEL, "f32", tmp_path / "v.vindex")
    shop.copy(MODEL, "q4k", tmp_path / "k.vindex")
    for text in tmp_path.glob("*/*.json"):
        text.write_text(text.read_text() + " ")
    shutil.copyfile(harness.kernel("f32_kernel"), tmp_path / "kernel.so")
    (tmp_path / "mine.py").write_text(EXAMPLE.read_text() + "#")
    return tmp_path


def job_of(shop, made, target, edit):
    """A run of it makes the edit once."""
    script = made / "edit.sh"
    script.write_text(f'if mkdir "$1.edited" 2>&-; then {edit}; fi\n')
    program = {"path": "external", "command": f"sh {script} {made / target}; exec {sys.executable} {made / 'mine.py'}",
               "name": "program", "bucket": "exact"}
    library = {"path": "external", "library": str(made / "kernel.so"), "name": "library"}
    return shop.job(made / "model", {"k": made / "k.vindex", "v": made / "v.vindex"},
                    {"k": [{"path": "interleaved_q4k"}], "v": [library, program]})


TARGETS = ["model/config.json", "v.vindex/index.json", "k.vindex/interleaved_q4k_manifest.json", "kernel.so", "mine.py"]


@pytest.mark.parametrize("target, how, ranks", [(target, how, None) for target in TARGETS for how in EDITS]
                         + [("model/config.json", "replaced", 2)])
def test_an_edit_between_reading_and_fingerprint_is_told(shop, made, target, how, ranks):
    edit, said = EDITS[how]
    job = job_of(shop, made, target, edit)
    line = harness.one_error_line(job.run(ranks, expect=3))
    assert said in line and str(made / target) in line, line
    assert not job.result_path.exists()
    job.run(ranks, expect=None)
    assert job.result_path.exists() and "is finished" in job.run(ranks, expect=None).stderr


@pytest.mark.parametrize("target", TARGETS)
def test_other_rights_between_reading_and_fingerprint_are_no_change(shop, made, target):
    job = job_of(shop, made, target, 'chmod 600 "$1"')
    job.run(expect=None)
    assert (made / f"{target}.edited").is_dir() and job.result_path.exists()


def test_an_answer_file_that_changes_after_it_was_opened_is_told(shop, made):
    first = shop.job(made / "model", {"v": made / "v.vindex"}, paths=[{"path": "full_mmap"}], captures={"tensors": ["y_ref"]})
    first.run()
    answers = made / "kernel.so"  # in the place of a library
    with h5py.File(first.result_path) as file, h5py.File(answers, "w") as out:
        out["y_walk"], out["token_id"] = file["captures/y_ref"][()], file["token_id"][()]
    job = job_of(shop, made, "kernel.so", EDITS["replaced"][0])
    job.path.write_text(job.path.read_text().replace('"library": "/', '"file": "/'))
    line = harness.one_error_line(job.run(expect=3))
    assert EDITS["replaced"][1] in line and str(answers) in line
