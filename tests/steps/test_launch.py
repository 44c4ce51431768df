"""The tick: rows become campaigns, campaigns become batches, and what waits is brought back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from functions.launch.regular import QUARTER, Regular
from functions.launch.rows import Start, start
from shared.errors import BadInput, PipelineError, Unavailable
from shared.model import batch, console, erasure
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Create, Merge

from .fakes import HOUR, NOW, Died, Fault, FaultyStore, nth
from .world import IDENTITY, LETTER, World

HEADER = list(console.ROW_FIELDS)
GO = {"Template": "letter", "Wanted": "Go"}


def rows(world: World, *lines: dict[str, str], header: list[str] = HEADER) -> None:
    """What people have typed; the first line is C-0001 unless it says otherwise."""
    world.sheet.tabs["Campaigns"] = []
    numbered = [{"ID": f"C-{n:04d}", **line} for n, line in enumerate(lines, 1)]
    world.sheet.put("Campaigns!A1", [header, *([line.get(name, "") for name in header] for line in numbered)])


async def tick(world: World, **cells: str) -> dict[str, Any]:
    """Type these cells into the only row, tick, and the campaign's document."""
    if cells:
        rows(world, cells)
    await world.launch().handle()
    return await campaign(world)


async def campaign(world: World, id: str = "C-0001") -> dict[str, Any]:
    return await world.data(world.paths.campaign(id))


async def finish(world: World, name: str = "000000", states: bytes = b"", sids: bytes = b"", id: str = "C-0001") -> None:
    """What a worker leaves when it is through with a batch."""
    unsettled = batch.UNKNOWN in states
    ended = {"state": "done", "due": batch.NEVER, "ended_at": world.clock.now()}
    done = {**ended, "states": states, "sids": sids, "tally": batch.tally(states), "unsettled": unsettled}
    await world.store.commit([Merge(world.paths.batch(id, name), done)])


@pytest.fixture
async def audience(world: World) -> None:
    await world.add("a@example.com", "b@example.com", tags=["vip"])
    await world.add("c@example.com")
    await world.add("d@example.com", suppressed=["complaint"])


# --- starting ---


@pytest.mark.usefixtures("audience")
async def test_go_freezes_counts_cuts_and_publishes(world: World) -> None:
    found = await tick(world, **GO, Name="First", Subject="Own subject", Segment="VIP")
    assert (found["state"], found["expected"], found["cut"]) == ("running", 2, True)
    assert found["sends"] == [{"key": "", "kind": "all", "expected": 2, "parts": 1, "at": NOW}]
    assert (found["segment"], found["frozen_at"], found["answer"]) == ("vip", NOW, "Sending to 2.")
    assert found["row"]["name"] == "First" and found["mail"]["subject"] == "Own subject"
    assert await world.objects.get(found["mail"]["object"]) == LETTER.encode()
    assert await world.ledger() == batch.new({"low": "", "high": ""}, NOW + batch.GRACE)
    assert world.bus.messages == [("send-requests", {"campaign": "C-0001", "batch": "000000"})]
    before = world.versions()
    await tick(world)
    assert world.versions() == before and len(world.bus.messages) == 1


@pytest.mark.usefixtures("audience")
async def test_a_large_audience_is_cut_into_ranges(world: World) -> None:
    class Large(FaultyStore):
        async def count(self, *_: Any) -> int:
            return 1001

    rows(world, GO)
    await world.launch(Large(world.store, lambda verb: "")).handle()
    found = await world.all(world.paths.batches("C-0001"))
    assert [document.data["source"] for document in found] == batch.ranges(1001) and len(found) == 3
    assert [message["batch"] for message in world.bus.take("send-requests")] == [document.id for document in found]


