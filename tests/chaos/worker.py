"""A worker: an operating system process with the real steps on a real store and a real mail server, which dies where it is told to.

It is forked from a server process that has imported this module and opened nothing, since a start of Python costs a second, and a
gRPC channel does not survive a fork. Its parent is its bus: over a socket it is handed one message, or one tick, at a time.

    parent -> {"push": message} | {"tick": [campaign, …]}      worker -> {"done": true} | {"failed": text}
    worker -> {"publish": topic, "messages": […]}              parent -> {"kept": true}
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from bench.stage import CountingBus, Stage
from shared.adapters.embedded import FileClock
from shared.adapters.firestore import Firestore
from shared.adapters.sqlite_store import SqliteStore
from shared.model import batch
from shared.providers.smtp import SmtpSender

from .controls import Checkpoint, Claim
from .mailbox import greeting
from .points import Doom, DyingBus, DyingSender, DyingStore, Sabotage

LIMIT = 1 << 22  # bytes of one line between the two
Role = Literal["ours", "checkpoint at fetch", "create() claim"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is told at its start. `firestore` is the emulator's host:port, "" for the embedded store; `began` in ms."""

    state: Path
    firestore: str
    project: str
    began: int
    role: Role
    port: int  # of the mail server
    window: int
    batch: int  # recipients
    point: str
    skip: int
    seed: int
    sabotage: Sabotage


class Standstill(FileClock):
    """Time that passes only when it is put forward: a slow machine is never taken for a dead worker."""

    def __init__(self, file: Path, began: int) -> None:
        """`began`: where it stands at first, in ms."""
        super().__init__(file)
        self._began = began

    def now(self) -> int:
        return self._began + self.offset()


class _ParentBus:
    """Publishes to the parent, and returns when it has the messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._one = asyncio.Lock()

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        async with self._one:
            say(self._writer, {"publish": topic, "messages": list(messages)})
            await self._reader.readline()

    async def check(self) -> None:
        return None


def say(writer: asyncio.StreamWriter, what: Mapping[str, Any]) -> None:
    """One line to the other side."""
    writer.write(json.dumps(what).encode() + b"\n")


async def open_stage(state: Path, firestore: str, project: str, began: int) -> Stage:
    """The stage of a trial; arguments as in Task."""
    store = Firestore.connect(project, emulator_host=firestore) if firestore else SqliteStore.open(state / "store.db")
    return replace(await Stage.open(state, store), clock=Standstill(state / "clock", began))


def main(line: socket.socket, task: Task) -> None:
    """The process, until its parent hangs up."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the steps' own log
    vars(batch).update(BATCH_SIZE=task.batch)
    asyncio.run(_work(line, task))


async def _work(line: socket.socket, task: Task) -> None:
    reader, writer = await asyncio.open_connection(sock=line, limit=LIMIT)
    doom = Doom(task.point, task.skip, random.Random(task.seed))
    stage = await open_stage(task.state, task.firestore, task.project, task.began)
    dying = DyingStore(stage.store, doom, task.sabotage)
    bus = DyingBus(_ParentBus(reader, writer), doom)
    stage = replace(stage, store=cast(SqliteStore, dying), bus=cast(CountingBus, bus))
    sender = SmtpSender("127.0.0.1", task.port, hello=greeting(os.getpid()), window=task.window)
    handle = _handler(stage, DyingSender(sender, doom), task)

    async def turn(job: Mapping[str, Any]) -> None:
        doom.ticking, doom.sent, doom.released = "tick" in job, False, False
        if doom.ticking:
            await stage.launch(job["tick"]).handle()
            return
        doom.pass_("received")
        await handle(job["push"])
        if doom.released:
            doom.pass_("done")

    async for text in reader:
        try:
            await turn(json.loads(text))
            say(writer, {"done": True})
        except Exception as error:
            say(writer, {"failed": repr(error)})
    await sender.close()
    writer.close()


def _handler(stage: Stage, sender: DyingSender, task: Task) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
    if task.role == "checkpoint at fetch":
        return Checkpoint(stage.store, sender, stage.paths).handle
    if task.role == "create() claim":
        return Claim(stage.store, sender, stage.paths).handle
    return stage.send_batch(cast(SmtpSender, sender)).handle
