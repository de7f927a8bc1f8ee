"""What the end-to-end tests share: golden models unpacked, vindexes extracted, jobs written, the binary run, results read.

Environment: WALKAUDIT, the binary; WALKAUDIT_FAULTY, the one with planted faults (test_planted_faults.py); WALKAUDIT_KERNELS, the
directory of what else is built for tests; WALKAUDIT_MPIRUN, what starts ranks; WALKAUDIT_OTHER, a binary built with
another MPI (test_grids.py).
"""
import gzip
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import time

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from compare_results import differences  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
SEED = ("paris", "apollo", "code")
LIMIT = 120  # seconds for any one command


def binary():
    return os.environ["WALKAUDIT"]


def environment(**extra):
    """One BLAS thread, more ranks than cores allowed, no search for fabrics, and whatever a container's root needs."""
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMPI_MCA_rmaps_base_oversubscribe="1",
               OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_pml="ob1", LC_ALL="C.UTF-8")
    if os.getuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    env.update(extra)
    return env


def command(args, ranks=None, program=None):
    """The words of a command line; ranks=None runs it without mpirun."""
    words = [program or binary(), *map(str, args)]
    launcher = os.environ.get("WALKAUDIT_MPIRUN", "mpirun -q --oversubscribe").split()
    return words if ranks is None else [*launcher, "-n", str(ranks), *words]