@pytest.mark.usefixtures("audience")
async def test_the_frozen_mail_outlives_its_file(world: World) -> None:
    found = await tick(world, **GO)
    world.drive.put("letter.md", "---\nsubject: Changed\n---\nchanged")
    assert (await tick(world))["mail"] == found["mail"]
    assert await world.objects.get(found["mail"]["object"]) == LETTER.encode()
    rows(world, GO, GO)
    await world.launch().handle()
    second = await campaign(world, "C-0002")
    assert await world.objects.get(second["mail"]["object"]) == b"---\nsubject: Changed\n---\nchanged"
    assert second["mail"]["hash"] != found["mail"]["hash"]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"Template": ""}, "Choose a template. The folder has: letter.md."),
        ({"Template": "lettre"}, "There is no template “lettre” in the folder."),
        ({"Template": "broken"}, "The template broken.md cannot be sent: "),
        ({"Template": "letter", "Segment": "nobody"}, "Nobody is in the segment “nobody” yet."),
        ({"Template": "letter", "Schedule": "tomorrow"}, "The schedule “tomorrow” must look like"),
    ],
)
@pytest.mark.usefixtures("audience")
async def test_a_wrong_row_gets_its_sentence_and_blocks_no_other(world: World, cells: dict[str, str], sentence: str) -> None:
    if cells["Template"] == "broken":
        world.drive.put("broken.md", "---\nsubject: x\n---\n{{ name")
    rows(world, {**cells, "Wanted": "Go"}, GO)
    await world.launch().handle()
    found = await campaign(world)
    assert found["answer"].startswith(sentence) and "Traceback" not in found["answer"]
    assert (found["state"], found["active"]) == ("draft", False)
    assert (await campaign(world, "C-0002"))["state"] == "running"
    assert [message["campaign"] for message in world.bus.take("send-requests")] == ["C-0002"]
    world.drive.files.pop("broken.md", None)
    await tick(world, **GO)
    assert (await campaign(world))["state"] == "running"


async def test_nobody_confirmed_is_a_sentence(world: World) -> None:
    assert (await tick(world, **GO))["answer"] == "Nobody is confirmed yet. Then choose Draft, and Go once the row says so."
    await world.add("a@example.com")
    await tick(world, **{**GO, "Wanted": "Draft"})
    assert (await tick(world, **GO))["state"] == "running"


@pytest.mark.usefixtures("audience")
async def test_templates_are_found_by_any_spelling_of_their_name(world: World) -> None:
    for n, name in enumerate(("letter", "LETTER.MD", "Letter.md"), 1):
        rows(world, *[{}] * (n - 1), {"Template": name, "Wanted": "go"})
        await world.launch().handle()
        assert (await campaign(world, f"C-{n:04d}"))["mail"]["file"] == "letter.md"
    world.drive.put("letter.txt", "---\nsubject: x\n---\nplain")
    rows(world, *[{}] * 3, GO)
    await world.launch().handle()
    assert "More than one template" in (await campaign(world, "C-0004"))["answer"]


# --- what Wanted may say ---


async def at(world: World, state: str) -> None:
    """A campaign in `state`, launched or not, with one open batch once it runs."""
    await tick(world, **{**GO, "Schedule": "2027-01-15 09:00" if state == "scheduled" else "", "Wanted": "Go"})
    if state == "draft":
        await tick(world, Template="x", Wanted="Draft")
    changes = {"state": state, "active": state in ("scheduled", "running", "paused")}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), changes)])
    world.bus.messages.clear()


TRANSITIONS = [
    ("paused", "Pause", "paused", "Paused. Choose Go"),
    ("draft", "Draft", "draft", "Draft. Choose Go"),
    ("scheduled", "Draft", "draft", "No longer scheduled."),
    ("scheduled", "Pause", "draft", "Taken off the schedule."),
    ("scheduled", "Cancel", "cancelled", "Cancelled before it started."),
    ("running", "Draft", "running", "It has started. Choose Pause or Cancel"),
    ("running", "Pause", "paused", "Paused. Choose Go to resume"),
    ("running", "Cancel", "cancelled", "Cancelled: what was handed over has gone"),
    ("paused", "Go", "running", "Resumed."),
    ("paused", "Draft", "paused", "It has started."),
    ("paused", "Cancel", "cancelled", "Cancelled: what was handed over"),
    ("completed", "Go", "completed", "This campaign has ended. Use a new row"),
    ("completed", "Pause", "completed", "This campaign has ended."),
    ("completed", "Cancel", "completed", "This campaign has ended."),
    ("cancelled", "Go", "cancelled", "This campaign has ended."),
    ("draft", "Pause", "draft", "It has not started, so"),
    ("draft", "Cancel", "cancelled", "Cancelled before it started."),
    *(
        (state, "Gooo", state, f"Wanted must be {', '.join(console.WANTED[:-1])} or Archive, not “gooo”.")
        for state in ("draft", "running", "paused")
    ),
]


@pytest.mark.parametrize(("state", "wanted", "then", "sentence"), TRANSITIONS)
@pytest.mark.usefixtures("audience")
async def test_every_wanted_in_every_state(world: World, state: str, wanted: str, then: str, sentence: str) -> None:
    await at(world, state)
    found = await tick(world, Template="letter", Wanted=wanted, Name=f"now {wanted}")
    assert (found["state"], found["answer"][: len(sentence)]) == (then, sentence)
    if then in ("draft", "completed"):
        assert found["active"] is False


