"""Provider callbacks: nothing is believed without a fresh, valid proof over the raw body."""

from __future__ import annotations

import asyncio
import base64
import hmac
import importlib
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificate
from starlette.requests import Request as StarletteRequest

from functions.webhooks.fetch import Https
from functions.webhooks.handler import KEPT, Webhooks
from shared.asgi import served
from shared.errors import BadInput, NotFound, Unauthenticated, Unavailable
from shared.http import Request
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Expiry, Store
from shared.providers import ses_events, webhooks
from shared.providers.generic import sign
from shared.providers.signatures import addressed
from tests.house.asgi import call
from tests.providers.webhook_contract import LINKS
from tests.providers.webhook_contract import NOW as CONTRACTS_NOW
from tests.providers.webhook_samples import contract, mutated

from .fakes import DAY, NOW, FakeSecrets, FaultyStore, nth
from .world import KEY, OLD_KEY, World

SECOND = NOW // 1000
YEAR_2000 = 946_684_800_000
REF = MailRef("C-0001", "ab" * 16)


async def nothing(url: str) -> bytes:
    raise NotFound(url)


def step(world: World, store: Store | None = None, secrets: dict[str, list[bytes]] | None = None) -> Webhooks:
    """The step of a tenant; `secrets` in place of the generic webhook's."""
    return Webhooks(
        bus=world.bus,
        clock=world.clock,
        links=world.links,
        secrets=FakeSecrets(**({"webhook_generic": [KEY, OLD_KEY]} if secrets is None else secrets)),
        store=store or world.store,
        objects=world.objects,
        paths=world.paths,
        fetch=nothing,
    )


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
    assert (await step(world).handle(request(item(world)))).status == 204
    assert events(world) == [Event("delivered", REF.text, NOW - 5, provider="generic", id="1")]


async def test_a_list_of_events_keeps_its_details(world: World) -> None:
    bounce = item(world, event="bounced", hard=True, code="550 5.1.1")
    await step(world).handle(request([bounce, item(world, event="complained"), item(world, event="sneezed")]))
    found = events(world)
    assert [event.type for event in found] == ["bounced", "complained", "unknown"]
    assert (found[0].hard, found[0].code, found[1].hard) == (True, "550 5.1.1", False)


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
async def test_two_keys_are_valid_while_one_rotates(world: World, key: bytes) -> None:
    assert (await step(world).handle(request(item(world), key))).status == 204


async def test_one_good_signature_among_several_is_enough(world: World) -> None:
    body = json.dumps(item(world)).encode()
    proofs = f"v2,AAAA v1,%% nonsense {sign(body, b'x', SECOND)} {sign(body, KEY, SECOND)}"
    assert (await step(world).handle(request(body, webhook_signature=proofs))).status == 204


@pytest.mark.parametrize("shift", [-300, 300])
async def test_the_window_has_two_sides(world: World, shift: int) -> None:
    assert (await step(world).handle(request(item(world), at=SECOND + shift))).status == 204
    with pytest.raises(Unauthenticated):
        await step(world).handle(request(item(world), at=SECOND + shift + (1 if shift > 0 else -1)))


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
        {"webhook_signature": GOOD[:-2] + chr(ord(GOOD[-2]) + 1) + "="},  # the same bytes in another spelling
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
        await step(world).handle(Request("POST", "generic", headers=proof, body=good.body))
    assert refused.value.status == 401 and world.bus.calls == 0


async def test_a_timestamp_has_ascii_digits(world: World) -> None:
    body = json.dumps(item(world)).encode()
    arabic = "".join(chr(0x660 + int(digit)) for digit in str(SECOND))
    proof = "v1," + base64.b64encode(hmac.digest(KEY, f"{arabic}.".encode() + body, "sha256")).decode()
    with pytest.raises(Unauthenticated):
        await step(world).handle(request(body, webhook_timestamp=arabic, webhook_signature=proof))


