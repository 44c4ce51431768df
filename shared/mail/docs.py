"""From a Google Doc to a template in our layout.

Headings, lists, links, tables, alignment and chosen colours stay; fonts, sizes and widths, which would fight the layout, go. A mark that
Docs split or whose quotes it curled is made whole. The shapes that make a masthead, kicker, button, list of facts or small print in
Markdown (see `markdown`) make them here too; a table of one cell is a tinted box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from shared.errors import BadTemplate
from shared.mail import markdown
from shared.mail.docs_export import PICTURE, STRAIGHT, Block, Cell, Ink, Piece, Row, read

INK = "#2b2620"  # what stands on a chosen background, also in the dark
DARK = "#221e1a"  # the card in the dark
READABLE = 3.0  # contrast of a colour, below which it is left out in the dark (WCAG 2.2, 1.4.3: large text)
SETTINGS = 20  # paragraphs at the top among which the end of the settings is looked for
_THEIRS = {"#434343", "#666666", "#1155cc", "#0000ee", "#0563c1"}  # Docs' own for headings and links
_MARK = re.compile(r"\{\{(?:(?!\{[{%]).){0,2000}?\}\}|\{%(?:(?!\{[{%]).){0,2000}?%\}", re.DOTALL)  # ends where another begins
_RULE = re.compile(r"[-–—]{1,3}")
_SETTING = re.compile(r"\w+\s*:")


def template(exported: bytes, title: str, language: str) -> bytes:
    """A template of the kind "html", in our layout, with the settings that stand at the top of the Doc. `exported`: its HTML, `title`:
    plain text, `language`: BCP 47. Pictures keep the addresses that they have in the export. Raises BadTemplate."""
    settings, blocks = _read(exported)
    return "".join([*settings, markdown.layout(_parts(blocks), title, language)]).encode()


def plain(exported: bytes) -> str:
    """The same without our layout: settings, then HTML. Raises BadTemplate."""
    settings, blocks = _read(exported)
    return "".join([*settings, _shown(blocks)])


def _read(exported: bytes) -> tuple[list[str], list[Block]]:
    blocks = read(exported)
    for block in _all(blocks):
        block.pieces = _with_marks(block.pieces)
    settings, blocks = _settings(blocks)
    _promote(blocks)
    return settings, blocks


# --- what is meant ----------------------------------------------------------------------------------------------------


def _all(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        for row in block.rows:
            for cell in row:
                yield from _all(cell.blocks)


def _with_marks(pieces: Sequence[Piece]) -> list[Piece]:
    """Each mark as one piece that looks as its beginning does, with the quotes that were typed; no space around it all."""
    text = "".join(piece.text for piece in pieces)
    found: list[Piece] = []
    place = 0
    for mark in _MARK.finditer(text):
        found += pieces[place : mark.start()]
        found.append(Piece(" ".join(mark[0].translate(STRAIGHT).split()), pieces[mark.start()].ink))
        place = mark.end()
    found += pieces[place:]
    filled = [at for at, piece in enumerate(found) if piece.text.strip()]
    return found[filled[0] : filled[-1] + 1] if filled else []


def _settings(blocks: list[Block]) -> tuple[list[str], list[Block]]:
    """The lines of the settings at the top, with those of dashes, and what follows."""
    if not blocks or not _is_rule(blocks[0]):
        return [], blocks
    lines = [
        (line.strip(), at, n)
        for at, block in enumerate(blocks[:SETTINGS])
        for n, line in enumerate(["---"] if block.tag == "hr" else block.text.split("\n"))
    ]
    end = next((n for n, (line, *_) in enumerate(lines) if n and _RULE.fullmatch(line)), 0)
    inside = [line for line, *_ in lines[1:end] if line]
    if end and all(_SETTING.match(line) for line in inside):
        _, at, n = lines[end]
        rest = blocks[at]
        ends = [place for place, piece in enumerate(rest.pieces, 1) if piece.text == "\n"]
        rest.pieces = rest.pieces[ends[n] :] if n < len(ends) else []
        return [f"{line}\n" for line in ("---", *inside, "---")], [*[rest] * bool(rest.pieces), *blocks[at + 1 :]]
    if blocks[0].tag == "p" and len(lines) > 1 and _SETTING.match(lines[1][0]):
        raise BadTemplate("The settings at the top of the Doc begin with “---” but no second “---” line ends them.")
    return [], blocks


def _is_rule(block: Block) -> bool:
    return block.tag == "hr" or (block.tag == "p" and bool(_RULE.fullmatch(block.text.partition("\n")[0].strip())))


def _promote(blocks: Sequence[Block]) -> None:
    """A Doc's title is its first heading, and the others come below it; none comes below the third."""
    headings = [block for block in _all(blocks) if re.fullmatch("h[0-6]", block.tag)]
    lower = any(block.tag == "h0" for block in headings)
    for block in headings:
        block.tag = f"h{min(3, block.level + lower)}"


