"""What a campaign's report says, and what became of every mail to one reader: plain tables, from the store.

A report is read as it stands (docs/reports.md says when it is made). A history reads the campaigns, and of each the reader's deliveries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.errors import NotFound
from shared.model.hits import settled
from shared.model.paths import Paths
from shared.model.report import REVENUE
from shared.paging import every
from shared.ports import Document, Filter, Store

_FIELDS = ["row"]


async def shown(store: Store, paths: Paths, campaign: str) -> AsyncIterator[str]:
    """The lines of a campaign's report. Raises NotFound where there is none yet."""
    found = await store.get(paths.report(campaign))
    if found is None:
        raise NotFound(f"a report of {campaign}")
    rows: list[Mapping[str, Any]] = found.data["rows"]
    yield f"{campaign} {found.data['name']}".rstrip() + f", as of {moment(found.data['at'])}"
    for by in dict.fromkeys(row["by"] for row in rows):
        mine = [row for row in rows if row["by"] == by]
        names = list(dict.fromkeys(name for row in mine for name in row if name not in ("by", "value")))
        links = found.data["links"] if by == "link" else {}
        yield ""
        cells = [
            [f"{row['value']} {links.get(row['value'], '')}".strip(), *(_number(name, row) for name in names)] for row in mine
        ]
        for line in aligned([[by, *(name.replace("_", " ") for name in names)], *cells]):
            yield line


async def history(store: Store, paths: Paths, sid: str) -> AsyncIterator[str]:
    """The lines of what happened to every mail of a reader, the first moment of each, in order; those never heard of are in no line."""
    found: list[tuple[int, str, str, str]] = []
    async for campaign in every(store, paths.campaigns, fields=_FIELDS):
        name = campaign.data.get("row", {}).get("name", "")
        first = await store.get(paths.delivery(campaign.id, sid))
        later = await store.page(paths.deliveries(campaign.id), Filter(below=f"{sid}~"), sid, 50)
        for mail in [first, *later] if first else later:
            found += ((at, campaign.id, name, what) for at, what in _events(mail))
    if not found:
        yield "Nothing was heard of any mail to this reader."
        return
    for line in aligned([["When", "Campaign", "Name", "What"], *([moment(at), *rest] for at, *rest in sorted(found))]):
        yield line


def _events(mail: Document) -> Iterator[tuple[int, str]]:
    data = {**mail.data, **settled(mail.data)}
    send = f" (send {mail.id.partition('.')[2]})" if "." in mail.id else ""
    for label in set(data.get("labels", ())) - {"converted"}:
        at = data.get(f"{label.replace('.', '_')}_at")
        if at is not None and not (
            label == "bounced" and any(f"bounced_{kind}_at" in data for kind in ("hard", "soft", "other"))
        ):
            codes = f": {', '.join(sorted(data.get('codes', ())))}" if label.startswith(("bounced", "deferred")) else ""
            yield at, label.replace(".", " by a " if label.startswith(("opened", "clicked")) else ", ") + codes + send
    for told in data.get("conversions", {}).values():
        values = ", ".join(f"{value / 1_000_000:.2f} {name}" for name, value in sorted(told.items()) if name != "at")
        yield told["at"], f"order{f' of {values}' if values else ''}{send}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of one width, their columns below each other; numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(_cell(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cell(cell: str, width: int) -> str:
    return cell.rjust(width) if cell.replace(".", "").isdecimal() and " " not in cell else cell.ljust(width)


def _number(name: str, row: Mapping[str, Any]) -> str:
    value = row.get(name, 0)
    return f"{value / 1_000_000:.2f}" if name.startswith(REVENUE) else str(value)


def moment(at: int) -> str:
    """In UTC, to the minute; what no calendar holds as it is."""
    try:
        return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return str(at)


def is_sid(text: str) -> bool:
    """Whether a reader is named by id instead of by address."""
    return len(text) == 32 and set(text) <= set("0123456789abcdef")
