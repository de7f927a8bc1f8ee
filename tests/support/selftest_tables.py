"""The tables of doc/selftest.md: read, compared, written anew.

usage: selftest_tables.py WALKAUDIT_FAULTY    puts what `WALKAUDIT_FAULTY selftest --markdown` prints between the document's marks, with
                                              the options of each pair of marks
"""
import pathlib
import subprocess
import sys

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent.parent / "doc" / "selftest.md"
OPTIONS = ((), ("--experts",))  # of the parts of the document
END = "<!-- end of tables -->\n"


def begin(options):
    return f"<!-- tables of {' '.join(('selftest', *options))} -->\n"


def printed_part(text, options=()):
    return text.split(begin(options))[1].split(END)[0]


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
    text = DOCUMENT.read_text()
    for options in OPTIONS:
        done = subprocess.run([program, "selftest", "--markdown", *options], capture_output=True, text=True, check=True)
        before, rest = text.split(begin(options))
        text = before + begin(options) + "\n" + done.stdout + "\n" + END + rest.split(END, 1)[1]
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
