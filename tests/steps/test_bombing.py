"""List bombing, end to end: strangers sign nine people up thousands of times. Each gets one confirmation a day at most, whoever asks and
however often, and nobody can tell from the answers whom we know."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from shared.http import Request
from shared.model import batch
from shared.model.subscriber import suppress

from .fakes import DAY
from .world import World

ADDRESSES = [f"victim{n}@target.example" for n in range(9)]  # three are new, three on the list, three have left
ASKED, NETWORKS, AT_ONCE = 9_000, 500, 60


def sign_up(n: int) -> Request:
    client = f"{11 + n % NETWORKS // 250}.{n % NETWORKS % 250}.{n % 7}.{n % 251}"
    body = json.dumps({"email": ADDRESSES[n % 9], "name": f"Bot {n}"}).encode()
    return Request("POST", "", {}, {"content-type": "application/json", "user-agent": f"bot/{n}"}, body, client)


async def bombed(world: World, count: int) -> tuple[Counter[str], set[Any], int]:
    """Mails by address, the different answers, and how many confirmations were asked for."""
    step, workers, asked = world.subscribe(), [world.send_batch() for _ in range(3)], 0
    world.sender.accepted.clear()
    answers = set()
    for start in range(0, count, AT_ONCE):
        found = await asyncio.gather(*(step.handle(sign_up(n)) for n in range(start, min(count, start + AT_ONCE))))
        answers |= {(one.status, one.body, tuple(one.headers.items())) for one in found}
        messages = world.bus.take(batch.TOPIC)
        asked += len(messages)
        await asyncio.gather(*(workers[n % 3].handle(message) for n, message in enumerate(messages)))
    return Counter(world.sender.accepted), answers, asked


async def test_nine_people_under_nine_thousand_sign_ups(world: World) -> None:
    await world.system("confirm", "welcome")
    await world.add(*ADDRESSES[3:9])
    for address in ADDRESSES[6:]:
        await world.store.commit(suppress(world.paths, world.sid(address), "unsubscribed", "a test", world.clock.now()))
    for day in range(2):
        mails, answers, asked = await bombed(world, ASKED if day == 0 else 900)
        assert asked == (ASKED if day == 0 else 900)  # the control: somebody who mailed what is asked for would have sent so many
        assert set(mails) == set(ADDRESSES) and set(mails.values()) == {1}
        assert len(answers) == 1
        world.clock.advance(DAY)


async def test_a_complaint_gets_no_confirmation_at_all_and_the_same_answer(world: World) -> None:
    await world.system("confirm")
    await world.add(*ADDRESSES[:3])
    for address in ADDRESSES[:3]:
        await world.store.commit(suppress(world.paths, world.sid(address), "complaint", "a test", world.clock.now()))
    mails, answers, _ = await bombed(world, 900)
    assert set(mails) == set(ADDRESSES[3:]) and len(answers) == 1
