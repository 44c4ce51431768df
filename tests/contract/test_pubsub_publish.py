"""Publishing to Pub/Sub: what gathers into one call, whose error is whose, what is given up; against a server that answers by script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.iam.v1 import iam_policy_pb2 as iam
from google.pubsub_v1 import PublishRequest, PublishResponse

from shared import logs
from shared.adapters import pubsub
from shared.adapters.pubsub import Pubsub
from shared.errors import Unavailable

pytestmark = [pytest.mark.network, pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated")]


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


async def test_what_comes_soon_after_a_call_leaves_together(
    scripted: Scripted, client: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "_REST", 0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await client.publish("events", [{"n": 0}])
    assert loop.time() - began < 0.2  # the topic was at rest
    for n in range(1, 4):
        scripted.calls.clear()
        soon: list[asyncio.Task[None]] = []
        for m in range(5):
            soon.append(asyncio.create_task(client.publish("events", [{"n": m}])))
            await asyncio.sleep(0.01)
        assert scripted.calls == []
        await asyncio.gather(*soon)
        assert scripted.calls == [[{"n": m} for m in range(5)]]
        assert loop.time() - began >= 0.2 * n


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
    monkeypatch.setattr(pubsub, "_ATTEMPT", 0.2)
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
