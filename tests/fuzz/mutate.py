"""mutate.py WALKAUDIT [--targets T …] [--count N] [--jobs N] [--seed S] [--seconds S] [--keep DIR]: HDF5 files in which bytes were
changed, read by the program as it is.

Each file is changed in one to eight places and sealed again, so that HDF5 and our readers are reached (one in ten is not: its
digest tells). The answer must be an exit code of README's table, within its time, and where it is an error one line. What a run makes
of a part that is not sealed again is the result of a run without it, bit for bit. Targets:

* result: `verdict`, `status` and `inspect` of a finished result; of one in ten `walkaudit-report collect` of the folder that holds it,
  of one in ten another verb of walkaudit-report
* part: `run` goes on where a killed one stopped, with one of its parts changed
* external: `run` with an `external` case whose outputs are changed
* dump: `run` with a changed --reference-dump

Prints each that breaks a rule, and how many were tried; --keep stores those files. Exit code 1 if any did.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import edit_result  # noqa: E402
from compare_results import differences  # noqa: E402
from pool import in_order  # noqa: E402
import scratch  # noqa: E402

CODES = {0, 1, 2, 3, 4, 75}  # README's table
TARGETS = ["result", "external", "dump", "part"]
LIMIT = 300  # seconds; the program itself gives HDF5 ten of processor time
REPORT = pathlib.Path(__file__).resolve().parents[2] / "analysis" / "walkaudit-report"
MAGIC = [b"\x89HDF\r\n\x1a\n", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN", b"GCOL", b"HEAP", b"TREE", b"SNOD",
         b"EAHD", b"FAHD", b"FADB"]
EXTREMES = [b"\x00", b"\xff", b"\x7f", b"\x80", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff" * 8,
            b"\x00" * 8, b"\xff" * 7 + b"\x7f", b"\x01\x00\x00\x00\x00\x00\x00\x00"]


def environment():
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_mpi_yield_when_idle="1", LC_ALL="C.UTF-8")
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return env


def call(words):
    """(exit code or None, stdout, stderr)"""
    process = subprocess.Popen([str(word) for word in words], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, "", ""
    return process.returncode, out, err


def structures(data):
    """Places of HDF5's own structures: most bytes of a file are numbers, whose damage is told by checksums."""
    found = []
    for magic in MAGIC:
        at = data.find(magic)
        while at >= 0:
            found.append(at)
            at = data.find(magic, at + 1)
    return found