@pytest.mark.parametrize(("state", "wanted"), [("running", "Go"), ("completed", "Draft"), ("cancelled", "Draft")])
@pytest.mark.usefixtures("audience")
async def test_a_wish_already_fulfilled_changes_nothing(world: World, state: str, wanted: str) -> None:
    await at(world, state)
    before = await campaign(world)
    assert await tick(world, Template="letter", Wanted=wanted, Name="renamed") == before


async def test_a_wish_is_acted_on_once(world: World) -> None:
    await world.add("a@example.com")
    await tick(world, **GO)
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "paused"})])  # our fault, say
    assert (await tick(world))["state"] == "paused"


# --- schedules ---


@pytest.mark.usefixtures("audience")
async def test_a_schedule_is_kept(world: World) -> None:
    found = await tick(world, **GO, Schedule="2027-01-15 9:30:00")  # as Sheets shows it; Lisbon is on UTC in winter
    assert (found["state"], found["at"]) == ("scheduled", NOW + HOUR * 3 // 2)
    assert found["answer"] == "Scheduled for 2027-01-15 09:30 (Europe/Lisbon)."
    world.clock.advance(HOUR * 3 // 2 - 1)
    assert (await tick(world))["state"] == "scheduled" and world.bus.messages == []
    world.clock.advance(1)
    assert (await tick(world))["state"] == "running"


JULY = 1_814_400_000_000  # 2027-07-01 00:00 UTC


@pytest.mark.parametrize(
    ("schedule", "zone", "at"),
    [
        ("", "Europe/Lisbon", JULY),
        ("2027-07-01 10:00", "Europe/Lisbon", JULY + 9 * HOUR),
        ("2027-7-1 9:05:00", "UTC", JULY + 9 * HOUR + 300_000),
        ("2027-07-01T10:00", "Asia/Kolkata", JULY + 4 * HOUR + HOUR // 2),
        ("2027-06-30 23:00", "UTC", JULY - HOUR),
        ("2027-10-31 01:30", "Europe/Lisbon", 1_824_942_600_000),  # twice that night: the first, in summer time
    ],
)
def test_a_schedule_is_read_in_the_workbooks_zone(schedule: str, zone: str, at: int) -> None:
    assert start(schedule, zone, JULY) == Start(at)


@pytest.mark.parametrize(
    ("schedule", "zone", "sentence"),
    [
        ("next week", "UTC", "must look like"),
        ("2027-02-31 10:00", "UTC", "must look like"),
        ("2027-13-01 10:00", "UTC", "must look like"),
        ("2027-07-01", "UTC", "must look like"),
        ("01/07/2027 10:00", "UTC", "must look like"),
        ("2027-07-01 24:00", "UTC", "must look like"),
        ("2027-07-01 10:00 ", "UTC", "must look like"),
        ("0000-07-01 10:00", "UTC", "must look like"),
        ("2027-06-30 22:59", "UTC", "has passed"),
        ("2027-06-30 9:05:00", "UTC", r"schedule 2027-06-30 9:05 \(UTC\) has passed"),
        ("2028-03-26 01:30", "Europe/Lisbon", "does not exist in Europe/Lisbon"),
        ("2027-07-01 10:00", "Mars/Base", "time zone “Mars/Base” is not known"),
        ("2027-07-01 10:00", "../etc", "is not known"),
        ("9999-12-31 23:59", "America/New_York", "too far away"),
        ("0001-01-01 00:00", "Asia/Tokyo", "too far away"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_a_sentence(schedule: str, zone: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        start(schedule, zone, JULY)


# --- the tab ---


@pytest.mark.usefixtures("audience")
async def test_two_rows_with_one_id_start_nothing(world: World) -> None:
    rows(world, GO, {**GO, "ID": "C-0001", "Name": "copy"}, GO)
    await world.launch().handle()
    found = await campaign(world)
    assert found["answer"] == "The id C-0001 stands in 2 rows. Give each row an id of its own."
    assert found["state"] == "draft" and "mail" not in found
    assert (await campaign(world, "C-0003"))["state"] == "running"


@pytest.mark.parametrize("header", [HEADER[:-1], [*HEADER, "Wanted"], ["x", *HEADER[1:]]])
@pytest.mark.usefixtures("audience")
async def test_a_header_that_cannot_be_trusted_starts_nothing(
    world: World, header: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows(world, GO, header=header)
    await world.launch().handle()
    assert await campaign(world) == {}
    assert "Campaigns: the column" in capsys.readouterr().out


@pytest.mark.usefixtures("audience")
async def test_columns_may_be_moved_and_ids_of_others_are_left_out(world: World) -> None:
    moved = ["Notes", *reversed(HEADER)]
    rows(world, {**GO, "Notes": "hi"}, {**GO, "ID": "a/b"}, {**GO, "ID": "confirm"}, {**GO, "ID": ""}, {}, header=moved)
    await world.launch().handle()
    assert [found.id for found in await world.all(world.paths.campaigns)] == ["C-0001", "access", "confirm", "export", "welcome"]
    assert (await campaign(world))["state"] == "running"
    assert (await campaign(world, "confirm"))["kind"] == "system"


@pytest.mark.usefixtures("audience")
async def test_without_its_tab_a_tick_still_brings_back_batches(world: World) -> None:
    await world.campaign()
    world.clock.advance(batch.GRACE)
    await world.launch().handle()
    assert world.bus.take("send-requests") == [{"campaign": "C-0001", "batch": "000000"}]


@pytest.mark.parametrize("which", ["sheet", "drive"])
@pytest.mark.usefixtures("audience")
async def test_an_outage_of_google_delays_new_campaigns_only(world: World, which: str) -> None:
    await world.campaign("C-0009")
    await tick(world, **GO, Schedule="2027-01-15 08:30")
    world.clock.advance(HOUR)
    getattr(world, which).down = True
    found = await tick(world)
    assert found["state"] == "scheduled" and found["answer"].startswith("Scheduled for")
    assert world.bus.take("send-requests") == [{"campaign": "C-0009", "batch": "000000"}]
    getattr(world, which).down = False
    assert (await tick(world))["state"] == "running"


async def test_system_mails_follow_their_files(world: World) -> None:
    await world.launch().handle()
    first = await campaign(world, "confirm")
    assert (first["state"], first["mail"]["bulk"], first["mail"]["tracked"]) == ("running", False, False)
    assert (await campaign(world, "welcome"))["mail"]["bulk"] is True
    before = world.versions()
    await world.launch().handle()
    assert world.versions() == before
    world.drive.put("confirm.md", "{{ broken")
    await world.launch().handle()
    broken = await campaign(world, "confirm")
    assert broken["mail"] == first["mail"] and broken["answer"].startswith("The template confirm.md cannot be sent")
    before = world.versions()
    await world.launch().handle()
    assert world.versions() == before
    world.drive.put("confirm.md", "---\nsubject: New\n---\n[Yes]({{ confirm_url }})")
    await world.launch().handle()
    assert (await campaign(world, "confirm"))["answer"] == "" and (await campaign(world, "confirm"))["mail"] != first["mail"]
    step = replace(world.launch(), tenant=replace(world.launch().tenant, identity=replace(IDENTITY, from_name="Renamed")))
    await step.handle()
    assert (await campaign(world, "welcome"))["mail"]["identity"]["from_name"] == "Renamed"


# --- cut off anywhere ---


async def started(world: World) -> None:
    """One more tick has to complete what was cut off."""
    world.clock.advance(batch.GRACE)
    await world.launch().handle()
    found = await campaign(world)
    assert (found["state"], found["cut"], found["sends"][0]["parts"]) == ("running", True, 1)
    assert len(await world.all(world.paths.batches("C-0001"))) == 1
    assert {"campaign": "C-0001", "batch": "000000"} in world.bus.take("send-requests")


@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("fault", ["refused", "lost", "conflict", "died", "died after"])
@pytest.mark.usefixtures("audience")
async def test_a_tick_cut_off_at_any_write_is_completed_by_the_next(world: World, n: int, fault: Fault) -> None:
    rows(world, GO)
    try:
        await world.launch(FaultyStore(world.store, nth(n, fault))).handle()
    except (PipelineError, Died):
        pass
    await started(world)


@pytest.mark.parametrize("n", range(12))
@pytest.mark.usefixtures("audience")
async def test_a_tick_cut_off_at_any_read_is_completed_by_the_next(world: World, n: int) -> None:
    rows(world, GO)
    reads = frozenset({"get", "get_many", "page", "count"})
    try:
        await world.launch(FaultyStore(world.store, nth(n, "refused", reads))).handle()
    except PipelineError:
        pass
    await started(world)


@pytest.mark.usefixtures("audience")
async def test_a_publish_that_fails_is_done_by_the_next_tick(world: World) -> None:
    rows(world, GO)
    world.bus.failing = True
    await world.launch().handle()
    assert (await campaign(world))["cut"] is False
    world.bus.failing = False
    await started(world)


@pytest.mark.usefixtures("audience")
async def test_ticks_at_once_make_one_campaign(world: World) -> None:
    rows(world, GO, GO)
    done = await asyncio.gather(*(world.launch().handle() for _ in range(4)), return_exceptions=True)
    assert all(found is None or isinstance(found, PipelineError) for found in done)
    await world.launch().handle()
    for id in ("C-0001", "C-0002"):
        assert (await campaign(world, id))["state"] == "running"
        assert len(await world.all(world.paths.batches(id))) == 1
        await world.send_batch().handle({"campaign": id, "batch": "000000"})
    assert len(world.sender.accepted) == 6


@pytest.mark.usefixtures("audience")
async def test_a_campaign_cancelled_while_it_starts_stays_cancelled(world: World) -> None:
    await tick(world, **GO, Schedule="2027-01-15 08:30")
    world.clock.advance(HOUR)

    class Cancelled(FaultyStore):
        async def count(self, *arguments: Any) -> int:
            await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "cancelled"})])
            return await super().count(*arguments)

    await world.launch(Cancelled(world.store, lambda verb: "")).handle()
    assert (await campaign(world))["state"] == "cancelled"
    assert await world.all(world.paths.batches("C-0001")) == [] and world.bus.messages == []


# --- sweeping, settling, ending ---


@pytest.mark.parametrize(
    ("changes", "swept"),
    [
        ({"due": NOW}, True),
        ({"due": NOW - 1, "lease_until": NOW - 1}, True),
        ({"due": NOW + 1, "lease_until": NOW + 1}, False),
        ({"due": NOW + 1, "not_before": NOW + 1}, False),
        ({"due": NOW, "not_before": NOW}, True),
        ({"due": batch.NEVER, "state": "done"}, False),
    ],
)
async def test_the_sweeper_brings_back_what_is_due(world: World, changes: dict[str, Any], swept: bool) -> None:
    await world.campaign()
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), changes)])
    await world.launch().handle()
    assert len(world.bus.take("send-requests")) == swept
    await world.launch().handle()
    assert world.bus.messages == []  # once for each time it is due


