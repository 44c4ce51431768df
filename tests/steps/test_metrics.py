"""What the steps count is what happened."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from shared.http import Request
from shared.model import batch
from shared.model.paths import WELCOME
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Merge, Outcome

from .fakes import NOW
from .world import World

REQUEST = {"campaign": "C-0001", "batch": "000000"}
PEOPLE = [f"p{n:02d}@example.com" for n in range(12)]
Out = pytest.CaptureFixture[str]


def counted(out: Out, message: str) -> list[dict[str, Any]]:
    """The entries with metrics and this message, since the last look."""
    found = [json.loads(line) for line in out.readouterr().out.splitlines()]
    return [entry for entry in found if entry["message"] == message and "metrics" in entry]


async def test_a_runs_one_entry_holds_what_the_ledger_gained(world: World, capsys: Out) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    await world.store.commit(suppress(world.paths, world.sid(PEOPLE[0]), "complaint", "x", NOW))
    await world.store.commit([Merge(world.paths.subscriber(world.sid(PEOPLE[0])), {"segments": ["everyone"]})])  # a stale index
    await world.store.commit([Merge(world.paths.subscriber(world.sid(PEOPLE[1])), {"confirmed_at": NOW + 1})])
    world.sender.answers = {
        PEOPLE[2]: [Outcome("recipient", "550")],
        PEOPLE[3]: [Outcome("unknown")],
        PEOPLE[4]: [Outcome("temporary", "451"), Outcome("temporary", "451")],
    }
    gained: Counter[str] = Counter()
    for deferred in (1, 1, 0):
        await world.send_batch().handle(REQUEST)
        [entry] = counted(capsys, "batch")
        assert (entry["kind"], entry["campaign"], entry["batch"], entry["why"]) == ("campaign", "C-0001", "000000", "end")
        assert entry["metrics"].pop("mails_deferred", 0) == deferred
        gained.update(entry["metrics"])
        world.clock.time = (await world.ledger())["not_before"]
    tally = {f"mails_{state}": count for state, count in (await world.ledger())["tally"].items()}
    assert (
        dict(gained)
        == tally
        == {"mails_sent": 8, "mails_failed": 1, "mails_unknown": 1, "mails_suppressed": 1, "mails_skipped": 1}
    )
    assert counted(capsys, "batch") == []


async def test_mails_of_a_worker_that_died_are_counted_as_unknown(world: World, capsys: Out) -> None:
    await world.add(*PEOPLE[:3])
    await world.campaign()

    async def die(addresses: list[str]) -> None:
        raise KeyboardInterrupt

    world.sender.meanwhile = die
    with pytest.raises(KeyboardInterrupt):
        await world.send_batch().handle(REQUEST)
    assert counted(capsys, "batch") == []
    world.sender.meanwhile = None
    world.clock.time = (await world.ledger())["lease_until"]
    await world.send_batch().handle(REQUEST)
    [entry] = counted(capsys, "batch")
    assert entry["metrics"] == {"mails_unknown": 3}


async def test_a_window_is_timed_and_a_stop_has_its_reason(world: World, capsys: Out) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    await world.system("welcome")
    windows = []

    async def slow(addresses: list[str]) -> None:
        windows.append(len(addresses))

    world.sender.meanwhile = slow
    await world.send_batch().handle(REQUEST)
    found = counted(capsys, "window")
    assert [entry["mails"] for entry in found] == windows == [5, 5, 2]
    assert all(0 <= entry["metrics"]["provider_latency"] < 5000 and entry["kind"] == "campaign" for entry in found)
    await world.send_batch().handle({"campaign": WELCOME, "batch": f"{world.sid(PEOPLE[0])}.0123456789abcdef"})
    [entry] = counted(capsys, "batch")
    assert (entry["metrics"], entry["kind"]) == ({"mails_sent": 1}, WELCOME)


async def test_a_provider_that_is_down_is_the_reason_and_no_mail(world: World, capsys: Out) -> None:
    await world.add(*PEOPLE)
    await world.campaign()
    world.sender.down = True
    await world.send_batch().handle(REQUEST)
    [entry] = counted(capsys, "batch")
    assert (entry["metrics"], entry["why"]) == ({}, "down")


async def test_swept_batches_are_counted(world: World, capsys: Out) -> None:
    await world.campaign(parts=3)
    world.clock.time += batch.GRACE
    await world.launch().handle()
    [entry] = counted(capsys, "swept")
    assert (entry["metrics"], entry["campaign"]) == ({"swept_batches": 3}, "C-0001")


async def test_imported_rows_are_counted(world: World, capsys: Out) -> None:
    await world.sync_sheet().handle()
    rows = [["I-0001", "ada@example.com", "Ada", "", "", "fair"], ["I-0002", "no address", "", "", "", "fair"]]
    world.sheet.put("Import!A2", rows)
    await world.sync_sheet().handle()
    [entry] = counted(capsys, "import")
    assert (entry["metrics"], entry["left"]) == ({"import_accepted": 1, "import_rejected": 1}, 0)


async def test_links_that_prove_nothing_are_counted_and_not_told(world: World, capsys: Out) -> None:
    token = "C-0001~q6urq6urq6urq6urq6urqw~.AbCdEfGhIjKlMnOpQrStUA"
    target = world.links.signed_target("C-0001", 0, "https://shop.example/a")
    await world.track().handle(Request("GET", f"o/{token}"))
    await world.track().handle(Request("GET", f"k/{token}/{target}"))
    await world.unsubscribe().handle(Request("POST", token))
    await world.subscribe().handle(Request("GET", f"confirm/{token}"))
    said = capsys.readouterr().out
    found = [json.loads(line) for line in said.splitlines()]
    assert [(entry["metrics"], entry["kind"]) for entry in found] == [
        ({"dead_tokens": 1}, kind) for kind in ("opened", "clicked", "leave", "confirm")
    ]
    assert "AbCdEfGhIjKlMnOpQrStUA" not in said


async def test_nothing_is_written_for_a_hit_that_went_well(world: World, capsys: Out) -> None:
    token = world.links.track_token(MailRef("C-0001", "0" * 32))
    await world.track().handle(Request("GET", f"o/{token}"))
    assert capsys.readouterr().out == ""
