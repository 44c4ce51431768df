"""What a row's Wanted cell changes, given the state of its campaign."""

from __future__ import annotations

from typing import Any, Final

from shared.errors import BadInput
from shared.model import console
from shared.model.campaign import ARCHIVED, answered
from shared.model.moments import moment
from shared.ports import Document

from . import rows, sends
from .rows import Row

_AGAIN: Final = f"It may be sent again: choose {console.RETRY} or {console.RESEND}."
_COPY: Final = (
    "Rows are yours, so nothing was copied. "
    "Copy the cells right of the ID into a row that has only an ID, and set Wanted there to Draft."
)
_WORDS: Final = f"{', '.join(console.WANTED[:-1])} or {console.WANTED[-1]}"


def wish(row: Row, document: Document | None, zone: str, now: int) -> dict[str, Any]:
    """The changes to the campaign's document; {} for nothing. Later sends are not decided here."""
    state = document.data["state"] if document else "draft"

    def say(sentence: str, **changes: Any) -> dict[str, Any]:
        return {"row": row.fields, **changes, **answered(sentence, now)}

    if row.problem:
        return unseen(row, document, row.problem, now)
    if document and document.data.get("archived"):
        if row.wanted == "draft":
            return say(f"Back from the archive. {_AGAIN}", archived=False)
        return {} if row.wanted == "archive" else say(ARCHIVED)
    match row.wanted, state:
        case "go", "draft" | "scheduled":
            try:
                start, options = rows.start(row.schedule, zone, now), row.options(zone)
            except BadInput as error:
                return say(str(error), state="draft", active=False)
            changes = {"at": start.at, "when": start.when, "wall": start.wall, "zone": zone, **options}
            return say(_scheduled(row.schedule, zone, start), state="scheduled", active=True, **changes)
        case "go", "running" if document:
            try:
                options = row.options(zone)
            except BadInput as error:
                return say(f"It goes on as before. {error}")
            if all(document.data.get(name, type(value)()) == value for name, value in options.items()):
                return {"row": row.fields} if _commanded(document) else {}
            return say(f"{sends.sending({**document.data, **options})}.", next_at=0, **options)
        case "go", "paused":
            try:
                options = row.options(zone)
                anew = {} if document and options["rate"] == document.data.get("rate", 0) else {"next_at": 0}
                return say("Resumed.", state="running", **options, **anew)
            except BadInput as error:
                return say(f"Still paused. {error} Then choose Pause, and Go once the row says so.")
        case (("go" | "pause" | "cancel"), ("completed" | "cancelled")):
            return say(f"This campaign has ended. Use a new row to send again, or choose {console.RETRY} or {console.RESEND}.")
        case "pause", "running" | "paused":
            return say("Paused. Choose Go to resume, Cancel to stop for good.", state="paused")
        case "pause", "scheduled":
            return say("Taken off the schedule. Choose Go to schedule it again.", state="draft", active=False)
        case "pause", "draft":
            return say("It has not started, so there is nothing to pause.")
        case "cancel", "draft" | "scheduled":
            return say("Cancelled before it started.", state="cancelled", active=False)
        case "cancel", "running" | "paused":
            return say("Cancelled: what was handed over has gone, the rest will not.", state="cancelled", until=0)
        case "draft", "scheduled":
            return say("No longer scheduled.", state="draft", active=False)
        case "draft", "running" | "paused":
            return say("It has started. Choose Pause or Cancel to stop it.")
        case "draft", "draft" if document:
            return say("Draft. Choose Go to send it.")
        case "draft", "completed" | "cancelled" if document and _commanded(document):
            return say(_AGAIN)
        case "archive", "completed" | "cancelled":
            return say(ARCHIVED, archived=True)
        case "archive", "draft":
            return say("It has not been sent, so there is nothing to archive.")
        case "archive", "scheduled":
            return say("It has not been sent. Choose Cancel first, and Archive once the row says so.")
        case "archive", _:
            return say("It is still on its way. Once it has ended, choose Draft, and Archive once the row says so.")
        case "duplicate", _:
            return say(_COPY)
        case (("draft" | "go" | "pause" | "cancel"), _):
            return {}
    return say(f"Wanted must be {_WORDS}, not “{row.wanted[:30]}”.")


def _commanded(document: Document) -> bool:
    """Whether the cell held a command when it was last looked at: what it says now has to be noted, so that the command is new again."""
    return document.data.get("row", {}).get("wanted") in console.COMMANDS


def unseen(row: Row, document: Document | None, sentence: str, now: int) -> dict[str, Any]:
    """An answer to a row whose Wanted was not acted on: what it said when it last was still stands, so that a command in it counts as new
    when it is, and is not given again when it was."""
    before = document.data.get("row", {}).get("wanted", "") if document else ""
    return {"row": {**row.fields, "wanted": before}, **answered(sentence, now)}


def _scheduled(schedule: str, zone: str, start: rows.Start) -> str:
    if not schedule:
        return "Starting."
    if start.when == "local":
        return f"Scheduled for {start.wall.replace('T', ' ')} where each reader is, and in {zone} where that is not known."
    shown = moment(start.at, zone)  # the cell has seconds, which Sheets adds
    if start.when == "best":
        day = shown if ":" in schedule else shown[:10]
        whence = "now" if schedule.lower().startswith("best") else f"{day} ({zone})"
        return f"Scheduled for each reader's best hour in the 24 hours from {whence}."
    return f"Scheduled for {shown} ({zone})."
