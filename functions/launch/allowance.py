"""What providers with a limit may still take, leased to batches: nothing is counted a mail, and nothing is leased twice.

A provider's allowance is kept in its document and leased by the tick only. A lease is one commit of the batches and of the providers'
documents, each on the version read: of two ticks at once only one takes it, and after a reply that was lost the documents say what
happened. What a worker did not use is taken back the same way.

    a day's mails   of the UTC day. A lease of an earlier day counts no more: what is left of it is leased anew
    a rate          as credit for at most a minute. The batches of one call share the rate by their mails; a later call of the same
                    tick adds the share of its own
    a warm-up       a day's mails to each mailbox provider, see warmup.py; mails of no group count as OTHER's
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Conflict, Unavailable
from shared.logs import log
from shared.model.batch import BATCH_SIZE
from shared.model.paths import Paths
from shared.model.provider import Provider
from shared.paging import PAGE
from shared.ports import Data, Document, Filter, Merge, Store

from . import warmup
from .forecast import Outlook
from .way import Way

FIELDS: Final = ("source", "swept", "grants", "granted", "group", "tally", "read_all")  # of a batch, for `stamp`
ATTEMPTS: Final = 5
CHUNK: Final = 400  # batches in one commit
MORE: Final = 20  # mails that a range may have beyond those expected

_Plan = Callable[[Sequence[Document]], dict[str, Data]]  # path -> changes; moves the ways along


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a batch needs: so many mails, by any of these `ways`; `free`: there is one without a limit. `kept`: today's grants."""

    group: str
    mails: int
    ways: Sequence[Way]
    free: bool
    kept: Mapping[str, Mapping[str, Any]]

    @property
    def content(self) -> bool:
        """Whether the batch can go on as it is."""
        return self.free or bool(self.kept) or not self.mails


