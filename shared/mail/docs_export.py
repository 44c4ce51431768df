"""What stands in a Google Doc, from its HTML export.

Docs writes what a page looks like: a style sheet of numbered classes, fonts, fixed widths, one <ul> for each level of a list, every link
through google.com, a page's comments below it. Here that becomes what the author meant: blocks of text with their looks. The shape of an
export is nowhere specified; tests/payloads/docs holds samples.

What is read is somebody else's, and read in a process that is not confined: nothing recurses with the input but tables in tables, and
each part of it is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from shared.errors import BadTemplate
from shared.mail.html import VOID
from shared.mail.sandbox import words
from shared.mail.source import MAX_SOURCE

WIDTH = 512  # pixels between the paddings of the card
NESTED = 4  # tables in tables
LONGEST = 8000  # characters of an address in which marks are looked for
MOST_BYTES = 10 << 20  # as much as Google exports
PICTURE = "\ufffc"  # stands for a picture among characters
STRAIGHT = str.maketrans("“”„‟‘’‚‛\u00a0", '"' * 4 + "'" * 4 + " ")  # what Docs makes of quotes in a mark, and back
_BLACK = {"#000000", "#000", "black", "inherit", "initial", "windowtext"}
_WHITE = {"#ffffff", "#fff", "white", "transparent", "inherit", "initial", "none"}
_IN_ADDRESS = re.compile(r"%7B(?:%7B|%25).{0,2000}?(?:%7D|%25)%7D", re.IGNORECASE)
_IMPORT = re.compile(r"@import[^{};@]{0,2000};")
_SPACE = re.compile(r"[ \t\r\n]+")
_LEVEL = re.compile(r"lst-\S+-(\d)\b")
_PIXELS = re.compile(r"\d{1,5}(?=[.\d]*px)")
_NUMBER = re.compile(r"[0-9]{1,6}")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LONG = "The Doc is longer than a mail can be: shorten it."
_UNREADABLE = "The Doc cannot be read: copy its text into a new one."
_BLOCKS = words("p h1 h2 h3 h4 h5 h6 li")
_SILENT = words("style script title")
# Of a style, what is asked after.
_TOLD = words(
    "background-color color direction display font-style font-weight text-align text-decoration text-decoration-line vertical-align width"
)
Css: TypeAlias = dict[str, str]


class Ink(NamedTuple):
    """How a piece of text looks."""

    href: str = ""
    bold: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    script: str = ""  # "sup", "sub"
    colour: str = ""
    back: str = ""
    hidden: bool = False


class Piece(NamedTuple):
    """A character, a whole mark, or a picture's tag (`html`)."""

    text: str
    ink: Ink
    html: str = ""


@dataclass(eq=False)
class Block:
    """A paragraph, heading, list item, rule or table. `level`: a heading's, with the title 0, or a list item's, from 0."""

    tag: str
    level: int = 0
    align: str = ""
    rtl: bool = False
    pieces: list[Piece] = field(default_factory=list)
    kind: str = ""  # of a list: "ul", "ol"
    start: int = 1
    rows: list[Row] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def controls(self) -> str:
        """Its marks, a line each, when it holds nothing but tags such as {% if … %}."""
        shown = [piece.text for piece in self.pieces if piece.text.strip()]
        return "\n".join(shown) if shown and all(text.startswith("{%") and text.endswith("%}") for text in shown) else ""

    @property
    def empty(self) -> bool:
        return self.tag != "hr" and not self.rows and not self.text.strip("\u00a0 \n")


@dataclass(eq=False)
class Cell:
    """`spans`: its attributes colspan and rowspan."""

    back: str
    spans: str
    blocks: list[Block] = field(default_factory=list)


Row: TypeAlias = "list[Cell]"


def read(exported: bytes) -> list[Block]:
    """The blocks of a Doc that hold anything; raises BadTemplate for one that is too long for a mail, or is no HTML."""
    if len(exported) > MOST_BYTES:
        raise BadTemplate(_LONG)
    reader = _Reader()
    try:
        reader.feed(exported.decode("utf-8-sig", "replace"))
    except (AssertionError, ValueError):  # html.parser, of "<![x[" and of character references beyond all numbers
        raise BadTemplate(_UNREADABLE) from None
    if reader.rawdata:  # something is not closed; close() would look for its end once more from each sign on
        raise BadTemplate(_UNREADABLE)
    return [block for block in reader.blocks if not block.empty]


