"""The endpoints that events go out to: how each is, and to take one up again after it was disabled. docs/events-out.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

from google.pubsub_v1 import PubsubMessage

from local.dead_letters import CALL, Clients, DeadLetters, dead, own, told
from shared.adapters import credentials
from shared.errors import NotFound
from shared.model import event
from shared.model.endpoint import SUBSCRIPTION
from shared.model.paths import Paths
from shared.paging import every
from shared.ports import Merge, Store

LOOKED_AT = 3_600_000  # ms of the log of deliveries
SHOWN = 5  # failures of an endpoint


async def listed(store: Store, paths: Paths, names: Iterable[str], now: int) -> AsyncIterator[str]:
    """Lines on each endpoint: those configured (`names`) and those that the store knows of. Raises Unavailable."""
    known = {found.id: found.data for found in await store.page(paths.endpoints)}
    for name in sorted({*names, *known}):
        yield f"{name}: {_state(known.get(name, {}))}"
        notes = [note async for note in _notes(store, paths, name, now)]
        failed = sum((Counter(note["failed"]) for note in notes), Counter[str]())
        why = ", ".join(f"{count} × {status}" for status, count in failed.most_common())
        delivered, dropped = (sum(note[what] for note in notes) for what in ("delivered", "dropped"))
        yield f"  last hour: {delivered} delivered, {failed.total()} failed attempts{f' ({why})' if why else ''}, {dropped} dropped"
        failures = sorted((failure for note in notes for failure in note["failures"]), key=lambda one: one["at"])
        for one in failures[-SHOWN:]:
            yield f"  {_moment(one['at'])}  {one['id']}  {one['type']} of {one['mail']}: {one['status']}"


async def enable(store: Store, paths: Paths, name: str) -> str:
    """Post to an endpoint again, from a minute from now on; raises NotFound for one that never failed, Unavailable."""
    path = paths.endpoint(name)
    if await store.get(path) is None:
        raise NotFound(f"{name} has never failed, or there is no such endpoint.")
    await store.commit([Merge(path, {"failing_since": 0, "disabled_at": 0, "reason": ""})])
    return f"{name} is enabled. Every process knows it within a minute."


async def replay(project: str, host: str, name: str) -> str:
    """Publish an endpoint's dead letters again, for it alone; raises Unavailable, and ConfigError without credentials."""
    with credentials.needed():
        clients = Clients(project, host)
    try:
        return f"{await _Letters(clients).again(name)} events are on their way to {name} again."
    finally:
        await clients.close()


class _Letters(DeadLetters):
    async def again(self, name: str) -> int:
        subscription = f"{SUBSCRIPTION}{name}"
        with told():
            held = await self._held(subscription)
            for start in range(0, len(held), 100):
                chunk = held[start : start + 100]
                messages = [_for(name, one.message) for one in chunk]
                await self._clients.publisher.publish(topic=self._clients.topic(event.TOPIC), messages=messages, timeout=CALL)
                path, acks = self._clients.subscription(dead(subscription)), [one.ack_id for one in chunk]
                await self._clients.subscriber.acknowledge(subscription=path, ack_ids=acks, timeout=CALL)
        return len(held)


def _for(name: str, message: PubsubMessage) -> PubsubMessage:
    """Other endpoints leave such a message alone; record applies it once more, to no effect."""
    data = {**json.loads(message.data), "endpoint": name}
    return PubsubMessage(data=json.dumps(data).encode(), attributes=own(message))


async def _notes(store: Store, paths: Paths, name: str, now: int) -> AsyncIterator[dict[str, Any]]:
    after = datetime.fromtimestamp((now - LOOKED_AT) / 1000, UTC).isoformat(timespec="milliseconds")[:-6]
    async for found in every(store, paths.minutes(name), after=after):
        yield found.data


def _state(data: dict[str, Any]) -> str:
    if data.get("disabled_at"):
        why = {"gone": "it answered 410", "failing": f"it had failed since {_moment(data['failing_since'])}"}[data["reason"]]
        return f"disabled since {_moment(data['disabled_at'])}: {why}. Its events are dropped; --enable ends that"
    return f"failing since {_moment(data['failing_since'])}" if data.get("failing_since") else "well"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
