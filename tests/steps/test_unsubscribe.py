"""Leaving, why, access by address, and a reader's rights: replays and strangers' tokens answered alike, committed before anything else."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from functions.unsubscribe import rights
from shared.errors import Unavailable
from shared.http import Request, Response
from shared.model import batch, erasure
from shared.model.paths import ACCESS, EXPORT
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Merge

from .fakes import DAY, NOW, FakeSecrets, FaultyStore
from .world import PROOF, World

ADDRESS = "ada@example.com"
FORM = "application/x-www-form-urlencoded"
URLENCODED = ({"content-type": FORM}, b"List-Unsubscribe=One-Click")
MULTIPART = (
    {"content-type": "multipart/form-data; boundary=b"},
    b'--b\r\ncontent-disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
)
BUTTON = ({"content-type": FORM}, b"page=1")


def token(world: World, address: str = ADDRESS, campaign: str = "C-0001") -> str:
    return world.links.unsubscribe(MailRef(campaign, world.sid(address))).rpartition("/")[2]


async def leave(world: World, path: str, body: Any = URLENCODED, store: Any = None) -> Response:
    return await world.unsubscribe(store).handle(Request("POST", path, headers=body[0], body=body[1]))


async def get(world: World, path: str, method: str = "GET", **headers: str) -> Response:
    return await world.unsubscribe().handle(Request(method, path, headers=headers))


async def post(world: World, path: str, store: Any = None, headers: Any = None, **fields: Any) -> Response:
    sent = {"content-type": FORM, **(headers or {})}
    return await world.unsubscribe(store).handle(Request("POST", path, headers=sent, body=urlencode(fields).encode()))


def plain(answer: Response, *paths: str) -> bytes:
    """A page without the link that it was asked for by."""
    body = answer.body
    for path in paths:
        body = body.replace(path.encode(), b"")
    return body


# --- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [URLENCODED, MULTIPART, ({}, b""), ({}, b"\xff\xfe"), BUTTON])
async def test_a_post_suppresses_at_once_and_tells_record(world: World, body: Any) -> None:
    await world.add(ADDRESS, tags=["vip"])
    answer = await leave(world, token(world), body)
    assert answer.status == 200 and b"You are unsubscribed" in answer.body
    assert not {"set-cookie", "location"} & {name.lower() for name in answer.headers}
    found = await world.subscriber(ADDRESS)
    assert (found["suppressed"], found["segments"], found["tags"]) == (["unsubscribed"], [], ["vip"])
    assert await world.data(world.paths.suppression(world.sid(ADDRESS))) == {
        "reasons": ["unsubscribed"],
        "unsubscribed_at": NOW,
        "unsubscribed_sources": ["mail of C-0001"],
        "left_at": NOW,
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
    answers = [await leave(world, path) for path in (track, good + "A", good[:-1], "garbage", "a/b", "\u2603")]
    assert all(answer == first for answer in answers)
    assert world.versions() == before
    assert await leave(world, good) == first
    state = await world.data(world.paths.suppression(world.sid(ADDRESS)))
    assert (state["unsubscribed_at"], state["reasons"]) == (NOW, ["unsubscribed"])


async def test_the_button_on_the_page_is_asked_why_whatever_its_token(world: World) -> None:
    good = token(world)
    own, stranger = await leave(world, good, BUTTON), await leave(world, "garbage", BUTTON)
    assert plain(own, good) == plain(stranger, "garbage") and own.headers == stranger.headers
    assert f'action="{world.unsubscribe().base}/unsubscribe/reason/{good}"'.encode() in own.body


async def test_a_click_token_cannot_unsubscribe(world: World) -> None:
    await world.add(ADDRESS)
    await leave(world, world.links.track_token(MailRef("C-0001", world.sid(ADDRESS))))
    assert "suppressed" not in await world.subscriber(ADDRESS)
    assert world.bus.messages == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("part", ["", "reason/"])
async def test_a_get_only_asks(world: World, method: str, part: str) -> None:
    await world.add(ADDRESS)
    before, reads = world.versions(), world.store.operations.reads
    good = token(world)
    own, stranger = [await get(world, part + path, method) for path in (good, "garbage")]
    assert plain(own, good) == plain(stranger, "garbage") and own.status == 200
    assert (f' action="https://news.example/unsubscribe/{good}"' if part else '<form method="post">').encode() in own.body
    assert world.versions() == before and world.bus.messages == [] and world.store.operations.reads == reads


async def test_what_stands_in_a_link_is_escaped_and_cut(world: World) -> None:
    answer = await get(world, '"><script>x</script>' + "y" * 5000)
    assert b"<script" not in answer.body and len(answer.body) < 20_000


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


@pytest.mark.parametrize("part", ["", "preferences/", "reason/", "export/", "erase/"])
async def test_other_methods(world: World, part: str) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await world.unsubscribe().handle(Request(method, part + token(world)))).status == 405
    assert world.versions() == {}


@pytest.mark.parametrize("part", ["preferences/", "reason/", "export/", "erase/", ""])
async def test_another_sites_form_changes_nothing_except_one_click(world: World, part: str) -> None:
    await world.add(ADDRESS)
    await leave(world, token(world, "bob@example.com"))
    before, fields = world.versions(), {"reason": "many", "name": "X", "sure": "1", "email": ADDRESS, **PROOF}
    path = f"{part}{token(world)}" if part else ""
    answer = await post(world, path, headers={"sec-fetch-site": "cross-site"}, **fields)
    assert answer.status == 403 and world.versions() == before
    assert world.bus.take(batch.TOPIC) == []
    assert (await post(world, token(world), headers={"sec-fetch-site": "cross-site"})).status == 200
    assert (await world.subscriber(ADDRESS))["suppressed"] == ["unsubscribed"]


# --- why --------------------------------------------------------------------------------------------------------------


async def why(world: World, address: str = ADDRESS) -> Any:
    return (await world.data(world.paths.suppression(world.sid(address)))).get("why")


async def test_one_reason_is_kept_with_its_words(world: World) -> None:
    await world.add(ADDRESS)
    await leave(world, token(world))
    answer = await post(world, f"reason/{token(world)}", reason="other", words="  Too\x00 much \n coffee ")
    assert answer.status == 200 and b"Thank you for telling us" in answer.body and b"<form" not in answer.body
    assert await why(world) == {"code": "other", "words": "Too much coffee", "at": NOW}
    before = world.versions()
    world.clock.advance(1000)
    assert await post(world, f"reason/{token(world)}", reason="other", words="Too much coffee") == answer
    assert world.versions() == before, "a replay"
    await post(world, f"reason/{token(world)}", reason="many")
    assert await why(world) == {"code": "many", "words": "", "at": NOW + 1000}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Please choose one of the reasons."),
        ({"reason": "x"}, "Please choose one of the reasons."),
        ({"reason": "other", "words": "w" * 301}, "Please keep it under 300 characters."),
    ],
)
async def test_an_unusable_reason_is_told_to_everybody_alike(world: World, fields: dict[str, str], sentence: str) -> None:
    await leave(world, token(world))
    good = token(world)
    own, stranger = [await post(world, f"reason/{path}", **fields) for path in (good, "garbage")]
    assert own.status == stranger.status == 400 and plain(own, good) == plain(stranger, "garbage")
    assert f'role="alert" id="problem">{sentence}<'.encode() in own.body
    assert await why(world) is None


async def test_a_reason_for_garbage_is_answered_alike_and_kept_nowhere(world: World) -> None:
    await leave(world, token(world))
    own = await post(world, f"reason/{token(world)}", reason="many")
    before = world.versions()
    assert await post(world, "reason/garbage", reason="many") == own == await post(world, "reason", reason="many")
    assert world.versions() == before


async def test_a_reason_of_somebody_who_has_not_left_or_was_erased_is_kept_nowhere(world: World) -> None:
    await world.add(ADDRESS, "eve@example.com", "bob@example.com")
    await post(world, f"reason/{token(world)}", reason="many")
    assert await world.data(world.paths.suppression(world.sid(ADDRESS))) == {}
    await leave(world, token(world, "eve@example.com"))
    await post(world, f"reason/{token(world, 'eve@example.com')}", reason="other", words="eve@example.com")
    await post(world, f"erase/{token(world, 'eve@example.com')}", sure="1")
    assert await why(world, "eve@example.com") is None
    await post(world, f"reason/{token(world, 'eve@example.com')}", reason="other", words="eve@example.com")
    assert await why(world, "eve@example.com") is None
    await world.store.commit(suppress(world.paths, world.sid("bob@example.com"), "complaint", "generic", NOW))
    await post(world, f"reason/{token(world, 'bob@example.com')}", reason="many")
    assert await why(world, "bob@example.com") is None


async def test_a_reason_survives_a_race(world: World) -> None:
    await leave(world, token(world))
    faults = iter(["conflict"])
    store = FaultyStore(world.store, lambda verb: next(faults, "") if verb == "commit" else "")  # type: ignore[arg-type]
    assert (await post(world, f"reason/{token(world)}", store=store, reason="many")).status == 200
    assert (await why(world))["code"] == "many"


# --- access -----------------------------------------------------------------------------------------------------------


def access(world: World, address: str) -> list[dict[str, Any]]:
    return [{"campaign": ACCESS, "batch": f"{world.sid(address)}.{NOW // DAY}"}]


@pytest.mark.parametrize("typed", [ADDRESS, f" {ADDRESS.upper()} ", "nobody@example.com", "gone@example.com"])
async def test_a_link_is_asked_for_alike_for_every_address(world: World, typed: str) -> None:
    await world.add(ADDRESS, "gone@example.com")
    await leave(world, token(world, "gone@example.com"))
    world.bus.messages.clear()
    before, reads = world.versions(), world.store.operations.reads
    answer = await post(world, "", email=typed, **PROOF)
    assert answer == await post(world, "", email="somebody.else@example.com", **PROOF) and answer.status == 200
    assert b"Check your mail" in answer.body and typed.strip().encode() not in answer.body
    assert world.versions() == before and world.store.operations.reads == reads, "no write, no read"
    assert world.bus.take(batch.TOPIC)[:1] == access(world, typed.strip())


async def test_an_address_is_found_in_whatever_way_its_domain_is_written(world: World) -> None:
    await post(world, "", email="ada@exämple.com", **PROOF)
    await post(world, "", email="ada@xn--exmple-cua.com", **PROOF)
    assert world.bus.take(batch.TOPIC) == 2 * access(world, "ada@exämple.com")


@pytest.mark.parametrize("typed", ["", "ada", "@example.com", "ada@", "a@" + "x" * 400, "ada@\u2603\u2603--.x", "a@b.c\x00"])
async def test_what_is_no_address_is_told_in_a_sentence(world: World, typed: str) -> None:
    answer = await post(world, "", email=typed, **PROOF)
    assert answer.status == 400 and b'role="alert"' in answer.body and b"Please give an e-mail address." in answer.body
    refused = await world.unsubscribe().handle(
        Request("POST", "", headers={"content-type": "application/json"}, body=json.dumps({"email": typed}).encode())
    )
    assert (refused.status, json.loads(refused.body)["field"]) == (400, "email")
    assert world.bus.messages == []


async def test_who_does_not_prove_to_have_seen_the_form_is_asked_once_more(world: World) -> None:
    form = (await get(world, "")).body.decode()
    [proof] = re.findall(r'name="form" value="([^"]+)"', form)
    assert 'tabindex="-1"' in form and 'autocomplete="off"' in form
    for fields in ({}, {"form": "x"}, {"form": proof}, {**PROOF, "website": "x"}, {"form": proof + "A"}):
        answer = await post(world, "", email='ada+"@example.com', **fields)
        assert answer.status == 200 and b"One more click" in answer.body and b"ada+&#34;@example.com" in answer.body
    assert world.bus.messages == []
    world.clock.advance(2000)
    await post(world, "", email=ADDRESS, form=proof)
    assert len(world.bus.take(batch.TOPIC)) == 1
    world.clock.advance(DAY)
    assert b"One more click" in (await post(world, "", email=ADDRESS, form=proof)).body


async def test_access_as_json(world: World) -> None:
    body, sent = json.dumps({"email": ADDRESS}).encode(), {"content-type": "application/json"}
    answer = await world.unsubscribe().handle(Request("POST", "", headers=sent, body=body))
    assert answer.status == 202 and json.loads(answer.body)["accepted"] is True
    assert world.bus.take(batch.TOPIC) == access(world, ADDRESS)
    assert (await world.unsubscribe().handle(Request("POST", "", headers=sent, body=b"["))).status == 400


async def test_access_that_was_not_asked_for_is_unavailable(world: World) -> None:
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await post(world, "", email=ADDRESS, **PROOF)


async def test_a_second_pepper_stops_access_and_keeps_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.add(ADDRESS)
    step = world.unsubscribe()
    monkeypatch.setitem(step.__dict__, "secrets", FakeSecrets(pepper=[b"a" * 32, b"b" * 32]))
    body = urlencode({"email": ADDRESS, **PROOF}).encode()
    with pytest.raises(Unavailable):
        await step.handle(Request("POST", "", headers={"content-type": FORM}, body=body))
    assert (await step.handle(Request("POST", token(world)))).status == 200
    assert (await world.subscriber(ADDRESS))["suppressed"] == ["unsubscribed"]


async def test_from_an_address_to_the_preferences_and_a_copy(world: World) -> None:
    """Through the mails that are really sent."""
    await world.launch().handle()
    await world.add(ADDRESS, name="Ada")
    world.bus.messages.clear()
    await post(world, "", email=ADDRESS, **PROOF)
    await post(world, "", email="stranger@example.com", **PROOF)
    for message in world.bus.take(batch.TOPIC):
        await world.send_batch().handle(message)
    assert world.sender.accepted == [ADDRESS]
    mail = email.message_from_bytes(world.sender.mails[ADDRESS], policy=email.policy.SMTP)
    texts = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]
    [way] = set(re.findall(r"https://news\.example/unsubscribe/(preferences/[A-Za-z0-9~._-]+)", "\n".join(texts)))
    page = await get(world, way)
    assert page.status == 200 and b'value="Ada"' in page.body
    await post(world, way.replace("preferences", "export"))
    for message in world.bus.take(batch.TOPIC):
        await world.send_batch().handle(message)
    assert world.sender.accepted == [ADDRESS, ADDRESS] and b"data.json" in world.sender.mails[ADDRESS]


# --- rights -----------------------------------------------------------------------------------------------------------


async def test_a_copy_is_asked_for_and_never_shown(world: World) -> None:
    await world.add(ADDRESS, name="Ada")
    before = world.versions()
    asks = await get(world, f"export/{token(world)}")
    assert b"a***@example.com" in asks.body and world.bus.messages == []
    for _ in range(2):
        answer = await post(world, f"export/{token(world)}")
        assert answer.status == 200 and b"a***@example.com" in answer.body
        assert ADDRESS.encode() not in answer.body and b"Ada" not in answer.body
    assert world.bus.take(batch.TOPIC) == 2 * [{"campaign": EXPORT, "batch": f"{world.sid(ADDRESS)}.{NOW // DAY}"}]
    assert world.versions() == before


async def test_who_has_left_may_have_a_copy_and_nobody_else(world: World) -> None:
    await world.add(ADDRESS)
    await leave(world, token(world))
    assert (await post(world, f"export/{token(world)}")).status == 200
    world.bus.messages.clear()
    await world.store.commit([Merge(world.paths.subscriber(world.sid("waiting@example.com")), {"asked": "waiting@example.com"})])
    ghosts = [token(world, "ghost@example.com"), token(world, "waiting@example.com"), "garbage", ""]
    for path in ghosts:
        assert (await post(world, f"export/{path}")).status == (await get(world, f"export/{path}")).status == 404
    assert world.bus.messages == []


@pytest.mark.parametrize("reason", ["complaint", "hard_bounce"])
async def test_whom_no_mail_reaches_is_told_so_instead_of_being_promised_a_copy(world: World, reason: Any) -> None:
    await world.add(ADDRESS)
    await world.store.commit(suppress(world.paths, world.sid(ADDRESS), reason, "x", NOW))
    for answer in (await post(world, f"export/{token(world)}"), await get(world, f"export/{token(world)}")):
        assert b"rejected or reported" in answer.body and b"/export/" not in answer.body
    assert world.bus.messages == []


async def test_a_copy_that_was_not_asked_for_is_unavailable(world: World) -> None:
    await world.add(ADDRESS)
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await post(world, f"export/{token(world)}")


async def test_erasing_takes_a_ticked_box_and_is_done_before_the_answer(world: World) -> None:
    await world.add(ADDRESS, name="Ada", tags=["vip"])
    before = world.versions()
    asks = await get(world, f"erase/{token(world)}")
    assert asks.status == 200 and b'name="sure"' in asks.body and asks.body.count(b"required") == 1
    unsure = await post(world, f"erase/{token(world)}")
    assert unsure.status == 400 and b'role="alert"' in unsure.body and world.versions() == before
    answer = await post(world, f"erase/{token(world)}", sure="1")
    assert answer.status == 200 and b"Your data is erased" in answer.body
    assert await world.subscriber(ADDRESS) == {"suppressed": ["erased"], "segments": []}
    left = await world.data(world.paths.suppression(world.sid(ADDRESS)))
    assert (left["reasons"], left["erased_sources"]) == (["erased"], ["mail of C-0001"])
    assert await post(world, f"erase/{token(world)}", sure="1") == answer, "a replay"
    assert await world.subscriber(ADDRESS) == {"suppressed": ["erased"], "segments": []}


async def test_the_rest_of_an_erasure_is_asked_for_once_it_is_committed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.add(ADDRESS)
    published = world.bus.publish

    async def committed(topic: str, messages: Any) -> None:
        assert await world.subscriber(ADDRESS) == {"suppressed": ["erased"], "segments": []}
        await published(topic, messages)

    monkeypatch.setattr(world.bus, "publish", committed)
    await get(world, f"erase/{token(world)}")
    await post(world, f"erase/{token(world)}")
    assert world.bus.messages == []
    await post(world, f"erase/{token(world)}", sure="1")
    assert world.bus.messages == [(erasure.TOPIC, {})]
    sid = world.sid(ADDRESS)
    await world.store.commit([Merge(world.paths.consent(sid, "c1"), {"at": NOW})])
    await world.privacy().handle()
    assert await world.data(world.paths.consent(sid, "c1")) == {}, "it is due at once"


@pytest.mark.parametrize("way", ["refused", "hangs"])
async def test_an_erasure_is_done_although_the_rest_cannot_be_asked_for(
    world: World, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def hangs(topic: str, messages: Any) -> None:
        await asyncio.Event().wait()

    await world.add(ADDRESS)
    if way == "hangs":
        monkeypatch.setattr(rights, "PATIENCE", 0.01)
        monkeypatch.setattr(world.bus, "publish", hangs)
    world.bus.failing = True
    answer = await post(world, f"erase/{token(world)}", sure="1")
    assert answer.status == 200 and b"Your data is erased" in answer.body
    assert await world.subscriber(ADDRESS) == {"suppressed": ["erased"], "segments": []}
    assert "the next regular run of privacy" in capsys.readouterr().out


async def test_garbage_erases_nobody(world: World) -> None:
    await world.add(ADDRESS)
    before = world.versions()
    for path in ("garbage", "", token(world) + "A", world.links.track_token(MailRef("C-0001", world.sid(ADDRESS)))):
        assert (await get(world, f"erase/{path}")).status == (await post(world, f"erase/{path}", sure="1")).status == 404
    assert world.versions() == before


async def test_erasing_that_could_not_be_stored_is_unavailable(world: World) -> None:
    await world.add(ADDRESS)
    store = FaultyStore(world.store, lambda verb: "refused" if verb == "commit" else "")
    with pytest.raises(Unavailable):
        await post(world, f"erase/{token(world)}", store=store, sure="1")
    assert (await world.subscriber(ADDRESS))["address"] == ADDRESS and world.bus.calls == 0
