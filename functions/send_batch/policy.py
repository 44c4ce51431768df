"""The contact policy, asked once for each batch: who has had, or is about to get, enough mails; who wants them seldom; and whose night
it is.

Nothing is written for a recipient. What other campaigns mailed stands in their ledgers: those batches of theirs that may hold this
batch's readers are read, and kept when their campaign has ended.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.model import batch
from shared.model.campaign import ENDED
from shared.model.moments import zone_of
from shared.model.paths import Paths
from shared.model.subscriber import in_segment
from shared.ports import Document, Store

from .audience import rule_of

if TYPE_CHECKING:
    from shared.model.conditions import Rule

KEPT: Final = 400  # batch documents of ended campaigns
CAMPAIGNS: Final = 4  # that were cut as rosters
DAY: Final = 86_400_000
PAGE: Final = 300
SELDOM: Final[Mapping[str, int]] = {
    "weekly": 7,
    "monthly": 30,
}  # a reader's `frequency` -> UTC days in a row with at most one mail
_MAILED: Final = frozenset({batch.HANDED, batch.SENT, batch.UNKNOWN, batch.DEFERRED})
_FIELDS: Final = ["sids", "states", "times", "state"]


@dataclass(frozen=True, slots=True)
class Coming:
    """Another campaign, whose turn is before this one's. `decided`: the sids that are in its ledgers already."""

    segment: str
    rule: Rule | None
    frozen_at: int
    decided: frozenset[str]


