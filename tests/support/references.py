"""References to the documents in doc/: what they look like, and whether they lead anywhere.

    design 7, walk-paths 2.2 to 2.4, vindex-format.md 4.4, forward-pass section 0, section 3 of house-style.md
        are sections of the document of that name in doc/ (`design N` is section N of its file);
        several are joined by commas, "and", "to", or a dash. In code a document is never named without its
        section, nor does a bare number in parentheses stand for one.
    section 8, sections 3 to 5, §3.4, and in parentheses also a bare 3.4
        in a document of doc/ are sections of that document.
    VF 5.4, WP 2.2, FP 3.4
        in larql-2026-08 0 and what follows it are sections of the three documents that it supplements.
    V16, U14, Q12, S3, N5
        are rows of tables in the documents: the first cell of exactly one row of all of them holds the code
        alone. Q4, Q5, Q6 and Q8 are number formats too, so those count only in parentheses.
    [text](design.md#2-words), src/main.c, jobs/README.md, "Bounds"
        are files beside the one that has the link, in doc/ or at the root, and headings in them.

Code is read in its comments (Python: docstrings too) and where its messages cite a code in parentheses.
"""

import io
import re
import tokenize

DOCUMENTS = {
    "design": "design.md",
    "house-style": "house-style.md",
    "house rules": "house-style.md",
    "forward-pass": "forward-pass.md",
    "vindex-format": "vindex-format.md",
    "walk-paths": "walk-paths-and-audit.md",
    "walk-paths-and-audit": "walk-paths-and-audit.md",
    "larql-2026-08": "larql-2026-08.md",
    "slurm-on-one-node": "slurm-on-one-node.md",
    "result-format": "result-format.md",
}
ABBREVIATIONS = {"VF": "vindex-format.md", "WP": "walk-paths-and-audit.md", "FP": "forward-pass.md"}
# These name documents of other projects, which are not here; their links and sections are checked all the same.
NAME_FOREIGN_FILES = {"forward-pass.md", "vindex-format.md", "walk-paths-and-audit.md", "larql-2026-08.md",
                      "house-style.md"}
# What the programs write, and names that stand for such files.
WRITTEN = {"INDEX.md", "RESULT.md"}

CODE_SUFFIXES = {".c", ".h"}
HASH_SUFFIXES = {".sh", ".sbatch", ".yaml", ".yml", ".txt", ".cmake"}

NUMBER = r"\d+(?:\.\d+)?(?![\d.]*\d|\w)"
NUMBERS = rf"{NUMBER}(?:(?:,\s+and|,|\s+and|\s+to|\s*[-–])\s*{NUMBER})*"
NAMES = "|".join(sorted((re.escape(name).replace(r"\ ", r"\s+") for name in DOCUMENTS), key=len, reverse=True))
NAMED = re.compile(rf"(?<![\w/.-])(?:doc/)?((?i:{NAMES}))(\.md)?`?(?![\w./-]*[\w/])"
                   rf"(?:\]\([^)\s]*\))?(?P<rest>,?\s+(?:sections?\s+|§\s*)?(?P<numbers>{NUMBERS}))?")
ABBREVIATED = re.compile(rf"\b({'|'.join(ABBREVIATIONS)})\s+(?P<numbers>{NUMBERS})")
OWN = re.compile(rf"(?<![\w.`-])(?<!\.md)(?<!\.md` )(?:[Ss]ections?\s+|§\s*)(?P<numbers>{NUMBERS})"
                 r"(?P<of>\s+of\s+\[?`?(?:doc/)?(?P<document>[\w-]+\.md))?")
BARE_OWN = re.compile(rf"\((?P<numbers>1?\d\.\d{{1,2}}(?:(?:,| and|[-–])\s*{NUMBER})*)\)")
BARE = re.compile(r"\((\d\.\d{1,2})\)")
CODE = re.compile(r"(?<![\w./-])([DGNQSUV])([1-9]\d?)(?![\w./]*\w)")
FORMATS = {"Q4", "Q5", "Q6", "Q8"}
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING_OF = re.compile(r"([\w./-]*README\.md)`?,\s+(?:section\s+)?\"([^\"\n]+)\"")
FILE_NAME = re.compile(r"(?<!\]\()(?<![\w./-])((?:\.\./)*[\w-]+(?:/[\w.-]+)*\.md)\b")
SOURCE_NAME = re.compile(r"(?<![\w./-])((?:src|tests|include)/[\w/-]+\.(?:c|h|py|sh))\b")
HEADING = re.compile(r"^#{1,6} +(.*?)\s*$", re.MULTILINE)
DEFINITION = re.compile(r"^\| ([A-Z]\d{1,2}) \|", re.MULTILINE)


def blank(text):
    """As many spaces and newlines as the text has characters and newlines."""
    return re.sub(r"[^\n]", " ", text)


