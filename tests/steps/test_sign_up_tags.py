"""Who may set which tags: a stranger can post any, so a sign-up sets those that the tenant named, and topics."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.subscribe.asked import read
from shared.http import Request, Response
from shared.model.face import ANY, Face, SignUp, Topic
from shared.model.subscriber import tags_of

from .fakes import DAY
from .test_sign_up_api import call
from .test_sign_up_forms import ADDRESS, OURS, SITE, TOPICS, face, post
from .test_subscribe import FORM, confirm
from .world import PROOF, World


async def evidence(world: World, address: str = ADDRESS) -> list[dict[str, Any]]:
    """Oldest first."""
    found = await world.all(f"{world.paths.subscriber(world.sid(address))}/consents")
    return sorted((one.data for one in found), key=lambda data: data["at"])


def link(world: World) -> str:
    """Of the confirmation that was asked for last."""
    message = world.bus.take("send-requests")[-1]
    sid, _, key = message["batch"].partition(".")
    return world.links.confirm(sid, message["consent"], key, world.clock.now() + 1000).partition("/subscribe/")[2]


async def by_form(world: World, tags: str) -> Response:
    return await post(world, {"email": ADDRESS, "tags": tags, **PROOF}, **OURS)


async def by_site(world: World, tags: str) -> Response:
    return await post(world, {"email": ADDRESS, "tags": tags}, origin=SITE)


async def by_server(world: World, tags: str) -> Response:
    return await call(world, {"email": ADDRESS, "tags": tags.split(", ")})


async def by_script(world: World, tags: str) -> Response:
    return await call(world, {"email": ADDRESS, "tags": tags}, origin=SITE)


WAYS = {"form": by_form, "site": by_site, "server": by_server, "script": by_script}


@pytest.mark.parametrize("way", WAYS)
async def test_a_sign_up_sets_no_tag_that_the_tenant_did_not_name(
    world: World, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    face(world, tags=("berlin",))
    plain = await WAYS[way](world, "berlin")
    capsys.readouterr()
    world.clock.advance(1)
    answer = await WAYS[way](world, "vip, Berlin, roasts, staff")
    assert answer == plain, "and the answer does not tell"
    wanted = (await world.subscriber(ADDRESS))["wanted"]
    assert (wanted["tags"], wanted["topics"], "refused_tags" in wanted) == (["berlin"], ["roasts"], False)
    _, proof = await evidence(world)
    assert (proof["requested"]["tags"], proof["refused_tags"]) == (["berlin"], ["vip", "staff"]), "but is not lost"
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [told] = [entry for entry in logged if "tags_refused" in entry.get("metrics", {})]
    kind = {"server": "api", "script": "api"}.get(way, way)
    assert (told["metrics"], told["kind"]) == ({"tags_refused": 2}, kind) and "vip" not in str(told)
    await confirm(world, link(world))
    found = await world.subscriber(ADDRESS)
    assert (found["tags"], found["segments"]) == (["berlin", "roasts"], ["everyone", "berlin", "roasts"])


async def test_a_tenant_that_said_nothing_lets_nobody_set_any(world: World) -> None:
    await by_server(world, "vip")
    assert (await world.subscriber(ADDRESS))["wanted"]["tags"] == []
    await confirm(world, link(world))
    assert (await world.subscriber(ADDRESS))["segments"] == ["everyone"]


async def test_a_star_lets_everybody_set_any_that_is_one(world: World) -> None:
    face(world, tags=(ANY,))
    await by_server(world, "vip, everyone, a/b")
    [proof] = await evidence(world)
    assert proof["requested"]["tags"] == ["vip"] and "refused_tags" not in proof


async def test_refused_tags_do_not_come_back_where_another_sign_up_overtook(world: World) -> None:
    """Then a confirmation reads the evidence, not what waits on the subscriber."""
    face(world, tags=("berlin",))
    await by_server(world, "vip, berlin")
    first = link(world)
    world.clock.advance(1)
    await by_server(world, "staff")
    await confirm(world, first)
    assert (await world.subscriber(ADDRESS))["tags"] == ["berlin"]


async def test_a_topic_that_is_offered_no_more_is_a_tag_like_any_other(world: World) -> None:
    face(world)
    await by_server(world, "gone")
    [proof] = await evidence(world)
    assert (proof["requested"]["topics"], proof["requested"]["tags"], proof["refused_tags"]) == ([], [], ["gone"])


WORD = st.sampled_from(["berlin", "vip", "roasts", "node.js", "Staff", "a/b", "everyone", "*", ""])


@given(st.lists(WORD), st.sets(st.sampled_from(["berlin", "roasts", "vip", ANY])))
def test_each_tag_is_a_topic_or_allowed_or_refused(words: list[str], allowed: set[str]) -> None:
    given_face = Face(topics=TOPICS, signup=SignUp(tags=tuple(sorted(allowed))))
    asked = read({"email": ADDRESS, "tags": ",".join(words)}, given_face)
    assert sorted([*asked.tags, *asked.topics, *asked.refused]) == sorted(tags_of(",".join(words)))
    assert {tag for tag in asked.tags if tag not in allowed} == set() or ANY in allowed
    assert not set(asked.refused) & allowed and not (asked.refused and ANY in allowed)
    assert set(asked.topics) <= {topic.tag for topic in TOPICS} and asked.requested["tags"] == asked.tags


@pytest.mark.parametrize("tags", [(), ("berlin", "spring fair"), (ANY,)], ids=["none", "two", "any"])
def test_the_tenants_document_keeps_them(tags: tuple[str, ...]) -> None:
    held = Face(topics=(Topic("a", "A"),), signup=SignUp(tags=tags))
    assert Face.of(held.document()) == held and held.document()["signup"]["tags"] == list(tags)
    before = held.document()
    del before["signup"]["tags"]
    assert Face.of(before).signup.tags == () and Face.of({}).signup.tags == () and Face.of(None).signup.tags == ()


# --- who comes first --------------------------------------------------------------------------------------------------


async def mailed(world: World) -> str:
    """Send what was asked for; the path of the link in the confirmation that went out last."""
    for message in world.bus.take("send-requests"):
        await world.send_batch().handle(message)
    [mail] = world.sender.mails.values()
    text = mail.replace(b"=\r\n", b"").replace(b"=3D", b"=").decode()
    return "confirm/" + text.partition("/subscribe/confirm/")[2].partition(")")[0].split()[0].rstrip('">')


async def signed_up(world: World, **fields: Any) -> str:
    """By call, and the link of the mail in the box."""
    assert (await call(world, {"email": ADDRESS, **fields})).status == 202
    world.clock.advance(1000)
    return await mailed(world)


CHOSEN = {"name": "Ada", "shown": "roasts,node.js", "topic.roasts": "on", "do": "save"}


async def test_of_a_days_sign_ups_the_link_confirms_the_one_it_was_sent_for_and_no_other(world: World) -> None:
    face(world, tags=("berlin", "lisbon"))
    await world.system("confirm")
    path = await signed_up(world, name="Mallory", tags=["berlin"], topics=["node.js"])
    assert await signed_up(world, name="Ada", tags=["lisbon"], topics=["roasts"]) == path
    assert world.sender.accepted == [ADDRESS], "one mail a day"
    answer = await confirm(world, path)
    found, (first, second) = await world.subscriber(ADDRESS), await evidence(world)
    assert (found["name"], found["tags"]) == ("Mallory", ["berlin", "node.js"])
    assert list(found["confirmations"]) == [found["consent"]] and first["requested"]["name"] == "Mallory"
    assert second["requested"]["name"] == "Ada", "which stays on record, and was confirmed by nobody"
    # The owner sees at once what was said of them, and puts it right.
    href = answer.body.decode().partition('<a href="https://news.example/unsubscribe/preferences/')[2].partition('"')[0]
    [page, saved] = [
        await world.unsubscribe().handle(request)
        for request in (
            Request("GET", f"preferences/{href}"),
            Request("POST", f"preferences/{href}", headers=FORM, body=urlencode(CHOSEN).encode()),
        )
    ]
    assert b'value="Mallory"' in page.body and saved.status == 200
    found = await world.subscriber(ADDRESS)
    assert (found["name"], set(found["tags"])) == ("Ada", {"berlin", "roasts"})


async def test_the_owners_own_sign_up_gets_its_own_link_on_the_next_day(world: World) -> None:
    face(world, tags=("berlin", "lisbon"))
    await world.system("confirm")
    strangers = await signed_up(world, name="Mallory", tags=["berlin"])
    world.clock.advance(DAY)
    owners = await signed_up(world, name="Ada", tags=["lisbon"])
    assert owners != strangers and world.sender.accepted == [ADDRESS] * 2
    await confirm(world, owners)
    found = await world.subscriber(ADDRESS)
    assert (found["name"], found["tags"]) == ("Ada", ["lisbon"])


async def test_no_sign_up_of_a_stranger_touches_a_reader_whatever_the_reader_confirms(world: World) -> None:
    face(world, tags=("berlin", "lisbon"))
    await world.system("confirm")
    owners = await signed_up(world, name="Ada", tags=["lisbon"], topics=["roasts"])
    await signed_up(world, name="Mallory", tags=["berlin"], topics=["node.js"], language="fr", country="FR")
    await confirm(world, owners)
    held = await world.subscriber(ADDRESS)
    assert (held["name"], held["tags"], held.get("country")) == ("Ada", ["lisbon", "roasts"], None)
    world.clock.advance(DAY)
    await signed_up(world, name="Mallory", tags=["berlin"], topics=["node.js"], language="fr", country="FR")
    await confirm(world, owners)  # an old mail, clicked again
    after = await world.subscriber(ADDRESS)
    assert after.pop("wanted")["name"] == "Mallory" and after.pop("asked_at")
    del held["wanted"], held["asked_at"]
    assert after == held
