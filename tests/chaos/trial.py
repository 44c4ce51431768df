"""One trial: campaigns on a store of their own, whose workers are killed at one point, until there were as many kills as wanted.

This process plays Pub/Sub and Scheduler: it hands every message to some worker at least once, some twice, and a dead worker's again;
it ticks; and it looks at the store and the mail server from outside. It is also the clock: time stands still while anybody has anything to
do, and is put forward when all wait for the leases of the dead.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any

from bench.stage import ADDRESS, Stage
from shared.model import batch

from .books import Figures, counted, ledgers, listed, weighed
from .mailbox import Mailbox, serving
from .points import AT_SERVER, IN_TICK, Sabotage
from .process import Process
from .worker import Role, Task, open_stage

WORKERS = 3  # at a time
LATER = 0.5  # seconds at most until a message is delivered a second time; in half the cases that is at once
AGAIN = 0.05  # seconds at most until a refused message, or a dead worker's, is delivered again
TICK = 0.2  # seconds between ticks
FORWARD = 100_000  # ms: longer than a lease, and than a published batch is left to its push
STUCK = 400.0  # seconds without the end of a campaign
FRUITLESS = 10  # campaigns in a row in which nobody was killed


class _Failed(Exception):
    """The trial cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """`firestore`: the emulator's host:port, "" for the embedded store; `recipients` of each campaign; `twice`: how often a message
    is delivered a second time."""

    point: str
    firestore: str = ""
    role: Role = "ours"
    kills: int = 20
    recipients: int = 900
    batch: int = 30
    window: int = 10
    twice: float = 0.3
    seed: int = 0
    sabotage: Sabotage = ""

    @property
    def store(self) -> str:
        return "firestore" if self.firestore else "sqlite"

    @property
    def name(self) -> str:
        return f"{self.role}, {self.store}, {self.point}"


@dataclass(frozen=True)
class Job:
    """A message on its way, or a tick. `over`: nothing more will come of this tick."""

    what: Mapping[str, Any]
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def batch(self) -> str:
        """The batch of a message; "" for a tick."""
        return str(self.what["push"]["batch"]) if "push" in self.what else ""


class Bus:
    """At least once, in no order. `open`: deliveries that are not acknowledged."""

    def __init__(self, chance: random.Random, twice: float) -> None:
        self._chance, self._twice = chance, twice
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self.open = 0

    def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        for message in messages if topic == batch.TOPIC else ():
            self.deliver(Job({"push": message}))
            if self._chance.random() < self._twice:
                self.deliver(Job({"push": message}), self._chance.choice((0, self._chance.uniform(0, LATER))))

    def deliver(self, job: Job, after: float = 0.0) -> None:
        """To whoever is free in `after` seconds."""
        self.open += 1
        asyncio.get_running_loop().call_later(after, self._queue.put_nowait, job)

    async def take(self) -> Job:
        return await self._queue.get()

    def back(self, job: Job) -> None:
        """Leave what was taken to somebody else."""
        self._queue.put_nowait(job)

    def settle(self, job: Job, done: bool) -> None:
        """A message that is not done comes again; a tick does not."""
        self.open -= 1
        job.over.set()
        if job.batch and not done:
            self.deliver(job, self._chance.uniform(0, AGAIN))


