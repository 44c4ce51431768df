"""What Pub/Sub's push subscriptions have given up, for an operator: to look at and to replay, on Google as on the emulator.

By convention the dead letters of a subscription `record` go to the topic `record-dead`, where a pull subscription `record-dead`
keeps them until they are replayed (or until its retention ends: 31 days at most).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc.aio
from google.api_core import exceptions
from google.pubsub_v1 import PublisherAsyncClient, PubsubMessage, ReceivedMessage, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from local.bus import DeadLetter
from shared.adapters import credentials
from shared.errors import Unavailable

CALL = 10.0  # seconds for a call to Pub/Sub
SOURCE = "CloudPubSubDeadLetterSource"  # begins the names of what Pub/Sub adds to a dead letter's attributes
_QUIET = 3.0  # seconds without another message, after which a subscription counts as read to its end
_CHUNK = 100  # letters in one call


def dead(subscription: str) -> str:
    """The name of a subscription's dead-letter topic, and of the subscription there that keeps its messages."""
    return f"{subscription}-dead"


class Clients:
    """Publisher and subscriber on one project; `host`: the emulator's "host:port", "" is Google with the default credentials.

    Made on a running event loop.
    """

    def __init__(self, project: str, host: str = "") -> None:
        self._project = project
        if host:
            channel = grpc.aio.insecure_channel(host)
            self.publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
            self.subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
        else:
            self.publisher, self.subscriber = PublisherAsyncClient(), SubscriberAsyncClient()

    def topic(self, name: str) -> str:
        return f"projects/{self._project}/topics/{name}"

    def subscription(self, name: str) -> str:
        return f"projects/{self._project}/subscriptions/{name}"

    async def close(self) -> None:
        """Let go of the connections."""
        await self.publisher.transport.close()  # type: ignore[no-untyped-call]
        await self.subscriber.transport.close()  # type: ignore[no-untyped-call]


class DeadLetters:
    """The dead letters of a project's push subscriptions, read from Pub/Sub itself. Both methods raise Unavailable.

    A letter's `id` is the Pub/Sub id of the message in the dead-letter subscription; `status` and `reason` are not known there.
    Needs roles/pubsub.subscriber on `{name}-dead`, roles/pubsub.viewer on the subscription, roles/pubsub.publisher on its topic.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def look(self, subscription: str, limit: int = 100) -> list[DeadLetter]:
        """Up to `limit` letters of a push subscription, newest first; they stay where they are."""
        with told():
            topic = await self._topic(subscription)
            held = await self._held(subscription, limit=limit)
            await self._release(subscription, held)
        return sorted((letter(one.message, topic) for one in held), key=lambda found: (found.at, found.id), reverse=True)

    async def replay(self, subscription: str, ids: Collection[int] | None = None) -> int:
        """Publish these letters, or all, to their topic again, as they were; how many there were.

        Every subscription of the topic gets them, and a letter whose removal fails may be replayed twice: steps are idempotent.
        """
        with told():
            topic = self._clients.topic(await self._topic(subscription))
            held = await self._held(subscription, ids=ids)
            wanted = [one for one in held if ids is None or int(one.message.message_id) in ids]
            for start in range(0, len(wanted), _CHUNK):
                chunk = wanted[start : start + _CHUNK]
                again = [PubsubMessage(data=one.message.data, attributes=own(one.message)) for one in chunk]
                await self._clients.publisher.publish(topic=topic, messages=again, timeout=CALL)
                path, acks = self._clients.subscription(dead(subscription)), [one.ack_id for one in chunk]
                await self._clients.subscriber.acknowledge(subscription=path, ack_ids=acks, timeout=CALL)
            await self._release(subscription, [one for one in held if ids is not None and int(one.message.message_id) not in ids])
        return len(wanted)

    async def _topic(self, subscription: str) -> str:
        path = self._clients.subscription(subscription)
        found = await self._clients.subscriber.get_subscription(subscription=path, retry=None, timeout=CALL)
        return str(found.topic).rpartition("/")[2]

    async def _held(
        self, subscription: str, *, ids: Collection[int] | None = None, limit: int | None = None
    ) -> list[ReceivedMessage]:
        """Pull letters, which nobody else gets meanwhile, until all of `ids` are there, or `limit` letters, or no more come."""
        held: dict[int, ReceivedMessage] = {}
        path = self._clients.subscription(dead(subscription))
        while (limit is None or len(held) < limit) and (ids is None or not held.keys() >= set(ids)):
            room = _CHUNK if limit is None else min(_CHUNK, limit - len(held))
            try:
                found = await self._clients.subscriber.pull(subscription=path, max_messages=room, retry=None, timeout=_QUIET)
            except exceptions.DeadlineExceeded:
                break
            held |= {int(one.message.message_id): one for one in found.received_messages}
            if not found.received_messages:
                break
        return list(held.values())

    async def _release(self, subscription: str, held: Sequence[ReceivedMessage]) -> None:
        path = self._clients.subscription(dead(subscription))
        for start in range(0, len(held), _CHUNK):
            acks = [one.ack_id for one in held[start : start + _CHUNK]]
            request = {"subscription": path, "ack_ids": acks, "ack_deadline_seconds": 0}
            await self._clients.subscriber.modify_ack_deadline(request=request, timeout=CALL)


async def operated(project: str, host: str, subscription: str, replay: bool) -> list[str]:
    """What an operator is told, line by line, of a subscription's dead letters; they are replayed only when asked for.

    Raises Unavailable, and ConfigError without credentials.
    """
    with credentials.needed():
        clients = Clients(project, host)
    try:
        letters = DeadLetters(clients)
        if replay:
            return [f"{await letters.replay(subscription)} replayed to the topic of {subscription}."]
        found = await letters.look(subscription)
    finally:
        await clients.close()
    if not found:
        return [f"{subscription} has no dead letters."]
    lines = [f"{_day(one.at)}  {one.id}  {one.attempts} attempts  {json.dumps(one.data)}" for one in found]
    return [*lines, f"{len(found)} shown, newest first; --replay sends all of {subscription}'s again."]


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(sep=" ", timespec="seconds")


def letter(message: PubsubMessage, topic: str) -> DeadLetter:
    """What a message in a dead-letter topic tells about itself:
    https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts"""
    source = message.attributes
    return DeadLetter(
        id=int(message.message_id),
        subscription=source[f"{SOURCE}Subscription"],
        topic=topic,
        message=message.message_id,
        data=json.loads(content(message)),
        published=milliseconds(datetime.fromisoformat(source[f"{SOURCE}TopicPublishTime"])),
        at=milliseconds(message.publish_time),
        attempts=int(source[f"{SOURCE}DeliveryCount"]),
        status=0,
        reason="",
        attributes=own(message),
    )


def own(message: PubsubMessage) -> dict[str, str]:
    """The attributes that a message was published with."""
    return {name: text for name, text in message.attributes.items() if not name.startswith(SOURCE)}


def content(message: PubsubMessage) -> str:
    """A message's JSON; what is none, as a JSON string."""
    text: str = message.data.decode(errors="replace")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(text)
    return text


def milliseconds(moment: datetime) -> int:
    """Since the Unix epoch."""
    return round(moment.timestamp() * 1000)


@contextmanager
def told() -> Iterator[None]:
    """Google's errors as Unavailable."""
    try:
        yield
    except exceptions.GoogleAPIError as error:
        raise Unavailable("pubsub", f"{type(error).__name__} {error}"[:300]) from None
