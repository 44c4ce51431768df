"""`python -m bench.reports`: what the reports of one campaign to 1,000,000 cost in 30 days, with the real steps on a counted store.

Of the recipients every SAMPLE-th is there, and what is read for single mails counts SAMPLE times; ranges, ticks and marks are as many as
with all. OPENS of the mails are opened, CLICKS clicked, BOUNCES bounce; half of the opens come in the first HALF hours, the rest ever
later (lognormal). Each window has a mark, so that no range is ever spared: the dearest case.
"""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from functions.record.handler import Record
from functions.report.handler import Report
from shared.adapters.sqlite_store import SqliteStore
from shared.model import batch, marks
from shared.model.event import Event
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.ports import Create, Document, Filter, Write

from . import prices
from .prices import Spent

RECIPIENTS: Final = 1_000_000
SAMPLE: Final = 250
OPENS, CLICKS, BOUNCES = 0.40, 0.05, 0.01
HALF, SPREAD = 4.0, 1.8  # hours; of the logarithm
DAYS: Final = 30
TICK: Final = 600_000  # ms
PROCESSES: Final = 10  # of record: max in terraform/functions.tf
BEGAN: Final = 1_800_000_000_000
PATHS: Final = Paths("bench")
HOUR: Final = 3_600_000


class Clock:
    """Time as the simulation has it."""

    def __init__(self) -> None:
        self.time = BEGAN

    def now(self) -> int:
        return self.time


class Counted(SqliteStore):
    """Counts what belongs to single mails apart: documents of deliveries and subscribers read, and written. `batches` of the campaign
    are not there, and read as if."""

    each, once, writes = 0, 0, 0

    async def page(
        self, collection: str, filter: Filter = Filter(), after: str = "", limit: int = 300, fields: Any = None
    ) -> list[Document]:
        found = await super().page(collection, filter, after, limit, fields)
        if collection.endswith("/deliveries"):
            self.each += len(found)
            self.once += not found
        else:
            self.once += max(1, len(found)) + RECIPIENTS // batch.BATCH_SIZE * collection.endswith("/batches")
        return found

    async def get(self, path: str, fields: Any = None) -> Document | None:
        self.once += 1
        return (await super().get_many([path], fields))[0]

    async def get_many(self, paths: Any, fields: Any = None) -> list[Document | None]:
        self.each += len(paths)
        return await super().get_many(paths, fields)

    async def commit(self, writes: Any) -> list[str]:
        self.writes += len(writes)
        return await super().commit(writes)


def events(chance: random.Random, recipients: int) -> list[tuple[Event, str]]:
    """What happens, in order, with the sids."""
    found = []
    for _ in range(recipients):
        sid = chance.randbytes(16).hex()
        ref = MailRef("C-0001", sid).text
        at = BEGAN + round(HALF * math.exp(SPREAD * chance.gauss(0, 1)) * HOUR)
        fate = chance.random()
        if fate < OPENS:
            found.append((Event("opened", ref, at, label="human", device="phone"), sid))
            if fate < CLICKS:
                found.append((Event("clicked", ref, at + 60_000, label="human", link=1, country="PT"), sid))
        elif fate > 1 - BOUNCES:
            found.append((Event("bounced", ref, BEGAN + 1, hard=True, code="550 5.1.1"), sid))
    return sorted((pair for pair in found if pair[0].at < BEGAN + DAYS * 24 * HOUR), key=lambda pair: pair[0].at)


async def simulate(file: Path, sample: int = SAMPLE) -> dict[str, Any]:
    """readings, spent (Spent, reports only), marks (writes of record), events."""
    clock, chance = Clock(), random.Random(1)
    with closing(cast(Counted, Counted.open(file))) as counted, closing(SqliteStore.open(file)) as store:
        plan = {"frozen_at": BEGAN, "expected": RECIPIENTS, "zone": "UTC", "row": {"name": ""}}
        await store.commit([Create(PATHS.campaign("C-0001"), plan)])
        record, step = Record(store, PATHS), Report(counted, clock, PATHS)
        waiting = events(chance, RECIPIENTS // sample)
        told, made, marked = 0, set[int](), 0
        while clock.time < BEGAN + DAYS * 24 * HOUR:
            number, before = marks.window(clock.time), told
            clock.time += TICK
            writes: list[Write] = []
            while told < len(waiting) and waiting[told][0].at < clock.time:
                await record.handle(waiting[told][0].to_message())
                told += 1
            writes.append(marks.mark(PATHS, "C-0001", marks.EVERY, number))
            await store.commit(writes)
            marked += min((told - before) * sample, TICK // marks.WINDOW * (marks.FEW + 1) * PROCESSES)
            await step.handle()
            found = await store.get(PATHS.report("C-0001"))
            made.add(found.data["at"] if found else 0)
    spent = Spent(reads=counted.once + counted.each * sample, writes=counted.writes)
    return {"readings": len(made - {0}), "spent": spent, "marks": marked, "events": told * sample}


def table(found: dict[str, Any]) -> list[str]:
    """As it stands in docs/reports.md."""
    spent: Spent = found["spent"]
    lines = ["| | reads | writes | eur3 | europe-west1 |", "|---|---:|---:|---:|---:|"]
    for name, one in (
        (f"{found['readings']} readings", spent),
        (f"Marks, beside {found['events']:,} events", Spent(writes=found["marks"])),
    ):
        dear, cheap = (place.operations.of(one) for place in (prices.EUR3, prices.EUROPE_WEST1))
        lines.append(f"| {name} | {one.reads:,} | {one.writes:,} | ${dear:.2f} | ${cheap:.2f} |")
    return lines


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        print("\n".join(table(asyncio.run(simulate(Path(folder) / "store.db")))))
