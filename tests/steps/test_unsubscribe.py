"""Leaving: RFC 8058 one-click, replays and strangers' tokens answered alike, committed before anything else."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import Unavailable
from shared.http import Request, Response
from shared.model.ref import MailRef

from .fakes import NOW, FaultyStore
from .world import World

ADDRESS = "ada@example.com"
URLENCODED = ({"content-type": "application/x-www-form-urlencoded"}, b"List-Unsubscribe=One-Click")
MULTIPART = (
    {"content-type": "multipart/form-data; boundary=b"},
    b'--b\r\ncontent-disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
)


def token(world: World, address: str = ADDRESS, campaign: str = "C-0001") -> str:
    return world.links.unsubscribe(MailRef(campaign, world.sid(address))).rpartition("/")[2]


async def leave(world: World, path: str, body: Any = URLENCODED, store: Any = None) -> Response:
    return await world.unsubscribe(store).handle(Request("POST", path, headers=body[0], body=body[1]))


@pytest.mark.parametrize("body", [URLENCODED, MULTIPART, ({}, b"")])
async def test_one_click_suppresses_at_once_and_tells_record(world: World, body: Any) -> None:
    await world.add(ADDRESS, tags=["vip"])
    answer = await leave(world, token(world), body)
    assert answer.status == 200
    assert not {"set-cookie", "location"} & {name.lower() for name in answer.headers}
    found = await world.subscriber(ADDRESS)
    assert (found["suppressed"], found["segments"], found["tags"]) == (["unsubscribed"], [], ["vip"])
    assert await world.data(world.paths.suppression(world.sid(ADDRESS))) == {
        "reasons": ["unsubscribed"],
        "unsubscribed_at": NOW,
        "unsubscribed_sources": ["mail of C-0001"],
    }
    [event] = world.bus.take("engagement-events")
    assert (event["type"], event["ref"]) == ("unsubscribed", MailRef("C-0001", world.sid(ADDRESS)).text)
    await world.record().handle(event)


async def test_replays_and_tokens_of_strangers_are_answered_alike(world: World) -> None:
    await world.add(ADDRESS)
    good = token(world)
    first = await leave(world, good)
    before = world.versions()
    world.clock.advance(1000)
    track = world.links.track_token(MailRef("C-0001", world.sid(ADDRESS)))
    answers = [await leave(world, path) for path in (track, good + "A", good[:-1], "", "garbage", "a/b", "\u2603")]
    assert all(answer == first for answer in answers)
    assert world.versions() == before
    assert await leave(world, good) == first
    state = await world.data(world.paths.suppression(world.sid(ADDRESS)))
    assert (state["unsubscribed_at"], state["reasons"]) == (NOW, ["unsubscribed"])


async def test_a_click_token_cannot_unsubscribe(world: World) -> None:
    await world.add(ADDRESS)
    await leave(world, world.links.track_token(MailRef("C-0001", world.sid(ADDRESS))))
    assert "suppressed" not in await world.subscriber(ADDRESS)
    assert world.bus.messages == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_get_only_asks(world: World, method: str) -> None:
    await world.add(ADDRESS)
    before = world.versions()
    answers = [await world.unsubscribe().handle(Request(method, path)) for path in (token(world), "garbage")]
    assert answers[0] == answers[1] and answers[0].status == 200 and b'<form method="post">' in answers[0].body
    assert world.versions() == before and world.bus.messages == []


async def test_a_failed_publish_does_not_keep_anybody(world: World) -> None:
    await world.add(ADDRESS)
    world.bus.failing = True
    assert (await leave(world, token(world))).status == 200
    assert (await world.subscriber(ADDRESS))["suppressed"] == ["unsubscribed"]
    assert world.bus.calls == 1


async def test_a_failed_write_is_unavailable_and_tells_nobody(world: World) -> None:
    await world.add(ADDRESS)
    with pytest.raises(Unavailable):
        await leave(world, token(world), store=FaultyStore(world.store, lambda verb: "refused"))
    assert world.bus.calls == 0


async def test_somebody_unknown_here_stays_suppressed_when_they_come(world: World) -> None:
    await leave(world, token(world, "ghost@example.com"))
    assert (await world.subscriber("ghost@example.com")) == {"suppressed": ["unsubscribed"], "segments": []}


async def test_other_methods(world: World) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await world.unsubscribe().handle(Request(method, token(world)))).status == 405
    assert world.versions() == {}
