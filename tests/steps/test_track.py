"""Opens, clicks and conversions: always answered, counted only with a reader token of ours, labelled human, suspect or machine."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from google.api_core.exceptions import PermissionDenied

from functions.track import handler
from functions.track.conversions import MOST, UNIT, sale, visiting
from functions.track.handler import PIXEL, Track
from functions.track.recent import HITS, MEMORY, Recent
from functions.track.robots import AT_ONCE
from functions.track.settings import Config
from shared.adapters import pubsub
from shared.adapters.pubsub import Pubsub
from shared.config import load
from shared.errors import BadInput, BadToken, ConfigError
from shared.http import Request, redirect
from shared.links import Links
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Location
from shared.tokens import Tokens

from .fakes import NOW, RecordingBus
from .world import World

SHOP = "https://shop.example/a?b=1&c=%20d#e"
REF = MailRef("C-0001", "ab" * 16)
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
GMAIL = {"user-agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"}
YAHOO = {"user-agent": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"}
APPLE = {"user-agent": "Mozilla/5.0"}
CURL = {"user-agent": "curl/8.5.0"}
ROBOT = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}


def opened(world: World, at: int = 0) -> str:
    return f"o/{world.links.track_token(REF, at)}"


def clicked(world: World, campaign: str = "C-0001", n: int = 3, target: str = SHOP, at: int = 0) -> str:
    return f"k/{world.links.track_token(REF, at)}/{world.links.signed_target(campaign, n, target)}"


def trapped(world: World) -> str:
    return f"h/{world.links.track_token(REF)}"


def hits(world: World) -> list[Event]:
    return [Event.from_message(message) for message in world.bus.take("engagement-events")]


async def test_an_open_is_a_pixel_and_an_event(world: World) -> None:
    assert await world.track().handle(Request("GET", opened(world), headers=BROWSER)) == PIXEL
    assert PIXEL.body.startswith(b"GIF89a") and PIXEL.content_type == "image/gif" and "no-store" in PIXEL.headers["cache-control"]
    assert hits(world) == [Event("opened", REF.text, NOW, label="human", device="desktop")]


@pytest.mark.parametrize("token", ["", "garbage", "\u2603", "C-0001~" + "A" * 22 + "~.AAAAAAAAAAAAAAAAAAAAAA"])
async def test_the_pixel_comes_for_any_token_but_counts_nothing(world: World, token: str) -> None:
    assert await world.track().handle(Request("GET", f"o/{token}", headers=BROWSER)) == PIXEL
    assert hits(world) == []


async def test_a_token_of_another_purpose_opens_nothing(world: World) -> None:
    leave = world.links.unsubscribe(REF).rpartition("/")[2]
    assert await world.track().handle(Request("GET", f"o/{leave}", headers=BROWSER)) == PIXEL
    assert hits(world) == []


async def test_a_click_goes_to_its_target_and_is_an_event(world: World) -> None:
    answer = await world.track().handle(Request("GET", clicked(world), headers=BROWSER))
    assert (answer.status, answer.headers["location"]) == (302, SHOP)
    assert hits(world) == [Event("clicked", REF.text, NOW, label="human", link=3, device="desktop")]


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("https://例え.example/日本?q=é", "https://%E4%BE%8B%E3%81%88.example/%E6%97%A5%E6%9C%AC?q=%C3%A9"),
        ("https://[2001:db8::1]:8080/a;b=c,d'(e)!*~@$", "https://[2001:db8::1]:8080/a;b=c,d'(e)!*~@$"),
        ("https://shop.example/100%25", "https://shop.example/100%25"),
    ],
)
async def test_any_target_fits_a_header(world: World, target: str, location: str) -> None:
    answer = await world.track().handle(Request("GET", clicked(world, target=target), headers=BROWSER))
    assert answer.headers["location"] == location and answer.headers["location"].isascii()


async def test_no_target_but_ours_is_ever_gone_to(world: World) -> None:
    token = world.links.track_token(REF)
    good = world.links.signed_target("C-0001", 3, SHOP)
    other = world.links.signed_target("C-0002", 3, SHOP)
    script = world.links.signed_target("C-0001", 3, "javascript:alert(1)")
    path, _, signature = good.rpartition(".")
    for target in (other, script, path, f"4{good[1:]}", f"{path}x.{signature}", "https:%2F%2Fevil.example", "", good + "="):
        with pytest.raises(BadToken):
            await world.track().handle(Request("GET", f"k/{token}/{target}", headers=BROWSER))
    foreign = world.links.track_token(MailRef("C-0002", REF.sid))
    with pytest.raises(BadToken):  # a token of another campaign, with this campaign's target
        await world.track().handle(Request("GET", f"k/{foreign}/{good}", headers=BROWSER))
    assert world.bus.messages == []


async def test_a_forged_reader_goes_on_uncounted(world: World) -> None:
    forged = "C-0001~" + "A" * 22 + "~.AAAAAAAAAAAAAAAAAAAAAA"
    target = world.links.signed_target("C-0001", 3, SHOP)
    answer = await world.track().handle(Request("GET", f"k/{forged}/{target}", headers=BROWSER))
    assert (answer.status, answer.headers["location"]) == (302, SHOP)
    assert hits(world) == []


@pytest.mark.parametrize(
    ("method", "headers", "label", "reason"),
    [
        ("GET", BROWSER, "human", ""),
        ("HEAD", BROWSER, "machine", "HEAD request"),
        ("GET", {}, "machine", "no user agent"),
        ("GET", ROBOT, "machine", "known robot"),
        ("GET", GMAIL, "human", "mail image proxy"),
        ("GET", YAHOO, "human", "mail image proxy"),
        ("HEAD", GMAIL, "machine", "HEAD request"),
        ("GET", CURL, "machine", "known robot"),
        ("GET", BROWSER | {"sec-purpose": "prefetch;prerender"}, "machine", "prefetch"),
        ("GET", BROWSER | {"purpose": "Prefetch"}, "machine", "prefetch"),
        ("GET", BROWSER | {"x-purpose": " preview"}, "machine", "prefetch"),
        ("GET", BROWSER | {"x-moz": "prefetch"}, "machine", "prefetch"),
        ("GET", GMAIL | {"purpose": "prefetch"}, "machine", "prefetch"),
        ("GET", BROWSER | {"purpose": ""}, "human", ""),
    ],
)
async def test_hits_are_labelled(world: World, method: str, headers: Any, label: str, reason: str) -> None:
    for path in (opened(world), clicked(world)):
        await world.track().handle(Request(method, path, headers=headers))
    assert [(hit.label, hit.reason) for hit in hits(world)] == [(label, reason)] * 2


async def test_apples_relay_says_nothing_of_a_person(world: World) -> None:
    for path in (opened(world), clicked(world)):
        await world.track().handle(Request("GET", path, headers=APPLE))
    assert [(hit.label, hit.reason) for hit in hits(world)] == [
        ("suspect", "Apple Mail Privacy Protection"),
        ("suspect", "no browser named"),
    ]


@pytest.mark.parametrize("headers", [BROWSER, GMAIL, YAHOO, APPLE])
@pytest.mark.parametrize(("kind", "within"), [(opened, AT_ONCE["opened"]), (clicked, AT_ONCE["clicked"])])
async def test_nobody_is_that_quick(world: World, kind: Any, within: int, headers: Any) -> None:
    step, at_once = world.track(), ("machine", "within seconds of hand-off")
    for age in (-2_000, 0, within - 1, within, within + 1):
        await step.handle(
            Request("GET", kind(world, at=NOW - age if age != within - 1 else NOW - within + 1_000), headers=headers)
        )
    found = [(hit.label, hit.reason) for hit in hits(world)]
    assert found[:3] == [at_once] * 3 and at_once not in found[3:] and len(found) == 5


# --- what one hit says of others --------------------------------------------------------------------------------------


async def hit(step: Track, path: str, headers: Any = BROWSER, client: str = "192.0.2.1", method: str = "GET") -> None:
    assert (await step.handle(Request(method, path, headers=headers, client=client))).status in (200, 302)


def labels(events: Sequence[Event]) -> list[tuple[str, int, str, str]]:
    return [(event.type, event.link, event.label, event.reason) for event in events]


async def test_who_follows_the_link_that_nobody_sees_is_a_machine(world: World) -> None:
    step = world.track()
    answer = await step.handle(Request("GET", trapped(world), headers=BROWSER, client="192.0.2.1"))
    assert answer.status == 200 and "location" not in answer.headers
    await hit(step, clicked(world))
    await hit(step, opened(world))
    await hit(step, opened(world), client="192.0.2.2")
    await hit(step, clicked(world), headers=GMAIL)
    trap = ("machine", "honeypot link")
    assert labels(hits(world)) == [
        ("clicked", -1, *trap),
        ("clicked", 3, *trap),
        ("opened", -1, *trap),
        ("opened", -1, "human", ""),
        ("clicked", 3, "human", "mail image proxy"),
    ]
    world.clock.advance(MEMORY - 1)
    await hit(step, clicked(world, n=4))
    other = world.links.track_token(replace(REF, sid="cd" * 16))
    await hit(step, f"o/{other}")
    world.clock.advance(1)
    await hit(step, clicked(world, n=5))
    assert [event.label for event in hits(world)] == ["machine", "human", "human"]


async def test_a_trap_shows_what_its_visitor_did_before(world: World) -> None:
    step = world.track()
    await hit(step, opened(world), client="192.0.2.9")
    await hit(step, clicked(world))
    hits(world)
    world.clock.advance(30_000)
    for _ in range(2):
        await hit(step, trapped(world))
    trap, again, last = hits(world)
    assert again == Event("clicked", REF.text, NOW, label="machine", reason="honeypot link", link=3)
    assert trap == last == Event("clicked", REF.text, NOW + 30_000, label="machine", reason="honeypot link")


async def test_a_forged_reader_falls_into_no_trap(world: World) -> None:
    step = world.track()
    await hit(step, f"h/{REF.text}.AAAAAAAAAAAAAAAAAAAAAA")
    assert hits(world) == []


async def test_a_burst_over_links_is_a_machines_and_so_were_its_first_clicks(world: World) -> None:
    step = world.track()
    world.geo.places["192.0.2.1"] = LISBON
    await hit(step, opened(world))
    await hit(step, clicked(world, n=0))
    await hit(step, clicked(world, n=0), client="192.0.2.2")
    world.clock.advance(1_000)
    await hit(step, clicked(world, n=1))
    first = hits(world)
    assert [event.label for event in first] == ["human"] * 4
    world.clock.advance(1_000)
    await hit(step, clicked(world, n=2))
    burst: dict[str, Any] = {"label": "machine", "reason": "burst", "country": "", "city": "", "device": ""}
    assert hits(world) == [
        Event("clicked", REF.text, NOW + 2_000, label="machine", reason="burst", link=2),
        *(replace(event, **burst) for event in first[1:]),
    ]
    await hit(step, clicked(world, n=3))
    assert labels(hits(world)) == [("clicked", 3, "machine", "burst")]  # nothing is said a third time


async def test_what_is_no_burst(world: World) -> None:
    step = world.track()
    for n in (0, 1, 0, 1, 1):
        await hit(step, clicked(world, n=n))
    for mail in ("cd" * 16, "ef" * 16):
        token = world.links.track_token(replace(REF, sid=mail))
        await hit(step, f"k/{token}/{world.links.signed_target('C-0001', 2, SHOP)}")
    world.clock.advance(2_001)
    for n in (2, 3):
        await hit(step, clicked(world, n=n))
    assert {event.label for event in hits(world)} == {"human"}


def test_memory_is_bounded() -> None:
    recent = Recent(mails=3)
    one = Event("clicked", "m0", NOW, label="human", link=0)
    for n in range(100):
        recent.judge(one, n)
    recent.judge(replace(one, ref="m1", label="machine", reason="honeypot link"), 1)
    assert len(recent._mails["m0"].hits) == HITS
    for ref in ("m2", "m3"):
        recent.judge(replace(one, ref=ref), 1)
    assert list(recent._mails) == ["m1", "m2", "m3"]
    assert recent.judge(replace(one, ref="m1"), 1)[0].reason == "honeypot link"  # it was not the one forgotten
    recent.judge(replace(one, ref="m4"), 1)
    assert list(recent._mails) == ["m3", "m1", "m4"]
    recent.judge(replace(one, ref="m5", at=NOW + MEMORY), 1)
    assert list(recent._mails) == ["m5"]


LISBON = Location("PT", "Lisbon", "Europe/Lisbon")
READER = "85.240.1.1"


async def test_a_persons_click_is_located_and_tells_no_address(world: World) -> None:
    world.geo.places[READER] = LISBON
    await world.track().handle(Request("GET", clicked(world), headers=BROWSER, client=READER))
    assert READER not in str(world.bus.messages) and "Europe/Lisbon" not in str(world.bus.messages)
    assert hits(world) == [Event("clicked", REF.text, NOW, label="human", link=3, country="PT", city="Lisbon", device="desktop")]


async def test_a_click_from_nowhere_counts_all_the_same(world: World) -> None:
    await world.track().handle(Request("GET", clicked(world), headers=BROWSER, client="10.0.0.1"))
    assert hits(world) == [Event("clicked", REF.text, NOW, label="human", link=3, device="desktop")]


@pytest.mark.parametrize(
    ("kind", "method", "headers"),
    [
        (opened, "GET", BROWSER),
        (opened, "GET", GMAIL),
        (clicked, "GET", GMAIL),
        (clicked, "GET", YAHOO),
        (clicked, "GET", ROBOT),
        (clicked, "GET", {}),
        (clicked, "HEAD", BROWSER),
    ],
)
async def test_nothing_else_is_located(world: World, kind: Any, method: str, headers: Any) -> None:
    world.geo.places[READER] = LISBON
    await world.track().handle(Request(method, kind(world), headers=headers, client=READER))
    [hit] = hits(world)
    assert (hit.country, hit.city) == ("", "") and world.geo.asked == []


async def test_a_failed_publish_is_not_the_readers_trouble(world: World) -> None:
    world.bus.failing = True
    assert await world.track().handle(Request("GET", opened(world), headers=BROWSER)) == PIXEL
    assert (await world.track().handle(Request("GET", clicked(world), headers=BROWSER))).status == 302
    assert world.bus.calls == 2


class Stuck(RecordingBus):
    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        await asyncio.Event().wait()


async def test_a_reader_does_not_wait_for_a_bus_that_hangs(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(handler, "PATIENCE", 0.02)
    world.bus = Stuck()
    async with asyncio.timeout(5):
        assert (await world.track().handle(Request("GET", clicked(world), headers=BROWSER))).status == 302
    assert "the event was not published: no answer within 0.02 s" in capsys.readouterr().out


class Google:
    """A client of Pub/Sub whose calls end when `gate` opens; `refusing`: the number of the call that fails."""

    def __init__(self, refusing: int) -> None:
        self.gate = asyncio.Event()
        self.refusing = refusing
        self.calls: list[list[Any]] = []
        self.transport = SimpleNamespace(grpc_channel=SimpleNamespace(unary_unary=lambda *_, **__: self._publish))

    async def _publish(self, request: Any, **_: Any) -> None:
        self.calls.append([json.loads(message.data) for message in request.messages])
        number = len(self.calls)
        await self.gate.wait()
        if number == self.refusing:
            raise PermissionDenied("no")  # type: ignore[no-untyped-call]


async def test_hits_that_come_together_leave_together_and_hear_of_their_own_group(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "_REST", 0.0)
    google = Google(refusing=3)
    step = Track(Pubsub("p", lambda: google), world.clock, world.links, world.geo)  # type: ignore[arg-type, return-value]
    paths = [f"o/{world.links.track_token(replace(REF, sid=f'{n:032x}'))}" for n in range(300)]

    def start(some: Sequence[str]) -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(step.handle(Request("GET", path, headers=BROWSER))) for path in some]

    tasks = start(paths[:1])
    await asyncio.sleep(0.01)
    tasks += start(paths[1:2])
    await asyncio.sleep(0.01)
    tasks += start(paths[2:])
    await asyncio.sleep(0.05)
    assert len(google.calls) == 2 and not any(task.done() for task in tasks)  # answered only when durable
    google.gate.set()
    assert await asyncio.gather(*tasks) == [PIXEL] * 300
    assert [len(call) for call in google.calls] == [1, 1, 298]
    lost = [json.loads(line)["mail"] for line in capsys.readouterr().out.splitlines() if "not published" in line]
    assert sorted(lost) == sorted(message["ref"] for message in google.calls[2])


def test_a_trap_says_nothing_of_hits_that_are_forgotten() -> None:
    recent, at = Recent(), 1_767_225_600_000
    old, young = (Event("clicked", REF.text, at + after, label="human", link=1) for after in (0, MEMORY // 2))
    assert [recent.judge(each, 7) for each in (old, young)] == [[old], [young]]
    trapped = Event("clicked", REF.text, at + MEMORY + 1, label="machine", reason="honeypot link")
    assert recent.judge(trapped, 7) == [trapped, replace(young, label="machine", reason="honeypot link")]


# --- conversions ------------------------------------------------------------------------------------------------------


def conversion(world: World, **fields: str) -> dict[str, str]:
    return {"sp": world.links.track_token(REF, NOW), "value": "12.50", "currency": "eur", "order": "A-17"} | fields


FORM = {"content-type": "application/x-www-form-urlencoded;charset=UTF-8"}


@pytest.mark.parametrize("method", ["GET", "form", "JSON"])
async def test_a_conversion_is_a_pixel_or_nothing_and_an_event(world: World, method: str) -> None:
    fields = conversion(world)
    request = {
        "GET": Request("GET", "c", fields, BROWSER),
        "form": Request("POST", "c", headers=FORM | CURL, body=urlencode(fields).encode()),
        "JSON": Request(
            "POST", "c", headers={"content-type": "application/json"}, body=json.dumps(fields | {"value": 12.5}).encode()
        ),
    }[method]
    answer = await world.track().handle(request)
    assert answer == PIXEL if method == "GET" else (answer.status, answer.body) == (204, b"")
    assert hits(world) == [Event("converted", REF.text, NOW, id="A-17", value=12_500_000, currency="EUR")]


async def test_a_conversion_needs_nothing_but_its_token(world: World) -> None:
    await world.track().handle(Request("GET", "c", {"sp": world.links.track_token(REF)}))
    assert hits(world) == [Event("converted", REF.text, NOW)]


@pytest.mark.parametrize("token", ["", "x", REF.text, REF.text + ".AAAAAAAAAAAAAAAAAAAAAA"])
async def test_a_conversion_of_nobody_is_answered_alike(world: World, token: str) -> None:
    fields = conversion(world, sp=token)
    assert await world.track().handle(Request("GET", "c", fields)) == PIXEL
    assert (await world.track().handle(Request("POST", "c", headers=FORM, body=urlencode(fields).encode()))).status == 204
    leave = conversion(world, sp=world.links.unsubscribe(REF).rpartition("/")[2])
    assert await world.track().handle(Request("GET", "c", leave)) == PIXEL
    assert await world.track().handle(Request("HEAD", "c", conversion(world))) == PIXEL
    assert hits(world) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": "-1"},
        {"value": "1e9"},
        {"value": "1,50"},
        {"value": "NaN"},
        {"value": "٣"},
        {"value": f"{MOST}.000001"},
        {"value": "9" * 400},
        {"value": "1", "currency": ""},
        {"currency": "EURO"},
        {"currency": "€€€"},
        {"currency": "ÄÖÜ"},
        {"order": "ada@example.com"},
        {"order": "a b"},
        {"order": "x" * 101},
        {"order": "x\n"[:2] + "y"},
    ],
)
async def test_a_conversion_that_cannot_be_is_told_to_its_author(world: World, wrong: dict[str, str]) -> None:
    fields = conversion(world, **wrong)
    assert await world.track().handle(Request("GET", "c", fields)) == PIXEL
    with pytest.raises(BadInput, match=r"\.$"):
        await world.track().handle(Request("POST", "c", headers=FORM, body=urlencode(fields).encode()))
    assert hits(world) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("0", 0),
        ("0.1", 100_000),
        ("0.30000000000000004", 300_000),
        ("0.0000005", 0),
        ("0.0000015", 2),
        (str(MOST), MOST * UNIT),
    ],
)
def test_a_value_is_kept_in_millionths(text: str, value: int) -> None:
    assert sale({"value": text, "currency": " usd "}) == (value, "USD", "")


@pytest.mark.parametrize(
    ("target", "carried"),
    [
        ("https://shop.example", "https://shop.example?sp=T"),
        ("https://shop.example/a?b=1#c?d", "https://shop.example/a?b=1&sp=T#c?d"),
        ("HTTPS://www.Shop.Example:8443/a#c", "HTTPS://www.Shop.Example:8443/a?sp=T#c"),
        ("https://shop.example/?asp=1", "https://shop.example/?asp=1&sp=T"),
        ("https://shop.example/?sp=", "https://shop.example/?sp="),
        ("https://evilshop.example/", "https://evilshop.example/"),
        ("https://shop.example.evil.example/", "https://shop.example.evil.example/"),
        ("https://shop.example@evil.example/", "https://shop.example@evil.example/"),
        ("https://evil.example/?x=shop.example", "https://evil.example/?x=shop.example"),
        ("https://example/", "https://example/"),
    ],
)
def test_only_the_sites_named_get_a_token(target: str, carried: str) -> None:
    assert visiting(target, "T", frozenset({"shop.example"})) == carried
    assert visiting(target, "T", frozenset()) == target


@pytest.mark.parametrize(("headers", "carries"), [(BROWSER, True), (APPLE, True), (ROBOT, False), ({}, False)])
async def test_a_click_carries_its_token_to_the_shop(world: World, headers: Any, carries: bool) -> None:
    step = Track(world.bus, world.clock, world.links, world.geo, frozenset({"shop.example"}))
    answer = await step.handle(Request("GET", clicked(world), headers=headers))
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query.get("sp") == ([world.links.track_token(REF)] if carries else None) and query["b"] == ["1"]
    forged = f"k/{REF.text}.AAAAAAAAAAAAAAAAAAAAAA/{world.links.signed_target('C-0001', 3, SHOP)}"
    assert (await step.handle(Request("GET", forged, headers=headers))).headers["location"] == SHOP


def test_the_sites_are_named_by_a_setting() -> None:
    given = {"STACK": "embedded", "TENANT": "t", "PUBLIC_URL": "https://a.example", "STATE_DIR": "x"}
    assert load(Config, given).domains == frozenset()
    sites = load(Config, given | {"CONVERSION_DOMAINS": " Shop.Example, b.example,"}).domains
    assert sites == {"shop.example", "b.example"}
    for wrong in ("https://shop.example", "shop", "shop.example/a", "shop.example:80", "*.shop.example, x y"):
        with pytest.raises(ConfigError, match="CONVERSION_DOMAINS"):
            load(Config, given | {"CONVERSION_DOMAINS": wrong})


def test_the_snippet_is_small_and_says_what_is_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text("utf-8")
    scripts = re.findall(r"^```html\n(.*?)^```$", page, re.M | re.S)
    assert len(scripts) == 2 and sum(len(script.encode()) for script in scripts) < 1024
    assert not any(word in script for script in scripts for word in ("cookie", "localStorage", "src="))
    for name in ('"sp"', "sp:", "value:", "currency:", "order:", "/track/c"):
        assert any(name in script for script in scripts)


# --- no open redirect -------------------------------------------------------------------------------------------------

EVIL = [
    "https://evil.example/",
    "http://evil.example",
    "//evil.example/",
    "///evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "https:\\\\evil.example",
    "https:evil.example",
    "https://shop.example@evil.example/",
    "https://shop.example:443@evil.example/a?b=1",
    "https://evil.example\\@shop.example/",
    "https://shop.example%2f@evil.example",
    "https://shop.example/a\r\nLocation: https://evil.example",
    "https://shop.example/%0d%0aSet-Cookie:x=1",
    "javascript:alert(1)",
    "JaVaScRiPt://shop.example/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "ftp://evil.example/",
    "https://ｓｈｏｐ．example/",
    "https://shop。example/",
    "https://xn--shp-tna.example/",
    "https://shop.example.evil.example/",
    "https://evil.example#https://shop.example/",
    "https://2130706433/",
    "https://[::ffff:127.0.0.1]/",
    "\u202ehttps://evil.example",
    " https://evil.example",
    "https://shop.example/a?b=2",
    "",
]


def forged_click(chance: random.Random, links: Links, thief: Links) -> str:
    """One attempt to get somewhere else, from a good link, and from what a reader of many mails has seen."""
    token, good, evil = links.track_token(REF), links.signed_target("C-0001", 3, SHOP), chance.choice(EVIL)
    path, _, signature = good.rpartition(".")
    coded = base64.urlsafe_b64encode(evil.encode()).rstrip(b"=").decode()
    place = chance.randrange(len(good))
    other = chance.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~=%/\\:@ \r\n\x00\u2603")
    number = chance.choice(["", "-", "+", " ", "00", "３"]) + str(chance.randrange(9))
    return chance.choice(
        [
            f"k/{token}/{number}.{coded}.{signature}",  # another target under the good signature
            f"k/{token}/{evil}",
            f"k/{token}/{evil}.{signature}",
            f"k/{token}/{good}{evil}",
            f"k/{token}/{evil}{good}",
            f"k/{token}/{good[:place]}{other}{good[place:]}",
            f"k/{token}/{good[:place]}{other}{good[place + 1 :]}",
            f"k/{token}/{good[:place]}{good[place + 1 :]}",
            f"k/{token}/{good.swapcase()}",
            f"k/{token}/{path}.{coded}.{signature}",
            f"k/{token}/{thief.signed_target('C-0001', 3, evil)}",  # another key
            f"k/{token}/{links.signed_target('C-0002', 3, evil)}",  # another campaign's
            f"k/C-0001/x~/{links.signed_target('C-0002', 3, evil)}",
            f"k/{evil}/{good}",
            f"k/{evil}~{token}/{links.signed_target('C-0002', 3, evil)}",
            f"k/{token}/{links.tokens.sign(chance.choice(['track', 'leave', 'message', 'confirm']), f'3.{coded}')}",
            f"k/{token}/{links.tokens.sign('leave', f'C-0001/3.{coded}').removeprefix('C-0001/')}",
            f"k/{token}//{evil}",
            f"{chance.choice('okhc')}/{evil}",
            f"h/{token}/{good}",
            evil,
        ]
    )


@pytest.mark.parametrize("attempts", [5_000])
async def test_no_forged_click_goes_where_no_mail_went(world: World, attempts: int) -> None:
    chance, step = random.Random(attempts), world.track()
    thief = Links(world.links.base, Tokens([b"t" * 32]))
    ours = redirect(SHOP).headers["location"]
    good = await step.handle(Request("GET", clicked(world), headers=BROWSER))
    assert good.headers["location"] == ours
    refused = 0
    for _ in range(attempts):
        request = Request("GET", forged_click(chance, world.links, thief).strip("/"), headers=BROWSER)
        try:
            answer = await step.handle(request)
        except BadToken:
            refused += 1
            continue
        assert answer.headers.get("location", ours) == ours, request.path
    assert refused > attempts / 2


async def test_other_methods_and_paths(world: World) -> None:
    for method in ("POST", "PUT", "DELETE"):
        for path in (clicked(world), opened(world), trapped(world), "c/x"):
            assert (await world.track().handle(Request(method, path, headers=BROWSER))).status == 405
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert (await world.track().handle(Request(method, "c", headers=BROWSER))).status == 405
    for path in ("", "o", "x/y", opened(world) + "/z", clicked(world) + "/z", trapped(world) + "/z", "c/x"):
        assert (await world.track().handle(Request("GET", path, headers=BROWSER))).status == 404
    assert world.bus.messages == []


# --- devices ---

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0{} Safari/537.36"


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (PHONE, "phone"),
        (PHONE.replace("iPhone", "iPad"), "tablet"),
        (ANDROID.format(" Mobile"), "phone"),
        (ANDROID.format(""), "tablet"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "desktop"),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 (KHTML, like Gecko)", "other"),
        (GMAIL["user-agent"], ""),
    ],
)
async def test_a_persons_hit_tells_the_device(world: World, agent: str, device: str) -> None:
    await world.track().handle(Request("GET", clicked(world), headers={"user-agent": agent}))
    assert [(event.label, event.device) for event in hits(world)] == [("human", device)]


async def test_a_machine_has_no_device(world: World) -> None:
    await world.track().handle(Request("HEAD", clicked(world), headers=BROWSER))
    assert [event.device for event in hits(world)] == [""]
