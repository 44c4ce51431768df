"""Valid callbacks that come again: at once twice, days later, spelled otherwise, and after the window of a time that is signed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.providers.signatures import WINDOW
from tests.providers.webhook_contract import NOW

from .asking import MOST_SHOWN, Call, Figures, ask
from .callbacks import Broken, Callbacks
from .mutations import Attempt
from .proofs import Forged

DAY = 86_400_000


def spelled(chance: random.Random, call: Call) -> Call:
    """The same callback as another proxy would hand it on: what no proof covers is changed."""
    more = ((b"x-request-id", str(chance.random()).encode()), (b"user-agent", b"another"), (b"x-forwarded-for", b"198.51.100.7"))
    at = chance.randrange(len(call.body) + 1)
    return replace(call, headers=(*reversed(call.headers), *more), chunks=(call.body[:at], call.body[at:]))


async def replay(provider: Callbacks, count: int, seed: int, tell: Callable[[str], None] = lambda line: None) -> Forged:
    """`count` replays of callbacks that were taken a moment before. Accepted is one whose events were published again, or that was
    not refused with 401 though it came outside the window of its time. Raises Broken when a callback is not taken the first time."""
    found, chance, n = Forged(figures=Figures(provider.name)), random.Random(f"{seed} replays {provider.name}"), 1
    late = [WINDOW * 1000 + 1, WINDOW * 1000 + DAY] if provider.given().timed else []
    while found.forged < count:
        n += 1
        call = provider.fresh(n)
        provider.set(Attempt(call))
        before = provider.published()
        first = await ask(provider.app, call)
        if first.status not in (200, 204) or provider.published() != before + 1:
            raise Broken(
                f"{provider.name}: a callback was answered {first.status}, and published {provider.published() - before}"
            )
        again = spelled(chance, call)
        rounds: list[tuple[int, Sequence[Call]]] = [
            (chance.randrange(WINDOW * 1000), [again]),
            (chance.randrange(WINDOW * 1000), chance.choice([[call, call], [call, again]])),
            *((shift, [call]) for shift in late or [6 * DAY]),
        ]
        for shift, calls in rounds:
            provider.set(Attempt(call, now=NOW + shift))
            answers = await asyncio.gather(*(ask(provider.app, one) for one in calls))
            refused = shift in late
            for one, answer in zip(calls, answers, strict=True):
                found.figures.note(one, answer)
                found.forged += 1
                if answer.status != (401 if refused else first.status):
                    _taken(found, provider.name, f"answered {answer.status}", one)
            if provider.published() != before + 1:
                _taken(found, provider.name, "published again", call)
                before = provider.published() - 1
        tell(f"replays: {provider.name}, {found.forged:,} replays, {found.accepted:,} accepted")
    return found


def _taken(found: Forged, name: str, why: str, call: Call) -> None:
    found.accepted += 1
    if len(found.figures.faults) < MOST_SHOWN:
        found.figures.faults.append(f"{name}, a replay: {why}: {call.shown()}")
