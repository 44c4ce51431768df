"""The text part, derived from the finished HTML: what a reader without HTML, a screen reader or a spam filter gets.

Written here because general converters either drop links or draw layout tables as ASCII art. Headings keep their rank as `#`,
lists their bullets and numbers, links their address as `text <address>`; a data table's row is one line, a layout table's cells
are paragraphs; what is hidden stays hidden.
"""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

from shared.mail.html import VOID
from shared.mail.sandbox import words

_SPACE = re.compile(r"[ \t\n\r\f]+")
_BLOCKS = words(
    "address article aside blockquote body center dd div dl dt fieldset figcaption figure footer h1 h2 h3 h4 h5 h6 header hr html "
    "li main nav ol p pre section table tbody td tfoot th thead tr ul caption"
)
_SPACED = words("blockquote dl figure h1 h2 h3 h4 h5 h6 hr ol p pre table ul")
_SKIPPED = words("head script style template title svg")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all", re.I)
_INVISIBLE = re.compile("[\u00ad\u034f\u200b\u2060\ufeff]")
_PREFIX = {f"h{n}": "#" * n + " " for n in range(1, 7)} | {"blockquote": "> "}


def to_text(html: str, links: bool = True) -> str:
    """Readable plain text with "\\n" line ends; "" for a document that shows nothing. Lines are not wrapped. `links`: with their
    addresses."""
    converter = _Converter(links)
    converter.feed(html)
    converter.close()
    while len(converter.blocks) > 1:
        converter.leave(converter.blocks[-1].tag)
    text = re.sub("(?<! ) +\n", "\n", converter.blocks[0].text())
    return text + "\n" if text else ""


class _Block:
    """An open block: finished paragraphs, then the line being written."""

    def __init__(self, tag: str, prefix: str = "", attrs: dict[str, str | None] | None = None) -> None:
        self.tag = tag
        self.prefix = prefix
        self.layout = (attrs or {}).get("role") in ("presentation", "none")
        self.done: list[str] = []
        self.line = ""
        self.items = 0
        self.cells: list[str] = []

    def write(self, text: str) -> None:
        if self.line.endswith((" ", "\n")) or not self.line:
            text = text.lstrip(" ")
        self.line += text

    def end_line(self) -> None:
        if self.line.strip():
            self.done.append(self.line.strip())
        self.line = ""

    def add(self, text: str, spaced: bool) -> None:
        self.end_line()
        if not text:
            return
        if spaced and self.done and self.done[-1]:
            self.done.append("")
        self.done.append(text)
        if spaced:
            self.done.append("")

    def text(self) -> str:
        self.end_line()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self.done)).strip("\n")


class _Converter(HTMLParser):
    def __init__(self, addresses: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.addresses = addresses
        self.blocks = [_Block("")]
        self.hidden: list[str] = []  # open elements inside, and with, the hidden one
        self.links: list[tuple[str, _Block, int]] = []

    @property
    def block(self) -> _Block:
        return self.blocks[-1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        hide = tag in _SKIPPED or "hidden" in given or _HIDDEN.search(given.get("style") or "")
        if self.hidden or hide:
            if tag not in VOID:
                self.hidden.append(tag)
        elif tag == "br":
            self.block.line = self.block.line.rstrip(" ") + "\n"
        elif tag == "hr":
            self.block.add("----------", spaced=True)
        elif tag == "img":
            self.block.write(_SPACE.sub(" ", given.get("alt") or ""))
        elif tag == "a":
            self.links.append((given.get("href") or "", self.block, len(self.block.line)))
        elif tag in _BLOCKS:
            self.blocks.append(_Block(tag, self._prefix(tag), given))

    handle_startendtag = handle_starttag

    def _prefix(self, tag: str) -> str:
        if tag != "li":
            return _PREFIX.get(tag, "")
        self.block.items += 1
        return f"{self.block.items}. " if self.block.tag == "ol" else "- "

    def handle_endtag(self, tag: str) -> None:
        if self.hidden:
            if tag in self.hidden:
                while self.hidden.pop() != tag:
                    pass
        elif tag == "a" and self.links:
            self._link(*self.links.pop())
        elif tag in _BLOCKS and any(block.tag == tag for block in self.blocks):
            while self.block.tag != tag:
                self.leave(self.block.tag)
            self.leave(tag)

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        data = _INVISIBLE.sub("", data).replace("\xa0", " ")
        if any(block.tag == "pre" for block in self.blocks):
            self.block.line += data
        else:
            self.block.write(_SPACE.sub(" ", data))

    def _link(self, href: str, block: _Block, start: int) -> None:
        shown = block.line[start:].strip() if block is self.block else ""
        address = unescape(href).removeprefix("mailto:").removeprefix("tel:")
        if self.addresses and href and not href.startswith("#") and shown != address:
            self.block.write(f"{' ' if self.block.line and not self.block.line.endswith((' ', chr(10))) else ''}<{address}>")

    def leave(self, tag: str) -> None:
        """Close the innermost block and hand its text to the one around it."""
        block = self.blocks.pop()
        parent = self.block
        if tag in ("td", "th") and parent.tag == "tr":
            parent.cells.append(block.text())
            return
        if tag == "tr":
            layout = next((b.layout for b in reversed(self.blocks) if b.tag == "table"), True)
            cells = [cell for cell in block.cells if cell]
            flat = not layout and not any("\n" in cell for cell in cells)
            block.add(" | ".join(cells) if flat else "\n\n".join(cells), spaced=False)
        text = block.line.strip("\n") if tag == "pre" else block.text()
        if text and block.prefix:
            rest = block.prefix if tag == "blockquote" else " " * len(block.prefix) if tag == "li" else ""
            text = block.prefix + text.replace("\n", "\n" + rest)
        nested = tag in ("ul", "ol") and parent.tag == "li"
        parent.add(text, spaced=tag in _SPACED and not nested)