async def test_a_single_mail_is_swept_with_its_consent(world: World) -> None:
    await world.launch().handle()
    name = f"{'a' * 32}.20833"
    held = batch.new({"sid": "a" * 32, "consent": "c1"}, NOW - batch.GRACE)
    await world.store.commit([Create(world.paths.batch("confirm", name), held)])
    await world.launch().handle()
    assert world.bus.take("send-requests") == [{"campaign": "confirm", "batch": name, "consent": "c1"}]


async def test_two_sweeps_at_once_publish_once(world: World) -> None:
    await world.campaign()
    world.clock.advance(batch.GRACE)
    world.sheet.down = True
    await asyncio.gather(*(world.launch().handle() for _ in range(3)), return_exceptions=True)
    assert world.bus.take("send-requests") == [{"campaign": "C-0001", "batch": "000000"}]


async def test_a_paused_campaign_is_not_swept(world: World) -> None:
    await world.campaign()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "paused"})])
    world.clock.advance(batch.GRACE)
    await world.launch().handle()
    assert world.bus.messages == []


async def test_a_campaign_ends_when_its_batches_are_done(world: World) -> None:
    await world.campaign(parts=2)
    sid = bytes.fromhex("ab" * 16)
    await finish(world, "000000", b"ssfl", sid * 4)
    await world.launch().handle()
    assert (await campaign(world))["state"] == "running"
    await finish(world, "000001", b"sxc", sid * 3)
    await world.launch().handle()
    found = await campaign(world)
    assert (found["state"], found["active"]) == ("completed", False)
    assert found["answer"] == "Done: 3 sent, 1 failed, 1 suppressed, 1 skipped, 1 cancelled."
    ends = {"sent": 3, "failed": 1, "suppressed": 1, "skipped": 1, "cancelled": 1, "unknown": 0, "deferred": 0, "handed": 0}
    assert found["totals"] == {**ends, "recipients": 7}


