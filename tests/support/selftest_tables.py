"""The tables of doc/selftest.md: read, compared, written anew.

usage: selftest_tables.py WALKAUDIT_FAULTY    puts what `WALKAUDIT_FAULTY selftest --markdown` prints between the document's marks
"""
import pathlib
import subprocess
import sys

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent.parent / "doc" / "selftest.md"
BEGIN, END = "<!-- tables of selftest -->\n", "<!-- end of tables -->\n"


def printed_part(text):
    return text.split(BEGIN)[1].split(END)[0]


def tables(text):
    """{title: [rows, each {column: cell}]} of Markdown."""
    found, title, heads = {}, None, None
    for line in text.splitlines():
        if line.startswith("### "):
            title, heads = line[4:], None
            found[title] = []
        elif line.startswith("|---"):
            pass
        elif line.startswith("|") and title:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if heads is None:
                heads = cells
            else:
                found[title].append(dict(zip(heads, cells)))
    return found


def main(program):
    done = subprocess.run([program, "selftest", "--markdown"], capture_output=True, text=True, check=True)
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + "\n" + done.stdout + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main(sys.argv[1])
