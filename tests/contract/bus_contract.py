"""What every Bus must do. A subclass per implementation gives the `bus` and `inbox` fixtures; pytest collects those only."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared import logs
from shared.errors import Unavailable
from shared.ports import Bus

AUDIENCE = "https://step.example/record"
EMAIL = "push@local.example"
ISSUER = "https://issuer.example"


@dataclass
class Push:
    """One push as the endpoint saw it."""

    body: dict[str, Any]
    authorization: str

    @property
    def data(self) -> Any:
        return json.loads(base64.b64decode(self.body["message"]["data"]))

    @property
    def attempt(self) -> int:
        return int(self.body["deliveryAttempt"])


@dataclass
class Inbox:
    """A push endpoint that records what comes and answers `answer(push)`: a status, or None for no answer at all."""

    url: str = ""
    pushes: list[Push] = field(default_factory=list)
    answer: Callable[[Push], int | None] = lambda push: 204

    async def until(self, ready: Callable[[list[Push]], bool], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while not ready(self.pushes):
                await asyncio.sleep(0.01)

    async def arrived(self, count: int) -> list[Any]:
        """The data of the pushes, once there are `count`."""
        await self.until(lambda pushes: len(pushes) >= count)
        return [push.data for push in self.pushes]


class BusContract:
    """The topic `events` is delivered to `inbox`, once; `silent` has no subscription; `nowhere` does not exist."""

    async def test_each_message_is_pushed_and_acknowledged_once(self, bus: Bus, inbox: Inbox) -> None:
        messages = [{"n": n, "text": "Zoë 😀", "nested": {"list": [None, True, 1.5]}} for n in range(40)]
        await bus.publish("events", messages[:30])
        await asyncio.gather(*(bus.publish("events", [message]) for message in messages[30:]))
        await bus.publish("events", [])
        found = await inbox.arrived(40)
        await asyncio.sleep(0.3)
        assert sorted(found, key=lambda message: message["n"]) == messages
        assert len(inbox.pushes) == 40
        assert len({push.body["message"]["messageId"] for push in inbox.pushes}) == 40

    async def test_the_envelope_is_pubsubs(self, bus: Bus, inbox: Inbox) -> None:
        await bus.publish("events", [{"a": 1}])
        await inbox.arrived(1)
        body = inbox.pushes[0].body
        assert set(body) >= {"message", "subscription"}
        assert body["subscription"].startswith("projects/")
        assert body["message"]["publishTime"].endswith("Z")
        assert isinstance(body["message"]["messageId"], str)

    async def test_the_request_that_publishes_is_carried(self, bus: Bus, inbox: Inbox) -> None:
        carrying: list[dict[str, str]] = []
        for n in range(3):
            logs.begin("contract", {})
            carrying.append(logs.carried())
            await bus.publish("events", [{"n": n}, {"n": n}])
        await inbox.arrived(6)
        assert len({attributes["traceparent"] for attributes in carrying}) == 3
        for push in inbox.pushes:
            assert push.body["message"]["attributes"].items() >= carrying[push.data["n"]].items()

    async def test_what_is_not_acknowledged_comes_again(self, bus: Bus, inbox: Inbox) -> None:
        def refuse_twice(push: Push) -> int:
            again = sum(other.body["message"]["messageId"] == push.body["message"]["messageId"] for other in inbox.pushes)
            return int(push.data["status"]) if again < 3 else 200

        inbox.answer = refuse_twice
        statuses = [400, 500, 301, 203]  # side by side, for Pub/Sub's emulator waits seconds before it pushes again
        await bus.publish("events", [{"status": status} for status in statuses])
        found = await inbox.arrived(12)
        await asyncio.sleep(0.3)
        assert sorted(message["status"] for message in found) == sorted(statuses * 3)
        assert len(inbox.pushes) == 12
        assert len({push.body["message"]["messageId"] for push in inbox.pushes}) == 4

    async def test_a_topic_without_subscription_takes_messages(self, bus: Bus, inbox: Inbox) -> None:
        await bus.publish("silent", [{"a": 1}])
        await bus.check()
        assert inbox.pushes == []

    async def test_an_unknown_topic_is_unavailable(self, bus: Bus) -> None:
        with pytest.raises(Unavailable):
            await bus.publish("nowhere", [{"a": 1}])

    async def test_what_is_not_json_is_refused_before_anything_is_published(self, bus: Bus, inbox: Inbox) -> None:
        with pytest.raises((TypeError, ValueError)):
            await bus.publish("events", [{"a": 1}, {"b": b"bytes"}])
        await bus.publish("events", [{"c": 1}])
        assert await inbox.arrived(1) == [{"c": 1}]
