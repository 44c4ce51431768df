"""The audit of what was played: it holds when the product took everything for what it was, and names what it did not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.sync_sheet import tabs
from local.audit import Findings, Mailed
from local.played import Played, check
from shared.model import console
from shared.model.campaign import headlines
from shared.model.event import Event
from shared.model.ref import MailRef
from tests.steps.fakes import NOW
from tests.steps.world import World

SIDS = [f"{n:02d}" * 16 for n in range(12)]
PLAYED = Played(
    opened={SIDS[0], SIDS[1]},
    clicked={SIDS[0]},
    bought={SIDS[0]},
    left={SIDS[2]},
    at_once={SIDS[3]},
    scanned={SIDS[3]},
    probed={SIDS[4]},
    rushed={SIDS[5]},
    trapped={SIDS[6]},
    fetched={SIDS[7]},
    hard={SIDS[8]},
    soft={SIDS[9]},
    delayed={SIDS[10]},
    complained={SIDS[11]},
)


def heard(kind: Any, n: int, label: Any = "", reason: str = "", **more: Any) -> Event:
    return Event(kind, MailRef("C-0001", SIDS[n]).text, NOW, label=label, reason=reason, **more)


EVENTS = [
    heard("opened", 0, "human"),
    heard("opened", 1, "human"),
    heard("clicked", 0, "human"),
    heard("converted", 0),
    heard("unsubscribed", 2, provider="x"),
    heard("clicked", 3, "machine", "within seconds of hand-off"),
    heard("clicked", 3, "machine", "known robot"),
    heard("opened", 3, "machine", "known robot"),
    heard("opened", 4, "machine", "HEAD request"),
    heard("clicked", 4, "machine", "HEAD request"),
    heard("clicked", 5, "machine", "burst"),
    heard("clicked", 6, "machine", "honeypot link"),
    heard("opened", 7, "suspect", "Apple Mail Privacy Protection"),
    heard("bounced", 8, hard=True),
    heard("bounced", 9, counts=True),
    heard("deferred", 10),
    heard("complained", 11),
]
PEOPLE = "people's opens, clicks and sales count, and nobody else's"
ROBOTS = "every robot's hit is kept, as a machine's or as nobody can say"
SIGN = "each kind of robot is told by its own sign"
BACK = "what came back is what the servers said, by callback or by mail, hard, soft, late or a complaint"
SUPPRESSED = "exactly those are suppressed who left, bounced for good or complained"
SECOND = "they got no second mail; who bounced softly or is late did"
DASHBOARD = "the Dashboard shows people beside all, robots included, as played"


async def faults(folder: Path, events: list[Event], again: set[str] | None = None) -> list[str]:
    """What is wrong when the product has heard of `events`, and those of `again` got the second campaign."""
    world = World.on(folder)
    for each in events:
        await world.record().handle(each.to_message())
    second = set(SIDS) - PLAYED.gone if again is None else again
    mails = [Mailed(name, sid, sid, b"", 1) for name, whom in (("C-0001", set(SIDS)), ("C-0002", second)) for sid in whom]
    seen = await headlines(world.store, world.paths, "C-0001")
    figures: dict[str, Any] = dict(zip(console.RESULT_FIELDS[13:], (seen[name] for name in tabs.COUNTED), strict=True))
    figures |= {"State": "completed", "Sent": len(mails), "Delivered": len(mails)}
    board = tabs.dashboard({}, [[figures.get(name, 0) for name in console.RESULT_FIELDS]], [])
    found = Findings()
    shown = [[str(cell) for cell in row] for row in board]
    await check(found, world.store, world.paths, PLAYED, ("C-0001", "C-0002"), mails, shown)
    assert len(found.checks) == 7
    return found.faults


async def test_all_is_well(tmp_path: Path) -> None:
    assert await faults(tmp_path, EVENTS) == []
    assert await faults(tmp_path / "mails", EVENTS, set(SIDS)) == [SECOND]
    assert await faults(tmp_path / "fewer", EVENTS, {SIDS[0]}) == [SECOND]


def without(n: int) -> Callable[[Event], list[Event]]:
    return lambda event: [] if event is EVENTS[n] else [event]


def as_human(n: int) -> Callable[[Event], list[Event]]:
    return lambda event: [replace(event, label="human", reason="")] if event is EVENTS[n] else [event]


def hard(n: int) -> Callable[[Event], list[Event]]:
    return lambda event: [replace(event, type="bounced", counts=False, hard=True)] if event is EVENTS[n] else [event]


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [
        (without(0), [PEOPLE, ROBOTS, DASHBOARD]),
        (without(3), [PEOPLE, DASHBOARD]),
        (without(4), [SUPPRESSED, DASHBOARD]),
        (without(5), [SIGN]),  # its scanner came as well
        (without(7), [ROBOTS, DASHBOARD]),
        (as_human(9), [PEOPLE, ROBOTS, DASHBOARD]),
        (as_human(10), [PEOPLE, ROBOTS, SIGN, DASHBOARD]),
        (as_human(12), [PEOPLE, ROBOTS, SIGN, DASHBOARD]),
        (without(11), [ROBOTS, SIGN, DASHBOARD]),
        (without(13), [BACK, SUPPRESSED, DASHBOARD]),
        (without(14), [BACK, DASHBOARD]),
        (without(15), [BACK]),
        (hard(14), [BACK, SUPPRESSED, DASHBOARD]),
        (hard(15), [BACK, SUPPRESSED, DASHBOARD]),
        (without(16), [BACK, SUPPRESSED, DASHBOARD]),
    ],
)
async def test_what_went_wrong_is_named(tmp_path: Path, broken: Callable[[Event], list[Event]], wrong: list[str]) -> None:
    assert await faults(tmp_path, [kept for event in EVENTS for kept in broken(event)]) == wrong


def test_what_is_told_holds_every_figure() -> None:
    told = " ".join(PLAYED.told())
    assert "People: 2 opened, 1 clicked, 1 bought, 1 left" in told
    assert set(PLAYED.figures()) == set(Played.__dataclass_fields__)
