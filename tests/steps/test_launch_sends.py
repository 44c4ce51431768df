"""Later sends of a campaign that has ended: to those that failed, and to those who did not open it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.launch import cut, prepare
from functions.launch.sends import ANEW
from shared.errors import PipelineError
from shared.model import batch
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Create, Merge, Outcome

from .fakes import NOW, Died, Fault, FaultyStore, nth
from .test_launch import GO, campaign, rows
from .test_launch_pace import HEADER
from .world import World

RETRY, RESEND = "Retry failures", "Resend to non-openers"
ABCD = [f"{letter}@example.com" for letter in "abcd"]
REFUSED = Outcome("recipient", "550")
MINUTE = 60_000


async def ticks(world: World, wanted: str = "", count: int = 3, **cells: str) -> list[str]:
    """Choose `wanted`, some ticks a minute apart with workers at work; who was mailed."""
    if wanted:
        rows(world, {**GO, "Wanted": wanted, **cells}, header=HEADER)
    world.sender.accepted.clear()
    for _ in range(count):
        await world.launch().handle()
        for message in world.bus.take(batch.TOPIC):
            await world.send_batch().handle(message)
        world.clock.advance(MINUTE)
    return sorted(world.sender.accepted)


async def hear(world: World, address: str, key: str = "", **event: Any) -> None:
    ref = MailRef("C-0001", world.sid(address), key).text
    await world.record().handle(Event(ref=ref, at=world.clock.now(), **event).to_message())


async def answer(world: World) -> str:
    return str((await campaign(world))["answer"])


@pytest.fixture
async def half(world: World) -> None:
    """A campaign to four that ended; c and d were refused."""
    await world.add(*ABCD)
    for refused in ABCD[2:]:
        world.sender.answers[refused] = [REFUSED]
    assert await ticks(world, "Go") == ABCD[:2]
    assert await answer(world) == "Done: 2 sent, 2 failed."


@pytest.mark.usefixtures("half")
async def test_those_that_failed_are_sent_it_again_once(world: World) -> None:
    world.sender.answers[ABCD[3]] = [REFUSED]
    assert await ticks(world, RETRY) == ABCD[2:3]
    found = await campaign(world)
    assert (found["state"], found["active"], found["cut"]) == ("completed", False, True)
    first, again = found["sends"]
    plan = again.pop("plan")
    assert again == {"key": "r1", "kind": "retry", "expected": 2, "parts": 0, "at": NOW + 3 * MINUTE}
    assert len(await cut.kept(world.objects, plan)) == 1
    assert await world.states("r1-000000") == {world.sid(ABCD[2]): "sent", world.sid(ABCD[3]): "failed"}
    assert (await world.ledger("r1-000000"))["key"] == "r1"
    assert first["key"] == "" and await ticks(world) == [], "chosen once, done once"
    assert await answer(world) == f"Done: 3 sent, 1 failed. {ANEW}"
    assert found["totals"]["recipients"] == 4, "each counts once"


@pytest.mark.usefixtures("half")
async def test_each_choice_retries_what_failed_last(world: World) -> None:
    world.sender.answers[ABCD[3]] = [REFUSED]
    await ticks(world, RETRY)
    assert await ticks(world, "Draft") == []
    assert await ticks(world, RETRY) == ABCD[3:]
    assert [send["expected"] for send in (await campaign(world))["sends"]] == [4, 2, 1]
    assert await answer(world) == f"Done: 4 sent. {ANEW}"
    await ticks(world, "Draft")
    assert await answer(world) == "It may be sent again: choose Retry failures or Resend to non-openers."
    assert await ticks(world, RETRY) == []
    assert await answer(world) == "Nobody failed, so there is nothing to send again."


@pytest.mark.usefixtures("half")
async def test_other_cells_of_the_row_send_nothing(world: World) -> None:
    """A command fires when its own cell changes."""
    world.sender.answers[ABCD[3]] = [REFUSED]
    await ticks(world, RETRY)
    assert await ticks(world, RETRY, Name="renamed") == []
    assert len((await campaign(world))["sends"]) == 2
    assert await answer(world) == f"Nothing more is sent: Wanted says what it said before. {ANEW}"


@pytest.mark.usefixtures("half")
async def test_a_command_is_new_again_after_anything_else_was_seen_in_its_cell(world: World) -> None:
    """Also after a Go that had nothing to change, given while the send was on its way."""
    world.sender.answers[ABCD[3]] = [REFUSED]
    rows(world, {**GO, "Wanted": RETRY})
    await world.launch().handle()
    assert await ticks(world, "Go") == ABCD[2:3]
    assert await answer(world) == "Done: 3 sent, 1 failed."
    before = world.versions()
    await world.launch().handle()
    assert world.versions() == before
    assert await ticks(world, RETRY) == ABCD[3:]
    assert [send["key"] for send in (await campaign(world))["sends"]] == ["", "r1", "r2"]


@pytest.mark.usefixtures("half")
async def test_who_cannot_be_mailed_any_more_is_not_retried(world: World) -> None:
    await hear(world, ABCD[3], type="bounced", hard=True)
    assert await ticks(world, RETRY) == ABCD[2:3]
    assert (await campaign(world))["sends"][1]["expected"] == 1
    await ticks(world, "Draft")
    await ticks(world, RETRY)
    assert await answer(world) == "None of the 1 that failed can be mailed any more: they bounced for good, or left."


@pytest.mark.usefixtures("half")
async def test_who_leaves_after_the_cut_gets_nothing(world: World) -> None:
    rows(world, {**GO, "Wanted": RETRY})
    await world.launch().handle()
    assert await answer(world) == "Sending again to 2 that failed."
    await hear(world, ABCD[3], type="complained")
    assert await ticks(world) == ABCD[2:3]
    assert (await world.states("r1-000000"))[world.sid(ABCD[3])] == "suppressed"


@pytest.mark.usefixtures("half")
async def test_those_who_did_not_open_it_are_sent_it_again(world: World) -> None:
    await hear(world, ABCD[0], type="opened", label="human")
    await hear(world, ABCD[1], type="opened", label="machine")
    assert await ticks(world, RESEND) == ABCD[1:2]
    assert (await campaign(world))["sends"][1]["kind"] == "non-openers"
    await hear(world, ABCD[1], "r1", type="clicked", label="human", link=0)
    await ticks(world, "Draft")
    assert await ticks(world, RESEND) == []
    assert await answer(world) == "All 2 who got it have opened it, so there is nobody to send it to again."
    await ticks(world, "Draft")
    assert await ticks(world, RETRY) == ABCD[2:]
    await ticks(world, "Draft")
    assert await ticks(world, RESEND) == ABCD[2:], "the retry reached them, and they have not opened it"


async def test_an_unknown_mail_is_in_no_later_send(world: World) -> None:
    await world.add(*ABCD)
    world.sender.answers = {ABCD[0]: [Outcome("unknown")], ABCD[1]: [REFUSED]}
    assert await ticks(world, "Go") == [ABCD[0], *ABCD[2:]]
    assert await ticks(world, RETRY) == ABCD[1:2]
    await ticks(world, "Draft")
    assert await ticks(world, RESEND) == ABCD[1:]


@pytest.mark.usefixtures("half")
async def test_news_of_a_later_mail_settles_that_one(world: World) -> None:
    world.sender.answers = {address: [Outcome("unknown")] for address in ABCD[2:]}
    await ticks(world, RETRY)
    await hear(world, ABCD[2], type="delivered")  # of the first mail
    await hear(world, ABCD[3], "r1", type="delivered")
    await ticks(world)
    assert await world.states("r1-000000") == {world.sid(ABCD[2]): "unknown", world.sid(ABCD[3]): "sent"}
    assert (await answer(world)) == f"Done: 3 sent, 1 unknown. {ANEW}"


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        ([], "It has not been sent yet, so there is nothing to send again."),
        (["Go", "Pause"], "It is still on its way. Once it has ended, choose Draft, and this again once the row says so."),
    ],
)
@pytest.mark.parametrize("wanted", [RETRY, RESEND, "retry  FAILURES"])
async def test_what_has_not_ended_is_not_sent_again(world: World, before: list[str], sentence: str, wanted: str) -> None:
    await world.add(*ABCD)
    for cell in before:
        rows(world, {**GO, "Wanted": cell})
        await world.launch().handle()
    state = (await campaign(world)).get("state", "draft")
    rows(world, {**GO, "Wanted": wanted})
    await world.launch().handle()
    found = await campaign(world)
    assert (found["answer"], found["state"]) == (sentence, state)


async def test_what_is_being_cancelled_is_not_sent_again(world: World) -> None:
    await world.add(*ABCD)
    for cell in ("Go", "Cancel", RETRY):
        rows(world, {**GO, "Wanted": cell})
        await world.launch().handle()
    assert await answer(world) == "It is still on its way. Once it has ended, choose Draft, and this again once the row says so."
    await ticks(world)
    await ticks(world, "Draft")
    await ticks(world, RETRY)
    assert await answer(world) == "Nobody failed, so there is nothing to send again."
    await ticks(world, "Draft")
    await ticks(world, RESEND)
    assert await answer(world) == "Nobody has got it, so there is nobody to send it to again."


@pytest.mark.parametrize("wrong", ["rate", "double"])
async def test_a_command_in_a_row_that_cannot_be_read_is_given_when_it_can(world: World, wrong: str) -> None:
    await world.add(*ABCD)
    world.sender.answers[ABCD[3]] = [REFUSED]
    await ticks(world, "Go")
    if wrong == "rate":
        await ticks(world, RETRY, Rate="soon")
        assert (await answer(world)).startswith("The rate “soon” must look like")
    else:
        rows(world, {**GO, "Wanted": RETRY}, {**GO, "Wanted": RETRY, "ID": "C-0001"})
        await ticks(world)
        assert (await answer(world)).startswith("The id C-0001 stands in 2 rows.")
    assert await ticks(world, RETRY) == ABCD[3:]


@pytest.mark.usefixtures("half")
async def test_a_later_send_keeps_its_rate_and_can_be_cancelled(world: World) -> None:
    rows(world, {**GO, "Wanted": RETRY, "Rate": "20 a day"}, header=HEADER)
    await world.launch().handle()
    assert await answer(world) == "Sending again to 2 that failed, at most 1 an hour."
    rows(world, {**GO, "Wanted": "Cancel"})
    assert await ticks(world, count=2) == []
    found = await campaign(world)
    assert (found["state"], found["active"]) == ("cancelled", False)
    totals = found["totals"]
    assert (totals["sent"], totals["failed"], totals["cancelled"], totals["recipients"]) == (2, 0, 2, 4)
    await ticks(world, "Draft")
    await ticks(world, RETRY)
    assert await answer(world) == "Nobody failed, so there is nothing to send again.", "their retry was cancelled"


@pytest.mark.usefixtures("half")
async def test_ten_sends_are_the_end(world: World) -> None:
    for _ in range(9):
        world.sender.answers[ABCD[3]] = [REFUSED]
        await ticks(world, RETRY, count=2)
        await ticks(world, "Draft", count=1)
    found = await campaign(world)
    assert [send["key"] for send in found["sends"]] == ["", *(f"r{n}" for n in range(1, 10))]
    await ticks(world, RETRY)
    assert await answer(world) == "It was sent again 9 times, which is as often as it can be. Use a new row."


@pytest.mark.parametrize("n", range(12))
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict", "died", "died after"])
@pytest.mark.usefixtures("half")
async def test_a_command_cut_off_at_any_write_is_given_once(world: World, n: int, fault: Fault) -> None:
    world.sender.answers = {ABCD[2]: [REFUSED], ABCD[3]: [REFUSED]}
    rows(world, {**GO, "Wanted": RETRY})
    try:
        await world.launch(FaultyStore(world.store, nth(n, fault))).handle()
    except (PipelineError, Died):
        pass
    assert await ticks(world, count=7) == [], "three minutes later at most it is begun again"
    found = await campaign(world)
    assert [send["key"] for send in found["sends"]] == ["", "r1"], "twice refused, once retried"
    assert found["state"] == "completed"


async def read_ledgers(world: World, slices: int) -> list[bytearray]:
    """What each slice holds, the ledgers being read a page at a time."""
    state = {**prepare.begin("retry", NOW, False, 0), "slices": slices}
    while state["after"] is not None:
        work = prepare.Preparing(world.store, world.objects, world.paths, world.clock, "C-1", {"preparing": state})
        read = await work._ledgers(state, NOW)
        state["ledgers"].append(await cut.put(world.objects, read))
    return await work._whose(state, b"")


_ENDS = st.sampled_from([batch.SENT, batch.FAILED, batch.UNKNOWN, batch.SUPPRESSED, batch.SKIPPED_LEFT])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.integers(0, 255), _ENDS), max_size=8), min_size=1, max_size=4), st.sampled_from([1, 2, 64]))
async def test_a_roster_holds_whose_newest_mail_came_to_that(
    tmp_path_factory: Any, ledgers: list[list[tuple[int, int]]], slices: int
) -> None:
    world = World.on(tmp_path_factory.mktemp("ledgers"))
    latest: dict[str, int] = {}
    for n, entries in enumerate(ledgers):
        once = dict(entries)
        sids = {number: f"{number:02x}" * 16 for number in once}
        latest |= {sids[number]: end for number, end in once.items()}
        packed = {"sids": bytes.fromhex("".join(sids.values())), "states": bytes(once.values())}
        name = f"r{n}-000000" if n else "000000"
        await world.store.commit([Create(world.paths.batch("C-1", name), {**batch.new({"low": "", "high": ""}, 0), **packed})])
    for end in (batch.SENT, batch.FAILED):
        found = [sid for held in await read_ledgers(world, slices) for sid in prepare.ending(bytes(held), end)]
        assert found == sorted(sid for sid, state in latest.items() if state == end)
    world.store.close()


async def test_finding_non_openers_reads_the_ledgers_and_the_openers(world: World) -> None:
    sids = [f"{n:032x}" for n in range(800)]
    for n in range(2):
        part = sids[400 * n : 400 * (n + 1)]
        packed = {"sids": bytes.fromhex("".join(part)), "states": b"s" * 400}
        await world.store.commit(
            [Create(world.paths.batch("C-1", f"00000{n}"), {**batch.new({"low": "", "high": ""}, 0), **packed})]
        )
    openers = [Create(world.paths.delivery("C-1", sid), {"labels": ["opened", "opened.human"]}) for sid in sids[:100]]
    await world.store.write_many(openers)
    await world.store.write_many([Merge(write.path, {"labels": ["opened.human", "clicked.human"]}) for write in openers[:10]])
    data = {"expected": 800, "preparing": prepare.begin("non-openers", NOW, False, 800)}
    before = replace(world.store.operations)
    work = prepare.Preparing(world.store, world.objects, world.paths, world.clock, "C-1", data)
    _, rosters = await work.go_on(NOW)
    assert world.store.operations.reads - before.reads == 2 + 100 + 10
    assert rosters and [sid for part in rosters.parts(1000) for sid in batch.sids(part.roster)] == sids[100:]


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize("wrong", ["doubled", "rate"])
async def test_a_row_that_could_not_be_read_for_a_while_gives_no_command_again(world: World, wrong: str) -> None:
    await ticks(world, RESEND)
    assert world.sender.accepted == ABCD[:2]
    line = {**GO, "Wanted": RESEND}
    rows(world, *([line, {**line, "ID": "C-0001"}] if wrong == "doubled" else [{**line, "Rate": "fast"}]), header=HEADER)
    assert await ticks(world) == []
    assert await ticks(world, RESEND) == [], "chosen once, done once"
    assert (await answer(world)).endswith(ANEW)


@pytest.mark.usefixtures("half")
async def test_a_tick_that_read_the_sheet_long_ago_gives_no_command_again(world: World) -> None:
    await ticks(world, RESEND)
    slow, read = world.launch(), world.sheet.read

    async def late(ranges: Any) -> Any:
        found = await read(ranges)
        world.sheet.read = read  # type: ignore[method-assign]
        await ticks(world, "Draft", count=1)
        return found

    world.sheet.read = late  # type: ignore[method-assign]
    await slow.handle()
    assert await ticks(world) == []
    assert (await campaign(world))["row"]["wanted"] == "draft"
