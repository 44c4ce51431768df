"""The fault table of the SMTP sender, and a naive sender that fails in it."""

from __future__ import annotations

import random

import pytest

from shared.ports import Outgoing, Stop
from tests.providers.fault_server import DROP, EXTRA, LEAVE, LOST, RESET, FaultServer
from tests.providers.post import FROM, fault_sender, kinds, mails, patience
from tests.providers.smtp_faults import CLASSES, STAGES, TALK, Ground, fits, label, wrong

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground.make(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("fault", CLASSES, ids=label)
async def test_a_fault_is_put_in_its_class_at_every_stage_and_nothing_is_sent_twice(ground: Ground, fault: str) -> None:
    wanted = CLASSES[fault].split()
    cells = await ground.row(fault)
    assert {f"{c.stage} {c.pipelining}": c.wrong for c in cells if c.wrong} == {}
    bad = [(c, w) for c, w in zip(cells, [*wanted, *wanted[-len(TALK) :]], strict=True) if not fits(c, w)]
    assert bad == []
    for cell in cells:
        code = cell.outcome.code
        assert code in fault if fault not in LOST else "@" not in code and len(code) < 20, "a code, never a server's text"


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_comes_together_nothing_is_sent_twice_or_lost_sight_of(seed: int) -> None:
    """Several faults at random moments, of a server and of the network, with and without a stop."""
    dice = random.Random(seed)
    quick = [fault for fault in CLASSES if patience(fault) > 1]
    lost = [fault for fault in quick if fault in LOST - {EXTRA, LEAVE}]
    places = [(stage, number) for stage in ("connect", "ehlo", *TALK, "rset", "after", "middle") for number in range(1, 13)]
    chosen = dice.sample(places, dice.randrange(1, 12))
    faults = {place: dice.choice(lost if place[0] in ("after", "middle") else quick) for place in chosen}
    ending, stop = dice.choice(places), Stop()

    def at(stage: str, number: int) -> None:
        if seed % 3 == 0 and (stage, number) == ending:
            stop.now()

    async with FaultServer(faults, pipelining=dice.random() < 0.8, eager=dice.random() < 0.3) as server:
        server.at = at
        sender = fault_sender(server, recycle=dice.choice([3, 1000]))
        line = b"x" * 600 + b"\r\n"
        out = [Outgoing(m.recipient, m.data + line * dice.choice([1, 25, 300])) for m in mails(12)]
        outcomes = [o for start in range(0, 12, 6) for o in await sender.send(FROM, out[start : start + 6], stop)]
        await sender.close()
    assert [*wrong(server, out, outcomes)] == []
    assert kinds(outcomes).count("unknown") <= sum(f in LOST for f in faults.values())
    assert stop.come or "unsent" not in kinds(outcomes)


@pytest.mark.parametrize("fault", [DROP, RESET])
async def test_a_sender_that_tries_again_after_any_error_repeats_mail_here(ground: Ground, fault: str) -> None:
    assert await ground.control(fault) == 2
    assert await ground.control(fault, "data") == 1


def test_the_table_is_whole() -> None:
    assert len(STAGES) >= 7
    assert len(CLASSES) >= 20
    assert set(CLASSES) >= LOST
    assert all(len(row.split()) == len(STAGES) for row in CLASSES.values())
    assert EXTRA in CLASSES
