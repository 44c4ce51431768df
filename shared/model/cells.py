"""How a tab is named in A1 notation, and what may be written into a cell.

Names and answers come from strangers, and a spreadsheet program that opens a CSV export runs a cell that starts like a formula,
so such text is made inert before it is stored, and cut to what a cell holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeAlias

Cell: TypeAlias = "str | int | float | bool"

MOST = 49_000  # of the 50,000 characters after which Sheets refuses a cell, and with it the whole call
_LEADS = "=+-@＝＋－＠﹦﹢﹣﹫−"  # what a formula begins with, and the forms that are read like it
_UNSEEN = (  # what an import may drop in front of one: white space, quotes, and what Unicode calls default-ignorable
    r"\s\"\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_BREAKS = re.compile(r"[;\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # where a reader that takes no commas begins another cell
_RUN = re.compile(rf"\A[;{_UNSEEN}]*|[;{_UNSEEN}]+")
_SUSPECT = re.compile(rf"(?:\A|[;{_UNSEEN}])[{re.escape(_LEADS)}]")
_STARTS = ("\t", "\r", "\n")


def neutralise(cell: Cell) -> Cell:
    """Text that a spreadsheet could take for a formula gets an apostrophe in front of it; other text, numbers and booleans pass.

    Follows OWASP, "CSV Injection": the starting characters there include the full-width forms, tab and line ends, and a formula may
    stand where another cell begins for a reader of another separator. Spaces and characters that nobody sees hide nothing. Doing it
    twice changes nothing more.
    """
    if not isinstance(cell, str):
        return cell
    if _SUSPECT.search(cell):
        cell = _RUN.sub(_inert, cell)
    return "'" + cell if cell.startswith(_STARTS) else cell


def _inert(run: re.Match[str]) -> str:
    """A run of what is not seen, with an apostrophe after it where a cell and a formula would begin."""
    text, after = run[0], run.string[run.end() : run.end() + 1]
    begins = run.start() == 0 or _BREAKS.search(text)
    return f"{text}'" if after and after in _LEADS and begins else text


def stored(cell: Cell) -> Cell:
    """A cell as it is written and then read back: inert, and cut to MOST UTF-16 units (an emoji is two). Twice changes nothing more."""
    cell = neutralise(cell)
    if isinstance(cell, str) and len(cell) > MOST // 2:
        return cell.encode("utf-16-le", "surrogatepass")[: 2 * MOST].decode("utf-16-le", "ignore")
    return cell


def short(text: str, most: int = 60) -> str:
    """Something a person typed, as it is named in a sentence: up to `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def listed(words: Sequence[str], last: str) -> str:
    """Words of a sentence, one or more: "a, b and c", with `last` before the last one."""
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """Rows, or columns, in order, neighbours together."""
    found = groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    return [[number for _, number in run] for _, run in found]


def quote(tab: str) -> str:
    """A tab's title as A1 notation wants it: in quotes where needed."""
    return tab if re.fullmatch(r"[A-Za-z_]\w*", tab) else "'" + tab.replace("'", "''") + "'"
