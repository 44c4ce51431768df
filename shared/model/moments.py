"""Moments as people read them, in the zone of their workbook."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MINUTE = "%Y-%m-%d %H:%M"
CLOCK = "%H:%M"


@lru_cache(maxsize=512)
def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of that name (tz database), None when there is no such one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # "Europe" is a folder
        return None


def moment(at: int, zone: str | tzinfo, form: str = MINUTE) -> str:
    """`at` (ms) in a zone; "" for 0 and for what no calendar holds. An unknown zone is UTC."""
    there = (zone_of(zone) or UTC) if isinstance(zone, str) else zone
    try:
        return datetime.fromtimestamp(at / 1000, there).strftime(form) if at else ""
    except (OverflowError, ValueError, OSError):
        return ""
