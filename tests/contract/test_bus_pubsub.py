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
import grpc
import grpc.aio
import pytest
import uvicorn
from google.auth import jwt
from google.iam.v1 import iam_policy_pb2 as iam
from google.pubsub_v1 import PublishRequest, PublishResponse
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


# --- publishing, against a scripted server ----------------------------------------------------------------------------


@dataclass
class Scripted:
    """A server that records the Publish calls it gets; `answer(messages)` may wait, or abort by returning a status."""

    host: str = ""
    calls: list[list[Any]] = field(default_factory=list)
    attributes: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[list[Any]], Awaitable[grpc.StatusCode | None]] | None = None
    permissions: list[str] | grpc.StatusCode = field(default_factory=lambda: ["pubsub.topics.publish"])

    async def publish(self, request: PublishRequest, context: Any) -> PublishResponse:
        messages = [json.loads(message.data) for message in request.messages]
        self.calls.append(messages)
        self.attributes += [dict(message.attributes) for message in request.messages]
        if self.answer is not None and (status := await self.answer(messages)):
            await context.abort(status, "as the script says")
        return PublishResponse(message_ids=[str(n) for n in range(len(messages))])

    async def permit(self, request: Any, context: Any) -> Any:
        if isinstance(self.permissions, grpc.StatusCode):
            await context.abort(self.permissions, "as the script says")
        ours = request.resource == "projects/p/topics/send-requests"
        return iam.TestIamPermissionsResponse(permissions=self.permissions if ours else [])


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    script = Scripted()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 11_000_000)])
    handlers = (
        ("google.pubsub.v1.Publisher", "Publish", script.publish, PublishRequest.deserialize, PublishResponse.serialize),
        (
            "google.iam.v1.IAMPolicy",
            "TestIamPermissions",
            script.permit,
            iam.TestIamPermissionsRequest.FromString,
            iam.TestIamPermissionsResponse.SerializeToString,
        ),
    )
    for service, method, handle, read, write in handlers:
        handler = grpc.unary_unary_rpc_method_handler(handle, request_deserializer=read, response_serializer=write)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    script.host = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield script
    await server.stop(0)


@pytest.fixture
async def client(scripted: Scripted) -> AsyncIterator[Pubsub]:
    bus = Pubsub.connect("p", scripted.host)
    yield bus
    await bus.close()


async def _until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not ready():
            await asyncio.sleep(0.005)


async def test_publishes_gather_while_calls_are_in_flight(scripted: Scripted, client: Pubsub) -> None:
    gate = asyncio.Event()

    async def wait(messages: list[Any]) -> None:
        await gate.wait()

    scripted.answer = wait
    published: list[asyncio.Task[None]] = []
    for n in range(50):
        published.append(asyncio.create_task(client.publish("events", [n, n])))  # type: ignore[list-item]
        await _until(lambda: len(scripted.calls) == min(len(published), pubsub._CALLS))
    await client.publish("other", [])  # nothing to send, nothing to wait for
    await asyncio.sleep(0.05)
    assert scripted.calls == [[n, n] for n in range(pubsub._CALLS)] and not any(task.done() for task in published)
    gate.set()
    await asyncio.gather(*published)
    assert len(scripted.calls) == pubsub._CALLS + 1
    assert scripted.calls[-1] == [n for n in range(pubsub._CALLS, 50) for _ in range(2)]


async def test_publishes_of_one_turn_of_the_loop_share_a_call(scripted: Scripted, client: Pubsub) -> None:
    await asyncio.gather(*(client.publish("events", [{"n": n}]) for n in range(40)))
    assert scripted.calls == [[{"n": n} for n in range(40)]]


async def test_a_refused_message_fails_its_own_publisher_only(scripted: Scripted, client: Pubsub) -> None:
    async def refuse(messages: list[Any]) -> grpc.StatusCode | None:
        return grpc.StatusCode.INVALID_ARGUMENT if {"bad": True} in messages else None

    scripted.answer = refuse
    given = [{"bad": n == 3} | ({"n": n} if n != 3 else {}) for n in range(6)]
    ends = await asyncio.gather(*(client.publish("events", [one]) for one in given), return_exceptions=True)
    assert [type(end) for end in ends] == [type(None)] * 3 + [Unavailable] + [type(None)] * 2
    assert scripted.calls == [given, *([one] for one in given)]
    with pytest.raises(TypeError):
        await asyncio.gather(client.publish("events", [{"a": b"bytes"}]), client.publish("events", [{"n": 7}]))
    await _until(lambda: scripted.calls[-1] == [{"n": 7}])