async def test_unknown_becomes_what_was_heard_of_it(world: World) -> None:
    await world.campaign()
    sids = [f"{n:032x}" for n in range(1, 7)]
    await finish(world, states=b"uuuuus", sids=bytes.fromhex("".join(sids)))
    await world.launch().handle()
    assert (await campaign(world))["answer"] == "Done: 1 sent, 5 unknown."

    async def hear(sid: str, **event: Any) -> None:
        await world.record().handle(Event(ref=MailRef("C-0001", sid).text, at=NOW, **event).to_message())

    await hear(sids[0], type="delivered")
    await hear(sids[1], type="bounced")
    await hear(sids[2], type="opened", label="human")
    await hear(sids[3], type="delivered")
    await hear(sids[3], type="bounced", hard=True)
    await hear(sids[5], type="bounced")  # known as sent already
    await world.launch().handle()
    assert list((await world.states()).values()) == ["sent", "failed", "sent", "failed", "unknown", "sent"]
    found = await campaign(world)
    assert found["answer"] == "Done: 3 sent, 2 failed, 1 unknown." and found["active"] is True
    world.clock.advance(73 * HOUR)
    await world.launch().handle()
    assert (await campaign(world))["active"] is False  # plain SMTP may never tell


async def test_an_unknown_single_mail_settles_too(world: World) -> None:
    await world.launch().handle()
    sid = "cd" * 16
    held = batch.new({"sid": sid}, NOW)
    done = {"state": "done", "states": b"u", "sids": bytes.fromhex(sid), "unsettled": True}
    await world.store.commit([Create(world.paths.batch("welcome", f"{sid}.c1"), {**held, **done})])
    await world.record().handle(Event("delivered", MailRef("welcome", sid, "c1").text, NOW).to_message())
    await world.launch().handle()
    assert (await world.states(f"{sid}.c1", "welcome")) == {sid: "sent"}


