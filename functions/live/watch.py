"""One campaign's numbers for all who look at it from this process: looked up while somebody does, and paid for once.

Every look has its price, in documents that the store bills, and what it cost decides when it is done again: each kind has a share of
`reads` an hour. So in any hour a campaign costs at most that, and one look of each kind. What was read stays when the last viewer
leaves: who comes back a moment later costs nothing.

    state    the campaign's document
    near     batches at work, and those next in line
    rest     every batch that is not over, once more; all of them when there are others than we know. Those that are over are kept
    counts   opens, clicks …: count() of the deliveries, a read for each thousand
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal

from shared.errors import Unavailable
from shared.logs import log, log_exception
from shared.model.campaign import ENDED, LABELS
from shared.model.paths import Paths
from shared.ports import Clock, Document, Filter, Store

Kind = Literal["state", "near", "rest", "counts"]
SHARES: Final[Mapping[Kind, float]] = {"state": 0.1, "near": 0.3, "rest": 0.3, "counts": 0.3}  # of the reads of an hour
HOUR: Final = 3_600_000  # ms
FASTEST: Final = 2_000  # ms from one look to the next of its kind
IDLE: Final = 10_000  # the same, while nothing is sent
LATE: Final = 60_000  # ms from one try to the next, at most, while the store does not answer
PAGE: Final = 300
COUNTED: Final = ("opened", "opened_all", "clicked", "clicked_all", "bounced", "unsubscribed", "converted")  # of LABELS
SENT: Final = ("sent", "failed", "deferred")  # of the batches' tallies
POINTS: Final = 120  # of the line
LINE: Final = 600_000  # ms that it shows
KEPT: Final = 50  # campaigns remembered that nobody looks at
_FIELDS: Final = ("state", "row", "expected", "sends", "ended", "totals", "preparing")
_OF_BATCH: Final = ("state", "seq", "tally", "unsettled")


class Watch:
    """`numbers` is what viewers see, {} until the first look: `at` (ms), `state` ("unknown", "waiting", "running", "paused",
    "completed", "cancelled"), `name`, `recipients`, those of SENT and COUNTED, and `late`: the store does not answer.

    `version` grows with each change of them; `over`: the campaign has ended, and they are its last. `points` are (at, sent, opened,
    clicked)."""

    def __init__(self, store: Store, paths: Paths, campaign: str, clock: Clock, reads: int) -> None:
        self.numbers: dict[str, Any] = {}
        self.version = 0
        self.over = False
        self.viewers = 0
        self.points: deque[tuple[int, int, int, int]] = deque(maxlen=POINTS)
        self._store, self._paths, self._campaign, self._clock, self._reads = store, paths, campaign, clock, reads
        self._due: dict[Kind, int] = dict.fromkeys(SHARES, 0)
        self._price: dict[Kind, int] = dict.fromkeys(SHARES, 0)  # ms
        self._data: Mapping[str, Any] = {"state": "unknown"}
        self._tallies: dict[str, Mapping[str, int]] = {}  # of each batch, by id
        self._tally: Counter[str] = Counter()  # the sum of them
        self._open: dict[str, bool] = {}  # the batches that may change -> whether a worker has had it
        self._counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self._failures = 0
        self._shown = self._summed()
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None

    # --- viewers ---

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Be a viewer: the first begins the looking, the last ends it."""
        self.viewers += 1
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self.viewers -= 1
            if not self.viewers and self._polling:
                self._polling.cancel()
                self._polling = None

    async def current(self) -> None:
        """Look at what is due, together with whoever is looking already; a caller that is cancelled leaves it to the others."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)

    async def news(self, version: int, seconds: float) -> None:
        """Return when there is another version than this, or after so long."""
        changed = self._changed
        if self.version == version:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await changed.wait()

    @property
    def idle(self) -> bool:
        return self._polling is None and (self._looking is None or self._looking.done())

    async def _poll(self) -> None:
        while True:
            await self.current()
            await asyncio.sleep(max(min(self._due.values()) - self._clock.now(), 100) / 1000)

    # --- looks ---

    async def _look(self) -> None:
        """Whatever is due; what fails is tried again, ever later, and the numbers stay as they are, and are called late."""
        now = self._clock.now()
        if min(self._due.values()) > now:
            return
        try:
            for kind in SHARES:
                if self._due[kind] <= now:
                    await self._once(kind, now)
            self._shown = self._summed()
            self._failures = 0
        except Unavailable as error:
            log("WARNING", f"numbers are late: {error}", campaign=self._campaign)
            self._put_off(now)
        except Exception as error:  # or viewers would wait for ever
            log_exception("numbers are late", error)
            self._put_off(now)
        self._tell(now)

    def _put_off(self, now: int) -> None:
        self._failures += 1
        wait = min(LATE, FASTEST << min(self._failures, 5))
        self._due = {kind: max(due, now + wait) for kind, due in self._due.items()}

    async def _once(self, kind: Kind, now: int) -> None:
        self._due[kind] = now + self._price[kind]  # what it cost before, should it fail halfway
        match kind:
            case "state":
                cost = await self._state()
            case "near":
                cost = await self._read(self._near()) if self._sending else 0
            case "rest":
                cost = await self._rest() if self._sending else 0
            case "counts":
                cost = await self._count() if self._data.get("sends") or "expected" in self._data else 0
        self._price[kind] = round(cost * HOUR / (self._reads * SHARES[kind]))
        least = IDLE if kind == "state" and self._data.get("state") != "running" else FASTEST
        self._due[kind] = now + max(least, self._price[kind])
        if kind == "counts" or not self._final:
            self.over = self._final

    async def _state(self) -> int:
        found = await self._store.get(self._paths.campaign(self._campaign), _FIELDS)
        before, self._data = self._final, found.data if found else {}
        if self._final and not before:
            self._due["counts"] = 0  # the last time
        return 1

    @property
    def _final(self) -> bool:
        data = self._data
        return data.get("state") in ENDED and not data.get("preparing") and data.get("ended", 0) == len(data.get("sends", ()))

    @property
    def _sending(self) -> bool:
        return "expected" in self._data and not self._final

    def _near(self) -> list[str]:
        """The batches at work, and as many of those that nobody has begun: they go in the order of their ids."""
        at_work = [id for id, begun in self._open.items() if begun]
        return at_work + sorted(id for id, begun in self._open.items() if not begun)[: max(8, len(at_work))]

    async def _rest(self) -> int:
        collection = self._paths.batches(self._campaign)
        known = await self._store.count(collection)
        cost = max(1, -(-known // 1000))
        if known == len(self._tallies):
            return cost + await self._read(list(self._open))
        after = ""
        while page := await self._store.page(collection, after=after, limit=PAGE, fields=_OF_BATCH):
            cost += len(page)
            self._note(page)
            after = page[-1].id
            if len(page) < PAGE:
                break
        return cost

    async def _read(self, ids: list[str]) -> int:
        found = await self._store.get_many([self._paths.batch(self._campaign, id) for id in ids], _OF_BATCH) if ids else []
        self._note(document for document in found if document)
        return len(ids)

    def _note(self, batches: Iterable[Document]) -> None:
        for each in batches:
            tally = each.data.get("tally", {})
            self._tally.subtract(self._tallies.get(each.id, {}))
            self._tally.update(tally)
            self._tallies[each.id] = tally
            self._open.pop(each.id, None)
            if each.data["state"] != "done" or each.data.get("unsettled"):
                self._open[each.id] = each.data.get("seq", 0) > 0

    async def _count(self) -> int:
        cost = 0
        deliveries = self._paths.deliveries(self._campaign)
        for name in COUNTED:
            found = await self._store.count(deliveries, Filter(contains=("labels", LABELS[name])))
            self._counts[name] = found
            cost += max(1, -(-found // 1000))
        return cost

    # --- what they show ---

    def _tell(self, now: int) -> None:
        found = {**self._shown, "late": self._failures > 0}
        if found != {name: value for name, value in self.numbers.items() if name != "at"}:
            at = self.numbers.get("at", now) if found["late"] else now
            self.numbers = {**found, "at": at}
            self.version += 1
            if not found["late"]:
                self.points.append((now, found["sent"], found["opened"], found["clicked"]))
            self._changed.set()
            self._changed = asyncio.Event()
        while self.points and self.points[0][0] < now - LINE:
            self.points.popleft()

    def _summed(self) -> dict[str, Any]:
        data, tally = self._data, Counter(self._tally)
        sends = data.get("sends", ())
        again = sum(send["expected"] for send in sends if send["kind"] == "retry")  # a mail that is sent once more counts once
        tally["failed"] = max(0, tally["failed"] - again)
        if self._final and "totals" in data:
            tally = Counter(data["totals"])
            recipients = tally.pop("recipients", 0)
        else:
            first = sum(send["expected"] for send in sends if send["kind"] != "retry") if sends else data.get("expected", 0)
            recipients = max(first, sum(tally.values()))
        state = data.get("state", "")
        shown = state if state in ("unknown", "running", "paused", *ENDED) else "waiting"
        name = str(data.get("row", {}).get("name") or self._campaign)
        return {"state": shown, "name": name, "recipients": recipients, **{one: tally[one] for one in SENT}, **self._counts}


class Watches:
    """The campaigns looked at from this process, and KEPT of those that were."""

    def __init__(self, store: Store, paths: Paths, clock: Clock, reads: int) -> None:
        self._given = store, paths, clock, reads
        self._known: OrderedDict[str, Watch] = OrderedDict()

    def of(self, campaign: str) -> Watch:
        store, paths, clock, reads = self._given
        watch = self._known.setdefault(campaign, Watch(store, paths, campaign, clock, reads))
        self._known.move_to_end(campaign)
        for id in [id for id, each in self._known.items() if each.idle and id != campaign][: max(0, len(self._known) - KEPT)]:
            del self._known[id]
        return watch

    @property
    def viewers(self) -> int:
        return sum(watch.viewers for watch in self._known.values())
