"""The preference centre: what it shows, what it keeps with which evidence, and that it lets nobody back who has left."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.unsubscribe.choices import PAUSE, Choice, changed, wants
from functions.unsubscribe.desk import PAGES
from shared import contention
from shared.errors import Unavailable
from shared.http import Request, Response
from shared.model.consent import text_version
from shared.model.face import Face, Topic
from shared.model.ref import MailRef
from shared.model.subscriber import in_segment, mailable, segments_of, suppress
from shared.pages import languages
from shared.pages.faces import Shown
from shared.ports import Merge

from .fakes import NOW, FaultyStore
from .world import TENANT, World

ADDRESS = "ada@example.com"
FORM = {"content-type": "application/x-www-form-urlencoded", "user-agent": "Browser/1"}
TOPICS = (Topic("recipes", "Recipes", "One a week."), Topic("offers", "Offers <now>"))
ALL = "recipes,offers"


@pytest.fixture
def world(world: World) -> World:
    world.faces.shown = Shown(replace(TENANT, face=Face(topics=TOPICS)))
    return world


def path(world: World, address: str = ADDRESS) -> str:
    return "preferences/" + world.links.unsubscribe(MailRef("C-0001", world.sid(address))).rpartition("/")[2]


async def show(world: World, address: str = ADDRESS, language: str = "", lang: str = "") -> Response:
    query = {"lang": lang} if lang else {}
    return await world.unsubscribe().handle(Request("GET", path(world, address), query, {"accept-language": language}))


async def save(world: World, store: Any = None, address: str = ADDRESS, **fields: str) -> Response:
    body = urlencode({name.replace("__", "."): text for name, text in fields.items()}).encode()
    asked = Request("POST", path(world, address), headers=FORM, body=body, client="203.0.113.77")
    return await world.unsubscribe(store).handle(asked)


async def evidence(world: World, address: str = ADDRESS) -> list[dict[str, Any]]:
    return [found.data for found in await world.all(f"{world.paths.subscriber(world.sid(address))}/consents")]


def ticked(page: str) -> set[str]:
    return set(re.findall(r'name="topic\.([^"]+)" value="1" checked', page))


# --- shown ------------------------------------------------------------------------------------------------------------


async def test_it_shows_the_readers_own_settings_by_one_read(world: World) -> None:
    await world.add(ADDRESS, name='Ada "<b>', language="de", tags=["recipes", "vip"], frequency="weekly")
    before, reads = world.versions(), world.store.operations.reads
    answer = await show(world, language="fr")
    page = answer.body.decode()
    assert world.store.operations.reads == reads + 1 and world.versions() == before
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store" and 'content="noindex"' in page
    assert '<html lang="de"' in page and "a***@example.com" in page and ADDRESS not in page
    assert 'value="Ada &#34;&lt;b&gt;"' in page and '<option value="de" lang="de" selected>Deutsch' in page
    assert ticked(page) == {"recipes"} and "Offers &lt;now&gt;" in page and "One a week." in page and "vip" not in page
    assert 'value="weekly" checked' in page and 'name="do" value="pause"' in page
    assert len(answer.body) < 20_000 and "<script" not in page


@pytest.mark.parametrize(
    ("lang", "reader", "browser", "expected"),
    [("es", "de", "fr", "es"), ("", "de", "fr", "de"), ("", "", "fr", "fr"), ("", "", "", "en")],
)
async def test_its_language_is_asked_for_then_the_readers_then_the_browsers_then_the_tenants(
    world: World, lang: str, reader: str, browser: str, expected: str
) -> None:
    await world.add(ADDRESS, language=reader)
    assert f'<html lang="{expected}"' in (await show(world, language=browser, lang=lang)).body.decode()


async def test_without_topics_there_are_none_to_choose(world: World) -> None:
    world.faces.shown = Shown(TENANT)
    await world.add(ADDRESS)
    page = (await show(world)).body.decode()
    assert "topic." not in page and "chosen no topic" not in page
    assert (await save(world, shown="", frequency="monthly")).status == 200
    assert (await world.subscriber(ADDRESS))["frequency"] == "monthly"


async def test_unknown_waiting_and_erased_readers_and_garbage_get_the_same_page(world: World) -> None:
    await world.store.commit([Merge(world.paths.subscriber(world.sid("waiting@example.com")), {"asked": "waiting@example.com"})])
    erased = {"suppressed": ["erased"], "segments": []}
    await world.store.commit([Merge(world.paths.subscriber(world.sid("erased@example.com")), erased)])
    before = world.versions()
    people = ("ghost@example.com", "waiting@example.com", "erased@example.com")
    answers = [await show(world, address) for address in people] + [
        await save(world, address=address, name="X") for address in people
    ]
    for part in ("preferences", "preferences/garbage", "preferences/a/b", path(world) + "A"):
        answers += [await world.unsubscribe().handle(Request(method, part)) for method in ("GET", "POST")]
    assert {answer.status for answer in answers} == {404} and all(
        b"This link does not work any more" in one.body for one in answers
    )
    shown, posted = {one.body for one in answers if b"languages" in one.body}, {one.body for one in answers}
    assert len(posted) == 2 and len(shown) <= 2, "a page after a POST offers no other languages"
    assert world.versions() == before


@pytest.mark.parametrize(
    ("reason", "back"), [("unsubscribed", True), ("soft_bounces", True), ("complaint", False), ("hard_bounce", False)]
)
async def test_who_is_off_the_list_sees_that_and_does_not_come_back_by_it(world: World, reason: Any, back: bool) -> None:
    await world.add(ADDRESS, name="Ada", tags=["recipes"])
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), reason, "x", NOW))
    before = world.versions()
    for answer in (await show(world), await save(world, name="New", shown=ALL, topic__offers="1", do="resume")):
        page = answer.body.decode()
        assert answer.status == 200 and "You are off the list" in page and "a***@example.com" in page
        assert ('/subscribe">' in page) is back and "Ada" not in page and "<form" not in page
    assert world.versions() == before and not mailable(await world.subscriber(ADDRESS))


# --- saved ------------------------------------------------------------------------------------------------------------


async def test_it_saves_everything_with_its_evidence_in_one_commit(world: World) -> None:
    await world.add(ADDRESS, name="Ada", language="de", tags=["recipes", "vip"])
    before = world.store.operations.writes
    answer = await save(world, name=" Ada  L. ", language="fr", shown=ALL, topic__offers="1", frequency="monthly")
    page = answer.body.decode()
    assert world.store.operations.writes == before + 2
    assert answer.status == 200 and 'role="status"' in page and '<html lang="fr"' in page and ticked(page) == {"offers"}
    found = await world.subscriber(ADDRESS)
    assert (found["name"], found["language"], found["frequency"]) == ("Ada L.", "fr", "monthly")
    assert (found["tags"], found["segments"]) == (["vip", "offers"], ["everyone", "vip", "offers"])
    [kept] = await evidence(world)
    [id] = {choice["consent"] for choice in found["topics"].values()}
    assert found["topics"] == {
        "recipes": {"on": False, "at": NOW, "consent": id},
        "offers": {"on": True, "at": NOW, "consent": id},
    }
    assert kept["kind"] == "preferences" and kept["at"] == NOW and kept["source"] == "mail of C-0001"
    assert "Recipes: One a week." in kept["text"] and kept["text_version"] == text_version(kept["text"])
    assert (kept["network"], kept["agent"], kept["language"]) == ("203.0.113.0/24", "Browser/1", "de")
    assert kept["requested"]["topics"] == ["offers"] and kept["requested"]["offered"] == ["recipes", "offers"]
    assert "@" not in json.dumps(kept) and "203.0.113.77" not in json.dumps(kept)
    assert not in_segment(found, "recipes") and in_segment(found, "offers")


async def test_a_repeat_changes_nothing(world: World) -> None:
    await world.add(ADDRESS)
    fields = {"name": "Ada", "shown": ALL, "topic__recipes": "1", "frequency": "weekly", "do": "pause"}
    first = await save(world, **fields)
    before = world.versions()
    world.clock.advance(60_000)
    assert await save(world, **fields) == first and world.versions() == before


async def test_an_empty_post_changes_nothing(world: World) -> None:
    await world.add(ADDRESS, name="Ada", language="fr-CA", tags=["recipes"], frequency="weekly", paused_until=NOW + 5)
    before = world.versions()
    assert (await save(world)).status == 200
    assert world.versions() == before


async def test_a_choice_keeps_the_evidence_it_was_made_with(world: World) -> None:
    await world.add(ADDRESS)
    await save(world, shown=ALL, topic__recipes="1")
    first = (await world.subscriber(ADDRESS))["topics"]
    world.clock.advance(1000)
    await save(world, shown=ALL, topic__recipes="1", topic__offers="1")
    now = (await world.subscriber(ADDRESS))["topics"]
    assert now["recipes"] == first["recipes"] and now["offers"]["at"] == NOW + 1000 and len(await evidence(world)) == 2


async def test_a_topic_that_the_form_did_not_show_stays(world: World) -> None:
    await world.add(ADDRESS, tags=["offers"])
    await save(world, shown="recipes,stranger", topic__recipes="1", topic__stranger="1")
    found = await world.subscriber(ADDRESS)
    assert (found["tags"], set(found["topics"])) == (["offers", "recipes"], {"recipes"})


async def test_no_topic_at_all_is_not_leaving(world: World) -> None:
    await world.add(ADDRESS, tags=["recipes"])
    page = (await save(world, shown=ALL)).body.decode()
    found = await world.subscriber(ADDRESS)
    assert mailable(found) and found["segments"] == ["everyone"]
    assert "You have chosen no topic" in page
    leave = path(world).removeprefix("preferences/")
    assert f'action="https://news.example/unsubscribe/{leave}"' in page


async def test_a_pause_ends_by_itself_or_at_once(world: World) -> None:
    await world.add(ADDRESS)
    page = (await save(world, do="pause", frequency="weekly")).body.decode()
    found = await world.subscriber(ADDRESS)
    assert (found["paused_until"], found["frequency"]) == (NOW + PAUSE, "weekly")
    assert "You get no mails until 14 February 2027." in page and 'value="resume"' in page
    assert "14. Februar 2027" in (await show(world, lang="de")).body.decode()
    assert "You get no mails" not in (await save(world, do="resume")).body.decode()
    assert (await world.subscriber(ADDRESS))["paused_until"] == 0
    await save(world, do="pause")
    world.clock.advance(PAUSE)
    assert "You get no mails" not in (await show(world)).body.decode()
    await save(world, do="pause")
    assert (await world.subscriber(ADDRESS))["paused_until"] == NOW + 2 * PAUSE


@pytest.mark.parametrize(
    ("fields", "sentence", "marked"),
    [
        ({"name": "n" * 101}, "Please keep the name under 100 characters.", True),
        ({"name": "a\x07b"}, "The name holds characters that cannot be shown.", True),
        ({"language": "xx"}, "Please choose from what is offered.", False),
        ({"frequency": "hourly"}, "Please choose from what is offered.", False),
    ],
)
async def test_what_cannot_be_kept_is_told_and_the_form_stays_filled_in(
    world: World, fields: dict[str, str], sentence: str, marked: bool
) -> None:
    await world.add(ADDRESS, tags=["recipes"])
    before = world.versions()
    answer = await save(world, **{"shown": ALL, "topic__offers": "1", **fields})
    page = answer.body.decode()
    assert answer.status == 400 and f'role="alert" id="problem">{sentence}<' in page and world.versions() == before
    assert ticked(page) == {"offers"} and ("aria-invalid" in page) is marked


# --- races and faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["conflict", "refused", "lost"])
async def test_a_save_is_kept_once_whatever_becomes_of_the_answer(world: World, fault: Any) -> None:
    """conflict: applied, and told as a conflict."""
    await world.add(ADDRESS)
    faults = iter([fault])
    store = FaultyStore(world.store, lambda verb: next(faults, "") if verb == "commit" else "")
    try:
        await save(world, store, name="Ada")
    except Unavailable:
        assert fault != "conflict"
        await save(world, store, name="Ada")
    assert (await world.subscriber(ADDRESS))["name"] == "Ada" and len(await evidence(world)) == 1


async def test_somebody_who_leaves_meanwhile_has_left(world: World) -> None:
    await world.add(ADDRESS)

    class Leaving(FaultyStore):
        async def commit(self, writes: Any) -> list[str]:
            if not mailable(await world.subscriber(ADDRESS)):
                return await world.store.commit(writes)
            await world.store.commit(suppress(world.paths, world.sid(ADDRESS), "unsubscribed", "x", NOW))
            return await world.store.commit(writes)

    answer = await save(world, Leaving(world.store, lambda verb: ""), name="Ada", shown=ALL, topic__recipes="1")
    assert b"You are off the list" in answer.body
    found = await world.subscriber(ADDRESS)
    assert (found["suppressed"], found["segments"]) == (["unsubscribed"], []) and "name" not in found
    assert await evidence(world) == []


async def test_a_document_that_never_rests_is_unavailable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "BUDGET", 0.0)
    await world.add(ADDRESS)

    class Restless(FaultyStore):
        async def commit(self, writes: Any) -> list[str]:
            await world.store.commit([Merge(world.paths.subscriber(world.sid(ADDRESS)), {"engaged_at": world.clock.now()})])
            world.clock.advance(1)
            return await world.store.commit(writes)

    with pytest.raises(Unavailable):
        await save(world, Restless(world.store, lambda verb: ""), name="Ada")


# --- always -----------------------------------------------------------------------------------------------------------

_tags = st.lists(st.sampled_from(["recipes", "offers", "vip"]), unique=True)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(_tags, st.lists(st.dictionaries(st.sampled_from(["recipes", "offers"]), st.booleans()), max_size=4))
def test_tags_and_segments_follow_the_choices(tags: list[str], choices: list[dict[str, bool]]) -> None:
    held: dict[str, Any] = {"address": ADDRESS, "status": "confirmed", "tags": tags, "segments": ["by-rule"]}
    held["segments"] = segments_of(held)
    for n, topics in enumerate(choices):
        held |= changed(held, Choice("", "", topics, ""), NOW + n, f"c{n}")
        assert changed(held, Choice("", "", topics, ""), NOW + n, "again") == {}
        for tag, on in topics.items():
            assert wants(held, tag) is on is (tag in held["tags"]) is in_segment(held, tag)
        assert set(held["segments"]) == {"everyone", "by-rule", *held["tags"]} and len(held["tags"]) == len(set(held["tags"]))
        assert ("vip" in held["tags"]) is ("vip" in tags)


@pytest.mark.parametrize("language", sorted(languages.OWN))
async def test_each_page_stands_in_each_language_and_is_small(world: World, language: str) -> None:
    await world.add(ADDRESS)
    token = path(world).removeprefix("preferences/")
    step, query = world.unsubscribe(), {"lang": language}
    asked = [
        Request("GET", each, query)
        for each in ("", token, f"preferences/{token}", f"keep/{token}", f"export/{token}", f"erase/{token}", "erase/x")
    ]
    posted = [
        ("", "email=a@b.example"),
        (f"erase/{token}", ""),
        (f"reason/{token}", "reason=x"),
        (f"export/{token}", ""),
        (f"preferences/{token}", "do=pause"),
        (f"keep/{token}", ""),
    ]
    posted += [(token, "page=1"), (f"preferences/{token}", ""), (f"reason/{token}", "reason=many"), (f"erase/{token}", "sure=1")]
    asked += [Request("POST", each, query, FORM, body.encode()) for each, body in posted]
    for request in asked:
        page = (await step.handle(request)).body.decode()
        assert f'<html lang="{language}"' in page and len(page.encode()) < 20_000 and "<script" not in page
        title = re.search(r"<h1>(.+)</h1>", page)
        assert title and (language == "en" or PAGES.text("en", "leave.title") not in page)
        controls = re.findall(r"<(?:input|select|textarea)[^>]* id=\"([^\"]+)\"", page)
        assert all(f'<label for="{id}">' in page for id in controls)
