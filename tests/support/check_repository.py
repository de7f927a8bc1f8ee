"""The repository's own rules: headers stand alone, boundaries hold, README agrees with the sources.

Run by ctest as `repository`:  check_repository.py ROOT CC [INCLUDE_DIRECTORY ...]
The include directories are those of MPI and HDF5, for the private headers that may use them.
Prints one line per broken rule and returns 1 if there is any.
"""

import ast
import pathlib
import re
import subprocess
import sys
import tempfile

import references

# What may be included where (house-style 3): the suffix of a file is its licence.
LICENCES = {"mpi.h": "mpi", "hdf5.h": "hdf5", "cblas.h": "blas", "curl/curl.h": "curl"}

# Folders of src/ in the order of the data's way, and what each may see beside itself: always what lies below.
BASE = {"base"}
NUMBERS = BASE | {"codec", "model"}
WALKS = NUMBERS | {"vindex", "compute", "path", "measure"}
FOLDERS = {
    "base": BASE,
    "codec": BASE,
    "model": BASE | {"codec"},
    "vindex": NUMBERS,
    "compute": NUMBERS | {"vindex"},
    "measure": NUMBERS | {"vindex"},
    "path": NUMBERS | {"vindex", "compute", "measure"},
    "job": WALKS,
    "comm": BASE | {"job", "measure"},
    "store": WALKS | {"job", "comm"},
    "judge": WALKS | {"store"},
    "remote": NUMBERS | {"vindex", "compute", "measure", "path"},
    "engine": WALKS | {"job", "comm", "store", "remote"},
    "report": WALKS | {"judge", "job", "store"},
    "run": WALKS | {"judge", "job", "comm", "store", "engine", "report"},
    "selftest": WALKS | {"judge", "job", "comm", "store", "engine", "report", "run"},
    "cli": WALKS | {"judge", "job", "comm", "store", "engine", "report", "run", "selftest"},
}

FUNCTION_LIMIT = 70
FILE_LIMIT = 500
FORMATTER = 14
BINARY = {".gz", ".bin", ".gguf", ".safetensors", ".h5", ".npz", ".npy"}

# Places that exist on one machine only, and hosts that packages come from.
PRIVATE = re.compile(r"(?<![\w.])/(?:work|home|root|Users|tmp)/\w|\.\./shared\b"
                     r"|\bpy(?:pi|thonhosted)\.|\bnpm(?:js)?\.(?:org|com)|\bregistry\.\w+\.\w+"
                     r"|huggingface\.co|\blocalhost:\d")
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)


class Findings:
    """Broken rules, printed as they are found; and how many things each check looked at."""

    def __init__(self):
        self.count = 0

    def add(self, place, text):
        self.count += 1
        print(f"{place}: {text}")


