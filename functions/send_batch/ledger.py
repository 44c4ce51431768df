"""The one writer of a batch document: takes the lease with its first write, chains the document's version, and recognises its own
write when a reply was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from shared.errors import Conflict, Unavailable
from shared.model import batch
from shared.ports import Create, Document, Merge, Store

ATTEMPTS = 7  # of one write that fails or whose reply is lost; about 5 s together
PAUSE = 0.1  # seconds before the second attempt, doubling


class Lost(Exception):
    """Somebody else holds, or has written, this batch: the caller stops without a trace."""


class Ledger:
    """A batch as this worker sees it. `owner` is unique to this run of the worker; times are milliseconds."""

    def __init__(self, store: Store, path: str, document: Document | None, fresh: dict[str, Any], owner: str, lease: int) -> None:
        data = document.data if document else fresh
        self._store, self._path, self._owner, self._lease = store, path, owner, lease
        self._version = document.version if document else None
        self._seq = 0
        self.source: dict[str, str] = data["source"]
        self.cursor: str = data["cursor"]
        self.read_all: bool = data["read_all"]
        self.round: int = data["round"]
        self.counted: bool = data["counted"]
        self.retry_from: int = data["retry_from"]
        self.sids = bytearray(data["sids"])
        self.states = bytearray(data["states"])
        self.state: str = data["state"]
        self.not_before: int = data["not_before"]
        self.lease_until: int = data["lease_until"]
        self._fresh = {} if document else fresh

    @property
    def held(self) -> bool:
        """Whether this worker has written, and so holds the lease."""
        return self._seq > 0

    def take_over(self) -> int:
        """A worker died after handing its window over: those mails are `unknown`, never resent. Returns how many."""
        found = self.states.count(batch.HANDED)
        self.replace(batch.HANDED, batch.UNKNOWN)
        return found

    def replace(self, state: int, by: int) -> None:
        """Turn every `state` into `by`."""
        self.states = self.states.replace(bytes([state]), bytes([by]))

    def end_round(self, counts: bool) -> None:
        """Every deferred mail has been tried; it costs an attempt when `counts` and one was refused, rather than kept waiting."""
        self.round += counts and self.counted
        self.counted, self.retry_from = False, 0

    def add(self, sids: Sequence[str], states: bytes) -> int:
        """Append a window; the position of its first mail."""
        start = len(self.states)
        self.sids += bytes.fromhex("".join(sids))
        self.states += states
        return start

    def positions(self, state: int) -> list[int]:
        """Where `state` stands in the ledger."""
        return [i for i, found in enumerate(self.states) if found == state]

    def sid(self, position: int) -> str:
        return self.sids[16 * position : 16 * position + 16].hex()

    async def hold(self, now: int) -> None:
        """Write the ledger and keep the lease. Raises Lost, Unavailable."""
        await self._save({"lease_until": now + self._lease, "due": now + self._lease})

    async def release(self, now: int, not_before: int = 0) -> None:
        """Write the ledger and let go: done when nothing is left to do, else waiting until `not_before`."""
        waiting = not self.read_all or batch.DEFERRED in self.states
        self.state = "open" if waiting else "done"
        await self._save({"lease_until": 0, "not_before": not_before, "due": max(now, not_before)})

    async def _save(self, changes: dict[str, Any]) -> None:
        self._seq += 1
        data = {
            **self._fresh,
            "state": self.state,
            "cursor": self.cursor,
            "read_all": self.read_all,
            "round": self.round,
            "counted": self.counted,
            "retry_from": self.retry_from,
            "sids": bytes(self.sids),
            "states": bytes(self.states),
            "tally": batch.tally(self.states),
            "unsettled": batch.UNKNOWN in self.states,
            "owner": self._owner,
            "seq": self._seq,
            **changes,
        }
        for attempt in range(ATTEMPTS):
            try:
                write = Create(self._path, data) if self._version is None else Merge(self._path, data, if_version=self._version)
                [self._version] = await self._store.commit([write])
                self._fresh = {}
                return
            except (Conflict, Unavailable) as error:
                found = await self._read_back(error, attempt)
                if found is None:
                    await asyncio.sleep(PAUSE * 2**attempt)
                    continue
                if found.data.get("owner") == self._owner and found.data.get("seq") == self._seq:
                    self._version, self._fresh = found.version, {}
                    return
                if found.version != self._version:
                    raise Lost from error
                await asyncio.sleep(PAUSE * 2**attempt)  # the write did not arrive: once more
        raise Unavailable("the store", "a batch could not be written")

    async def _read_back(self, error: Exception, attempt: int) -> Document | None:
        try:
            return await self._store.get(self._path, ["owner", "seq"])
        except Unavailable:
            if attempt == ATTEMPTS - 1:
                raise error from None
            return None
