"""How engaged somebody is, and who has not been for long: computed when asked, so that nothing has to be decayed in the store.

The subscriber keeps, of each of the last WEEKS weeks, the last open and the last click by a person (`opens` and `clicks`, week modulo
WEEKS: maxima, so order-free, idempotent and at most 78 numbers). Machines' hits are not there. What turns out later to be a machine's
(`machines`) takes along what came before it in its week: a scanner goes through a mail when it arrives, its reader comes later. Several
mails of one week count once.

A week with a click is worth CLICK points, one with an open only OPEN, and both halve every HALF_LIFE days since that open or click. The
score is 100 x points / (points + CLICK): 50 for one click just now, 25 for one open, 87 for a click in every week, never quite 100.
Somebody who clicked once has 33 a half-life later, and 2 when the week is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.model.subscriber import WEEK, WEEKS

DAY: Final = 86_400_000  # ms
HALF_LIFE: Final = 30  # days
CLICK: Final = 3.0
OPEN: Final = 1.0


def score(subscriber: Mapping[str, Any], now: int) -> int:
    """0 to 100, at `now` (ms). What is dated later counts as of now."""
    best: dict[int, float] = {}
    for worth, at in _hits(subscriber):
        week, age = at // WEEK, max(0, now - at) / DAY
        if now // WEEK - week < WEEKS:
            best[week] = max(best.get(week, 0.0), worth * 2 ** (-age / HALF_LIFE))
    points = sum(sorted(best.values()))
    return round(100 * points / (points + CLICK))


def dormant(subscriber: Mapping[str, Any], now: int, days: int) -> bool:
    """Whether somebody confirmed at least `days` ago has neither opened nor clicked since then, or never did: whom to ask once more
    before letting go. Gmail and Yahoo ask senders to (https://support.google.com/mail/answer/81126,
    https://senders.yahooinc.com/best-practices/). Raises ValueError for more days than are kept."""
    if days > 7 * (WEEKS - 1):
        raise ValueError(f"{days} days are more than are kept")
    since = now - days * DAY
    return int(subscriber.get("confirmed_at", now)) <= since and all(at < since for _, at in _hits(subscriber))


def _hits(subscriber: Mapping[str, Any]) -> Iterator[tuple[float, int]]:
    """What each kept hit of a person was worth, and when it was (ms)."""
    machines: Mapping[str, int] = subscriber.get("machines") or {}
    for name, worth in (("opens", OPEN), ("clicks", CLICK)):
        for week, at in (subscriber.get(name) or {}).items():
            if at > machines.get(week, -1):
                yield worth, at
