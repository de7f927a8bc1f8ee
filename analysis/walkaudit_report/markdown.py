"""A document as Markdown, with everything but its pictures."""
from . import text
from .document import Bullets, Fact, Maps, Picture, Pre, Table, Terms, Text


def render(document):
    lines = [f"# {text.markdown(document.title)}", ""]
    for block in document.lead:
        lines += render_block(block)
    for section in document.sections:
        lines += render_section(section, 2)
    return "\n".join(lines).rstrip("\n") + "\n"


def render_section(section, level):
    if any(isinstance(block, (Maps, Picture)) for block in section.blocks):
        return []
    lines = [f"{'#' * level} {text.markdown(section.title)}", ""]
    for block in section.blocks:
        lines += render_block(block)
    for inner in section.sections:
        lines += render_section(inner, level + 1)
    return [] if len(lines) == 2 else lines


def render_block(block):
    if isinstance(block, Text):
        words = text.markdown(block.text)
        return [f"**{words}**" if block.kind == "warning" else words, ""]
    if isinstance(block, Bullets):
        return [f"- {cell_text(cell)}" for cell in block.items] + [""]
    if isinstance(block, Pre):
        fence = "```"
        while fence in block.text:
            fence += "`"
        return ([block.title + ":", ""] if block.title else []) + [fence + "text", block.text.rstrip("\n"), fence, ""]
    if isinstance(block, Table):
        return render_table(block)
    if isinstance(block, Fact):
        known = "; ".join(f"{words} {value}" for words, value in block.items)
        return [f"- {text.markdown(block.title)}: {text.markdown(block.before)}**[{text.markdown(block.token)}]**"
                f"{text.markdown(block.after)}; {text.markdown(known)}", ""]
    assert isinstance(block, Terms)
    return explained(block.terms)


def cell_text(cell):
    words = text.markdown(f"{cell.text} ({cell.note})" if cell.note else cell.text)
    if cell.kind == "bad":
        return f"**{words}**"
    if cell.kind == "link":
        return f"[{words}]({cell.link})"
    return words


def render_table(table):
    lines = [text.markdown(table.caption), "",
             "| " + " | ".join(text.markdown(column.title) for column in table.columns) + " |",
             "|" + "|".join("---:" if column.numeric else "---" for column in table.columns) + "|"]
    lines += ["| " + " | ".join(cell_text(cell) for cell in row) + " |" for row in table.rows]
    lines.append("")
    return lines + (explained(table.explanations) if table.explanations else [])


def explained(terms):
    return [f"- {text.markdown(symbol)}: {text.markdown(sentence)}" for symbol, sentence in terms] + [""]
