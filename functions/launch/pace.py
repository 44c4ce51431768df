"""How fast a campaign goes, and at what hours: its Rate and Hours cells, and what they let go in the coming minute."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from shared.errors import BadInput
from shared.model import batch
from shared.model.cells import short
from shared.model.moments import zone_of
from shared.paging import PAGE
from shared.ports import Document

HOUR: Final = 3_600_000
AHEAD: Final = 60_000  # ms: what goes before the next tick
PART: Final = 5 / 60  # of an hour: what a batch of a slow campaign holds of its rate
SMALLEST: Final = 20  # mails of such a batch, at least
MOST: Final = 10_000_000  # mails an hour
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_NUMBER = r"(\d{1,3}(?:[,.'\u2019 \u00a0\u202f]\d{3})+|\d+)"
_RATE = re.compile(
    _NUMBER + r"\s*(?:/|per\b|an?\b|each\b)\s*(h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|d|days?)", re.I | re.A
)
_AN_HOUR = {"h": 1.0, "m": 60.0, "s": 3600.0, "d": 1 / 24}
_HOURS = re.compile(r"(\d{1,2})(?::(\d\d))?\s*(?:-|–|—|to)\s*(\d{1,2})(?::(\d\d))?(?:[\s,;]+(.+))?", re.I | re.A)


# --- what the cells say -----------------------------------------------------------------------------------------------


def rate(text: str) -> int:
    """Mails an hour that a cell such as "2,000/h", "500 per hour" or "100 a minute" allows; 0 (no limit) when blank. Raises BadInput."""
    if not text:
        return 0
    found = _RATE.fullmatch(text)
    number = int(re.sub(r"\D", "", found[1])) if found else 0
    if found is None or not number:
        raise BadInput(
            f"The rate “{short(text)}” must look like 2,000/h, 500 per hour or 100 a minute, or be empty for no limit."
        )
    return min(MOST, max(1, round(number * _AN_HOUR[found[2][0].lower()])))


def hours(text: str, zone: str) -> dict[str, Any]:
    """A campaign's `hours` from a cell such as "09:00-17:00 Mon-Fri" or "8-20"; {}, for always, when blank. From 22:00 to 6:00 is a night
    that belongs to the day on which it begins. Raises BadInput."""
    if not text:
        return {}
    shape = _HOURS.fullmatch(text)
    wrong = BadInput(f"The hours “{short(text)}” must look like 09:00-17:00 Mon-Fri or 08:00-20:00, or be empty for always.")
    if shape is None:
        raise wrong
    start, end = (60 * int(shape[n]) + int(shape[n + 1] or 0) for n in (1, 3))
    if start == end or max(start, end) > 1440 or start == 1440 or any(int(shape[n] or 0) > 59 for n in (2, 4)):
        raise wrong
    days = _days(shape[5] or "")
    if not days:
        raise wrong
    if zone_of(zone) is None:
        raise BadInput(f"The workbook's time zone “{zone}” is not known.")
    return {"from": start, "to": end, "days": days, "zone": zone}


def _days(text: str) -> list[int]:
    """The days named ("Mon-Fri", "sat, sunday"), all for "", none when a word is no day."""
    found: set[int] = set()
    for part in re.split(r"[\s,;&]+", re.sub(r"\s*[-–—]\s*", "-", text.strip())):
        ends = [_day(name) for name in part.split("-")]
        if None in ends or len(ends) > 2:
            return list(range(7)) if not text else []
        first, last = ends[0] or 0, ends[-1] or 0
        found |= {(first + n) % 7 for n in range((last - first) % 7 + 1)}
    return sorted(found)


def _day(name: str) -> int | None:
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return next((n for n, day in enumerate(full) if len(name) >= 3 and day.startswith(name.lower().rstrip("."))), None)


def said(data: Mapping[str, Any]) -> str:
    """A campaign's own limits, to follow a sentence: ", at most 2,000 an hour, 09:00-17:00 Mon-Fri (Europe/Lisbon)"; "" for none."""
    found = f", at most {data['rate']:,} an hour" if data.get("rate") else ""
    if given := data.get("hours"):
        clock = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in (given["from"], given["to"])]
        days = "" if len(given["days"]) == 7 else f" {_named(given['days'])}"
        found += f", {clock[0]}-{clock[1]}{days} ({given['zone']})"
    return found


