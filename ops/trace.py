"""Why did a reader get, or not get, a campaign's mail: the decisions that were made, as they stand in the store.

From the ledger: which send, which batch, the end state, the provider, its code, the time. From the subscriber and the suppressions: what
holds now. From the delivery: what was heard of the mail afterwards. Reads the campaign's batches.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.model import batch
from shared.model.campaign import ENDED
from shared.model.paths import SYSTEM, Paths
from shared.model.ref import MailRef
from shared.model.rules import parse
from shared.model.subscriber import REASONS, in_segment, mailable
from shared.paging import every
from shared.ports import Document, Filter, Store

_WORDS: Mapping[int, str] = {
    batch.HANDED: "is being handed over right now",
    batch.DEFERRED: "is on its way: not taken yet, it is tried again",
    batch.SENT: "was sent",
    batch.FAILED: "failed",
    batch.SUPPRESSED: "was not sent: the reader was suppressed",
    batch.CANCELLED: "was not sent: the campaign was cancelled first",
    batch.UNKNOWN: "may have been sent: the connection, or the worker, was lost after the content; it is never sent again",
    **{state: f"was not sent: {why}" for state, why in batch.SKIPS.items()},
}


@dataclass(frozen=True)
class Trace:
    """`sid`: whose mail."""

    store: Store
    paths: Paths
    sid: str

    async def of(self, campaign: str) -> AsyncIterator[str]:
        """Sentences, the oldest decision first."""
        plan, reader, suppression = await self.store.get_many(
            [self.paths.campaign(campaign), self.paths.subscriber(self.sid), self.paths.suppression(self.sid)]
        )
        if plan is None:
            yield f"There is no campaign {campaign}."
            return
        for line in _reader(reader, suppression):
            yield line
        data = plan.data
        if campaign in SYSTEM:
            ledgers = [ledger async for ledger in self._batches(campaign, self.sid)]
        else:
            answer = f" ({data['answer']})" if data.get("answer") else ""
            yield f"{campaign} is {data['state']}{answer}, to the segment “{data.get('segment') or 'not yet chosen'}”."
            if given := data.get("approval"):
                editor = given.get("editor") or "somebody whom Google does not name"
                shown = f"Approved with {given['code']} at {_moment(given['at'])}"
                yield f"{shown}; the Sheet was last changed by {editor}, in its version {given.get('revision') or 'unknown'}."
            ledgers = [ledger async for ledger in self._batches(campaign)]
        found = [(ledger, place) for ledger in ledgers if (place := _place(ledger, self.sid)) is not None]
        for ledger, place in found:
            for line in await self._mail(campaign, ledger, place):
                yield line
        if not found:
            yield _never(data, reader)

    def _batches(self, campaign: str, below: str = "") -> AsyncIterator[Document]:
        """The batches that may hold the reader: of a single mail's campaign those named after the sid."""
        within = Filter(below=below + "~") if below else Filter()
        return every(self.store, self.paths.batches(campaign), within, after=below)

    async def _mail(self, campaign: str, ledger: Document, place: int) -> list[str]:
        data = ledger.data
        state, number = data["states"][place], data["via"][place]
        [at] = struct.unpack_from(">I", data["times"], 4 * place)
        which = f"Send {data['key']}, batch {ledger.id}" if data["key"] else f"Batch {ledger.id}"
        lines = [f"{which}: the mail {_WORDS[state]}."]
        if number < len(data["providers"]):
            lines.append(f"  handed to {data['providers'][number]} at {_moment(at * 1000)}")
        if code := data["codes"].get(str(place)):
            crowded = "  too many such mails were asked for from one network or to one domain, so it waits"
            lines.append(crowded if code == batch.CROWDED else f"  the provider's words: {code}")
        if state == batch.DEFERRED:
            lines.append(f"  it is tried again from {_moment(max(data['not_before'], data['due']))} on")
        key = ledger.id.partition(".")[2] if campaign in SYSTEM else data["key"]
        delivery = await self.store.get(self.paths.delivery(campaign, MailRef(campaign, self.sid, key).delivery))
        times = {name: at for name, at in (delivery.data if delivery else {}).items() if name.endswith("_at")}
        for name, heard in sorted(times.items(), key=lambda item: item[1]):
            lines.append(f"  {name.removesuffix('_at').replace('_', ', ')} at {_moment(heard)}")
        return lines


def _reader(reader: Document | None, suppression: Document | None) -> list[str]:
    data = reader.data if reader else {}
    found = []
    if reader is None:
        found.append("Nobody is known under this address.")
    elif mailable(data):
        found.append(f"The reader is confirmed since {_moment(data.get('confirmed_at', 0))} and may be mailed.")
    elif data.get("status") != "confirmed":
        found.append("The reader has not confirmed, so campaigns do not go there.")
    held = suppression.data if suppression else {}
    for reason in (reason for reason in REASONS if reason in held.get("reasons", ())):
        sources = ", ".join(sorted(held.get(f"{reason}_sources", ())))
        found.append(f"Suppressed: {reason.replace('_', ' ')} since {_moment(held.get(f'{reason}_at', 0))} ({sources}).")
    return found


def _place(ledger: Document, sid: str) -> int | None:
    """Where the reader stands in a ledger; None when not there."""
    sids = batch.sids(ledger.data["sids"])
    return sids.index(sid) if sid in sids else None


def _never(plan: Mapping[str, Any], reader: Document | None) -> str:
    """Why no batch holds the reader."""
    if "frozen_at" not in plan:
        return "No mail yet: the campaign has not started."
    if plan["state"] not in ENDED:
        return "No mail yet: the reader's batch has not come to it."
    if reader and reader.data.get("confirmed_at", 0) > plan["frozen_at"]:
        return "No mail: the reader confirmed after the campaign had started."
    rule = parse(plan["rule"]) if plan.get("rule") else None
    if reader and not in_segment(reader.data, plan["segment"], rule, plan["frozen_at"]):
        return "No mail: the reader is not in its segment, or may not be mailed."
    return "No mail: the reader was not in its segment when it was sent."


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "an unknown time"
