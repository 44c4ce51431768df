"""The one writer of a batch document: takes the lease with its first write, chains the document's version, and recognises its own
write when a reply was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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
        self.source: dict[str, Any] = data["source"]
        self.key: str = data["key"]
        self.roster: bytes = data.get("roster", b"")
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
        self.swept: int = data["swept"]
        self.grants: dict[str, dict[str, Any]] = data["grants"]
        self.providers: list[str] = data["providers"]
        self.via = bytearray(data["via"])
        self.times = bytearray(data["times"])
        self.codes: dict[str, str] = data["codes"]
        self.refused: dict[str, int] = data["refused"]
        self._fresh = {} if document else fresh

    @property
    def held(self) -> bool:
        """Whether this worker has written, and so holds the lease."""
        return self._seq > 0

    @property
    def crowded_since(self) -> int:
        """Since when (ms) a single mail waits because too many were asked for; 0 when it does not."""
        return self.refused.get("0", 0) if self.codes.get("0") == batch.CROWDED else 0

    def asked_anew(self, source: Mapping[str, Any]) -> None:
        """From the next write on a later request for the same single mail stands for this one."""
        self.source = dict(source)
        self._fresh = {**self._fresh, "source": self.source}

    def take_over(self) -> list[int]:
        """A worker died after handing its window over: those mails are `unknown`, never resent. Returns where they stand."""
        found = self.positions(batch.HANDED)
        self.replace(batch.HANDED, batch.UNKNOWN)
        return found

    def replace(self, state: int, by: int) -> None:
        """Turn every `state` into `by`."""
        self.states = self.states.replace(bytes([state]), bytes([by]))

    def end_round(self, counts: bool) -> None:
        """Every deferred mail has been tried; the next wait is longer when `counts` and one was refused, rather than kept waiting."""
        self.round += counts and self.counted
        self.counted, self.retry_from = False, 0

    def give_up(self, since: int) -> None:
        """Nobody waits any longer for servers that have refused, or slowed down, a mail since then (ms)."""
        for position in self.positions(batch.DEFERRED):
            if self.refused.get(str(position), batch.NEVER) <= since:
                self.states[position] = batch.FAILED

    def add(self, sids: Sequence[str], states: bytes) -> int:
        """Append a window; the position of its first mail."""
        start = len(self.states)
        self.sids += bytes.fromhex("".join(sids))
        self.states += states
        self.via += b"\xff" * len(states)
        self.times += bytes(4 * len(states))
        return start

    def hand(self, positions: Sequence[int], provider: str, now: int) -> None:
        """Note that these mails go out by `provider` at `now` (ms), at its expense where it gave a grant."""
        if provider not in self.providers:
            self.providers.append(provider)
        number, at = self.providers.index(provider), (now // 1000).to_bytes(4, "big")
        for position in positions:
            self.states[position] = batch.HANDED
            self.via[position] = number
            self.times[4 * position : 4 * position + 4] = at
        if provider in self.grants:
            self.grants[provider]["mails"] = max(0, self.grants[provider]["mails"] - len(positions))

    def hand_back(self, provider: str, mails: int) -> None:
        """So many of those were not begun: the grant is whole again."""
        if provider in self.grants:
            self.grants[provider]["mails"] += mails

    def went_by(self, position: int) -> str:
        """The provider a mail went to last, "" for none."""
        number = self.via[position]
        return self.providers[number] if number < len(self.providers) else ""

    def note(self, position: int, code: str, now: int) -> None:
        """The provider's code for a mail that is not sent, "" for none; and when there first was one (`now`, ms)."""
        if code:
            self.codes[str(position)] = code
            self.refused.setdefault(str(position), now)
        else:
            self.codes.pop(str(position), None)
            self.refused.pop(str(position), None)

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
        due = max(now, not_before) if waiting else batch.NEVER
        leftover = any(grant["mails"] for grant in self.grants.values())
        changes: dict[str, Any] = {"lease_until": 0, "not_before": not_before, "due": due, "leftover": leftover}
        if not waiting:
            changes["ended_at"] = now
            if "network" in self.source:  # nobody needs to know any more who asked
                changes["source"] = {name: value for name, value in self.source.items() if name != "network"}
        await self._save(changes)

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
            "swept": 0,
            "grants": self.grants,
            "providers": self.providers,
            "via": bytes(self.via),
            "times": bytes(self.times),
            "codes": self.codes,
            "refused": self.refused,
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
                if found.data.get("owner") == self._owner and found.data.get("seq", 0) < self._seq:
                    self._version = found.version  # an earlier write of ours, whose reply was lost for good
                elif found.version != self._version:
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
