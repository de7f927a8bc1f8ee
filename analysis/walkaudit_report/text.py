"""Numbers, tokens and places as people read them; the same forms as in walkaudit's own tables."""
import html
import math
import re
import unicodedata

ABSENT = "–"


def figure(value):
    """A size of an error: three digits, `0` and `NaN` by name."""
    if value is None:
        return ABSENT
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return "0" if value == 0.0 else f"{value:.2e}"


def signed(value):
    """A shift that has a direction."""
    text = figure(value)
    return text if text[0] in "–−-N0∞" else "+" + text


def cosine(value):
    """A cosine is read by its nines."""
    return figure(value) if value is None or not math.isfinite(value) else f"{value:.8f}"


def probability(value):
    return figure(value) if value is None or not math.isfinite(value) else f"{value:.6f}"


def share(value):
    """A probability among words, where six digits would be noise."""
    return figure(value) if value is None or not math.isfinite(value) else f"{value:.3f}"


def percent(value):
    return figure(value) if value is None or not math.isfinite(value) else f"{100 * value:.2f} %"


def ratio(value):
    """What is read by its distance from 1."""
    return figure(value) if value is None or not math.isfinite(value) else f"{value:.6f}"


def decades(value):
    """Headroom: powers of ten between a figure and its bound; negative beyond it."""
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:+.2f}".replace("-", "−")


def count(value):
    return f"{int(value):,}".replace(",", "\u202f")  # narrow no-break space


def megabytes(value):
    return ABSENT if value is None else f"{value / 1e6:.1f}"


def seconds(value):
    return figure(value) if value is None or not math.isfinite(value) else f"{value:.2f}"


def plural(number, noun):
    return f"{number} {noun}" + ("" if number == 1 else "s")


def failing(failed):
    """How many of those just counted fail: "none fails", "1 fails", "3 fail"."""
    return f"{failed or 'none'} {'fails' if failed < 2 else 'fail'}"


# --- Texts of others: tokens, prompts, names

NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "'": "\\'", "\\": "\\\\"}
INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}


def visible(text, limit=0):
    """Text without what could break a line: control and invisible characters as escapes. limit: characters."""
    pieces, used = [], 0
    for at, char in enumerate(text):
        if char in NAMED:
            piece = NAMED[char]
        elif char != " " and unicodedata.category(char) in INVISIBLE:
            piece = f"\\x{ord(char):02X}" if ord(char) < 0x80 else f"\\u{{{ord(char):X}}}"
        else:
            piece = char
        last = at == len(text) - 1
        if limit and used + len(piece) + (0 if last else 1) > limit:
            return "".join(pieces) + "…"
        pieces.append(piece)
        used += len(piece)
    return "".join(pieces)


def plain(text, limit=0):
    """As `visible`, but quotes and backslashes stay: for names and keys, which stand alone."""
    return visible(text, limit).replace("\\'", "'").replace("\\\\", "\\")


def token(text, limit=0):
    """A token in quotes, so that its spaces show."""
    return f"'{visible(text, limit)}'"


def markdown(text):
    """Text inside a Markdown cell or line: nothing in it is markup. Lines must be gone (`visible`)."""
    text = re.sub(r"([\\`*\[\]<>|~&])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # inside a word it is no emphasis
    return re.sub(r"^([#+])", r"\\\1", text)


def markup(text):
    """Text inside HTML, attributes too."""
    return html.escape(str(text), quote=True)


SLUG = 60  # characters


def slug(text):
    """A name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:SLUG] or "x"


def slugs(names):
    """The same for a list, no two alike, whatever the case of their letters: a number tells apart what would be."""
    out, taken = [], set()
    for name in names:
        plain, number = slug(name), 1
        found = plain
        while found.lower() in taken:
            number += 1
            found = f"{plain}-{number}"
        taken.add(found.lower())
        out.append(found)
    return out
