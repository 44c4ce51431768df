"""The Bus's contract on Google Pub/Sub's emulator, and what only Pub/Sub has: group commit, retries, taps, signed forwarding.

What the emulator cannot be made to do (refuse, hang, know permissions) is played by a scripted server that speaks its protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from google.auth import jwt
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from local import dead_letters
from local.bus import Subscription
from local.dead_letters import Clients, DeadLetters
from local.emulators import Emulators
from local.issuer import LocalIssuer
from local.pubsub import PubsubBus
from shared import logs, push
from shared.adapters import pubsub
from shared.adapters.pubsub import Pubsub
from shared.config import Pushed
from shared.errors import Unavailable
from shared.model import batch
from shared.model.event import Event
from tests.contract.bus_contract import AUDIENCE, EMAIL, ISSUER, BusContract, Inbox, Push

pytestmark = [pytest.mark.network, pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated")]


@pytest.fixture
def project() -> str:
    """Of the test's own, so that tests do not see one another's messages."""
    return f"t-{secrets.token_hex(6)}"


class _Server(uvicorn.Server):
    """uvicorn that leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(routes: Callable[[str], list[BaseRoute]]) -> AsyncIterator[str]:
    """The base URL at which `routes(base URL)` answer."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = _Server(uvicorn.Config(Starlette(routes=routes(url)), log_level="warning", access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield url
        server.should_exit = server.force_exit = True
        await serving


Make = Callable[..., Awaitable[PubsubBus]]


@pytest.fixture
async def twin(tmp_path: Path, emulators: Emulators, project: str, inbox: Inbox, issuer: LocalIssuer) -> AsyncIterator[Make]:
    """Starts PubsubBuses that deliver `events` to the inbox; all are stopped at the end."""
    async with contextlib.AsyncExitStack() as opened:

        async def make(project: str = project, sign: Callable[[str], str] | None = None, **changes: Any) -> PubsubBus:
            subscription = Subscription(
                "record", "events", inbox.url, AUDIENCE, ack_deadline=10, min_backoff=0.1, max_backoff=0.2
            )
            made: list[PubsubBus] = []

            def routes(url: str) -> list[BaseRoute]:
                bus = PubsubBus(
                    tmp_path / "bus.db",
                    project,
                    emulators.pubsub,
                    [replace(subscription, **changes)],
                    sign or (lambda audience: issuer.sign(audience, EMAIL)),
                    forwarder=url,
                    topics=["silent", pubsub.PROBE],
                )
                made.append(bus)
                return [*bus.routes()]

            await opened.enter_async_context(served(routes))
            opened.push_async_callback(made[0].stop, grace=0.05)
            await made[0].start()
            return made[0]

        yield make


@pytest.fixture
async def publisher(emulators: Emulators, project: str) -> AsyncIterator[Pubsub]:
    bus = Pubsub.connect(project, emulators.pubsub)
    yield bus
    await bus.close()


@pytest.fixture
async def bus(twin: Make, publisher: Pubsub) -> Pubsub:
    await twin()
    return publisher


class TestPubsub(BusContract):
    pass


def test_the_probe_is_the_topic_that_sign_up_publishes_to() -> None:
    assert pubsub.PROBE == batch.TOPIC


# --- the twin's bus ---------------------------------------------------------------------------------------------------


async def _drained(bus: PubsubBus, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while any((await bus.pending()).values()):
            await asyncio.sleep(0.05)


async def test_after_five_failures_a_message_is_a_dead_letter_until_replayed(
    twin: Make, publisher: Pubsub, inbox: Inbox, emulators: Emulators, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await twin()
    inbox.answer = lambda push: 503 if push.data["bad"] else 200
    logs.begin("test", {})
    await publisher.publish("events", [{"bad": 1}, {"bad": 0}, {"bad": 2}])
    assert await bus.pending() in ({"record": 3}, {"record": 2})  # the good one may be through
    await _drained(bus)
    assert sorted(push.attempt for push in inbox.pushes if push.data["bad"] == 1) == [1, 2, 3, 4, 5]
    dead = await bus.dead_letters()
    assert {letter.data["bad"] for letter in dead} == {1, 2}
    for letter in dead:
        assert (letter.subscription, letter.topic, letter.attempts) == ("record", "events", 5)
        assert (letter.status, letter.reason, letter.attributes) == (503, "answered 503", logs.carried())
        assert letter.at > letter.published
    assert len(await bus.dead_letters(limit=1)) == 1
    assert [found.data for found in await bus.recent()] == [{"bad": 0}]

    monkeypatch.setattr(dead_letters, "_QUIET", 0.5)
    clients = Clients(project, emulators.pubsub)
    operator = DeadLetters(clients)  # what Pub/Sub itself tells
    for _ in range(2):  # looking loses nothing
        assert await operator.look("record") == [replace(letter, status=0, reason="") for letter in dead]
    assert len(await operator.look("record", limit=1)) == 1
    lines = await dead_letters.operated(project, emulators.pubsub, "record", replay=False)
    assert [json.loads(line.rpartition("  ")[2])["bad"] for line in lines[:-1]] == [letter.data["bad"] for letter in dead]
    assert lines[-1].startswith("2 shown")

    inbox.answer = lambda push: 200
    assert await bus.replay(dead[0].id) == 1
    await _drained(bus)
    assert inbox.pushes[-1].data == dead[0].data and inbox.pushes[-1].attempt == 1
    assert [letter.id for letter in await bus.dead_letters()] == [dead[1].id]
    assert await operator.look("record") == [replace(dead[1], status=0, reason="")]
    assert await bus.replay() == 1
    assert await bus.replay() == 0
    await _drained(bus)
    assert await bus.dead_letters() == []
    assert await dead_letters.operated(project, emulators.pubsub, "record", replay=True) == ["0 replayed to the topic of record."]
    assert await dead_letters.operated(project, emulators.pubsub, "record", replay=False) == ["record has no dead letters."]
    assert sorted(found.data["bad"] for found in await bus.recent()) == [0, 1, 2]
    await clients.close()


async def test_a_step_that_was_away_for_a_moment_misses_nothing(twin: Make, publisher: Pubsub, inbox: Inbox) -> None:
    """The emulator forgets messages of a subscription with a retry policy: see local.pubsub."""
    bus = await twin(max_attempts=100, min_backoff=0.5, max_backoff=30.0)
    back = time.monotonic() + 3.5
    inbox.answer = lambda push: 502 if time.monotonic() < back else 204
    for n in range(60):
        await publisher.publish("events", [{"n": n}])
        await asyncio.sleep(0.03)
    await _drained(bus)
    assert {push.data["n"] for push in inbox.pushes} == set(range(60))
    assert await bus.dead_letters() == []


async def test_what_is_published_is_pending_until_it_is_acknowledged(twin: Make, publisher: Pubsub, inbox: Inbox) -> None:
    bus = await twin()
    acknowledged: set[int] = set()

    def answer(push: Push) -> int | None:
        acknowledged.add(push.data["n"])
        return 200

    inbox.answer = answer
    messages = [{"n": n} for n in range(100)]
    await asyncio.gather(*(publisher.publish("events", messages[n : n + 10]) for n in range(0, 100, 10)))
    while left := (await bus.pending())["record"]:
        assert left >= 100 - len(acknowledged)
    assert len(acknowledged) == len(inbox.pushes) == 100

    inbox.answer = lambda push: None
    await asyncio.gather(*(publisher.publish("events", messages) for _ in range(25)))
    assert await bus.pending() == {"record": 2500}


async def test_what_was_not_delivered_is_pushed_after_a_restart(
    twin: Make, publisher: Pubsub, inbox: Inbox, emulators: Emulators, project: str
) -> None:
    inbox.answer = lambda push: None
    first = await twin()
    await publisher.publish("events", [{"n": 0}])
    await inbox.arrived(1)
    await first.stop(grace=0.0)  # cut off without an answer
    clients = Clients(project, emulators.pubsub)
    stopped = await clients.subscriber.get_subscription(subscription=clients.subscription("record"))
    await clients.close()
    assert stopped.push_config.push_endpoint == ""  # or every try to reach us would count towards the dead letter
    await publisher.publish("events", [{"n": 1}])
    inbox.answer = lambda push: 200
    second = await twin()
    assert (await second.pending())["record"] >= 1
    await _drained(second)
    assert sorted(push.data["n"] for push in inbox.pushes) == [0, 0, 1]
    assert await second.dead_letters() == []


async def test_what_an_earlier_emulator_held_is_not_waited_for(
    twin: Make, publisher: Pubsub, inbox: Inbox, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.answer = lambda push: 200 if push.data["good"] else 503
    first = await twin()
    await publisher.publish("events", [{"good": 0}, {"good": 1}])
    async with asyncio.timeout(10):
        while await first.pending() != {"record": 1}:
            await asyncio.sleep(0.05)
    await first.stop(grace=0.0)
    with caplog.at_level(logging.WARNING, "local.pubsub"):
        second = await twin(project=f"{project}-new")  # an emulator that was started anew knows no topic either
    assert await second.pending() == {"record": 0}
    assert "1 messages to record were lost" in caplog.text
    assert await second.recent() == []  # their ids come again, and would be taken for these


async def test_no_answer_in_time_is_a_failure(
    twin: Make, publisher: Pubsub, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await twin(ack_deadline=0.2)
    inbox.answer = lambda push: None if push.attempt == 1 else 200
    with caplog.at_level(logging.WARNING, "local.pubsub"):
        await publisher.publish("events", [{"n": 0}])
        await _drained(bus)
    assert "push to record, attempt 1: no answer within 0.2 s" in caplog.text
    assert [push.attempt for push in inbox.pushes] == [1, 2]
    [delivered] = await bus.recent()
    assert (delivered.data, delivered.attempts) == ({"n": 0}, 2)


# --- who may push -----------------------------------------------------------------------------------------------------


@dataclass
class Step:
    """A step as deployed, behind the forwarder: what its handler was given."""

    url: str = ""
    handled: list[Any] = field(default_factory=list)


@pytest.fixture
async def step(tmp_path: Path, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Step]:
    monkeypatch.setattr(push, "_cached", {})
    certificates = tmp_path / "certs.json"
    certificates.write_text(json.dumps(issuer.certificates()))
    settings = Pushed(
        stack="google",
        google_cloud_project="p",
        tenant="t",
        public_url=AUDIENCE,
        push_auth="oidc",
        push_audience=AUDIENCE,
        push_issuer=ISSUER,
        push_email=EMAIL,
        push_certs=certificates.as_uri(),
    )
    found = Step()

    @push.pushed(lambda: settings)
    async def record(message: push.Message) -> None:
        found.handled.append(message)

    async with served(lambda url: [Route("/record", record, methods=["POST"])]) as url:
        found.url = f"{url}/record"
        yield found


async def test_a_forwarded_push_is_signed_and_carries_no_address(twin: Make, publisher: Pubsub, step: Step) -> None:
    bus = await twin(endpoint=step.url)
    messages = [batch.request("C-0001", "000000"), Event("opened", "C-0001~000000~" + "a" * 32, 1).to_message()]
    await publisher.publish("events", messages)
    await _drained(bus)
    assert sorted(map(str, step.handled)) == sorted(map(str, messages))
    assert not [found for found in await bus.recent() if "@" in repr(found)]


async def test_a_step_refuses_whoever_is_not_the_forwarder(step: Step, issuer: LocalIssuer, tmp_path: Path) -> None:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "email": EMAIL, "email_verified": True, "iat": now, "exp": now + 600}

    def signed(**changes: Any) -> str:
        return str(jwt.encode(issuer._signer, good | changes).decode())  # type: ignore[no-untyped-call]

    forged = LocalIssuer(tmp_path / "foreign", ISSUER).sign(AUDIENCE, EMAIL)
    head, _, signature = signed().rpartition(".")
    refused = {
        "": 401,
        forged: 401,
        f"{head}.": 401,
        f"{head}.{push.STRIPPED}": 401,
        f"{head}.{signature[:10]}{'B' if signature[10] == 'A' else 'A'}{signature[11:]}": 401,
        signed(iat=now - 7200, exp=now - 3600): 401,
        signed(iss="https://elsewhere.example"): 401,
        signed(aud="https://step.example/another"): 403,
        signed(email="other@local.example"): 403,
        signed(email_verified=False): 403,
    }
    body = {"message": {"data": "e30=", "messageId": "1"}, "subscription": "projects/p/subscriptions/record"}
    async with aiohttp.ClientSession() as session:
        for token, status in refused.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.post(step.url, json=body, headers=headers) as answer:
                assert (answer.status, step.handled) == (status, []), token
        async with session.post(step.url, json=body, headers={"Authorization": f"Bearer {signed()}"}) as answer:
            assert (answer.status, step.handled) == (204, [{}])


async def test_the_forwarder_signs_for_the_emulator_only(twin: Make, step: Step) -> None:
    bus = await twin(endpoint=step.url)
    body = {"message": {"data": "e30=", "messageId": "1"}, "subscription": "projects/p/subscriptions/record"}
    async with aiohttp.ClientSession() as session:
        for query in ("", "?token=", f"?token={'a' * 43}"):
            async with session.post(f"{bus._forwarder}/push/record{query}", json=body) as answer:
                assert answer.status == 404
        async with session.post(f"{bus._forwarder}/push/nobody?token={bus._token}", json=body) as answer:
            assert answer.status == 404
    assert step.handled == []


async def test_check_on_the_emulator_wants_the_topic(emulators: Emulators, project: str, publisher: Pubsub) -> None:
    with pytest.raises(Unavailable, match="send-requests"):
        await publisher.check()
