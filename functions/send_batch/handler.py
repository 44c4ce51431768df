"""One batch, or one message, to a provider: never twice, never lost.

Consumes send-requests (published by subscribe and launch). A window of the batch is one hand-over: its sids are written as
*handed* first, the results ride on the next window's write. A worker that dies before that write loses nothing; one that dies after
leaves at most its window `unknown`, listed and never resent. Waiting is never a nack: a batch that has to wait stores `not_before`,
is acknowledged, and launch's sweeper brings it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from shared.errors import BadInput, BadTemplate, Conflict, NotFound, Unavailable
from shared.links import Links
from shared.logs import log, metric
from shared.mail.compile import CompiledMail
from shared.model import batch, event
from shared.model.campaign import answered
from shared.model.event import Event
from shared.model.paths import CONFIRM, WELCOME, Paths
from shared.model.ref import CAMPAIGN_ID
from shared.ports import Bus, Clock, Document, Filter, Kind, Merge, Outcome, Outgoing, Sender, Store

from .audience import FIELDS, Audience
from .ledger import Ledger, Lost
from .mails import Mails

RETRIES = 5
_NAME = re.compile(r"[0-9a-f]{1,32}(?:\.[A-Za-z0-9-]{1,40})?")
STATES: Mapping[Kind, int] = {
    "sent": batch.SENT,
    "recipient": batch.FAILED,
    "message": batch.FAILED,
    "throttle": batch.DEFERRED,
    "temporary": batch.DEFERRED,
    "down": batch.DEFERRED,
    "ours": batch.DEFERRED,
    "unknown": batch.UNKNOWN,
}
PAUSED = (
    "Paused: the mail server refuses our mail ({}). Nobody was suppressed. Mend it, choose Pause, and Go once the row says so."
)
BROKEN = "Paused: the frozen mail cannot be made: {}"


Window = tuple[list[int] | None, Sequence[str], Sequence[Document | None]]  # places in the ledger, sids, live documents


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long things take, in milliseconds: a lease, the part of the ack deadline a run may use, the first back-off of a deferred
    mail (doubling), the wait while a provider is down."""

    lease: int
    budget: int
    retry: int
    wait: int


@dataclass
class Run:
    """One worker's turn at one batch."""

    campaign: str
    batch: str
    ledger: Ledger
    audience: Audience
    mail: CompiledMail | None  # not needed to cancel
    sender_address: str
    state: str  # of the campaign
    retrying: bool  # the range was read to its end before this run
    retries: list[int]  # positions of deferred mails still to try in this round
    stop: str = ""  # why this run ends at the next window edge
    fault: str = ""  # the provider's code when the fault is ours
    windows: int = 0
    deferrals: int = 0
    before: Mapping[str, int] = field(default_factory=dict)  # end state -> mails, when this run took the batch over

    @property
    def kind(self) -> str:
        """What sort of mail, as the metrics have it."""
        return self.campaign if self.campaign in (CONFIRM, WELCOME) else "campaign"