def without_fences(text):
    """A Markdown text less its fenced blocks, which hold output and code."""
    return re.sub(r"^```.*?^```", lambda found: blank(found.group()), text, flags=re.MULTILINE | re.DOTALL)


def prose_of_c(text):
    """Comments of C; of string literals what cites a code in parentheses. The rest is blank."""
    kept = list(blank(text))
    tokens = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
    for token in tokens.finditer(text):
        if token.group().startswith("/"):
            body = re.sub(r"(?m)^[ \t]*\*(?!/)", lambda found: blank(found.group()), token.group())
            kept[token.start():token.end()] = body.replace("/*", "  ").replace("*/", "  ")
        else:
            for code in re.finditer(r"\([A-Z]\d{1,2}\)", token.group()):
                start = token.start() + code.start()
                kept[start:start + len(code.group())] = code.group()
    return "".join(kept)


def prose_of_python(text):
    """Comments and long strings of Python. The rest is blank."""
    kept = list(blank(text))
    lines = [0]
    for line in text.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_long = token.type == tokenize.STRING and token.string.endswith(('"""', "'''"))
        if token.type == tokenize.COMMENT or is_long:
            start = lines[token.start[0] - 1] + token.start[1]
            kept[start:start + len(token.string)] = token.string.replace("#", " ")
    return "".join(kept)


def prose_of(path, text):
    """The prose of a file, every character at its place; None for files that hold none."""
    if path.suffix in CODE_SUFFIXES:
        return prose_of_c(text)
    if path.suffix == ".py":
        return prose_of_python(text)
    if path.suffix == ".md":
        return without_fences(text)
    if path.suffix in HASH_SUFFIXES or path.parts[-2:] == (".ci", "run"):
        return re.sub(r"(?m)^([^#\n]*)(#?)", lambda found: " " * len(found.group()), text)
    return None


def sections_of(text):
    """Numbers of the numbered headings: `## 4. Names` and `### 6.2, 6.3 Conventions`."""
    numbers = set()
    for heading in HEADING.findall(without_fences(text)):
        numbered = re.match(r"(\d+(?:\.\d+)?(?:, \d+\.\d+)*)\.? ", heading)
        if numbered:
            numbers.update(numbered.group(1).split(", "))
    return numbers


