"""What each thing a reader or a provider does costs in store and bus operations: the real handlers, on a bus that counts.

A read, a write, a delete and a published message are one operation each, as Firestore and Pub/Sub meter them (a count() is one
read per thousand documents). These are exact: they change when the code does, not when the machine is busy, nor with the store.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from functions.record.handler import Record
from functions.subscribe.handler import Subscribe
from functions.track.handler import Track
from functions.unsubscribe.handler import Unsubscribe
from functions.webhooks.fetch import Https
from functions.webhooks.handler import Webhooks
from local.emulators import Emulators
from shared.adapters.geoip import GeoIp
from shared.http import Request, Response
from shared.model import batch, event, tenant
from shared.model.event import Event
from shared.model.face import Face, SignUp
from shared.model.ref import MailRef
from shared.pages.faces import Faces
from shared.ports import Merge
from shared.providers import generic

from . import letter, prices, stage
from .prices import Spent
from .report import Goal, Row, counted
from .sink import Sink

HIT = Goal("≤", 1)  # a hit needs no store and no read
CLICK = Goal("≤", 3)  # the delivery, the subscriber, and a look whether the hit was a machine's after all
TOLD = Goal("≤", 3)  # published, looked up and noted; or the delivery, the subscriber, and whether a suppression still holds
WEEK = 7 * 86_400_000
_PRICED = {
    "sign-ups, confirmed and welcomed": (
        "a sign-up (subscribe)",
        "its confirmation mail (send_batch)",
        "opening the confirmation page (subscribe)",
        "confirming (subscribe)",
        "its welcome mail (send_batch)",
    ),
    "opens": ("an open (track)", "a person's open, applied (record)"),
    "clicks of people": ("a click (track)", "a person's click and its country, applied (record)"),
}
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_FORM = {"content-type": "application/x-www-form-urlencoded", "user-agent": _BROWSER}


def run(sink: Sink, google: Emulators | None) -> list[Row]:
    """Raises AssertionError when a handler does not answer as expected, or costs more or less on Firestore than on SQLite."""
    with stage.folder() as state:
        found = {"sqlite": asyncio.run(_operations(sink, state, None))}
        if google:
            found["firestore"] = asyncio.run(_operations(sink, state, google))  # with the same secrets
            for name, spent in found["sqlite"].spent.items():
                stage.same(name, spent, found["firestore"].spent[name])
    rows = [row for store, counter in found.items() for row in counter.rows(store)]
    return rows + [prices.thousand(what, found["sqlite"].sum(names)) for what, names in _PRICED.items()]


class _Counter:
    """What is spent between two looks, by name."""

    def __init__(self, given: stage.Stage) -> None:
        self._given = given
        self.spent: dict[str, Spent] = {}
        self._goals: dict[str, Goal | None] = {}

    async def each(self, name: str, work: Awaitable[Response | None], status: int = 0, goal: Goal | None = None) -> None:
        """Await one piece of work and note its operations; `status` is the answer that shows it was done."""
        before = self._given.spent
        answer = await work
        if answer is not None and answer.status != status:
            raise AssertionError(f"{name}: answered {answer.status}, not {status}")
        self.spent[name], self._goals[name] = self._given.spent - before, goal

    def rows(self, store: str) -> list[Row]:
        return [
            counted(f"{name}, {store}", "operations", spent.total, self._goals[name], str(spent))
            for name, spent in self.spent.items()
        ]

    def sum(self, names: Sequence[str]) -> Spent:
        return sum((self.spent[name] for name in names), Spent())


async def _operations(sink: Sink, state: Path, google: Emulators | None) -> _Counter:
    given = await stage.Stage.open(state, stage.firestore(google) if google else None)
    await given.seed(10)
    launch, sender = given.launch(), stage.sender(sink)
    await launch.handle()
    worker = given.send_batch(sender)
    for message in given.bus.take(batch.TOPIC):
        await worker.handle(message)
    await launch.handle()
    counter = _Counter(given)
    await counter.each("a tick with nothing to do (launch)", launch.handle())
    now, links, paths, geo = given.clock.now(), given.links, given.paths, GeoIp.open()

    face = Face(signup=SignUp(tags=("coffee",))).document()
    known = tenant.document("Lumen Coffee", letter.IDENTITY, "sheet", "folder") | {"face": face}
    await given.store.commit([Merge(paths.tenant, known)])
    faces = Faces(given.store, paths, given.clock)
    await faces.get()  # once a minute, whatever comes
    ours = given.store, given.bus, given.clock, links, paths, given.pepper
    subscribe = Subscribe(*ours, faces, stage.BASE, geo, given.secrets)
    form = urlencode({"email": "new@example.com", "name": "Nia", "tags": "coffee", **given.proof()}).encode()
    await counter.each("a sign-up (subscribe)", subscribe.handle(Request("POST", headers=_FORM, body=form)), 200)
    [asked] = given.bus.take(batch.TOPIC)
    await counter.each("its confirmation mail (send_batch)", worker.handle(asked))
    sink.expect(11)
    sid = asked["batch"].partition(".")[0]
    token = links.confirm(sid, asked["consent"], asked["batch"].partition(".")[2], now + WEEK).rpartition("/")[2]
    await counter.each("opening the confirmation page (subscribe)", subscribe.handle(Request("GET", f"confirm/{token}")), 200)
    await counter.each("confirming (subscribe)", subscribe.handle(Request("POST", f"confirm/{token}", headers=_FORM)), 200)
    [welcome] = given.bus.take(batch.TOPIC)
    await counter.each("its welcome mail (send_batch)", worker.handle(welcome))

    ref = MailRef(stage.CAMPAIGN, given.sid(stage.ADDRESS.format(0)))
    track = Track(given.bus, given.clock, links, geo)
    target = links.signed_target(stage.CAMPAIGN, 0, "https://lumen-coffee.example/shop/lot-1")
    hit = Request("GET", f"k/{links.track_token(ref)}/{target}", headers=_FORM, client="8.8.8.8")
    await counter.each("an open (track)", track.handle(Request("GET", f"o/{links.track_token(ref)}", headers=_FORM)), 200, HIT)
    await counter.each("a click (track)", track.handle(hit), 302, HIT)
    webhooks = Webhooks(given.bus, given.clock, links, given.secrets, given.store, given.objects, paths, Https())
    await counter.each("a delivered webhook (webhooks)", webhooks.handle(await _delivered(given, ref)), 204, TOLD)
    [opened, clicked, delivered] = given.bus.take(event.TOPIC)
    assert opened["label"] == clicked["label"] == "human", "the dearest: a machine's is one write"
    record = Record(given.store, paths)
    await counter.each("a person's open, applied (record)", record.handle(opened), goal=CLICK)
    await counter.each("a person's click and its country, applied (record)", record.handle(clicked), goal=CLICK)
    await counter.each("a delivery, applied (record)", record.handle(delivered), goal=TOLD)
    left = Event("unsubscribed", ref.text, now).to_message()
    await counter.each("an unsubscribe, applied (record)", record.handle(left), goal=HIT)

    unsubscribe = Unsubscribe(given.store, given.bus, given.clock, links, paths, faces, given.secrets, stage.BASE)
    leave = Request("POST", links.unsubscribe(ref).rpartition("/")[2], headers=_FORM, body=b"List-Unsubscribe=One-Click")
    await counter.each("a one-click unsubscribe (unsubscribe)", unsubscribe.handle(leave), 200)
    await sender.close()
    await given.close()
    sink.expect(1)
    return counter


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
    headers = {"webhook-timestamp": str(now // 1000), "webhook-signature": generic.sign(body, key.value, now // 1000)}
    return Request("POST", "generic", headers=headers, body=body)