def _parts(blocks: Sequence[Block]) -> str:
    """Masthead, card and small print, each where there is one."""
    brand = _all_are(blocks[:1], "bold")
    kicker = _all_are(blocks[brand : brand + 1], "italic")
    if [block.tag for block in blocks[brand + kicker :][:1]] != ["h1"]:
        brand = kicker = False
    end = next((at for at, block in enumerate(blocks) if block.tag == "p" and block.text == "***"), len(blocks))
    opening = [_inline(block.pieces, plain=True) for block in blocks[: brand + kicker]]
    card = f'<p class="kicker"><em>{opening[-1]}</em></p>\n' if kicker else ""
    card += _shown(blocks[brand + kicker : end])
    return "".join(
        [
            markdown.part("masthead", f'<p class="brand"><strong>{opening[0]}</strong></p>\n') if brand else "",
            markdown.part("inner", card),
            markdown.part("small", _shown(blocks[end + 1 :])) if blocks[end + 1 :] else "",
        ]
    )


def _all_are(blocks: Sequence[Block], *looks: str) -> bool:
    """Whether the first block is a paragraph and all its text has these looks."""
    texts = [piece.ink for block in blocks[:1] if block.tag == "p" for piece in block.pieces if piece.text.strip(f" {PICTURE}")]
    return bool(texts) and all(getattr(ink, look) for ink in texts for look in looks)


# --- how it is shown --------------------------------------------------------------------------------------------------


def _shown(blocks: Sequence[Block]) -> str:
    out: list[str] = []
    for listed, found in groupby(blocks, lambda block: block.tag == "li"):
        together = [*found]
        out += _list(together) if listed else map(_one, together)
    return "".join(out)


def _one(block: Block) -> str:
    if block.empty:
        return ""
    if block.tag == "hr":
        return "<hr>\n"
    if block.rows:
        return _table([row for row in block.rows if row])
    if controls := block.controls:
        return f"{controls}\n"
    if _all_are([block], "bold", "href") and len({piece.ink.href for piece in block.pieces if piece.text.strip()}) == 1:
        return _button(block)
    return f"<{block.tag}{_placed(block)}>{_inline(block.pieces, plain=block.tag != 'p')}</{block.tag}>\n"


def _placed(block: Block) -> str:
    style = f' style="text-align:{block.align}"' if block.align in ("center", "right") else ""
    return ' dir="rtl"' * block.rtl + style


def _button(block: Block) -> str:
    text = _inline([piece._replace(ink=Ink()) for piece in block.pieces])
    box = markdown.BUTTON.replace("<table", f'<table align="{block.align}"', 1) if block.align == "center" else markdown.BUTTON
    return f'{box}<a href="{_escaped(block.pieces[0].ink.href)}" class="button"><strong>{text}</strong></a>{markdown.BUTTON_END}'


def _list(items: Sequence[Block]) -> list[str]:
    """Items of any level as lists in lists. Tags alone, such as {% for … %}, stand between items."""
    out: list[str] = []
    lists: list[Block] = []  # the first item of each list that is open
    inside: list[bool] = []  # whether an item of it is
    for item in items:
        controls = item.controls
        while lists and (
            lists[-1].level > item.level
            or (lists[-1].level == item.level and (lists[-1].kind != item.kind or (item.kind == "ol" and item.start == 1)))
        ):
            out.append("</li>" * inside.pop() + f"</{lists.pop().kind}>\n")
        if not lists or lists[-1].level < item.level:
            start = f' start="{item.start}"' if item.kind == "ol" and item.start > 1 else ""
            out.append(f"<{item.kind}{start}>\n")
            lists.append(item)
            inside.append(False)
        elif inside[-1]:
            out.append("</li>\n")
        out.append(f"{controls}\n" if controls else f"<li{_placed(item)}>{_inline(item.pieces)}")
        inside[-1] = not controls
    while lists:
        out.append("</li>" * inside.pop() + f"</{lists.pop().kind}>\n")
    return out


