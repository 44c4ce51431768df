"""Warm-up: how many mails a day a new provider may bring to each mailbox provider, until that one knows it.

The curve is FIRST mails on the first day and LAST on day DAYS, the same factor from each day to the next; after it the mailbox provider
counts as established, and the warm-up limits no more. What is known of one is a map in the provider's document:

    level       the day's number on the curve; below 1 after cuts in the first days
    state       "warming", "cut" (by the last judgement), "paused", "established"
    day         the UTC day ("2026-12-01") of `allowed`, and of `left`: those not leased yet
    paused_until  ms, 0 when it never was
    since       from this day on mails and complaints are judged: the day of the last cut or pause
    last        the last day on which mail went, "" for none
    sent, bounced, complained   on each of the KEPT days before `day`, the newest last
    began       the first day as configured; another one begins anew

Once a day, before anything is leased on it, `judge` looks at the days since `since`, at most JUDGED of them, and counts as Gmail does:
what bounced or was complained about on these days, by the mails of these days. A verdict needs a rate and a number:

    over 10% bounced, 10 or more, or over 0.5% complaints, 3 or more    paused for 24 hours; then on at half the level
    over  5% bounced,  5 or more, or over 0.3% complaints, 2 or more    cut: STEP days back on the curve, which halves the volume
    neither, and half of the last day's allowance went                  one day on

Amazon SES reviews an account at 5% of bounces and pauses it at 10% (of hard ones; here every failure counts), and at 0.1% and 0.5% of
complaints (https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html); Gmail and Yahoo ask for less than 0.3%
complaints (https://support.google.com/mail/answer/81126, https://senders.yahooinc.com/best-practices/).

On days without mail a warm-up waits; from the eighth on each takes one day back, because a reputation that is not used is forgotten in
about a month. Cuts end at FLOOR, idle days at the first day.
"""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from shared.model import batch
from shared.model.paths import Paths
from shared.model.provider import GROUPS
from shared.paging import every
from shared.ports import Filter, Store

FIRST, LAST, DAYS = 50, 3000, 30
STEP: Final = 5  # allowance(level) / allowance(level - STEP) is 2.03
FLOOR: Final = -9  # 12 mails a day
JUDGED, KEPT = 7, 14
IDLE: Final = 7  # days without mail that cost nothing
OTHER: Final = "other"
ALL: Final = (*GROUPS, OTHER)
DAY: Final = 86_400_000  # ms
_HANDED: Final = frozenset({batch.SENT, batch.FAILED, batch.UNKNOWN})
_LEDGER: Final = ["key", "providers", "via", "times", "states", "sids"]
_NAMES: Final = ("sent", "bounced", "complained")
_NONE: Final = (0, 0, 0)

Counts = tuple[int, int, int]  # sent, bounced, complained
Figures = Mapping[date, Counts]
_Days = defaultdict[tuple[str, str], defaultdict[date, list[int]]]  # (provider, mailbox provider) -> day -> Counts


def day_of(at: int) -> date:
    """The UTC day of a moment (ms)."""
    return datetime.fromtimestamp(at / 1000, UTC).date()


def allowance(level: int) -> int:
    """Mails on a day of the curve."""
    return round(FIRST * math.pow(LAST / FIRST, (level - 1) / (DAYS - 1)))


def next_level(level: int, allowed: int, sent: int) -> int:
    """The level after a day without complaint: a day counts when half of what it allowed went."""
    return level + 1 if allowed and 2 * sent >= allowed else level


def begin(first: date, today: date) -> dict[str, Any]:
    """The state on the day a provider is first seen with a warm-up from `first` on."""
    state = {
        "level": 1,
        "state": "warming",
        "paused_until": 0,
        "since": today.isoformat(),
        "last": "",
        "began": first.isoformat(),
    }
    return {**state, **{name: [0] * KEPT for name in _NAMES}, **_open(1, first, today)}


def _open(level: int, first: date, today: date) -> dict[str, Any]:
    allowed = allowance(level) if today >= first else 0
    return {"day": today.isoformat(), "allowed": allowed, "left": allowed}