@dataclass
class Contacts:
    """What counts against one batch's readers."""

    cap: int = 0
    since: int = 0  # ms from which mails count for the cap
    had: dict[str, list[int]] = field(default_factory=dict)  # sid -> when mails went (ms), NEVER for those on their way
    coming: list[Coming] = field(default_factory=list)

    @property
    def fields(self) -> set[str]:
        """What is read of each reader for this."""
        return {name for campaign in self.coming if campaign.rule for name in campaign.rule.fields}

    def enough(self, sid: str, subscriber: Mapping[str, Any]) -> bool:
        """Whether the cap lets the reader have no other one."""
        return self._count(sid, subscriber, self.since) >= self.cap

    def too_soon(self, sid: str, subscriber: Mapping[str, Any], now: int) -> bool:
        """Whether the reader has had the one mail of these 7, or 30, days. They are UTC days, and not hours: what goes every Tuesday at
        nine goes to who wants one a week."""
        days = SELDOM[subscriber["frequency"]]
        return self._count(sid, subscriber, (now // DAY - days + 1) * DAY) > 0

    def _count(self, sid: str, subscriber: Mapping[str, Any], since: int) -> int:
        count = sum(at >= since for at in self.had.get(sid, ()))
        for campaign in self.coming:
            count += (
                sid not in campaign.decided
                and subscriber.get("confirmed_at", 0) <= campaign.frozen_at
                and in_segment(subscriber, campaign.segment, campaign.rule, campaign.frozen_at)
            )
        return count


@dataclass
class Policy:
    """Reads other campaigns' ledgers."""

    store: Store
    paths: Paths
    _kept: OrderedDict[str, Document] = field(default_factory=OrderedDict)  # done batches of ended campaigns, by path
    _whole: OrderedDict[tuple[str, ...], list[Document]] = field(default_factory=OrderedDict)  # all of one, by its id and sends

    async def contacts(
        self, plan: Mapping[str, Any], source: Mapping[str, Any], sids: Sequence[str], now: int
    ) -> Contacts | None:
        """What counts for the readers of a batch: `sids` when they are known (a roster), else those of the range `source`. None without
        a cap. Raises Unavailable."""
        policy = plan.get("policy") or {}
        cap, near = policy.get("cap", 0), [item for item in plan.get("recent", []) if not item.get("far")]
        if not cap or not near:
            return None
        return await self._found(Contacts(cap, now - policy.get("days", 1) * DAY), near, source, sids)

    async def seldom(
        self, campaign: str, plan: Mapping[str, Any], source: Mapping[str, Any], sids: Sequence[str], key: str
    ) -> Contacts:
        """What counts for those of a batch's readers who want mails seldom: as `contacts`, and the campaign's own sends before that of
        `key`. Raises Unavailable."""
        recent: list[Mapping[str, Any]] = list(plan.get("recent", []))
        if before := [send for send in plan.get("sends", []) if send["key"] != key] if key else []:
            recent.append({"id": campaign, "sends": before})
        return await self._found(Contacts(), recent, source, sids, self.paths.batch(campaign, f"{key}-") if key else "")

    async def _found(
        self, found: Contacts, recent: Sequence[Mapping[str, Any]], source: Mapping[str, Any], sids: Sequence[str], but: str = ""
    ) -> Contacts:
        """`found`, with what the ledgers say; `but` those whose paths begin so."""
        if not recent:
            return found
        campaigns = await self.store.get_many([self.paths.campaign(item["id"]) for item in recent], ["state"])
        for item, campaign in zip(recent, campaigns, strict=True):
            ended = campaign is None or campaign.data.get("state") in ENDED
            decided: set[str] = set()
            for ledger in await self._ledgers(item, source, sids, ended):
                if but and ledger.path.startswith(but):
                    continue
                times = struct.unpack(
                    f">{len(ledger.data['states'])}I", ledger.data.get("times") or bytes(4 * len(ledger.data["states"]))
                )
                for sid, state, at in zip(batch.sids(ledger.data["sids"]), ledger.data["states"], times, strict=True):
                    decided.add(sid)
                    if state in _MAILED:
                        found.had.setdefault(sid, []).append(at * 1000 if at else batch.NEVER)
            if item.get("ahead") and not ended:
                rule = rule_of(item.get("rule", ""))
                found.coming.append(Coming(item["segment"], rule, item["frozen_at"], frozenset(decided)))
        return found

    async def _ledgers(
        self, item: Mapping[str, Any], source: Mapping[str, Any], sids: Sequence[str], ended: bool
    ) -> list[Document]:
        """The batches of another campaign that may hold this batch's readers."""
        found: list[Document] = []
        names: list[str] = []
        for send in item["sends"]:
            prefix = f"{send['key']}-" if send["key"] else ""
            if send["parts"]:
                names += [f"{prefix}{n:06d}" for n in _overlapping(source, sids, send["parts"])]
            else:
                found += await self._rosters(item, ended)
        paths = [self.paths.batch(item["id"], name) for name in dict.fromkeys(names)]
        missing = [path for path in paths if path not in self._kept]
        read = dict(zip(missing, await self.store.get_many(missing, _FIELDS), strict=True)) if missing else {}
        found += [document for path in paths if (document := read.get(path, self._kept.get(path)))]
        if ended:
            self._kept |= {path: document for path, document in read.items() if document and document.data["state"] == "done"}
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return list({document.path: document for document in found}.values())

    async def _rosters(self, item: Mapping[str, Any], ended: bool) -> list[Document]:
        """All batches of a campaign: a roster's readers may be in any of them."""
        key = (item["id"], *(send["key"] for send in item["sends"]))
        if key in self._whole:
            return self._whole[key]
        found: list[Document] = []
        while True:
            page = await self.store.page(
                self.paths.batches(item["id"]), after=found[-1].id if found else "", limit=PAGE, fields=_FIELDS
            )
            found += page
            if len(page) < PAGE:
                break
        if ended and all(document.data["state"] == "done" for document in found):
            self._whole[key] = found
            while len(self._whole) > CAMPAIGNS:
                self._whole.popitem(last=False)
        return found


def _overlapping(source: Mapping[str, Any], sids: Sequence[str], parts: int) -> Iterable[int]:
    """Which of `parts` equal ranges of the sid space hold the readers of a batch."""

    def part(text: str) -> int:
        return (int(text[:16].ljust(16, "0"), 16) * parts) >> 64

    if sids:
        return sorted({part(sid) for sid in sids})
    low, high = source.get("low", ""), source.get("high", "")
    return range(part(low) if low else 0, part(high) + 1 if high else parts)


@dataclass
class Quiet:
    """The hours in which nobody is mailed, where they are. `hours`: two minutes of the day, the second before the first when a night
    lies between them."""

    hours: tuple[int, int]
    zone: str  # of readers whose zone is not known
    _offsets: dict[str, int] = field(default_factory=dict)  # zone -> minutes ahead of UTC, now

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Quiet | None:
        """A campaign's, None without."""
        policy = plan.get("policy") or {}
        quiet = policy.get("quiet") or []
        return cls((quiet[0], quiet[1]), policy.get("zone", "UTC")) if len(quiet) == 2 and quiet[0] != quiet[1] else None

    def until(self, subscriber: Mapping[str, Any], now: int) -> int:
        """When the reader's quiet hours end (ms), 0 when it is none now."""
        zone = str((subscriber.get("located") or {}).get("zone") or self.zone)
        start, end = self.hours
        minute = (now // 60_000 + self._offset(zone, now)) % 1440
        quiet = start <= minute < end if start < end else minute >= start or minute < end
        return now - now % 60_000 + (end - minute) % 1440 * 60_000 if quiet else 0

    def _offset(self, zone: str, now: int) -> int:
        if zone not in self._offsets:
            moment = datetime.fromtimestamp(now / 1000, UTC)
            ahead = moment.astimezone(zone_of(zone) or UTC).utcoffset() or timedelta()
            self._offsets[zone] = int(ahead.total_seconds() // 60)
        return self._offsets[zone]
