"""The memory of a worker while it sends: a process with the real launch and the real send_batch, one campaign of 10,000 recipients and
then, in the same process, one of 1,000,000.

Nobody stores a million subscribers for that: they are made when a page is asked for, and everything else is a real store. The sender
takes the bytes and forgets them. `python -m bench.memory` prints the peak resident memory after each, in kB.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

from shared.adapters.sqlite_store import SqliteStore
from shared.model import batch
from shared.model.campaign import progress
from shared.ports import Document, Filter, Outcome, Outgoing, Stop

from . import stage
from .report import Goal, Row

FEW, MANY = 10_000, 1_000_000
FLAT = Goal("≤", 1.1)


def run() -> list[Row]:
    """Raises AssertionError when a campaign is not whole."""
    done = subprocess.run([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise AssertionError("the worker of bench.memory failed")
    few, many = (int(word) / 1024 for word in done.stdout.split())
    name = f"peak memory of a worker, {MANY:,} recipients / {FEW:,}"
    return [
        Row(name, "MB", many, few, many / few, many / few, many / few, FLAT, "the same process, one campaign after the other")
    ]


class Generated(SqliteStore):
    """A store whose subscribers are made up: `people` of them, evenly over the sid space."""

    people = 0
    folder = ""  # the collection of subscribers

    async def forget(self) -> None:
        """Keep next to nothing of the file in memory: SQLite's caches fill up to 48 MB with the batches of a large campaign, and are
        not the worker's. On Google there are none."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA cache_size = -256").close()

        for lane in (self._file.write, self._file.read, self._file.scan):
            await lane(work)

    async def page(
        self,
        collection: str,
        filter: Filter = Filter(),
        after: str = "",
        limit: int = 300,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        if collection != self.folder:
            return await super().page(collection, filter, after, limit, fields)
        found: list[Document] = []
        n = self._first(after)
        while len(found) < limit and n < self.people and (filter.below is None or self._sid(n) < filter.below):
            found.append(self._subscriber(n))
            n += 1
        return found

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        if any(path.rpartition("/")[0] == self.folder for path in paths):
            raise AssertionError("a campaign in ranges reads no subscriber by name")
        return await super().get_many(paths, fields)

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        return self.people if collection == self.folder else await super().count(collection, filter)

    def _sid(self, n: int) -> str:
        return f"{(n << 64) // self.people:016x}{n:016x}"

    def _first(self, after: str) -> int:
        """The first whose sid is greater."""
        n = max(0, (int(after[:16].ljust(16, "0") or "0", 16) * self.people >> 64) - 1)
        while n < self.people and self._sid(n) <= after:
            n += 1
        return n

    def _subscriber(self, n: int) -> Document:
        data: dict[str, Any] = stage.subscriber(n)
        return Document(f"{self.folder}/{self._sid(n)}", "1", data)


class Forgetting:
    """A sender that accepts everything."""

    window = 50
    form: Literal["wire"] = "wire"

    def __init__(self) -> None:
        self.mails = 0

    async def ready(self) -> None:
        return None

    async def send(self, envelope_from: str, mails: Sequence[Outgoing], stop: Stop | None = None) -> list[Outcome]:
        self.mails += len(mails)
        return [Outcome("sent")] * len(mails)

    async def close(self) -> None:
        return None


async def peaks() -> list[int]:
    """kB after each of the two campaigns. Raises AssertionError when one is not whole."""
    found = []
    with stage.folder() as state:
        store = Generated.open(state / "store.db")
        assert isinstance(store, Generated)
        given = await stage.Stage.open(state, store)
        store.folder = given.paths.subscribers
        await store.forget()
        sender = Forgetting()
        step = given.send_batch(sender)
        for id, store.people in (("C-0001", FEW), ("C-0002", MANY)):
            launch, before = given.launch([id]), sender.mails
            await launch.handle()
            while messages := given.bus.take(batch.TOPIC):
                for message in messages:
                    await step.handle(message)
                await launch.handle()
            total = await progress(store, given.paths, id)
            if (total["sent"], sender.mails - before) != (store.people, store.people):
                raise AssertionError(f"{id} is not whole: {total}, {sender.mails - before} mails")
            found.append(_peak())
        await given.close()
    return found


def _peak() -> int:
    """kB at most so far. Not ru_maxrss, which begins with what the parent had."""
    return int(re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.M)[0])


if __name__ == "__main__":
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # the steps' own log
        kilobytes = asyncio.run(peaks())
    print(*kilobytes)
