"""The tick's share of a running campaign: bring back batches nobody holds, settle what is unknown."""

from __future__ import annotations

from shared.errors import Conflict, Unavailable
from shared.logs import metric
from shared.model import batch
from shared.model.paths import CONFIRM, WELCOME, Paths
from shared.ports import Bus, Document, Filter, Merge, Store

PAGE = 300
SETTLING = 72 * 3_600_000  # ms a mail that is unknown is watched for news


async def sweep(store: Store, bus: Bus, paths: Paths, campaign: str, now: int) -> int:
    """Publish the open batches that are due again: their push was lost, their lease ran out, or their waiting is over.

    Each is stamped first, so that two ticks do not both publish it. Returns how many batches are open.
    """
    after, still_open = "", 0
    while True:
        page = await store.page(paths.batches(campaign), Filter(equals=("state", "open")), after, PAGE, ["due", "source"])
        still_open += len(page)
        late = [found for found in page if found.data["due"] <= now]
        stamped = await store.write_many(
            [Merge(found.path, {"due": now + batch.GRACE}, if_version=found.version) for found in late]
        )
        again = [found for found, result in zip(late, stamped, strict=True) if not isinstance(result, Conflict | Unavailable)]
        if again:
            metric("swept", {"swept_batches": len(again)}, campaign=campaign)
            await bus.publish(batch.TOPIC, [_request(campaign, found) for found in again])
        if len(page) < PAGE:
            return still_open
        after = page[-1].id


def _request(campaign: str, found: Document) -> dict[str, object]:
    return batch.request(campaign, found.id, found.data["source"].get("consent", ""))


async def settle(store: Store, paths: Paths, campaign: str, now: int) -> int:
    """Turn `unknown` into what the deliveries have proved meanwhile; returns how many may still be heard of.

    Only batches that are done: an open one has a writer of its own. One read per unknown mail, until SETTLING has passed since
    the batch was let go: then what is unknown stays so.
    """
    unknown, after = 0, ""
    while True:
        page = await store.page(
            paths.batches(campaign), Filter(equals=("unsettled", True)), after, PAGE, ["state", "sids", "states", "due"]
        )
        for found in page:
            unknown += await _settle_one(store, paths, campaign, found, now)
        if len(page) < PAGE:
            return unknown
        after = page[-1].id


async def _settle_one(store: Store, paths: Paths, campaign: str, found: Document, now: int) -> int:
    states, sids = bytearray(found.data["states"]), batch.sids(found.data["sids"])
    doubtful = [i for i, state in enumerate(states) if state == batch.UNKNOWN]
    if found.data["state"] != "done":
        return len(doubtful)
    key = found.id.partition(".")[2] if campaign in (CONFIRM, WELCOME) else ""
    ids = [f"{sids[i]}.{key}" if key else sids[i] for i in doubtful]
    known = await store.get_many([paths.delivery(campaign, id) for id in ids], ["labels"])
    for i, delivery in zip(doubtful, known, strict=True):
        labels = set(delivery.data.get("labels", ())) if delivery else set()
        if "bounced" in labels:
            states[i] = batch.FAILED
        elif labels & {"delivered", "opened", "clicked", "complained", "unsubscribed"}:
            states[i] = batch.SENT
    left = 0 if now - found.data["due"] > SETTLING else states.count(batch.UNKNOWN)
    if left < len(doubtful):
        changes = {"states": bytes(states), "tally": batch.tally(states), "unsettled": left > 0}
        try:
            await store.commit([Merge(found.path, changes, if_version=found.version)])
        except Conflict:
            return len(doubtful)  # another tick did it
    return left
