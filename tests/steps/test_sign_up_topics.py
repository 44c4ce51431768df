"""Topics: what a sign-up turns on, and what it never does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from functions.subscribe.confirming import chosen
from shared.http import Request

from .fakes import NOW
from .test_sign_up_forms import ADDRESS, OURS, face, post
from .test_subscribe import confirm
from .world import PROOF, World


async def signed_up(world: World, **fields: str) -> str:
    assert b"Check your mail" in (await post(world, {"email": ADDRESS, **fields, **PROOF}, **OURS)).body
    [message] = world.bus.take("send-requests")
    sid, _, key = message["batch"].partition(".")
    return world.links.confirm(sid, message["consent"], key, world.clock.now() + 1000).partition("/subscribe/")[2]


async def test_the_form_offers_topics_and_a_confirmation_turns_on_what_was_ticked(world: World) -> None:
    face(world)
    path = await signed_up(world, **{"topic.node.js": "on", "topic.gone": "on"})
    await confirm(world, path)
    found = await world.subscriber(ADDRESS)
    assert (found["tags"], found["segments"]) == (["node.js"], ["everyone", "node.js"])
    assert found["topics"] == {"node.js": {"on": True, "at": NOW, "consent": found["consent"]}}


async def test_nothing_is_ticked_before_a_reader_ticks_it(world: World) -> None:
    face(world)
    page = (await world.subscribe().handle(Request("GET"))).body
    assert page.count(b'type="checkbox"') == 2 and b"checked" not in page
    assert b"New roasts<small>once a month</small>" in page and b"<legend>" in page
    wrong = await post(world, {"email": "x", "topic.roasts": "on"}, **OURS)
    assert wrong.body.count(b" checked") == 1


async def test_a_sign_up_turns_off_no_topic_and_an_older_one_none_back_on(world: World) -> None:
    face(world)
    off = {"roasts": {"on": False, "at": NOW + 5, "consent": "p1"}, "node.js": {"on": True, "at": NOW - 5, "consent": "p0"}}
    await world.add(ADDRESS, topics=off, tags=["node.js", "vip"])
    await confirm(world, await signed_up(world, **{"topic.roasts": "on", "tags": "roasts, new"}))
    found = await world.subscriber(ADDRESS)
    assert found["topics"] == off and found["tags"] == ["node.js", "vip", "new"]
    world.clock.advance(1000)
    await confirm(world, await signed_up(world, **{"topic.roasts": "on"}))
    found = await world.subscriber(ADDRESS)
    assert found["topics"]["roasts"]["on"] and set(found["tags"]) == {"node.js", "vip", "new", "roasts"}


TAG = st.sampled_from("abcde")
CHOICE = st.builds(lambda on, at: {"on": on, "at": at, "consent": "c0"}, st.booleans(), st.integers(0, 9))


@given(st.dictionaries(TAG, CHOICE), st.lists(TAG, unique=True), st.lists(TAG), st.lists(TAG), st.integers(0, 9))
def test_a_tag_is_there_exactly_when_its_topic_is_on(
    topics: dict[str, Any], tags: list[str], more: list[str], ticked: list[str], at: int
) -> None:
    held = {"topics": topics, "tags": tags}
    found = chosen(held, {"tags": more, "topics": ticked, "at": at}, "c1")
    after = found.get("topics", {})
    assert {tag for tag in found["tags"] if tag in after} == {tag for tag, choice in after.items() if choice["on"]}
    assert {tag for tag in found["tags"] if tag not in after} == {*tags, *more} - set(after)
    for tag, choice in topics.items():  # a later choice of the reader's stands
        assert after[tag] == choice or (
            tag in ticked and choice["at"] <= at and after[tag] == {"on": True, "at": at, "consent": "c1"}
        )
    assert set(after) == {*topics, *ticked} and len(found["tags"]) == len(set(found["tags"]))
