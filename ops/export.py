"""A tab of the workbook, or the readers of a segment, as CSV for a spreadsheet: RFC 4180, UTF-8 with a byte order mark, no formulas.

Rows go through a file on disk, a page at a time, so that a million of them need the memory of a few hundred. Addresses are whole: an
operator asked for them.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from shared.config import Base
from shared.errors import BadInput, NotFound
from shared.model.cells import Cell, neutralise, quote
from shared.model.paths import Paths
from shared.model.rules import parse
from shared.model.subscriber import country_of, in_segment, tag_form, usable_tag
from shared.model.tenant import Tenant
from shared.paging import every
from shared.ports import Filter, Sheet, Store
from shared.stack.clock import open_clock
from shared.stack.objects import open_objects
from shared.stack.store import open_store

HEADER: Final = ("Subscriber", "Address", "Name", "Language", "Country", "Tags", "Confirmed")
_FIELDS: Final = ("address", "name", "language", "country", "located", "status", "suppressed", "tags", "confirmed_at")


async def segment(store: Store, paths: Paths, name: str, now: int) -> AsyncIterator[Sequence[Cell]]:
    """The header, then who may be mailed and is in the segment at `now` (ms), by id. A read a reader, and one for the rule.

    Of a segment by rule nobody is missed whom the last sweep found, and nobody given whom the rule does not hold any more.
    """
    yield HEADER
    wanted = tag_form(name)
    kept = await store.get(paths.segment(wanted)) if usable_tag(wanted) else None
    rule = parse(kept.data["rule"]) if kept and kept.data.get("rule") else None
    fields = sorted({*_FIELDS, *rule.fields}) if rule else _FIELDS
    async for found in every(store, paths.subscribers, Filter(contains=("segments", wanted)), fields):
        data = found.data
        if in_segment(data, wanted, rule, now):
            tags = ", ".join(data.get("tags", []))
            shown = [data["address"], data.get("name", ""), data.get("language", ""), country_of(data), tags]
            yield [found.id, *shown, moment(data.get("confirmed_at", 0))]


async def tab(sheet: Sheet, name: str) -> AsyncIterator[Sequence[Cell]]:
    """A tab's rows as they are shown. Raises NotFound."""
    if name not in (await sheet.workbook()).tabs:
        raise NotFound(f"the tab {name}")
    [rows] = await sheet.read([f"{quote(name)}!A1:Z"])
    for row in rows:
        yield row


async def write(rows: AsyncIterator[Sequence[Cell]], file: IO[bytes]) -> int:
    """Write CSV into an empty binary file; how many rows, without the header."""
    line = _Line()
    made, count = csv.writer(line), -1
    file.write(b"\xef\xbb\xbf")
    async for row in rows:
        made.writerow([neutralise(cell) for cell in row])
        file.write(line.text.encode())
        count += 1
    return max(0, count)


class _Line:
    """What a csv.writer wrote last."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


async def run(given: Base, what: str, name: str, out: Path | None, endpoint: str = "") -> str:
    """Export, into `out` or into Objects; where it is and how many rows. Raises BadInput, NotFound, Unavailable, ConfigError.

    A file is written as rows come. An object is put whole: about 100 MB for a million readers.
    """
    if (what == "segment") != bool(name):
        raise BadInput("Say export TAB, such as export Results, or export segment NAME, such as export segment everyone.")
    store, paths = open_store(given), Paths(given.tenant)
    if name:
        rows = segment(store, paths, name, open_clock(given).now())
    else:
        from shared.adapters.sheets import Sheets

        rows = tab(Sheets((await Tenant.load(store, paths)).sheet, endpoint), what)
    if out:
        with out.open("wb") as file:
            return f"{out}: {await write(rows, file):,} rows"
    with TemporaryFile() as file:
        count = await write(rows, file)
        file.seek(0)
        place = name_of(given.tenant, name or what, open_clock(given).now())
        await open_objects(given).put(place, file.read())
    return f"{place}: {count:,} rows"


def moment(at: int, form: str = "%Y-%m-%d %H:%M") -> str:
    """`at` (ms) in UTC; "" for 0."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime(form) if at else ""


def name_of(tenant: str, what: str, at: int) -> str:
    """The object's name: exports/{tenant}/{name}-{time}.csv, letters and digits of any script kept."""
    plain = "".join(char if char.isalnum() else "-" for char in what)
    return f"exports/{tenant}/{plain}-{moment(at, '%Y%m%dT%H%M%SZ')}.csv"
