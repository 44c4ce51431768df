"""What a bench says: rows, one table, one file. A ratio is always ours / theirs, taken within a round, where both had the same noise."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True, slots=True)
class Goal:
    """What the ratio, or our figure where nothing is compared, has to reach."""

    sense: Literal["≥", "≤"]
    limit: float

    def met(self, figure: float) -> bool:
        return figure >= self.limit if self.sense == "≥" else figure <= self.limit

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `low` and `high`: the range over the rounds of the ratio, or of our figure where nothing is compared; None, as `theirs`
    and `ratio`, for what is counted exactly."""

    name: str
    unit: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return self.goal.met(self.ours if self.ratio is None else self.ratio) if self.goal else None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "goal": str(self.goal) if self.goal else None, "met": self.met}


def compared(
    name: str, unit: str, ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None, detail: str = ""
) -> Row:
    """A row from one figure of each side per round; the middle round counts."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Row(name, unit, median(ours), median(theirs), median(ratios), min(ratios), max(ratios), goal, detail)


def measured(name: str, unit: str, ours: Sequence[float], goal: Goal | None = None, detail: str = "") -> Row:
    """A row of our own figures, one per round, with a goal of its own; the middle round counts."""
    return Row(name, unit, median(ours), low=min(ours), high=max(ours), goal=goal, detail=detail)


def never(name: str, unit: str, ours: Sequence[float], floor: float, detail: str = "") -> Row:
    """A row of a figure that must not fall below `floor` in any round: the worst one counts."""
    ratios = [figure / floor for figure in ours]
    return Row(name, unit, min(ours), floor, min(ratios), min(ratios), max(ratios), Goal("≥", 1), detail)


def counted(name: str, unit: str, ours: float, goal: Goal | None = None, detail: str = "") -> Row:
    """A row of something that does not vary."""
    return Row(name, unit, ours, goal=goal, detail=detail)


def left_out(sentence: str, console: Console) -> None:
    """Say why rows are missing; under STRICT=1 that is an AssertionError."""
    if os.environ.get("STRICT") == "1":
        raise AssertionError(sentence)
    console.print(f"[yellow]{sentence}[/]")


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table and, in plain words, what is not met."""
    table = Table(title="ratio = ours / theirs, the middle of 3 rounds (their range)", title_justify="left")
    for heading in ("what", "unit", "ours", "theirs", "ratio", "range", "goal", "met", "detail"):
        table.add_column(heading, justify="left" if heading in ("what", "unit", "detail") else "right", overflow="fold")
    for row in rows:
        spread = "" if row.low is None or row.high is None else f"{_figure(row.low)} – {_figure(row.high)}"
        met = {None: "", True: "[green]yes[/]", False: "[bold red]NOT MET[/]"}[row.met]
        figures = (_figure(row.ours), _figure(row.theirs), _figure(row.ratio), spread)
        table.add_row(row.name, row.unit, *figures, str(row.goal or ""), met, row.detail)
    console.print(table)
    for row in rows:
        if row.met is False:
            console.print(
                f"[bold red]Not met:[/] {row.name}: {_figure(row.ours if row.ratio is None else row.ratio)}, goal {row.goal}"
            )


def save(rows: Sequence[Row], part: str = "bench", file: Path = RESULTS) -> None:
    """Write the rows of one part, and on what and when they were measured; those of other parts stay."""
    machine: Mapping[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    known = json.loads(file.read_text()) if file.exists() else {}
    others = [row for row in known.get("rows", ()) if row.get("part") not in (None, part)]
    found = {
        "dates": {**known.get("dates", {}), part: datetime.now(UTC).isoformat(timespec="seconds")},
        "machine": machine,
        "rows": [*([{**row.to_json(), "part": part} for row in rows]), *others],
    }
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _figure(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) >= 10 else 3}g}" if abs(value) < 10 else f"{value:.1f}"
