"""What a fresh workbook takes over from the old one (docs/privacy.md): what people wrote that is still needed, and nothing that is history.

Segments, and the rows of Campaigns that have not ended, come as they are shown. Settings and Topics come from the tenant by themselves, at
the next tick of sync_sheet. Import stays behind: addresses are what the old history holds. The free ids of Campaigns go on behind the last
one ever used, because a campaign's document is known by its id for good. The time zone comes along, since schedules are meant in it.

A row comes to the letter, Test to included: launch acts anew on a row that is not what it last saw, and so one blanked cell would resume
a paused campaign whose row still says Go.

All that is taken over is written in one call, into tabs that are still empty: after a failure it is there or not, and can be repeated.
What stands there from an earlier run may be out of date, so the two Sheets are compared at the very end, before the new one is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from functions.launch import rows as launched
from functions.sync_sheet.spotted import spots
from functions.sync_sheet.workbook import FORMS, HEADERS
from shared.adapters.sheets import Sheets
from shared.errors import BadInput, NotFound
from shared.model import console
from shared.model.campaign import ENDED
from shared.model.cells import quote
from shared.model.paths import Paths
from shared.paging import every
from shared.ports import Rows, Store

from .workspace import Workspace

_NUMBERED: Final = re.compile(r"C-([0-9]{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Carried:
    """Tab -> what is to stand in it from A1, the ids of rows that hold an address, and how many rows of Campaigns have no id."""

    tabs: Mapping[str, Rows]
    suspects: Sequence[str]
    nameless: int = 0


async def carry(
    space: Workspace, store: Store, paths: Paths, old: str, new: str, zone: str, say: Callable[[str], object]
) -> None:
    """From the Sheet `old` to the empty tabs of `new`, both ids; `zone`: of the new one, "" for that of the old one. Again is harmless.

    Raises BadInput when the old one cannot be read or not be taken over, and as `Service.call` does.
    """
    found, before = await _needed(space, store, paths, old)
    target = space.book(new)
    await space.set_zone(new, zone or before)
    await target.add_tabs(list(found.tabs), {tab: len(HEADERS[tab]) for tab in found.tabs})
    empty = [tab for tab, rows in (await _shown(target, found.tabs)).items() if not any(map(any, rows))]
    await target.copy({f"{quote(tab)}!A1": found.tabs[tab] for tab in empty})
    for tab in empty:
        say(f"Sheet: {tab} taken over from the old Sheet")
    if found.nameless:
        rows = "1 row has no ID and stays" if found.nameless == 1 else f"{found.nameless} rows have no ID and stay"
        say(f"Sheet: {console.CAMPAIGNS}: {rows} behind")
    for id in found.suspects:
        say(f"Sheet: {console.CAMPAIGNS}, {id}: an address stands in the row; see that it is no reader's")


async def differing(space: Workspace, store: Store, paths: Paths, old: str, new: str) -> list[str]:
    """What to do about tabs of `new` that do not say what would be taken over now. Raises as `carry`."""
    found, _ = await _needed(space, store, paths, old)
    shown = await _shown(space.book(new), found.tabs)
    return [
        f"the tab {tab} of the new Sheet is not what the old one has now: clear the tab, all of its cells."
        for tab, rows in found.tabs.items()
        if _typed(shown[tab], tab) != _typed(rows, tab)
    ]


async def _needed(space: Workspace, store: Store, paths: Paths, old: str) -> tuple[Carried, str]:
    """What of the old Sheet is taken over, and its time zone."""
    source = space.book(old)
    try:
        before = await source.workbook()
        cells = await _shown(source, [tab for tab in (console.CAMPAIGNS, console.SEGMENTS) if tab in before.tabs])
    except NotFound:
        raise BadInput(
            f"The old Sheet {old} is not there, or not shared with {await space.identity()}: it is still needed."
        ) from None
    states = {one.id: one.data.get("state") async for one in every(store, paths.campaigns, fields=["state"])}
    return carried(cells, states), before.zone


async def _shown(book: Sheets, tabs: Iterable[str]) -> dict[str, list[list[str]]]:
    names = list(tabs)
    return dict(zip(names, await book.read([f"{quote(tab)}!A1:Z" for tab in names]), strict=True))


def _typed(rows: Rows, tab: str) -> list[dict[str, str]] | None:
    """What people typed into a tab, down to the last row that says anything; None for a header that cannot be trusted."""
    form = FORMS[tab]
    try:
        found = console.table([[str(cell) for cell in row] for row in rows], tab, form.fields, form.options)
    except BadInput:
        return None
    while found and not any(found[-1].values()):
        found.pop()
    return found


def carried(cells: Mapping[str, Sequence[Sequence[str]]], states: Mapping[str, str | None]) -> Carried:
    """`cells`: of the old tabs; `states`: of the campaigns by id. Raises BadInput for a header that cannot be trusted, and for a row that
    would not be the same to launch."""
    tabs: dict[str, Rows] = {}
    table: list[dict[str, str]] = []
    old = cells.get(console.CAMPAIGNS)
    if old is not None:
        table = console.table(old, console.CAMPAIGNS, console.ROW_FIELDS, console.ROW_OPTIONS)
    filled = [row for row in table if any(text for name, text in row.items() if name != "ID")]
    rows = [row for row in filled if row["ID"]]
    kept = [row for row in rows if states.get(row["ID"]) not in ENDED]
    suspects = [row["ID"] for row in kept if any(list(spots(text, lambda address: False)) for text in row.values())]
    form = FORMS[console.CAMPAIGNS]
    used = [int(match[1]) for id in (*states, *(row["ID"] for row in rows)) if (match := _NUMBERED.fullmatch(id))]
    first = max(used, default=0) + 1
    free = [[f"{form.prefix}-{number:04d}"] for number in range(first, first + form.rows)]
    new = [list(form.typed), *([row[name] for name in form.typed] for row in kept)]
    _see_that_launch_sees_no_change(old or [], new)
    tabs[console.CAMPAIGNS] = [*new, *free]
    if console.SEGMENTS in cells:
        fields = console.SEGMENT_FIELDS
        rules = console.table(cells[console.SEGMENTS], console.SEGMENTS, fields)
        tabs[console.SEGMENTS] = [list(fields), *([row[name] for name in fields] for row in rules if any(row.values()))]
    return Carried(tabs, suspects, len(filled) - len(rows))


def _see_that_launch_sees_no_change(old: Sequence[Sequence[str]], new: Sequence[Sequence[str]]) -> None:
    """A row may be another one to launch when its neighbours stay behind: then a Go that it refused would be taken. Raises BadInput."""
    before = {row.id: row.hash for row in launched.read(old)} if old else {}
    for row in launched.read(new):
        if before.get(row.id) != row.hash:
            raise BadInput(
                f"{console.CAMPAIGNS}: {row.id} stands in more than one row of the old Sheet. Give each row an ID of its own, "
                "wait until the row says what it makes of that, and run this again."
            )