def run(args, ranks=None, expect=0, program=None, limit=LIMIT, **extra):
    """Run the binary; its exit code must be `expect` (None: any)."""
    done = subprocess.run(command(args, ranks, program), env=environment(**extra), timeout=limit,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if expect is not None:
        assert done.returncode == expect, f"exit {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}"
    return done


# Variants that `extract` writes: what follows --format.
EXTRACTED = {
    "f32": "f32", "f16": "f16", "interleaved": "interleaved", "q4_0": "q4_0",
    "q4k": "q4k", "q4k-down4": "q4k --down q4k", "q4k-fm": "q4k --feature-major-down", "q4k-nogate": "q4k --drop-gate",
    "q4k-from-f32": "q4k --gate f32 --feature-major-down",
    "fp4a": "fp4 --fp4-policy a", "fp4b": "fp4 --fp4-policy b", "fp4c": "fp4 --fp4-policy c",
}
FEATURES = ["up_features.bin", "down_features.bin"]
KQUANTS = ["interleaved_q4k.bin", "interleaved_q4k_manifest.json"]
# Variants made of others: a copy of the first, files of the second added, files removed.
COMBINED = {
    "interleaved-and-features": ("f32", "interleaved", ["interleaved.bin"], []),
    "browse": ("f32", None, [], FEATURES),
    "x-down-only": ("f32", None, [], ["up_features.bin"]),
    "x-q4k-no-manifest": ("q4k", None, [], ["interleaved_q4k_manifest.json"]),
    "x-q4k-and-down": ("q4k", "f32", ["down_features.bin"], []),
    "x-fp4b-and-features": ("fp4b", "f32", FEATURES, []),
    "x-fp4b-and-q4k": ("fp4b", "q4k-from-f32", KQUANTS, []),
    "x-fp4b-missing-down": ("fp4b", None, [], ["down_features_fp8.bin"]),
}


class Workshop:
    """A directory for one test module, with models and vindexes made once."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.jobs = 0

    def model(self, name):
        """A complete model directory, or the GGUF file NAME.gguf, outside the golden data."""
        if name.endswith(".gguf"):
            return GOLDEN / "gguf" / name
        folder = self.root / "models" / name
        if folder.exists():
            return folder
        folder.mkdir(parents=True)
        for file in (GOLDEN / "models" / name).iterdir():
            if file.suffix == ".gz":
                (folder / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
            else:
                shutil.copyfile(file, folder / file.name)
        return folder

    def vindex(self, model, variant):
        """A vindex as LARQL writes it. Variants made of others are put together as the fixtures' were."""
        folder = self.root / "vindexes" / model / variant
        if folder.exists():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        if variant in EXTRACTED:
            compat = [] if model == "gpt2" else ["--compat", "larql"]  # LARQL's gpt2 is another model
            run(["extract", self.model(model), folder, *compat, "--format", *EXTRACTED[variant].split()])
            return folder
        base, source, added, removed = COMBINED[variant]
        self.copy(model, base, folder)
        for file in added:
            shutil.copyfile(self.vindex(model, source) / file, folder / file)
        for file in removed:
            (folder / file).unlink()
        return folder

    def copy(self, model, variant, folder):
        """A private copy, to be changed."""
        shutil.copytree(self.vindex(model, variant), folder)
        return folder

    def job(self, model, vindexes, only=None, **keys):
        """Write a job of one audit. vindexes: {name: directory}; only: {name: paths of that vindex}; keys as in a job file.
        The golden vindexes are of May 2026, so is the ladder where none is given."""
        self.jobs += 1
        folder = self.root / "jobs" / f"{self.jobs:03d}"
        folder.mkdir(parents=True)
        audit = {"name": "audit", "model": str(model),
                 "vindexes": [{"name": n, "path": str(p), **({"paths": only[n]} if only else {})}
                              for n, p in vindexes.items()]}
        path = folder / "job.yaml"
        path.write_text(json.dumps({"name": "job", "audits": [audit], "result": "results", "ladder": "larql-2026-05", **keys}))  # YAML holds JSON
        return Job(path)


class Job:
    def __init__(self, path):
        self.path = path
        self.folder = path.parent
        self.result_path = self.folder / "results" / "job-audit.h5"

    def run(self, ranks=None, sets=(), words=(), **options):
        settings = [word for pair in sets for word in ("--set", pair)]
        return run(["run", self.path, *settings, *words], ranks, **options)

    def result(self, **options):
        """Run it and read what it wrote."""
        self.run(**options)
        return Result(self.result_path)


class Result:
    """A result file in memory: datasets as arrays, enumerations as words."""

    def __init__(self, path):
        with h5py.File(path, "r") as file:
            self.data = {name: self.read(item) for name, item in file.items() if isinstance(item, h5py.Dataset)}
        self.cases = list(self.data["case_name"])
        self.prompts = list(self.data["prompt_key"])

    @staticmethod
    def read(item):
        if h5py.check_string_dtype(item.dtype):
            return item.asstr()[()]
        if "flag_meanings" not in item.attrs:
            return item[()]
        words = dict(zip(item.attrs["flag_values"].tolist(), item.attrs["flag_meanings"].split()))
        return np.vectorize(words.__getitem__, otypes=[object])(item[()])

    def __getitem__(self, name):
        return self.data[name]

    def case(self, name, field):
        """A field of one case."""
        return self.data[field][self.cases.index(name)]

    def stored(self, name, field):
        """A case's [layer, projection] of a figure of stored rows: of the payloads that it reads; others NaN."""
        values, vindex = self.data[field], int(self.case(name, "case_vindex"))
        out = np.full((values.shape[2], values.shape[3]), np.nan)
        for projection, payload in enumerate(self.case(name, "case_payload")):
            if payload >= 0:
                out[:, projection] = values[vindex, payload, :, projection]
        return out

    def rows(self, prompt):
        """The observations of a prompt, a slice."""
        at = np.flatnonzero(self.data["obs_prompt"] == self.prompts.index(prompt))
        return slice(at[0], at[-1] + 1)

    def verdicts(self):
        return dict(zip(self.cases, self.data["verdict"]))


def dense_golden(name):
    """{semantics: {prompt: {token_id, top5_id, top5_prob, x, y}}} of GOLDEN/dense/NAME.bin (audits/make.py)."""
    data = (GOLDEN / "dense" / f"{name}.bin").read_bytes()
    assert data[:8] == b"WADENSE1"
    groups, layers, hidden = struct.unpack_from("<3i", data, 8)
    at, out = 20, {}

    def take(kind, *shape):
        nonlocal at
        values = np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape)
        at += values.nbytes
        return values

    for _ in range(groups):
        semantics, prompt, n, _ = struct.unpack_from("<16s16sii", data, at)
        at += 40
        out.setdefault(semantics.strip(b"\0").decode(), {})[prompt.strip(b"\0").decode()] = {
            "token_id": take("<i4", n), "top5_id": take("<i4", 5), "top5_prob": take("<f8", 5),
            "x": take("<f4", layers, n, hidden), "y": take("<f8", layers, n, hidden)}
    assert at == len(data)
    return out


def walk_golden(name, which):
    """{variant: {path: {prompt: {figure: array}}}} of GOLDEN/audits/NAME/WHICH.npz (audits/make.py)."""
    out = {}
    with np.load(GOLDEN / "audits" / name / f"{which}.npz") as file:
        for key in file.files:
            variant, path, prompt, figure = key.split("/")
            out.setdefault(variant, {}).setdefault(path, {}).setdefault(prompt, {})[figure] = file[key]
    return out