async def test_each_of_a_failed_group_gets_an_error_of_its_own(scripted: Scripted, client: Pubsub) -> None:
    async def refuse(messages: list[Any]) -> grpc.StatusCode:
        return grpc.StatusCode.PERMISSION_DENIED

    scripted.answer = refuse
    ends = await asyncio.gather(*(client.publish("events", [{}]) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(end, Unavailable) and "PermissionDenied" in str(end) for end in ends)
    assert len({id(end) for end in ends}) == 3
    assert len(scripted.calls) == 1  # nothing that trying again would change


async def test_what_may_pass_is_tried_again(scripted: Scripted, client: Pubsub) -> None:
    statuses = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, None]

    async def script(messages: list[Any]) -> grpc.StatusCode | None:
        return statuses.pop(0)

    scripted.answer = script
    await client.publish("events", [{"n": 1}])
    assert scripted.calls == [[{"n": 1}]] * 4


async def test_patience_ends_and_a_call_that_hangs_holds_nobody_up(
    scripted: Scripted, client: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(messages: list[Any]) -> None:
        if messages == ["hang"]:
            await asyncio.sleep(30)

    scripted.answer = hang
    hung = asyncio.create_task(client.publish("events", ["hang"]))  # type: ignore[list-item]
    await _until(lambda: len(scripted.calls) == 1)
    for n in range(5):
        await client.publish("events", [{"n": n}])
    assert not hung.done()
    monkeypatch.setattr(pubsub, "_PATIENCE", 0.2)
    with pytest.raises(Unavailable, match=r"no answer within 0.2 s"):
        await client.publish("events", ["hang"])  # type: ignore[list-item]
    await client.close()
    with pytest.raises(Unavailable, match="Cancelled"):
        await hung


async def test_an_attempt_that_hangs_is_given_up_and_tried_again(
    scripted: Scripted, client: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang_once(messages: list[Any]) -> None:
        if len(scripted.calls) == 1:
            await asyncio.sleep(30)

    scripted.answer = hang_once
    monkeypatch.setattr(pubsub._ATTEMPT, "_timeout", 0.2)
    await client.publish("events", [{"n": 1}])
    assert scripted.calls == [[{"n": 1}]] * 2


async def test_what_waits_is_not_sent_for_a_caller_that_has_left(scripted: Scripted, client: Pubsub) -> None:
    gate = asyncio.Event()

    async def wait(messages: list[Any]) -> None:
        await gate.wait()

    scripted.answer = wait
    tasks = []
    for n in range(pubsub._CALLS):
        tasks.append(asyncio.create_task(client.publish("events", [{"n": n}])))
        await _until(lambda: len(scripted.calls) == len(tasks))
    left, stays = (asyncio.create_task(client.publish("events", [{"n": n}])) for n in ("left", "stays"))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(stays, *tasks)
    assert left.cancelled()
    assert scripted.calls[-1] == [{"n": "stays"}]


async def test_a_call_that_nobody_waits_for_is_cancelled_and_frees_its_place(
    scripted: Scripted, client: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[Any] = []

    async def hang(messages: list[Any]) -> None:
        if messages[0]["hangs"]:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.extend(messages)
                raise

    scripted.answer = hang
    monkeypatch.setattr(pubsub, "_SLOW", 30.0)
    monkeypatch.setattr(pubsub, "_CALLS", 1)
    first, second = (asyncio.create_task(client.publish("events", [{"hangs": n}] * 2)) for n in (1, 2))
    await _until(lambda: len(scripted.calls) == 1 and len(scripted.calls[0]) == 4)  # they share it
    after = asyncio.create_task(client.publish("events", [{"hangs": 0}]))
    first.cancel()
    await asyncio.sleep(0.1)
    assert first.cancelled() and not after.done() and not cancelled  # the second still waits for it
    second.cancel()
    async with asyncio.timeout(5):
        await after
    await _until(lambda: len(cancelled) == 4)

    monkeypatch.setattr(pubsub, "_PATIENCE", 0.1)
    for n in (1, 2, 3):
        with pytest.raises(Unavailable, match="no answer within"):
            await client.publish("events", [{"hangs": n}])
    await client.publish("events", [{"hangs": 0}])


async def test_a_refused_group_is_not_sent_on_for_those_who_have_left(scripted: Scripted, client: Pubsub) -> None:
    gate = asyncio.Event()

    async def refuse(messages: list[Any]) -> grpc.StatusCode:
        if len(scripted.calls) == 2:
            await gate.wait()
        return grpc.StatusCode.INVALID_ARGUMENT

    scripted.answer = refuse
    first, left, stays = (asyncio.create_task(client.publish("events", [{"n": n}])) for n in range(3))
    await _until(lambda: len(scripted.calls) == 2)
    left.cancel()
    await asyncio.sleep(0)
    gate.set()
    for task in (first, stays):
        with pytest.raises(Unavailable):
            await task
    assert scripted.calls[1:] == [[{"n": 0}], [{"n": 2}]]


async def test_calls_that_take_long_do_not_count_but_are_bounded(
    scripted: Scripted, client: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def hang(messages: list[Any]) -> None:
        if messages[0]["hangs"]:
            await gate.wait()

    scripted.answer = hang
    monkeypatch.setattr(pubsub, "_SLOW", 0.05)
    hung: list[asyncio.Task[None]] = []
    for n in range(1, pubsub._CALLS_AT_MOST):
        hung.append(asyncio.create_task(client.publish("events", [{"hangs": n}])))
        async with asyncio.timeout(5):
            await _until(lambda: len(scripted.calls) == len(hung))
    async with asyncio.timeout(5):
        await client.publish("events", [{"hangs": 0}])
    hung.append(asyncio.create_task(client.publish("events", [{"hangs": 99}])))
    await _until(lambda: scripted.calls[-1] == [{"hangs": 99}])
    waits = asyncio.create_task(client.publish("events", [{"hangs": 0}]))
    await asyncio.sleep(0.3)
    assert len(scripted.calls) == pubsub._CALLS_AT_MOST + 1 and not waits.done()
    gate.set()
    await asyncio.gather(*hung, waits)


async def test_requests_keep_within_pubsubs_limits(scripted: Scripted, client: Pubsub) -> None:
    await client.publish("events", [{"n": n} for n in range(2500)])
    assert sorted(len(call) for call in scripted.calls) == [500, 1000, 1000]
    assert sorted(message["n"] for call in scripted.calls for message in call) == list(range(2500))
    scripted.calls.clear()
    heavy = {"text": "x" * 3_000_000}
    await asyncio.gather(client.publish("events", [heavy] * 4), client.publish("events", [heavy]))
    assert sorted(len(call) for call in scripted.calls) == [2, 3]
    scripted.calls.clear()
    with pytest.raises(ValueError, match="10 MB"):
        await client.publish("events", [{}, {"text": "x" * 10_000_000}])
    with pytest.raises(ValueError, match="JSON"):
        await client.publish("events", [{}, {"n": float("nan")}])
    assert scripted.calls == []


async def test_the_largest_request_is_within_ten_megabytes(scripted: Scripted, client: Pubsub) -> None:
    attributes = {"traceparent": "x" * 55, "é" * 20: "ü" * 100}  # two bytes each
    parts = pubsub._parts([{"text": "x" * 9_950} for _ in range(1500)], attributes)
    assert len(parts) == 2 and parts[0].size > 9_800_000
    for part in parts:
        part.request.topic = f"projects/{'p' * 30}/topics/{'t' * 255}"
        assert part.request.ByteSize() <= 10_000_000


async def test_messages_of_one_call_carry_their_own_requests(scripted: Scripted, client: Pubsub) -> None:
    async def request() -> dict[str, str]:
        logs.begin("test", {})
        await client.publish("events", [{}])
        return logs.carried()

    carried = await asyncio.gather(request(), request())
    assert len(scripted.calls) == 1
    assert scripted.attributes == list(carried) and carried[0] != carried[1]


async def test_check_asks_for_the_right_to_publish(scripted: Scripted, client: Pubsub) -> None:
    await client.check()
    answers: list[list[str] | grpc.StatusCode] = [[], grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE]
    for answer in answers:
        scripted.permissions = answer
        with pytest.raises(Unavailable):
            await client.check()
    assert scripted.calls == []


async def test_check_on_the_emulator_wants_the_topic(emulators: Emulators, project: str, publisher: Pubsub) -> None:
    with pytest.raises(Unavailable, match="send-requests"):
        await publisher.check()


async def test_without_credentials_google_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    bus = Pubsub.connect("p")
    for attempt in (bus.publish("events", [{}]), bus.check()):
        with pytest.raises(Unavailable, match="DefaultCredentialsError"):
            await attempt
    await bus.close()


async def test_nobody_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "_PATIENCE", 0.5)
    bus = Pubsub.connect("p", "127.0.0.1:1")
    with pytest.raises(Unavailable):
        await bus.publish("events", [{}])
    with pytest.raises(Unavailable):
        await bus.check()
    await bus.close()
