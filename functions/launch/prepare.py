"""Finding out who is in the rosters of a send, as much of it at a time as fits into a tick.

The id space is divided into equal slices; sids are uniform, so each holds about as many readers. A slice is looked at as a whole or not at
all, and from the first on, so that how far it has come is one number in the campaign's field `preparing`. Whom a tick has found is kept
in Objects under its hash, and noted together with that number: what a tick leaves unnoted is done again and was never true. However often
it is interrupted, each reader is looked at once, and the rosters are those of one go: in the order of the ids, for one and the same moment.

For a later send the ledgers of those before are read first, in the same manner. What became of a reader in the newest send that held
them counts, so that each failure is retried once and nobody is in two of these rosters for one reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.errors import Unavailable
from shared.logs import log
from shared.model import batch
from shared.model.paths import Paths
from shared.model.subscriber import mailable
from shared.paging import PAGE, every
from shared.ports import Clock, Filter, Objects, Store

from . import cut, slots

LANES: Final = 8  # slices that are looked at at once
SLICE: Final = 3000  # readers of a slice, at most about
SLICES: Final = 1 << 16
MAIL: Final = 17  # bytes: a sid, and what became of its mail
SAID: Final = "Preparing"  # how each answer begins that tells of it
_FACTS: Final = ["address", "status", "suppressed", "engaged_at"]
_LABELS: Final = ("opened.human", "clicked.human")


def begin(kind: str, now: int, ranked: bool, expected: int, before: str = "") -> dict[str, Any]:
    """A campaign's `preparing`. `kind`: of the send. `ranked`: see Rosters. `expected`: about how many readers. `before`: the state to go
    back to when there turns out to be nobody."""
    slices = min(SLICES, 1 << (expected // SLICE).bit_length())  # a power of two: two bytes of a sid tell its slice
    after = None if kind == "all" else ""
    given = {"kind": kind, "before": before, "at": now, "ranked": ranked, "slices": slices}
    return {**given, "done": 0, "pieces": [], "after": after, "ledgers": [], "mails": 0, "held": 0}


def said(state: Mapping[str, Any], expected: int) -> str:
    """How far it has come."""
    if state["after"] is not None:
        return f"{SAID}: what became of {state['mails']:,} mails is read so far."
    looked = expected * state["done"] // state["slices"]
    return f"{SAID}: {looked:,} of about {expected:,} readers looked at."


def nobody(state: Mapping[str, Any]) -> str:
    """Why a later send goes to nobody."""
    held = state["held"]
    if state["kind"] == "retry":
        if held:
            return f"None of the {held:,} that failed can be mailed any more: they bounced for good, or left."
        return "Nobody failed, so there is nothing to send again."
    if held:
        return f"All {held:,} who got it have opened it, so there is nobody to send it to again."
    return "Nobody has got it, so there is nobody to send it to again."


@dataclass
class Preparing:
    """`data`: the campaign's, with `preparing`: kind, before, at, ranked; slices, and how many of them are done, with the `pieces` that
    were found in them; `after`: the last batch whose ledger was read, None when all were, with the `ledgers` read, so many `mails`;
    `held`: how many mails so far came to what is asked for."""

    store: Store
    objects: Objects
    paths: Paths
    clock: Clock
    campaign: str
    data: Mapping[str, Any]

    async def go_on(self, until: int) -> tuple[dict[str, Any], cut.Rosters | None]:
        """Go on until everybody was looked at, or that moment (ms): `preparing` as it is then, and the rosters once they hold everybody.

        Something is done in any case. Raises Unavailable when nothing could be, and NotFound.
        """
        state = dict(self.data["preparing"])
        ledgers = b"" if state["after"] is None else await self._ledgers(state, until)
        rosters = self._rosters(state)
        if state["after"] is None:
            whose = await self._whose(state, ledgers)
            rosters = await self._slices(state, whose, until)
        if state["done"] < state["slices"]:
            if ledgers:
                state["ledgers"] = [*state["ledgers"], await cut.put(self.objects, ledgers)]
            if len(rosters):
                state["pieces"] = [*state["pieces"], await cut.put(self.objects, rosters.packed())]
            return state, None
        found = self._rosters(state)
        for name in state["pieces"]:
            found.unpack(await self.objects.get(name))
        found.merge(rosters)
        return state, found

    def _rosters(self, state: Mapping[str, Any]) -> cut.Rosters:
        data, at = self.data, state["at"]
        moments: slots.Slots = slots.Together(at)
        if state["kind"] == "all" and data.get("when") == "local":
            moments = slots.Local(datetime.fromisoformat(data["wall"]), data["zone"], at)
        elif state["kind"] == "all" and data.get("when") == "best":
            moments = slots.Best(data["at"], at)
        return cut.Rosters(moments, state["ranked"])

    # --- ledgers ---

    async def _ledgers(self, state: dict[str, Any], until: int) -> bytes:
        """Read on in the ledgers of the sends before: MAIL bytes for each mail. One read per batch."""
        found = bytearray()
        while True:
            page = await self.store.page(
                self.paths.batches(self.campaign), after=state["after"], limit=PAGE, fields=["sids", "states"]
            )
            for one in page:  # the names of later sends come later
                sids = one.data["sids"]
                for n, end in enumerate(one.data["states"]):
                    found += sids[16 * n : 16 * n + 16] + bytes((end,))
            state["after"] = page[-1].id if len(page) == PAGE else None
            if state["after"] is None or self.clock.now() >= until:
                state["mails"] += len(found) // MAIL
                return bytes(found)

    async def _whose(self, state: Mapping[str, Any], ledgers: bytes) -> list[bytearray]:
        """For each slice that is not done the mails in it, the newest last."""
        found = [bytearray() for _ in range(state["slices"])]
        if state["kind"] == "all":
            return found
        shift = 17 - state["slices"].bit_length()
        kept = [await self.objects.get(name) for name in state["ledgers"]]
        for mails in (*kept, ledgers):
            for at in range(0, len(mails), MAIL):
                found[(mails[at] << 8 | mails[at + 1]) >> shift] += mails[at : at + MAIL]
        return found

    # --- slices ---

    async def _slices(self, state: dict[str, Any], whose: list[bytearray], until: int) -> cut.Rosters:
        """Look at the slices that come next, each as a whole; whom they hold. Raises Unavailable when it is none."""
        edges = batch.ranges(batch.BATCH_SIZE * state["slices"])
        numbers = iter(range(state["done"], state["slices"]))
        looked: dict[int, tuple[cut.Rosters, int]] = {}
        failed: list[Unavailable] = []
        found = self._rosters(state)

        async def lane() -> None:
            for n in numbers:
                rosters = self._rosters(state)
                try:
                    looked[n] = rosters, await self._look(state, edges[n], bytes(whose[n]), rosters)
                except Unavailable as error:
                    failed.append(error)
                if failed or self.clock.now() >= until:
                    return

        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(lane())
        if failed and state["done"] not in looked:
            raise failed[0]
        if failed:
            log("WARNING", f"prepared in part: {failed[0]}", campaign=self.campaign)
        while state["done"] in looked:  # what lies behind one that failed is looked at again
            rosters, held = looked.pop(state["done"])
            found.merge(rosters)
            state["done"] += 1
            state["held"] += held
        return found

    async def _look(self, state: Mapping[str, Any], edge: Mapping[str, str], mails: bytes, rosters: cut.Rosters) -> int:
        """Put those in a slice into `rosters` who are to get it; how many mails in it came to what is asked for."""
        if state["kind"] == "all":
            await self._segment(edge, rosters)
            return 0
        whose = list(ending(mails, batch.FAILED if state["kind"] == "retry" else batch.SENT))
        if not whose:
            return 0
        if state["kind"] == "retry":
            for document in await self.store.get_many([self.paths.subscriber(sid) for sid in whose], _FACTS):
                if document and mailable(document.data):
                    rosters.add(document.id, document.data)
            return len(whose)
        opened = await self._openers(edge)
        left = [sid for sid in whose if sid not in opened]
        if not state["ranked"]:
            for sid in left:
                rosters.add(sid, {})
            return len(whose)
        known = await self.store.get_many([self.paths.subscriber(sid) for sid in left], rosters.fields)
        for sid, document in zip(left, known, strict=True):
            rosters.add(sid, document.data if document else {})
        return len(whose)

    async def _segment(self, edge: Mapping[str, str], rosters: cut.Rosters) -> None:
        """Everybody in the segment, at a read each. The index is believed: send_batch judges everybody again, and so the ledger says what
        became of those who left since."""
        within = Filter(contains=("segments", self.data["segment"]), below=edge["high"] or None)
        async for found in every(self.store, self.paths.subscribers, within, rosters.fields, edge["low"]):
            rosters.add(found.id, found.data)

    async def _openers(self, edge: Mapping[str, str]) -> set[str]:
        """Who opened any of the campaign's mails, or clicked in it: a read for each, and for each label."""
        found: set[str] = set()
        for label in _LABELS:
            within = Filter(contains=("labels", label), below=edge["high"] or None)
            async for delivery in every(self.store, self.paths.deliveries(self.campaign), within, ["labels"], edge["low"]):
                found.add(delivery.id.partition(".")[0])
        return found


def ending(mails: bytes, state: int) -> Iterator[str]:
    """The sids, in order, whose newest mail has come to `state`."""
    latest = {mails[at : at + 16]: mails[at + 16] for at in range(0, len(mails), MAIL)}
    return (sid.hex() for sid in sorted(latest) if latest[sid] == state)