def _named(days: Sequence[int]) -> str:
    if len(days) > 2 and list(days) == list(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return " ".join(DAYS[day] for day in days)


# --- what they let go -------------------------------------------------------------------------------------------------


def window(hours: Mapping[str, Any], now: int) -> int | None:
    """When the present sending hours end (ms), None outside them, 0 when there is no end. Windows that touch are one."""
    if not hours:
        return 0
    zone = ZoneInfo(hours["zone"])
    today = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone).date()
    length = hours["to"] - hours["from"] + (1440 if hours["to"] < hours["from"] else 0)
    end: int | None = None
    for day in (today + timedelta(days=n) for n in range(-1, 9)):
        if day.weekday() not in hours["days"]:
            continue
        opens, closes = (_clock(day, hours["from"] + more, zone) for more in (0, length))
        if opens <= (now if end is None else end) < closes:
            end = closes
    return end


def _clock(day: date, minute: int, zone: ZoneInfo) -> int:
    """When a clock in `zone` shows so many minutes after the midnight that begins `day`, in ms."""
    wall = datetime.combine(day, time()) + timedelta(minutes=minute)
    return int(wall.replace(tzinfo=zone).timestamp() * 1000)


def size(rate: int) -> int:
    """Mails of a batch, at most: a slow campaign's are small, so that it is slow evenly."""
    return min(batch.BATCH_SIZE, max(SMALLEST, math.ceil(rate * PART))) if rate else batch.BATCH_SIZE


def mails(found: Document, campaign: Mapping[str, Any]) -> int:
    """How many mails of a batch are still to go, at least 1: of a range that was not read to its end it is the average."""
    data = found.data
    tally: Mapping[str, int] = data.get("tally", {})
    again = tally.get("deferred", 0)
    if data["read_all"]:
        return max(1, again)
    whole: int = data["source"].get("roster", 0)
    if not whole:
        send = next((send for send in campaign.get("sends", ()) if send["key"] == data["key"] and send["parts"]), None)
        whole = math.ceil(send["expected"] / send["parts"]) if send else batch.BATCH_SIZE
    return max(1, whole - sum(tally.values()) + again)


def room(campaign: Mapping[str, Any], now: int) -> int:
    """How many of a campaign's due batches are worth reading now; 0 when its rate lets none go."""
    if not campaign.get("rate"):
        return PAGE
    span = now + AHEAD - max(now, campaign.get("next_at", 0))
    return 0 if span < 0 else min(PAGE, 1 + span * campaign["rate"] // (HOUR * size(campaign["rate"])))


def fits(found: Sequence[Document], campaign: Mapping[str, Any], now: int) -> tuple[list[Document], int]:
    """Those, from the first on, that the campaign's rate lets go before the next tick, and its `next_at` after them.

    A leaky bucket: each batch moves `next_at` on by the time that its mails take. Time that has passed unused is lost, so nothing is made
    up for after a pause.
    """
    if not campaign.get("rate"):
        return list(found), campaign.get("next_at", 0)
    next_at, going = max(now, campaign.get("next_at", 0)), []
    for one in found:
        if next_at > now + AHEAD:
            break
        going.append(one)
        next_at += taken([one], campaign)
    return going, next_at


def taken(found: Sequence[Document], campaign: Mapping[str, Any]) -> int:
    """The time that batches take of a campaign's rate, in ms."""
    rate = campaign.get("rate", 0)
    return sum(math.ceil(mails(one, campaign) * HOUR / rate) for one in found) if rate else 0
