"""One batch, or one message, to a provider: never twice, never lost.

Consumes send-requests (published by subscribe and launch). A window is one hand-over to one provider: its sids are written as
*handed* first, the results ride on the next window's write. A worker that dies before that write loses nothing; one that dies after
leaves at most its window `unknown`, listed and never resent. Only what a provider definitely did not take goes another way. Waiting is
never a nack: a batch that has to wait stores when it is `due`, is acknowledged, and launch's tick brings it back.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

from shared.errors import BadInput, BadTemplate, Conflict, NotFound, Unavailable
from shared.links import Links
from shared.logs import log
from shared.mail.compile import Sign
from shared.model import batch
from shared.model.campaign import answered
from shared.model.paths import CONFIRM, SYSTEM, TEST, MailTests, Paths
from shared.model.ref import CAMPAIGN_ID
from shared.ports import Bus, Clock, Document, Merge, Outcome, Stop, Store

from .audience import Audience
from .ending import Ending
from .hand_over import BROKEN
from .ledger import Ledger, Lost
from .limits import LIMITED, Limits
from .mails import Mails
from .policy import Policy, Quiet
from .routes import Routes
from .run import CAREFUL, STATES, Pace, Run
from .turn import Turn

_NAME = re.compile(r"(?:r[1-9]-)?[0-9a-f]{1,32}(?:\.[A-Za-z0-9-]{1,40})?")


class Asked(NamedTuple):
    """For which sign-up a single mail is, or from which network it was asked for; "" where the message does not say."""

    consent: str
    network: str

    def differs(self, source: Mapping[str, Any]) -> bool:
        """From what a batch is for. A message of the tick's says no more than the batch."""
        return any(self) and self != (source.get("consent", ""), source.get("network", ""))


class _Unheard:
    """The bus of a test mail: nobody hears what became of it. One that has to wait is brought back by the tick."""

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None: ...

    async def check(self) -> None: ...


