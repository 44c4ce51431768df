"""A campaign's live page and its stream: who may look, what they see and when, and what looking costs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import re
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from functions.live.handler import Live
from functions.live.page import WORDS
from functions.live.settings import Config
from functions.live.watch import COUNTED, IDLE, KEPT, LATE, Watch, Watches
from shared.adapters.documents import Operations
from shared.config import load
from shared.errors import BadToken, ConfigError
from shared.http import Request, Response
from shared.links import Links
from shared.model.campaign import LABELS
from shared.model.ref import MailRef
from shared.ports import Create, Document, Filter, Merge, Store
from shared.streams import ALIVE, Stream, streamed
from shared.tokens import Tokens
from tests.house.asgi import call

from .fakes import HOUR, NOW, FakeClock, Fault, FaultyStore
from .world import World

READS = 90_000
TWELVE = 12 * HOUR


def stepped(world: World, store: Store | None = None, **changes: Any) -> Live:
    watches = Watches(store or world.store, world.paths, world.clock, READS)
    step = Live(watches, world.clock, world.links, world.paths, "Brand", viewers=5, lasting=240, alive=0.01)
    return replace(step, **changes)


def path(world: World, campaign: str = "C-0001", until: int = NOW + TWELVE, tenant: str = "t") -> str:
    return world.links.live(campaign, until, tenant).partition("/live/")[2]


async def loaded(step: Live, world: World, **headers: str) -> str:
    found = await step.handle(Request("GET", path(world), headers=headers))
    assert isinstance(found, Response) and found.status == 200
    return found.body.decode()


async def opened(step: Live, world: World, **given: Any) -> AsyncGenerator[bytes, None]:
    """A stream, after its first line."""
    last = given.pop("last", "")
    found = await step.handle(Request("GET", f"{path(world, **given)}/events", headers={"last-event-id": last}))
    assert isinstance(found, Stream)
    assert re.fullmatch(rb"retry: \d+\n\n", await anext(found.events))
    return found.events


async def told(events: AsyncGenerator[bytes, None]) -> tuple[str, dict[str, Any]]:
    """The next event that is not a sign of life: its name and its data."""
    while (chunk := await anext(events)) == ALIVE:
        pass
    lines = dict(line.split(": ", 1) for line in chunk.decode().removesuffix("\n\n").split("\n"))
    return lines.get("event", ""), json.loads(lines["data"])


async def sent(world: World, n: int = 0, mails: int = 10, done: bool = True) -> None:
    changes = {"tally": {"sent": mails}, "seq": 3, "state": "done" if done else "open"}
    await world.store.commit([Merge(world.paths.batch("C-0001", f"{n:06d}"), changes)])


async def hit(world: World, n: int, *labels: str) -> None:
    await world.store.commit([Create(world.paths.delivery("C-0001", f"{n:032x}"), {"labels": list(labels)})])


async def ended(world: World, **totals: int) -> None:
    changes = {"state": "completed", "ended": 0, "totals": totals}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), changes)])


async def settled(step: Live) -> None:
    """Wait until nobody looks any more."""
    async with asyncio.timeout(5):
        while any(not watch.idle for watch in step.watches._known.values()):
            await asyncio.sleep(0.001)


# --- who may look ---------------------------------------------------------------------------------------------------------


async def test_only_a_link_made_for_looking_opens_it(world: World) -> None:
    await world.campaign()
    ref = MailRef("C-0001", "ab" * 16)
    thief = Links(world.links.base, Tokens([b"t" * 32]))
    good = path(world)
    wrong = [
        path(world, until=NOW),  # over since this very moment
        path(world, tenant="u"),
        thief.live("C-0001", NOW + TWELVE, "t").rpartition("/")[2],
        world.links.track_token(ref),
        world.links.unsubscribe(ref).rpartition("/")[2],
        world.links.tokens.sign("confirm", f"t/C-0001.{NOW}").removeprefix("t/"),
        good.replace("C-0001", "C-0002"),
        good.replace(str((NOW + TWELVE) // 1000), str((NOW + TWELVE) // 1000 + 1)),
        "",
        "C-0001",
    ]
    step = stepped(world)
    before = world.store.operations.reads
    for token in wrong:
        for rest in ("", "/events"):
            with pytest.raises(BadToken):
                await step.handle(Request("GET", token + rest))
    assert world.store.operations.reads == before
    assert "C-0001" in await loaded(step, world)
    with pytest.raises(BadToken):
        world.links.read_track(good)
    with pytest.raises(BadToken):
        world.links.read_leave(good)


async def test_a_dead_link_is_not_found_like_others(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    step = stepped(world)

    async def live(request: Request) -> Response | Stream:
        return await step.handle(request)

    app = Starlette(routes=[Route("/{path:path}", streamed(lambda: 0)(live), methods=["GET", "HEAD", "POST"])])
    answer = await call(app, "GET", f"/{path(world, until=NOW - 1)}/events")
    assert (answer.status, answer.text) == (404, "This link is not valid.\n")
    assert (await call(app, "POST", f"/{path(world)}")).status == 405
    assert (await call(app, "POST", f"/{path(world)}", b"x")).status == 413
    assert (await call(app, "GET", f"/{path(world)}/more")).status == 404
    assert path(world, until=NOW - 1) not in capsys.readouterr().out


@pytest.mark.parametrize("rest", ["", "/events"])
async def test_head_promises_what_get_brings_and_looks_nothing_up(world: World, rest: str) -> None:
    await world.campaign()
    before = world.store.operations.reads
    found = await stepped(world).handle(Request("HEAD", path(world) + rest))
    assert isinstance(found, Response) and (found.status, found.body) == (200, b"")
    assert found.content_type.startswith("text/event-stream" if rest else "text/html")
    assert world.store.operations.reads == before


# --- the page -------------------------------------------------------------------------------------------------------------


async def test_the_page_shows_the_numbers_of_its_moment(world: World) -> None:
    await world.campaign(parts=3)
    await sent(world, 0, 1_234)
    await hit(world, 1, "opened", "opened.human", "clicked", "clicked.human")
    await hit(world, 2, "opened", "opened.machine")
    await hit(world, 3, "bounced", "bounced.hard")
    text = await loaded(stepped(world), world)
    shown = dict(re.findall(r'<b data-n="(\w+)">([\d,]+)</b>', text))
    wanted = {"sent": "1,234", "recipients": "1,234", "opened": "1", "opened_all": "2", "clicked": "1", "bounced": "1"}
    assert wanted.items() <= shown.items() and set(COUNTED) < set(shown)
    assert re.search(r'<strong id="state" class="running">Sending<', text)
    assert '<progress id="bar" aria-labelledby="sent-head" max="1234" value="1234">' in text
    assert 'id="converted" hidden' in text
    assert '<noscript><meta http-equiv="refresh"' in text
    await hit(world, 4, "converted")
    world.clock.advance(60_000)
    assert 'id="converted" hidden' not in await loaded(stepped(world), world)


async def test_the_page_is_small_and_lets_nothing_in(world: World) -> None:
    await world.campaign()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"row": {"name": "<b>'\"&"}})])
    found = await stepped(world).handle(Request("GET", path(world)))
    assert isinstance(found, Response) and len(found.body) < 20_000
    text, policy = found.body.decode(), found.headers["content-security-policy"]
    for tag in ("style", "script"):
        [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert not re.search(r"https?://|//\w", re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S))
    assert not re.search(r"https?://|@import|url\(", text) and " style=" not in text and " onclick=" not in text
    assert '<h1 id="name">&lt;b&gt;&#39;&#34;&amp;</h1>' in text
    kept = {name: found.headers[name] for name in ("cache-control", "referrer-policy", "x-robots-tag")}
    assert kept == {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex"}


@pytest.mark.parametrize(
    ("state", "shown"),
    [("draft", "waiting"), ("scheduled", "waiting"), ("running", "running"), ("paused", "paused"), ("cancelled", "cancelled")],
)
async def test_the_page_says_what_the_campaign_is_at(world: World, state: str, shown: str) -> None:
    await world.campaign()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": state})])
    text = await loaded(stepped(world), world)
    assert f'class="{shown}">{WORDS[shown]}<' in text
    assert ("meta http-equiv" in text) == (state != "cancelled")


async def test_a_campaign_that_is_not_there_yet_has_not_started(world: World) -> None:
    before = world.store.operations.reads
    text = await loaded(step := stepped(world), world)
    assert 'class="waiting">Not started<' in text and "C-0001" in text
    assert world.store.operations.reads - before == 1
    world.clock.advance(IDLE - 1)
    await loaded(step, world)
    assert world.store.operations.reads - before == 1


async def test_a_mail_that_is_sent_again_counts_once(world: World) -> None:
    await world.campaign(parts=2)
    sends = [{"key": "", "kind": "all", "expected": 100, "parts": 2}, {"key": "r1", "kind": "retry", "expected": 4, "parts": 0}]
    more = [{"key": "r2", "kind": "non-openers", "expected": 50, "parts": 0}]
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"sends": sends + more})])
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), {"tally": {"sent": 90, "failed": 10}})])
    await world.store.commit([Merge(world.paths.batch("C-0001", "000001"), {"tally": {"sent": 3, "failed": 1}})])
    _, numbers = await told(events := await opened(stepped(world), world))
    assert (numbers["sent"], numbers["failed"], numbers["recipients"]) == (93, 7, 150)
    await events.aclose()


# --- the stream -----------------------------------------------------------------------------------------------------------


async def test_a_stream_tells_all_then_what_changes_then_that_it_is_over(world: World) -> None:
    await world.campaign(parts=2)
    step = stepped(world)
    events = await opened(step, world)
    name, first = await told(events)
    assert (name, first["state"], first["sent"], first["recipients"], first["late"]) == ("", "running", 0, 800, False)
    assert first["points"] == [[NOW, 0, 0, 0]] and first["at"] == first["now"] == NOW
    assert await anext(events) == ALIVE  # nothing has changed
    await sent(world, 0, 7, done=False)
    world.clock.advance(60_000)
    await step.watches.of("C-0001").current()
    _, second = await told(events)
    assert (second["sent"], second["at"]) == (7, NOW + 60_000) and "points" not in second
    assert await anext(events) == ALIVE
    await hit(world, 1, "opened", "opened.human")
    await ended(world, recipients=400, sent=399, failed=1)
    world.clock.advance(60_000)
    await step.watches.of("C-0001").current()
    _, third = await told(events)
    assert (third["state"], third["sent"], third["failed"], third["recipients"], third["opened"]) == ("completed", 399, 1, 400, 1)
    assert await told(events) == ("end", {"why": "campaign"})
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    await settled(step)


async def test_who_comes_back_is_not_told_twice_how_it_came_there(world: World) -> None:
    await world.campaign(parts=2)
    step = stepped(world)
    events = await opened(step, world)
    await told(events)
    await sent(world)
    world.clock.advance(60_000)
    await step.watches.of("C-0001").current()
    again = await opened(step, world, last=str(NOW))
    assert (await told(again))[1]["points"] == [[NOW + 60_000, 10, 0, 0]]
    for garbage in ("", "x", "\u0663", "-1"):
        other = await opened(step, world, last=garbage)
        assert len((await told(other))[1]["points"]) == 2
        await other.aclose()
    await events.aclose()
    await again.aclose()


async def test_a_link_expires_in_mid_stream(world: World) -> None:
    await world.campaign()
    events = await opened(stepped(world), world, until=NOW + 60_000)
    await told(events)
    assert await anext(events) == ALIVE
    world.clock.advance(60_000)
    assert await told(events) == ("end", {"why": "link"})


async def test_a_stream_lasts_no_longer_than_a_request_may(world: World) -> None:
    await world.campaign()
    events = await opened(stepped(world), world)
    await told(events)
    world.clock.advance(240_000)
    assert await told(events) == ("end", {"why": "time"})


async def test_a_campaign_that_begins_anew_is_told_of_again(world: World) -> None:
    await world.campaign()
    await ended(world, recipients=1, sent=1)
    step = stepped(world)
    assert [(await told(events := await opened(step, world)))[1]["state"], await told(events)] == [
        "completed",
        ("end", {"why": "campaign"}),
    ]
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "running"})])
    world.clock.advance(60_000)
    events = await opened(step, world)
    assert (await told(events))[1]["state"] == "running"
    assert await anext(events) == ALIVE
    await events.aclose()


# --- looking --------------------------------------------------------------------------------------------------------------


async def test_all_viewers_share_one_look(world: World) -> None:
    await world.campaign(parts=3)

    async def spent(viewers: int) -> int:
        step, before = stepped(world), world.store.operations.reads
        streams = await asyncio.gather(*(opened(step, world) for _ in range(viewers)))
        firsts = await asyncio.gather(*(told(events) for events in streams))
        assert firsts == firsts[:1] * viewers
        for _ in range(3):
            world.clock.advance(60_000)
            await asyncio.gather(*(step.watches.of("C-0001").current() for _ in range(viewers)))
        await asyncio.gather(*(events.aclose() for events in streams))
        await settled(step)
        return world.store.operations.reads - before

    assert await spent(5) == await spent(1)


async def test_nobody_looks_when_nobody_watches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.live.watch.FASTEST", 0)
    begun = time.monotonic_ns()
    monkeypatch.setattr(world.clock, "now", lambda: NOW + (time.monotonic_ns() - begun) // 10_000)  # 100 s in one
    await world.campaign()
    step = stepped(world, lasting=10_000)
    before = world.store.operations.reads
    one, other = await opened(step, world), await opened(step, world)
    await told(one)
    await told(other)
    first = world.store.operations.reads
    await asyncio.sleep(0.3)
    assert world.store.operations.reads > first > before  # somebody looks by himself
    await one.aclose()
    assert step.watches.viewers == 1 and not step.watches.of("C-0001").idle
    await other.aclose()
    await settled(step)
    assert step.watches.viewers == 0
    last = world.store.operations.reads
    await asyncio.sleep(0.3)
    assert world.store.operations.reads == last


async def test_who_leaves_during_a_look_spoils_it_for_nobody(world: World) -> None:
    await world.campaign()
    step = stepped(world)
    watch = step.watches.of("C-0001")
    one, other = (asyncio.create_task(watch.current()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await other
    assert watch.numbers["state"] == "running"


async def test_coming_and_going_costs_nothing(world: World) -> None:
    await world.campaign(parts=3)
    step = stepped(world)
    await loaded(step, world)
    before = world.store.operations.reads
    for _ in range(10):
        await loaded(step, world)
        events = await opened(step, world)
        await told(events)
        await events.aclose()
    await settled(step)
    assert world.store.operations.reads == before


async def test_batches_that_are_over_are_read_once(world: World) -> None:
    await world.campaign(parts=40)
    for n in range(40):
        await sent(world, n, 400, done=n != 39)
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), {"unsettled": True})])
    watch = Watch(world.store, world.paths, "C-0001", world.clock, READS)
    await watch.current()
    before = world.store.operations.reads
    world.clock.advance(60_000)
    await watch.current()
    # the campaign, the two that are not over (near, and rest after a count), and the counts of deliveries
    assert world.store.operations.reads - before == 1 + 2 + (1 + 2) + len(COUNTED)
    await sent(world, 39, 401)
    world.clock.advance(60_000)
    await watch.current()
    assert watch.numbers["sent"] == 16_001


async def test_batches_cut_later_are_found(world: World) -> None:
    await world.campaign(parts=2)
    watch = Watch(world.store, world.paths, "C-0001", world.clock, READS)
    await watch.current()
    await world.store.commit([Create(world.paths.batch("C-0001", "r1-000000"), {"state": "done", "tally": {"sent": 5}})])
    world.clock.advance(60_000)
    await watch.current()
    assert watch.numbers["sent"] == 5


class Huge:
    """A store with one campaign of 1,000,000 mails, 2,500 batches of which a few are at work at a time, over some minutes, and with a
    delivery for everybody. It bills as Firestore does."""

    def __init__(self, clock: FakeClock, minutes: int) -> None:
        self.clock, self.lasting = clock, minutes * 60_000
        self.operations = Operations()

    def sent(self) -> int:
        return min(1_000_000, (self.clock.time - NOW) * 1_000_000 // self.lasting)

    def _batch(self, path: str) -> Document:
        mine = max(0, min(400, (self.sent() - int(path[-6:]) // 20 * 8_000) // 20))  # twenty at a time
        return Document(path, "1", {"state": "done" if mine == 400 else "open", "seq": mine, "tally": {"sent": mine}})

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document:
        self.operations.reads += 1
        return Document(path, "1", {"state": "running", "expected": 1_000_000, "row": {"name": "Huge"}})

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document]:
        self.operations.reads += len(paths)
        return [self._batch(path) for path in paths]

    async def page(
        self, collection: str, after: str = "", limit: int = 300, fields: Sequence[str] | None = None
    ) -> list[Document]:
        first = int(after or -1) + 1
        found = [self._batch(f"{collection}/{n:06d}") for n in range(first, min(2_500, first + limit))]
        self.operations.reads += max(1, len(found))
        return found

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        found = 2_500 if collection.endswith("batches") else self.sent()
        self.operations.counts += 1
        self.operations.reads += max(1, -(-found // 1000))
        return found


@pytest.mark.parametrize("minutes", [20, 55, 600])
async def test_an_hour_of_a_million_recipients_costs_at_most_a_hundred_thousand_reads(world: World, minutes: int) -> None:
    """Cents: docs/live.md. The worst case: all have opened, clicked, bounced …, so that each count() is the dearest."""
    store: Any = Huge(world.clock, minutes)
    watch = Watch(store, world.paths, "C-0001", world.clock, READS)
    lag = 0
    while world.clock.time < NOW + HOUR:
        await watch.current()
        lag = max(lag, store.sent() - watch.numbers["sent"])
        world.clock.advance(2_000)
    assert 10_000 < store.operations.reads <= 100_000
    assert lag <= 60_000
    assert watch.numbers["sent"] == store.sent() or minutes == 600


# --- when something is wrong ----------------------------------------------------------------------------------------------


async def test_a_store_that_does_not_answer_makes_numbers_late_and_ends_nothing(world: World) -> None:
    await world.campaign()
    await sent(world, 0, 5, done=False)
    down = False

    def plan(verb: str) -> Fault:
        return "refused" if down else ""

    step = stepped(world, FaultyStore(world.store, plan), lasting=3_600)
    events = await opened(step, world)
    assert (await told(events))[1]["late"] is False
    down = True
    world.clock.advance(60_000)
    await step.watches.of("C-0001").current()
    _, late = await told(events)
    assert (late["late"], late["sent"], late["at"]) == (True, 5, NOW)  # as of then
    assert re.search(r'id="note">Numbers are late', await loaded(step, world))
    assert await anext(events) == ALIVE
    down = False
    world.clock.advance(LATE)
    await step.watches.of("C-0001").current()
    assert (await told(events))[1]["late"] is False
    await events.aclose()


async def test_a_store_that_never_answered_still_gives_a_page(world: World) -> None:
    step = stepped(world, FaultyStore(world.store, lambda verb: "refused"))
    text = await loaded(step, world)
    assert re.search(r'id="note">Numbers are late', text) and 'class="unknown">Not known yet<' in text


async def test_a_store_that_stays_away_is_asked_ever_more_seldom(world: World) -> None:
    asked: list[int] = []

    def plan(verb: str) -> Fault:
        asked.append(world.clock.time)
        return "refused"

    watch = Watch(FaultyStore(world.store, plan), world.paths, "C-0001", world.clock, READS)
    for _ in range(600):
        await watch.current()
        world.clock.advance(1_000)
    gaps = [(after - before) // 1000 for before, after in pairwise(asked)]
    assert gaps == sorted(gaps) and gaps[0] == 4 and gaps[-1] == LATE // 1000


async def test_a_mistake_of_ours_is_logged_and_viewers_go_on(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await world.campaign()
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), {"tally": "broken"})])
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"sends": [{"kind": "all"}]})])
    step = stepped(world)
    events = await opened(step, world)
    assert (await told(events))[1]["late"] is True
    assert '"severity": "ERROR"' in capsys.readouterr().out
    await events.aclose()


async def test_there_is_room_for_so_many_viewers(world: World) -> None:
    await world.campaign()
    step = stepped(world, viewers=2)
    streams = [await opened(step, world) for _ in range(2)]
    full = await step.handle(Request("GET", f"{path(world)}/events"))
    assert isinstance(full, Response) and full.status == 503 and int(full.headers["retry-after"]) > 0
    assert "Sending" in await loaded(step, world)  # the page is for all
    await streams.pop().aclose()
    streams.append(await opened(step, world))
    for events in streams:
        await events.aclose()


async def test_campaigns_that_nobody_looks_at_are_forgotten_in_the_end(world: World) -> None:
    step = stepped(world)
    watched = step.watches.of("watched")
    async with watched.joined():
        for n in range(3 * KEPT):
            step.watches.of(f"C-{n}")
        assert step.watches.of("watched") is watched and len(step.watches._known) <= KEPT + 1
    await settled(step)


async def test_a_viewer_who_takes_nothing_is_dropped(world: World) -> None:
    await world.campaign()
    step = stepped(world)
    taken: list[str] = []
    bodies = [{"type": "http.request", "body": b"", "more_body": False}]

    async def live(request: Request) -> Response | Stream:
        found = await step.handle(request)
        assert isinstance(found, Stream)
        return replace(found, patience=0.05)

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        taken.append(message["type"])
        if len(taken) == 3:
            await asyncio.Event().wait()  # its buffer is full

    app = Starlette(routes=[Route("/{path:path}", streamed(lambda: 0)(live))])
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/{path(world)}/events",
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }
    async with asyncio.timeout(5):
        await app({**scope, "asgi": {"spec_version": "2.3"}}, receive, send)
    assert taken == ["http.response.start", "http.response.body", "http.response.body"]  # and no end
    assert step.watches.viewers == 0
    await settled(step)


def test_settings_have_defaults_and_limits() -> None:
    given = {"STACK": "embedded", "STATE_DIR": "x", "TENANT": "t", "PUBLIC_URL": "https://x"}
    assert load(Config, given).live_seconds == 240
    for name in ("LIVE_VIEWERS", "LIVE_SECONDS", "LIVE_READS"):
        with pytest.raises(ConfigError, match=f"{name} must be at least 1"):
            load(Config, {**given, name: "0"})


# --- on a socket ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(handle: Callable[[Request], Awaitable[Response | Stream]]) -> AsyncIterator[int]:
    """A uvicorn with the step; its port."""
    app = Starlette(routes=[Route("/live/{path:path}", streamed(lambda: 0)(handle))])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@pytest.mark.network
async def test_events_arrive_as_they_happen_and_who_hangs_up_has_left(world: World) -> None:
    await world.campaign(parts=2)
    step = stepped(world, alive=0.05)

    async def live(request: Request) -> Response | Stream:
        return await step.handle(request)

    lines: list[str] = []
    hang_up = threading.Event()

    def view(port: int) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", f"/live/{path(world)}/events")
        answer = connection.getresponse()
        while not hang_up.is_set():
            lines.append(answer.readline().decode())
        kind = answer.headers["content-type"]
        answer.close()
        connection.close()
        return kind

    async def heard(word: str) -> None:
        async with asyncio.timeout(5):
            while not any(word in line for line in lines):
                await asyncio.sleep(0.01)

    async with listening(live) as port:
        viewing = asyncio.create_task(asyncio.to_thread(view, port))
        await heard('"sent":0')  # the answer has not ended, and there it is
        await heard(": still here")
        await sent(world, 0, 42)
        world.clock.advance(60_000)
        await step.watches.of("C-0001").current()
        await heard('"sent":42')
        assert lines[0] == "retry: 3000\n" and step.watches.viewers == 1
        hang_up.set()
        assert await viewing == "text/event-stream; charset=utf-8"
        async with asyncio.timeout(5):
            while step.watches.viewers:
                await asyncio.sleep(0.01)
        await settled(step)


def test_every_number_shown_is_one_that_is_counted() -> None:
    assert set(COUNTED) <= set(LABELS)
