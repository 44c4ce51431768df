"""The ops Sheet: one answer for each pasted contact, results beside their campaigns, and nothing written that people own."""

from __future__ import annotations

from typing import Any

import pytest

from functions.sync_sheet import imports
from functions.sync_sheet.tabs import result
from functions.sync_sheet.workbook import HEADERS
from shared.errors import Unavailable
from shared.model import batch, console
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Create, Merge

from .fakes import DAY, NOW, FaultyStore
from .world import World

FIELDS = list(console.IMPORT_FIELDS)


async def tick(world: World) -> None:
    await world.sync_sheet().handle()


async def paste(world: World, *lines: dict[str, str]) -> dict[str, str]:
    """Contacts into the Import tab, a tick, and id -> answer. A line without a consent source gets one, unless it says ""."""
    if not world.sheet.tabs:
        await tick(world)
    for n, line in enumerate(lines, 1):
        cells = {"ID": f"I-{n:04d}", "Consent source": "fair 2026", **line}
        world.sheet.put(f"Import!A{n + 1}", [[cells.get(name, "") for name in FIELDS]])
    await tick(world)
    return {row[0]: row[1] for row in shown(world, "Import results")}


def shown(world: World, tab: str) -> list[list[str]]:
    return world.sheet.rows(f"'{tab}'!A2:Z")


def board(world: World) -> dict[str, str]:
    return {row[0]: row[1] for row in shown(world, "Dashboard")}


# --- the workbook ---


async def test_an_empty_workbook_gets_its_tabs_once(world: World) -> None:
    await tick(world)
    for tab, header in HEADERS.items():
        assert world.sheet.rows(f"'{tab}'!A1:Z1") == [list(header)]
    assert world.sheet.rows("Campaigns!A2:A4") == [["C-0001"], ["C-0002"], ["C-0003"]]
    assert world.sheet.rows("Import!A1001:A1001") == [["I-1000"]]
    [campaigns] = [cells for place, cells in world.sheet.formulas.items() if place.startswith("Campaigns")]
    assert campaigns[1][0] == '=IF($A3="","",IFERROR(VLOOKUP($A3,Results!$A:$T,2,FALSE),""))'
    assert len(campaigns[1]) == len(console.ROW_RESULTS)
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []


@pytest.mark.parametrize("tab", list(HEADERS))
async def test_a_missing_tab_is_made_again_and_the_others_are_kept(world: World, tab: str) -> None:
    await tick(world)
    world.sheet.put("Campaigns!B2", [["My campaign"]])
    before = world.sheet.rows("Campaigns!A1:Z")
    del world.sheet.tabs[tab]
    await tick(world)
    assert world.sheet.rows(f"'{tab}'!A1:Z1") == [list(HEADERS[tab])]
    if tab != "Campaigns":
        assert world.sheet.rows("Campaigns!A1:Z") == before
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []


async def test_what_people_own_is_never_written(world: World) -> None:
    await tick(world)
    world.sheet.changes.clear()
    world.sheet.put("Campaigns!B2", [["My campaign", "letter", "", "", "", "Go"]])
    await world.launch().handle()
    await paste(world, {"Email": "a@example.com"}, {"Email": "b@example"})
    await world.launch().handle()
    await tick(world)
    assert len(world.sheet.changes) > 3
    assert not [place for _, place in world.sheet.changes if place.startswith(("Campaigns", "Import!"))]


async def test_a_sheet_that_does_not_answer_is_unavailable(world: World) -> None:
    world.sheet.down = True
    with pytest.raises(Unavailable):
        await tick(world)


# --- import ---


async def test_each_row_gets_one_answer(world: World) -> None:
    await world.add("known@example.com", name="Known")
    for reason in ("unsubscribed", "hard_bounce", "complaint"):
        kind: Any = reason
        await world.store.commit(suppress(world.paths, world.sid(f"{reason}@example.com"), kind, "x", NOW))
    answers = await paste(
        world,
        {"Email": "a@example.com", "Name": " Ada  L ", "Language": "pt-BR", "Tags": "VIP; news, everyone"},
        {"Email": "A@EXAMPLE.COM"},
        {"Email": "known@example.com"},
        {"Email": "b@example.com", "Consent source": ""},
        {"Email": "not an address"},
        {"Email": "", "Name": "Nobody"},
        {"Email": "c@example.com", "Name": "=HYPERLINK(1)"},
        {"Email": "d@example.com", "Language": "en_GB!"},
        {"Email": "e@example.com", "Name": "x" * 101},
        {"Email": "unsubscribed@example.com"},
        {"Email": "hard_bounce@example.com"},
        {"Email": "complaint@example.com"},
        {"Email": "f@bücher.example"},
        {"Email": "F@xn--bcher-kva.example"},
    )
    expected = [
        "Imported.",
        "Rejected: The same address as row I-0001.",
        "Updated.",
        "Rejected: Say where this person agreed to get mail (Consent source).",
        "Rejected: This is not an e-mail address we can mail: ",
        "Rejected: Please give an e-mail address.",
        "Imported.",
        "Rejected: The language must be a code",
        "Rejected: The name is longer than 100 characters",
        "Rejected: it has left, and stays off the list.",
        "Rejected: mail to it bounced for good, and stays off the list.",
        "Rejected: it reported our mail as unwanted, and stays off the list.",
        "Imported.",
        "Rejected: The same address as row I-0013.",
    ]
    assert len(answers) == len(expected)
    for n, start in enumerate(expected, 1):
        assert answers[f"I-{n:04d}"].startswith(start), n
    ada = await world.subscriber("a@example.com")
    assert (ada["name"], ada["language"], ada["tags"]) == ("Ada L", "pt-BR", ["vip", "news"])
    assert (ada["segments"], ada["status"], ada["confirmed_at"]) == (["everyone", "vip", "news"], "confirmed", NOW)
    [consent] = await world.all(f"{world.paths.subscriber(world.sid('a@example.com'))}/consents")
    assert consent.data == {"at": NOW, "source": "fair 2026", "page": "Import tab", "row": "I-0001"}
    assert (await world.subscriber("known@example.com"))["name"] == "Known"
    assert (await world.subscriber("unsubscribed@example.com"))["segments"] == []
    assert await world.subscriber("b@example.com") == {}
    assert shown(world, "Activity")[-1][1] == "Import: 4 accepted, 10 rejected."
    world.sheet.changes.clear()
    before = world.versions()
    await tick(world)
    assert world.sheet.changes == [] and world.versions() == before


