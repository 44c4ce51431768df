"""Marks: stand-ins for recipients' values while a template goes through Markdown, CSS inlining and link rewriting.

A mark is lower-case ASCII letters and digits only, so no stage alters or splits it: a token that does not occur in the template,
`s` (a slot, filled per recipient) or `v` (a value fixed in this variant), a number, and one letter for how it is encoded there:

    h  HTML text or attribute       t  plain text
    l  a whole URL, in HTML         f  a whole URL, in plain text
    u  a part of a URL              c  inside a style attribute
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

TO_TEXT = {"h": "t", "l": "f"}


class Marks:
    """The marks of one template. `text` is everything the template's author wrote."""

    def __init__(self, text: str) -> None:
        salt = 0
        while True:
            digest = hashlib.sha256(f"{salt}\0{text}".encode()).hexdigest()[:16]
            self.token = "zq" + digest.translate(str.maketrans("0123456789abcdef", "ghijkmnopqrtwxyz"))
            if self.token not in text:
                break
            salt += 1
        self.pattern = re.compile(rf"{self.token}([sv])(\d+)([hltufc])")

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
