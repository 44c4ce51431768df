"""A row of the Campaigns tab, read in plain words."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.errors import BadInput
from shared.model import console
from shared.model.campaign import usable_id
from shared.model.subscriber import EVERYONE, tag_form

# Sheets turns what is typed into a date, and shows it with seconds and without a leading zero.
_SCHEDULE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})[ T](\d{1,2}):(\d{2})(?::00)?")
LATE = 3_600_000  # ms a schedule may have passed and still be meant


@dataclass(frozen=True, slots=True)
class Row:
    """What people typed; `problem` is the sentence when the row itself is ambiguous."""

    id: str
    name: str
    template: str
    subject: str
    segment: str
    schedule: str
    wanted: str
    problem: str = ""

    @property
    def hash(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def fields(self) -> dict[str, str]:
        """For the campaign's document."""
        return {key: value for key, value in asdict(self).items() if key not in ("id", "problem")}


def read(rows: Sequence[Sequence[str]]) -> list[Row]:
    """The rows that say anything; raises BadInput when the header cannot be trusted."""
    found: dict[str, Row] = {}
    table = console.table(rows, console.CAMPAIGNS, console.ROW_FIELDS)
    filled = [row for row in table if row["ID"] and any(text for name, text in row.items() if name != "ID")]
    ids = Counter(row["ID"].casefold() for row in filled)  # a lookup in Sheets does not tell c-0001 from C-0001
    for row in filled:
        id = row["ID"]
        if not usable_id(id):
            continue  # sync_sheet says so on the Dashboard
        problem = (
            f"The id {id} stands in {ids[id.casefold()]} rows. Give each row an id of its own." if ids[id.casefold()] > 1 else ""
        )
        segment = tag_form(row["Segment"]) or EVERYONE
        found[id] = Row(
            id,
            row["Name"] or id,
            row["Template"],
            row["Subject"],
            segment,
            row["Schedule"],
            row["Wanted"].lower() or "draft",
            problem,
        )
    return list(found.values())


def due(schedule: str, zone: str, now: int) -> int:
    """When a campaign starts, in ms: blank = now, else `YYYY-MM-DD HH:MM` in the workbook's zone. Raises BadInput."""
    if not schedule:
        return now
    shape = _SCHEDULE.fullmatch(schedule)
    try:
        year, month, day, hour, minute = map(int, shape.groups()) if shape else (0, 0, 0, 0, 0)
        local = datetime(year, month, day, hour, minute)
    except ValueError:  # another shape, or the 31st of February
        raise BadInput(
            f"The schedule “{schedule[:40]}” must look like 2026-12-31 09:30 and be a real date, or be empty for now."
        ) from None
    try:
        there = local.replace(tzinfo=ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # "Europe" is a folder
        raise BadInput(f"The workbook's time zone “{zone}” is not known.") from None
    try:
        when = there.astimezone(UTC)
        back = when.astimezone(there.tzinfo).replace(tzinfo=None)
    except OverflowError:  # the edge of the calendar
        raise BadInput(f"The schedule “{schedule[:40]}” is too far away.") from None
    if back != local:
        raise BadInput(f"The schedule {schedule} does not exist in {zone}: the clocks go forward then.")
    at = int(when.timestamp() * 1000)
    if at < now - LATE:
        raise BadInput(f"The schedule {schedule} ({zone}) has passed. Choose a later time, or clear the cell to send now.")
    return at