async def test_an_edited_row_is_answered_anew_and_a_repeat_changes_nothing(world: World) -> None:
    await paste(world, {"Email": "a@example.com", "Consent source": ""}, {"Email": "b@example.com"})
    before = await world.subscriber("b@example.com")
    answers = await paste(world, {"Email": "a@example.com", "Consent source": "shop"}, {"Email": "b@example.com"})
    assert answers == {"I-0001": "Imported.", "I-0002": "Imported."}
    assert await world.subscriber("b@example.com") == before
    answers = await paste(world, {"Email": "a@example.com", "Tags": "vip"})
    assert answers["I-0001"] == "Updated."
    assert (await world.subscriber("a@example.com"))["segments"] == ["everyone", "vip"]


async def test_rows_with_one_id_are_told_and_stop_nobody(world: World) -> None:
    copies = [{"Email": "a@example.com"}, {"Email": "b@example.com", "ID": "I-0001"}, {"Email": "a@example.com", "ID": "I-0001"}]
    answers = await paste(world, *copies, {"Email": "c@example.com"})
    assert answers == {
        "I-0001": "Rejected: The id I-0001 stands in 3 rows. Give each row an id of its own.",
        "I-0004": "Imported.",
    }
    assert await world.subscriber("a@example.com") == {}
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []
    answers = await paste(world, {"Email": "a@example.com"}, {"Email": "b@example.com"}, {"Email": "d@example.com"})
    assert [answers[f"I-000{n}"] for n in (1, 2, 3)] == ["Imported."] * 3


async def test_more_rows_than_a_tick_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "CHUNK", 2)
    answers = await paste(world, *({"Email": f"p{n}@example.com"} for n in range(5)))
    assert len(answers) == 2 and shown(world, "Activity")[-1][1] == "Import: 2 accepted, 0 rejected, 3 still to do."
    await tick(world)
    await tick(world)
    assert [row[1] for row in shown(world, "Import results")] == ["Imported."] * 5


async def test_somebody_who_leaves_while_being_imported_has_left(world: World) -> None:
    await world.add("a@example.com")
    sid = world.sid("a@example.com")

    class Racing(FaultyStore):
        async def write_many(self, writes: Any) -> Any:
            if any(write.path == world.paths.subscriber(sid) for write in writes):
                await world.store.commit(suppress(world.paths, sid, "unsubscribed", "x", NOW))
            return await super().write_many(writes)

    await tick(world)
    world.sheet.put("Import!A2", [["I-0001", "a@example.com", "Ada", "", "vip", "fair"]])
    await world.sync_sheet(Racing(world.store, lambda verb: "")).handle()
    assert shown(world, "Import results") == []
    assert (await world.subscriber("a@example.com"))["segments"] == []
    await tick(world)
    assert shown(world, "Import results")[0][1] == "Rejected: it has left, and stays off the list."


@pytest.mark.parametrize(("tab", "header"), [("Import", "ID,Email,Name"), ("Campaigns", "ID,Name,Name,Template"), ("Import", "")])
async def test_a_bad_header_is_a_notice_and_stops_nothing_else(world: World, tab: str, header: str) -> None:
    await tick(world)
    world.sheet.put(f"{tab}!A1", [[*header.split(","), *[""] * 20]])
    world.sheet.put("Import!A2", [["I-0001", "a@example.com", "", "", "", "fair"]])
    await tick(world)
    [notice] = [row[1] for row in shown(world, "Dashboard") if row[0] == "Notice"]
    assert notice.startswith(f"{tab}: the column “") and "Nothing in this tab is read" in notice
    assert bool(await world.subscriber("a@example.com")) == (tab != "Import")
    assert board(world)["Mailable subscribers"] == ("1" if tab != "Import" else "0")
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []


