"""Cutting a send into batches: ranges of the id space, or rosters of readers.

Ranges are known without reading anybody. Where who goes when depends on the readers (their zone, their habits, their mailbox provider,
what became of the last mail) each of them is read once and put into one roster, see prepare.py. What they are like may change while that
goes on, or between two attempts, so all rosters are settled at once: they are kept in Objects as one plan, whose name is noted on the
campaign, and only then become batches. Making batches may be cut off anywhere and repeated.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from shared.errors import Unavailable
from shared.model import batch
from shared.model.paths import Paths
from shared.model.provider import group_of
from shared.ports import Create, Objects, Store

from .slots import Slots

DAY: Final = 86_400_000
CHUNK: Final = 250  # batches in one call


class Part(NamedTuple):
    """One batch of a plan. `due` in ms; `group`: see a batch's document; `roster`: 16 bytes a reader."""

    due: int
    group: str
    roster: bytes


class Rosters:
    """Readers on their way into rosters: 16 bytes each, by slot, mailbox provider and the day of their last open or click.

    `ranked`: one mailbox provider a roster, and who engaged lately goes first; else in the order of their ids.
    """

    def __init__(self, slots: Slots, ranked: bool) -> None:
        self._slots, self._ranked = slots, ranked
        self._readers: defaultdict[tuple[int, str, int], bytearray] = defaultdict(bytearray)

    @property
    def fields(self) -> list[str]:
        """What has to be read of a subscriber."""
        return [*self._slots.fields, *(("address", "engaged_at") if self._ranked else ())]

    def add(self, sid: str, subscriber: Mapping[str, Any]) -> None:
        """Put a reader in; once only."""
        group, rank = "", 0
        if self._ranked:
            group, rank = group_of(str(subscriber.get("address", ""))), -(int(subscriber.get("engaged_at", 0)) // DAY)
        self._readers[self._slots.slot(subscriber), group, rank] += bytes.fromhex(sid)

    def merge(self, later: Rosters) -> None:
        """Put in whom `later` holds, behind those who are in."""
        for key, sids in later._readers.items():
            self._readers[key] += sids

    def packed(self) -> bytes:
        """Everybody in it, for `unpack`."""
        head = json.dumps([[*key, len(sids)] for key, sids in self._readers.items()]).encode()
        return b"".join((head, b"\n", *self._readers.values()))

    def unpack(self, data: bytes) -> None:
        """Put in those who were `packed`, behind those who are in."""
        for (slot, group, rank), sids in _unpacked(data):
            self._readers[slot, group, rank] += sids

    def __len__(self) -> int:
        return sum(map(len, self._readers.values())) // 16

    def parts(self, size: int) -> list[Part]:
        """Batches of at most `size` readers, in the order in which they are to go; what was put in is gone then.

        Of rosters due at one moment each mailbox provider's first comes first, then each one's second.
        """
        counts: Counter[int] = Counter()
        for (slot, _, _), readers in self._readers.items():
            counts[slot] += len(readers) // 16
        moments = self._slots.moments(counts)
        ranks: defaultdict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
        for slot, group, rank in self._readers:
            ranks[moments[slot], group].append((rank, slot))
        cut: list[tuple[int, int, Part]] = []
        for (due, group), keys in ranks.items():
            sids = b"".join(self._readers.pop((slot, group, rank)) for rank, slot in sorted(keys))
            for n, at in enumerate(range(0, len(sids), 16 * size)):
                cut.append((due, n, Part(due, group, sids[at : at + 16 * size])))
        return [part for _, _, part in sorted(cut, key=lambda item: (item[0], item[1], item[2].group))]


# --- plans ------------------------------------------------------------------------------------------------------------


async def keep(objects: Objects, parts: Iterable[Part]) -> str:
    """Store a plan under its hash; its name. Raises Unavailable."""
    found = list(parts)
    head = json.dumps([[due, group, len(roster)] for due, group, roster in found]).encode()
    return await put(objects, b"".join((head, b"\n", *(part.roster for part in found))))


async def put(objects: Objects, data: bytes) -> str:
    """Store a plan, or what one is made of, under its hash; its name. Raises Unavailable."""
    name = f"rosters/{hashlib.sha256(data).hexdigest()}"
    await objects.put(name, data)
    return name


async def kept(objects: Objects, name: str) -> list[Part]:
    """The inverse of `keep`. Raises NotFound, Unavailable."""
    return [Part(due, group, roster) for (due, group), roster in _unpacked(await objects.get(name))]


def _unpacked(data: bytes) -> Iterator[tuple[list[Any], bytes]]:
    """What a line of JSON says of the stretches of bytes behind it, the last of it each one's length; and each of them."""
    head, _, _ = data.partition(b"\n")
    at = len(head) + 1
    for *said, length in json.loads(head):
        yield said, data[at : at + length]
        at += length


# --- batches ----------------------------------------------------------------------------------------------------------


def ranges(send: Mapping[str, Any], due: int) -> Iterator[dict[str, Any]]:
    """The batches of a send that is cut into `parts` ranges."""
    for source in batch.ranges(send["parts"] * batch.BATCH_SIZE):
        yield batch.new(source, due, send["key"])


def rosters(send: Mapping[str, Any], parts: Iterable[Part], earliest: int) -> Iterator[dict[str, Any]]:
    """The batches of a plan, none due before `earliest`."""
    for part in parts:
        source = {"roster": len(part.roster) // 16}
        yield batch.new(source, max(earliest, part.due), send["key"], part.group, part.roster)


async def create(store: Store, paths: Paths, campaign: str, key: str, batches: Iterator[dict[str, Any]]) -> list[str]:
    """Make the batches that are not there yet, under fixed names; all names. Raises Unavailable."""
    names: list[str] = []
    prefix = f"{key}-" if key else ""
    while chunk := list(islice(batches, CHUNK)):
        fresh = [f"{prefix}{len(names) + n:06d}" for n in range(len(chunk))]
        writes = [Create(paths.batch(campaign, name), data) for name, data in zip(fresh, chunk, strict=True)]
        failed = [result for result in await store.write_many(writes) if isinstance(result, Unavailable)]
        if failed:
            raise failed[0]
        names += fresh
    return names