def tracked_files(root):
    """Every file that belongs to the repository, were it committed now."""
    git = ["git", "-c", f"safe.directory={root}", "-C", str(root)]
    try:
        if not (root / ".git").exists():
            raise FileNotFoundError
        listed = subprocess.run(
            [*git, "ls-files", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True).stdout.splitlines()
        paths = [root / name for name in listed]
    except (OSError, subprocess.CalledProcessError):  # no git: an unpacked archive
        skipped = {".git", "build", "models", "vindexes", "results"}
        paths = [path for path in root.rglob("*")
                 if path.relative_to(root).parts[0] not in skipped]
    return sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def sources(files, root):
    """C files and headers of include/ and src/."""
    return [path for path in files if path.suffix in (".c", ".h")
            and path.relative_to(root).parts[0] in ("include", "src")]


def check_headers(files, root, compiler, includes, findings):
    """Each header compiles by itself, and twice."""
    headers = [path for path in sources(files, root) if path.suffix == ".h"]
    flags = ["-std=c17", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
             "-Wno-unused-function", "-fsyntax-only", f"-I{root / 'include'}", f"-I{root / 'src'}"]
    flags += [f"-isystem{path}" for path in includes]
    with tempfile.TemporaryDirectory() as directory:
        for header in headers:
            unit = pathlib.Path(directory) / "unit.c"
            unit.write_text(f'#include "{header}"\n#include "{header}"\n'
                            "extern int unit;\n")
            done = subprocess.run([compiler, *flags, str(unit)], capture_output=True, text=True)
            if done.returncode != 0:
                findings.add(header.relative_to(root), "does not compile alone and twice: "
                             + done.stderr.strip().splitlines()[0])
    return len(headers)


def folder_of(include):
    """The folder of src/ that an include belongs to; None for a system header or an installed one."""
    first = include.split("/")[0]
    return first if first in FOLDERS else None


def check_boundaries(files, root, findings):
    """The suffix is the licence for MPI, HDF5 and BLAS; folders see only what is below them."""
    count = 0
    for path in sources(files, root):
        place = path.relative_to(root)
        own = place.parts[1] if place.parts[0] == "src" and len(place.parts) > 2 else None
        licences = set(path.stem.split("_")[1:]) if place.parts[0] == "src" else set()
        for include in INCLUDE.findall(path.read_text()):
            count += 1
            needed = LICENCES.get(include)
            if needed is not None and needed not in licences:
                findings.add(place, f"includes <{include}>, but is not named *_{needed}")
            other = folder_of(include)
            if own is not None and other not in (None, own) and other not in FOLDERS.get(own, ()):
                findings.add(place, f"src/{own} may not see {include}")
    return count


def check_sizes(files, root, findings):
    """No function past the limit; long files are only reported."""
    functions = 0
    for path in sources(files, root):
        lines = path.read_text().splitlines()
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                functions += 1
                if number - start - 1 > FUNCTION_LIMIT:
                    findings.add(f"{path.relative_to(root)}:{start}", "a function of "
                                 f"{number - start - 1} lines, at most {FUNCTION_LIMIT}")
                start = None
        if len(lines) > FILE_LIMIT:
            print(f"note: {path.relative_to(root)} has {len(lines)} lines, aim is {FILE_LIMIT}")
    return functions


def check_layout(files, findings):
    """C files are as clang-format leaves them. Each version lays out differently: only Debian 12's is asked."""
    laid_out = [str(path) for path in files if path.suffix in (".c", ".h")]
    try:
        version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    except OSError:
        version = ""
    if f"version {FORMATTER}." not in version:
        print(f"note: clang-format {FORMATTER} is not here, so nobody looked at the layout of C files")
        return len(laid_out)
    for first in range(0, len(laid_out), 100):
        done = subprocess.run(["clang-format", "--dry-run", *laid_out[first:first + 100]], capture_output=True, text=True)
        for name in sorted(set(re.findall(r"^(.*?):\d+:\d+: warning", done.stderr, re.MULTILINE))):
            findings.add(name, "is not laid out by .clang-format, expected the outcome of `clang-format -i`")
    return len(laid_out)


def check_private_places(files, root, findings):
    """No file names a place on somebody's machine, or a package host."""
    count = 0
    for path in files:
        if path.suffix in BINARY or path.stat().st_size > 1 << 20 or path.name == "LICENSE":
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        count += 1
        for number, line in enumerate(text.splitlines(), 1):
            found = PRIVATE.search(line)
            if found:
                findings.add(f"{path.relative_to(root)}:{number}", f"mentions '{found.group()}'")
    return count


def exit_codes_of_header(text):
    """{exit code: [meaning]} of the list in status.h, in its order."""
    codes = {}
    for code, meaning in re.findall(r'X\(WA_\w+, (\d+), "([^"]+)"\)', text):
        codes.setdefault(int(code), []).append(meaning)
    return codes


def exit_codes_of_readme(text):
    """The same of README's table: rows `| 3 | meaning; meaning |`."""
    section = text.partition("## Exit codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", section, re.MULTILINE)
    return {int(code): meaning.split("; ") for code, meaning in rows}


def check_exit_codes(root, findings):
    """README's table of exit codes says what status.h says."""
    wanted = exit_codes_of_header((root / "src/base/status.h").read_text())
    found = exit_codes_of_readme((root / "README.md").read_text())
    for code in sorted(wanted.keys() | found.keys()):
        if wanted.get(code) != found.get(code):
            findings.add("README.md", f"exit code {code} is {found.get(code)}, "
                         f"status.h has {wanted.get(code)}")
    return len(wanted)


def check_readme_commands(root, findings):
    """Every command of README stands in .ci/run, which runs it."""
    run = {line.strip() for line in (root / ".ci/run").read_text().splitlines()}
    readme = (root / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    commands = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    commands = [line for line in commands if line]
    for command in commands:
        if command not in run:
            findings.add("README.md", f"'{command}' is not run by .ci/run")
    return len(commands)


def check_references(files, root, findings):
    """Each reference to a document of doc/, to one of its codes or to a file leads somewhere.

    `design N` means section N of its file in doc/; references.py says what else is a reference.
    """
    count = 0
    library = references.Library(root)
    for place, fault in [*library.faults_of_definitions(), *references.faults_of_examples(library)]:
        findings.add(place, fault)
    for path in files:
        if path.suffix in BINARY or path.stat().st_size > 1 << 20:
            continue
        prose = references.prose_of(path, path.read_text(errors="replace"))
        for offset, faults in references.references_in(library, path, prose or ""):
            count += 1
            line = prose.count("\n", 0, offset) + 1
            for fault in faults:
                findings.add(f"{path.relative_to(root)}:{line}", f"refers to {fault}")
    return count


def verdicts_of_header(text):
    """[(word, code)] of the list in verdict.h, in its order, which is that of severity."""
    rows = text.partition("#define WA_VERDICT_LIST(X)")[2].partition("typedef")[0]
    return [(word, int(code)) for code, word in re.findall(r'X\(\w+,\s*(\d+),\s*"([^"]+)"', rows)]


def verdicts_of_document(text):
    """The same of the table of verdicts.md: rows `| 1 | NOT-RUN | 0 | …`."""
    return [(word, int(code)) for word, code in re.findall(r"^\| \d+ \| ([A-Z0-9-]+) \| (\d+) \|", text, re.MULTILINE)]


def words_of(path, name):
    """The words of a tuple that a module of Python defines; of a sum, those of its last part."""
    value, = (node.value for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign) and node.targets[0].id == name)
    return list(ast.literal_eval(value.right if isinstance(value, ast.BinOp) else value))


def check_report_words(root, findings):
    """What the reports know of a result beforehand is what the program stores: names beside projections, and verdicts by severity."""
    package = root / "analysis/walkaudit_report"
    rows = (root / "src/vindex/vindex.h").read_text().partition("#define WA_BESIDE_LIST(X)")[2].partition("#define")[0]
    beside = [word.replace(",", "") for word in re.findall(r'"([^"]+)"', rows)]
    order = [word for word, _ in verdicts_of_header((root / "src/judge/verdict.h").read_text())]
    for path, name, wanted, where in ((package / "layout.py", "STORED", beside, "WA_BESIDE_LIST of src/vindex/vindex.h"),
                                      (package / "findings.py", "ORDER", order, "WA_VERDICT_LIST of src/judge/verdict.h")):
        found = words_of(path, name)
        if not wanted or found != wanted:
            findings.add(path.relative_to(root), f"{name} is {found}, {where} has {wanted}")
    return len(beside) + len(order)


def check_verdicts(root, findings):
    """The table of doc/verdicts.md has words, codes and order of verdict.h, and the reports' words of success."""
    wanted = verdicts_of_header((root / "src/judge/verdict.h").read_text())
    document = (root / "doc/verdicts.md").read_text()
    found = verdicts_of_document(document)
    for word, code in wanted:
        if (word, code) not in found:
            findings.add("doc/verdicts.md", f"has no row for {word} with code {code} of src/judge/verdict.h: "
                         "who adds a word to WA_VERDICT_LIST adds its row here")
    for word, code in found:
        if (word, code) not in wanted:
            findings.add("doc/verdicts.md", f"has a row for {word} with code {code}, verdict.h has none")
    exits = dict(re.findall(r"^\| \d+ \| ([A-Z0-9-]+) \| \d+ \| [^|]+ \| (\d) \|", document, re.MULTILINE))
    success = set(words_of(root / "analysis/walkaudit_report/findings.py", "SUCCESS"))
    if success != {word for word, code in exits.items() if code == "0"}:
        findings.add("doc/verdicts.md", f"has exit code 0 at other words than SUCCESS of findings.py, {sorted(success)}")
    if sorted(wanted) == sorted(found) and wanted != found:
        findings.add("doc/verdicts.md", f"its order is {[word for word, _ in found]}, "
                     f"that of WA_VERDICT_LIST {[word for word, _ in wanted]}")
    return len(wanted)


def check_labels(root, findings):
    """Kernel labels and their codes, which results store, are those of walk-paths 6.4."""
    rows = (root / "src/path/path.h").read_text().partition("#define WA_LABEL_LIST(X)")[2].partition("typedef")[0]
    wanted = {int(code): label for code, label in re.findall(r'X\(\w+,\s*(\d+),\s*"([^"]+)"', rows)}
    text = (root / "doc/walk-paths-and-audit.md").read_text().partition("### 6.4")[2].partition("\n### ")[0]
    found = {int(code): label for code, label in re.findall(r"(?:^|·\s)(\d+)\s([\w:]+)", text, re.MULTILINE)}
    for code in sorted(wanted.keys() | found.keys()):
        if wanted.get(code) != found.get(code):
            findings.add("doc/walk-paths-and-audit.md", f"section 6.4 has label {code} as {found.get(code)}, "
                         f"path.h as {wanted.get(code)}")
    return len(wanted)


WIDE = ("|", "#", ">", "<")  # tables, headings, quotations, HTML: lines that cannot be broken


def check_widths(files, root, findings):
    """No line of prose in a document is longer than 100 characters."""
    documents = [path for path in files if path.suffix == ".md" and "golden/audits" not in path.as_posix()]
    for path in documents:
        is_code = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.lstrip().startswith("```"):
                is_code = not is_code
            elif len(line) > 100 and not is_code and not line.lstrip().startswith(WIDE) and " " in line.strip():
                findings.add(f"{path.relative_to(root)}:{number}", f"has {len(line)} characters, at most 100")
    return len(documents)


VERSIONED = {  # file: what stands before the version there
    "CITATION.cff": r"^version: ", "CHANGELOG.md": r"^## ", "analysis/pyproject.toml": r'^version = "',
    "packaging/spack/package.py": r'^    version\("', "packaging/easybuild/walkaudit.eb": r"^version = '",
    "packaging/container/walkaudit.def": r"walkaudit_",
}


def check_versions(root, findings):
    """The version of CMakeLists.txt stands in every recipe, and what recipes switch is an option of the build."""
    build = (root / "CMakeLists.txt").read_text()
    version = re.search(r"project\(walkaudit VERSION ([\d.]+)", build).group(1)
    options = set(re.findall(r"option\((\w+)", build))
    for name, before in VERSIONED.items():
        found = re.search(before + r"([\d.]+\d)", (root / name).read_text(), re.MULTILINE)
        if found is None or found.group(1) != version:
            findings.add(name, f"names version {found and found.group(1)}, CMakeLists.txt {version}")
    for path in sorted((root / "packaging").rglob("*")):
        for option in re.findall(r"WALKAUDIT_(?!SLURM)\w+", path.read_text()) if path.is_file() else ():
            if option not in options:
                findings.add(path.relative_to(root), f"sets {option}, which CMakeLists.txt has not")
    return len(VERSIONED)


def check_golden(files, root, findings):
    """Where each folder of golden data comes from stands in a section of its README that names it."""
    readme = (root / "tests/golden/README.md").read_text()
    sections = re.findall(r"^## (.+)\n\n(?!##)\S", readme, re.MULTILINE)
    named = {word for heading in sections for word in re.findall(r"[\w-]+", heading)}
    golden = root / "tests/golden"
    folders = {path.relative_to(golden).parts[0] for path in files if golden in path.parents and path.parent != golden}
    for name in sorted(folders - named):
        findings.add(f"tests/golden/{name}", "no section of golden/README.md is headed by it, expected one that says what it holds "
                     "and which script or program wrote it")
    return len(folders)


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    compiler, includes = sys.argv[2], sys.argv[3:]
    files = tracked_files(root)
    findings = Findings()
    looked_at = {
        "headers": check_headers(files, root, compiler, includes, findings),
        "includes": check_boundaries(files, root, findings),
        "functions": check_sizes(files, root, findings),
        "layouts": check_layout(files, findings),
        "texts": check_private_places(files, root, findings),
        "references": check_references(files, root, findings),
        "labels": check_labels(root, findings),
        "verdicts": check_verdicts(root, findings),
        "report words": check_report_words(root, findings),
        "exit codes": check_exit_codes(root, findings),
        "versions": check_versions(root, findings),
        "golden folders": check_golden(files, root, findings),
        "documents": check_widths(files, root, findings),
        "README commands": check_readme_commands(root, findings),
    }
    print(", ".join(f"{count} {what}" for what, count in looked_at.items()) + " checked")
    for what, count in looked_at.items():
        if count == 0:
            findings.add("check_repository.py", f"found no {what} to check")
    return 1 if findings.count else 0


if __name__ == "__main__":
    sys.exit(main())