# --- results and the other tabs ---


async def test_results_show_each_campaign_by_its_id(world: World) -> None:
    await world.add("a@example.com", "b@example.com")
    await world.campaign()
    await world.send_batch().handle({"campaign": "C-0001", "batch": "000000"})
    await world.launch().handle()
    for n, kind in enumerate(("delivered", "opened", "clicked", "unsubscribed")):
        label: Any = "human" if kind in ("opened", "clicked") else ""
        name: Any = kind
        ref = MailRef("C-0001", world.sid("a@example.com")).text
        await world.record().handle(Event(name, ref, NOW + n, label=label).to_message())
    await world.record().handle(
        Event("opened", MailRef("C-0001", world.sid("b@example.com")).text, NOW, label="machine").to_message()
    )
    await tick(world)
    [row] = shown(world, "Results")
    found = dict(zip(console.RESULT_FIELDS, row, strict=True))
    assert (found["ID"], found["State"], found["Answer"], found["Answered"]) == (
        "C-0001",
        "completed",
        "Done: 2 sent.",
        "2027-01-15 08:00",
    )
    counted = ("Recipients", "Sent", "Failed", "Unknown", "Delivered", "Opened", "Opened by machines", "Clicked", "Unsubscribed")
    assert [found[name] for name in counted] == ["2", "2", "0", "0", "1", "1", "1", "1", "1"]
    shows = board(world)
    assert (shows["Mails sent"], shows["Opened by people"], shows["Campaigns completed"]) == ("2", "1 (50.0%)", "1")
    assert shown(world, "Activity")[-1][1] == "C-0001 C-0001: Done: 2 sent."
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []


async def test_an_old_campaign_keeps_its_numbers_unless_somebody_spoiled_them(world: World) -> None:
    await world.campaign()
    totals = dict.fromkeys(("recipients", "sent", "failed", "suppressed", "skipped", "cancelled", "unknown", "deferred"), 3)
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "completed", "totals": totals})])
    found = await world.store.get(world.paths.campaign("C-0001"))
    assert found
    old = [""] * 13 + ["7"] * 7
    later = NOW + 8 * DAY
    assert (await result(world.store, world.paths, found, "UTC", old, later))[13:] == ["7"] * 7
    assert (await result(world.store, world.paths, found, "UTC", old, NOW + DAY))[13:] == [0] * 7
    for spoiled in ([*old[:-1], "abc"], old[:-1]):
        assert (await result(world.store, world.paths, found, "UTC", spoiled, later))[13:] == [0] * 7


async def test_subscribers_and_suppressions_are_masked(world: World) -> None:
    await world.add("adalovelace@example.com", name="=cmd()", tags=["vip"])
    await world.store.commit([Create(world.paths.subscriber("ff" * 16), {"address": "eve@example.com", "created_at": NOW})])
    await world.store.commit(suppress(world.paths, "ff" * 16, "complaint", "mail of C-0001", NOW))
    await tick(world)
    everything = str(world.sheet.tabs)
    assert "adalovelace@" not in everything and "eve@" not in everything
    rows = {row[0]: row[1:] for row in shown(world, "Subscribers")}
    assert rows[world.sid("adalovelace@example.com")[:8]][:2] == ["a***@example.com", "'=cmd()"]
    assert rows["ffffffff"][3] == "complaint"
    assert shown(world, "Suppressions") == [["ffffffff", "complaint", "2027-01-15 08:00", "mail of C-0001"]]
    shows = board(world)
    assert (shows["Mailable subscribers"], shows["Waiting for confirmation"], shows["Complained"]) == ("1", "1", "1")


async def test_rows_that_are_no_more_are_cleared(world: World) -> None:
    await world.campaign()
    await tick(world)
    world.sheet.put("Results!A3", [["C-9999", "left over"]])
    world.sheet.put("Dashboard!A40", [["left", "over"]])
    await tick(world)
    assert [row[0] for row in shown(world, "Results")] == ["C-0001"]
    assert ["left", "over"] not in shown(world, "Dashboard")


async def test_a_running_campaign_shows_its_ledger(world: World) -> None:
    await world.campaign()
    changes = {"tally": {"sent": 3, "deferred": 1, "handed": 2}, "states": bytes([batch.SENT])}
    await world.store.commit([Merge(world.paths.batch("C-0001", "000000"), changes)])
    await tick(world)
    found = dict(zip(console.RESULT_FIELDS, shown(world, "Results")[0], strict=False))
    assert (found["Recipients"], found["Sent"], found["Deferred"], found["Expected"]) == ("6", "3", "1", "400")


async def test_a_system_mail_that_cannot_be_made_is_a_notice(world: World) -> None:
    del world.drive.files["confirm.md"]
    await tick(world)
    await world.launch().handle()
    await tick(world)
    assert board(world)["Notice"].startswith("The confirm mail: There is no template “confirm”")
    assert shown(world, "Results") == []
