"""A document as one HTML file that needs nothing else: no network, and scripts only for comfort."""
import base64
import hashlib
import math
import pathlib

from .document import Bullets, Picture, Pre, Table, Terms, Text
from .text import markup

HERE = pathlib.Path(__file__).resolve().parent
WIDE = 48  # characters from which a cell may break


def render(document):
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    links = "".join(f'<li><a href="#{section.anchor}">{markup(section.title)}</a></li>' for section in document.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'">
<title>{markup(document.title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the summary</a>
<header>
<h1>{markup(document.title)}</h1>
{"".join(render_block(block) for block in document.lead)}</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main" tabindex="-1">
{"".join(render_section(section, 2) for section in document.sections)}</main>
<footer>Made by walkaudit-report from a result file alone; sizes are relative to the dense model.</footer>
<script>{script}</script>
</body>
</html>
"""


def digest(script):
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render_section(section, level):
    inside = "".join(render_block(block) for block in section.blocks)
    inside += "".join(render_section(inner, level + 1) for inner in section.sections)
    head = f'<h{level} id="{section.anchor}-title">{markup(section.title)}</h{level}>'
    if not inside:
        return ""
    if section.folded:
        return f'<details id="{section.anchor}"><summary>{head}</summary>\n{inside}</details>\n'
    return f'<section id="{section.anchor}" aria-labelledby="{section.anchor}-title">\n{head}\n{inside}</section>\n'


def render_block(block):
    if isinstance(block, Text):
        kind = f' class="{block.kind}"' if block.kind else ""
        return f"<p{kind}>{markup(block.text)}</p>\n"
    if isinstance(block, Bullets):
        items = (f"<li{look(cell)}>{inner(cell)}</li>" for cell in block.items)
        return f"<ul>{''.join(items)}</ul>\n"
    if isinstance(block, Pre):
        title = f"<p>{markup(block.title)}:</p>\n" if block.title else ""
        return f'{title}<pre tabindex="0">{markup(block.text)}</pre>\n'
    if isinstance(block, Table):
        return render_table(block)
    if isinstance(block, Terms):
        return explained(block.terms)
    assert isinstance(block, Picture)
    return render_picture(block)


def look(cell, *more):
    classes = [*more, *([cell.kind] if cell.kind in ("good", "bad") else [])]
    return f' class="{" ".join(classes)}"' if classes else ""


def inner(cell):
    return f'<a href="{markup(cell.link)}">{markup(cell.text)}</a>' if cell.link else markup(cell.text)


def sort_key(cell):
    if cell.sort is None:
        return ""
    value = "Infinity" if cell.sort == math.inf else "-Infinity" if cell.sort == -math.inf else f"{cell.sort:.17g}"
    return f' data-sort="{value}"'


def render_cell(cell, column, first):
    classes = (["number"] if column.numeric else []) + (["wide"] if len(cell.text) > WIDE else [])
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    return f"<{tag}{scope}{look(cell, *classes)}{sort_key(cell)}>{inner(cell)}</{tag}>"


def render_table(table):
    heads = "".join(f'<th scope="col"{" class=number" if column.numeric else ""}>{markup(column.title)}</th>'
                    for column in table.columns)
    rows = []
    for at, row in enumerate(table.rows):
        anchor = f' id="{table.anchors[at]}"' if table.anchors else ""
        cells = "".join(render_cell(cell, column, number == 0)
                        for number, (cell, column) in enumerate(zip(row, table.columns)))
        rows.append(f"<tr{anchor}>{cells}</tr>\n")
    filtered = " data-filter" if table.filtered else ""
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{markup(table.caption)}">'
            f"<table{filtered}><caption><span>{markup(table.caption)}</span></caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"
            f"{''.join(rows)}</tbody></table></div>\n" + (explained(table.explanations) if table.explanations else ""))


def explained(terms):
    pairs = (f"<dt>{markup(symbol)}</dt><dd>{markup(sentence)}</dd>" for symbol, sentence in terms)
    return f"<dl>{''.join(pairs)}</dl>\n"


def render_picture(picture):
    svg = picture.svg.replace("<svg", f'<svg role="img" aria-label="{markup(picture.alt)}"', 1)
    return (f'<figure><div class="scroll" tabindex="0" role="region" aria-label="Plot: {markup(picture.title)}">{svg}</div>'
            f"<figcaption><strong>{markup(picture.title)}.</strong> {markup(picture.note)}</figcaption></figure>\n")
