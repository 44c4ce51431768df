"""Mail over SMTP: a pool of kept connections, and what becomes of a window of mails when one of them is lost.

smtp_open makes a connection, smtp_dialogue speaks over it, smtp_envelope says what fits the server, smtp_replies what it answered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from time import monotonic
from typing import Any, Literal, TypeVar, get_args

from shared.errors import ConfigError, Denied, Unavailable
from shared.once import once
from shared.ports import Outcome, Outgoing, Stop
from shared.providers import Given
from shared.providers.smtp_dialogue import Dialogue
from shared.providers.smtp_envelope import envelope
from shared.providers.smtp_open import Refused, Security, Server, open_connection

__all__ = ["Security", "SmtpSender"]

IDLE_PROBE = 1.0  # seconds after which a kept connection is asked (NOOP) before it is used
IDLE_LIMIT = 30.0  # seconds after which it is not used again
AGE_LIMIT = 300.0  # seconds after which it is left in any case, so that a server behind a balancer can be taken out of it
POLL = 0.1  # seconds between two looks at `stop` while waiting for a connection

_NEVER = Stop()
_UNSENT = Outcome("unsent")
_T = TypeVar("_T")


def open(given: Given) -> SmtpSender:
    """A sender by one server. Options: host; port (587), security (starttls; or tls, none), username (none: no authentication),
    connections (4), window (50). Raises ConfigError."""
    options = given.checked("host", port="587", security="starttls", username="", connections="4", window="50")
    numbers: dict[str, int] = {}
    for name, most in (("port", 65535), ("connections", 100), ("window", 400)):
        if not options[name].isdecimal() or not 0 < int(options[name]) <= most:
            raise ConfigError(f"PROVIDERS: {given.name}: the option {name} must be a number from 1 to {most}")
        numbers[name] = int(options[name])
    for word in get_args(Security):
        if options["security"] == word:
            return SmtpSender(
                options["host"],
                numbers["port"],
                options["username"],
                given.secret,
                word,
                given.hello,
                numbers["window"],
                numbers["connections"],
            )
    raise ConfigError(f"PROVIDERS: {given.name}: the option security must be {', '.join(get_args(Security))}")


class SmtpSender:
    """A `Sender` over one SMTP server, keeping up to `connections` open; concurrent `send` calls each take their own.

    `password` is asked for at each connection, when there is a `username`. `security`: "starttls" insists on the upgrade, "tls"
    speaks TLS from the first byte; certificates are verified against `tls_context`, or the system's. `hello` is the name given in
    EHLO. `timeout` (seconds) holds for connecting and for each reply. A connection is left after `recycle` mails.
    """

    def __init__(
        self,
        host: str,
        port: int,
        username: str = "",
        password: Callable[[], Awaitable[str]] | None = None,
        security: Security = "none",
        hello: str = "localhost",
        window: int = 50,
        connections: int = 4,
        timeout: float = 30.0,
        tls_context: ssl.SSLContext | None = None,
        recycle: int = 1000,
    ) -> None:
        self.window = window
        self.form: Literal["wire"] = "wire"
        self._server = Server(host, port, username, password, security, hello, timeout)
        self._tls = tls_context
        self._system = once(partial(asyncio.to_thread, ssl.create_default_context))
        self._recycle = recycle
        self._idle: list[Dialogue] = []  # the longest idle first
        self._free = asyncio.Semaphore(connections)
        self._closed = False

    async def ready(self) -> None:
        """Make sure of a live connection. Raises Unavailable, Denied; their text is a code or a few words of ours, never an address."""
        async with self._free:
            try:
                if dialogue := await self._connection(_NEVER, fresh=False):
                    self._keep(dialogue)
            except Refused as error:
                raise Denied(str(error)) if error.outcome.kind == "ours" else Unavailable("smtp", str(error)) from None

    async def send(self, envelope_from: str, mails: Sequence[Outgoing], stop: Stop | None = None) -> list[Outcome]:
        """See `Sender.send`. A recipient or content that cannot go on the wire is "message", a bad sender or return path "ours";
        a recipient that needs SMTPUTF8 where the server has none is "recipient", not hard."""
        stop = stop or _NEVER
        if not self._free.locked():
            await self._free.acquire()
        elif not await _unless(stop, self._free.acquire(), lambda _: self._free.release()):
            return [_UNSENT] * len(mails)
        try:
            return await self._deliver(envelope_from, mails, stop)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Leave idle connections now and those in use when their `send` ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().quit()

    async def _deliver(self, sender: str, mails: Sequence[Outgoing], stop: Stop) -> list[Outcome]:
        """After a loss, the mails not yet begun are tried on one fresh connection."""
        outcomes: dict[int, Outcome] = {}
        todo: Sequence[int] = range(len(mails))
        rest, retried = _UNSENT, False
        while todo:
            try:
                dialogue = None if stop.come else await self._connection(stop, fresh=retried)
            except Refused as error:
                rest = error.outcome
                break
            if dialogue is None:
                rest = _UNSENT
                break
            todo, lost = await self._talk(dialogue, sender, mails, todo, outcomes, stop)
            if lost is not None:
                rest = lost
                if retried:
                    break
                retried = True
        return [outcomes.get(place, rest) for place in range(len(mails))]

    async def _talk(
        self,
        dialogue: Dialogue,
        sender: str,
        mails: Sequence[Outgoing],
        todo: Sequence[int],
        outcomes: dict[int, Outcome],
        stop: Stop,
    ) -> tuple[Sequence[int], Outcome | None]:
        """Put the mails at the places `todo` through one connection. The places left, and, when it was lost, what befalls them if
        nobody else takes them; None also when it had died in the pool."""
        items, places = [], []
        for place in todo:
            made = envelope(sender, mails[place], dialogue.offers)
            if isinstance(made, bytes):
                places.append(place)
                items.append((made, mails[place].data))
            else:
                outcomes[place] = made
        answers = await dialogue.run(items[: self._recycle - dialogue.begun], stop)
        outcomes.update(zip(places, answers, strict=False))
        self._keep(dialogue)
        lost = None
        if dialogue.lost and answers:
            lost = answers[-1] if answers[-1].kind == "throttle" else Outcome("down", dialogue.lost)
        return places[len(answers) :], lost

    async def _connection(self, stop: Stop, fresh: bool) -> Dialogue | None:
        """A live connection, kept or new; None when `stop` came first. Raises Refused."""
        if not fresh and (warm := self._warm()):
            return warm
        return await _unless(stop, self._take(fresh), self._keep)

    def _warm(self) -> Dialogue | None:
        """The connection used last, if that was so lately that it needs no probe."""
        if self._idle and not self._idle[-1].ended and monotonic() - self._idle[-1].used < IDLE_PROBE:
            return self._idle.pop()
        return None

    async def _take(self, fresh: bool = False) -> Dialogue:
        while self._idle and not fresh:
            dialogue = self._idle.pop()
            if not dialogue.ended and monotonic() - dialogue.used < IDLE_LIMIT and await dialogue.alive():
                return dialogue
            dialogue.quit()
        tls = None if self._server.security == "none" else self._tls or await self._system()
        transport, offers = await open_connection(self._server, tls)
        return Dialogue(transport, self._server.timeout, offers)

    def _keep(self, dialogue: Dialogue) -> None:
        now = monotonic()
        if self._closed or dialogue.ended or dialogue.begun >= self._recycle or now - dialogue.opened >= AGE_LIMIT:
            dialogue.quit()
        else:
            dialogue.kept = True
            self._idle.append(dialogue)
        while self._idle and now - self._idle[0].used > IDLE_LIMIT:
            self._idle.pop(0).quit()


async def _unless(stop: Stop, work: Coroutine[Any, Any, _T], undo: Callable[[_T], None]) -> _T | None:
    """What `work` returns; None when `stop` comes first, which tells nobody, so it is looked at.

    Then, and when its caller is cancelled, `work` is cancelled and not waited for, since it may not heed that (wait_for of Python 3.11
    does not, at the wrong moment); `undo` gets what it comes to nevertheless.
    """
    task = asyncio.ensure_future(work)
    taken = False
    try:
        while not task.done() and not stop.come:
            await asyncio.wait({task}, timeout=None if stop is _NEVER else max(0.0, min(POLL, stop.at - monotonic())))
        taken = task.done()
        return task.result() if taken else None
    finally:
        if not taken:
            task.add_done_callback(lambda done: None if done.cancelled() or done.exception() else undo(done.result()))
            task.cancel()
