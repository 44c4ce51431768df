"""Campaigns on the Firestore emulator while replies are cut and the emulator is frozen, and a naive way of sending beside them.

The real steps launch and send_batch, as two instances, with a store each behind the cutting proxy, and a bus that delivers late, twice
and again after every error. The control does what many senders do: `create()` a claim for each mail, retry as the client would, and
believe an answer of "already exists" to speak of somebody else.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from bench import letter, stage
from bench.sink import Sink
from functions.send_batch.handler import SendBatch
from functions.send_batch.mails import Mails
from functions.send_batch.routes import Routes
from functions.send_batch.run import Pace
from shared.adapters.firestore import Firestore
from shared.errors import Conflict, Unavailable
from shared.model import batch
from shared.model.campaign import progress
from shared.ports import Outgoing
from shared.providers.smtp import SmtpSender

from .proxy import Proxy, proxied

RECIPIENTS = 1600
WINDOW = 5  # mails: many small windows, so that many replies can be cut
INSTANCES = 2
WORKERS = 4  # pushes under way for each instance
TWICE = 0.1  # how often the bus delivers a message twice
AGAIN = 0.3  # seconds until it delivers what was refused
STUCK = 400.0  # seconds without the end of a campaign
_PACE = Pace(lease=90_000, budget=20_000, retry=1_000, wait=500)


@dataclass
class Found:
    """What the sink holds against what was to be sent."""

    mails: int = 0  # to be sent
    lost: int = 0  # people without their mail
    repeated: int = 0  # mails beyond the first to somebody
    unknown: int = 0  # listed as unknown in the ledger

    def weigh(self, sink: Sink, recipients: int) -> None:
        taken = sink.taken()
        self.mails += recipients
        self.lost += recipients - taken["recipients"]
        self.repeated += taken["mails"] - taken["recipients"]


class Redelivering:
    """A bus that is worse than Pub/Sub: some messages come twice, at once, and every refused one comes again."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._queue: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._later: set[asyncio.Task[None]] = set()

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        if topic == batch.TOPIC:
            for message in messages:
                for _ in range(2 if self._chance.random() < TWICE else 1):
                    self._queue.put_nowait(message)

    async def check(self) -> None:
        return None

    async def work(self, handle: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        """Push to `handle`, for ever."""
        while True:
            message = await self._queue.get()
            try:
                await handle(message)
            except Exception:
                task = asyncio.create_task(self._redeliver(message))
                self._later.add(task)
                task.add_done_callback(self._later.discard)

    async def _redeliver(self, message: Mapping[str, Any]) -> None:
        await asyncio.sleep(AGAIN)
        self._queue.put_nowait(message)


class Harness:
    """One emulator, one proxy, one mail server that counts. `truth` looks at the store past the proxy."""

    def __init__(
        self, given: stage.Stage, truth: Firestore, proxy: Proxy, behind: str, project: str, sink: Sink, seed: int
    ) -> None:
        self._given, self._truth, self.proxy, self._sink = given, truth, proxy, sink
        self._random = random.Random(seed)
        self._bus = Redelivering(self._random)
        self._stores = [Firestore.connect(project, emulator_host=behind) for _ in range(INSTANCES)]
        self._senders = [SmtpSender("127.0.0.1", sink.port, window=WINDOW) for _ in range(INSTANCES)]
        self.done = 0  # campaigns

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        for sender in self._senders:
            await sender.close()

    async def campaigns(self, found: Found, going: Callable[[], bool]) -> None:
        """Send one campaign after another to everybody while `going()`, and weigh each."""
        steps = [self._instance(store, sender) for store, sender in zip(self._stores, self._senders, strict=True)]
        workers = [asyncio.create_task(self._bus.work(step.handle)) for step in steps for _ in range(WORKERS)]
        try:
            while going() or not self.done:
                self.done += 1
                id = f"C-{self.done:04d}"
                await asyncio.wait_for(self._campaign(id), STUCK)
                found.weigh(self._sink, RECIPIENTS)
                found.unknown += (await progress(self._truth, self._given.paths, id))["unknown"]
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _instance(self, store: Firestore, sender: SmtpSender) -> SendBatch:
        given = self._given
        mails = Mails(given.objects, given.links)
        return SendBatch(
            store,
            self._bus,
            given.clock,
            given.links,
            given.paths,
            Routes.only(sender, store, given.paths, _PACE.wait),
            mails,
            _PACE,
        )

    async def _campaign(self, id: str) -> None:
        """Tick until the campaign is completed; a tick that fails is repeated, as Scheduler's next one would."""
        given = self._given
        launch = given.launch([id])
        launch = replace(launch, store=self._stores[0], bus=self._bus)
        while True:
            with suppress(Unavailable, Conflict):
                await launch.handle()
            plan = await self._plan(id)
            if plan.get("state") == "completed":
                return
            await asyncio.sleep(0.5)

    async def _plan(self, id: str) -> dict[str, Any]:
        try:
            found = await self._truth.get(self._given.paths.campaign(id))
        except Unavailable:  # frozen
            return {}
        return found.data if found else {}

    async def control(self, found: Found, behind: str) -> None:
        """The same people, by the naive claim, over the same proxy to the same mail server. The client's own retries are on."""
        os.environ["FIRESTORE_EMULATOR_HOST"] = behind  # the only way to tell this client
        client = AsyncClient(project=f"control-{time.time_ns()}", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        del os.environ["FIRESTORE_EMULATOR_HOST"]
        sender = self._senders[0]

        async def send(address: str) -> None:
            while True:
                try:
                    await client.document("claims", self._given.sid(address)).create({"at": time.time()})
                    break
                except AlreadyExists:
                    return  # believed: somebody else sends it
                except GoogleAPICallError:
                    continue
            await sender.send(letter.IDENTITY.from_address, [Outgoing(address, b"Subject: x\r\n\r\nx\r\n")])

        addresses = [stage.ADDRESS.format(n) for n in range(RECIPIENTS)]
        for start in range(0, RECIPIENTS, 20):
            await asyncio.gather(*map(send, addresses[start : start + 20]))
        client.close()  # type: ignore[no-untyped-call]
        found.weigh(self._sink, RECIPIENTS)


async def run(
    host: str,
    folder: Path,
    sink: Sink,
    *,
    cuts: int,
    chance: float,
    freeze: Callable[[Callable[[], bool]], Awaitable[int]],
    seed: int,
) -> dict[str, Any]:
    """Cut `cuts` replies of the emulator at `host` while campaigns run, each with `chance`; `freeze(busy)` freezes it meanwhile, and
    says how often. The figures of .twin/faults.json."""
    project = f"faults-{seed}"
    truth = Firestore.connect(project, emulator_host=host)
    given = await stage.Stage.open(folder, truth)
    await given.seed(RECIPIENTS)
    found, control = Found(), Found()
    started = time.monotonic()
    async with proxied(host, seed) as (proxy, behind):
        harness = Harness(given, truth, proxy, behind, project, sink, seed)
        try:
            proxy.chance, proxy.most = chance, cuts
            busy = True
            freezing = asyncio.ensure_future(freeze(lambda: busy))
            await harness.campaigns(found, lambda: proxy.cut.total() < cuts or not freezing.done())
            busy = False
            freezes = await freezing
            by_method, passed = dict(proxy.cut), proxy.passed
            proxy.most = 1 << 30
            await harness.control(control, behind)
        finally:
            await harness.close()
            await truth.close()
    return {
        "cut_replies": sum(by_method.values()),
        "freezes": freezes,
        "lost": found.lost,
        "repeated": found.repeated,
        "control_lost": control.lost,
        "control_repeated": control.repeated,
        "unknown": found.unknown,
        "campaigns": harness.done,
        "mails": found.mails,
        "replies": passed + sum(by_method.values()),
        "cut_by_method": by_method,
        "control_mails": control.mails,
        "seconds": round(time.monotonic() - started, 1),
    }
