"""Events out over real connections: what a receiver gets, and every way in which it may not answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import Route

from functions.notify import main
from functions.notify.desk import Exchange
from functions.notify.settings import settings
from local.bus import LocalBus, Subscription
from local.steps import subscriptions
from shared.adapters.embedded import FileSecrets
from shared.adapters.sqlite_bus import SqliteBus
from shared.errors import Unavailable
from shared.model import event as events
from shared.model.endpoint import Endpoint
from shared.providers.api_http import Http
from shared.push import Envelope
from tests.house.asgi import call
from tests.house.serving import environment, push
from tests.providers.certificates import Authority

from .notices import KEY, NEW_KEY, OPENED, Receiver, event, notify
from .world import World

pytestmark = pytest.mark.network


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    while OPENED:
        http = OPENED.pop()
        assert isinstance(http, Http)
        await http.close()


async def test_a_receiver_verifies_an_event_with_the_published_library(world: World) -> None:
    async with Receiver() as receiver:
        await notify(world, Endpoint("crm", receiver.url)).handle(event().to_message(), "notify-crm")
    [(id, payload)] = receiver.got
    assert receiver.forged == 0 and id.startswith("evt_")
    assert payload == {
        "type": "mail.clicked",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "data": {"mail": event().ref, "campaign": "C-0001", "subscriber": "ab" * 16, "link": 0, "label": "human"},
    }
    assert receiver.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("key", [KEY, NEW_KEY])
async def test_while_a_key_rotates_either_verifies(world: World, key: bytes) -> None:
    async with Receiver(key) as receiver:
        step = notify(world, Endpoint("crm", receiver.url), secrets={"events_out_crm": [NEW_KEY + b"\n", b"whsec_short", KEY]})
        await step.handle(event().to_message(), "notify-crm")
    assert (len(receiver.got), receiver.forged) == (1, 0)
    assert len(receiver.headers[0]["webhook-signature"].split()) == 2


async def test_another_key_is_refused(world: World) -> None:
    """What the tests above rest on: the receiver can say no."""
    async with Receiver(NEW_KEY) as receiver:
        with pytest.raises(Unavailable, match="401"):
            await notify(world, Endpoint("crm", receiver.url)).handle(event().to_message(), "notify-crm")
    assert (receiver.got, receiver.forged) == ([], 1)


async def test_connections_are_kept(world: World) -> None:
    async with Receiver() as receiver:
        step = notify(world, Endpoint("crm", receiver.url))
        for n in range(5):
            await step.handle(event(n).to_message(), "notify-crm")
    assert (len(set(receiver.ids)), receiver.open) == (5, 1)


async def test_a_push_through_the_entry_point_reaches_its_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    environ = await environment(state)
    FileSecrets(state / "secrets").add("events-out-crm", KEY)
    async with Receiver() as receiver, Receiver() as other:
        given = [{"name": "shop", "url": other.url}, {"name": "crm", "url": receiver.url}]
        for name, value in (environ | {"EVENTS_OUT": json.dumps(given)}).items():
            monkeypatch.setenv(name, value)
        for cached in (settings, main.step):
            cached.cache_clear()
        body, headers = push(state, event().to_message())
        pushed = {**json.loads(body), "subscription": "projects/p/subscriptions/notify-crm"}
        app: Any = Starlette(routes=[Route("/", main.notify, methods=["POST"])])
        answer = await call(app, "POST", "/", json.dumps(pushed).encode(), headers)
        OPENED.append(main.step().desks["crm"]._http)
        for cached in (settings, main.step):
            cached.cache_clear()
    assert (answer.status, len(receiver.got), other.got) == (204, 1, [])


# --- faults -----------------------------------------------------------------------------------------------------------


async def _slow(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response()


async def _garbage(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    await asyncio.sleep(0.05)
    request.transport.abort()
    return web.Response()


async def _reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _to_metadata(request: web.Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"location": "http://169.254.169.254/computeMetadata/v1/"})


def quick(endpoint: Endpoint, local: bool) -> Exchange:
    return Http(0.3, 0.3, allowed=lambda address: address == "127.0.0.1")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (_slow, "TimeoutError"),
        (_garbage, "ClientResponseError|BadStatusLine"),
        (_reset, "ServerDisconnectedError|ClientOSError"),
        (_to_metadata, "307"),
        (400, "400"),
        (404, "404"),
        (429, "429"),
        (500, "500"),
        (503, "503"),
    ],
)
async def test_a_fault_is_retried_under_the_same_id(
    world: World, fault: int | Callable[[web.Request], Awaitable[web.StreamResponse]], why: str
) -> None:
    async with Receiver(answers=[fault]) as receiver:
        step = notify(world, Endpoint("crm", receiver.url), open=quick)
        with pytest.raises(Unavailable, match=why):
            await step.handle(event().to_message(), "notify-crm")
        world.clock.advance(1_000)
        await step.handle(event().to_message(), "notify-crm")
        await step.handle(event().to_message(), "notify-crm")  # the bus may deliver twice
    assert len(receiver.got) == 3 and len(set(receiver.ids)) == 1
    stamps = [int(headers["webhook-timestamp"]) for headers in receiver.headers]
    assert stamps[1] == stamps[0] + 1  # of the attempt, not of the event


async def test_one_that_is_down_is_retried(world: World) -> None:
    receiver = Receiver()
    async with receiver:
        pass
    step = notify(world, Endpoint("crm", receiver.url))
    with pytest.raises(Unavailable, match="ClientConnectorError"):
        await step.handle(event().to_message(), "notify-crm")
    world.clock.advance(1_000)
    async with receiver:
        await step.handle(event().to_message(), "notify-crm")
    assert len(receiver.got) == 1


@pytest.mark.parametrize("endless", [False, True])
async def test_the_answers_body_is_bounded_and_nobodys_business(world: World, endless: bool) -> None:
    sent = 0

    async def oversize(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while endless or sent < 8 << 20:
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    async with Receiver(answers=[oversize]) as receiver:
        async with asyncio.timeout(5):
            await notify(world, Endpoint("crm", receiver.url)).handle(event().to_message(), "notify-crm")
    assert len(receiver.got) == 1 and sent < 8 << 20


async def test_a_certificate_of_nobody_we_trust_is_refused(world: World, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    def trusting(endpoint: Endpoint, local: bool) -> Exchange:
        return Http(5, 5, allowed=lambda address: address == "127.0.0.1", tls=authority.client())

    async with Receiver(tls=authority.server()) as receiver:
        endpoint = Endpoint("crm", receiver.url)
        with pytest.raises(Unavailable, match="CertificateError"):
            await notify(world, endpoint).handle(event().to_message(), "notify-crm")
        assert (receiver.got, receiver.forged) == ([], 0)
        await notify(world, endpoint, open=trusting).handle(event().to_message(), "notify-crm")
    assert len(receiver.got) == 1
    async with Receiver(tls=authority.server(days=(-3, -2))) as receiver:
        with pytest.raises(Unavailable, match="CertificateError"):
            await notify(world, Endpoint("crm", receiver.url), open=trusting).handle(event().to_message(), "notify-crm")
    assert receiver.got == []


# --- where it may lead ------------------------------------------------------------------------------------------------


async def test_outside_the_twin_nothing_leads_to_this_machine(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    async with Receiver() as receiver:
        with pytest.raises(Unavailable, match="ClientConnectorError"):
            await notify(world, Endpoint("crm", receiver.url), local=False).handle(event().to_message(), "notify-crm")
    assert receiver.open == 0
    assert "an endpoint's host has an address that is not public" in capsys.readouterr().out


async def test_a_name_that_leads_elsewhere_when_it_is_connected_to_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: good when it was looked up before, this machine now."""
    loop, asked = asyncio.get_running_loop(), 0

    async def rebound(host: str, port: int, **given: Any) -> list[Any]:
        nonlocal asked
        asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", rebound)
    async with Receiver() as receiver:
        url = f"http://hooks.example:{receiver.port}/"
        with pytest.raises(Unavailable, match="ClientConnectorError"):
            await notify(world, Endpoint("crm", url), local=False).handle(event().to_message(), "notify-crm")
        assert (receiver.open, asked) == (0, 1)
        await notify(world, Endpoint("crm", url)).handle(event().to_message(), "notify-crm")  # the twin may
    assert len(receiver.got) == 1


