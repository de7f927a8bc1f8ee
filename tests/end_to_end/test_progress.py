"""How far a run is: a line that moves within a batch on a terminal, and lines now and then in a log."""
import os
import pty
import re
import signal
import subprocess
import time

import pytest

import harness
from harness import command, corpus, environment, slow_path, slowly, start

LAYERS = 4
LINE = re.compile(r"^ *(\d+) %: layer (\d+) of (\d+), prompt (\d+) of (\d+), ([\d.e+]+) layers/s, (\d+):(\d\d), (\?|\d+:\d\d) left *$")


@pytest.fixture(scope="module")
def job(shop):
    prompts = corpus(shop.root / "progress.jsonl", 12, seed=3)
    return shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=[slow_path()],
                    batch={"rows": 24}, prompts=prompts)


def on_a_terminal(job, ranks, words, **extra):
    """Everything that the run writes to stderr, a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(["run", job.path, "--fresh", *words], ranks), env=environment(**extra),
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=harness.LIMIT) == 0, said.decode()
    return said.decode().replace("\r\n", "\n")


def figures(text):
    """(percent, layer, layers, prompt, prompts) of a line."""
    found = LINE.match(text)
    assert found, repr(text)
    return tuple(int(found.group(i)) for i in range(1, 6))


@pytest.mark.parametrize("ranks", [None, 2])
def test_the_line_moves_within_a_batch_on_a_terminal(job, ranks):
    said = on_a_terminal(job, ranks, ("--set", "grid.stages=1"), **slowly(60))
    rewritten = next(line for line in said.split("\n") if "\r" in line)
    assert rewritten.startswith("\r")
    seen = [figures(text) for text in rewritten.split("\r")[1:]]
    assert [s[:4] for s in seen] == sorted(s[:4] for s in seen)  # nothing ever goes back
    assert any(0 < layer % LAYERS for _, layer, *_ in seen), seen
    percent, layer, layers, prompt, prompts = seen[-1]
    assert (percent, layer, prompt) == (100, layers, prompts) and layers % LAYERS == 0 and prompts == 12
    assert said.count("\r") == len(seen)  # on one line, and the next words begin a new one
    assert re.search(r"^time of all ranks:", said, re.MULTILINE)


def test_a_log_has_a_line_a_second_with_v_and_where_the_time_of_each_rank_went(job):
    words = ["run", job.path, "--fresh", "--set", "grid.stages=2"]
    done = harness.run([*words, "-v"], ranks=2, **slowly(60))
    assert "\r" not in done.stderr
    seen = [figures(line) for line in done.stderr.splitlines() if LINE.match(line)]
    wall = float(re.search(r"wall ([\d.]+) s", done.stderr).group(1))
    assert max(2, wall / 4) <= len(seen) <= wall + 2, done.stderr
    assert any(0 < layer % LAYERS for _, layer, *_ in seen), seen
    assert [int(r) for r in re.findall(r"^rank (\d+) on \S+: compute ", done.stderr, re.MULTILINE)] == [0, 1]
    quiet = harness.run(words, ranks=2)
    assert "rank 1 on" not in quiet.stderr
    assert len([line for line in quiet.stderr.splitlines() if LINE.match(line)]) == 1  # the last


def test_a_log_has_a_line_a_minute_at_least_though_no_batch_ends(job):
    process = start(job, 1, ["--fresh"], **slowly(2000))
    try:
        begun = time.monotonic()
        while not (seen := [line for line in (job.folder / "log").read_text().splitlines() if LINE.match(line)]):
            assert process.poll() is None and time.monotonic() - begun < 60, (job.folder / "log").read_text()
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert figures(seen[0])[3] == 0
