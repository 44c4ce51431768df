"""What is kept of one reader, collected when the reader asked for it: the mail `export` carries it as two files, and nothing else holds it.

The mails of a reader are found by the ids of their documents: the delivery of each send of each campaign, and the batch of those sends
that were cut into ranges, which is known from the id as well. Of a send in rosters the batches have to be gone through; there a most
holds. Reads: one a campaign, one a delivery looked for, one a batch, a few besides.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.model import batch
from shared.model.paths import SYSTEM, Paths
from shared.model.ref import MailRef
from shared.paging import PAGE, every
from shared.ports import Document, Filter, Store

CAMPAIGNS: Final = 1000  # the newest
CONSENTS: Final = 1000
BATCHES: Final = 1500  # of sends in rosters, of the newest campaigns first
CHUNK: Final = 100  # batches read at once, about 10 KB each
_FIELDS: Final = ("key", "sids", "states", "via", "times", "providers", "codes")
_WORDS: Final[Mapping[int, str]] = {
    batch.HANDED: "being handed over",
    batch.DEFERRED: "on its way, not taken yet",
    batch.SENT: "sent",
    batch.FAILED: "failed",
    batch.SUPPRESSED: "not sent: suppressed",
    batch.CANCELLED: "not sent: the campaign was cancelled",
    batch.UNKNOWN: "may have been sent, the connection was lost",
    **{state: f"not sent: {why}" for state, why in batch.SKIPS.items()},
}


@dataclass
class Held:
    """All of it, as it stands in the store: names of fields to values, times in ms. `consents` and `lifts` have their `id`; `mails` are
    the system's own, and then the newest campaigns' first. `left_out`: sentences, of what is not in it for being too much."""

    sid: str
    at: int
    subscriber: dict[str, Any]
    suppression: dict[str, Any]
    consents: list[dict[str, Any]]
    lifts: list[dict[str, Any]]
    mails: list[dict[str, Any]]
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Personal:
    """Collects it."""

    store: Store
    paths: Paths

    async def of(self, sid: str, now: int) -> Held:
        """What is kept at `now` (ms); all of it may be empty. Raises Unavailable."""
        paths = self.paths
        known, suppression = await self.store.get_many([paths.subscriber(sid), paths.suppression(sid)])
        consents = await self._all(paths.consents(sid), CONSENTS + 1)
        held = Held(
            sid,
            now,
            known.data if known else {},
            suppression.data if suppression else {},
            consents[:CONSENTS],
            await self._all(paths.lifts(sid), PAGE),
            [],
        )
        if len(consents) > CONSENTS:
            held.left_out.append(f"Of the sign-ups and consents {CONSENTS:,} are in it: there are more.")
        held.mails = [*await self._single_mails(sid), *await self._campaigns(sid, held)]
        return held

    async def _all(self, collection: str, most: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for one in every(self.store, collection):
            found.append({"id": one.id, **one.data})
            if len(found) == most:
                break
        return found

    # --- mails of campaigns ---

    async def _campaigns(self, sid: str, held: Held) -> list[dict[str, Any]]:
        plans = [one async for one in every(self.store, self.paths.campaigns, fields=["frozen_at", "sends", "row", "kind"])]
        begun = [one for one in plans if one.data.get("frozen_at") and one.id not in SYSTEM]
        newest = sorted(begun, key=lambda one: (one.data["frozen_at"], one.id), reverse=True)
        if len(newest) > CAMPAIGNS:
            held.left_out.append(f"Of {len(newest):,} campaigns the newest {CAMPAIGNS:,} were looked at.")
        sends = [(one, send) for one in newest[:CAMPAIGNS] for send in one.data.get("sends") or [{"key": "", "parts": 0}]]
        refs = [MailRef(one.id, sid, send["key"]) for one, send in sends]
        deliveries = await self._deliveries(refs)
        facts = await self._in_ranges(sid, sends) | await self._in_rosters(sid, sends, held)
        found = []
        for (plan, _), ref in zip(sends, refs, strict=True):
            told, heard = facts.get((ref.campaign, ref.key), {}), deliveries.get(ref)
            if told or heard:
                row = plan.data.get("row") or {}
                named = {"campaign": ref.campaign, "name": row.get("name", ""), "subject": row.get("subject", "")}
                found.append({**named, "send": ref.key, **told, "heard": heard or {}})
        return found

    async def _deliveries(self, refs: Sequence[MailRef]) -> dict[MailRef, dict[str, Any]]:
        """What was heard of each mail, of those of which something was."""
        found = await self.store.get_many([self.paths.delivery(ref.campaign, ref.delivery) for ref in refs]) if refs else []
        return {ref: one.data for ref, one in zip(refs, found, strict=True) if one}

    async def _in_ranges(self, sid: str, sends: Sequence[tuple[Document, Mapping[str, Any]]]) -> dict[tuple[str, str], Any]:
        """The ledgers' word on mails of sends that were cut into equal ranges of ids."""
        places = {
            (plan.id, send["key"]): self.paths.batch(
                plan.id, f"{_prefix(send['key'])}{(int(sid[:16], 16) * send['parts']) >> 64:06d}"
            )
            for plan, send in sends
            if send.get("parts")
        }
        found: dict[tuple[str, str], Any] = {}
        names = list(places)
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            ledgers = await self.store.get_many([places[name] for name in chunk], _FIELDS)
            found |= {name: told for name, one in zip(chunk, ledgers, strict=True) if one and (told := _told(one, sid))}
        return found

    async def _in_rosters(
        self, sid: str, sends: Sequence[tuple[Document, Mapping[str, Any]]], held: Held
    ) -> dict[tuple[str, str], Any]:
        """The same of sends in rosters: any of their batches may hold the reader."""
        found: dict[tuple[str, str], Any] = {}
        left = BATCHES
        for plan, send in sends:
            if send.get("parts"):
                continue
            if left <= 0:
                held.left_out.append(
                    "Whether some of the older campaigns were sent is not in it, unless something was heard of the mail."
                )
                break
            async for one in self._batches(plan.id, send["key"]):
                left -= 1
                if told := _told(one, sid):
                    found[plan.id, send["key"]] = told
                    break
        return found

    async def _batches(self, campaign: str, key: str) -> AsyncIterator[Document]:
        """The batches of one send, CHUNK at a time."""
        after, below = (f"{key}-", f"{key}-~") if key else ("", "A")  # of the first send they are digits
        while True:
            page = await self.store.page(self.paths.batches(campaign), Filter(below=below), after, CHUNK, _FIELDS)
            for one in page:
                yield one
            if len(page) < CHUNK:
                return
            after = page[-1].id

    # --- mails of the system's own ---

    async def _single_mails(self, sid: str) -> list[dict[str, Any]]:
        """Confirmations and the like. Their batches, named after the reader, go after 90 days; what was heard of them stays longer."""
        found, own = [], Filter(below=f"{sid}~")
        for campaign in SYSTEM:
            ledgers = [one async for one in every(self.store, self.paths.batches(campaign), own, _FIELDS, sid)]
            heard = [one async for one in every(self.store, self.paths.deliveries(campaign), own, after=sid)]
            told = {_key(one): _told(one, sid) for one in ledgers}
            noted = {_key(one): one.data for one in heard}
            for key in sorted(told | noted):
                named = {"campaign": campaign, "name": "", "subject": "", "send": key}
                found.append({**named, **told.get(key, {}), "heard": noted.get(key, {})})
        return found


def _key(single: Document) -> str:
    """The key of a single mail, by the name of its batch or of its delivery."""
    return single.id.partition(".")[2]


def _prefix(key: str) -> str:
    return f"{key}-" if key else ""


def _told(ledger: Document, sid: str) -> dict[str, Any]:
    """What a batch's ledger says of a reader's mail, {} when it does not hold the reader."""
    data = ledger.data
    sids = bytes(data["sids"])
    place = next((at for at in range(0, len(sids), 16) if sids[at : at + 16].hex() == sid), -1) // 16
    if place < 0:
        return {}
    number = data["via"][place] if place < len(data["via"]) else len(data["providers"])
    by = data["providers"][number] if number < len(data["providers"]) else ""
    [seconds] = struct.unpack_from(">I", data["times"], 4 * place)
    told = {"state": _WORDS[data["states"][place]], "provider": by, "answer": data["codes"].get(str(place), "")}
    return {"batch": ledger.id, **told, "handed_over_at": seconds * 1000}