# --- on the bus -------------------------------------------------------------------------------------------------------


async def test_one_that_is_down_leaves_the_others_alone(world: World, tmp_path: Path) -> None:
    """Over the bus, with retries: the healthy one gets each event once, while the other's go on failing and end as dead letters."""
    async with Receiver() as healthy, Receiver(answers=[500] * 1_000) as broken, _served(world) as pushes:
        crm, shop = Endpoint("crm", healthy.url), Endpoint("shop", broken.url)
        pushes.step = notify(world, crm, shop)
        text = f'[{{"name": "crm", "url": "{crm.url}"}}, {{"name": "shop", "url": "{shop.url}"}}]'
        wanted = {name: topic for name, (step, topic) in subscriptions(text).items() if step == "notify"}
        assert wanted == dict.fromkeys(("notify-crm", "notify-shop"), events.TOPIC)
        found = [
            Subscription(name, topic, pushes.url, "x", min_backoff=0.01, max_backoff=0.02, max_attempts=3)
            for name, topic in wanted.items()
        ]
        bus = LocalBus(tmp_path / "bus.db", found, lambda audience: "token")
        await bus.start()
        try:
            sender = SqliteBus.open(tmp_path / "bus.db")
            await sender.publish(events.TOPIC, [event(n).to_message() for n in range(20)])
            async with asyncio.timeout(20):
                while sum((await bus.pending()).values()):
                    await asyncio.sleep(0.05)
            dead = await bus.dead_letters()
            sender.close()
        finally:
            await bus.stop()
    assert len(healthy.ids) == len(set(healthy.ids)) == 20
    assert len(broken.ids) == 60 and set(broken.ids) == set(healthy.ids)
    assert {letter.subscription for letter in dead} == {"notify-shop"} and len(dead) == 20


class _served:
    """The step behind a bare push endpoint."""

    step: Any = None

    def __init__(self, world: World) -> None:
        self.world = world

    async def __aenter__(self) -> _served:
        app = web.Application()
        app.router.add_post("/", self._push)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def _push(self, request: web.Request) -> web.Response:
        envelope = Envelope.read(await request.read())
        try:
            await self.step.handle(envelope.message(), envelope.subscription)
        except Unavailable:
            return web.Response(status=503)
        return web.Response(status=204)