@dataclass
class _Running:
    """A trial under way."""

    given: Trial
    state: Path
    project: str
    began: int
    stage: Stage
    mailbox: Mailbox
    chance: random.Random
    bus: Bus
    kills: int = 0
    armed: int = 0  # workers alive that are to die
    campaigns: list[str] = field(default_factory=list)
    windows: list[set[str]] = field(default_factory=list)  # of this campaign: the sids that each kill left in doubt
    killed: set[str] = field(default_factory=set)  # batches in dead hands since the clock was put forward
    failure: str = ""  # the last one of a worker, to tell of when a campaign does not end

    async def keep_one(self) -> None:
        """One worker after the other, for ever."""
        while True:
            one = await self._start()
            try:
                job = await self._serve(one)
            finally:
                how = await one.end()
                self.armed -= bool(one.point)
                self.mailbox.disarm(one.pid)
            if how != -SIGKILL or not one.point:
                raise _Failed(f"a worker ended by itself, with {how}")
            self.kills += 1
            self.killed.add(job.batch)
            self.bus.settle(job, done=False)

    async def _start(self) -> Process:
        given = self.given
        point = given.point if self.kills + self.armed < given.kills else ""
        skip = self.chance.randrange(_passings(given))
        task = Task(
            state=self.state,
            firestore=given.firestore,
            project=self.project,
            began=self.began,
            role=given.role,
            port=self.mailbox.port,
            window=given.window,
            batch=given.batch,
            point=point,
            skip=skip,
            seed=self.chance.getrandbits(32),
            sabotage=given.sabotage,
        )
        self.armed += bool(point)
        one = await Process.start(task)
        if point in AT_SERVER:
            self.mailbox.arm(one.pid, point, skip)
        return one

    async def _serve(self, one: Process) -> Job:
        """Job after job; the one that it died with."""
        while True:
            job = await self.bus.take()
            deadly = bool(job.batch) != (self.given.point in IN_TICK)
            if deadly and not one.point and self.kills < self.given.kills:
                self.bus.back(job)  # for one that is to die of it
                await asyncio.sleep(0.01)
                continue
            failure = await one.work(job.what, self.bus.publish)
            if failure is None:
                return job
            self.failure = failure or self.failure
            self.bus.settle(job, done=not failure)

    async def campaign(self) -> Figures:
        """A campaign to its end, and what came of it."""
        given, stage, killed = self.given, self.stage, self.kills
        id = f"C-{len(self.campaigns) + 1:04d}"
        self.campaigns.append(id)
        self.windows.clear()
        self.mailbox.taken.clear()
        try:
            async with asyncio.timeout(STUCK):
                while not await self._ended(id):
                    stage.clock.advance(FORWARD)
        except TimeoutError:
            raise _Failed(f"campaign {id} does not end. {self.failure}") from None
        addresses = [ADDRESS.format(n) for n in range(given.recipients)]
        if given.role == "ours":
            people = {stage.sid(address): address for address in addresses}
            found = await weighed(stage.store, stage.paths, id, people, self.mailbox.taken, self.windows)
        else:
            found = counted(self.mailbox.taken, addresses)
        found.kills = self.kills - killed
        return found

    async def _ended(self, id: str) -> bool:
        """Tick until nobody has anything to do any more; whether that is the end, or some batches wait for their leases to run out."""
        while True:
            tick = Job({"tick": self.campaigns})
            self.bus.deliver(tick)
            await tick.over.wait()
            if not self.bus.open:
                break
            await asyncio.sleep(TICK)
        plan = await self.stage.store.get(self.stage.paths.campaign(id), ["state", "cut"])
        data = plan.data if plan else {}
        if self.given.role != "ours":
            return bool(data.get("cut"))
        await self._note_doubts(id)
        return data.get("state") == "completed"

    async def _note_doubts(self, id: str) -> None:
        """A batch whose worker was killed after `handed` has the window that this left in doubt: nobody has touched it since."""
        for document in await ledgers(self.stage.store, self.stage.paths, id):
            doubt = listed(document, [batch.HANDED])
            if doubt and document.id in self.killed:
                self.windows.append(doubt)
        self.killed.clear()


def _passings(given: Trial) -> int:
    """One more than the passings of its point that a worker may survive. Few where there are few in a campaign."""
    if given.point in AT_SERVER:
        return 3 * given.window
    return 1 if given.point in IN_TICK or given.point == "done" else 3


async def run(given: Trial, folder: Path) -> Figures:
    """One trial in an empty folder. A campaign that does not end, and a worker that ends by itself, are `wrong`."""
    chance = random.Random(given.seed)
    project = f"chaos-{secrets.token_hex(6)}"  # never that of another trial on this emulator
    began = time.time_ns() // 1_000_000
    stage = await open_stage(folder, given.firestore, project, began)
    await stage.seed(given.recipients)
    total = Figures()
    try:
        async with serving() as mailbox, asyncio.TaskGroup() as group:
            running = _Running(given, folder, project, began, stage, mailbox, chance, Bus(chance, given.twice))
            workers = [group.create_task(running.keep_one()) for _ in range(WORKERS)]
            fruitless = 0
            while total.kills < given.kills and fruitless < FRUITLESS:
                found = await running.campaign()
                fruitless = 0 if found.kills else fruitless + 1
                total.add(found)
            for worker in workers:
                worker.cancel()
    except* _Failed as failures:
        total.wrong += map(str, failures.exceptions)
    finally:
        await stage.close()
    return total
