"""Opens and clicks: always answered, counted only with a reader token of ours, labelled human or machine."""

from __future__ import annotations

from typing import Any

import pytest

from functions.track.handler import PIXEL
from shared.errors import BadToken
from shared.http import Request
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Location

from .fakes import NOW
from .world import World

SHOP = "https://shop.example/a?b=1&c=%20d#e"
REF = MailRef("C-0001", "ab" * 16)
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
GMAIL = {"user-agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"}
YAHOO = {"user-agent": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"}
ROBOT = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}


def opened(world: World) -> str:
    return f"o/{world.links.track_token(REF)}"


def clicked(world: World, campaign: str = "C-0001", n: int = 3, target: str = SHOP) -> str:
    return f"k/{world.links.track_token(REF)}/{world.links.signed_target(campaign, n, target)}"


def hits(world: World) -> list[Event]:
    return [Event.from_message(message) for message in world.bus.take("engagement-events")]


async def test_an_open_is_a_pixel_and_an_event(world: World) -> None:
    assert await world.track().handle(Request("GET", opened(world), headers=BROWSER)) == PIXEL
    assert PIXEL.body.startswith(b"GIF89a") and PIXEL.content_type == "image/gif" and "no-store" in PIXEL.headers["cache-control"]
    assert hits(world) == [Event("opened", REF.text, NOW, label="human")]


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
    assert hits(world) == [Event("clicked", REF.text, NOW, label="human", link=3)]


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
    ],
)
async def test_hits_are_labelled(world: World, method: str, headers: Any, label: str, reason: str) -> None:
    for path in (opened(world), clicked(world)):
        await world.track().handle(Request(method, path, headers=headers))
    assert [(hit.label, hit.reason) for hit in hits(world)] == [(label, reason)] * 2


LISBON = Location("PT", "Lisbon", "Europe/Lisbon")
READER = "85.240.1.1"


async def test_a_persons_click_is_located_and_tells_no_address(world: World) -> None:
    world.geo.places[READER] = LISBON
    await world.track().handle(Request("GET", clicked(world), headers=BROWSER, client=READER))
    assert READER not in str(world.bus.messages) and "Europe/Lisbon" not in str(world.bus.messages)
    assert hits(world) == [Event("clicked", REF.text, NOW, label="human", link=3, country="PT", city="Lisbon")]


async def test_a_click_from_nowhere_counts_all_the_same(world: World) -> None:
    await world.track().handle(Request("GET", clicked(world), headers=BROWSER, client="10.0.0.1"))
    assert hits(world) == [Event("clicked", REF.text, NOW, label="human", link=3)]


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


async def test_other_methods_and_paths(world: World) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await world.track().handle(Request(method, clicked(world), headers=BROWSER))).status == 405
    for path in ("", "o", "x/y", opened(world) + "/z", clicked(world) + "/z"):
        assert (await world.track().handle(Request("GET", path, headers=BROWSER))).status == 404
    assert world.bus.messages == []