async def test_an_open_batch_is_not_settled_under_its_writer(world: World) -> None:
    await world.campaign()
    await finish(world, states=b"u", sids=b"\1" * 16)
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), {"state": "open"})])
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "cancelled"})])
    await world.record().handle(Event("delivered", MailRef("C-0001", "01" * 16).text, NOW).to_message())
    await world.launch().handle()
    assert (await world.ledger())["states"] == b"u"


async def test_an_outage_of_the_store_is_unavailable(world: World) -> None:
    with pytest.raises(Unavailable):
        await world.launch(FaultyStore(world.store, lambda verb: "refused")).handle()


@pytest.mark.usefixtures("audience")
async def test_the_systems_own_mails_are_no_campaign(world: World) -> None:
    for template in ("confirm", "welcome.md"):
        found = await tick(world, Template=template, Wanted="Go")
        assert found["state"] == "draft" and found["answer"].startswith(f"There is no template “{template}”"), found["answer"]
    world.drive.put("letter.md", "---\nsubject: x\n---\n[Yes]({{ confirm_url }})\n")
    found = await tick(world, Template="letter", Wanted="Go", Name="with a confirmation link")
    assert found["state"] == "draft" and "confirm_url" in found["answer"]


# --- privacy, which has no tick of its own ---


async def test_privacy_is_asked_to_run_once_each_quarter_of_an_hour(world: World) -> None:
    step = replace(world.launch(), regular=Regular(world.bus))
    asked = []
    for _ in range(31):
        await step.handle()
        asked.append(len(world.bus.take(erasure.TOPIC)))
        world.clock.advance(60_000)
    assert NOW % QUARTER == 0 and [n for n, count in enumerate(asked) if count] == [0, 15, 30] and sum(asked) == 3
    again = replace(world.launch(), regular=Regular(world.bus))  # another instance, in the middle of a quarter
    await again.handle()
    assert world.bus.take(erasure.TOPIC) == [{}]


@pytest.mark.usefixtures("audience")
async def test_a_privacy_that_cannot_be_asked_stops_no_tick_and_is_asked_at_the_next(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    step = replace(world.launch(), regular=Regular(world.bus))
    world.bus.failing = True
    rows(world, {**GO, "Schedule": "2027-01-15 10:30"})
    await step.handle()
    assert (await campaign(world))["state"] == "scheduled" and "privacy was not asked to run" in capsys.readouterr().out
    world.bus.failing = False
    for count in (1, 0):
        world.clock.advance(60_000)
        await step.handle()
        assert world.bus.take(erasure.TOPIC) == [{}] * count


async def test_privacy_is_asked_whatever_befalls_the_rest_of_a_tick(world: World) -> None:
    store = FaultyStore(world.store, lambda verb: "refused")
    with pytest.raises(Unavailable):
        await replace(world.launch(store), regular=Regular(world.bus)).handle()
    assert world.bus.take(erasure.TOPIC) == [{}]
