"""`make scale`: 100,000 recipients through four workers on one store file, and the memory of a worker that sends a million mails.

Every worker is a process with the real send_batch; what stands in for Pub/Sub gives each a few messages at a time, brings back what was
refused, and what the steps publish. Launch cuts the campaign, and ticks while it lasts. The ledger is then compared with the sink and
with the list: an AssertionError, and not a fast bench, unless everybody is in it once, with one end state, and has one mail.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from functions.launch.handler import Launch
from shared.model import batch
from shared.model.campaign import progress

from . import memory, report, sink, stage
from .report import Goal, Row
from .sink import Sink

RECIPIENTS = 100_000
WORKERS = 4
AT_ONCE = 4  # messages that a worker has
SEED = 100_000 / 3600  # mails a second: what this project began with
TICK = 2.0  # seconds
STUCK = 600.0  # seconds


def main() -> int:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)
    rows: list[Row] = []
    with sink.running() as drain, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # the steps' own log
        parts: tuple[tuple[str, Callable[[], list[Row]]], ...] = (
            (f"{RECIPIENTS:,} recipients", lambda: run(drain)),
            ("the memory of a worker", memory.run),
        )
        for name, part in parts:
            console.print(f"[dim]{name} …[/]")
            try:
                rows += part()
            except AssertionError as error:
                console.print(f"[bold red]The bench cannot be trusted:[/] {error}")
                return 1
    report.show(rows, console)
    report.save(rows, "scale")
    return 1 if any(row.met is False for row in rows) else 0


def run(drain: Sink) -> list[Row]:
    """Raises AssertionError when the ledger is not whole."""
    with stage.folder() as state:
        seconds, ends = asyncio.run(_campaign(drain, state))
    rate = RECIPIENTS / seconds
    said = ", ".join(f"{count:,} {name}" for name, count in ends.items())
    detail = f"{3600 * rate:,.0f} an hour, in {seconds:.0f} s; whole ledger: {said}"
    name = f"{RECIPIENTS:,} recipients, {WORKERS} workers / 100,000 an hour"
    return [Row(name, "mails/s", rate, SEED, rate / SEED, rate / SEED, rate / SEED, Goal("≥", 1), detail)]


async def _campaign(drain: Sink, state: Path) -> tuple[float, dict[str, int]]:
    """(seconds from the first message to the end of the campaign, mails in each end state)."""
    given = await stage.Stage.open(state)
    await given.seed(RECIPIENTS)
    launch = given.launch()
    await launch.handle()
    bus = Bus()
    bus.publish(given.bus.take(batch.TOPIC))
    async with contextlib.AsyncExitStack() as up:
        workers = [await up.enter_async_context(_worker(state, drain.port)) for _ in range(WORKERS)]
        started = time.perf_counter()
        async with asyncio.timeout(STUCK), asyncio.TaskGroup() as group:
            serving = [group.create_task(worker.serve(bus)) for worker in workers]
            serving += [group.create_task(bus.push(worker)) for worker in workers for _ in range(AT_ONCE)]
            await _ticks(given, launch, bus)
            seconds = time.perf_counter() - started
            for task in serving:
                task.cancel()
    ends = await _audit(given, drain)
    await given.close()
    return seconds, ends


async def _ticks(given: stage.Stage, launch: Launch, bus: Bus) -> None:
    """Tick when every message is done, and every TICK seconds until then, until the campaign is completed."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bus.idle.wait(), TICK)
        await launch.handle()
        bus.publish(given.bus.take(batch.TOPIC))
        found = await given.store.get(given.paths.campaign(stage.CAMPAIGN), ["state"])
        if found and found.data["state"] == "completed":
            return


async def _audit(given: stage.Stage, drain: Sink) -> dict[str, int]:
    """The end states; raises AssertionError unless recipients = sids in windows = the sum of end states, and sent = the sink."""
    sids: Counter[str] = Counter()
    after = ""
    while page := await given.store.page(given.paths.batches(stage.CAMPAIGN), after=after, fields=["sids"]):
        for document in page:
            sids.update(batch.sids(document.data["sids"]))
        after = page[-1].id
    everybody = {given.sid(stage.ADDRESS.format(n)) for n in range(RECIPIENTS)}
    if sids.keys() != everybody or sids.total() != RECIPIENTS:
        raise AssertionError(f"{sids.total()} places in the ledger for {len(sids)} of {RECIPIENTS} recipients")
    total = await progress(given.store, given.paths, stage.CAMPAIGN)
    ends = {name: total[name] for name in batch.END_STATES}
    if sum(ends.values()) != RECIPIENTS or total["recipients"] != RECIPIENTS:
        raise AssertionError(f"not everybody has an end state: {total}")
    drain.expect(ends["sent"])
    return {name: count for name, count in ends.items() if count}


@dataclass
class Bus:
    """Messages to be handled; `idle` is set while there are none, and none is under way."""

    idle: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: asyncio.Queue[Mapping[str, Any]] = field(default_factory=asyncio.Queue)
    _open: int = 0

    def publish(self, messages: list[Mapping[str, Any]]) -> None:
        for message in messages:
            self._open += 1
            self.idle.clear()
            self._waiting.put_nowait(message)

    async def push(self, worker: Worker) -> None:
        """Hand one message after another to a worker, for ever; one that it refuses comes again."""
        while True:
            message = await self._waiting.get()
            while not await worker.handle(message):
                await asyncio.sleep(0.3)
            self._open -= 1
            if not self._open:
                self.idle.set()


@dataclass
class Worker:
    """A process; see bench.worker."""

    process: asyncio.subprocess.Process
    _under_way: dict[int, asyncio.Future[bool]] = field(default_factory=dict)
    _count: int = 0

    async def handle(self, message: Mapping[str, Any]) -> bool:
        """Whether it took the message."""
        assert self.process.stdin
        self._count += 1
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._under_way[self._count] = answer
        self.process.stdin.write(json.dumps({"id": self._count, "message": message}).encode() + b"\n")
        return await answer

    async def serve(self, bus: Bus) -> None:
        """Take its answers. Raises AssertionError when the process ends."""
        assert self.process.stdout
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            bus.publish(told["published"])
            self._under_way.pop(told["id"]).set_result(told["done"])
        raise AssertionError("a worker ended")


@contextlib.asynccontextmanager
async def _worker(state: Path, port: int) -> AsyncIterator[Worker]:
    command = [sys.executable, "-m", "bench.worker", str(state), str(port)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**24)
    assert process.stdin
    try:
        yield Worker(process)
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    sys.exit(main())
