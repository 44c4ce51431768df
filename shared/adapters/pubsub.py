"""The publishing half of Google Pub/Sub, on Google's own async client.

A Publish call costs half a millisecond of CPU and a round trip, and up to 1,000 messages fit in one. So calls are group commits: a
message that finds the topic at rest leaves at once, and what comes within `_REST` of a call's start, or while `_CALLS` of them are
under way, waits and leaves together in the next one. A call that takes long no longer counts, and one whose callers have all left
is cancelled.

Calls are made with gRPC's own stub on the official client's channel: the client's wrappers cost as much as the call itself
(docs/decisions/0015-queries-over-rest-calls-without-wrappers.md).

Publishing is at least once anyway, so a call that may pass is repeated, with back-off, within the caller's patience.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.api_core import exceptions
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.api_core.retry_async import AsyncRetry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.types import PublishRequest, PublishResponse

from shared.errors import Unavailable
from shared.logs import carried

PROBE = "send-requests"  # the topic that `check` asks about: shared.model.batch.TOPIC

_MAX_MESSAGES = 1000  # https://cloud.google.com/pubsub/quotas#resource_limits
_MAX_BYTES = 9_900_000  # of 10 MB; the rest is for the topic's name and the framing
_FRAMING = 8  # bytes of a request around one message, at most
_CALLS = 2  # of one topic at once; more cost CPU and save little time
_REST = 0.02  # seconds from the start of one call to the next: Pub/Sub itself takes about as long to answer
_SLOW = 1.0  # seconds after which a call is taken to hang, and holds up nobody else
_CALLS_AT_MOST = 8  # of one topic, with those that hang
_PATIENCE = 30.0  # seconds for a publish, everything included
_ATTEMPT = 10.0  # seconds for one call
_RETRY = AsyncRetry(
    predicate=if_exception_type(
        exceptions.Aborted,
        exceptions.Cancelled,
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.ResourceExhausted,
        exceptions.ServiceUnavailable,
        exceptions.Unknown,
    ),
    initial=0.1,
    multiplier=2.0,
    maximum=5.0,
    timeout=_PATIENCE,
)
_CHECKING = 5.0  # seconds
_FAILURES = (exceptions.GoogleAPIError, GoogleAuthError)

_PUBLISH = "/google.pubsub.v1.Publisher/Publish"
_Request: Any = PublishRequest.pb(PublishRequest()).__class__  # the bare protobuf message
_json = json.JSONEncoder(allow_nan=False).encode  # `dumps` would make an encoder each time
_Response: Any = PublishResponse.pb(PublishResponse()).__class__


class Pubsub:
    """Implements `shared.ports.Bus`. Belongs to the event loop of its first use."""

    def __init__(self, project: str, client: Callable[[], PublisherAsyncClient], probe: str = PROBE) -> None:
        self._project = project
        self._make = client
        self._made: PublisherAsyncClient | None = None
        self._stub: Any = None
        self._probe = probe
        self._queues: dict[str, _Queue] = {}

    @classmethod
    def connect(cls, project: str, emulator_host: str = "", *, probe: str = PROBE) -> Pubsub:
        """Google itself, with the default credentials, or the emulator at "host:port". Nothing is opened before the first use."""
        return cls(project, lambda: _on_emulator(emulator_host) if emulator_host else PublisherAsyncClient(), probe)

    async def close(self) -> None:
        """Let go of the connection; what is under way fails."""
        if self._made is not None:
            await self._made.transport.close()  # type: ignore[no-untyped-call]

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """All messages durable on return, each with the attributes of `shared.logs.carried`.

        Raises TypeError or ValueError, before anything is sent, for what is not JSON or is over 10 MB; Unavailable, also for a
        topic that does not exist or that we may not publish to. Then some messages may have been accepted.
        """
        parts = _parts(messages, carried())
        if not parts:
            return
        queue = self._queues.get(topic)
        if queue is None:
            queue = self._queues[topic] = _Queue(topic, self._send)
        if len(parts) == 1:  # nearly always: gathering costs
            await queue.add(parts[0])
            return
        ends = await asyncio.gather(*map(queue.add, parts), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def check(self) -> None:
        """Return when a publish to the probe topic would be accepted now; raises Unavailable.

        TestIamPermissions asks just that, and needs no permission itself: roles/pubsub.publisher is enough, where reading or
        listing topics would take a viewer's role. A topic that does not exist grants nothing. The emulator knows no permissions:
        there the topic has to exist.
        """
        resource, wanted = self._path(self._probe), "pubsub.topics.publish"
        try:
            client = self._client()
            try:
                asked = {"resource": resource, "permissions": [wanted]}
                granted = (await client.test_iam_permissions(request=asked, timeout=_CHECKING)).permissions
            except exceptions.MethodNotImplemented:
                await client.get_topic(topic=resource, retry=None, timeout=_CHECKING)
                granted = [wanted]
        except _FAILURES as error:
            raise _unavailable(self._probe, error) from None
        if wanted not in granted:
            raise Unavailable("pubsub", f"{self._probe}: no such topic, or we may not publish to it")

    async def _send(self, topic: str, request: Any) -> None:
        request.topic = self._path(topic)
        routing = to_grpc_metadata((("topic", request.topic),))  # type: ignore[no-untyped-call]
        await _RETRY(self._attempt)(request, (routing,))

    async def _attempt(self, request: Any, metadata: Sequence[tuple[str, str]]) -> None:
        if self._stub is None:
            client: Any = self._client()
            self._stub = client.transport.grpc_channel.unary_unary(
                _PUBLISH, request_serializer=_Request.SerializeToString, response_deserializer=_Response.FromString
            )
        try:
            await self._stub(request, timeout=_ATTEMPT, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise exceptions.from_grpc_error(error) from None  # type: ignore[no-untyped-call]

    def _path(self, topic: str) -> str:
        return f"projects/{self._project}/topics/{topic}"

    def _client(self) -> PublisherAsyncClient:
        if self._made is None:
            self._made = self._make()
        return self._made


@dataclass(slots=True)
class _Part:
    """Messages of one caller that fit into one request (without its topic). `done`: they are durable, or what befell them."""

    request: Any
    size: int = 0  # bytes
    patience: asyncio.TimerHandle | None = None
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Queue:
    """What is on its way to one topic, and what waits for the next call."""

    def __init__(self, topic: str, send: Callable[[str, Any], Awaitable[None]]) -> None:
        self._topic = topic
        self._send = send
        self._waiting: deque[_Part] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._quick: set[asyncio.Task[None]] = set()  # those of them younger than _SLOW
        self._woken = False
        self._rested = 0.0  # when the next call may start, by the loop's clock

    def add(self, part: _Part) -> asyncio.Future[None]:
        """Queue a part; its future."""
        self._waiting.append(part)
        part.patience = asyncio.get_running_loop().call_later(_PATIENCE, self._give_up, part)
        self._soon()
        return part.done

    def _give_up(self, part: _Part) -> None:
        if not part.done.done():
            part.done.set_exception(Unavailable("pubsub", f"{self._topic}: no answer within {_PATIENCE:g} s"))

    def _soon(self) -> None:
        """Start what waits once the topic has rested, at the soonest when this turn of the loop is over: who publishes until then
        joins the same call."""
        if self._waiting and not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_at(self._rested, self._wake)

    def _wake(self) -> None:
        self._woken = False
        while self._waiting and len(self._quick) < _CALLS and len(self._calls) < _CALLS_AT_MOST:
            if group := self._next():
                self._start(group)
                self._rested = asyncio.get_running_loop().time() + _REST

    def _start(self, group: list[_Part]) -> None:
        task = asyncio.create_task(self._call(group))
        self._calls.add(task)
        self._quick.add(task)
        slow = asyncio.get_running_loop().call_later(_SLOW, self._slow, task)
        callers = len(group)

        def left(_: asyncio.Future[None]) -> None:
            nonlocal callers
            callers -= 1
            if not callers:
                task.cancel()  # where they have their answers, it has ended

        def ended(_: asyncio.Task[None]) -> None:
            slow.cancel()
            self._calls.discard(task)
            self._slow(task)

        for part in group:
            part.done.add_done_callback(left)
        task.add_done_callback(ended)

    def _slow(self, task: asyncio.Task[None]) -> None:
        self._quick.discard(task)
        self._soon()

    def _next(self) -> list[_Part]:
        """As much of the queue as one request holds, without the parts whose caller has left."""
        group: list[_Part] = []
        messages = size = 0
        while self._waiting:
            part = self._waiting[0]
            messages, size = messages + len(part.request.messages), size + part.size
            if group and (messages > _MAX_MESSAGES or size > _MAX_BYTES):
                break
            self._waiting.popleft()
            if not part.done.done():
                group.append(part)
        return group

    async def _call(self, group: list[_Part]) -> None:
        try:
            request = _Request()
            for part in group:
                request.MergeFrom(part.request)
            await self._send(self._topic, request)
        except exceptions.InvalidArgument as error:
            if len(group) == 1:
                return _settle(group, self._topic, error)
            for part in group:  # nothing was accepted, and one caller's message must not spoil the others'
                if not part.done.done():
                    await self._call([part])
        except (Exception, asyncio.CancelledError) as error:
            _settle(group, self._topic, error)
        else:
            _settle(group, self._topic, None)


def _settle(group: list[_Part], topic: str, error: BaseException | None) -> None:
    """Tell the callers that are still there, each by an exception of its own."""
    for part in group:
        if part.patience:
            part.patience.cancel()
        if part.done.done():
            continue
        if error is None:
            part.done.set_result(None)
        elif isinstance(error, (*_FAILURES, asyncio.CancelledError)):  # closing a connection cancels its calls
            part.done.set_exception(_unavailable(topic, error))
        else:
            part.done.set_exception(error)


def _unavailable(topic: str, error: BaseException) -> Unavailable:
    return Unavailable("pubsub", f"{topic}: {type(error).__name__} {error}"[:300])


def _parts(messages: Sequence[Mapping[str, Any]], attributes: dict[str, str]) -> list[_Part]:
    """The messages, encoded, in as few parts as Pub/Sub's limits allow."""
    parts: list[_Part] = []
    around = _FRAMING + sum(len(name.encode()) + len(text.encode()) + _FRAMING for name, text in attributes.items())
    for message in messages:
        data = _json(message).encode()
        size = len(data) + around
        if size > _MAX_BYTES:
            raise ValueError("a message is over Pub/Sub's 10 MB")
        if not parts or len(parts[-1].request.messages) == _MAX_MESSAGES or parts[-1].size + size > _MAX_BYTES:
            parts.append(_Part(_Request()))
        made = parts[-1].request.messages.add(data=data)
        for name, text in attributes.items():  # a fifth of the time of giving them all
            made.attributes[name] = text
        parts[-1].size += size
    return parts


def _on_emulator(host: str) -> PublisherAsyncClient:
    return PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(host)))
