"""Marks: stand-ins for recipients' values while a template goes through Markdown, CSS inlining and link rewriting.

A mark is lower-case ASCII letters and digits only, so no stage alters or splits it: a random token that does not occur in the
template and that no recipient can know, `s` (a slot, filled per recipient) or `v` (a value fixed in this variant), a number, and
one letter for how it is encoded there:

    h  HTML text or attribute       t  plain text
    l  a whole URL, in HTML         f  a whole URL, in plain text
    u  a part of a URL              c  inside a style attribute

None is left in a finished mail, so every compilation gives the same bytes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import TypeAlias

TO_TEXT = {"h": "t", "l": "f"}
Use: TypeAlias = tuple[int, str]  # a slot, and how its value is encoded there


class Marks:
    """The marks of one template. `text` is everything the template's author wrote."""

    def __init__(self, text: str) -> None:
        while (token := "zq" + "".join(secrets.choice("ghjkmnpqrtwxyz") for _ in range(20))) in text:
            pass
        self.token = token
        self.pattern = re.compile(rf"{self.token}([sv])(\d+)([hltufc])")

    @property
    def content(self) -> tuple[str, str]:
        """What stands before and after the text that a layout goes around."""
        return f"{self.token}begin", f"{self.token}end"

    def slot(self, index: int, context: str = "h") -> str:
        return f"{self.token}s{index}{context}"

    def value(self, index: int, context: str = "h") -> str:
        return f"{self.token}v{index}{context}"

    def recode(self, text: str, change: Callable[[re.Match[str]], str]) -> str:
        """`text` with the context letter of each mark replaced by what `change` says."""
        return self.pattern.sub(lambda m: m[0][:-1] + change(m), text)

    def to_text(self, text: str) -> str:
        """Marks of HTML turned into those of plain text."""
        return self.recode(text, lambda m: TO_TEXT.get(m[3], m[3]))

    def slots(self, text: str) -> set[int]:
        return {int(m[2]) for m in self.pattern.finditer(text) if m[1] == "s"}

    def cut(self, text: str) -> list[str | Use]:
        """`text` taken apart at its slots' marks; no piece is empty."""
        pieces: list[str | Use] = []
        position = 0
        for match in self.pattern.finditer(text):
            if position < match.start():
                pieces.append(text[position : match.start()])
            pieces.append((int(match[2]), match[3]))
            position = match.end()
        return [*pieces, text[position:]] if position < len(text) else pieces
