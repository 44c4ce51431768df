"""How a tab is named in A1 notation, and what may be written into a cell.

Names and answers come from strangers, and a spreadsheet program that opens a CSV export runs a cell that starts like a formula,
so such text is made inert before it is stored.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Cell: TypeAlias = "str | int | float | bool"

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def neutralise(cell: Cell) -> Cell:
    """Text that a spreadsheet could take for a formula gets an apostrophe in front; other text, numbers and booleans pass.

    Follows OWASP, "CSV Injection": the starting characters there include the line feed and the full-width forms. Doing it
    twice changes nothing more.
    """
    if isinstance(cell, str) and cell.startswith(_STARTS):
        return "'" + cell
    return cell


def quote(tab: str) -> str:
    """A tab's title as A1 notation wants it: in quotes where needed."""
    return tab if re.fullmatch(r"[A-Za-z_]\w*", tab) else "'" + tab.replace("'", "''") + "'"
