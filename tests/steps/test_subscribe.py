"""Sign-up, confirmation and health, on a real store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.errors import Unavailable
from shared.http import Request, Response
from shared.model.face import ANY
from shared.model.ref import MailRef
from shared.model.subscriber import country_of, suppress
from shared.ports import Create, Delete, Location, Merge

from .fakes import DAY, NOW, FaultyStore, nth
from .world import PROOF, World

ADDRESS = "ada@example.com"
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def open_tags(world: World) -> None:
    """Any tag goes here: which ones do is another file's matter (test_sign_up_tags.py)."""
    world.let_sign_ups_set(ANY)


def form(client: str = "203.0.113.77", **fields: str) -> Request:
    return Request("POST", headers={**FORM, "user-agent": "Browser/1"}, body=urlencode(PROOF | fields).encode(), client=client)


def post(body: Any) -> Request:
    return Request("POST", headers=JSON, body=body if isinstance(body, bytes) else json.dumps(body).encode())


async def sign_up(world: World, address: str = ADDRESS, **fields: str) -> str:
    """Sign up, and the path of the confirmation link."""
    await world.subscribe().handle(form(email=address, **fields))
    [message] = world.bus.take("send-requests")
    key = message["batch"].partition(".")[2]
    url = world.links.confirm(world.sid(address), message["consent"], key, world.clock.now() + 7 * DAY)
    return url.partition("/subscribe/")[2]


async def confirm(world: World, path: str, method: str = "POST") -> Response:
    return await world.subscribe().handle(
        Request(method, path, headers={**FORM, "user-agent": "Reader/1"}, client="2001:db8:1:2::3")
    )


async def test_a_form_leaves_evidence_a_pending_subscriber_and_one_request(world: World) -> None:
    answer = await world.subscribe().handle(form(email=" Ada@EXAMPLE.com ", name=" Ada  L ", tags="vip; news", language="pt-BR"))
    assert answer.status == 200 and b"Check your mail" in answer.body
    assert "Ada" not in answer.body.decode()
    sid = world.sid(ADDRESS)
    [consent] = await world.all(f"{world.paths.subscriber(sid)}/consents")
    text = consent.data["text"]
    assert text.startswith("News by mail\n") and text.endswith("you can leave with one click in every mail.")
    requested = {"name": "Ada L", "language": "pt-BR", "country": "", "tags": ["vip", "news"], "topics": []}
    assert consent.data == {
        "kind": "sign-up",
        "at": NOW,
        "text": text,
        "text_version": hashlib.sha256(text.encode()).hexdigest()[:12],
        "page": "https://news.example/subscribe",
        "language": "en",
        "source": "form",
        "network": "203.0.113.0/24",
        "agent": "Browser/1",
        "located": {},
        "requested": requested,
    }
    wanted = {**requested, "consent": consent.id, "located": {}, "at": NOW}
    assert await world.subscriber(ADDRESS) == {
        "asked": "Ada@example.com",
        "asked_at": NOW,
        "wanted": wanted,
        "created_at": NOW,
    }
    request = {"campaign": "confirm", "batch": f"{sid}.{NOW // DAY}", "consent": consent.id}
    assert world.bus.messages == [("send-requests", request)]


async def test_json_is_accepted_too(world: World) -> None:
    answer = await world.subscribe().handle(post({"email": ADDRESS, "tags": "vip", "name": None}))
    assert answer.status == 202 and json.loads(answer.body)["accepted"] is True
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert consent.data["source"] == "api" and consent.data["requested"]["tags"] == ["vip"]


BAD: list[tuple[dict[str, str], str]] = [
    ({}, "Please give an e-mail address."),
    ({"email": "  "}, "Please give an e-mail address."),
    ({"email": "ada"}, "not an e-mail address"),
    ({"email": "ada@"}, "not an e-mail address"),
    ({"email": "a b@example.com"}, "not an e-mail address"),
    ({"email": "ada@example.com, bob@example.com"}, "not an e-mail address"),
    ({"email": "ada@example.com\nBcc: x@example.com"}, "not an e-mail address"),
    ({"email": "Ada <ada@example.com>"}, "not an e-mail address"),
    ({"email": "дa@example.com"}, "not an e-mail address"),
    ({"email": "a" * 65 + "@example.com"}, "not an e-mail address"),
    ({"email": ADDRESS, "name": "x" * 101}, "name under 100"),
    ({"email": ADDRESS, "name": "a\x00b"}, "characters that cannot be shown"),
    ({"email": ADDRESS, "name": "a\u202eb"}, "characters that cannot be shown"),
    ({"email": ADDRESS, "language": "en_US!"}, "language must be a code"),
    ({"email": ADDRESS, "country": "Germany"}, "country must be a code of two letters"),
    ({"email": ADDRESS, "country": "xx"}, "country must be a code of two letters"),
]