@dataclass(frozen=True)
class SendBatch:
    """The step's dependencies."""

    store: Store
    bus: Bus
    clock: Clock
    links: Links
    paths: Paths
    sender: Sender
    mails: Mails
    pace: Pace
    lanes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))  # windows under way at once in this process

    async def handle(self, message: Mapping[str, Any]) -> None:
        """Work on `{campaign, batch, consent?}`. Raises BadInput for a message of no batch (it ends as a dead letter)."""
        await self.links.tokens.fresh()
        campaign, name, consent = message.get("campaign"), message.get("batch"), message.get("consent", "")
        if not (isinstance(campaign, str) and isinstance(name, str) and isinstance(consent, str)):
            raise BadInput("not a send request")
        if not (CAMPAIGN_ID.fullmatch(campaign) and _NAME.fullmatch(name)):
            raise BadInput("not a send request")
        started = time.monotonic()
        try:
            run = await self._begin(campaign, name, consent)
            if run:
                await self._work(run, started)
                _counted(run)
        except Lost:
            log("INFO", "another worker has this batch", campaign=campaign, batch=name)

    async def _begin(self, campaign: str, name: str, consent: str) -> Run | None:
        """Read what is needed; None when there is nothing to do now."""
        single = campaign in (CONFIRM, WELCOME)
        path = self.paths.batch(campaign, name)
        plan, found = await self.store.get_many([self.paths.campaign(campaign), path])
        now = self.clock.now()
        sid, _, key = name.partition(".")
        if found is None and not (single and len(sid) == 32 and key):
            raise BadInput("no such batch")
        if found and found.data["state"] != "open":
            if campaign == CONFIRM and "-" not in key and await self._left_since(sid, found):
                return await self._begin(campaign, f"{name}-again", consent)
            return None
        fresh = batch.single(sid, consent, now)
        ledger = Ledger(self.store, path, found, fresh, secrets.token_hex(8), self.pace.lease)
        if ledger.lease_until > now or ledger.not_before > now:
            return None
        before = batch.tally(ledger.states)
        ledger.take_over()
        if plan is None or "mail" not in plan.data:
            await ledger.release(now, now + self.pace.wait)  # the tick has not frozen this mail yet
            return None
        data = plan.data
        if data["state"] == "paused":
            return None
        try:
            mail = await self.mails.get(campaign, data["mail"]) if data["state"] != "cancelled" else None
        except (BadTemplate, NotFound) as error:
            await self._pause(campaign, BROKEN.format(error))
            if single:
                await ledger.release(now, now + self.pace.wait)  # it may exist in this message only
            return None
        audience = (
            Audience(campaign, key=key, consent=ledger.source["consent"])
            if single
            else Audience(campaign, segment=data["segment"], frozen_at=data["frozen_at"])
        )
        left = [position for position in ledger.positions(batch.DEFERRED) if position >= ledger.retry_from]
        address = data["mail"]["identity"]["from_address"]
        retrying = ledger.read_all
        retries = left if retrying else []
        return Run(campaign, name, ledger, audience, mail, address, data["state"], retrying, retries, before=before)

    async def _left_since(self, sid: str, confirmation: Document) -> bool:
        """Whether somebody left after the day's confirmation: who comes back the same day gets one more. Nobody else can make
        them leave, so this is no way around the daily cap."""
        suppression = await self.store.get(self.paths.suppression(sid), ["unsubscribed_at"])
        return suppression is not None and suppression.data.get("unsubscribed_at", 0) > confirmation.data["due"]

    async def _work(self, run: Run, started: float) -> None:
        """Window by window to the end, or to a window edge when the run has to stop."""
        while not run.stop:
            async with self.lanes:
                try:
                    window = await self._next(run, started)
                except Unavailable as error:  # the store or the provider: what is known is written down, the rest waits
                    log("WARNING", str(error), campaign=run.campaign, batch=run.batch)
                    run.stop = "down"
                    break
                if window is None:
                    break
                await self._hand_over(run, *window)
        if run.state != "paused" or run.ledger.held:
            await self._end(run)
        if run.fault:
            await self._pause(run.campaign, PAUSED.format(run.fault))

    async def _next(self, run: Run, started: float) -> Window | None:
        """Read the next window's live documents. None at the end, or when `run.stop` says why not now. Raises Unavailable."""
        ledger, limit = run.ledger, self.sender.window
        if run.windows:
            if ledger.read_all and not run.retries:
                return None
            plan = await self.store.get(self.paths.campaign(run.campaign), ["state"])
            run.state = str(plan.data["state"]) if plan else "cancelled"
        if run.state == "paused":
            run.stop = "paused"
        elif (time.monotonic() - started) * 1000 > self.pace.budget:
            run.stop = "time"
        if run.stop:
            return None
        if run.state != "cancelled":
            await self.sender.ready()
        if not ledger.read_all:
            documents = await self._read(run)
            return (None, [document.id for document in documents], list(documents)) if documents else None
        positions = run.retries[:limit]
        sids = [ledger.sid(position) for position in positions]
        found = await self.store.get_many([self.paths.subscriber(sid) for sid in sids], FIELDS)
        run.retries = run.retries[limit:]
        return (positions, sids, found) if sids else None

    async def _hand_over(
        self, run: Run, retried: list[int] | None, sids: Sequence[str], found: Sequence[Document | None]
    ) -> None:
        """Judge a window, record it as handed, hand it over. `retried`: its places in the ledger when it is there already."""
        ledger = run.ledger
        states, outgoing = self._compose(run, sids, found)
        if retried is None:
            start = ledger.add(sids, bytes(states))
            positions = list(range(start, start + len(sids)))
        else:
            positions = retried
            for position, state in zip(positions, states, strict=True):
                ledger.states[position] = state
        run.windows += 1
        if outgoing:
            await ledger.hold(self.clock.now())
            handed = [position for position, state in zip(positions, states, strict=True) if state == batch.HANDED]
            async with self._lease_kept(ledger):
                started = time.perf_counter()
                outcomes = await self.sender.send(run.sender_address, outgoing)
            spent = round((time.perf_counter() - started) * 1000, 1)
            metric(
                "window", {"provider_latency": spent}, kind=run.kind, campaign=run.campaign, batch=run.batch, mails=len(outgoing)
            )
            await self._settle(run, handed, outcomes)

    @contextlib.asynccontextmanager
    async def _lease_kept(self, ledger: Ledger) -> AsyncIterator[None]:
        """Renew the lease while a slow provider takes a window: a live window must not become `unknown`."""
        over = asyncio.Event()

        async def renew() -> None:
            while True:
                try:
                    async with asyncio.timeout(self.pace.lease / 3000):
                        await over.wait()
                    return
                except TimeoutError:
                    await ledger.hold(self.clock.now())

        renewal = asyncio.create_task(renew())
        try:
            yield
        finally:
            over.set()
            with contextlib.suppress(Lost, Unavailable):  # then the next write says so
                await renewal

    async def _read(self, run: Run) -> Sequence[Document]:
        """The next live documents of the batch's source."""
        ledger, limit = run.ledger, self.sender.window
        if "sid" in ledger.source:
            found = await self.store.get(self.paths.subscriber(ledger.source["sid"]), FIELDS)
            ledger.read_all = True
            return [found] if found else []
        within = Filter(contains=("segments", run.audience.segment), below=ledger.source["high"] or None)
        page = await self.store.page(self.paths.subscribers, within, ledger.cursor, limit, FIELDS)
        if page:
            ledger.cursor = page[-1].id
        ledger.read_all = len(page) < limit
        return page

    def _compose(self, run: Run, sids: Sequence[str], found: Sequence[Document | None]) -> tuple[list[int], list[Outgoing]]:
        """One state for each sid, and the mails of those that are to be handed over, in order."""
        now = self.clock.now()
        date = formatdate(now / 1000)
        states: list[int] = []
        outgoing: list[Outgoing] = []
        for sid, document in zip(sids, found, strict=True):
            data = document.data if document else None
            state = batch.CANCELLED if run.state == "cancelled" else run.audience.judge(data)
            if state == batch.HANDED and data is not None and run.mail is not None:
                try:
                    recipient = run.audience.recipient(sid, data, self.links, now)
                    outgoing.append(Outgoing(recipient.address, run.mail.splice(recipient, date)))
                except BadInput as error:  # this reader's values break the template: nobody else waits for that
                    log("ERROR", f"a mail could not be made: {error}", mail=run.audience.ref(sid).text)
                    state = batch.FAILED
            states.append(state)
        return states, outgoing

    async def _settle(self, run: Run, handed: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """Put the provider's answers into the ledger; tell record of refusals."""
        events: list[Event] = []
        now = self.clock.now()
        accepted = any(outcome.kind == "sent" for outcome in outcomes)
        for position, outcome in zip(handed, outcomes, strict=True):
            kind = "message" if outcome.kind == "ours" and accepted else outcome.kind  # one mail's fault: others go through
            run.ledger.states[position] = STATES[kind]
            run.deferrals += STATES[kind] == batch.DEFERRED
            if kind in ("recipient", "message"):
                ref = run.audience.ref(run.ledger.sid(position))
                events.append(Event("bounced", ref.text, now, hard=outcome.hard, code=outcome.code, provider="smtp"))
            elif kind == "temporary":
                run.ledger.counted = True
            elif kind in ("down", "throttle"):
                run.stop = kind
            elif kind == "ours":
                run.stop, run.fault = "ours", outcome.code
        await self._tell(events)

    async def _tell(self, events: Sequence[Event]) -> None:
        if not events:
            return
        try:
            await self.bus.publish(event.TOPIC, [found.to_message() for found in events])
        except Unavailable as error:  # the ledger still says failed; the next campaign meets the same refusal
            log("ERROR", f"refusals were not published: {error}", mails=[found.ref for found in events])

    async def _end(self, run: Run) -> None:
        """Let go of the batch: done, or waiting for what it needs."""
        ledger, now, not_before = run.ledger, self.clock.now(), 0
        if run.state == "cancelled":
            ledger.replace(batch.DEFERRED, batch.CANCELLED)
        elif run.retries:
            ledger.retry_from = run.retries[0]  # the next run goes on from here, in the same round
        elif ledger.read_all:
            ledger.end_round(counts=run.retrying)
            if ledger.round >= RETRIES:
                ledger.replace(batch.DEFERRED, batch.FAILED)
            if batch.DEFERRED in ledger.states:
                not_before = now + self.pace.retry * 2**ledger.round
        if run.stop in ("down", "throttle", "ours"):
            not_before = max(not_before, now + self.pace.wait)
        await ledger.release(now, not_before)
        if run.stop == "time" and ledger.state == "open" and not not_before:
            await self.bus.publish(batch.TOPIC, [batch.request(run.campaign, run.batch)])

    async def _pause(self, campaign: str, sentence: str) -> None:
        """Our fault, not the readers': stop the campaign, if it is still running, and say so beside its row."""
        log("ERROR", sentence, campaign=campaign)
        found = await self.store.get(self.paths.campaign(campaign), ["state"])
        if campaign in (CONFIRM, WELCOME) or found is None or found.data["state"] != "running":
            return
        changes = {"state": "paused", **answered(sentence, self.clock.now())}
        try:
            await self.store.commit([Merge(found.path, changes, if_version=found.version)])
        except Conflict as error:  # cancelled meanwhile, or the next window meets the fault again
            log("WARNING", f"not paused: {error}", campaign=campaign)


def _counted(run: Run) -> None:
    """One entry for a run: what the ledger has gained. It is the ledger's sum that is true; a run that died wrote no entry."""
    after = batch.tally(run.ledger.states)
    gained = {state: after.get(state, 0) - run.before.get(state, 0) for state in batch.END_STATES} | {"deferred": run.deferrals}
    values = {f"mails_{state}": count for state, count in gained.items() if count}
    why = run.stop or "end"
    metric("batch", values, kind=run.kind, campaign=run.campaign, batch=run.batch, windows=run.windows, why=why)
