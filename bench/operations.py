"""What each thing a reader or a provider does costs in store and bus operations: the real handlers, on a bus that counts.

A read, a write, a delete and a published message are one operation each, as Firestore and Pub/Sub meter them (a count() is one
read per thousand documents). These are exact: they change when the code does, not when the machine is busy.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from functions.record.handler import Record
from functions.subscribe.handler import Subscribe
from functions.track.handler import Track
from functions.unsubscribe.handler import Unsubscribe
from functions.webhooks.handler import Webhooks
from shared.http import Request, Response
from shared.model import batch, event
from shared.model.ref import MailRef
from shared.providers import generic

from . import letter, stage
from .report import Goal, Row, counted
from .sink import Sink

HIT = Goal("≤", 1)  # a hit needs no store and no read; record applies an event blindly
WEEK = 7 * 86_400_000
_FORM = {"content-type": "application/x-www-form-urlencoded", "user-agent": "Mozilla/5.0"}


def run(sink: Sink) -> list[Row]:
    """Raises AssertionError when a handler does not answer as expected."""
    with stage.folder() as state:
        return asyncio.run(_operations(sink, state))


class _Counter:
    """Rows from what happens between two looks."""

    def __init__(self, given: stage.Stage) -> None:
        self._given = given
        self.rows: list[Row] = []

    async def each(self, name: str, work: Awaitable[Response | None], status: int = 0, goal: Goal | None = None) -> None:
        """Await one piece of work and add its row; `status` is the answer that shows it was done."""
        done, bus = self._given.store.operations, self._given.bus
        before = (done.reads, done.writes, done.deletes, bus.published)
        answer = await work
        if answer is not None and answer.status != status:
            raise AssertionError(f"{name}: answered {answer.status}, not {status}")
        after = (done.reads, done.writes, done.deletes, bus.published)
        spent = dict(
            zip(("reads", "writes", "deletes", "messages"), (b - a for a, b in zip(before, after, strict=True)), strict=True)
        )
        detail = ", ".join(f"{n} {what if n != 1 else what[:-1]}" for what, n in spent.items() if n)
        self.rows.append(counted(name, "operations", sum(spent.values()), goal, detail))


async def _operations(sink: Sink, state: Path) -> list[Row]:
    given = await stage.Stage.open(state)
    await given.seed(10)
    launch, sender = given.launch(), stage.sender(sink)
    await launch.handle()
    worker = given.send_batch(sender)
    for message in given.bus.take(batch.TOPIC):
        await worker.handle(message)
    await launch.handle()
    counter = _Counter(given)
    await counter.each("a tick with nothing to do (launch)", launch.handle())
    now, links, paths = given.clock.now(), given.links, given.paths

    subscribe = Subscribe(given.store, given.bus, given.clock, links, paths, given.pepper, given.tenant, stage.BASE)
    form = urlencode({"email": "new@example.com", "name": "Nia", "tags": "coffee"}).encode()
    await counter.each("a sign-up", subscribe.handle(Request("POST", headers=_FORM, body=form)), 200)
    [asked] = given.bus.take(batch.TOPIC)
    await counter.each("its confirmation mail (send_batch)", worker.handle(asked))
    sink.expect(11)
    sid = asked["batch"].partition(".")[0]
    token = links.confirm(sid, asked["consent"], now + WEEK).rpartition("/")[2]
    await counter.each("opening the confirmation page", subscribe.handle(Request("GET", f"confirm/{token}")), 200)
    await counter.each("confirming", subscribe.handle(Request("POST", f"confirm/{token}", headers=_FORM)), 200)
    [welcome] = given.bus.take(batch.TOPIC)
    await counter.each("its welcome mail (send_batch)", worker.handle(welcome))

    ref = MailRef(stage.CAMPAIGN, given.sid(stage.ADDRESS.format(0)))
    track = Track(given.bus, given.clock, links)
    target = links.signed_target(stage.CAMPAIGN, 0, "https://lumen-coffee.example/shop/lot-1")
    hit = Request("GET", f"k/{links.track_token(ref)}/{target}", headers=_FORM)
    await counter.each("an open (track)", track.handle(Request("GET", f"o/{links.track_token(ref)}", headers=_FORM)), 200, HIT)
    await counter.each("a click (track)", track.handle(hit), 302, HIT)
    webhooks = Webhooks(given.bus, given.clock, links, given.secrets)
    await counter.each("a delivered webhook (webhooks)", webhooks.handle(await _delivered(given, ref)), 204, HIT)
    [opened, _, delivered] = given.bus.take(event.TOPIC)
    record = Record(given.store, paths)
    await counter.each("an open or click, applied (record)", record.handle(opened), goal=HIT)
    await counter.each("a delivery, applied (record)", record.handle(delivered), goal=HIT)

    unsubscribe = Unsubscribe(given.store, given.bus, given.clock, links, paths, given.tenant.name, stage.BASE)
    leave = Request("POST", links.unsubscribe(ref).rpartition("/")[2], headers=_FORM, body=b"List-Unsubscribe=One-Click")
    await counter.each("a one-click unsubscribe", unsubscribe.handle(leave), 200)
    await sender.close()
    given.store.close()
    sink.expect(1)
    return counter.rows


async def _delivered(given: stage.Stage, ref: MailRef) -> Request:
    """A provider's callback, signed."""
    now = given.clock.now()
    said: dict[str, Any] = {
        "id": "1",
        "event": "delivered",
        "message_id": given.links.message_id(ref, letter.IDENTITY.list_domain),
    }
    body = json.dumps({**said, "at": now}).encode()
    [key] = await given.secrets.get(generic.SECRET)
    headers = {"webhook-timestamp": str(now // 1000), "webhook-signature": generic.sign(body, key, now // 1000)}
    return Request("POST", "generic", headers=headers, body=body)
