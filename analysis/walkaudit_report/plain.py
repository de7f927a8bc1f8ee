"""Tables on a terminal: columns aligned, numbers to the right."""
import os
import shutil
import sys
import unicodedata

GAP = 2  # blanks between columns


def width(text):
    """Columns that a terminal gives it: combining marks none, wide characters two."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def room():
    """Columns of the terminal that stdout is; None when it is none."""
    try:
        return shutil.get_terminal_size().columns if os.isatty(sys.stdout.fileno()) else None
    except (OSError, ValueError):  # a stream without a descriptor
        return None


def blocks(widths, limit):
    """[[column, …]] that fit side by side, each with the first; a column alone with it, however wide."""
    found = []
    for at in range(1, len(widths)):
        if found and sum(widths[column] + GAP for column in found[-1]) + widths[at] <= limit:
            found[-1].append(at)
        else:
            found.append([0, at])
    return found or [[0]]


def table(titles, rows):
    """Lines of a table; a title that begins with '>' stands over numbers. On a terminal that is too narrow, columns that do
    not fit follow below, again beside the first."""
    cells = [[title.lstrip(">") for title in titles], *([str(cell) for cell in row] for row in rows)]
    widths = [max(width(row[at]) for row in cells) for at in range(len(titles))]
    limit = room()
    lines = []
    for block in blocks(widths, limit) if limit else [range(len(titles))]:
        lines += [""] if lines else []
        for row in cells:
            padded = [" " * (widths[at] - width(row[at])) + row[at] if titles[at].startswith(">") else
                      row[at] + " " * (widths[at] - width(row[at])) for at in block]
            lines.append((" " * GAP).join(padded).rstrip())
    return lines


def ranges(numbers):
    """0-2, 5: a sorted list in few words."""
    parts, start = [], None
    for at, number in enumerate(numbers):
        start = number if start is None else start
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            parts.append(f"{start}" if start == number else f"{start}-{number}")
            start = None
    return ", ".join(parts)
