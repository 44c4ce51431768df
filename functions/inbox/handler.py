"""The tick: what waits in the bounce mailbox becomes events. Called by Cloud Scheduler; publishes to engagement-events (consumed by
record).

A mail is published, then marked as read, by the group: one that is cut off between the two is published again under the same id and
time, and record applies it once. Nothing is deleted. What cannot be read is flagged and left, so that it holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from shared.bounces.read import Finding, read_mail
from shared.errors import NotFound, Unavailable
from shared.links import Links
from shared.logs import log, log_exception
from shared.model import event
from shared.ports import Bus, Clock

MOST: Final = 500  # mails in a tick
GROUP: Final = 25  # mails that are published and marked at once
ENOUGH: Final = 40_000  # ms after which a tick begins no more of them
LONGEST: Final = 90.0  # seconds, of a tick whose mailbox hardly answers


@dataclass(frozen=True, slots=True)
class Received:
    """A mail's first bytes, and when the server took it in (ms), 0 where it does not say."""

    raw: bytes
    at: int


class Mailbox(Protocol):
    """An open folder. Every call raises Unavailable."""

    async def waiting(self, most: int) -> list[str]:
        """The names of mails that are neither read nor flagged, the first `most`."""
        ...

    async def read(self, name: str) -> Received:
        """Without marking it; raises NotFound when it is gone, or the server cannot give it."""
        ...

    async def mark_read(self, names: Sequence[str]) -> None: ...

    async def flag(self, names: Sequence[str]) -> None: ...


@dataclass
class _Group:
    done: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    events: list[event.Event] = field(default_factory=list)


@dataclass(frozen=True)
class Inbox:
    """The step's dependencies. `open`: the mailbox, for as long as the block lasts; raises Unavailable."""

    bus: Bus
    clock: Clock
    links: Links
    open: Callable[[], AbstractAsyncContextManager[Mailbox]]

    async def handle(self) -> None:
        """One tick; raises Unavailable, and what is not marked by then waits for the next."""
        await self.links.tokens.fresh()
        told: Counter[str] = Counter()
        try:
            async with asyncio.timeout(LONGEST):
                await self._empty(told)
        except TimeoutError:
            raise Unavailable("the bounce mailbox", "it is too slow") from None
        finally:
            if told:
                log("INFO", "mails of the bounce mailbox were read", **told)

    async def _empty(self, told: Counter[str]) -> None:
        end = self.clock.now() + ENOUGH
        async with self.open() as mailbox:
            names = await mailbox.waiting(MOST)
            for at in range(0, len(names), GROUP):
                if self.clock.now() >= end:
                    break
                await self._take(mailbox, names[at : at + GROUP], told)

    async def _take(self, mailbox: Mailbox, names: Sequence[str], told: Counter[str]) -> None:
        group = _Group()
        for name in names:
            found = await self._found(mailbox, name)
            if found is None:
                group.bad.append(name)
                continue
            group.done.append(name)
            group.events += [found.event] if found.event else []
            told["other" if found.what == "nothing" else found.what if found.event else "not_ours"] += 1
        if group.events:
            await self.bus.publish(event.TOPIC, [found.to_message() for found in group.events])
        if group.done:
            await mailbox.mark_read(group.done)
        if group.bad:
            log("WARNING", "mails of the bounce mailbox that cannot be read are flagged", mails=len(group.bad))
            await mailbox.flag(group.bad)

    async def _found(self, mailbox: Mailbox, name: str) -> Finding | None:
        """What a mail says; None for one that cannot be read."""
        try:
            received, now = await mailbox.read(name), self.clock.now()
            return read_mail(received.raw, self.links, min(received.at or now, now))
        except NotFound:
            return None
        except Unavailable:
            raise
        except Exception as error:  # a mail that nobody foresaw must not stop those behind it
            log_exception("a mail of the bounce mailbox cannot be read", error)
            return None