@dataclass(frozen=True)
class SendBatch:
    """The step's dependencies."""

    store: Store
    bus: Bus
    clock: Clock
    links: Links
    paths: Paths
    routes: Routes
    mails: Mails
    pace: Pace
    bounces: str = ""  # domain of the return paths that tell whose mail bounced; "" for none
    sign: Sign | None = None  # for mail that goes over the wire as we made it
    ending: Ending = field(default_factory=Ending)
    lanes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))  # windows under way at once in this process

    async def handle(self, message: Mapping[str, Any]) -> None:
        """Work on `{campaign, batch, consent?, network?}`. Raises BadInput for a message of no batch (it ends as a dead letter)."""
        await self.links.tokens.fresh()
        campaign, name = message.get("campaign"), message.get("batch")
        asked = Asked(message.get("consent", ""), message.get("network", ""))
        if not (isinstance(campaign, str) and isinstance(name, str) and all(isinstance(text, str) for text in asked)):
            raise BadInput("not a send request")
        if not (CAMPAIGN_ID.fullmatch(campaign) and _NAME.fullmatch(name)):
            raise BadInput("not a send request")
        step = replace(self, paths=MailTests.of(self.paths), bus=_Unheard()) if campaign == TEST else self
        with self.ending.stop(time.monotonic() + self.pace.budget / 1000) as stopping:
            if not await step._work(campaign, name, asked, stopping) and campaign in LIMITED:
                await step._work(campaign, name, asked, stopping)  # two requests for one mail met: this one may have the place

    async def _work(self, campaign: str, name: str, asked: Asked, stopping: Stop) -> bool:
        """One turn at a batch; False when another worker has it."""
        try:
            if run := await self._begin(campaign, name, asked, stopping):
                await Turn(self, run).work()
                if not run.in_vain:
                    run.counted()
        except Lost:
            log("INFO", "another worker has this batch", campaign=campaign, batch=name)
            return False
        return True

    async def _begin(self, campaign: str, name: str, asked: Asked, stopping: Stop) -> Run | None:
        """Read what is needed; None when there is nothing to do now."""
        single = campaign in SYSTEM
        path = self.paths.batch(campaign, name)
        plan, found = await self.store.get_many([self.paths.campaign(campaign), path])
        plan = found if campaign == TEST else plan  # which is its own campaign, see MailTests
        now = self.clock.now()
        sid, _, key = name.partition(".")
        if found is None and not (single and len(sid) == 32 and key):
            raise BadInput("no such batch")
        if found and found.data["state"] != "open":
            if campaign == CONFIRM and "-" not in key and await self._left_since(sid, found):
                return await self._begin(campaign, f"{name}-again", asked, stopping)
            return None
        fresh = batch.single(sid, asked.consent, now, asked.network)
        ledger = Ledger(self.store, path, found, fresh, secrets.token_hex(8), self.pace.lease)
        elsewhere = bool(ledger.crowded_since) and asked.differs(ledger.source)
        if ledger.lease_until > now or (ledger.not_before > now and not elsewhere):
            return None
        before = batch.tally(ledger.states)
        await self._ask_about(campaign, ledger, ledger.take_over(), key if single else ledger.key)
        if plan is None or "mail" not in plan.data:
            await ledger.release(now, now + self.pace.wait)  # the tick has not frozen this mail yet
            return None
        data = plan.data
        if data["state"] == "paused":
            if any(grant["mails"] for grant in ledger.grants.values()):
                await ledger.release(now)  # others may have them meanwhile
            return None
        try:
            mails = {"": await self.mails.get(campaign, data["mail"])} if data["state"] != "cancelled" else {}
        except (BadTemplate, NotFound) as error:
            await self.pause(campaign, BROKEN.format(error))
            await ledger.release(now, now + self.pace.wait)  # a single mail may exist in this message only
            return None
        earlier = ledger.source if elsewhere else {}
        if elsewhere:
            ledger.asked_anew(fresh["source"])
        audience = (
            Audience(campaign, key=key, consent=ledger.source["consent"])
            if single
            else Audience(
                campaign, segment=data["segment"], frozen_at=data["frozen_at"], key=ledger.key, rule=data.get("rule", "")
            )
        )
        left = [position for position in ledger.positions(batch.DEFERRED) if position >= ledger.retry_from]
        return Run(
            campaign,
            name,
            ledger,
            audience,
            data["mail"],
            mails,
            data["mail"]["identity"]["from_address"],
            data["state"],
            data.get("until", 0),
            retrying=ledger.read_all,
            retries=left if ledger.read_all else [],
            careful=ledger.swept >= CAREFUL,
            stopping=stopping,
            quiet=None if single else Quiet.of(data),
            contacts=None if single else await self._policy.contacts(data, ledger.source, batch.sids(ledger.roster), now),
            ask_seldom=partial(self._policy.seldom, campaign, data, ledger.source, batch.sids(ledger.roster), ledger.key),
            limits=self._limits if campaign in LIMITED else None,
            earlier=earlier,
            before=before,
        )

    @cached_property
    def _policy(self) -> Policy:
        return Policy(self.store, self.paths)

    @cached_property
    def _limits(self) -> Limits:
        return Limits(self.store, self.paths)

    async def _left_since(self, sid: str, confirmation: Document) -> bool:
        """Whether somebody left, or had themselves erased, after the day's confirmation: who comes back the same day gets one more. Nobody
        else can make them, so this is no way around the daily cap."""
        suppression = await self.store.get(self.paths.suppression(sid), ["left_at", "erased_at"])
        data = suppression.data if suppression else {}
        left_at: int = max(data.get("left_at", 0), data.get("erased_at", 0))
        return left_at > int(confirmation.data["ended_at"])

    async def _ask_about(self, campaign: str, ledger: Ledger, unknown: Sequence[int], key: str) -> None:
        """Settle what a worker left unknown with those providers that can tell whether they have a mail. What they do not have stays
        unknown: it may still be on its way to them."""
        for route in self.routes.all:
            found = getattr(route.sender, "found", None)
            mine = [position for position in unknown if ledger.went_by(position) == route.provider.name]
            if found is None or not mine:
                continue
            refs = {position: Audience(campaign, key=key).ref(ledger.sid(position)).text for position in mine}
            try:
                known: Mapping[str, Outcome] = await found(list(refs.values()))
            except Unavailable as error:
                log("WARNING", f"unknown mails stay so: {error}", campaign=campaign)
                continue
            for position, ref in refs.items():
                if ref in known and known[ref].kind in ("sent", "recipient", "message"):
                    ledger.states[position] = STATES[known[ref].kind]

    async def pause(self, campaign: str, sentence: str) -> None:
        """Our fault, not the readers': stop the campaign, if it is still running, and say so beside its row."""
        log("ERROR", sentence, campaign=campaign)
        found = await self.store.get(self.paths.campaign(campaign), ["state"])
        if campaign in SYSTEM or found is None or found.data["state"] != "running":
            return
        changes = {"state": "paused", **answered(sentence, self.clock.now())}
        try:
            await self.store.commit([Merge(found.path, changes, if_version=found.version)])
        except Conflict as error:  # cancelled meanwhile, or the next window meets the fault again
            log("WARNING", f"not paused: {error}", campaign=campaign)
