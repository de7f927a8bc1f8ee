"""Tables on a terminal: columns aligned, numbers to the right."""
import unicodedata


def width(text):
    """Columns that a terminal gives it: combining marks none, wide characters two."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def table(titles, rows):
    """Lines of a table; a title that begins with '>' stands over numbers."""
    cells = [[title.lstrip(">") for title in titles], *([str(cell) for cell in row] for row in rows)]
    widths = [max(width(row[at]) for row in cells) for at in range(len(titles))]
    lines = []
    for row in cells:
        padded = [" " * (space - width(cell)) + cell if title.startswith(">") else cell + " " * (space - width(cell))
                  for title, cell, space in zip(titles, row, widths)]
        lines.append("  ".join(padded).rstrip())
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