def anchors_of(text):
    """What `#…` of a link may be: headings in lower case, hyphens for spaces, no other signs."""
    headings = HEADING.findall(without_fences(text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Library:
    """The documents of doc/: their sections, and the codes that their tables define."""

    def __init__(self, root):
        self.root = root
        self.texts = {path.name: path.read_text() for path in sorted((root / "doc").glob("*.md"))}
        self.sections = {name: sections_of(text) for name, text in self.texts.items()}
        self.codes = {}
        for name, text in self.texts.items():
            for code in DEFINITION.findall(text):
                self.codes.setdefault(code, []).append(name)

    def faults_of_definitions(self):
        """Codes that more than one row defines, and documents and codes that the index does not name."""
        for code, names in self.codes.items():
            if len(names) > 1:
                yield f"doc/{names[-1]}", f"{code} is defined {len(names)} times: {', '.join(names)}"
        for name in self.texts:
            if name != "README.md" and f"({name})" not in self.texts["README.md"]:
                yield "doc/README.md", f"has no line for {name}"
        for letter in sorted({code[0] for code in self.codes}):
            last = max((code for code in self.codes if code[0] == letter), key=lambda code: int(code[1:]))
            if not re.search(rf"\b{last}\b", self.texts["README.md"]):
                yield "doc/README.md", f"its table of codes does not reach {last}"

    def missing_sections(self, document, numbers):
        if document not in self.sections:
            return [f"doc/{document}, which is not there"]
        return [f"section {number} of doc/{document}, which has none"
                for number in re.findall(NUMBER, numbers) if number not in self.sections[document]]


def named_references(library, prose, in_code):
    """(offset, fault or None) of each reference by a document's name."""
    for found in NAMED.finditer(prose):
        name = re.sub(r"\s+", " ", found.group(1)).lower()
        document = DOCUMENTS[name]
        if found.group("numbers"):
            yield found.start(), library.missing_sections(document, found.group("numbers"))
        elif name != "design" or found.group(2) or prose[found.end():found.end() + 2] == "'s":
            is_of = re.search(rf"sections?\s+{NUMBERS}\s+of\s+(?:doc/)?$", prose[:found.start()])
            vague = [f"doc/{document} without a section"] if in_code and not is_of else []
            yield found.start(), vague or ([] if document in library.sections else [f"doc/{document}"])


def section_references(library, path, prose, is_document):
    """The same of `section 8`, `section 8 of design.md` and `VF 5.4`."""
    taken = [found.span() for found in NAMED.finditer(prose)]
    for found in OWN.finditer(prose):
        document = found.group("document") or (path.name if is_document else None)
        if document and not any(start <= found.start() < end for start, end in taken):
            yield found.start(), library.missing_sections(document, found.group("numbers"))
    if any("." in number for number in library.sections.get(path.name, ()) if is_document):
        for found in BARE_OWN.finditer(prose):
            yield found.start(), library.missing_sections(path.name, found.group("numbers"))
    if is_document and path.name == "larql-2026-08.md":
        for found in ABBREVIATED.finditer(prose):
            document = ABBREVIATIONS[found.group(1)]
            yield found.start(), library.missing_sections(document, found.group("numbers"))


def bare_references(library, prose):
    """The same of numbers in parentheses that are sections somewhere."""
    everywhere = set().union(*library.sections.values())
    for found in BARE.finditer(prose):
        if found.group(1) in everywhere:
            yield found.start(), [f"a section {found.group(1)} of no document: name it"]


def code_references(library, prose):
    """The same of codes."""
    for found in CODE.finditer(prose):
        code = found.group(1) + found.group(2)
        in_parentheses = prose[found.start() - 1:found.end() + 1] == f"({code})"
        if code not in FORMATS or in_parentheses:
            fault = [] if code in library.codes else [f"{code}, which no document defines"]
            yield found.start(), fault


def link_references(path, prose):
    """The same of relative links."""
    for found in LINK.finditer(prose):
        target, _, anchor = found.group(1).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target).resolve() if target else path
        if not file.exists():
            yield found.start(), [f"{target}, which is not there"]
        elif anchor and anchor not in anchors_of(file.read_text()):
            yield found.start(), [f"#{anchor} of {file.name}, which has no such heading"]
        else:
            yield found.start(), []


def file_references(path, prose, root):
    """The same of Markdown files named in prose, and of headings named behind them."""
    for found in FILE_NAME.finditer(prose):
        places = [path.parent / found.group(1), root / found.group(1), root / "doc" / found.group(1)]
        known = found.group(1) in WRITTEN or any(place.exists() for place in places)
        yield found.start(), [] if known else [f"{found.group(1)}, which is not there"]
    for found in SOURCE_NAME.finditer(prose):
        yield found.start(), [] if (root / found.group(1)).exists() else [f"{found.group(1)}, which is not there"]
    for found in HEADING_OF.finditer(prose):
        places = [path.parent / found.group(1), root / found.group(1)]
        headings = [HEADING.findall(place.read_text()) for place in places if place.exists()]
        if headings and not any(found.group(2) in of_file for of_file in headings):
            yield found.start(), [f'"{found.group(2)}" of {found.group(1)}, which has no such heading']


def references_in(library, path, prose):
    """(offset, [fault]) of each reference in the prose of a file."""
    yield from named_references(library, prose, path.suffix != ".md")
    yield from code_references(library, prose)
    is_document = path.parent == library.root / "doc"
    yield from section_references(library, path, prose, is_document)
    if path.suffix == ".md":
        yield from link_references(path, prose)
    else:
        yield from bare_references(library, prose)
    if not (is_document and path.name in NAME_FOREIGN_FILES):
        yield from file_references(path, prose, library.root)


# What the check must find, tried at each run: name of the file, its text, and the faults that are in it.
EXAMPLES = [
    ("src/a.c", "/* design 7, walk-paths 2.2 to 2.4 (V16), vindex-format.md\n * 5.2, §1 of nothing */", 0),
    ("src/a.c", "int design_77 = 5; /* a 9.81 of 3.14 */ const char *s = \"design 77 V99\";", 0),
    ("src/a.c", "/* design 14 */", 1),
    ("src/a.c", "/* vindex-format.md\n * 5.99 */", 1),
    ("src/a.c", "/* walk-paths 2.2, 2.9\n * and 3.99 */", 2),
    ("src/a.c", "/* section 77 of design.md; house rules say so */", 2),
    ("src/a.c", "/* must be equal (4.3) */", 1),
    ("src/a.c", "/* V19 */ const char *s = \"refused (S12)\"; /* Q8 activations (Q8) */", 2),
    ("src/a.py", '"""Text of V99 and of doc/nowhere.md."""\nx = "V99"  # forward-pass 3\n', 2),
    ("doc/a.md", "See section 3 of design.md, [here](design.md#2-words), [there](design.md#nothing), [x](no.md).", 2),
    ("doc/vindex-format.md", "By rows (4.4, 5.6), not (4.99); 25.3 is (25.30) of none.", 1),
    ("README.md", "`src/main.c` and src/nowhere.c", 1),
    ("README.md", 'As `jobs/README.md`, "No such heading", says.', 1),
]


def faults_of_examples(library):
    """What the check finds in the examples but should not, or the other way round."""
    for name, text, wanted in EXAMPLES:
        path = library.root / name
        found = [fault for _, faults in references_in(library, path, prose_of(path, text)) for fault in faults]
        if len(found) != wanted:
            yield "references.py", f"finds {found} in {text!r}, expected {wanted} faults"
