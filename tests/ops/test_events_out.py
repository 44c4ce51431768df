"""What an operator is told of the endpoints, and what an endpoint gets again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from google.pubsub_v1 import PubsubMessage
from typer.testing import CliRunner

from local import dead_letters
from local.dead_letters import Clients
from local.emulators import Emulators
from ops.__main__ import app
from ops.events_out import enable, listed, replay
from shared.errors import NotFound, Unavailable
from shared.model.endpoint import Endpoint
from tests.steps.conftest import world
from tests.steps.fakes import HOUR
from tests.steps.notices import REF, event
from tests.steps.test_notify import CRM, FakeHttp, step, tried
from tests.steps.world import World

__all__ = ["world"]
Made = Callable[..., Any]


async def told(world: World, *names: str) -> str:
    return "\n".join([line async for line in listed(world.store, world.paths, names, world.clock.now())])


async def test_each_endpoint_is_listed_with_its_state_and_its_last_hour(world: World) -> None:
    http = FakeHttp(500, 204, 410)
    notify = step(world, http, CRM, Endpoint("shop", "https://shop.example/"))
    assert await tried(notify)
    found = await told(world, "crm", "quiet")
    assert "crm: failing since 2027-01-15 08:00:00 UTC" in found and "quiet: well" in found
    assert "0 delivered, 1 failed attempts (1 × 500), 0 dropped" in found
    assert f"{http.calls[0].headers['webhook-id']}  mail.clicked of {REF.text}: 500" in found
    assert await tried(notify, name="shop") == ""
    world.clock.advance(60_000)
    assert await tried(notify, name="shop") == ""
    found = await told(world)
    assert "shop: disabled since 2027-01-15 08:01:00 UTC: it answered 410" in found
    world.clock.advance(HOUR + 1)
    assert "failed attempts (" not in await told(world)


async def test_a_disabled_endpoint_is_taken_up_again(world: World) -> None:
    http = FakeHttp(410)
    notify = step(world, http)
    with pytest.raises(NotFound):
        await enable(world.store, world.paths, "crm")
    assert await tried(notify) == await tried(notify) == ""
    assert "crm is enabled" in await enable(world.store, world.paths, "crm")
    assert "crm: well" in await told(world)
    world.clock.advance(60_000)
    assert await tried(notify) == ""
    assert len(http.calls) == 2


def test_the_command_reads_the_twins_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"STACK": "embedded", "STATE_DIR": str(world.file.parent), "TENANT": "t", "PUBLIC_URL": "http://127.0.0.1:8080"}
    settings["EVENTS_OUT"] = '[{"name": "crm", "url": "http://127.0.0.1:9000/"}]'
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["events-out"])
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "crm: well")
    refused = CliRunner().invoke(app, ["events-out", "--enable", "nobody"])
    assert refused.exit_code == 1 and "no such endpoint" in refused.output


@pytest.mark.network
@pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated")
async def test_a_dead_letter_goes_again_to_its_endpoint_alone(emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "_QUIET", 0.5)
    project = f"t-{secrets.token_hex(6)}"
    clients = Clients(project, emulators.pubsub)
    for topic, subscription in (("engagement-events", "looking"), ("notify-crm-dead", "notify-crm-dead")):
        await clients.publisher.create_topic(name=clients.topic(topic))
        name = clients.subscription(subscription)
        await clients.subscriber.create_subscription(name=name, topic=clients.topic(topic))
    letters = [
        PubsubMessage(
            data=json.dumps(event(n).to_message()).encode(),
            attributes={"traceparent": "x", "CloudPubSubDeadLetterSourceSubscription": "notify-crm"},
        )
        for n in range(3)
    ]
    await clients.publisher.publish(topic=clients.topic("notify-crm-dead"), messages=letters)
    assert await replay(project, emulators.pubsub, "crm") == "3 events are on their way to crm again."
    assert await replay(project, emulators.pubsub, "crm") == "0 events are on their way to crm again."
    found = await clients.subscriber.pull(subscription=clients.subscription("looking"), max_messages=10)
    wanted = [{**event(n).to_message(), "endpoint": "crm"} for n in range(3)]
    assert sorted((json.loads(one.message.data) for one in found.received_messages), key=lambda one: one["at"]) == wanted
    assert [dict(one.message.attributes) for one in found.received_messages] == [{"traceparent": "x"}] * 3
    with pytest.raises(Unavailable):
        await replay(project, emulators.pubsub, "nobody")
    await clients.close()