@pytest.mark.parametrize(("fields", "sentence"), BAD)
async def test_bad_fields_get_one_sentence_and_store_nothing(
    world: World, fields: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await world.subscribe().handle(form(**fields))
    assert answer.status == 400
    assert answer.body.decode().count('role="alert"') == 1 and sentence in answer.body.decode()
    answer = await world.subscribe().handle(post(fields))
    assert answer.status == 400
    told = json.loads(answer.body)
    assert sentence in told["error"] and told["field"] in ("email", "name", "language", "country")
    assert "\n" not in told["error"]
    assert world.versions() == {} and world.bus.messages == []
    assert "example.com" not in capsys.readouterr().out


@pytest.mark.parametrize("body", [b"[]", b"\xff", b"{", b"3", b'{"email": "\\ud800@example.com"}', b"[" * 100_000])
async def test_a_body_that_cannot_be_read_is_a_sentence(world: World, body: bytes) -> None:
    answer = await world.subscribe().handle(post(body))
    assert answer.status == 400 and json.loads(answer.body)["error"].endswith(".")
    assert world.versions() == {}


async def test_what_was_typed_is_shown_again_inert(world: World) -> None:
    answer = await world.subscribe().handle(form(email='"><script>alert(1)</script>'))
    assert b"<script" not in answer.body and b"&lt;script&gt;" in answer.body


async def test_new_known_and_suppressed_addresses_get_the_same_answer(world: World) -> None:
    await world.add("known@example.com")
    await world.store.commit(suppress(world.paths, world.sid("left@example.com"), "unsubscribed", "x", NOW))
    await world.store.commit(suppress(world.paths, world.sid("angry@example.com"), "complaint", "x", NOW))
    people = [f"{name}@example.com" for name in ("new", "new", "known", "left", "angry")]
    for requests in ([form(email=address) for address in people], [post({"email": address}) for address in people]):
        answers = [await world.subscribe().handle(request) for request in requests]
        assert all(answer == answers[0] for answer in answers)
        assert answers[0].status in (200, 202)
    assert len(world.bus.take("send-requests")) == 10


async def test_a_sign_up_changes_nothing_for_somebody_suppressed_or_confirmed(world: World) -> None:
    await world.add("known@example.com", name="Known", tags=["vip"])
    before = await world.subscriber("known@example.com")
    await world.subscribe().handle(form(email="known@example.com", name="Mallory", tags="spam"))
    after = await world.subscriber("known@example.com")
    assert after.pop("wanted")["name"] == "Mallory"  # which nobody is called by before it is confirmed
    assert after == before | {"asked": "known@example.com", "asked_at": NOW}


async def test_a_sign_up_in_other_letters_respells_nobody_until_it_is_confirmed(world: World) -> None:
    await world.add(ADDRESS)
    path = await sign_up(world, "ADA@example.com")
    assert (await world.subscriber(ADDRESS))["address"] == ADDRESS
    await confirm(world, path)
    assert (await world.subscriber(ADDRESS))["address"] == "ADA@example.com"


async def test_a_failed_publish_is_unavailable_and_a_repeat_is_harmless(world: World) -> None:
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await world.subscribe().handle(form(email=ADDRESS))
    world.bus.failing = False
    path = await sign_up(world)
    assert (await confirm(world, path)).status == 200
    assert (await world.subscriber(ADDRESS))["status"] == "confirmed"
    assert len(await world.all(world.paths.subscribers)) == 1


async def test_a_failed_write_publishes_nothing(world: World) -> None:
    with pytest.raises(Unavailable):
        await world.subscribe(FaultyStore(world.store, nth(0, "refused"))).handle(form(email=ADDRESS))
    assert world.bus.calls == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_opening_the_confirm_link_changes_nothing(world: World, method: str) -> None:
    path = await sign_up(world)
    before = world.versions()
    answer = await confirm(world, path, method)
    assert answer.status == 200 and b'<form method="post">' in answer.body
    assert world.versions() == before and world.bus.messages == []


async def test_confirming_makes_mailable_with_what_was_asked_for(world: World) -> None:
    path = await sign_up(world, name="Ada", tags="vip", language="pt")
    world.clock.advance(5)
    assert b"You are on the list" in (await confirm(world, path)).body
    found = await world.subscriber(ADDRESS)
    sid = world.sid(ADDRESS)
    [consent] = await world.all(f"{world.paths.subscriber(sid)}/consents")
    message = world.links.message_id(MailRef("confirm", sid, f"{NOW // DAY}"), "news.brand.example")
    assert found == {
        "address": ADDRESS,
        "asked": ADDRESS,
        "created_at": NOW,
        "status": "confirmed",
        "suppressed": [],
        "confirmed_at": NOW + 5,
        "consented_at": NOW + 5,
        "consent": consent.id,
        "tags": ["vip"],
        "segments": ["everyone", "vip"],
        "name": "Ada",
        "language": "pt",
        "asked_at": None,
        "wanted": None,
        "confirmations": {consent.id: {"at": NOW + 5, "network": "2001:db8:1::/56", "agent": "Reader/1", "message": message}},
    }
    assert world.bus.take("send-requests") == [{"campaign": "welcome", "batch": f"{sid}.{consent.id}"}]


async def test_confirming_twice_is_confirming_once(world: World) -> None:
    path = await sign_up(world)
    first = await confirm(world, path)
    before = world.versions()
    world.clock.advance(1000)
    assert await confirm(world, path) == first
    assert world.versions() == before
    welcomes = world.bus.take("send-requests")
    assert len(welcomes) == 2 and welcomes[0] == welcomes[1]  # one batch, which is sent once


async def test_confirming_a_second_sign_up_keeps_since_when_and_welcomes_nobody_again(world: World) -> None:
    first = await sign_up(world)
    await confirm(world, first)
    before, [welcome] = await world.subscriber(ADDRESS), world.bus.take("send-requests")
    world.clock.advance(1000)
    second = await sign_up(world, tags="vip")
    for _ in range(2):
        answer = await confirm(world, second)
        assert b"You are on the list" in answer.body and b"welcome is on its way" not in answer.body
        assert world.bus.messages == []
    after = await world.subscriber(ADDRESS)
    assert (after["confirmed_at"], after["consent"]) == (NOW, before["consent"]) and after["segments"] == ["everyone", "vip"]
    await confirm(world, first)
    assert world.bus.take("send-requests") == [welcome]


async def test_a_page_credits_the_country_data_and_loads_nothing_from_elsewhere(world: World) -> None:
    page = (await world.subscribe().handle(Request("GET"))).body.decode()
    assert "nro.net" in page and 'href="https://creativecommons.org/licenses/by/4.0/"' in page
    assert "src=" not in page and re.findall(r'<link [^>]*href="([^"]*)"', page) == ["data:,"]


LISBON = Location("PT", "Lisbon", "Europe/Lisbon")
HERE = "203.0.113.77"  # where `form` comes from


async def test_a_sign_up_is_located_in_its_evidence_and_on_the_subscriber_once_confirmed(world: World) -> None:
    world.geo.places[HERE] = LISBON
    path = await sign_up(world)
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert consent.data["located"] == {"country": "PT", "city": "Lisbon", "zone": "Europe/Lisbon"}
    assert "located" not in await world.subscriber(ADDRESS)
    world.clock.advance(1000)
    await confirm(world, path)
    found = await world.subscriber(ADDRESS)
    assert found["located"] == {"country": "PT", "city": "Lisbon", "zone": "Europe/Lisbon", "at": NOW, "seen": {"PT": NOW}}
    assert "country" not in found and country_of(found) == "PT"
    assert world.geo.asked == [HERE]  # neither the confirmation nor its page


async def test_somebody_elses_sign_up_moves_no_subscriber(world: World) -> None:
    await world.add(ADDRESS, located={"country": "DE", "at": NOW - 9, "seen": {"DE": NOW - 9}}, country="AT")
    before = await world.subscriber(ADDRESS)
    world.geo.places[HERE] = LISBON
    await sign_up(world, country="FR")
    after = await world.subscriber(ADDRESS)
    assert after.pop("wanted")["country"] == "FR"
    assert after == before | {"asked": ADDRESS, "asked_at": NOW}


async def test_a_declared_country_is_kept_whatever_is_located(world: World) -> None:
    world.geo.places[HERE] = LISBON
    path = await sign_up(world, country=" de ")
    assert "country" not in await world.subscriber(ADDRESS)
    await confirm(world, path)
    found = await world.subscriber(ADDRESS)
    assert (found["country"], found["located"]["country"], country_of(found)) == ("DE", "PT", "DE")
    world.bus.messages.clear()
    world.geo.places[HERE] = Location("BR")
    await confirm(world, await sign_up(world))  # says nothing of a country
    assert (await world.subscriber(ADDRESS))["country"] == "DE"
    await confirm(world, await sign_up(world, country="FR"))
    assert (await world.subscriber(ADDRESS))["country"] == "FR"


async def test_the_latest_sign_up_counts_in_whatever_order_they_are_confirmed(world: World) -> None:
    world.geo.places[HERE] = LISBON
    first = await sign_up(world)
    world.clock.advance(1000)
    world.geo.places[HERE] = Location("BR", "", "America/Sao_Paulo")
    second = await sign_up(world)
    await confirm(world, second)
    await confirm(world, first)
    seen = {"PT": NOW, "BR": NOW + 1000}
    assert (await world.subscriber(ADDRESS))["located"] == {
        "country": "BR",
        "zone": "America/Sao_Paulo",
        "at": NOW + 1000,
        "seen": seen,
    }


async def test_a_sign_up_from_nowhere_keeps_what_was_located(world: World) -> None:
    located = {"seen": {"DE": NOW - 9}}
    await world.add(ADDRESS, located=located)
    await confirm(world, await sign_up(world))
    assert (await world.subscriber(ADDRESS))["located"] == located


async def test_a_sign_up_costs_two_writes_and_no_read(world: World) -> None:
    world.geo.places[HERE] = LISBON
    before = replace(world.store.operations)
    await world.subscribe().handle(form(email=ADDRESS, country="DE"))
    after = world.store.operations
    assert (after.reads - before.reads, after.writes - before.writes) == (0, 2)


async def test_a_confirmation_costs_one_read_and_one_write(world: World) -> None:
    path = await sign_up(world, name="Ada", tags="vip")
    before = replace(world.store.operations)
    await confirm(world, path)
    after = world.store.operations
    assert (after.reads - before.reads, after.writes - before.writes) == (1, 1)


async def test_a_confirmation_that_another_sign_up_overtook_reads_its_evidence_and_does_what_was_asked_then(world: World) -> None:
    path = await sign_up(world, name="Ada", tags="vip")
    await sign_up(world, name="Mallory", tags="spam")
    before = replace(world.store.operations)
    await confirm(world, path)
    after = replace(world.store.operations)
    assert (after.reads - before.reads, after.writes - before.writes) == (2, 1)
    found = await world.subscriber(ADDRESS)
    assert (found["name"], found["tags"]) == ("Ada", ["vip"])


async def test_coming_back_is_joining_again(world: World) -> None:
    await confirm(world, await sign_up(world))
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), "unsubscribed", "x", NOW))
    world.bus.messages.clear()
    world.clock.advance(1000)
    path = await sign_up(world)
    await confirm(world, path)
    assert (await world.subscriber(ADDRESS))["confirmed_at"] == NOW + 1000
    assert [message["campaign"] for message in world.bus.take("send-requests")] == ["welcome"]


