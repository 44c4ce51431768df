"""A row of the Campaigns tab, read in plain words."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from shared.errors import BadInput
from shared.model import console
from shared.model.campaign import usable_id
from shared.model.cells import short
from shared.model.moments import zone_of
from shared.model.subscriber import EVERYONE, tag_form

from . import pace

# Sheets turns what is typed into a date, and shows it with seconds and without a leading zero.
_SCHEDULE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2}))?")
_SECONDS = re.compile(r"(\d:\d\d):00\b")
_ENDING = re.compile(r"(.*?)\s*\b(local(?: time)?|best(?: hour| time)?)", re.I)
LATE = 3_600_000  # ms a schedule may have passed and still be meant
EARLIEST: Final = 14 * 3_600_000  # ms by which the first zones of the world are ahead of UTC
MOST = 1000  # a priority, up or down

When = Literal["", "local", "best"]


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
    rate: str = ""
    hours: str = ""
    priority: str = ""
    test_to: str = field(default="", repr=False)
    public: str = ""
    problem: str = ""

    @property
    def hash(self) -> str:
        """Of what is filled in: a column that is new and blank changes no row."""
        filled = [(key, value) for key, value in asdict(self).items() if value]
        return hashlib.sha256(repr(filled).encode()).hexdigest()[:16]

    @property
    def fields(self) -> dict[str, str]:
        """For the campaign's document."""
        return {key: value for key, value in asdict(self).items() if key not in ("id", "problem", "test_to")}

    def options(self, zone: str) -> dict[str, Any]:
        """The campaign's `rate`, `hours` and `priority`; raises BadInput for a cell that says none, and for one of Public."""
        is_public(self.public)
        return {"rate": pace.rate(self.rate), "hours": pace.hours(self.hours, zone), "priority": _priority(self.priority)}


@dataclass(frozen=True, slots=True)
class Start:
    """What a schedule says. `at`: when the tick starts the campaign (ms). `when`: see a campaign's document. `wall`: the date and time of
    day that readers share when it is "local" ("2026-12-31T09:30"), else ""."""

    at: int
    when: When = ""
    wall: str = ""


def read(rows: Sequence[Sequence[str]]) -> list[Row]:
    """The rows that say anything; raises BadInput when the header cannot be trusted."""
    found: dict[str, Row] = {}
    table = console.table(rows, console.CAMPAIGNS, console.ROW_FIELDS, console.ROW_OPTIONS)
    filled = [row for row in table if row["ID"] and any(text for name, text in row.items() if name != "ID")]
    ids = Counter(row["ID"].casefold() for row in filled)  # a lookup in Sheets does not tell c-0001 from C-0001
    for row in filled:
        id = row["ID"]
        if not usable_id(id):
            continue  # sync_sheet says so on the Dashboard
        problem = (
            f"The id {id} stands in {ids[id.casefold()]} rows. Give each row an id of its own." if ids[id.casefold()] > 1 else ""
        )
        found[id] = Row(
            id,
            row["Name"] or id,
            row["Template"],
            row["Subject"],
            tag_form(row["Segment"]) or EVERYONE,
            row["Schedule"],
            " ".join(row["Wanted"].lower().split()) or "draft",
            row["Rate"],
            row["Hours"],
            row["Priority"],
            row["Test to"],
            row["Public"] if row["Public"].lower() not in ("false", "no") else "",  # what a box says that is not ticked
            problem,
        )
    return list(found.values())


def start(schedule: str, zone: str, now: int) -> Start:
    """When a campaign starts: blank = now, `YYYY-MM-DD HH:MM` in the workbook's `zone`, the same with `local` for each reader's own, or a
    date, with or without a time, and `best`. Raises BadInput."""
    schedule = _SECONDS.sub(r"\1", schedule)
    ending = _ENDING.fullmatch(schedule)
    moment, word = (ending[1], ending[2].lower()) if ending else (schedule, "")
    when: When = "local" if word.startswith("local") else "best" if word else ""
    if not moment and when != "local":
        return Start(now, when)
    shape = _SCHEDULE.fullmatch(moment)
    try:
        if shape is None or (shape[4] is None and when != "best"):
            raise ValueError
        year, month, day, hour, minute = (int(part or 0) for part in shape.groups())
        wall = datetime(year, month, day, hour, minute)
    except ValueError:  # another shape, or the 31st of February
        raise BadInput(_unreadable(schedule, when)) from None
    at = _moment(wall, schedule, zone)
    if at < now - LATE - (86_400_000 if shape[4] is None else 0):
        raise BadInput(f"The schedule {schedule} ({zone}) has passed. Choose a later time, or clear the cell to send now.")
    if when != "local":
        return Start(at, when)
    return Start(int(wall.replace(tzinfo=UTC).timestamp() * 1000) - EARLIEST, when, wall.isoformat(timespec="minutes"))


def _unreadable(schedule: str, when: When) -> str:
    example = {"": "2026-12-31 09:30", "local": "2026-12-31 09:30 local", "best": "2026-12-31 best, or 2026-12-31 09:30 best,"}[
        when
    ]
    return f"The schedule “{schedule[:40]}” must look like {example} and be a real date, or be empty for now."


def _moment(wall: datetime, schedule: str, zone: str) -> int:
    """When a clock in `zone` shows `wall`, in ms; the first time, when it does so twice. Raises BadInput."""
    known = zone_of(zone)
    if known is None:
        raise BadInput(f"The workbook's time zone “{zone}” is not known.")
    try:
        when = wall.replace(tzinfo=known).astimezone(UTC)
        back = when.astimezone(known).replace(tzinfo=None)
    except OverflowError:  # the edge of the calendar
        raise BadInput(f"The schedule “{schedule[:40]}” is too far away.") from None
    if back != wall:
        raise BadInput(f"The schedule {schedule} does not exist in {zone}: the clocks go forward then.")
    return int(when.timestamp() * 1000)


def is_public(cell: str) -> bool:
    """Whether the column Public asks for a place in the archive; raises BadInput."""
    if cell and cell.lower() not in ("yes", "true"):
        raise BadInput(f"“Public” must be Yes, or be empty, and not “{short(cell)}”.")
    return bool(cell)


def _priority(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?\d{1,4}", text, re.ASCII) or abs(int(text)) > MOST:
        raise BadInput(f"The priority “{short(text)}” must be a whole number, at most {MOST:,}, such as 5, or be empty for 0.")
    return int(text)
