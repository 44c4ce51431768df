"""How a tab of the workbook looks, whichever program shows it."""

from __future__ import annotations

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
    charts: tuple[Chart, ...] = ()
