"""When mails that wait for a provider's allowance will go, if each day's is used and nobody complains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from . import warmup
from .way import Way, known

HORIZON: Final = 366  # days looked ahead


@dataclass(slots=True)
class _Curve:
    """A mailbox provider's warm-up on one day."""

    level: int
    allowed: int
    left: int


@dataclass
class _Ahead:
    """A provider on one day, and the next, and the next. Without a limit it takes all of what it takes at all."""

    way: Way
    left: float = math.inf  # today, to whomever
    a_day: float = math.inf
    curves: dict[str, _Curve] = field(default_factory=dict)

    @classmethod
    def today(cls, way: Way) -> _Ahead:
        self, provider, data = cls(way), way.provider, way.data
        if provider.daily:
            self.a_day, self.left = provider.daily, max(0, provider.daily - data["used"])
        if provider.rate:
            midnight = datetime.combine(way.today + timedelta(1), time(), UTC).timestamp()
            self.left = min(self.left, data["credit"] + provider.rate * (midnight - way.now / 1000))
            self.a_day = min(self.a_day, 86_400 * provider.rate)
        for group in warmup.ALL:
            if state := way.warming(group):
                open_now = state["paused_until"] <= way.now
                self.curves[group] = _Curve(state["level"], state["allowed"] * open_now, state["left"] * open_now)
        return self

    def take(self, group: str, mails: int) -> int:
        """How many of a group's mails go on this day."""
        if not self.way.takes(group):
            return 0
        curve = self.curves.get(known(group))
        taken = int(min(mails, self.left, curve.left if curve else math.inf))
        self.left -= taken
        if curve:
            curve.left -= taken
        return taken

    def dawn(self, day: date) -> None:
        """Go on to the next day."""
        self.left = self.a_day
        begun = self.way.provider.warm_up is not None and day >= self.way.provider.warm_up
        for group, curve in list(self.curves.items()):
            curve.level = warmup.next_level(curve.level, curve.allowed, curve.allowed - curve.left)
            curve.allowed = curve.left = warmup.allowance(curve.level) if begun else 0
            if curve.level > warmup.DAYS:
                del self.curves[group]


class Outlook:
    """`waiting`: mailbox provider ("" for any) -> mails. `days`: -> the UTC day on which the last of them goes, `never` when that is
    more than HORIZON days from now; `first`: how many go today. `going`: those of them that have their grants already; `others`: mails that
    go before them."""

    def __init__(
        self, ways: Sequence[Way], today: date, waiting: Mapping[str, int], going: Mapping[str, int], others: Mapping[str, int]
    ) -> None:
        before = Counter(others)
        left = {group: mails for group, mails in waiting.items() if mails > 0}
        self.today = today
        self._ways = [way for way in ways if way.provider.limited]
        self.never = today + timedelta(HORIZON)
        self.days = {group: self.never if mails > going.get(group, 0) else today for group, mails in left.items()}
        self.first = sum(min(mails, going.get(group, 0)) for group, mails in left.items())
        left = {group: mails - going.get(group, 0) for group, mails in left.items() if mails > going.get(group, 0)}
        self.warming = [way.provider.name for way in self._ways if any(way.takes(group) and way.warming(group) for group in left)]
        ahead = [_Ahead.today(way) for way in ways]
        for day in (today + timedelta(n) for n in range(HORIZON)):
            for group in {**before, **left}:
                before[group] -= _take(ahead, group, before[group])
                gone = _take(ahead, group, left.get(group, 0))
                self.first += gone if day == today else 0
                if gone:
                    left[group] -= gone
                    self.days[group] = day if not left[group] else self.never
            left = {group: mails for group, mails in left.items() if mails}
            if not left:
                break
            for one in ahead:
                one.dawn(day + timedelta(1))

    def sentence(self) -> str:
        """ "50 today, the rest by 2026-12-09 while ses warms up." """
        later = {group: day for group, day in self.days.items() if day > self.today}
        if not later or not self._ways:
            return ""
        last = max(later.values())
        when = f"after {last}" if last == self.never else f"by {last}"
        names = self.warming or [way.provider.name for way in self._ways]
        verb = ("warms up" if len(names) == 1 else "warm up") if self.warming else ("takes it" if len(names) == 1 else "take it")
        each = (
            ", ".join(f"{group or 'any'} {day}" for group, day in sorted(later.items())) if len(set(later.values())) > 1 else ""
        )
        start = f"{self.first:,} today, the rest {when}" if self.first else f"None today, all {when}"
        why = "while" if self.warming else "as"
        return f"{start} {why} {_joined(names)} {verb}{f' ({each})' if each else ''}."


def _take(ahead: Sequence[_Ahead], group: str, mails: int) -> int:
    left = mails
    for one in ahead:
        left -= one.take(group, left)
    return mails - left


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
