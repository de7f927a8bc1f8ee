"""A document as one HTML file that needs nothing else: no network, and scripts only for comfort."""
import base64
import hashlib
import json
import math
import pathlib

from .document import Bullets, Fact, Maps, Picture, Pre, Table, Terms, Text
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
<nav aria-label="Sections"><ul>{links}</ul>{render_filter(document.cases, document.group)}</nav>
<main id="main" tabindex="-1">
{"".join(render_section(section, 2) for section in document.sections)}</main>
<footer>Made by walkaudit-report from a result file alone; sizes are relative to the dense model.</footer>
<script>{script}</script>
</body>
</html>
"""


def digest(script):
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render_filter(cases, group):
    """One choice for the whole page. Only a script can make use of it, and unhides it."""
    if len(cases) < 2:
        return ""
    vindexes = list(dict.fromkeys(vindex for _, vindex in cases))
    of_vindex = "".join(f'<option value="{at}">{markup(name)}</option>' for at, name in enumerate(vindexes))
    of_case = "".join(f'<option value="{at}" data-vindex="{vindexes.index(vindex)}">{markup(name)}</option>'
                      for at, (name, vindex) in enumerate(cases))
    return (f'<div class="choice" id="choice" hidden><label>{group} <select id="choose-vindex"><option value="">all</option>{of_vindex}'
            f'</select></label><label>Case <select id="choose-case"><option value="">all</option>{of_case}</select></label>'
            f'<label{"" if group == "Vindex" else " hidden"}>beside <select id="choose-other" disabled><option value="">none</option>{of_case}</select></label>'
            '<button type="button" id="choose-all">Show all</button><output id="chosen"></output></div>')


def about(cases):
    """Marks what is about some cases only: the filter hides it when none of them is chosen."""
    return f' data-about="{" ".join(map(str, cases))}"' if cases else ""


def render_section(section, level):
    inside = "".join(render_block(block) for block in section.blocks)
    inside += "".join(render_section(inner, level + 1) for inner in section.sections)
    head = f'<h{level} id="{section.anchor}-title">{markup(section.title)}</h{level}>'
    if not inside:
        return ""
    if section.folded:
        return f'<details id="{section.anchor}"{about(section.about)}><summary>{head}</summary>\n{inside}</details>\n'
    return f'<section id="{section.anchor}" aria-labelledby="{section.anchor}-title">\n{head}\n{inside}</section>\n'


def render_block(block):
    if isinstance(block, Text):
        kind = f' class="{block.kind}"' if block.kind else ""
        return f"<p{kind}>{markup(block.text)}</p>\n"
    if isinstance(block, Bullets):
        items = (f"<li{look(cell)}{about(cell.about)}>{inner(cell)}</li>" for cell in block.items)
        return f"<ul>{''.join(items)}</ul>\n"
    if isinstance(block, Pre):
        title = f"<p>{markup(block.title)}:</p>\n" if block.title else ""
        return f'{title}<pre tabindex="0">{markup(block.text)}</pre>\n'
    if isinstance(block, Table):
        return render_table(block)
    if isinstance(block, Terms):
        return explained(block.terms)
    if isinstance(block, Fact):
        return render_fact(block)
    if isinstance(block, Maps):
        return render_maps(block)
    assert isinstance(block, Picture)
    return render_picture(block)


def look(cell, *more):
    classes = [*more, *([cell.kind] if cell.kind in ("good", "fair", "bad") else [])]
    return f' class="{" ".join(classes)}"' if classes else ""


def inner(cell):
    words = f'<a href="{markup(cell.link)}">{markup(cell.text)}</a>' if cell.link else markup(cell.text)
    return f"{words}<small>{markup(cell.note)}</small>" if cell.note else words


def sort_key(cell):
    if cell.sort is None:
        return ""
    value = "Infinity" if cell.sort == math.inf else "-Infinity" if cell.sort == -math.inf else f"{cell.sort:.17g}"
    return f' data-sort="{value}"'


def render_cell(cell, column, first):
    classes = (["number"] if column.numeric else []) + (["wide"] if len(cell.text) > WIDE else [])
    tag, scope = ("th", ' scope="row"') if first else ("td", "")
    return f"<{tag}{scope}{look(cell, *classes)}{sort_key(cell)}{about(cell.about)}>{inner(cell)}</{tag}>"


def render_table(table):
    heads = "".join(f'<th scope="col"{" class=number" if column.numeric else ""}>{markup(column.title)}</th>'
                    for column in table.columns)
    rows, seen = [], {}
    for at, row in enumerate(table.rows):
        anchor = f' id="{table.anchors[at]}"' if table.anchors else ""
        cases = table.about[at] if table.about else ()
        seen[cases] = seen.get(cases, 0) + 1
        more = ' class="more"' if table.brief and seen[cases] > table.brief else ""
        cells = "".join(render_cell(cell, column, number == 0)
                        for number, (cell, column) in enumerate(zip(row, table.columns)))
        rows.append(f"<tr{anchor}{more}{about(cases)}>{cells}</tr>\n")
    filtered = (" data-filter" if table.filtered else "") + (' class="tiles"' if table.tiles else "")
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{markup(table.caption)}">'
            f"<table{filtered}><caption><span>{markup(table.caption)}</span></caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n"
            f"{''.join(rows)}</tbody></table></div>\n" + (explained(table.explanations) if table.explanations else ""))


def render_fact(fact):
    items = "".join(f"<div><dt>{markup(words)}</dt><dd>{markup(value)}</dd></div>" for words, value in fact.items)
    links = "".join(f' <a href="{markup(link)}">{markup(words)}</a>' for words, link in fact.links)
    return (f'<article id="{fact.anchor}" class="fact"{about(fact.about)}><p><strong>{markup(fact.title)}</strong>{links}</p>'
            f"<blockquote>{markup(fact.before)}<mark>{markup(fact.token)}</mark>{markup(fact.after)}</blockquote>"
            f'<dl class="values">{items}</dl></article>\n')


def explained(terms):
    pairs = (f"<dt>{markup(symbol)}</dt><dd>{markup(sentence)}</dd>" for symbol, sentence in terms)
    return f"<dl>{''.join(pairs)}</dl>\n"


def render_maps(block):
    held = json.dumps(block.data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return (f'<div id="explorer"><noscript><p>The maps need a script; \'walkaudit-report plot\' draws them as files.</p></noscript></div>\n'
            f'<p class="caption">{markup(block.note)}</p>\n<script type="application/json" id="maps-data">{held}</script>\n')


def render_picture(picture):
    note = f" {markup(picture.note)}" if picture.note else ""
    return (f'<figure{about(picture.about)}><div class="scroll" tabindex="0" role="region" aria-label="Plot: {markup(picture.title)}">{picture.svg}</div>'
            f"<figcaption><strong>{markup(picture.title)}.</strong>{note}</figcaption></figure>\n")
