"""The tick's share of a running campaign: release batches that are due, settle what is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from shared.errors import Conflict
from shared.logs import metric
from shared.model import batch
from shared.model.paths import SYSTEM, Paths
from shared.paging import PAGE, every
from shared.ports import Bus, Document, Filter, Merge, Store

from . import allowance

PAGES: Final = 12  # in one tick, of one campaign
SETTLING: Final = 72 * 3_600_000  # ms a mail that is unknown is watched for news
FIELDS: Final = sorted({*allowance.FIELDS, "key", "due", "lease_until"})


class Tap(Protocol):
    """What lets a campaign's due batches go. `holds`: they are published here for the first time, not when they are made."""

    holds: bool

    def room(self) -> int:
        """How many due batches are worth reading now, at most PAGE."""
        ...

    async def let(self, found: Sequence[Document], due: int) -> list[Document]:
        """Stamp, on the versions read, those that may go, so that two ticks do not both publish them; `due`: when they are due again."""
        ...


async def sweep(store: Store, bus: Bus, paths: Paths, campaign: str, now: int, tap: Tap) -> int:
    """Publish the batches that are due: their moment has come, their push was lost, their lease ran out, or their waiting is over.

    Reads what is due, until there is nothing new or no room. Returns how many were found.
    """
    seen: set[str] = set()
    for _ in range(PAGES):
        limit = tap.room()
        page = (
            await store.page(paths.batches(campaign), Filter(at_most=("due", now)), limit=limit, fields=FIELDS) if limit else []
        )
        fresh = [found for found in page if found.path not in seen]
        if not fresh:
            break
        seen.update(found.path for found in fresh)
        going = await tap.let(fresh, now + batch.GRACE)
        if again := sum(not tap.holds or one.data["swept"] > 0 or bool(one.data["tally"]) for one in going):
            metric("swept", {"swept_batches": again}, campaign=campaign)
        await publish(bus, campaign, going)
        if len(page) < limit:
            break
    return len(seen)


async def cancel(store: Store, bus: Bus, paths: Paths, campaign: str, now: int) -> int:
    """Publish every batch of a cancelled campaign that no worker holds, whatever it waits for, so that its ledger ends. Returns how many
    are open."""
    after, still_open = "", 0
    while True:
        page = await store.page(paths.batches(campaign), Filter(equals=("state", "open")), after, PAGE, FIELDS)
        still_open += len(page)
        idle = [one for one in page if one.data["lease_until"] <= now and not now < one.data["due"] <= now + batch.GRACE]
        results = await store.write_many(
            [Merge(one.path, {"due": now + batch.GRACE, "not_before": 0}, if_version=one.version) for one in idle]
        )
        await publish(bus, campaign, [one for one, result in zip(idle, results, strict=True) if isinstance(result, str)])
        if len(page) < PAGE:
            return still_open
        after = page[-1].id


async def publish(bus: Bus, campaign: str, found: Sequence[Document]) -> None:
    if found:
        messages = [batch.request(campaign, one.id, one.data["source"].get("consent", "")) for one in found]
        await bus.publish(batch.TOPIC, messages)


async def settle(store: Store, paths: Paths, campaign: str, now: int) -> tuple[int, bool]:
    """Turn `unknown` into what the deliveries have proved meanwhile; how many may still be heard of, and whether any turned.

    Only batches that are done: an open one has a writer of its own. One read per unknown mail, until SETTLING has passed since
    the batch was done: then what is unknown stays so.
    """
    unknown, turned = 0, False
    fields = ["state", "key", "sids", "states", "ended_at"]
    async for found in every(store, paths.batches(campaign), Filter(equals=("unsettled", True)), fields):
        left, changed = await _settle_one(store, paths, campaign, found, now)
        unknown, turned = unknown + left, turned or changed
    return unknown, turned


async def _settle_one(store: Store, paths: Paths, campaign: str, found: Document, now: int) -> tuple[int, bool]:
    states, sids = bytearray(found.data["states"]), batch.sids(found.data["sids"])
    doubtful = [i for i, state in enumerate(states) if state == batch.UNKNOWN]
    if found.data["state"] != "done":
        return len(doubtful), False
    key = found.id.partition(".")[2] if campaign in SYSTEM else found.data["key"]
    ids = [f"{sids[i]}.{key}" if key else sids[i] for i in doubtful]
    known = await store.get_many([paths.delivery(campaign, id) for id in ids], ["labels"])
    for i, delivery in zip(doubtful, known, strict=True):
        labels = set(delivery.data.get("labels", ())) if delivery else set()
        if "bounced" in labels:
            states[i] = batch.FAILED
        elif labels & {"delivered", "opened", "clicked", "complained", "unsubscribed"}:
            states[i] = batch.SENT
    left = 0 if now - found.data["ended_at"] > SETTLING else states.count(batch.UNKNOWN)
    if left == len(doubtful):
        return left, False
    changes = {"states": bytes(states), "tally": batch.tally(states), "unsettled": left > 0}
    try:
        await store.commit([Merge(found.path, changes, if_version=found.version)])
    except Conflict:
        return len(doubtful), False  # another tick did it
    return left, True
