"""Where a mail goes: a confirmation to the spelling somebody asked for, everything else to the one that was confirmed."""

from __future__ import annotations

from typing import Any

import pytest

from functions.send_batch.audience import FIELDS, Audience
from shared.model import batch
from shared.ports import Merge

from .fakes import DAY, NOW
from .world import World

SID = "ab" * 16
ASKED, HELD = {"asked": "ADA@example.com"}, {"address": "ada@example.com", "status": "confirmed"}


@pytest.mark.parametrize(
    ("campaign", "subscriber", "address"),
    [
        ("confirm", ASKED, "ADA@example.com"),
        ("confirm", ASKED | HELD, "ADA@example.com"),
        ("confirm", HELD, "ada@example.com"),
        ("confirm", {}, ""),
        ("welcome", ASKED | HELD, "ada@example.com"),
        ("welcome", ASKED, ""),
        ("welcome", ASKED | {"status": "confirmed"}, ""),
        ("C-0001", ASKED | HELD, "ada@example.com"),
        ("C-0001", ASKED, ""),
    ],
)
def test_a_mail_goes_to_the_address_its_kind_may_use(
    world: World, campaign: str, subscriber: dict[str, Any], address: str
) -> None:
    audience = Audience(campaign, segment="everyone", frozen_at=NOW, key="k", consent="c" * 16)
    assert audience.judge(subscriber) == (batch.HANDED if address else batch.SKIPPED_LEFT)
    if address:
        assert audience.recipient(SID, subscriber, world.links, NOW).address == address
    assert set(subscriber) <= set(FIELDS)


@pytest.mark.parametrize(
    ("fields", "country"),
    [
        ({}, ""),
        ({"country": "DE", "located": {"seen": {"PT": NOW}}}, "DE"),
        ({"located": {"seen": {"PT": NOW, "BR": NOW + 1}}}, "BR"),
    ],
)
def test_a_template_may_name_the_country(world: World, fields: dict[str, Any], country: str) -> None:
    found = Audience("C-0001", segment="everyone").recipient(SID, {"address": "a@example.com", **fields}, world.links, NOW)
    assert found.fields["country"] == country and set(fields) <= set(FIELDS)


async def test_a_sign_up_in_other_letters_is_confirmed_there_and_mailed_where_it_was(world: World) -> None:
    await world.system("confirm", "welcome")
    await world.add("ada@example.com")
    await world.store.commit([Merge(world.paths.subscriber(world.sid("ada@example.com")), ASKED)])
    for campaign in ("confirm", "welcome"):
        request = {"campaign": campaign, "batch": f"{world.sid('ada@example.com')}.{NOW // DAY}", "consent": "c" * 16}
        await world.send_batch().handle(request)
    assert world.sender.accepted == ["ADA@example.com", "ada@example.com"]
