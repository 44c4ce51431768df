"""Why somebody got a mail, or did not: each decision is told with what it was made on."""

from __future__ import annotations

from typing import Any

import pytest

from ops.trace import Trace
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Create, Merge, Outcome
from tests.steps.conftest import world
from tests.steps.fakes import NOW
from tests.steps.world import World

__all__ = ["world"]
REQUEST = {"campaign": "C-0001", "batch": "000000"}


async def told(world: World, address: str, campaign: str = "C-0001") -> str:
    return "\n".join([line async for line in Trace(world.store, world.paths, world.sid(address)).of(campaign)])


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome("sent", "250"), ["was sent", "handed to smtp at 2027-01-15 08:00:00 UTC"]),
        (Outcome("recipient", "550 5.1.1", hard=True), ["the mail failed", "the provider's words: 550 5.1.1"]),
        (Outcome("temporary", "451 4.7.1"), ["tried again", "words: 451 4.7.1", "from 2027-01-15 08:00:01 UTC on"]),
        (Outcome("unknown"), ["may have been sent", "never sent again"]),
    ],
)
async def test_what_the_provider_said(world: World, outcome: Outcome, words: list[str]) -> None:
    await world.add("ada@example.com")
    await world.campaign()
    world.sender.answers = {"ada@example.com": [outcome]}
    await world.send_batch().handle(REQUEST)
    found = await told(world, "ada@example.com")
    assert all(word in found for word in words), found
    assert "ada@" not in found


async def test_what_was_heard_of_it_afterwards(world: World) -> None:
    await world.add("ada@example.com")
    await world.campaign()
    await world.send_batch().handle(REQUEST)
    ref = MailRef("C-0001", world.sid("ada@example.com")).text
    for event in (Event("delivered", ref, NOW + 1000), Event("clicked", ref, NOW + 60_000, label="human", link=0)):
        await world.record().handle(event.to_message())
    found = await told(world, "ada@example.com")
    assert "delivered at 2027-01-15 08:00:01 UTC" in found and "clicked, human at 2027-01-15 08:01:00 UTC" in found


async def _suppressed(world: World) -> None:
    await world.store.commit(suppress(world.paths, world.sid("ada@example.com"), "complaint", "mail of C-0009", NOW))


async def _capped(world: World) -> None:
    sends = [{"key": "", "kind": "all", "parts": 1, "expected": 1, "at": NOW}]
    item = {"id": "C-0009", "segment": "everyone", "frozen_at": NOW, "ahead": True, "sends": sends}
    changes: dict[str, Any] = {"policy": {"cap": 1, "days": 7}, "recent": [item]}
    await world.store.commit([Create(world.paths.campaign("C-0009"), {"state": "running"})])
    await world.store.commit([Merge(world.paths.campaign("C-0001"), changes)])


async def _late(world: World) -> None:
    await world.store.commit([Merge(world.paths.subscriber(world.sid("ada@example.com")), {"confirmed_at": NOW + 1})])


async def _cancelled(world: World) -> None:
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "cancelled"})])


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (_suppressed, ["the reader was suppressed", "Suppressed: complaint since 2027-01-15", "mail of C-0009"]),
        (_capped, ["had enough mails lately"]),
        (_late, ["confirmed after the campaign had started"]),
        (_cancelled, ["the campaign was cancelled first", "C-0001 is cancelled"]),
    ],
)
async def test_why_nothing_went_out(world: World, before: Any, words: list[str]) -> None:
    await world.add("ada@example.com")
    await world.campaign()
    await before(world)
    if before is _suppressed:
        await world.store.commit([Merge(world.paths.subscriber(world.sid("ada@example.com")), {"segments": ["everyone"]})])
    await world.send_batch().handle(REQUEST)
    found = await told(world, "ada@example.com")
    assert all(word in found for word in words), found
    assert not world.sender.accepted


async def test_who_is_in_no_batch(world: World) -> None:
    await world.add("ada@example.com", tags=["tea"])
    await world.campaign(segment="cake")
    await world.store.commit([Create(world.paths.subscriber(world.sid("eve@example.com")), {"asked": "eve@example.com"})])
    assert "has not come to it" in await told(world, "ada@example.com")
    await world.send_batch().handle(REQUEST)
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "completed"})])
    assert "not in its segment" in await told(world, "ada@example.com")
    assert "has not confirmed" in await told(world, "eve@example.com")
    assert "Nobody is known" in await told(world, "nobody@example.com")
    assert await told(world, "ada@example.com", "C-0404") == "There is no campaign C-0404."


async def test_who_is_in_no_batch_of_a_campaign_to_a_rule(world: World) -> None:
    await world.add("ada@example.com", tags=["tea"])
    await world.add("bob@example.com", tags=["cake"])
    await world.campaign(segment="sweet", parts=0)
    rule = {"rule": "tag is cake", "state": "completed"}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), rule)])
    assert "is not in its segment" in await told(world, "ada@example.com")
    assert "was not in its segment when it was sent" in await told(world, "bob@example.com")


async def test_a_confirmation_is_told_too(world: World) -> None:
    await world.system("confirm")
    sid = world.sid("eve@example.com")
    await world.store.commit([Create(world.paths.subscriber(sid), {"asked": "eve@example.com"})])
    await world.send_batch().handle({"campaign": "confirm", "batch": f"{sid}.20000", "consent": "c" * 16})
    found = await told(world, "eve@example.com", "confirm")
    assert "was sent" in found and "handed to smtp" in found


@pytest.mark.parametrize("campaign", ["access", "export"])
async def test_what_a_reader_asked_for_is_told_too(world: World, campaign: str) -> None:
    await world.launch().handle()
    await world.add("ada@example.com", "eve@example.com")
    await world.store.commit(suppress(world.paths, world.sid("eve@example.com"), "complaint", "mail of C-0009", NOW))
    for address in ("ada@example.com", "eve@example.com"):
        await world.send_batch().handle({"campaign": campaign, "batch": f"{world.sid(address)}.{NOW // 86_400_000}"})
    assert "the mail was sent" in await told(world, "ada@example.com", campaign)
    assert "was not sent: the reader was suppressed" in await told(world, "eve@example.com", campaign)


async def test_who_may_have_approved_it(world: World) -> None:
    await world.campaign()
    assert "Approved" not in await told(world, "ada@example.com")
    given = {"code": "K7Q2MXBD", "at": NOW, "editor": "boss@brand.example", "revision": "42"}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"approval": given})])
    sentence = (
        "Approved with K7Q2MXBD at 2027-01-15 08:00:00 UTC; the Sheet was last changed by boss@brand.example, in its version 42."
    )
    assert sentence in await told(world, "ada@example.com")
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"approval": {**given, "editor": "", "revision": ""}})])
    assert "changed by somebody whom Google does not name, in its version unknown." in await told(world, "ada@example.com")