@pytest.mark.parametrize("fault", ["lost", "conflict"])
async def test_a_confirmation_whose_reply_was_lost_is_recognised(world: World, fault: Any) -> None:
    path = await sign_up(world)
    step = world.subscribe(FaultyStore(world.store, nth(0, fault)))
    if fault == "lost":
        with pytest.raises(Unavailable):
            await step.handle(Request("POST", path))
    assert (await step.handle(Request("POST", path))).status == 200
    assert (await world.subscriber(ADDRESS))["segments"] == ["everyone"]


async def test_a_failed_welcome_publish_is_unavailable_and_a_repeat_asks_again(world: World) -> None:
    path = await sign_up(world)
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await confirm(world, path)
    world.bus.failing = False
    await confirm(world, path)
    assert len(world.bus.take("send-requests")) == 1


async def test_an_expired_forged_or_foreign_link_confirms_nothing(world: World) -> None:
    path = await sign_up(world)
    nobody = world.links.confirm("0" * 32, "c" * 16, "1", NOW + DAY).partition("/subscribe/")[2]
    before = world.versions()
    for wrong in ("confirm/", "confirm/x", path[:-3], path + "A", nobody):
        assert (await confirm(world, wrong)).status == 404
    world.clock.advance(7 * DAY + 1000)
    for method in ("GET", "POST"):
        answer = await confirm(world, path, method)
        assert answer.status == 404 and b"too old" in answer.body
    assert world.versions() == before and world.bus.messages == []


