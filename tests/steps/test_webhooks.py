"""Provider callbacks: nothing is believed without a fresh, valid proof over the raw body."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from functions.webhooks.handler import Webhooks
from shared.errors import BadInput, Unauthenticated, Unavailable
from shared.http import Request
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.providers.generic import sign

from .fakes import DAY, NOW, FakeSecrets
from .world import KEY, OLD_KEY, World

SECOND = NOW // 1000
YEAR_2000 = 946_684_800_000
REF = MailRef("C-0001", "ab" * 16)


def item(world: World, ref: MailRef = REF, **changes: Any) -> dict[str, Any]:
    id = world.links.message_id(ref, "news.brand.example")
    return {"id": "1", "event": "delivered", "message_id": id, "at": NOW - 5, **changes}


def request(data: Any, key: bytes = KEY, at: int = SECOND, **headers: str) -> Request:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    proof = {"webhook-timestamp": str(at), "webhook-signature": sign(body, key, at)}
    return Request("POST", "generic", headers=proof | {name.replace("_", "-"): text for name, text in headers.items()}, body=body)


def events(world: World) -> list[Event]:
    return [Event.from_message(message) for message in world.bus.take("engagement-events")]


def test_the_signature_is_hmac_of_timestamp_and_body() -> None:
    digest = hmac.new(b"k", b"1767225600.{}", "sha256").digest()
    assert sign(b"{}", b"k", 1767225600) == "v1," + base64.b64encode(digest).decode()


async def test_a_good_callback_is_published(world: World) -> None:
    assert (await world.webhooks().handle(request(item(world)))).status == 204
    assert events(world) == [Event("delivered", REF.text, NOW - 5, provider="generic")]


async def test_a_list_of_events_keeps_its_details(world: World) -> None:
    bounce = item(world, event="bounced", hard=True, code="550 5.1.1")
    await world.webhooks().handle(request([bounce, item(world, event="complained"), item(world, event="sneezed")]))
    found = events(world)
    assert [event.type for event in found] == ["bounced", "complained", "unknown"]
    assert (found[0].hard, found[0].code, found[1].hard) == (True, "550 5.1.1", False)


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
async def test_two_keys_are_valid_while_one_rotates(world: World, key: bytes) -> None:
    assert (await world.webhooks().handle(request(item(world), key))).status == 204


async def test_one_good_signature_among_several_is_enough(world: World) -> None:
    body = json.dumps(item(world)).encode()
    proofs = f"v2,AAAA v1,%% nonsense {sign(body, b'x', SECOND)} {sign(body, KEY, SECOND)}"
    assert (await world.webhooks().handle(request(body, webhook_signature=proofs))).status == 204


@pytest.mark.parametrize("shift", [-300, 300])
async def test_the_window_has_two_sides(world: World, shift: int) -> None:
    assert (await world.webhooks().handle(request(item(world), at=SECOND + shift))).status == 204
    with pytest.raises(Unauthenticated):
        await world.webhooks().handle(request(item(world), at=SECOND + shift + (1 if shift > 0 else -1)))


GOOD = sign(b"{}", KEY, SECOND)


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook_signature": ""},
        {"webhook_signature": "v1"},
        {"webhook_signature": "v1,"},
        {"webhook_signature": "v1,%%%"},
        {"webhook_signature": "v1,é"},
        {"webhook_signature": GOOD.replace("v1", "v2")},
        {"webhook_signature": GOOD.removeprefix("v1,")},
        {"webhook_signature": GOOD[:-4]},
        {"webhook_signature": "v1,x " * 8 + GOOD},
        {"webhook_timestamp": ""},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": f"-{SECOND}"},
        {"webhook_timestamp": f" {SECOND}"},
        {"webhook_timestamp": f"{SECOND}.0"},
        {"webhook_timestamp": "٣"},
        {"webhook_timestamp": "9" * 400},
        {"webhook_timestamp": str(SECOND + 1)},
    ],
)
async def test_malformed_proofs_are_refused(world: World, headers: dict[str, str]) -> None:
    good = request(b"{}")
    proof = {**good.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
    with pytest.raises(Unauthenticated) as refused:
        await world.webhooks().handle(Request("POST", "generic", headers=proof, body=good.body))
    assert refused.value.status == 401 and world.bus.calls == 0


async def test_a_wrong_key_or_a_changed_body_is_refused(world: World) -> None:
    good = request(item(world))
    wrong = [request(item(world), b"x" * 32), Request("POST", "generic", headers=good.headers, body=good.body + b" ")]
    for case in wrong:
        with pytest.raises(Unauthenticated):
            await world.webhooks().handle(case)
    assert world.bus.calls == 0


async def test_without_a_key_everything_is_refused(world: World) -> None:
    step = Webhooks(world.bus, world.clock, world.links, FakeSecrets())
    with pytest.raises(Unauthenticated):
        await step.handle(request(item(world)))
    step = Webhooks(world.bus, world.clock, world.links, FakeSecrets(webhook_generic=[]))
    with pytest.raises(Unauthenticated):
        await step.handle(request(item(world)))


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"\xff",
        b"3",
        b"null",
        b"[3]",
        b"{}",
        b"[" * 100_000,
        b'{"message_id": 3, "at": 1}',
        b'{"message_id": "<x@y>", "at": "1"}',
    ],
)
async def test_a_signed_body_of_another_shape_is_bad_input(world: World, body: bytes) -> None:
    with pytest.raises(BadInput):
        await world.webhooks().handle(request(body))
    assert world.bus.calls == 0


@pytest.mark.parametrize("at", [True, False, None, -1, 0, 1.5, 1 << 60, YEAR_2000 - 1, NOW // 1000, NOW + DAY + 1, NOW * 1000])
async def test_a_time_that_is_none_is_bad_input(world: World, at: Any) -> None:
    with pytest.raises(BadInput, match="time"):
        await world.webhooks().handle(request(item(world, at=at)))
    assert world.bus.calls == 0


@pytest.mark.parametrize("at", [YEAR_2000, NOW + DAY])
async def test_clocks_may_differ_by_a_day(world: World, at: int) -> None:
    await world.webhooks().handle(request(item(world, at=at)))
    assert [event.at for event in events(world)] == [at]


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("\ud800550 5.1.1", "550 5.1.1"),
        ("55\u00e90\r\n\x00\x7f", "550"),
        (550, "550"),
        (None, ""),
        ("\u00e9" * 50 + "x" * 50, "x" * 40),
    ],
)
async def test_of_a_code_printable_ascii_is_kept(world: World, code: Any, kept: str) -> None:
    await world.webhooks().handle(request(item(world, event="bounced", hard=True, code=code)))
    [message] = world.bus.take("engagement-events")
    assert message.get("code", "") == kept
    await world.record().handle(message)
    assert (await world.data(world.paths.subscriber(REF.sid)))["suppressed"] == ["hard_bounce"]


async def test_one_bad_event_of_a_list_publishes_none(world: World) -> None:
    with pytest.raises(BadInput):
        await world.webhooks().handle(request([item(world), {"at": 1}]))
    assert world.bus.calls == 0


async def test_a_message_id_of_others_is_left_out(world: World) -> None:
    track = f"<{world.links.track_token(REF)}@news.brand.example>"
    ids = ["<abc@example.com>", "", "\ud800", track]
    assert (await world.webhooks().handle(request([item(world, message_id=id) for id in ids]))).status == 204
    assert world.bus.calls == 0
    await world.webhooks().handle(request([item(world, message_id=ids[0]), item(world)]))
    assert len(events(world)) == 1


async def test_a_failed_publish_asks_to_be_sent_again(world: World) -> None:
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await world.webhooks().handle(request(item(world)))


async def test_unknown_providers_and_methods(world: World) -> None:
    good = request(item(world))
    for path in ("", "nobody", "generic/x", "__init__"):
        assert (await world.webhooks().handle(Request("POST", path, headers=good.headers, body=good.body))).status == 404
    assert (await world.webhooks().handle(Request("GET", "generic", headers=good.headers, body=good.body))).status == 405
    assert world.bus.calls == 0