def one_error_line(done):
    """The one line that a failed command leaves on stderr, progress aside."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("walkaudit: ")]
    assert len(lines) == 1, f"expected one line 'walkaudit: …'\n{done.stderr}"
    return lines[0]


def nothing_half_written(job):
    """No result, no part of one, no temporary file."""
    folder = job.folder / "results"
    left = [str(p.relative_to(folder)) for p in folder.rglob("*")] if folder.exists() else []
    bad = [p for p in left if not p.endswith(".failed.json")]
    assert not bad, f"left behind: {bad}"


def corpus(path, prompts, seed=11, below=700):
    """Prompts of 1 to 12 ids, so that batches of 8 rows hold several, one, or one that is longer."""
    rng = random.Random(seed)
    with open(path, "w") as file:
        for i in range(prompts):
            ids = [rng.randrange(3, below) for _ in range(rng.randrange(1, 13))]
            file.write(json.dumps({"key": f"p{i}", "ids": ids}) + "\n")
    return {"file": str(path)}


def assert_equal_bits(a, b):
    """Everything but /run and seconds; and the job's text, which tells the grid and the directories."""
    found = [line for line in differences(a.result_path, b.result_path) if "job_text" not in line]
    assert not found, "\n".join(found[:20])


def start(job, ranks, words=(), before=(), **extra):
    """Start a run, by the words that come before its command, and go on without it; its log is in job.folder/log, its table in
    job.folder/table."""
    with open(job.folder / "log", "w") as log, open(job.folder / "table", "w") as table:
        return subprocess.Popen([*before, *command(["run", job.path, *words], ranks)], env=environment(**extra),
                                stdin=subprocess.DEVNULL, stdout=table, stderr=log)


def parts(job):
    return sorted(job.result_path.with_name("job-audit.h5.parts").glob("prompts-*.h5"))


def prompts_of(path):
    """Numbers of the prompts that a part holds, from its name."""
    first, last = path.name.removeprefix("prompts-").split(".")[0].split("-")[:2]
    return range(int(first), int(last) + 1)


def prompts_done(job):
    return sum(len(prompts_of(path)) for path in parts(job))


def batches(path, run=0):
    """Prompts of each batch that a run of a finished result made, in the order in which it handed them out."""
    with h5py.File(path) as file:
        return file[f"run/{run}/batch_prompts"][()].tolist()


def kernel(name):
    """A shared library of tests/CMakeLists.txt."""
    return pathlib.Path(os.environ["WALKAUDIT_KERNELS"]) / f"{name}.so"


def ffn_given(model, x, tool=None):
    """The dense FFN of every layer on inputs x [layer, n, hidden], by support/ffn_given_x.c."""
    tool = tool or pathlib.Path(os.environ["WALKAUDIT_KERNELS"]) / "ffn_given_x"
    done = subprocess.run([tool, model, str(x.shape[1])], input=x.astype("<f4").tobytes(), capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, "<f4").reshape(x.shape)


def slow_path():
    """A path that takes no time, but in a run begun by start_slowly."""
    return {"path": "external", "library": str(kernel("external_slow")), "name": "slow"}


def slowly(milliseconds=60):
    """For a run whose case `slow` is to wait so long twice a layer: what a test is about to do to it finds it at work, however
    busy the machine is. A run that goes on with it need not wait."""
    return {"WALKAUDIT_TEST_DELAY": str(milliseconds)}


def wait_until(holds, process, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, "the run ended before"
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.002)


def wait_for_parts(job, process, count):
    wait_until(lambda: len(parts(job)) >= count, process)


def children(pid):
    """Process ids whose parent is pid, in order: the ranks of mpirun. Those that ended and await their parent are none."""
    out = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            out.append(int(stat.parent.name))
    return sorted(out)


def descendants(pid):
    """Process ids of all below pid, parents first."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


def at_work(job):
    """Is some process of this machine running the job? Any rank may still write a part, rank 0 gone or not."""
    word = os.fsencode(job.path)
    for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in line.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def wait_until_gone(job):
    """After the launcher was killed: its ranks notice, each when it comes to it."""
    end = time.monotonic() + 60
    while at_work(job) or ", running" in run(["status", job.result_path], expect=None).stdout:
        assert time.monotonic() < end, "the run goes on without its launcher"
        time.sleep(0.05)
