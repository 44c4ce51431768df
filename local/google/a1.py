"""A1 notation: Tab!A1:B2, 'Quoted tab'!A2:F, A:A, 2:5, a whole tab."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.model.cells import quote

_REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})?\$?([1-9]\d{0,6})?(?::\$?([A-Za-z]{1,3})?\$?([1-9]\d{0,6})?)?")


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of a tab; rows and columns count from 1, ends are inclusive, None is open."""

    tab: str
    top: int = 1
    left: int = 1
    bottom: int | None = None
    right: int | None = None

    def holds(self, row: int, column: int) -> bool:
        return (
            self.top <= row <= (self.bottom if self.bottom is not None else row)
            and self.left <= column <= (self.right if self.right is not None else column)
        )  # fmt: skip


def parse(text: str, tabs: Sequence[str]) -> Area:
    """The area that `text` names in a workbook with these tabs (the first is the default). Raises ValueError."""
    if unquote(text) in tabs:
        return Area(unquote(text))
    name, mark, reference = text.rpartition("!")
    tab = unquote(name) if mark else tabs[0]
    if tab not in tabs:
        raise ValueError(f"Unable to parse range: {text}")
    return rectangle(tab, reference)


def rectangle(tab: str, reference: str) -> Area:
    """The area of a reference without a tab ("$A2:F"). Raises ValueError."""
    found = _REFERENCE.fullmatch(reference)
    if not found or not reference:
        raise ValueError(f"Unable to parse range: {reference}")
    left, top, right, bottom = found.groups()
    if ":" not in reference:
        if not (left and top):
            raise ValueError(f"Unable to parse range: {reference}")
        right, bottom = left, top
    elif not (right or bottom):
        raise ValueError(f"Unable to parse range: {reference}")
    return Area(
        tab,
        int(top or 1),
        number(left) if left else 1,
        int(bottom) if bottom else None,
        number(right) if right else None,
    )


def unquote(tab: str) -> str:
    return tab[1:-1].replace("''", "'") if len(tab) > 1 and tab[0] == tab[-1] == "'" else tab


def number(letters: str) -> int:
    """A is 1, Z 26, AA 27."""
    total = 0
    for letter in letters.upper():
        total = total * 26 + ord(letter) - ord("A") + 1
    return total


def letters(column: int) -> str:
    """The inverse of `number`."""
    text = ""
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def name(area: Area) -> str:
    """A closed or open area in A1 notation with its tab."""
    end = f"{letters(area.right) if area.right else ''}{area.bottom or ''}"
    start = f"{letters(area.left)}{area.top}"
    return f"{quote(area.tab)}!{start}" + (f":{end}" if end and end != start else "")
