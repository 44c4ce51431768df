"""How a tab of the workbook looks, whichever program shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["good", "busy", "waiting", "bad"]


@dataclass(frozen=True, slots=True)
class Column:
    """How a column of a tab looks, whose header stands in row 1. What is empty or 0 is left as it is."""

    at: int  # from 1
    note: str = ""  # on the header
    width: int = 0  # pixels
    choices: tuple[str, ...] = ()  # a dropdown
    pattern: str = ""  # of numbers or, with a "y", of dates: "yyyy-mm-dd hh:mm"
    # A cell that begins with this text, or with “…” before it holds it, whatever its case; the first that fits
    colours: tuple[tuple[str, Tone], ...] = ()
    guarded: bool = False  # who edits it is warned
    wrap: bool = False  # long text goes on below, in the header, too


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of columns of a tab, rows `top` (from 1; the header of a column chart) to `bottom` (0 is the last), and where it floats."""

    title: str
    kind: Literal["COLUMN", "PIE"]
    source: str  # the tab
    labels: int  # column, from 1
    series: tuple[int, ...]
    top: int
    bottom: int
    row: int  # of the cell at its upper left corner, from 1
    column: int


@dataclass(frozen=True, slots=True)
class Look:
    """How a tab looks. `guard` is what is said to who edits a guarded column, or any cell where no column is guarded."""

    columns: tuple[Column, ...] = ()
    frozen: tuple[int, int] = (0, 0)  # rows, columns
    guard: str = ""
    banded: bool = False  # every other row is shaded
    hidden: bool = False
    first: bool = False  # the leftmost tab
    lines: tuple[str, ...] = ()  # what a tab that is made says, down column A
    # Those of them that an earlier look did not have: a tab that is there gets them in rows of their own.
    fresh: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()

    def added(self, said: Sequence[str]) -> list[tuple[int, str]]:
        """Where to insert a row for each line that a tab lacks, in this order: its number from 0, counting those inserted before it.
        `said`: column A. A line goes below the one before it, or above the one after it; where none of `lines` is left, people have
        made the tab their own, and it gets nothing."""
        rows, found = [*said], list[tuple[int, str]]()
        for line in self.fresh:
            if line in rows:
                continue
            at = self.lines.index(line)
            above = next((rows.index(other) + 1 for other in reversed(self.lines[:at]) if other in rows), None)
            below = next((rows.index(other) for other in self.lines[at + 1 :] if other in rows), None)
            place = above if above is not None else below
            if place is not None:
                rows.insert(place, line)
                found.append((place, line))
        return found
