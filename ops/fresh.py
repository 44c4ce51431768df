"""What a fresh workbook takes over from the old one (docs/privacy.md): what people wrote that is still needed, and nothing that is history.

Segments, and the rows of Campaigns that have not ended, come as they are shown. Settings and Topics come from the tenant by themselves, at
the next tick of sync_sheet. Import stays behind, and so does the column Test to: addresses are what the old history holds. The free ids
of Campaigns go on behind the last one ever used, because a campaign's document is known by its id for good. The time zone comes along,
since schedules are meant in it.

All that is taken over is written in one call, into tabs that are still empty: after a failure it is there or not, and can be repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from functions.sync_sheet.spotted import spots
from functions.sync_sheet.workbook import FORMS, HEADERS
from shared.errors import BadInput, NotFound
from shared.model import console
from shared.model.campaign import ENDED
from shared.model.cells import quote
from shared.model.paths import Paths
from shared.paging import every
from shared.ports import Rows, Store

from .workspace import Workspace

LEFT: Final = "Test to"  # the column that is not taken over
_NUMBERED: Final = re.compile(r"C-([0-9]{1,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Carried:
    """Tab -> what is to stand in it from A1, and the ids of rows that hold an address."""

    tabs: Mapping[str, Rows]
    suspects: Sequence[str]


async def carry(
    space: Workspace, store: Store, paths: Paths, old: str, new: str, zone: str, say: Callable[[str], object]
) -> None:
    """From the Sheet `old` to `new`, both ids; `zone`: of the new one, "" for that of the old one. Again is harmless.

    Raises BadInput when the old one cannot be read, and as `Service.call` does.
    """
    source, target = space.book(old), space.book(new)
    try:
        before = await source.workbook()
        tabs: list[str] = [tab for tab in (console.CAMPAIGNS, console.SEGMENTS) if tab in before.tabs]
        cells: dict[str, list[list[str]]] = dict(
            zip(tabs, await source.read([f"{quote(tab)}!A1:Z" for tab in tabs]), strict=True)
        )
    except NotFound:
        raise BadInput(
            f"The old Sheet {old} is not there, or not shared with {await space.identity()}: it is still needed."
        ) from None
    states = {one.id: one.data.get("state") async for one in every(store, paths.campaigns, fields=["state"])}
    found = carried(cells, states)
    await space.set_zone(new, zone or before.zone)
    await target.add_tabs(list(found.tabs), {tab: len(HEADERS[tab]) for tab in found.tabs})
    shown = await target.read([f"{quote(tab)}!A1:Z" for tab in found.tabs])
    empty = [tab for tab, rows in zip(found.tabs, shown, strict=True) if not any(map(any, rows))]
    await target.write({f"{quote(tab)}!A1": found.tabs[tab] for tab in empty})
    for tab in found.tabs:
        say(
            f"Sheet: {tab} taken over from the old Sheet"
            if tab in empty
            else f"Sheet: {tab} has rows already, and stays as it is"
        )
    for id in found.suspects:
        say(f"Sheet: {console.CAMPAIGNS}, {id}: an address stands in the row; see that it is no reader's")


def carried(cells: Mapping[str, Sequence[Sequence[str]]], states: Mapping[str, str | None]) -> Carried:
    """`cells`: of the old tabs; `states`: of the campaigns by id. Raises BadInput for a header that cannot be trusted."""
    tabs: dict[str, Rows] = {}
    suspects: list[str] = []
    rows: list[dict[str, str]] = []
    if console.CAMPAIGNS in cells:
        table = console.table(cells[console.CAMPAIGNS], console.CAMPAIGNS, console.ROW_FIELDS, console.ROW_OPTIONS)
        rows = [row | {LEFT: ""} for row in table if row["ID"] and any(text for name, text in row.items() if name != "ID")]
    kept = [row for row in rows if states.get(row["ID"]) not in ENDED]
    suspects += [row["ID"] for row in kept if any(list(spots(text, lambda address: False)) for text in row.values())]
    form = FORMS[console.CAMPAIGNS]
    used = [int(match[1]) for id in (*states, *(row["ID"] for row in rows)) if (match := _NUMBERED.fullmatch(id))]
    first = max(used, default=0) + 1
    free = [[f"{form.prefix}-{number:04d}"] for number in range(first, first + form.rows)]
    tabs[console.CAMPAIGNS] = [list(form.typed), *([row[name] for name in form.typed] for row in kept), *free]
    if console.SEGMENTS in cells:
        fields = console.SEGMENT_FIELDS
        rules = console.table(cells[console.SEGMENTS], console.SEGMENTS, fields)
        tabs[console.SEGMENTS] = [list(fields), *([row[name] for name in fields] for row in rules if any(row.values()))]
    return Carried(tabs, suspects)