def judge(state: Mapping[str, Any], figures: Figures, first: date, today: date, now: int) -> dict[str, Any]:
    """The state for `today`, given that of an earlier day and what is known of the JUDGED days before."""
    was, since = date.fromisoformat(state["day"]), date.fromisoformat(state["since"])
    known: dict[date, Counts] = {was - timedelta(KEPT - n): counts for n, counts in enumerate(_series(state))} | dict(figures)
    series = [known.get(today - timedelta(n), _NONE) for n in range(KEPT, 0, -1)]
    last = max((day for day, (sent, _, _) in known.items() if sent and day < today), default=None)
    fresh = {
        **state,
        "state": "warming",
        "last": max(state["last"], last.isoformat() if last else ""),
        **{name: [counts[n] for counts in series] for n, name in enumerate(_NAMES)},
    }
    judged = [known.get(day, _NONE) for n in range(1, JUDGED + 1) if (day := today - timedelta(n)) >= since]
    sent, bounced, complained = map(sum, zip(*judged, strict=True)) if judged else _NONE
    level: int = state["level"]
    if _over(bounced, 10, 0.1, sent) or _over(complained, 3, 0.005, sent):
        level = min(level - STEP, level // 2)
        fresh |= {"state": "paused", "paused_until": now + DAY, "since": today.isoformat()}
    elif _over(bounced, 5, 0.05, sent) or _over(complained, 2, 0.003, sent):
        level -= STEP
        fresh |= {"state": "cut", "since": today.isoformat()}
    elif now < state["paused_until"]:
        fresh["state"] = "paused"
    else:
        level = next_level(level, state["allowed"], known.get(was, _NONE)[0])
        if level > DAYS:
            fresh["state"] = "established"
        level = max(min(level, 1), level - _idle(fresh["last"], was, today))
    level = max(FLOOR, level)
    return {**fresh, "level": level, **_open(level, first, today)}


def _series(state: Mapping[str, Any]) -> list[Counts]:
    return list(zip(*(state[name] for name in _NAMES), strict=True))


def _over(count: int, least: int, rate: float, sent: int) -> bool:
    return sent > 0 and count >= least and count > rate * sent


def _idle(last: str, was: date, today: date) -> int:
    """Idle days beyond IDLE that the last judgement, on `was`, did not know of."""
    if not last:
        return 0

    def beyond(day: date) -> int:
        return max(0, (day - date.fromisoformat(last)).days - 1 - IDLE)

    return beyond(today) - beyond(was)


class _Told:
    """What deliveries of one campaign tell of its mails, read when the first one is asked for: bounces and complaints, with when."""

    def __init__(self, store: Store, collection: str) -> None:
        self._store, self._collection = store, collection
        self._known: list[dict[str, int]] = []

    async def known(self) -> list[dict[str, int]]:
        if not self._known:
            for label in ("bounced", "complained"):
                told = every(self._store, self._collection, Filter(contains=("labels", label)), [f"{label}_at"])
                self._known.append({found.id: found.data.get(f"{label}_at", 0) async for found in told})
        return self._known


async def figures(
    store: Store, paths: Paths, providers: Collection[str], groups: Collection[str], today: date
) -> dict[tuple[str, str], dict[date, Counts]]:
    """(provider, mailbox provider) -> what happened on each of the JUDGED days before `today`, of the mails of warm-up rosters.

    Reads each campaign, and of those under way, or ended since these days began: the batches of a group, and the deliveries that
    bounced or were complained about. Raises Unavailable.
    """
    begun = today - timedelta(JUDGED)
    counts: _Days = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    async for campaign in every(store, paths.campaigns, Filter(), ["active", "answered_at", "frozen_at"]):
        data = campaign.data
        if "frozen_at" not in data or not (data.get("active") or day_of(data.get("answered_at", 0)) >= begun):
            continue
        told = _Told(store, paths.deliveries(campaign.id))
        for group in groups:
            async for found in every(store, paths.batches(campaign.id), Filter(equals=("group", group)), _LEDGER):
                if set(found.data["providers"]) & set(providers):
                    _count(found.data, group, providers, await told.known(), counts)
    return {
        way: {day: (sent, bounced, complained) for day, (sent, bounced, complained) in days.items() if begun <= day < today}
        for way, days in counts.items()
    }


def _count(ledger: Mapping[str, Any], group: str, providers: Collection[str], told: list[dict[str, int]], counts: _Days) -> None:
    """Add one batch's mails. What was told of a mail counts on the day it happened; a refusal that nobody told of, on the mail's."""
    names, key, (bounces, complaints) = ledger["providers"], ledger["key"], told
    sids = batch.sids(ledger["sids"])
    times = struct.unpack(f">{len(ledger['states'])}I", ledger["times"])
    for sid, state, number, seconds in zip(sids, ledger["states"], ledger["via"], times, strict=True):
        if number >= len(names) or names[number] not in providers:
            continue
        days, id, at = counts[names[number], group], f"{sid}.{key}" if key else sid, seconds * 1000
        days[day_of(at)][0] += state in _HANDED
        if id in bounces or state == batch.FAILED:
            days[day_of(bounces.get(id) or at)][1] += 1
        if id in complaints:
            days[day_of(complaints[id] or at)][2] += 1
