"""A mail that asks everybody again: who presses its button has agreed anew, with evidence, and can be mailed by that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.http import Request, Response
from shared.mail.compile import Recipient, compile
from shared.mail.source import Source
from shared.model.consent import text_version
from shared.model.erasure import erase
from shared.model.ref import MailRef
from shared.model.rules import parse
from shared.model.subscriber import in_segment, mailable, suppress
from shared.pages.faces import Shown

from .fakes import NOW, FaultyStore
from .world import TENANT, World

ADDRESS = "ada@example.com"
DAY = 86_400_000
TEMPLATE = b"---\nsubject: Shall we?\n---\n**[Yes]({{ reconsent_url }})** or [no]({{ unsubscribe_url }})\n"


def token(world: World, address: str = ADDRESS) -> str:
    return world.links.unsubscribe(MailRef("C-0001", world.sid(address))).rpartition("/")[2]


async def ask(world: World, method: str, store: Any = None, path: str = "", **headers: str) -> Response:
    asked = Request(method, path or f"keep/{token(world)}", {}, {"user-agent": "Browser/1", **headers}, client="203.0.113.77")
    return await world.unsubscribe(store).handle(asked)


async def evidence(world: World) -> list[dict[str, Any]]:
    return [found.data for found in await world.all(world.paths.consents(world.sid(ADDRESS)))]


async def test_the_link_of_a_mail_leads_to_the_page_and_is_not_counted(world: World) -> None:
    mail = compile(Source(name="ask.md", data=TEMPLATE, campaign="C-0001", identity=TENANT.identity), world.links)
    person = Recipient(MailRef("C-0001", world.sid(ADDRESS)), ADDRESS)
    text = mail.splice(person, "Mon, 23 Nov 2026 10:00:00 +0000").decode().replace("=\r\n", "")
    assert f"<https://news.example/unsubscribe/keep/{token(world)}>" in text and mail.links == []
    assert "https://news.example/unsubscribe" in mail.public().html and "/keep/" not in mail.public().html


async def test_the_page_asks_by_one_read_and_changes_nothing(world: World) -> None:
    await world.add(ADDRESS, language="de", consented_at=NOW - DAY)
    before, reads = world.versions(), world.store.operations.reads
    for method in ("GET", "HEAD"):
        answer = await ask(world, method)
        page = answer.body.decode()
        assert answer.status == 200 and '<form method="post"><button>Ja, ich bleibe dabei' in page and ADDRESS not in page
    assert world.versions() == before and world.store.operations.reads == reads + 2


async def test_the_button_keeps_that_they_agree_and_what_was_shown(world: World) -> None:
    await world.add(ADDRESS, consented_at=NOW - DAY, tags=["vip"])
    before, writes = await world.subscriber(ADDRESS), world.store.operations.writes
    answer = await ask(world, "POST")
    assert answer.status == 200 and b"You stay on the list" in answer.body and b"<button" not in answer.body
    assert world.store.operations.writes == writes + 2
    assert await world.subscriber(ADDRESS) == {**before, "consented_at": NOW}
    [kept] = await evidence(world)
    assert {name: kept[name] for name in ("at", "kind", "source", "page", "language", "network", "agent")} == {
        "at": NOW,
        "kind": "re-consent",
        "source": "mail of C-0001",
        "page": "https://news.example/unsubscribe/keep",
        "language": "en",
        "network": "203.0.113.0/24",
        "agent": "Browser/1",
    }
    title, intro, button = kept["text"].split("\n")
    assert (title, button) == ("Keep getting our mail?", "Yes, keep me on the list") and intro.startswith("Press the button")
    assert kept["text_version"] == text_version(kept["text"]) and "203.0.113.77" not in json.dumps(kept)


async def test_the_evidence_has_the_tenants_own_words_where_a_file_replaces_ours(world: World) -> None:
    own = {"title": "Bleiben Sie?", "html": "<p>Nur <strong>ein</strong> Klick &amp; fertig.</p>"}
    world.faces.shown = Shown(TENANT, {"keep": {"de": own}})
    await world.add(ADDRESS, language="de")
    assert b"Nur <strong>ein</strong> Klick" in (await ask(world, "GET")).body
    await ask(world, "POST")
    [kept] = await evidence(world)
    assert kept["text"] == "Bleiben Sie?\nNur ein Klick & fertig.\nJa, ich bleibe dabei" and kept["language"] == "de"


async def test_again_on_the_same_day_writes_nothing_and_on_the_next_it_does(world: World) -> None:
    await world.add(ADDRESS)
    first = await ask(world, "POST")
    before = world.versions()
    world.clock.advance(1000)
    assert await ask(world, "POST") == first and world.versions() == before
    world.clock.advance(DAY)
    await ask(world, "POST")
    assert (await world.subscriber(ADDRESS))["consented_at"] == NOW + DAY + 1000 and len(await evidence(world)) == 2


async def test_who_was_imported_on_the_same_day_agrees_by_it_all_the_same(world: World) -> None:
    await world.add(ADDRESS, consented_at=NOW - 1000)
    await ask(world, "POST")
    assert (await world.subscriber(ADDRESS))["consented_at"] == NOW and len(await evidence(world)) == 1


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("unsubscribed", "To come back, sign up again"),
        ("soft_bounces", "To come back, sign up again"),
        ("complaint", "rejected or reported"),
        ("hard_bounce", "rejected or reported"),
    ],
)
async def test_it_brings_nobody_back(world: World, reason: Any, says: str) -> None:
    await world.add(ADDRESS)
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), reason, "x", NOW))
    before = world.versions()
    for method in ("GET", "POST"):
        answer = await ask(world, method)
        assert says in answer.body.decode() and b"<form" not in answer.body
    assert world.versions() == before and not mailable(await world.subscriber(ADDRESS))


async def test_erased_unknown_and_forged_get_the_page_of_a_dead_link(world: World) -> None:
    await world.add(ADDRESS)
    await erase(world.store, world.paths, world.sid(ADDRESS), "x", NOW)
    before = world.versions()
    paths = (f"keep/{token(world)}", f"keep/{token(world, 'ghost@example.com')}", "keep/garbage", "keep", f"keep/{token(world)}A")
    answers = [await ask(world, method, path=path) for path in paths for method in ("GET", "POST")]
    assert {answer.status for answer in answers} == {404} and all(b'/subscribe">' in answer.body for answer in answers)
    assert world.versions() == before


async def test_another_site_cannot_press_the_button(world: World) -> None:
    await world.add(ADDRESS)
    before = world.versions()
    assert (await ask(world, "POST", **{"sec-fetch-site": "cross-site"})).status == 403 and world.versions() == before


@pytest.mark.parametrize("fault", ["conflict", "refused", "lost"])
async def test_it_is_kept_once_whatever_becomes_of_the_answer(world: World, fault: Any) -> None:
    """conflict: applied, and told as a conflict."""
    await world.add(ADDRESS)
    faults = iter([fault])
    store = FaultyStore(world.store, lambda verb: next(faults, "") if verb == "commit" else "")
    try:
        await ask(world, "POST", store)
    except Unavailable:
        assert fault != "conflict"
        await ask(world, "POST", store)
    assert (await world.subscriber(ADDRESS))["consented_at"] == NOW and len(await evidence(world)) == 1


async def test_somebody_who_leaves_meanwhile_has_left(world: World) -> None:
    await world.add(ADDRESS)

    class Leaving(FaultyStore):
        async def commit(self, writes: Any) -> list[str]:
            await world.store.commit(suppress(world.paths, world.sid(ADDRESS), "unsubscribed", "x", NOW))
            return await world.store.commit(writes)

    answer = await ask(world, "POST", Leaving(world.store, lambda verb: ""))
    assert b"You are off the list" in answer.body and await evidence(world) == []
    assert "consented_at" not in await world.subscriber(ADDRESS)


async def test_a_segment_finds_who_agreed_since_and_who_did_not(world: World) -> None:
    for address in ("yes@example.com", "no@example.com"):
        await world.add(address, consented_at=NOW - 100 * DAY)
    await ask(world, "POST", path=f"keep/{token(world, 'yes@example.com')}")
    later = NOW + 14 * DAY
    agreed, rest = parse("agreed since 2027-01-15"), parse("not agreed in the last 30 days")
    yes, no = await world.subscriber("yes@example.com"), await world.subscriber("no@example.com")
    assert [in_segment(one, "x", agreed, later) for one in (yes, no)] == [True, False]
    assert [in_segment(one, "x", rest, later) for one in (yes, no)] == [False, True]
    assert not in_segment(left(yes), "x", agreed, later)


def left(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "suppressed": ["unsubscribed"]}
