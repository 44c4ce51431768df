"""The Bus's contract on the laptop's bus, and what its delivering half adds: back-off, dead letters, replay, tokens, restarts."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.auth import exceptions, jwt

from local.bus import LocalBus, Subscription, backoff
from local.crowd import MANY, Crowd
from local.issuer import LocalIssuer
from shared import logs
from shared.adapters.sqlite_bus import SCHEMA, SqliteBus
from shared.errors import Unavailable
from tests.contract.bus_contract import AUDIENCE, EMAIL, ISSUER, BusContract, Inbox

pytestmark = pytest.mark.network


Make = Callable[..., LocalBus]


@pytest.fixture
async def local(tmp_path: Path, inbox: Inbox, issuer: LocalIssuer) -> AsyncIterator[Make]:
    """Makes LocalBuses on one file, delivering `events` to the inbox; all are stopped at the end."""
    made: list[LocalBus] = []

    def make(**changes: Any) -> LocalBus:
        subscription = Subscription("record", "events", inbox.url, AUDIENCE, min_backoff=0.02, max_backoff=0.1)
        sign = changes.pop("sign", lambda audience: issuer.sign(audience, EMAIL))
        after = changes.pop("after", None)
        bus = LocalBus(tmp_path / "bus.db", [replace(subscription, **changes)], sign, topics=["silent"], after=after)
        made.append(bus)
        return bus

    yield make
    for bus in made:
        await bus.stop(grace=0.05)


@pytest.fixture
async def bus(tmp_path: Path, local: Make) -> AsyncIterator[SqliteBus]:
    await local().start()
    bus = SqliteBus.open(tmp_path / "bus.db")
    yield bus
    bus.close()


class TestLocalBus(BusContract):
    pass


@pytest.fixture
def publisher(tmp_path: Path) -> SqliteBus:
    return SqliteBus.open(tmp_path / "bus.db")


async def _drained(bus: LocalBus) -> None:
    async with asyncio.timeout(10):
        while any((await bus.pending()).values()):
            await asyncio.sleep(0.01)


async def test_after_five_failures_a_message_is_a_dead_letter_until_replayed(
    local: Make, inbox: Inbox, publisher: SqliteBus
) -> None:
    bus = local()
    await bus.start()
    inbox.answer = lambda push: 503 if push.data["bad"] else 200
    await publisher.publish("events", [{"bad": 1}, {"bad": 0}, {"bad": 2}])
    await _drained(bus)
    assert sorted(push.attempt for push in inbox.pushes if push.data["bad"] == 1) == [1, 2, 3, 4, 5]
    dead = await bus.dead_letters()
    assert {letter.data["bad"] for letter in dead} == {1, 2}
    for letter in dead:
        assert (letter.subscription, letter.topic, letter.attempts) == ("record", "events", 5)
        assert (letter.status, letter.reason) == (503, "answered 503")
    assert len(await bus.dead_letters(limit=1)) == 1
    assert [found.data for found in await bus.recent()] == [{"bad": 0}]

    inbox.answer = lambda push: 200
    assert await bus.replay(dead[0].id) == 1
    await _drained(bus)
    assert inbox.pushes[-1].data == dead[0].data and inbox.pushes[-1].attempt == 1
    assert [letter.id for letter in await bus.dead_letters()] == [dead[1].id]
    assert await bus.replay() == 1
    assert await bus.replay() == 0
    await _drained(bus)
    assert await bus.dead_letters() == []
    assert len(await bus.recent()) == 3


async def _crowded(crowd: Crowd, end: asyncio.Event) -> list[asyncio.Future[None]]:
    """Requests that make a crowd, until `end` is set."""

    async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await end.wait()

    people: list[asyncio.Future[None]] = [asyncio.ensure_future(crowd.counted(slow)({}, None, None)) for _ in range(MANY)]
    await asyncio.sleep(0)
    return people


async def test_what_a_crowd_caused_waits_until_the_crowd_is_gone(local: Make, inbox: Inbox, publisher: SqliteBus) -> None:
    crowd, end = Crowd(), asyncio.Event()
    people = await _crowded(crowd, end)
    await local(after=crowd.gone).start()
    await publisher.publish("events", [{"n": 1}])
    await asyncio.sleep(0.3)
    assert not inbox.pushes
    end.set()
    await asyncio.gather(*people)
    await inbox.arrived(1)


async def test_a_crowd_that_stays_holds_nothing_up_for_good(
    local: Make, inbox: Inbox, publisher: SqliteBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.crowd.PATIENCE", 0.05)
    crowd = Crowd()
    people = await _crowded(crowd, asyncio.Event())
    await local(after=crowd.gone).start()
    await publisher.publish("events", [{"n": 1}])
    await inbox.arrived(1)
    assert not any(one.done() for one in people)
    for one in people:
        one.cancel()


async def test_attributes_stay_with_a_message_through_dead_letter_and_replay(
    local: Make, inbox: Inbox, publisher: SqliteBus
) -> None:
    bus = local(max_attempts=1)
    await bus.start()
    inbox.answer = lambda push: 500
    logs.begin("contract", {})
    carrying = logs.carried()
    await publisher.publish("events", [{}])
    await _drained(bus)
    [letter] = await bus.dead_letters()
    inbox.answer = lambda push: 200
    await bus.replay()
    await _drained(bus)
    [delivered] = await bus.recent()
    assert letter.attributes == delivered.attributes == carrying
    assert [push.body["message"]["attributes"] for push in inbox.pushes] == [carrying] * 2


async def test_a_file_from_before_attributes_goes_on(local: Make, inbox: Inbox, tmp_path: Path) -> None:
    before = re.sub(r",\n    attributes TEXT NOT NULL DEFAULT '{}'", "", SCHEMA)
    assert "attributes" not in before
    with sqlite3.connect(tmp_path / "bus.db") as file:
        file.executescript(before)
        file.execute(
            "INSERT INTO deliveries (subscription, topic, message, data, published, due)"
            " VALUES ('record', 'events', 'm', '{}', 0, NULL)"
        )
        file.execute("INSERT INTO delivered VALUES (7, 'record', 'events', 'd', '{}', 0, 0, 1)")
        file.execute("INSERT INTO dead_letters VALUES (8, 'record', 'events', 'l', '{}', 0, 0, 5, 500, 'answered 500')")
    file.close()
    bus = local()
    await bus.start()
    await inbox.arrived(1)
    await bus.replay()
    await inbox.arrived(2)
    await _drained(bus)
    assert [push.body["message"]["attributes"] for push in inbox.pushes] == [{}, {}]
    assert [found.message for found in await bus.recent()] == ["l", "m", "d"]


async def test_no_answer_in_time_and_no_endpoint_count_as_failures(local: Make, inbox: Inbox, publisher: SqliteBus) -> None:
    bus = local(ack_deadline=0.05, max_attempts=2)
    await bus.start()
    inbox.answer = lambda push: None
    await publisher.publish("events", [{}])
    await _drained(bus)
    [late] = await bus.dead_letters()
    assert (late.status, late.reason, late.attempts) == (0, "no answer within 0.05 s", 2)
    await bus.stop()

    lost = local(endpoint="http://127.0.0.1:1/secret-address", max_attempts=1)
    await lost.start()
    await publisher.publish("events", [{}])
    await _drained(lost)
    assert (await lost.dead_letters())[0].reason == "no answer (ClientConnectorError)"


async def test_attempts_are_spaced_by_a_growing_back_off(local: Make, inbox: Inbox, publisher: SqliteBus) -> None:
    subscription = Subscription("s", "t", "", "", min_backoff=1.0, max_backoff=6.0)
    for failures, low, high in ((1, 1.0, 1.25), (2, 1.5, 2.5), (3, 3.0, 5.0), (4, 6.0, 6.0), (40, 6.0, 6.0)):
        delays = [backoff(subscription, failures) for _ in range(200)]
        assert low <= min(delays) <= max(delays) <= high
    assert len({backoff(subscription, 2) for _ in range(20)}) > 1

    bus = local(min_backoff=60.0, max_backoff=60.0)
    await bus.start()
    inbox.answer = lambda push: 500
    await publisher.publish("events", [{}])
    await inbox.arrived(1)
    await asyncio.sleep(0.3)
    assert len(inbox.pushes) == 1
    assert await bus.pending() == {"record": 1}


async def test_what_was_in_flight_is_pushed_again_after_a_restart(
    local: Make, inbox: Inbox, publisher: SqliteBus, tmp_path: Path
) -> None:
    inbox.answer = lambda push: None
    first = local()
    await first.start()
    await publisher.publish("events", [{"n": n} for n in range(12)])
    await inbox.arrived(8)
    assert len(inbox.pushes) == 8  # bounded concurrency
    with sqlite3.connect(tmp_path / "bus.db") as file:
        assert file.execute("SELECT count(*) FROM deliveries WHERE due IS NULL").fetchone() == (8,)
    await first.stop(grace=0.0)  # cut off without an answer, as by a kill

    inbox.answer = lambda push: 200
    second = local(max_attempts=1)
    await second.start()
    await _drained(second)
    again = inbox.pushes[8:]
    assert sorted(push.data["n"] for push in again) == list(range(12))
    assert sorted(push.attempt for push in again) == [1] * 4 + [2] * 8
    assert await second.dead_letters() == []


async def test_stop_waits_for_the_pushes_in_flight(local: Make, inbox: Inbox, publisher: SqliteBus) -> None:
    bus = local()
    await bus.start()
    await publisher.publish("events", [{}])
    await inbox.arrived(1)
    await bus.stop()
    again = local()
    assert await again.pending() == {"record": 0}
    await again.start()
    await asyncio.sleep(0.1)
    assert len(inbox.pushes) == 1


async def test_a_publish_in_this_process_is_delivered_without_polling(
    local: Make, inbox: Inbox, publisher: SqliteBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.bus._POLL", 60.0)
    bus = local()
    await bus.start()
    await asyncio.sleep(0.1)
    await publisher.publish("events", [{"n": 1}])
    assert await inbox.arrived(1) == [{"n": 1}]


async def test_publishes_of_other_processes_are_noticed(local: Make, inbox: Inbox, publisher: SqliteBus, tmp_path: Path) -> None:
    bus = local()
    await bus.start()
    await asyncio.sleep(0.1)
    with sqlite3.connect(tmp_path / "bus.db") as other:
        other.execute(
            "INSERT INTO deliveries (subscription, topic, message, data, published, due) VALUES ('record', 'events', 'm', '{}', 0, 0)"
        )
    other.close()
    assert await inbox.arrived(1) == [{}]


async def test_only_the_last_delivered_are_kept(local: Make, inbox: Inbox, publisher: SqliteBus) -> None:
    bus = local()
    await bus.start()
    await publisher.publish("events", [{"n": n} for n in range(520)])
    await _drained(bus)
    kept = await bus.recent(limit=1000)
    assert len(kept) == 500
    assert [found.seq for found in kept] == sorted((found.seq for found in kept), reverse=True)
    assert len(await bus.recent(limit=3)) == 3


async def test_before_any_local_bus_ran_publishing_says_so(tmp_path: Path) -> None:
    bus = SqliteBus.open(tmp_path / "bus.db")
    for attempt in (bus.publish("events", [{}]), bus.check()):
        with pytest.raises(Unavailable, match="is the local bus running"):
            await attempt
    bus.close()


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_every_push_carries_a_token_of_the_issuer(bus: SqliteBus, inbox: Inbox, issuer: LocalIssuer) -> None:
    await bus.publish("events", [{}])
    await inbox.arrived(1)
    scheme, _, token = inbox.pushes[0].authorization.partition(" ")
    claims = jwt.decode(token, certs=issuer.certificates(), audience=AUDIENCE)  # type: ignore[no-untyped-call]
    assert scheme == "Bearer"
    assert (claims["iss"], claims["aud"], claims["email"]) == (ISSUER, AUDIENCE, EMAIL)
    assert claims["email_verified"] is True and claims["exp"] - claims["iat"] == 3600


async def test_a_push_that_cannot_be_signed_is_a_failure(local: Make, inbox: Inbox, publisher: SqliteBus) -> None:
    def fail(audience: str) -> str:
        raise OSError(audience)

    bus = local(sign=fail, max_attempts=1)
    await bus.start()
    await publisher.publish("events", [{}])
    await _drained(bus)
    assert [letter.reason for letter in await bus.dead_letters()] == ["no answer (OSError)"]
    assert inbox.pushes == []


def test_forged_and_foreign_tokens_fail(tmp_path: Path, issuer: LocalIssuer) -> None:
    token = issuer.sign(AUDIENCE, EMAIL)
    foreign = LocalIssuer(tmp_path, "https://issuer.example")
    head, body, signature = token.split(".")
    other = "A" if signature[10] != "A" else "B"
    for forged in (foreign.sign(AUDIENCE, EMAIL), f"{head}.{body}.{signature[:10]}{other}{signature[11:]}", f"{head}.{body}."):
        with pytest.raises((ValueError, exceptions.GoogleAuthError)):
            jwt.decode(forged, certs=issuer.certificates(), audience=AUDIENCE)  # type: ignore[no-untyped-call]
    with pytest.raises((ValueError, exceptions.GoogleAuthError)):
        jwt.decode(token, certs=issuer.certificates(), audience="another")  # type: ignore[no-untyped-call]


def test_the_key_is_made_once_and_published(tmp_path: Path) -> None:
    first = LocalIssuer(tmp_path / "keys", "https://issuer.example")
    second = LocalIssuer(tmp_path / "keys", "https://issuer.example")
    assert first.certificates() == second.certificates() == json.loads((tmp_path / "keys" / "certs.json").read_text())
    assert stat.S_IMODE((tmp_path / "keys" / "issuer.pem").stat().st_mode) == 0o600
    assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == ["certs.json", "issuer.pem"]
    token = second.sign(AUDIENCE, EMAIL)
    assert second.sign(AUDIENCE, EMAIL) is token
    assert second.sign("another", EMAIL) != token
    jwt.decode(token, certs=first.certificates(), audience=AUDIENCE)  # type: ignore[no-untyped-call]