class Allowances:
    """Of all providers, in one tick. Made by `open`."""

    def __init__(self, store: Store, paths: Paths, providers: Sequence[Provider], now: int) -> None:
        self._store, self._paths = store, paths
        self._ways = {provider.name: Way(provider, paths.provider(provider.name), now) for provider in providers}
        self._today = warmup.day_of(now)
        self._figures: dict[tuple[str, str], dict[Any, warmup.Counts]] | None = None
        self._doubtful = False  # whether the ways may not be as stored
        self._going: tuple[str, Counter[str]] = "", Counter()  # the campaign stamped last, and what it was leased
        self._waiting: Counter[str] = Counter()  # mailbox provider -> mails that found no way
        self._told: Counter[str] = Counter()  # the same, as `forecast` was told

    @classmethod
    async def open(cls, store: Store, paths: Paths, providers: Sequence[Provider], now: int) -> Allowances:
        """Read the providers' documents (one page) and keep them up: the configuration, and once a day the warm-ups' judgement.

        A document of a provider that is configured no more is marked `gone`: should that one come back, its warm-up goes on. Raises
        Unavailable.
        """
        self = cls(store, paths, providers, now)
        for _ in range(ATTEMPTS):
            if await self._keep_up():
                return self
        raise Unavailable("the store", "the providers' documents could not be written")

    async def _keep_up(self) -> bool:
        """Whether the documents are as they should be now; if not, they have to be read again."""
        found = {document.id: document for document in await self._store.page(self._paths.providers, limit=PAGE)}
        for name, way in self._ways.items():
            way.read(found.get(name))
        await self._judge()
        ways = [(way, note) for way in self._ways.values() if (note := way.note())]
        gone = [
            Merge(document.path, {"gone": True}, if_version=document.version)
            for name, document in found.items()
            if name not in self._ways and document.data.get("gone") is not True
        ]
        results = await self._store.write_many([*(note for _, note in ways), *gone])
        for (way, _), result in zip(ways, results, strict=False):
            if isinstance(result, str):
                way.noted(result)
        return all(isinstance(result, str) for result in results)

    async def _judge(self) -> None:
        """Judge yesterday's warm-ups. When the figures cannot be read nothing of them is leased until the next tick."""
        unjudged = {name: groups for name, way in self._ways.items() if (groups := way.unjudged())}
        if not unjudged:
            return
        if self._figures is None:
            groups = sorted({group for groups in unjudged.values() for group in groups})
            try:
                self._figures = await warmup.figures(self._store, self._paths, set(unjudged), groups, self._today)
            except Unavailable as error:
                log("WARNING", f"the warm-up is not judged yet: {error}")
                return
        for name, groups in unjudged.items():
            for group in groups:
                self._ways[name].judge(group, self._figures.get((name, group), {}))

    @property
    def limited(self) -> bool:
        """Whether some mails go only by a lease."""
        return any(way.provider.limited for way in self._ways.values())

    @property
    def warming(self) -> bool:
        """Whether some provider is in warm-up with some mailbox provider, so that campaigns are cut as rosters of one each."""
        return any(way.warming(group) for way in self._ways.values() for group in warmup.ALL)

    # --- leasing ---

    async def stamp(self, found: Sequence[Document], due: int) -> list[Document]:
        """Stamp batches that are due, with FIELDS: {due, swept + 1, grants, granted, leftover: False}, each on the version read.

        Returns those that are to be published. The others were changed by somebody else meanwhile, or there is nothing left that they
        may be mailed with: these are not stamped, and stay due. Raises Unavailable; what was stamped then is due again at `due`.
        """
        stamps = {each.path: {"due": due, "swept": each.data.get("swept", 0) + 1, "leftover": False} for each in found}
        if not self.limited:
            return await self._each(found, {path: {**stamp, "grants": {}} for path, stamp in stamps.items()})
        wishes = {each.path: self._wish(each.data) for each in found}
        granted: dict[str, int] = {}  # path -> mails that may go
        stamped: set[str] = set()
        left: list[Document] = []

        def plan(batches: Sequence[Document]) -> dict[str, Data]:
            return self._leases(batches, wishes, stamps, granted)

        for start in range(0, len(found), CHUNK):
            done, rest = await self._together(found[start : start + CHUNK], plan)
            stamped |= {document.path for document in done}
            left += rest
        plain = [document for document in left if wishes[document.path].content]
        kept = {each.path: {**stamps[each.path], "grants": dict(wishes[each.path].kept)} for each in plain}
        stamped |= {document.path for document in await self._each(plain, kept)}
        for document in left:
            if document.path not in kept:
                self._waiting[wishes[document.path].group] += wishes[document.path].mails
        if found and (campaign := found[0].path.rsplit("/", 2)[0]) != self._going[0]:
            self._going = campaign, Counter()
        for path in stamped & granted.keys():
            self._going[1][wishes[path].group] += min(granted[path], wishes[path].mails)
        return [document for document in found if document.path in stamped]

    def _wish(self, data: Mapping[str, Any]) -> _Wish:
        group = data.get("group", "")
        able = [way for way in self._ways.values() if way.takes(group)] or list(self._ways.values())
        ways = [way for way in able if way.provider.limited]
        today = data.get("granted") == self._today.isoformat()
        names = {way.provider.name for way in ways} if today else ()
        kept = {name: grant for name, grant in data.get("grants", {}).items() if name in names and grant["mails"]}
        return _Wish(group, _needed(data), ways, len(ways) < len(able), kept)

    def _leases(
        self,
        batches: Sequence[Document],
        wishes: Mapping[str, _Wish],
        stamps: Mapping[str, Mapping[str, Any]],
        granted: dict[str, int],
    ) -> dict[str, Data]:
        """Give each batch what it needs, from each provider that it may go by, in turn while there is some; how much, into `granted`."""
        given: dict[str, dict[str, int]] = {}
        for document in batches:
            wish = wishes[document.path]
            for way in wish.ways:
                held = wish.kept.get(way.provider.name, {}).get("mails", 0)
                if (mails := min(wish.mails - held, way.left(wish.group))) > 0:
                    way.lease(wish.group, mails)
                    given.setdefault(document.path, {})[way.provider.name] = held + mails
        granted |= {path: sum(mails_by.values()) for path, mails_by in given.items()}
        return {
            path: {
                **stamps[path],
                "granted": self._today.isoformat(),
                "grants": dict(wishes[path].kept) | {name: self._ways[name].grant(mails) for name, mails in mails_by.items()},
            }
            for path, mails_by in given.items()
        }

    async def take_back(self, campaign: str) -> None:
        """Take back what workers left of today's grants to a campaign's batches. Raises Unavailable."""
        if not self.limited:
            return
        after = ""
        while True:
            fields = ["grants", "granted", "group", "lease_until"]
            page = await self._store.page(self._paths.batches(campaign), Filter(equals=("leftover", True)), after, PAGE, fields)
            await self._together([each for each in page if not each.data["lease_until"]], self._returns)
            if len(page) < PAGE:
                return
            after = page[-1].id

    def _returns(self, batches: Sequence[Document]) -> dict[str, Data]:
        for document in batches:
            today = document.data.get("granted") == self._today.isoformat()
            for name, grant in document.data["grants"].items():
                if today and name in self._ways and self._ways[name].provider.limited:
                    self._ways[name].lease(document.data["group"], -grant["mails"])
        return {document.path: {"grants": {}, "leftover": False} for document in batches}

    # --- writing ---

    async def _each(self, batches: Sequence[Document], changes: Mapping[str, Data]) -> list[Document]:
        """Write batches, each for itself; those that took it."""
        results = await self._store.write_many(
            [Merge(each.path, changes[each.path], if_version=each.version) for each in batches]
        )
        return [document for document, result in zip(batches, results, strict=True) if isinstance(result, str)]

    async def _together(self, batches: Sequence[Document], plan: _Plan) -> tuple[list[Document], list[Document]]:
        """Commit what `plan` makes of batches with what it makes of the providers. The batches that were written, and those that the
        plan had nothing for; without those that somebody else has changed. Raises Unavailable."""
        done: list[Document] = []
        left = list(batches)
        for _ in range(ATTEMPTS):
            if self._doubtful:
                await self._read_again([])
            changes = plan(left)
            if not changes:
                return done, left
            chosen = [document for document in left if document.path in changes]
            moved = [(way, write) for way in self._ways.values() if (write := way.write())]
            writes = [Merge(document.path, changes[document.path], if_version=document.version) for document in chosen]
            try:
                versions = await self._store.commit([*writes, *(write for _, write in moved)])
            except (Conflict, Unavailable) as error:
                log("INFO", f"a lease is read back: {error}")
                self._doubtful = True
                now = await self._read_again(chosen)
                ours = [each for each in chosen if _holds(now[each.path], changes[each.path])]
                theirs = [each for each in chosen if each.version != getattr(now[each.path], "version", "")]
                done += ours
                settled = {each.path for each in (*ours, *theirs)}
                left = [each for each in left if each.path not in settled]
                continue
            for (way, _), version in zip(moved, versions[len(writes) :], strict=True):
                way.written(version)
            return [*done, *chosen], [each for each in left if each.path not in changes]
        log("WARNING", "left to the next tick: others write the same batches or providers", batches=len(left))
        return done, []

    async def _read_again(self, batches: Sequence[Document]) -> dict[str, Document | None]:
        """Take over the providers' documents as they are now; these batches as they are now, by path."""
        ways = list(self._ways.values())
        found = await self._store.get_many([*(each.path for each in batches), *(way.path for way in ways)])
        for way, document in zip(ways, found[len(batches) :], strict=True):
            way.read(document)
        self._doubtful = False
        return {each.path: now for each, now in zip(batches, found, strict=False)}

    # --- what waits ---

    def forecast(self, waiting: Mapping[str, int]) -> str:
        """When mails will go that are not sent yet: "50 today, the rest by 2026-12-09 while ses warms up.", "" when all of them go today.

        `waiting`: mailbox provider ("" for any) -> a campaign's mails, those included that it was just leased. What was asked for before
        in this tick goes first. Days are UTC.
        """
        going, ways = self._going[1], list(self._ways.values())
        found = Outlook(ways, self._today, waiting, going, self._told).sentence()
        self._told.update({group: max(0, mails - going[group]) for group, mails in waiting.items()})
        return found

    async def report(self) -> None:
        """Note for the Providers tab what waits, and the day the last of it goes: `waiting` and `goes_by` in each document. Once a tick,
        when everything was stamped and forecast."""
        waiting = self._waiting | self._told  # the larger of either
        days = Outlook(list(self._ways.values()), self._today, waiting, {}, {}).days
        writes: list[Merge] = []
        for way in self._ways.values():
            mine = {group: mails for group, mails in waiting.items() if mails and way.provider.limited and way.takes(group)}
            changes = {"waiting": sum(mine.values()), "goes_by": max((str(days[group]) for group in mine), default="")}
            if any(way.data.get(name, type(value)()) != value for name, value in changes.items()):
                writes.append(Merge(way.path, changes))
        for result in await self._store.write_many(writes):
            if not isinstance(result, str):
                log("WARNING", f"what waits is not shown: {result}")


def _holds(now: Document | None, changes: Data) -> bool:
    return now is not None and all(now.data.get(name) == value for name, value in changes.items())


def _needed(data: Mapping[str, Any]) -> int:
    """Mails that a batch may still hand over. Of a range that was not read to its end that is a guess."""
    source: Mapping[str, Any] = data["source"]
    counts: Mapping[str, int] = data["tally"]
    known = sum(counts.values())
    if "roster" in source:
        whole = int(source["roster"])
    elif "sid" in source:
        whole = 1
    else:
        whole = known if data.get("read_all") else max(BATCH_SIZE, known + MORE)
    return max(0, whole - known) + counts.get("deferred", 0)
