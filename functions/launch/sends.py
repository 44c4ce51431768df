"""Later sends of a campaign that has ended: once more to those that failed, or to those who did not open it.

A command, not a state: it is done once, when the Wanted cell changes to it, and recorded in the same commit as the row.

Who gets it is told by the ledgers. What became of a reader in the newest send that held them counts, so that each failure is retried
once and nobody is in two of these rosters for one reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from shared.errors import BadInput
from shared.model import batch, console
from shared.model.campaign import ENDED, answered
from shared.model.paths import Paths
from shared.model.subscriber import mailable
from shared.ports import Document, Filter, Objects, Store

from . import cut, pace
from .rows import Row
from .slots import Together

KINDS: Final[Mapping[str, str]] = {console.RETRY.lower(): "retry", console.RESEND.lower(): "non-openers"}  # Wanted -> kind
MOST: Final = 9  # later sends: their keys, r1 to r9, are in order
PAGE: Final = 300
_FACTS: Final = ["address", "status", "suppressed", "engaged_at"]


def sending(data: Mapping[str, Any]) -> str:
    """What a campaign is at, for its answer, without a full stop."""
    *before, send = data.get("sends") or [{"expected": data["expected"]}]
    if before:
        whom = f"again to {send['expected']:,} {'that failed' if send['kind'] == 'retry' else 'who did not open it'}"
    else:
        each = {"local": f", each at {data.get('wall', '')[-5:]} where they are", "best": ", each at their best hour"}
        whom = f"to {send['expected']:,}{each.get(data.get('when', ''), '')}"
    return f"Sending {whom}{pace.said(data)}"


async def again(
    store: Store,
    objects: Objects,
    paths: Paths,
    row: Row,
    campaign: Document | None,
    options: Mapping[str, Any],
    ranked: bool,
    now: int,
) -> dict[str, Any]:
    """What has to change for the campaign to be sent again, {} when the cell said so before. `options`: see Row. `ranked`: see Rosters.

    Raises BadInput with the sentence why it is not sent, Unavailable.
    """
    kind, data = KINDS[row.wanted], campaign.data if campaign else {}
    if data.get("row", {}).get("wanted") == row.wanted:
        return {}
    if campaign is None or not data.get("sends"):
        raise BadInput("It has not been sent yet, so there is nothing to send again.")
    if data["state"] not in ENDED or await store.count(paths.batches(campaign.id), Filter(equals=("state", "open"))):
        raise BadInput("It is still on its way. Once it has ended, choose Draft, and this again once the row says so.")
    sends = data["sends"]
    if len(sends) > MOST:
        raise BadInput(f"It was sent again {MOST} times, which is as often as it can be. Use a new row.")
    rosters = cut.Rosters(Together(now), ranked)
    if kind == "retry":
        sentence = await _failed(store, paths, campaign.id, rosters)
    else:
        sentence = await _unopened(store, paths, campaign.id, rosters, ranked)
    count = len(rosters)
    if not count:
        raise BadInput(sentence)
    plan = await cut.keep(objects, rosters.parts(pace.size(options["rate"])))
    send = {"key": f"r{len(sends)}", "kind": kind, "expected": count, "parts": 0, "at": now, "plan": plan}
    changes = {**options, "row": row.fields, "state": "running", "active": True, "cut": False, "sends": [*sends, send]}
    return {**changes, "next_at": 0, "until": 0, **answered(f"{sending(changes)}.", now)}


async def _failed(store: Store, paths: Paths, campaign: str, rosters: cut.Rosters) -> str:
    """Put in those whose mail failed and who may still be mailed: one read each. The sentence for when there is nobody."""
    failed = 0
    async for sids in _whose(store, paths, campaign, batch.FAILED):
        failed += len(sids)
        for document in await store.get_many([paths.subscriber(sid) for sid in sids], _FACTS):
            if document and mailable(document.data):
                rosters.add(document.id, document.data)
    if failed:
        return f"None of the {failed:,} that failed can be mailed any more: they bounced for good, or left."
    return "Nobody failed, so there is nothing to send again."


async def _unopened(store: Store, paths: Paths, campaign: str, rosters: cut.Rosters, ranked: bool) -> str:
    """Put in those who were sent it and neither opened nor clicked any of its mails: a read for each of the others, and one for each of
    them when `ranked`. The sentence for when there is nobody."""
    openers: list[bytearray] = [bytearray() for _ in range(256)]
    for label in ("opened.human", "clicked.human"):
        after = ""
        while True:
            within = Filter(contains=("labels", label))
            page = await store.page(paths.deliveries(campaign), within, after, PAGE, ["labels"])
            for delivery in page:
                opener = bytes.fromhex(delivery.id.partition(".")[0])
                openers[opener[0]] += opener
            if len(page) < PAGE:
                break
            after = page[-1].id
    sent = 0
    async for sids in _whose(store, paths, campaign, batch.SENT):
        sent += len(sids)
        opened = set(batch.sids(bytes(openers[int(sids[0][:2], 16)])))
        left = [sid for sid in sids if sid not in opened]
        known = await store.get_many([paths.subscriber(sid) for sid in left], rosters.fields) if ranked else [None] * len(left)
        for sid, document in zip(left, known, strict=True):
            rosters.add(sid, document.data if document else {})
    if sent:
        return f"All {sent:,} who got it have opened it, so there is nobody to send it to again."
    return "Nobody has got it, so there is nobody to send it to again."


async def _whose(store: Store, paths: Paths, campaign: str, state: int) -> AsyncIterator[list[str]]:
    """The sids whose mail has come to `state`, in lists of one first byte each. One read per batch; 17 bytes are held for each mail."""
    held: list[bytearray] = [bytearray() for _ in range(256)]
    after = ""
    while True:
        page = await store.page(paths.batches(campaign), after=after, limit=PAGE, fields=["sids", "states"])
        for found in page:  # the names of later sends come later
            sids = found.data["sids"]
            for n, end in enumerate(found.data["states"]):
                held[sids[16 * n]] += sids[16 * n : 16 * n + 16] + bytes((end,))
        if len(page) < PAGE:
            break
        after = page[-1].id
    for part in held:
        latest = {bytes(part[at : at + 16]): part[at + 16] for at in range(0, len(part), 17)}
        if found_sids := [sid.hex() for sid, end in latest.items() if end == state]:
            yield found_sids
