"""How a tab is named in A1 notation, and what may be written into a cell.

Names and answers come from strangers, and a spreadsheet program that opens a CSV export runs a cell that starts like a formula,
so such text is made inert before it is stored, and cut to what a cell holds.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Cell: TypeAlias = "str | int | float | bool"

MOST = 49_000  # of the 50,000 characters after which Sheets refuses a cell, and with it the whole call
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def neutralise(cell: Cell) -> Cell:
    """Text that a spreadsheet could take for a formula gets an apostrophe in front; other text, numbers and booleans pass.

    Follows OWASP, "CSV Injection": the starting characters there include the line feed and the full-width forms. Doing it
    twice changes nothing more.
    """
    if isinstance(cell, str) and cell.startswith(_STARTS):
        return "'" + cell
    return cell


def stored(cell: Cell) -> Cell:
    """A cell as it is written and then read back: inert, and cut to MOST UTF-16 units (an emoji is two). Twice changes nothing more."""
    cell = neutralise(cell)
    if isinstance(cell, str) and len(cell) > MOST // 2:
        return cell.encode("utf-16-le", "surrogatepass")[: 2 * MOST].decode("utf-16-le", "ignore")
    return cell


def short(text: str) -> str:
    """Something a person typed, as it is named in a sentence: up to 60 characters."""
    return text if len(text) <= 60 else text[:59] + "…"


def quote(tab: str) -> str:
    """A tab's title as A1 notation wants it: in quotes where needed."""
    return tab if re.fullmatch(r"[A-Za-z_]\w*", tab) else "'" + tab.replace("'", "''") + "'"
