"""What one hit says of others of the same mail: a scanner follows every link at once, and the one that nobody sees.

In this process only, for a minute, and of the mails hit last, so that memory stays bounded. Several instances share nothing: a
scanner whose hits are spread over them may look like a person (docs/tracking.md).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from shared.model.event import Event

TRAP = "honeypot link"
BURST = "burst"
BURST_LINKS = 3  # different links of one mail
BURST_TIME = 2_000  # ms
MEMORY = 60_000  # ms
MAILS = 10_000
HITS = 16  # of one mail


@dataclass(slots=True)
class _Mail:
    hits: tuple[tuple[Event, int], ...] = ()  # with their source; oldest first
    trapped: tuple[tuple[int, int], ...] = ()  # when, which source
    at: int = 0  # of the last hit


class Recent:
    """The hits of the last MEMORY ms. `mails`: how many mails are remembered, those hit last."""

    def __init__(self, mails: int = MAILS) -> None:
        self._most = mails
        self._mails: OrderedDict[str, _Mail] = OrderedDict()

    def judge(self, hit: Event, source: int) -> list[Event]:
        """What is to be published of a hit: itself, a machine's where others show it, then those others once more, as a machine's.
        `source` tells one agent at one address from another. A hit whose reason is TRAP fell into it."""
        mail = self._of(hit)
        if not mail.hits and not mail.trapped and hit.reason != TRAP:  # nearly always
            mail.hits = ((hit, source),)
            return [hit]
        if hit.reason == TRAP:
            mail.trapped = (*mail.trapped, (hit.at, source))[-HITS:]
        trapped = any(who == source for _, who in mail.trapped)
        since = hit.at - BURST_TIME
        near = {each.link for each, _ in mail.hits if each.link >= 0 and each.at >= since}
        burst = hit.link >= 0 and len(near | {hit.link}) >= BURST_LINKS

        def seen(each: Event, who: int) -> Event:
            if each.label == "machine":
                return each
            if trapped and who == source:
                return _machine(each, TRAP)
            return _machine(each, BURST) if burst and each.link >= 0 and each.at >= since else each

        judged = [(seen(each, who), who) for each, who in mail.hits]
        changed = [new for (old, _), (new, _) in zip(mail.hits, judged, strict=True) if new is not old]
        hit = seen(hit, source)
        mail.hits = (*judged, (hit, source))[-HITS:]
        return [hit, *changed]

    def _of(self, hit: Event) -> _Mail:
        """The hit's mail, the last in line, without what is over; what is older or too much is forgotten."""
        mail = self._mails.setdefault(hit.ref, _Mail())
        self._mails.move_to_end(hit.ref)
        over = hit.at - MEMORY
        mail.at = hit.at
        if mail.hits and mail.hits[0][0].at <= over:
            mail.hits = tuple(one for one in mail.hits if one[0].at > over)
        if mail.trapped and mail.trapped[0][0] <= over:
            mail.trapped = tuple(one for one in mail.trapped if one[0] > over)
        while len(self._mails) > self._most or next(iter(self._mails.values())).at <= over:
            self._mails.popitem(last=False)
        return mail


def _machine(hit: Event, reason: str) -> Event:
    return replace(hit, label="machine", reason=reason)
