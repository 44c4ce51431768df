"""The Reports tab: one long table of what campaigns' reports say, a row for each value of each breakdown, for pivots and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from shared.model.cells import quote
from shared.model.console import REPORTS
from shared.model.paths import Paths
from shared.model.report import REVENUE
from shared.ports import Document, Filter, Sheet, Store

from .tabs import DAY, Cell

SHOWN: Final = 90 * DAY  # campaigns launched since then
MOST: Final = 5_000  # rows
CAMPAIGNS: Final = 100  # whose reports are read, the latest made
_METRICS: Final = ("sent", "opened", "opened_machine", "clicked", "bounced", "complained", "unsubscribed", "conversions")
_FIELDS: Final = ["rows", "newest", "began", "name", "links"]


@dataclass
class Reports:
    """`_shown`: `newest` of the last report that this process has shown, 0 for none; `_newest`: of the one it is about to show.
    `_held`: the reports that fill the tab; only those made since are read."""

    _shown: int = 0
    _newest: int = 0
    _held: dict[str, Document] = field(default_factory=dict)

    async def changed(
        self, store: Store, paths: Paths, sheet: Sheet, now: int, again: bool
    ) -> tuple[list[list[Cell]], list[list[str]]] | None:
        """(rows, the tab as it stands) when there is a report that was not shown yet, or all are to be shown `again`; else None, which
        costs one read."""
        latest = await store.page(paths.reports, Filter(at_most=("newest", 0)), limit=1, fields=["newest"])
        self._newest = latest[0].data["newest"] if latest else 0
        if not latest or (self._newest == self._shown and not again):
            return None
        since = min(self._shown, -(now - SHOWN)) if self._held else -(now - SHOWN)
        made = await store.page(paths.reports, Filter(at_most=("newest", since)), limit=CAMPAIGNS, fields=_FIELDS)
        self._held = {one.id: one for one in fitting([*(self._held | {one.id: one for one in made}).values()], now)}
        [shown] = await sheet.read([f"{quote(REPORTS)}!A1:Z"])
        return table(list(self._held.values()), now), shown

    def written(self) -> None:
        """What was changed stands in the tab."""
        self._shown = self._newest


def fitting(reports: Sequence[Document], now: int) -> list[Document]:
    """The newest campaign first, those launched since SHOWN, as many as fill the tab; one more says that there are more."""
    recent = sorted((one for one in reports if one.data["began"] > now - SHOWN), key=lambda one: (-one.data["began"], one.id))
    before = accumulate((len(one.data["rows"]) for one in recent), initial=0)
    return [one for one, rows in zip(recent, before, strict=False) if rows <= MOST]


def table(reports: Sequence[Document], now: int) -> list[list[Cell]]:
    """The newest campaign's rows first, in the order of REPORT_FIELDS."""
    rows: list[list[Cell]] = []
    for found in fitting(reports, now):
        for row in found.data["rows"]:
            rows += _lines(found, row)
    return rows if len(rows) <= MOST else [*rows[:MOST], [f"… the first {MOST:,} rows are shown, of the newest campaigns"]]


def _lines(found: Document, row: dict[str, Any]) -> list[list[Cell]]:
    """One line, and one more for each further currency."""
    head: list[Cell] = [found.id, found.data["name"], row["by"], named(row["by"], row["value"], found.data["links"])]
    numbers: list[Cell] = [row.get(name, 0) for name in _METRICS]
    money = sorted(((value, name.removeprefix(REVENUE)) for name, value in row.items() if name.startswith(REVENUE)), reverse=True)
    first, *others = money or [(0, "")]
    blank: list[Cell] = [0] * len(_METRICS)
    return [[*head, *numbers, *_money(first)], *([*head, *blank, *_money(each)] for each in others)]


def named(by: str, value: str, links: dict[str, str]) -> str:
    """A value as people read it."""
    if by == "link" and value in links:
        return f"{value} {links[value]}"
    return value or {"total": "all", "provider": "not told"}.get(by, "")


def _money(pair: tuple[int, str]) -> list[Cell]:
    """In units of the currency, as a number."""
    whole, rest = divmod(pair[0], 1_000_000)
    return [round(whole + rest / 1_000_000, 2) if rest else whole, pair[1]]