async def test_a_wrong_key_or_a_changed_body_is_refused(world: World) -> None:
    good = request(item(world))
    wrong = [request(item(world), b"x" * 32), Request("POST", "generic", headers=good.headers, body=good.body + b" ")]
    for case in wrong:
        with pytest.raises(Unauthenticated):
            await step(world).handle(case)
    assert world.bus.calls == 0


async def test_without_a_key_everything_is_refused(world: World) -> None:
    none: list[dict[str, list[bytes]]] = [
        {},
        {"webhook_other": [KEY]},
        {"webhook_generic": []},
        {"webhook_generic": [b"", b" \n"]},
    ]
    for secrets in none:
        for key in (KEY, b"", b" \n"):
            with pytest.raises(Unauthenticated):
                await step(world, secrets=secrets).handle(request(item(world), key))
    assert world.bus.calls == 0


async def test_an_empty_key_opens_nothing_beside_a_good_one(world: World) -> None:
    both = step(world, secrets={"webhook_generic": [b"", KEY]})
    with pytest.raises(Unauthenticated):
        await both.handle(request(item(world), b""))
    assert (await both.handle(request(item(world)))).status == 204


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
        await step(world).handle(request(body))
    assert world.bus.calls == 0


@pytest.mark.parametrize("at", [True, False, None, -1, 0, 1.5, 1 << 60, YEAR_2000 - 1, NOW // 1000, NOW + DAY + 1, NOW * 1000])
async def test_a_time_that_is_none_is_bad_input(world: World, at: Any) -> None:
    with pytest.raises(BadInput, match="time"):
        await step(world).handle(request(item(world, at=at)))
    assert world.bus.calls == 0


@pytest.mark.parametrize("at", [YEAR_2000, NOW + DAY])
async def test_clocks_may_differ_by_a_day(world: World, at: int) -> None:
    await step(world).handle(request(item(world, at=at)))
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
    await step(world).handle(request(item(world, event="bounced", hard=True, code=code)))
    [message] = world.bus.take("engagement-events")
    assert message.get("code", "") == kept
    await world.record().handle(message)
    assert (await world.data(world.paths.subscriber(REF.sid)))["suppressed"] == ["hard_bounce"]


async def test_one_bad_event_of_a_list_publishes_none(world: World) -> None:
    with pytest.raises(BadInput):
        await step(world).handle(request([item(world), {"at": 1}]))
    assert world.bus.calls == 0


async def test_a_message_id_of_others_is_left_out(world: World) -> None:
    track = f"<{world.links.track_token(REF)}@news.brand.example>"
    ids = ["<abc@example.com>", "", "\ud800", track]
    assert (await step(world).handle(request([item(world, message_id=id) for id in ids]))).status == 204
    assert world.bus.calls == 0
    await step(world).handle(request([item(world, message_id=ids[0]), item(world)]))
    assert len(events(world)) == 1


async def test_a_bounce_that_counts(world: World) -> None:
    soft = item(world, event="bounced", counts=True, code="552 5.2.2")
    await step(world).handle(request([soft, item(world, event="deferred", counts=True), item(world, event="unsubscribed")]))
    found = [(event.type, event.hard, event.counts) for event in events(world)]
    assert found == [("bounced", False, True), ("deferred", False, False), ("unsubscribed", False, False)]


async def test_a_failed_publish_asks_to_be_sent_again(world: World) -> None:
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await step(world).handle(request(item(world)))
    world.bus.failing = False
    assert (await step(world).handle(request(item(world)))).status == 204
    assert len(events(world)) == 1


async def test_what_comes_again_is_answered_alike_and_published_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for key, shift in ((KEY, 0), (KEY, 0), (OLD_KEY, 1), (KEY, 60)):  # its provider may sign it anew
        assert (await step(world).handle(request(item(world), key, SECOND + shift))).status == 204
    assert len(events(world)) == 1 and world.bus.calls == 1
    assert capsys.readouterr().out.count('"metrics": {"replays": 1}, "provider": "generic"') == 3
    await step(world).handle(request(item(world, id="2")))
    assert len(events(world)) == 1


async def test_a_callback_is_remembered_for_days_and_then_goes(world: World) -> None:
    await step(world).handle(request(item(world)))
    [noted] = await world.all("tenants/t/callbacks")
    assert noted.data == {"provider": "generic", "at": NOW, "expires_at": Expiry(NOW + KEPT)}
    assert KEPT >= 3 * DAY


async def test_what_tells_of_nothing_of_ours_is_neither_looked_up_nor_noted(world: World) -> None:
    store = FaultyStore(world.store, lambda verb: "refused")
    assert (await step(world, store=store).handle(request([]))).status == 204
    assert (await step(world, store=store).handle(request(item(world, message_id="<x@example.com>")))).status == 204


@pytest.mark.parametrize("verb", ["get", "commit"])
async def test_without_the_store_it_is_to_be_sent_again(world: World, verb: str) -> None:
    store = FaultyStore(world.store, nth(0, "refused", frozenset({verb})))
    with pytest.raises(Unavailable):
        await step(world, store=store).handle(request(item(world)))
    assert len(events(world)) == (1 if verb == "commit" else 0)
    assert (await step(world, store=store).handle(request(item(world)))).status == 204
    assert len(events(world)) == 1


async def test_a_note_whose_reply_was_lost_is_a_note(world: World) -> None:
    store = FaultyStore(world.store, nth(0, "conflict", frozenset({"commit"})))
    assert (await step(world, store=store).handle(request(item(world)))).status == 204
    assert (await step(world).handle(request(item(world)))).status == 204
    assert len(events(world)) == 1


async def test_two_at_the_same_time_are_both_answered(world: World) -> None:
    answers = await asyncio.gather(*(step(world).handle(request(item(world))) for _ in range(4)))
    assert {answer.status for answer in answers} == {204} and 1 <= len(events(world)) <= 4


async def test_an_event_of_an_unknown_kind_is_kept_with_its_body(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    strange = request([item(world), item(world, event="sneezed")])
    for _ in range(2):
        await step(world).handle(strange)
    assert [event.type for event in events(world)] == ["delivered", "unknown"]
    [note] = await world.all("tenants/t/callbacks")
    assert await world.objects.get(f"callbacks/unknown/generic/{note.id}") == strange.body
    assert capsys.readouterr().out.count("unknown kind") == 1
    await step(world).handle(request(item(world, id="9")))
    assert len(list((world.file.parent / "objects").rglob("callbacks/unknown/*/*"))) == 1


async def test_unknown_providers_and_methods(world: World) -> None:
    good = request(item(world))
    for path in ("", "nobody", "generic/x", "__init__"):
        assert (await step(world).handle(Request("POST", path, headers=good.headers, body=good.body))).status == 404
    for method in ("GET", "HEAD"):
        assert (await step(world).handle(Request(method, "generic", headers=good.headers, body=good.body))).status == 405
    assert (await step(world).handle(Request("HEAD", "mandrill"))).status == 200
    assert world.bus.calls == 0


class Plain(ModuleType):
    """A provider that proves nothing and says what it is told to."""

    SECRET = "webhook-generic"

    def __init__(self, says: Any = (), **more: Any) -> None:
        super().__init__("plain")
        self.__dict__.update(more)
        self.says = says

    def verify(self, request: Request, keys: Any, now: int) -> None:
        self.url = request.headers[":url"]

    def normalise(self, request: Request, links: Any, now: int) -> list[Event]:
        if isinstance(self.says, Exception):
            raise self.says
        return list(self.says)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Plain:
    found = Plain([Event("delivered", REF.text, NOW)])
    monkeypatch.setitem(webhooks.WEBHOOKS, "plain", "plain")
    monkeypatch.setitem(sys.modules, "plain", found)
    return found


PLAIN = Request("POST", "plain", query={"a": "b"}, headers={":url": "https://evil.example"}, body=b"{}")


async def test_a_provider_may_want_another_answer(world: World, plain: Plain) -> None:
    vars(plain)["ANSWER"] = 200
    for _ in range(2):
        assert (await step(world).handle(PLAIN)).status == 200
    assert len(events(world)) == 1
    assert plain.url == "https://news.example/webhooks/plain"


async def test_a_provider_may_want_another_word_for_later(world: World, plain: Plain) -> None:
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await step(world).handle(PLAIN)
    vars(plain)["RETRY"] = 429
    answer = await step(world).handle(PLAIN)
    assert (answer.status, answer.headers["retry-after"]) == (429, "60")


async def test_a_provider_may_say_what_tells_its_callbacks_apart(world: World, plain: Plain) -> None:
    vars(plain)["signed"] = lambda request: request.headers["token"].encode()
    for token, body in (("a", b"1"), ("a", b"2"), ("b", b"1")):
        await step(world).handle(Request("POST", "plain", headers={"token": token}, body=body))
    assert len(events(world)) == 2


@pytest.mark.parametrize("error", [KeyError("x"), ValueError(), TypeError(), AttributeError(), OverflowError(), RecursionError()])
async def test_what_a_provider_did_not_foresee_is_not_our_failure(world: World, plain: Plain, error: Exception) -> None:
    plain.says = error
    with pytest.raises(BadInput):
        await step(world).handle(PLAIN)

    def verify(*_: Any) -> None:
        raise error

    vars(plain)["verify"] = verify
    with pytest.raises(Unauthenticated):
        await step(world).handle(PLAIN)
    assert world.bus.calls == 0


async def test_a_body_over_the_limit_is_refused_unread(world: World) -> None:
    from functions.webhooks.main import MAX_BODY

    app = served(lambda: 0, MAX_BODY)(step(world).handle)

    async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope["path_params"] = {"path": "generic"}
        await (await app(StarletteRequest(scope, receive)))(scope, receive, send)

    chunks = [b" " * (1 << 20)] * 9
    answer = await call(asgi, "POST", "/generic", chunks)
    assert answer.status == 413 and answer.chunks_read == MAX_BODY // (1 << 20) + 1
    whole = b"[" + b" " * (MAX_BODY - 2) + b"]"
    proof = {"webhook-timestamp": str(SECOND), "webhook-signature": sign(whole, KEY, SECOND)}
    assert (await call(asgi, "POST", "/generic", whole, proof)).status == 204


# --- every provider ---------------------------------------------------------------------------------------------------

PROVIDERS = sorted(set(webhooks.WEBHOOKS) - {"generic"})


class Provider:
    """A step with a provider's keys, and a callback of it about our mail."""

    def __init__(self, world: World, name: str) -> None:
        self.contract, self.world = contract(name), world
        secret = self.contract.hook.SECRET.replace("-", "_")
        world.links, world.clock.time = LINKS, CONTRACTS_NOW
        self.step = replace(step(world, secrets={secret: self.contract.KEYS}), links=LINKS)
        self.good = self.contract.request(self.contract.plain(), self.contract.KEYS[0])
        if name == "ses":
            ses = importlib.import_module("tests.providers.test_ses_events")
            ses_events.certificates[ses.URL] = load_pem_x509_certificate(ses.certificate())

    @property
    def free(self) -> bool:
        """Whoever has the password may say anything."""
        return not (self.contract.SIGNED or hasattr(self.contract.hook, "signed"))

    def told(self, request: Request) -> object:
        """What a callback says and by whose proof, in one spelling."""
        signed = getattr(self.contract.hook, "signed", None)
        scheme, _, login = request.headers.get("authorization", "").partition(" ")
        return (
            signed(addressed(request, f"{LINKS.base}/webhooks/{request.path}"))
            if signed
            else (request.body, scheme.lower(), login)
        )

    async def status(self, request: Request) -> int:
        """As the entry point maps it; anything else that is raised fails the test."""
        try:
            return (await self.step.handle(request)).status
        except Unauthenticated as error:
            return error.status
        except BadInput:
            return 400


def other_proof(chance: random.Random, good: Request, proofs: Sequence[str]) -> Request:
    """Another request: one header of the proof is changed."""
    name = chance.choice([name for name in proofs if name in good.headers])
    return replace(good, headers={**good.headers, name: mutated(chance, good.headers[name])})


def mutant(chance: random.Random, good: Request, proofs: Sequence[str]) -> Request:
    """Another request: one thing of the proof, or of the body, is changed."""
    if proofs and chance.random() < 0.5:
        return other_proof(chance, good, proofs)
    return replace(good, body=mutated(chance, good.body.decode()).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_callback_is_published_once_and_its_mutants_never(world: World, name: str) -> None:
    provider = Provider(world, name)
    answer = await provider.status(provider.good)
    assert answer in (200, 204) and len(events(world)) == 1
    for _ in range(3):
        assert await provider.status(provider.good) == answer
    chance, proofs = random.Random(name), provider.contract.PROOFS
    seen = []
    for _ in range(300):
        bad = other_proof(chance, provider.good, proofs) if provider.free else mutant(chance, provider.good, proofs)
        if bad != provider.good:
            seen.append(await provider.status(bad))
    assert set(seen) <= {400, 401, answer} and len(seen) > 200
    assert events(world) == [] and world.bus.calls == 1


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_mutant_that_comes_first_is_refused(world: World, name: str) -> None:
    """Or it says the very same in another spelling."""
    provider = Provider(world, name)
    chance, good, refused = random.Random(f"first {name}"), provider.good, 0
    for _ in range(300):
        bad = (
            other_proof(chance, good, provider.contract.PROOFS)
            if provider.free
            else mutant(chance, good, provider.contract.PROOFS)
        )
        status = await provider.status(bad)
        if status < 400:
            assert provider.told(bad) == provider.told(good)
        refused += status in (400, 401)
    assert refused > 100


@pytest.mark.parametrize("name", PROVIDERS)
async def test_without_its_key_a_provider_is_refused(world: World, name: str) -> None:
    provider = Provider(world, name)
    for keys in ([], [b""], [b"\n"]):
        provider.step = replace(provider.step, secrets=FakeSecrets(**{provider.contract.hook.SECRET.replace("-", "_"): keys}))
        assert await provider.status(provider.good) == 401
    provider.step = replace(provider.step, secrets=FakeSecrets())
    assert await provider.status(provider.good) == 401
    assert world.bus.calls == 0


async def test_sns_is_asked_for_its_certificate_once_and_told_of_a_subscription_once_it_is_believed(world: World) -> None:
    ses = importlib.import_module("tests.providers.test_ses_events")
    provider, fetch = Provider(world, "ses"), ses.Fetching()
    ses_events.certificates.clear()
    provider.step = replace(provider.step, fetch=fetch)
    forged = replace(provider.good, body=provider.good.body.replace(b"m-1", b"m-2"))
    assert [await provider.status(request) for request in (forged, provider.good, provider.good)] == [401, 204, 204]
    assert fetch.asked == [ses.URL] and len(events(world)) == 1
    wanted = ses.signed(ses.subscription())
    assert await provider.status(replace(wanted, body=wanted.body.replace(b"t0", b"t1"))) == 401 and len(fetch.asked) == 1
    assert await provider.status(wanted) == 204 and len(fetch.asked) == 2
    fetch.answers = [NotFound("400")]
    assert await provider.status(wanted) == 400
    fetch.answers = [Unavailable("sns")]
    with pytest.raises(Unavailable):
        await provider.status(wanted)


@pytest.mark.network
@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("200 OK", b"body"),
        ("204 No Content", NotFound),
        ("302 Found\r\nLocation: /elsewhere", NotFound),
        ("404 Not Found", NotFound),
        ("403 Forbidden", NotFound),
        ("429 Too Many Requests", Unavailable),
        ("500 Internal Server Error", Unavailable),
        ("", Unavailable),
    ],
)
async def test_what_is_fetched(head: str, expected: Any) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        if head:
            length = 0 if head.startswith("204") else 4
            writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{'body'[:length]}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a?b=c%20d"
    async with server:
        if isinstance(expected, bytes):
            assert await Https("http")(url) == expected
        else:
            with pytest.raises(expected):
                await Https("http")(url)
        assert set(asked) == {b"GET /a?b=c%20d HTTP/1.1\r\n"}
        asked.clear()
        with pytest.raises(NotFound):
            await Https()(url)
        assert asked == []