async def test_a_new_consent_lifts_only_unsubscribed(world: World) -> None:
    sid = world.sid(ADDRESS)
    await world.add(ADDRESS, tags=["vip"])
    await world.store.commit(suppress(world.paths, sid, "unsubscribed", "x", NOW))
    await confirm(world, await sign_up(world, tags="news"))
    found = await world.subscriber(ADDRESS)
    assert (found["suppressed"], found["segments"]) == ([], ["everyone", "vip", "news"])
    assert await world.store.get(world.paths.suppression(sid)) is None


@pytest.mark.parametrize("reason", ["complaint", "hard_bounce"])
@pytest.mark.parametrize("also", [False, True])
async def test_a_new_consent_never_lifts_a_complaint_or_bounce(world: World, reason: Any, also: bool) -> None:
    sid = world.sid(ADDRESS)
    await world.store.commit(suppress(world.paths, sid, reason, "x", NOW))
    if also:
        await world.store.commit(suppress(world.paths, sid, "unsubscribed", "x", NOW))
    path = await sign_up(world)
    before = world.versions()
    assert b"cannot mail this address" in (await confirm(world, path)).body
    assert world.versions() == before and world.bus.messages == []


async def test_a_complaint_that_races_with_the_confirmation_wins(world: World) -> None:
    path = await sign_up(world)
    sid = world.sid(ADDRESS)

    class Racing(FaultyStore):
        async def commit(self, writes: Any) -> list[str]:
            await world.store.commit(suppress(world.paths, sid, "complaint", "x", NOW))
            return await super().commit(writes)

    answer = await world.subscribe(Racing(world.store, lambda verb: "")).handle(Request("POST", path))
    assert b"cannot mail this address" in answer.body
    assert (await world.subscriber(ADDRESS))["suppressed"] == ["complaint"]