class _Reader(HTMLParser):
    """Takes an export apart into `blocks`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._css: dict[str, Css] = {}
        self._open: list[tuple[str, Ink]] = []
        self._into = [self.blocks]  # the blocks of the body, and of each cell that is open
        self._tables: list[Block] = []
        self._block: Block | None = None
        self._filled = False  # whether it holds more than space
        self._lists: list[tuple[str, int, int]] = []  # tag, level, the next number
        self._ended = False
        self._length = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._ended:
            return
        self._count(1)
        given = {name: value or "" for name, value in attrs}
        css = self._style(tag, given)
        if tag in VOID:
            self._void(tag, given, css)
            return
        ink = self._open[-1][1] if self._open else Ink()
        if tag in _BLOCKS:
            self._begin(tag, given, css)
            ink = Ink()
        elif tag in ("ul", "ol"):
            level = _LEVEL.search(given.get("class", ""))
            start = given.get("start", "")
            self._lists.append((tag, int(level[1]) if level else len(self._lists), int(start) if _NUMBER.fullmatch(start) else 1))
            self._block = None
        elif tag in ("table", "tr", "td", "th"):
            self._tabular(tag, given, css)
        elif tag == "a":
            ink = ink._replace(href=_target(given.get("href", "")))
            if not ink.href:  # a place in the Doc, which a mail cannot lead to
                ink = ink._replace(underline=False, colour="")
            if given.get("href", "").startswith("#cmnt_ref"):  # the comments stand below everything else
                self._end()
            ink = ink._replace(hidden=given.get("href", "").startswith("#cmnt"))
        else:
            ink = _inked(ink, tag, css)
        self._open.append((tag, ink))

    def handle_endtag(self, tag: str) -> None:
        if tag not in [name for name, _ in self._open[-50:]]:
            return
        while self._open.pop()[0] != tag:
            pass
        if tag in _BLOCKS and not (tag == "p" and self._block and self._block.tag == "li"):
            self._block = None
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag in ("td", "th") and len(self._into) > 1:
            self._into.pop()
            self._block = None
        elif tag == "table" and self._tables:
            self._tables.pop()

    def handle_data(self, data: str) -> None:
        tag, ink = self._open[-1] if self._open else ("", Ink())
        if tag == "style":
            self._learn(data)
        elif tag not in _SILENT and not ink.hidden and not self._ended:
            edge = _SPACE.sub(" ", data)
            # at either end of a span Docs writes a plain space as a fixed one
            edge = " " * edge.startswith("\u00a0") + edge.strip("\u00a0") + " " * edge.endswith("\u00a0")
            if edge.strip() or self._block:
                self._add([Piece(sign, ink) for sign in edge])

    def _begin(self, tag: str, given: Css, css: Css) -> None:
        if tag == "p" and self._block and self._block.tag == "li":  # a list item's own paragraph
            if self._filled:
                self._add([Piece("\n", Ink())])
            return
        block = Block(tag, align=css.get("text-align", ""), rtl="rtl" in (given.get("dir"), css.get("direction")))
        if tag == "li":
            block.kind, block.level, block.start = self._lists[-1] if self._lists else ("ul", 0, 1)
            if self._lists:
                self._lists[-1] = (*self._lists[-1][:2], block.start + 1)
        elif tag != "p":
            block.level = int(tag[1])
        elif "title" in given.get("class", "").split():
            block.tag = "h0"
        self._block, self._filled = block, False
        self._into[-1].append(block)

    def _tabular(self, tag: str, given: Css, css: Css) -> None:
        self._block = None
        if tag == "table":
            table = Block("table")
            if len(self._tables) < NESTED:
                self._into[-1].append(table)
            self._tables.append(table)
        elif self._tables and tag == "tr":
            self._tables[-1].rows.append([])
        elif self._tables and self._tables[-1].rows:
            several = [name for name in ("colspan", "rowspan") if re.fullmatch(r"[2-9]|[1-9][0-9]", given.get(name, ""))]
            spans = "".join(f' {name}="{given[name]}"' for name in several)
            cell = Cell(_colour(css.get("background-color", ""), _WHITE), spans)
            self._tables[-1].rows[-1].append(cell)
            self._into.append(cell.blocks)

    def _void(self, tag: str, given: Css, css: Css) -> None:
        if tag == "br" and self._block:
            self._add([Piece("\n", self._open[-1][1] if self._open else Ink())])
        elif tag == "hr" and css.get("display") != "none":  # a page's end is one that is not shown
            self._block = None
            self._into[-1].append(Block("hr"))
        elif tag == "img" and given.get("src"):
            ink = self._open[-1][1] if self._open else Ink()
            width = _PIXELS.match(css.get("width", ""))
            wide = f' width="{min(WIDTH, int(width[0]))}"' if width else ""
            alt = given.get("alt") or given.get("title", "")
            shown = f'<img src="{escape(given["src"])}" alt="{escape(alt)}"{wide}>'
            self._add([Piece(PICTURE, Ink(href=ink.href), shown)])

    def _add(self, pieces: Sequence[Piece]) -> None:
        if self._block is None:
            self._begin("p", {}, {})
        assert self._block
        self._block.pieces += pieces
        self._filled = self._filled or any(piece.text.strip("\u00a0 \n") for piece in pieces)
        self._count(len(pieces))

    def _count(self, more: int) -> None:
        """Characters and tags, of which a mail's template has no more either."""
        self._length += more
        if self._length > MAX_SOURCE:
            raise BadTemplate(_LONG)

    def _end(self) -> None:
        self._ended = True
        if self._block in self._into[-1]:
            self._into[-1].remove(self._block)

    def _learn(self, sheet: str) -> None:
        """Rules for an element or a class alone, which is all that Docs says of what text means."""
        for rule in _IMPORT.sub("", sheet).split("}"):
            selectors, _, said = rule.rpartition("{")
            declared = _declared(said)
            for selector in selectors.split(","):
                self._css.setdefault(selector.strip(), {}).update(declared)

    def _style(self, tag: str, given: Css) -> Css:
        found = dict(self._css.get(tag, {}))
        for name in given.get("class", "").split():
            found |= self._css.get(f".{name}", {})
        return found | _declared(given.get("style", ""))