def _table(rows: Sequence[Row]) -> str:
    """As in Markdown: an empty first row makes it a list of facts, one all in bold names the columns. One cell is a box."""
    if [len(row) for row in rows] == [1]:
        return f"<blockquote>{_shown(rows[0][0].blocks)}</blockquote>\n"
    facts = len(rows) > 1 and {len(row) for row in rows} == {2} and all(block.empty for cell in rows[0] for block in cell.blocks)
    head = len(rows) > 1 and all(len(_filled(cell)) == 1 and _all_are(_filled(cell), "bold") for cell in rows[0])
    out = ['<table class="facts">\n' if facts else "<table>\n"]
    if head:
        out.append("<thead>\n<tr>" + "".join(_cell(cell, "th", ' scope="col"') for cell in rows[0]) + "</tr>\n</thead>\n")
    out.append("<tbody>\n")
    for row in rows[facts or head :]:
        filled = [block for cell in row for block in _filled(cell)]
        if filled and all(block.controls for block in filled):
            out += [f"{block.controls}\n" for block in filled]
            continue
        first = _cell(row[0], "th", ' scope="row"') if facts else _cell(row[0], "td")
        out.append(f"<tr>{first}{''.join(_cell(cell, 'td') for cell in row[1:])}</tr>\n")
    return "".join([*out, "</tbody>\n</table>\n"])


def _filled(cell: Cell) -> list[Block]:
    return [block for block in cell.blocks if not block.empty]


def _cell(cell: Cell, tag: str, more: str = "") -> str:
    blocks = _filled(cell)
    alone = len(blocks) == 1 and blocks[0].tag == "p" and not _all_are(blocks, "bold", "href") and not blocks[0].controls
    shown = _inline(blocks[0].pieces, plain=tag == "th") if alone else _shown(blocks)
    style = [f"text-align:{blocks[0].align}"] if alone and blocks[0].align in ("center", "right") else []
    if cell.back:  # the colour on an element of its own, since the layout gives cells another one in the dark
        style += [f"background-color:{cell.back}", "padding-left:14px"]
        shown = f'<div style="color:{INK}">{shown}</div>'
    styled = f' style="{";".join(style)}"' if style else ""
    return f"<{tag}{more}{cell.spans}{styled}>{shown}</{tag}>"


def _inline(pieces: Sequence[Piece], *, plain: bool = False) -> str:
    """Text with its looks and links. `plain`: it is bold or italic by what it stands in."""
    out: list[str] = []
    for href, linked in groupby(pieces, lambda piece: piece.ink.href):
        shown = "".join(_run([*run], ink, plain) for ink, run in groupby(linked, lambda piece: piece.ink))
        out.append(f'<a href="{_escaped(href)}">{shown}</a>' if href and shown.strip() else shown)
    return "".join(out)


def _run(pieces: Sequence[Piece], ink: Ink, plain: bool) -> str:
    shown = "".join(piece.html or _escaped(piece.text) for piece in pieces) if any(piece.html for piece in pieces) else ""
    shown = (shown or _escaped("".join(piece.text for piece in pieces))).replace("\n", "<br>\n")
    if not shown.strip():
        return shown
    tags = ["strong"] * (ink.bold and not plain) + ["em"] * (ink.italic and not plain) + ["u"] * (ink.underline and not ink.href)
    for tag in [*tags, *["s"] * ink.strike, *[ink.script] * bool(ink.script)]:
        shown = f"<{tag}>{shown}</{tag}>"
    if ink.back:
        return f'<span style="background-color:{ink.back};color:{ink.colour or INK}">{shown}</span>'
    if ink.colour and not (ink.colour in _THEIRS and (plain or ink.href)):
        dim = ' class="ink"' if _contrast(ink.colour, DARK) < READABLE else ""
        return f'<span{dim} style="color:{ink.colour}">{shown}</span>'
    return shown


def _escaped(text: str) -> str:
    """As HTML, but for the marks in it."""
    out, place = [], 0
    for mark in _MARK.finditer(text):
        out += [escape(text[place : mark.start()]), mark[0]]
        place = mark.end()
    return "".join([*out, escape(text[place:])])


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours "#rrggbb" (WCAG 2.2)."""
    dark, light = sorted(_luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