async def test_a_new_consent_lifts_an_erasure_and_an_older_one_does_not(world: World) -> None:
    path = await sign_up(world)
    subscriber, suppression = world.paths.subscriber(world.sid(ADDRESS)), world.paths.suppression(world.sid(ADDRESS))
    world.clock.advance(1000)
    gone: list[Any] = [Delete(subscriber), Create(suppression, {"reasons": ["erased"], "erased_at": NOW + 1000})]
    await world.store.commit(gone)
    await world.store.commit([Create(subscriber, {"suppressed": ["erased"], "segments": []})])
    before = world.versions()
    assert (await confirm(world, path)).status == 404
    assert world.versions() == before and world.bus.messages == []
    await sign_up(world, name="Ada")
    assert (await confirm(world, path)).status == 404  # its evidence may still be there for some minutes
    world.clock.advance(1000)
    assert (await confirm(world, await sign_up(world, name="Ada"))).status == 200
    found = await world.subscriber(ADDRESS)
    assert (found["suppressed"], found["segments"], found["name"]) == ([], ["everyone"], "Ada")
    assert await world.store.get(suppression) is None


async def test_an_old_link_does_not_bring_back_somebody_who_left_since(world: World) -> None:
    path = await sign_up(world)
    await confirm(world, path)
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), "unsubscribed", "x", NOW))
    world.bus.messages.clear()
    answer = await confirm(world, path)
    assert b"You are on the list" not in answer.body and b"Sign up again" in answer.body
    assert (await world.subscriber(ADDRESS))["segments"] == [] and world.bus.messages == []