def _declared(said: str) -> Css:
    pairs = (one.partition(":") for one in said.split(";"))
    told = ((name.strip().lower(), value.strip().lower()) for name, _, value in pairs if value)
    return {name: value for name, value in told if name in _TOLD}


def _inked(ink: Ink, tag: str, css: Css) -> Ink:
    weight, lines = css.get("font-weight", ""), css.get("text-decoration", css.get("text-decoration-line", ""))
    if weight:
        ink = ink._replace(bold=weight.startswith("bold") or (bool(_NUMBER.fullmatch(weight)) and int(weight) >= 600))
    if css.get("font-style"):
        ink = ink._replace(italic=css["font-style"] == "italic")
    if lines:
        ink = ink._replace(underline="underline" in lines, strike="line-through" in lines)
    if css.get("color"):
        ink = ink._replace(colour=_colour(css["color"], _BLACK))
    if css.get("background-color"):
        ink = ink._replace(back=_colour(css["background-color"], _WHITE))
    script = {"super": "sup", "sub": "sub"}.get(css.get("vertical-align", ""), "")
    return ink._replace(
        bold=ink.bold or tag in ("strong", "b"),
        italic=ink.italic or tag in ("em", "i"),
        underline=ink.underline or tag == "u",
        strike=ink.strike or tag in ("s", "strike", "del"),
        script=tag if tag in ("sup", "sub") else script or ink.script,
    )


def _colour(value: str, plain: set[str]) -> str:
    return value if value not in plain and _COLOUR.fullmatch(value) else ""


def _target(href: str) -> str:
    """Where a link leads: not through Google, and with marks as they were typed. "" for a place in the Doc."""
    try:
        place = urlsplit(href) if href.startswith("http") else None
    except ValueError:  # the compiler says so
        place = None
    if place and place.netloc == "www.google.com" and place.path == "/url":
        href = parse_qs(place.query).get("q", [href])[0]
    if len(href) <= LONGEST:
        href = _IN_ADDRESS.sub(lambda found: unquote(found[0]).translate(STRAIGHT), href)
    return re.sub(r"^https?://(?=\{\{.*\}\}$)", "", href) if not href.startswith("#") else ""
