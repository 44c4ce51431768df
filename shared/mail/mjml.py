"""From MJML (https://documentation.mjml.io) to a whole HTML document, by mrml: https://docs.rs/mrml.

mrml leaves out what it does not know and text that stands where none can, and seldom says where it stopped. So a look at all tags goes
first, which finds that, with the line. Conditional comments are kept from mrml, which wants each to be well-formed by itself; others do
not go out. Nothing is loaded: no file, no font.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from itertools import accumulate
from typing import Final, NoReturn

import mrml

from shared.errors import BadTemplate
from shared.mail.markdown import RTL
from shared.mail.sandbox import words

MAX_TAGS: Final = 5_000  # of MJML's own
MAX_IMAGES: Final = 20  # of carousels, whose styles grow with their square
MAX_DEPTH: Final = 60
MAX_HEAD: Final = 20_000_000  # characters of <mj-head> times tags: its attributes go into each
_VOID = words("area base br col embed hr img input link meta source track wbr")
_FRAMES = words(
    "mjml mj-accordion mj-accordion-element mj-attributes mj-body mj-carousel mj-column mj-group mj-head mj-hero mj-html-attributes "
    "mj-navbar mj-section mj-social mj-wrapper"
)
_EMPTY = words("mj-all mj-breakpoint mj-carousel-image mj-class mj-divider mj-image mj-spacer")
_TEXTS = words("mj-accordion-text mj-accordion-title mj-button mj-navbar-link mj-raw mj-social-element mj-table mj-text")
_OTHERS = words("mj-preview mj-selector mj-style mj-title")
_REFUSED: Final = {
    "mj-include": 'loads a file, which mails cannot. Write {% include "partials/…" %} instead',
    "mj-font": "loads a font from elsewhere, which few mail programs do: remove it",
}
_KNOWN = _FRAMES | _EMPTY | _TEXTS | _OTHERS
_LINE = re.compile(r"\x01(\d+)\x02")
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_CONDITIONAL = re.compile(r"<!--(?:\[if\b|<!\[endif)", re.I)
_TAG = re.compile(r"""<(/?)([a-zA-Z][\w:.-]*+)((?:\s++[a-zA-Z_:][\w:.-]*+(?:\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'))?+)*+)\s*+(/?)>""")
_PLACE = re.compile(r" in root template(?: at position (\d+):\d+)?$")
_OPTIONS = mrml.ParserOptions(include_loader=mrml.noop_loader())
_RENDER = mrml.RenderOptions(fonts={})


def document(text: str, language: str, token: str, at: Callable[[int], str]) -> str:
    """A whole HTML document, "" of nothing. `text`: what has a line's number begins with it, between \\x01 and \\x02 (see `rewrite`);
    `at`: what a line is called, 0 for none. `language`: BCP 47, of an <mjml> that does not tell. `token`: letters that are not in the
    text. Raises BadTemplate."""
    lines = _Lines.of(text, at, token)
    if not lines.text.strip():
        return ""
    look = _Look(lines)
    shown = look.whole()
    if not re.match(r"\s*<mjml[^>]*\slang\s*=", shown):
        direction = "rtl" if language.partition("-")[0].lower() in RTL else "ltr"
        shown = shown.replace("<mjml", f'<mjml lang="{escape(language)}" dir="{direction}"', 1)
    try:
        html: str = mrml.to_html(shown, _OPTIONS, _RENDER).content
    except OSError as error:
        raise BadTemplate(f"{at(0)}: this MJML cannot be read ({_PLACE.sub('', str(error))}).") from None
    return re.sub(rf"{token}k(\d+)z", lambda match: look.kept[int(match[1])], html)


@dataclass(frozen=True, slots=True)
class _Lines:
    """A text without the numbers of its lines, and which it has from where on."""

    text: str
    starts: list[int]
    numbers: list[int]
    at: Callable[[int], str]
    token: str

    @classmethod
    def of(cls, text: str, at: Callable[[int], str], token: str) -> _Lines:
        pieces = _LINE.split(text)
        ends = [*accumulate(map(len, pieces[::2]))]
        return cls("".join(pieces[::2]), ends[:-1], [int(number) for number in pieces[1::2]], at, token)

    def fail(self, position: int, sentence: str) -> NoReturn:
        sentence = re.sub(rf"{self.token}[sv]\d+[a-z]", "{{ … }}", sentence)
        found = bisect_right(self.starts, position)
        raise BadTemplate(f"{self.at(self.numbers[found - 1] if found else 0)}: {sentence}.")


class _Look:
    """A look at all tags. `kept`: conditional comments, for which tokens stand."""

    def __init__(self, lines: _Lines) -> None:
        self.lines = lines
        self.kept: list[str] = []
        self._open: list[tuple[str, int]] = []  # names and positions of elements
        self._counts = Counter[str]()
        self._head = 0  # characters

    def whole(self) -> str:
        """The text for mrml; raises BadTemplate."""
        text, position, out = self.lines.text, 0, []
        while position < len(text):
            start = text.find("<", position)
            start = len(text) if start < 0 else start
            out.append(self._between(text[position:start], position))
            if comment := _COMMENT.match(text, start):
                position = comment.end()
                out.append(self._comment(comment[0]))
            elif tag := _TAG.match(text, start):
                position = tag.end()
                (self._end if tag[1] else self._start)(tag)
                out.append(tag[0])
            elif start < len(text):
                self.lines.fail(
                    start, 'this “<” begins no tag that can be read: write attributes as name="value", and a mere “<” as &lt;'
                )
            else:
                break
        if self._open:
            self._unclosed()
        if not self._counts["mjml"]:
            self.lines.fail(0, "there is no <mjml> in it")
        return "".join(out)

    @property
    def _inside(self) -> str:
        return self._open[-1][0] if self._open else ""

    def _between(self, text: str, position: int) -> str:
        if (not self._open or self._inside in _FRAMES) and (said := text.strip()):
            self.lines.fail(position + text.index(said), f"“{said[:60]}” would be lost here: put it into <mj-text>")
        return text

    def _comment(self, comment: str) -> str:
        if not _CONDITIONAL.match(comment) or not any(name in _TEXTS for name, _ in self._open):
            return ""
        self.kept.append(comment)
        return f"{self.lines.token}k{len(self.kept) - 1}z"

    def _start(self, tag: re.Match[str]) -> None:
        name, at = tag[2], tag.start()
        if name in _REFUSED:
            self.lines.fail(at, f"<{name}> {_REFUSED[name]}")
        ours = name.lower().startswith("mj")
        if ours and name not in _KNOWN:
            close = get_close_matches(name.lower(), sorted(_KNOWN), 1)
            self.lines.fail(at, f"there is no <{name[:40]}>{f'; did you mean <{close[0]}>' if close else ''}")
        if (name == "mjml") != (not self._open) or self._counts["mjml"] > (name != "mjml"):
            self.lines.fail(at, "everything stands in one <mjml> … </mjml>")
        if ours and any(inside in _TEXTS for inside, _ in self._open):
            self.lines.fail(at, f"<{name}> cannot stand in <{self._inside}>")
        if not ours and self._inside in _FRAMES:
            self.lines.fail(at, f"<{name[:40]}> would be lost in <{self._inside}>: put it into <mj-text>")
        self._counts[name] += 1
        self._counts["mj"] += ours
        if self._counts["mj"] > MAX_TAGS or self._counts["mj-carousel-image"] > MAX_IMAGES:
            self.lines.fail(at, f"there are too many <{name}>")
        if self._head * self._counts["mj"] > MAX_HEAD:
            self.lines.fail(at, "the <mj-head> is too long for so many elements")
        if not tag[4] and name not in _VOID:
            self._open.append((name, at))
        if len(self._open) > MAX_DEPTH:
            self.lines.fail(at, f"elements are nested more than {MAX_DEPTH} deep, as when closing tags are missing")

    def _end(self, tag: re.Match[str]) -> None:
        name = tag[2]
        if self._inside == name:
            _, start = self._open.pop()
            self._head += tag.start() - start if name == "mj-head" else 0
        elif any(name == one for one, _ in self._open):
            self._unclosed()
        else:
            self.lines.fail(tag.start(), f"</{name[:40]}> ends nothing")

    def _unclosed(self) -> NoReturn:
        name, at = self._open[-1]
        self.lines.fail(at, f"<{name[:40]}> has no </{name[:40]}>")