def mutate(data, places, chance):
    """Changed bytes: half of the changes within HDF5's structures."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 8])):
        at = chance.randrange(len(data))
        if places and chance.random() < 0.8:
            at = min(chance.choice(places) + chance.randrange(chance.choice([16, 64, 512])), len(data) - 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.randrange(256)
        elif kind == 2:
            value = chance.choice(EXTREMES)
            data[at:at + len(value)] = value[:len(data) - at]
        else:
            size, source = chance.randrange(1, 64), chance.randrange(len(data))
            piece = data[source:source + size]
            data[at:at + len(piece)] = piece[:len(data) - at]
    return bytes(data)


class Bench:
    """One small result with its parts, and files of other programs for the same job, made once."""

    def __init__(self, root, program):
        self.root, self.program = pathlib.Path(root).resolve(), os.path.abspath(program)
        self.must(["synth", self.root / "model", "--family", "llama", "--shape", "tiny", "--seed", "7"])
        self.must(["extract", self.root / "model", self.root / "v", "--format", "f16"])
        (self.root / "prompts.jsonl").write_text("".join(
            json.dumps({"key": f"p{i}", "ids": [3 + i, 5, 7 + i, 11][: 2 + i % 3]}) + "\n" for i in range(4)))
        job = self.job("truth", captures={"tensors": ["x", "y_ref"]})
        self.must(["run", job])
        self.captured = self.result("truth")
        self.must(["run", self.job("plain")])
        self.plain = self.result("plain")
        self.seeds = {"result": self.plain.read_bytes(), "external": self.answers(), "dump": self.dump()}
        self.resumed_truth()

    def must(self, words):
        subprocess.run([self.program, *map(str, words)], check=True, env=environment(), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def result(self, name):
        return self.root / name / "results" / "job-audit.h5"

    def job(self, name, paths=({"path": "full_mmap"},), **keys):
        folder = self.root / name
        folder.mkdir(parents=True)
        path = folder / "job.yaml"
        vindexes = [{"name": "v", "path": str(self.root / "v"), "paths": list(paths)}]
        path.write_text(json.dumps({"name": "job", "audits": [{"name": "audit", "model": str(self.root / "model"), "vindexes": vindexes}],
                                    "prompts": {"file": str(self.root / "prompts.jsonl")}, "result": "results", **{"batch": {"rows": 5}, **keys}}))
        return path

    def resumed_truth(self):
        """A run that was killed when it had a part, and what comes of it when it goes on."""
        job = self.job("killed", batch={"rows": 2})
        parts = self.root / "killed" / "results" / "job-audit.h5.parts"
        for _ in range(100):
            process = subprocess.Popen([self.program, "run", job], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and not list(parts.glob("prompts-*.h5")):
                time.sleep(0.0002)
            process.kill()
            process.wait()
            if list(parts.glob("prompts-*.h5")) and not self.result("killed").exists():
                break
            shutil.rmtree(job.parent / "results")  # it was quicker
        else:
            raise AssertionError("no run could be killed between its first part and its end")
        self.part = sorted(parts.glob("prompts-*.h5"))[0]
        self.seeds["part"] = self.part.read_bytes()
        shutil.copytree(job.parent, self.root / "resumed")
        self.must(["run", self.root / "resumed" / "job.yaml"])

    def answers(self):
        path = self.root / "answers.h5"
        with h5py.File(self.captured) as file, h5py.File(path, "w") as out:
            out["y_walk"], out["token_id"], out["x_norm"] = file["captures/y_ref"][()], file["token_id"][()], file["x_norm"][()]
        return path.read_bytes()

    def dump(self):
        path = self.root / "dump.h5"
        with h5py.File(self.captured) as file, h5py.File(path, "w") as out:
            vocab = json.loads((self.root / "model" / "config.json").read_text())["vocab_size"]
            for at, key in enumerate(file["prompt_key"].asstr()[()] if "prompt_key" in file else [f"p{i}" for i in range(4)]):
                rows = file["obs_prompt"][()] == at
                group = out.create_group(f"native/{key}")
                group["token_id"] = file["token_id"][()][rows]
                group["x"], group["y"] = file["captures/x"][()][:, rows], file["captures/y_ref"][()][:, rows]
                group["logits"] = np.zeros((int(rows.sum()), vocab), np.float32)
        return path.read_bytes()


def look(answers, bad, words, allowed=CODES):
    code, out, err = call(words)
    verb = pathlib.Path(str(words[0])).name + " " + str(words[1])
    answers[verb, code] += 1
    lines = [line for line in err.splitlines() if line.startswith("walkaudit")]
    if code not in allowed:
        bad.append(f"{verb}: {'did not end' if code is None else f'exit code {code}'}: {err[-600:]!r}")
    elif "Traceback" in err:
        bad.append(f"{verb}: exit code {code} with a traceback: {err[-600:]!r}")
    elif code in (2, 3, 4) and not lines and "collect" not in verb:
        bad.append(f"{verb}: exit code {code} is told in no line: {err[-300:]!r}")
    return code


def try_result(bench, folder, data, chance, answers):
    bad, path = [], folder / "r.h5"
    path.write_bytes(data)
    if chance.random() < 0.9:
        edit_result.seal(path)
    for verb in ("verdict", "status", "inspect"):
        look(answers, bad, [bench.program, verb, path])
    if chance.random() < 0.1:
        shutil.copyfile(bench.plain, folder / "whole.h5")
        look(answers, bad, [REPORT, "collect", folder, "-o", folder.parent / f"{folder.name}.table.h5"], {0, 3})
    if chance.random() < 0.1:
        verb, *more = chance.choice([["report", "-o", folder, "--no-plots"], ["plot", "-o", folder], ["diff", bench.plain], ["worst"],
                                     ["tighten", "-o", folder / "bounds.yaml"]])
        look(answers, bad, [REPORT, verb, path, *more], {0, 1, 2, 3})
    return bad, path


def try_part(bench, folder, data, chance, answers):
    """`run` goes on where a killed one stopped."""
    bad, job = [], folder / "job"
    shutil.copytree(bench.root / "killed", job)
    path = job / bench.part.relative_to(bench.root / "killed")
    path.write_bytes(data)
    sealed = chance.random() < 0.9
    if sealed:
        edit_result.seal(path)
    code = look(answers, bad, [bench.program, "run", job / "job.yaml"])
    result = job / "results" / "job-audit.h5"
    if code in (0, 1) and not sealed and (found := differences(bench.result("resumed"), result)):
        bad.append(f"run: exit code {code}, a result with other bits: {found[:2]}")
    return bad, path


def try_input(bench, folder, data, chance, answers, kind):
    bad, path = [], folder / f"{kind}.h5"
    path.write_bytes(data)
    paths = [{"path": "external", "file": str(path), "name": "mine", "bucket": "exact"}] if kind == "external" else [{"path": "full_mmap"}]
    job = bench.job(folder / "job", paths)
    look(answers, bad, [bench.program, "run", job, *(["--reference-dump", path] if kind == "dump" else [])])
    return bad, path


def one(bench, target, number, seed):
    chance, answers = random.Random(f"{seed} {target} {number}"), collections.Counter()
    folder = bench.root / f"{target}-{number}"
    folder.mkdir()
    data = mutate(bench.seeds[target], bench.places[target], chance)
    if target in ("result", "part"):
        bad, path = (try_result if target == "result" else try_part)(bench, folder, data, chance, answers)
    else:
        bad, path = try_input(bench, folder, data, chance, answers, target)
    if bad and bench.keep:
        shutil.copyfile(path, bench.keep / f"{target}-{seed}-{number}.h5")
    shutil.rmtree(folder)
    return bad, answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("walkaudit")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--count", type=int, default=100, help="files of each target")
    parser.add_argument("--jobs", type=int, default=2, help="files at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="begin no file after so many for each target")
    parser.add_argument("--directory", help="where to work; default: a temporary directory, in memory where there is room")
    parser.add_argument("--keep", type=pathlib.Path, help="store files that break a rule here")
    asked = parser.parse_args()
    tried = broken = 0
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutate-", dir=asked.directory or scratch.root()) as root:
        bench = Bench(root, asked.walkaudit)
        bench.keep = asked.keep
        bench.places = {target: structures(data) for target, data in bench.seeds.items()}
        for target in asked.targets:
            total, before = collections.Counter(), tried
            work = ((bench, target, number, asked.seed) for number in range(asked.count))
            for (_, _, number, _), (bad, answers) in in_order(one, work, asked.jobs, asked.seconds):
                total += answers
                tried += 1
                broken += bool(bad)
                for text in bad:
                    print(f"{target} {number}: {text}", flush=True)
            print(f"{target}: {tried - before} files;", ", ".join(f"{verb}: {code} {n}x" for (verb, code), n in sorted(total.items(), key=str)),
                  flush=True)
    print(f"{tried} mutated files tried, {broken} broke a rule")
    sys.exit(1 if broken or tried == 0 else 0)


if __name__ == "__main__":
    main()
