"""A window: composed, recorded as handed, handed over to one provider, and its answers put into the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from shared.errors import BadInput, BadTemplate, NotFound, Unavailable
from shared.logs import log, metric
from shared.model import batch, event
from shared.model.event import Event
from shared.model.paths import EXPORT
from shared.ports import Attachment, Outcome, Outgoing

from .ledger import Ledger, Lost
from .routes import Route
from .run import STATES, Run, Window

if TYPE_CHECKING:
    from .handler import SendBatch

ALONE = 10  # mails that are taken one by one when a batch had no news for long
PAUSED = (
    "Paused: the mail server refuses our mail ({}). Nobody was suppressed. Mend it, choose Pause, and Go once the row says so."
)
BROKEN = "Paused: the frozen mail cannot be made: {}"


@dataclass(frozen=True)
class HandOver:
    """How one turn hands its windows over. `step`: its dependencies."""

    step: SendBatch
    run: Run

    async def window(self, window: Window) -> None:
        """Record a window as handed, hand it over, and put the answers into the ledger."""
        run = self.run
        if not await self._in_their_languages(window):
            run.waiting = [*window.mails, *run.waiting]
            return
        attached = await self._attached(window) if run.campaign == EXPORT else {}
        if attached is None:
            run.waiting = [*window.mails, *run.waiting]
            return
        if run.campaign == EXPORT:
            window = Window(window.route, [mail for mail in window.mails if mail.position in attached])
            if not window.mails:
                return
        ledger, route, now = run.ledger, window.route, self.step.clock.now()
        run.windows += 1
        name, positions = route.provider.name, [mail.position for mail in window.mails]
        run.careful = run.careful and run.windows <= ALONE  # none of these was it, or it only had to queue for long
        if run.careful:
            ledger.hand(positions, name, now)
            await ledger.hold(now)
        outgoing = self._compose(window, attached)
        handed = [mail.position for mail, made in zip(window.mails, outgoing, strict=True) if made]
        if not handed:
            ledger.hand_back(name, len(positions) if run.careful else 0)
            return
        if not run.careful:
            ledger.hand(handed, name, now)
            await ledger.hold(now)
        mails = [made for made in outgoing if made]
        async with self._lease_kept(ledger):
            started = time.perf_counter()
            outcomes = await route.sender.send(run.sender_address, mails, run.stopping)
        spent = time.perf_counter() - started
        values = {"provider_latency": round(spent * 1000, 1)}
        metric("window", values, kind=run.kind, campaign=run.campaign, batch=run.batch, provider=name, mails=len(mails))
        await self._settle(route, handed, outcomes, spent)

    async def _in_their_languages(self, window: Window) -> bool:
        """Have the mail at hand in every language of this window; False, with what stops the turn, when it cannot be had."""
        run = self.run
        needed = {run.language(waiting.data) for waiting in window.mails}
        try:
            for language in needed - run.mails.keys():
                run.mails[language] = await self.step.mails.get(run.campaign, run.frozen, language)
        except Unavailable as error:
            log("WARNING", str(error), campaign=run.campaign, batch=run.batch)
            run.stop = "down"
            return False
        except (BadTemplate, NotFound) as error:
            run.stop, run.fault = "ours", BROKEN.format(error)
            return False
        return True

    async def _attached(self, window: Window) -> dict[int, tuple[Attachment, ...]] | None:
        """What goes with each mail to a reader, by its position, without those that must not have it any more; None, with what stops the
        turn, when it cannot be had. It is kept nowhere."""
        from .personal import Personal
        from .personal_files import attachments

        run, step = self.run, self.step
        found: dict[int, tuple[Attachment, ...]] = {}
        for waiting in window.mails:
            try:
                held = await Personal(step.store, step.paths).of(waiting.sid, step.clock.now())
            except Unavailable as error:
                log("WARNING", str(error), campaign=run.campaign, batch=run.batch)
                run.stop = "down"
                return None
            state = run.audience.judge(held.subscriber)  # erased meanwhile
            if state == batch.HANDED:
                found[waiting.position] = await asyncio.to_thread(attachments, held)
            else:
                run.ledger.states[waiting.position] = state
        return found

    @contextlib.asynccontextmanager
    async def _lease_kept(self, ledger: Ledger) -> AsyncIterator[None]:
        """Renew the lease while a slow provider takes a window: a live window must not become `unknown`."""
        step = self.step
        every, over, renewals = step.pace.lease / 3000, asyncio.Event(), list[asyncio.Task[None]]()

        async def renew() -> None:
            while not over.is_set():
                await ledger.hold(step.clock.now())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(every):
                        await over.wait()

        timer = asyncio.get_running_loop().call_later(every, lambda: renewals.append(asyncio.create_task(renew())))
        try:
            yield
        finally:
            timer.cancel()
            over.set()
            with contextlib.suppress(Lost, Unavailable):  # then the next write says so
                for renewal in renewals:
                    await renewal

    def _compose(self, window: Window, attached: Mapping[int, tuple[Attachment, ...]]) -> list[Outgoing | None]:
        """The mails of a window; None for one that cannot be made, which has failed."""
        run, step = self.run, self.step
        now = step.clock.now()
        date = formatdate(now / 1000)
        form = window.route.sender.form
        made: list[Outgoing | None] = []
        bugs: set[str] = set()
        for waiting in window.mails:
            try:
                mail = run.mails[run.language(waiting.data)]
                recipient = run.audience.recipient(waiting.sid, waiting.data, step.links, now)
                ref = recipient.ref
                back = step.links.return_path(ref, step.bounces) if step.bounces else ""
                files = attached.get(waiting.position, ())
                if form == "wire":
                    made.append(Outgoing(recipient.address, mail.splice(recipient, date, step.sign, files), back, ref.text))
                else:
                    letter, values = mail.letter(recipient, date)
                    made.append(Outgoing(recipient.address, b"", back, ref.text, letter, values, files))
            except Exception as error:  # this reader's values break the template: nobody else waits for that
                why = str(error) if isinstance(error, BadInput) else type(error).__name__
                bugs |= set() if isinstance(error, BadInput) else {why}
                log("ERROR", f"a mail could not be made: {why}", mail=run.audience.ref(waiting.sid).text)
                run.ledger.states[waiting.position] = batch.FAILED
                run.ledger.note(waiting.position, "template", now)
                made.append(None)
        run.broken = [] if any(made) else [*run.broken, *(waiting.position for waiting in window.mails)]
        if bugs and not any(made) and (len(run.broken) > 1 or run.kind != "campaign"):  # then it is no reader's values
            for position in run.broken:
                run.ledger.states[position] = batch.DEFERRED
                run.ledger.note(position, "", now)
            run.stop, run.fault = "ours", BROKEN.format(", ".join(sorted(bugs)))
        return made

    async def _settle(self, route: Route, handed: Sequence[int], outcomes: Sequence[Outcome], spent: float) -> None:
        """Put the provider's answers into the ledger; tell record of refusals."""
        run, step = self.run, self.step
        ledger, name, now = run.ledger, route.provider.name, step.clock.now()
        events: list[Event] = []
        kinds = {outcome.kind for outcome in outcomes}
        begun = sum(outcome.kind not in ("unsent", "down") for outcome in outcomes)
        ledger.hand_back(name, len(outcomes) - begun)
        if begun:
            route.took(spent, begun)
        for position, outcome in zip(handed, outcomes, strict=True):
            kind = (
                "message" if outcome.kind == "ours" and "sent" in kinds else outcome.kind
            )  # one mail's fault: others go through
            ledger.states[position] = STATES[kind]
            if kind != "unsent":
                ledger.note(position, "" if kind == "sent" else outcome.code or kind, now)
            run.deferrals += STATES[kind] == batch.DEFERRED
            if kind in ("recipient", "message"):
                ref = run.audience.ref(ledger.sid(position))
                counts = _counts(outcome)
                events.append(Event("bounced", ref.text, now, hard=outcome.hard, code=outcome.code, provider=name, counts=counts))
            elif kind == "temporary":
                ledger.counted = True
            elif kind == "ours":
                self.ours(route, outcome.code)
        if "throttle" in kinds:
            route.slow_until = now + step.pace.wait
            run.shut = "throttle"
        if "down" in kinds:
            await self._down(route, handed, outcomes, begun)
        if "unsent" in kinds:
            run.stop = run.stop or "time"
            run.retries = [*run.retries, *(p for p, outcome in zip(handed, outcomes, strict=True) if outcome.kind == "unsent")]
        await self._tell(events)

    async def _down(self, route: Route, handed: Sequence[int], outcomes: Sequence[Outcome], begun: int) -> None:
        """A provider did not take some mails, for certain: they may go another way, at once where there is one."""
        run, step = self.run, self.step
        code = next(outcome.code for outcome in outcomes if outcome.kind == "down")
        if not begun or len(step.routes.all) == 1:
            await step.routes.down(route, code or "no connection", step.clock.now())
        if len(step.routes.all) == 1:
            run.stop = run.stop or "down"
        run.retries = [*run.retries, *(p for p, outcome in zip(handed, outcomes, strict=True) if outcome.kind == "down")]

    async def _tell(self, events: Sequence[Event]) -> None:
        if not events:
            return
        try:
            await self.step.bus.publish(event.TOPIC, [found.to_message() for found in events])
        except Unavailable as error:  # the ledger still says failed; the next campaign meets the same refusal
            log("ERROR", f"refusals were not published: {error}", mails=[found.ref for found in events])

    def ours(self, route: Route, code: str) -> None:
        """The provider refuses us, whoever the mail is for."""
        named = f"{route.provider.name}: {code}" if len(self.step.routes.all) > 1 else code
        self.run.stop, self.run.fault = "ours", PAUSED.format(named)


def _counts(outcome: Outcome) -> bool:
    """Whether a refusal is a soft bounce that counts towards giving the address up, such as a full mailbox."""
    if outcome.kind != "recipient" or outcome.hard:
        return False
    from shared.bounces.codes import judge  # only who meets a refusal pays for its phrases

    return judge("", outcome.code).kind != "ignored"
