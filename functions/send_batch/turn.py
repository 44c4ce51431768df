"""A turn at a batch: window by window, each recorded before it is handed over, to the end or to where it has to stop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.errors import Denied, Unavailable
from shared.logs import log
from shared.model import batch
from shared.ports import Document, Filter

from .hand_over import HandOver
from .limits import Asking, Held, Limits
from .policy import SELDOM
from .routes import Route, Shut
from .run import BACK_OFF, Run, Waiting, Window

if TYPE_CHECKING:
    from .handler import SendBatch

QUOTA_WAIT = 60_000  # ms: the tick grants more
AHEAD = batch.BATCH_SIZE + 100  # readers read at once where mails go quickly: all of a batch (five sigma)
STALE = 1.0  # seconds after which a reader is read again before being mailed


@dataclass(frozen=True)
class Turn:
    """What one worker does with one batch now. `step`: its dependencies."""

    step: SendBatch
    run: Run

    @cached_property
    def _hands(self) -> HandOver:
        return HandOver(self.step, self.run)

    async def work(self) -> None:
        """Window by window to the end, or to a window edge when the turn has to stop."""
        run, step = self.run, self.step
        if run.until:
            ahead = (run.until - step.clock.now()) / 1000
            run.stopping.at = min(run.stopping.at, time.monotonic() + ahead)
        while not run.stop:
            async with step.lanes:
                try:
                    window = await self._next()
                except Unavailable as error:  # the store: what is known is written down, the rest waits
                    log("WARNING", str(error), campaign=run.campaign, batch=run.batch)
                    run.stop = "down"
                    break
                if window is None:
                    break
                began = time.monotonic()
                await self._hands.window(window)
            await self._keep_pace(window, began)
        self._pace()
        if run.earlier and not run.adopted:  # nobody knows whether the later one finds a place
            run.ledger.asked_anew(run.earlier)
        if (run.state != "paused" or run.ledger.held) and not run.in_vain:
            await self._end()
        if run.fault:
            await step.pause(run.campaign, run.fault)

    async def _keep_pace(self, window: Window, began: float) -> None:
        """A provider takes so many mails a second of this batch: its share of what the tick granted."""
        run = self.run
        rate = run.ledger.grants.get(window.route.provider.name, {}).get("rate", 0)
        if rate and not run.stop:
            until = min(began + len(window.mails) / rate, run.stopping.at)
            await asyncio.sleep(max(0.0, until - time.monotonic()))

    async def _next(self) -> Window | None:
        """The next window, its readers just read. None at the end, or when `run.stop` says why not now. Raises Unavailable."""
        run, step = self.run, self.step
        if run.windows:
            if run.ledger.read_all and not run.left():
                return None
            plan = await step.store.get(step.paths.campaign(run.campaign), ["state"])
            run.state = str(plan.data["state"]) if plan else "cancelled"
        if run.waiting and (
            run.state == "cancelled" or time.monotonic() - run.read_at > STALE
        ):  # whoever left meanwhile is honoured
            run.stale = [*(mail.position for mail in run.waiting), *run.stale]
            run.waiting = []
        if run.state == "paused":
            run.stop = "paused"
        elif run.stopping.come:
            run.stop = "time"
        await step.routes.refresh(step.clock.now())
        if run.state != "cancelled" and not run.stop and len(step.routes.all) == 1 and not await self._ready(step.routes.all[0]):
            run.stop = run.stop or "down"  # before anybody is read
        while not run.stop:
            if not run.waiting and not await self._fill():
                return None
            if run.waiting and ((window := await self._routed()) or run.stop):
                return window
        return None

    async def _fill(self) -> bool:
        """Read on: put readers into the ledger, and those whose mail can go into `run.waiting`. False when nothing was left to read."""
        run, step = self.run, self.step
        ledger, limit = run.ledger, self._limit()
        if not limit:
            run.shut = run.stop = "quota"
            return False
        positions: list[int]
        run.read_at = time.monotonic()
        if run.stale or ledger.read_all:
            again = run.stale or run.retries
            positions = again[:limit]
            sids = [ledger.sid(position) for position in positions]
            found = await step.store.get_many([step.paths.subscriber(sid) for sid in sids], run.fields)
            del again[:limit]
        else:
            read, pages = await self._read(limit)
            sids, found = list(read), list(pages)
            start = ledger.add(sids, bytes([batch.DEFERRED]) * len(sids))
            positions = list(range(start, start + len(sids)))
        now = step.clock.now()
        if run.state != "cancelled":
            await self._ask_more(positions, found, now)
        for position, sid, document in zip(positions, sids, found, strict=True):
            state = self._judge(position, sid, document.data if document else None, now)
            ledger.states[position] = state
            if state != batch.DEFERRED:
                ledger.note(position, "", now)
        return bool(sids)

    def _judge(self, position: int, sid: str, data: Mapping[str, Any] | None, now: int) -> int:
        """What becomes of a reader just read: an end state, or DEFERRED; who can be mailed now is in `run.waiting` then."""
        run = self.run
        state = batch.CANCELLED if run.state == "cancelled" else run.audience.judge(data)
        waits = run.held is not None and run.held.until > 0 and run.state != "cancelled"
        if (state != batch.HANDED or data is None) and not waits:
            return state
        data = data or {}
        if run.heeded and data.get("paused_until", 0) > now:
            return batch.SKIPPED_RESTING
        if run.contacts and run.contacts.enough(sid, data):
            return batch.SKIPPED_CAPPED
        if run.seldom and data.get("frequency") in SELDOM and run.seldom.too_soon(sid, run.fuller.get(sid, data), now):
            return batch.SKIPPED_RESTING
        if run.held and not run.held.until:
            return batch.SKIPPED_CROWDED
        if awake := run.held.until if run.held else run.quiet.until(data, now) if run.quiet else 0:
            run.awake_at = min(run.awake_at or awake, awake)
        else:
            run.waiting.append(Waiting(position, sid, data))
        return batch.DEFERRED

    async def _ask_more(self, positions: Sequence[int], found: Sequence[Document | None], now: int) -> None:
        """What takes more reads: has a mail that strangers can ask for its place, and what have those had who want mails seldom."""
        run = self.run
        if run.limits and found:
            mailable = found[0] and run.audience.judge(found[0].data) == batch.HANDED
            await self._take_place(run.limits, positions[0], found[0] if mailable else None, now)
        if not (run.heeded and run.ask_seldom):
            return
        readers = [one for one in found if one and one.data.get("frequency") in SELDOM]
        if readers:
            run.seldom = run.seldom or await run.ask_seldom()
            if run.seldom.fields - set(run.fields):
                fields = [*run.fields, *run.seldom.fields]
                fuller = await self.step.store.get_many([one.path for one in readers], fields)
                run.fuller = {one.id: one.data for one in fuller if one}

    async def _take_place(self, limits: Limits, position: int, reader: Document | None, now: int) -> None:
        """Among this hour's mails of a network and a domain, or note since when it waits for one. Whom we do not mail takes one of the
        network all the same, and waits for it: else whoever asked could tell by their own mails, which are held or not, who is a reader."""
        run, ledger, mail = self.run, self.run.ledger, self.run.audience
        since, network = ledger.crowded_since, ledger.source.get("network", "")
        address = mail.address(reader.data) if reader else ""
        asking = Asking(run.campaign, ledger.sid(position), mail.consent, network, address, mail.key, since)
        run.held = held = await limits.ask(asking, now)
        run.adopted = held is None or held.why == "contended"
        if held and run.in_vain:  # the earlier request goes on waiting for its own place, which may be nearer
            run.held = Held(batch.NEVER, held.why)
            return
        crowded = not run.adopted
        if crowded != bool(since) and not (held and since):  # what was noted before is over
            ledger.note(position, "", now)
        if crowded:
            ledger.note(position, batch.CROWDED, now)

    def _limit(self) -> int:
        """How many readers to look at: not more than can be mailed soon, so that what was read is still true then; 0 for nobody now."""
        run, ways = self.run, self.step.routes.all
        if run.careful or run.state == "cancelled" or len(ways) > 1:
            return 1 if run.careful else self.step.routes.window
        provider = ways[0].provider
        if provider.limited and run.kind == "campaign" and not run.ledger.grants.get(provider.name, {}).get("mails"):
            return 0
        return self._size(ways[0])

    async def _read(self, limit: int) -> tuple[Sequence[str], Sequence[Document | None]]:
        """The next live documents of the batch's source."""
        run, step = self.run, self.step
        ledger = run.ledger
        if ledger.roster:
            sids = batch.sids(ledger.roster[16 * len(ledger.states) : 16 * (len(ledger.states) + limit)])
            found = await step.store.get_many([step.paths.subscriber(sid) for sid in sids], run.fields)
            ledger.read_all = len(ledger.states) + len(sids) >= len(ledger.roster) // 16
            return sids, found
        if sid := ledger.source.get("sid"):
            only = await step.store.get(step.paths.subscriber(sid), run.fields)
            ledger.read_all = True  # once it is read: a store that does not answer must not lose the mail
            return [sid], [only]
        within = Filter(contains=("segments", run.audience.segment), below=ledger.source["high"] or None)
        if not run.ahead or run.read_at - run.ahead_at > STALE:
            exact = run.careful or any(route.provider.limited for route in step.routes.all)
            each = self._pace()
            soon = 0 if exact or not each else int(STALE / 2 / each)
            most = max(1, min(AHEAD, soon) // limit) * limit  # so that windows stay full
            run.ahead_at = run.read_at
            run.ahead = await step.store.page(step.paths.subscribers, within, ledger.cursor, most, run.fields)
            run.last_page = len(run.ahead) < most
        run.read_at = run.ahead_at
        page, run.ahead = run.ahead[:limit], run.ahead[limit:]
        if page:
            ledger.cursor = page[-1].id
        ledger.read_all = run.last_page and not run.ahead
        run.looked_at += len(page)
        return [document.id for document in page], page

    def _pace(self) -> float:
        """Seconds that a reader of a range takes, read and mailed, with all waits: in this turn, else in the one before; 0 for unknown."""
        run, routes = self.run, self.step.routes
        if run.looked_at:
            routes.each = (time.monotonic() - run.started) / run.looked_at
        return routes.each

    async def _routed(self) -> Window | None:
        """The mails at the head of `run.waiting` that go the same way. Those that have none now stay deferred."""
        run, step = self.run, self.step
        now, ledger = step.clock.now(), run.ledger
        grants = ledger.grants if run.kind == "campaign" else None
        chosen: Route | None = None
        mine: list[Waiting] = []
        others: list[Waiting] = []
        most = 0
        only = len(step.routes.all) == 1  # then all go the way of the first
        for number, mail in enumerate(run.waiting):
            if chosen and only and len(mine) >= most:
                others += run.waiting[number:]
                break
            way: Route | Shut | None = chosen if only else None
            way = way or step.routes.choose(mail.sid, mail.data, ledger.went_by(mail.position), grants, now)
            if isinstance(way, str):
                run.shut = way
            elif chosen is None or (way is chosen and len(mine) < most):
                if chosen is None:
                    chosen, most = way, self._size(way)
                mine.append(mail)
            else:
                others.append(mail)
        run.waiting = others
        if chosen is None:
            run.stop = run.shut
            return None
        if not await self._ready(chosen):
            run.waiting = sorted([*mine, *others], key=lambda mail: mail.position)
            return None
        return Window(chosen, mine)

    async def _ready(self, route: Route) -> bool:
        """Whether a provider can be reached; else it is left alone for a while."""
        step = self.step
        now = step.clock.now()
        if route.down_until > now:
            return False
        try:
            await route.sender.ready()
        except Unavailable as error:
            await step.routes.down(route, str(error)[:60], now)
            return False
        except Denied as error:
            self._hands.ours(route, str(error))
            return False
        return True

    def _size(self, route: Route) -> int:
        """Mails of the next window: what is over well before the lease is, and what the provider granted."""
        run = self.run
        if run.careful:
            return 1
        most = route.size(self.step.pace.lease / 3000)
        grant = run.ledger.grants.get(route.provider.name)
        if grant and route.provider.limited and run.kind == "campaign":
            most = min(most, grant["mails"], max(1, math.ceil(grant["rate"] * 2)) if grant["rate"] else most)
        return most

    # --- the end ---

    async def _end(self) -> None:
        """Let go of the batch: done, or waiting for what it needs."""
        run, step = self.run, self.step
        ledger, now = run.ledger, step.clock.now()
        left = run.left()
        waits: list[int] = []
        if run.state == "cancelled":
            ledger.replace(batch.DEFERRED, batch.CANCELLED)
        elif left and ledger.read_all:
            ledger.retry_from = min(left)  # the next turn goes on from here, in the same round
        elif ledger.read_all:
            refused = ledger.counted
            ledger.end_round(counts=run.retrying)
            ledger.give_up(now - step.pace.give_up)
            if batch.DEFERRED in ledger.states and refused:
                waits.append(now + round(step.pace.retry * BACK_OFF**ledger.round))
            if batch.DEFERRED in ledger.states and run.awake_at:
                waits.append(run.awake_at)
        if run.stop in ("down", "ours", "throttle") or run.shut in ("down", "throttle"):
            waits.append(now + step.pace.wait)
        elif run.shut == "quota":
            waits.append(now + QUOTA_WAIT * (1 if run.windows else 10))  # nothing could go by what is left: no hurry
        not_before = min(waits, default=0)
        await ledger.release(now, not_before)
        if run.stop in ("time", "") and ledger.state == "open" and not not_before and not self._closed_now():
            await step.bus.publish(batch.TOPIC, [batch.request(run.campaign, run.batch)])

    def _closed_now(self) -> bool:
        """Whether the campaign's hours are over: then the tick brings the batch back."""
        run = self.run
        return bool(run.until) and self.step.clock.now() >= run.until
