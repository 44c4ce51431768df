"""The twelve points at which a worker is killed, and the ports that kill it there.

Ten of the points are passed inside the worker: its Store, Bus and Sender are wrapped, and at the given passing of its point the
process sends itself SIGKILL. At the other two the mail server has the say, and kills the worker (see `mailbox`).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NoReturn

from shared.errors import Conflict, Unavailable
from shared.model import batch
from shared.ports import Bus, Create, Document, Filter, Merge, Outcome, Outgoing, Sender, Store, Write

POINTS: Final[Mapping[str, str]] = {
    "received": "the message is there, nothing was read",
    "read": "the window was read, perhaps composed; “handed” is not written",
    "handing": "the write of “handed” is on its way; nobody sees its answer",
    "handed": "“handed” is durable, no byte has gone to the provider",
    "mid-window": "the provider has answered for some mails of the window",
    "last-byte": "the provider has a content's last byte and has not answered",
    "accepted": "the provider has answered for all; the step has not heard",
    "outcomes": "the step knows the outcomes and has not begun to write them",
    "releasing": "the last write of a run: before it, on its way, after it",
    "done": "the ledger is written, the message not acknowledged",
    "cutting": "launch has made some of the batches or all, and published none",
    "published": "launch has published some or all, and noted nothing",
}
AT_SERVER: Final = frozenset({"mid-window", "last-byte"})
IN_TICK: Final = frozenset({"cutting", "published"})
FLIGHT = 0.008  # seconds at most that a write is on its way before the kill: about what one takes
Sabotage = Literal["", "unwritten", "unchained", "resent", "believed"]


class Doom:
    """When this process dies: at passing number `skip` + 1 of `point`; never, when `point` is ""."""

    def __init__(self, point: str, skip: int, chance: random.Random) -> None:
        self._point, self._left, self.chance = point, skip, chance
        self.ticking = False  # whether a tick is under way, and not a message
        self.sent = False  # outcomes are known that were not written
        self.released = False  # the message at hand has come to its last write

    def at(self, point: str) -> bool:
        """Pass a point; whether to die here."""
        if point != self._point or (point in IN_TICK) != self.ticking:
            return False
        self._left -= 1
        return self._left < 0

    def pass_(self, point: str) -> None:
        """Pass a point, or end there."""
        if self.at(point):
            die()


def die() -> NoReturn:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived SIGKILL")


class DyingStore:
    """A Store on the way to the real one. `sabotage` breaks the step that uses it, to see that this is noticed:

    unwritten  `handed` is not written before the mails go
    unchained  the ledger is written whatever its version
    resent     mails of a worker that died are tried again
    believed   mails of a worker that died are taken for sent
    """

    def __init__(self, inner: Store, doom: Doom, sabotage: Sabotage) -> None:
        self._inner, self._doom, self._sabotage = inner, doom, sabotage

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
        return (await self.get_many([path], fields))[0]

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        return [self._falsified(found) for found in await self._inner.get_many(paths, fields)]

    async def page(
        self,
        collection: str,
        filter: Filter = Filter(),
        after: str = "",
        limit: int = 300,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        found = await self._inner.page(collection, filter, after, limit, fields)
        if collection.endswith("/subscribers") and self._doom.chance.random() < 0.5:  # else at the write that follows
            self._doom.pass_("read")
        return found

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        return await self._inner.count(collection, filter)

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        if self._sabotage == "unchained" and _meaning(writes):
            writes = [replace(write, if_version=None) if isinstance(write, Merge) else write for write in writes]
        if _cuts(writes):
            await self._cut(writes)
        match _meaning(writes):
            case "handed":
                self._before_handed()
                if self._sabotage == "unwritten" and isinstance(writes[0], Merge) and writes[0].if_version:
                    return [writes[0].if_version]
                if self._doom.at("handing"):
                    await self._in_flight(writes)
            case "released":
                self._outcomes_written()
                if self._doom.at("releasing"):
                    await self._around(writes)
                versions = await self._inner.commit(writes)
                self._doom.released = True
                return versions
        return await self._inner.commit(writes)

    async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        if _cuts(writes):
            await self._cut(writes)
        if _meaning(writes) == "handed":
            self._before_handed()
            if self._doom.at("handing"):
                await self._in_flight(writes, each=True)
        return await self._inner.write_many(writes)

    def _before_handed(self) -> None:
        self._outcomes_written()
        self._doom.pass_("read")

    def _outcomes_written(self) -> None:
        if self._doom.sent:
            self._doom.sent = False
            self._doom.pass_("outcomes")

    async def _cut(self, writes: Sequence[Write]) -> None:
        if self._doom.at("cutting"):
            await self._inner.write_many(writes[: self._doom.chance.randint(0, len(writes))])
            die()

    async def _around(self, writes: Sequence[Write]) -> None:
        when = self._doom.chance.randrange(3)
        if when == 1:
            await self._in_flight(writes)
        elif when == 2:
            await self._inner.commit(writes)
        die()

    async def _in_flight(self, writes: Sequence[Write], each: bool = False) -> NoReturn:
        work = asyncio.ensure_future(self._inner.write_many(writes) if each else self._inner.commit(writes))
        await asyncio.wait([work], timeout=self._doom.chance.uniform(0, FLIGHT))
        die()

    def _falsified(self, found: Document | None) -> Document | None:
        held = found.data.get("states") if found else None
        if not found or not isinstance(held, bytes) or self._sabotage not in ("resent", "believed"):
            return found
        instead = batch.DEFERRED if self._sabotage == "resent" else batch.SENT
        return replace(found, data={**found.data, "states": held.replace(bytes([batch.HANDED]), bytes([instead]))})


class DyingSender:
    """A Sender on the way to the real one; what else it has, it has from there."""

    def __init__(self, inner: Sender, doom: Doom) -> None:
        self._inner, self._doom = inner, doom

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send(self, envelope_from: str, mails: Sequence[Outgoing], *rest: Any, **named: Any) -> list[Outcome]:
        self._doom.pass_("handed")
        outcomes = await self._inner.send(envelope_from, mails, *rest, **named)
        self._doom.pass_("accepted")
        self._doom.sent = True
        return outcomes


class DyingBus:
    """A Bus on the way to the real one."""

    def __init__(self, inner: Bus, doom: Doom) -> None:
        self._inner, self._doom = inner, doom

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        if topic == batch.TOPIC and self._doom.at("published"):
            await self._inner.publish(topic, messages[: self._doom.chance.randint(1, len(messages))])
            die()
        await self._inner.publish(topic, messages)

    async def check(self) -> None:
        await self._inner.check()


def _cuts(writes: Sequence[Write]) -> bool:
    """Whether these make batches."""
    return any(isinstance(write, Create) and "/batches/" in write.path for write in writes)


def _meaning(writes: Sequence[Write]) -> Literal["", "handed", "released"]:
    """What the first of these says of mails: our ledger by its states, the controls' notes by where they stand."""
    write = writes[0] if writes else None
    if not isinstance(write, Create | Merge):
        return ""
    if "/claims/" in write.path or "/cursors/" in write.path:
        return "released" if write.data.get("done") else "handed"
    states = write.data.get("states") if "/batches/" in write.path and "lease_until" in write.data else None
    if not isinstance(states, bytes) or _cuts(writes):
        return ""
    return "handed" if batch.HANDED in states else "released"
