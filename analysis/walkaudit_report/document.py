"""A report before it has a form: sections of paragraphs, tables and pictures. markdown.py and page.py render it."""
import dataclasses


@dataclasses.dataclass
class Cell:
    """text; what to sort by if it is not the text; a link within the page; an anchor of the row; a kind of look."""

    text: str
    sort: float = None
    link: str = ""
    kind: str = ""  # "good", "fair" and "bad" are coloured, "link" leads to a file, "" is plain
    note: str = ""  # a second line, smaller
    about: tuple = ()  # cases that an item of a list is about, by index; () where it is about none


@dataclasses.dataclass
class Column:
    title: str
    numeric: bool = False


@dataclasses.dataclass
class Table:
    """rows of Cells, the first of each names its row. anchors: one per row, or none."""

    caption: str
    columns: list
    rows: list
    explanations: list = dataclasses.field(default_factory=list)  # (symbol, sentence), below the table
    anchors: list = dataclasses.field(default_factory=list)
    filtered: bool = False  # a long table that a reader searches
    about: list = dataclasses.field(default_factory=list)  # per row the cases that it is about, or none for all rows
    brief: int = 0  # rows of each case that paper needs; 0: all
    tiles: bool = False  # cells coloured as a whole


@dataclasses.dataclass
class Text:
    text: str
    kind: str = ""  # "good", "note" and "warning" stand out


@dataclasses.dataclass
class Terms:
    terms: list  # (symbol, sentence)


@dataclasses.dataclass
class Bullets:
    items: list  # of Cells


@dataclasses.dataclass
class Pre:
    text: str
    title: str = ""


@dataclasses.dataclass
class Picture:
    """An SVG inside the page; left out where there can be none. alt: what a reader who cannot see it is told."""

    svg: str
    title: str
    alt: str
    note: str = ""  # below it, beside the title
    about: tuple = ()  # cases that it is about


@dataclasses.dataclass
class Fact:
    """A place with its context: the text before, the token, the text after, and what is known of it."""

    anchor: str
    title: str
    before: str
    token: str
    after: str
    items: list  # (words, value)
    about: tuple = ()
    links: list = dataclasses.field(default_factory=list)  # (words, link)


@dataclasses.dataclass
class Maps:
    """Maps that a script of the page draws from its data (explorer.py)."""

    data: dict
    note: str = ""


@dataclasses.dataclass
class Section:
    title: str
    anchor: str
    blocks: list
    folded: bool = False
    about: tuple = ()
    sections: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Document:
    title: str
    lead: list  # of blocks before the first section
    sections: list
    cases: list = dataclasses.field(default_factory=list)  # (name, group): what a page can be filtered by
    group: str = "Vindex"  # what its cases are grouped by