async def test_a_link_asked_for_before_leaving_does_not_bring_back(world: World) -> None:
    await world.add(ADDRESS)
    path = await sign_up(world)
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), "unsubscribed", "x", NOW + 1))
    before = world.versions()
    world.clock.advance(1000)
    answer = await confirm(world, path)
    assert answer.status == 404 and b"Sign up again" in answer.body
    assert world.versions() == before and world.bus.messages == []
    assert (await confirm(world, await sign_up(world))).status == 200  # asked for after leaving
    assert (await world.subscriber(ADDRESS))["segments"] == ["everyone"]


async def test_who_leaves_again_is_not_brought_back_by_what_they_asked_for_in_between(world: World) -> None:
    await world.add(ADDRESS)
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), "unsubscribed", "x", world.clock.now()))
    world.clock.advance(1000)
    path = await sign_up(world)
    world.clock.advance(1000)
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), "unsubscribed", "y", world.clock.now()))
    assert (await confirm(world, path)).status == 404
    assert (await world.subscriber(ADDRESS))["suppressed"] == ["unsubscribed"]


async def test_a_name_may_hold_joiners(world: World) -> None:
    name = "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"  # Alireza, as Persian spells it
    await confirm(world, await sign_up(world, name=name))
    assert (await world.subscriber(ADDRESS))["name"] == name


async def test_health_names_what_fails(world: World) -> None:
    async def health(step: Any) -> tuple[int, dict[str, str]]:
        answer = await step.handle(Request("GET", "health"))
        return answer.status, json.loads(answer.body)

    assert await health(world.subscribe()) == (200, {"store": "ok", "bus": "ok"})
    broken = world.subscribe(FaultyStore(world.store, lambda verb: "refused"))
    assert await health(broken) == (503, {"store": "failing", "bus": "ok"})
    world.bus.failing = True
    assert await health(world.subscribe()) == (503, {"store": "ok", "bus": "failing"})


async def test_health_asks_once_in_five_seconds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    get, check = world.store.get, world.bus.check

    async def counted_get(*given: Any) -> Any:
        asked.append("store")
        await asyncio.sleep(0)
        return await get(*given)

    async def counted_check() -> None:
        asked.append("bus")
        await check()

    monkeypatch.setattr(world.store, "get", counted_get)
    monkeypatch.setattr(world.bus, "check", counted_check)
    step = world.subscribe()

    async def statuses(hits: int) -> set[int]:
        return {answer.status for answer in await asyncio.gather(*(step.handle(Request("GET", "health")) for _ in range(hits)))}

    assert await statuses(20) == {200} and asked == ["store", "bus"]
    world.bus.failing = True
    world.clock.advance(4_999)
    assert await statuses(3) == {200} and asked == ["store", "bus"]
    world.clock.advance(1)
    assert await statuses(3) == {503} and asked == ["store", "bus"] * 2
    world.bus.failing = False
    assert await statuses(3) == {503} and len(asked) == 4  # a failure is kept as long
    world.clock.advance(-60_000)  # a clock that was set back keeps no answer
    assert await statuses(1) == {200}


async def test_a_consent_of_before_readers_were_located_confirms(world: World) -> None:
    token = await sign_up(world)
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    old = {**consent.data, "requested": {"name": "Ada", "language": "", "tags": []}}
    del old["located"]
    await world.store.commit([Delete(consent.path)])
    await world.store.commit([Create(consent.path, old), Merge(world.paths.subscriber(world.sid(ADDRESS)), {"wanted": None})])
    assert (await confirm(world, token)).status == 200
    found = await world.subscriber(ADDRESS)
    assert (found["status"], found["name"]) == ("confirmed", "Ada")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "", 405), ("DELETE", "confirm/x", 405), ("POST", "health", 405), ("GET", "nothing", 404), ("GET", "", 200)],
)
async def test_other_methods_and_pages(world: World, method: str, path: str, status: int) -> None:
    assert (await world.subscribe().handle(Request(method, path))).status == status
    assert world.versions() == {}
