"""All trials of a run together: .twin/chaos.json, the table, and whether every promise was kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .books import Figures
from .points import POINTS
from .trial import Trial, run

Results = Sequence[tuple[Trial, Figures]]


async def run_all(trials: Sequence[Trial], folder: Path, at_once: int, tell: Callable[[str], object] = print) -> Results:
    """Every trial, so many side by side; `tell` gets a line when one has ended."""
    free = asyncio.Semaphore(at_once)

    async def one(number: int, trial: Trial) -> tuple[Trial, Figures]:
        async with free:
            found = await run(trial, folder / str(number))
        tell(f"{trial.name}: {found.kills} kills, {found.recipients:,} recipients, {found.lost} lost, {found.repeated} repeated")
        return trial, found

    return await asyncio.gather(*(one(*pair) for pair in enumerate(trials)))


def by(results: Results, key: Callable[[Trial], str]) -> dict[str, Figures]:
    """Sums of the trials that share a key."""
    sums: dict[str, Figures] = {}
    for trial, found in results:
        sums.setdefault(key(trial), Figures()).add(found)
    return sums


def ours(results: Results) -> Results:
    return [pair for pair in results if pair[0].role == "ours"]


def controls(results: Results) -> dict[str, Figures]:
    return by([pair for pair in results if pair[0].role != "ours"], lambda trial: trial.role)


def as_json(results: Results) -> dict[str, Any]:
    """The content of .twin/chaos.json."""
    mine = ours(results)
    points = by(mine, lambda trial: trial.point)
    return {
        **_whole(_sum(found for _, found in mine)),
        "points": {name: _some(found, ("kills", "unknown", "lost", "repeated")) for name, found in points.items()},
        "stores": {name: _whole(found) for name, found in by(mine, lambda trial: trial.store).items()},
        "controls": {
            name: _some(found, ("kills", "recipients", "lost", "repeated")) for name, found in controls(results).items()
        },
    }


def broken(results: Results) -> list[str]:
    """One sentence for each promise that was not kept, and for each control that kept them, since then nothing was shown."""
    found: list[str] = []
    for trial, figures in results:
        found += [f"{trial.name}: {sentence}" for sentence in figures.wrong]
        if figures.kills < trial.kills:
            found.append(f"{trial.name}: {figures.kills} kills of {trial.kills}")
        if trial.role == "ours" and (figures.lost or figures.repeated):
            found.append(f"{trial.name}: {figures.lost} lost, {figures.repeated} repeated")
        if trial.role == "ours" and figures.worst > trial.window:
            found.append(f"{trial.name}: {figures.worst} unknown through one kill, more than the window of {trial.window}")
    for name, figures in controls(results).items():
        if not figures.lost + figures.repeated:
            found.append(f"The control “{name}” neither lost nor repeated a mail: the run proves nothing.")
    return found


def show(results: Results, console: Console) -> None:
    """The tables."""
    table = Table("worker killed when", "kills", "unknown", "worst", "lost", "repeated", title="Kills by point")
    for name, found in by(ours(results), lambda trial: trial.point).items():
        table.add_row(
            f"[bold]{name}[/]: {POINTS[name]}", *_cells(found.kills, found.unknown, found.worst, found.lost, found.repeated)
        )
    _right(table)
    console.print(table)
    table = Table("sender, store", "kills", "recipients", "unknown", "lost", "repeated", title="The same kills, other senders")
    for name, found in by(results, lambda trial: f"{trial.role}, {trial.store}").items():
        unknown = found.unknown if name.startswith("ours") else "–"
        table.add_row(name, *_cells(found.kills, found.recipients, unknown, found.lost, found.repeated))
    _right(table)
    console.print(table)


def _right(table: Table) -> None:
    for column in table.columns[1:]:
        column.justify = "right"


def _cells(*values: int | str) -> list[str]:
    return [f"{value:,}" if isinstance(value, int) else value for value in values]


def _sum(figures: Iterable[Figures]) -> Figures:
    total = Figures()
    for one in figures:
        total.add(one)
    return total


def _whole(found: Figures) -> dict[str, int]:
    return {
        **_some(found, ("kills", "recipients", "lost", "repeated", "unknown")),
        "worst_unknown_per_kill": found.worst,
    }


def _some(found: Figures, names: Iterable[str]) -> dict[str, int]:
    return {name: getattr(found, name) for name in names}
