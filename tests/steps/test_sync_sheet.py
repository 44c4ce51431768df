"""The ops Sheet: one answer for each pasted contact, results beside their campaigns, and nothing written that people own."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from functions.launch.allowance import Allowances
from functions.sync_sheet import imports, tabs
from functions.sync_sheet.workbook import HEADERS
from shared.errors import BadInput, Unavailable
from shared.model import batch, console
from shared.model.event import Event
from shared.model.provider import Provider
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Create, Delete, Merge, Rows

from .fakes import DAY, HOUR, NOW, Died, FakeSheet, FaultyStore
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
    assert campaigns[1][0] == '=IF($A3="","",IFERROR(VLOOKUP($A3&"",Results!$A:$Z,2,FALSE),""))'
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


class CutSheet(FakeSheet):
    """Call `at` of those that write (from 0) fails with `error`: before it is done, or `after`."""

    def __init__(self, at: int = -1, after: bool = False, error: BaseException = Unavailable("Google Sheets")) -> None:
        super().__init__()
        self.at, self.after, self.error, self.calls = at, after, error, 0

    async def _cut(self, work: Callable[[], Awaitable[None]]) -> None:
        hit = self.calls == self.at
        self.calls += 1
        if hit and not self.after:
            raise self.error
        await work()
        if hit:
            raise self.error

    async def add_tabs(self, titles: Any, columns: Any = None) -> None:
        await self._cut(lambda: FakeSheet.add_tabs(self, titles, columns))

    async def write(self, updates: Any, *, formulas: bool = False) -> None:
        await self._cut(lambda: FakeSheet.write(self, updates, formulas=formulas))

    async def append(self, tab: str, rows: Rows) -> None:
        await self._cut(lambda: FakeSheet.append(self, tab, rows))

    async def clear(self, ranges: Any) -> None:
        await self._cut(lambda: FakeSheet.clear(self, ranges))

    @property
    def lookups(self) -> dict[tuple[str, int], Any]:
        """(tab, row) -> its formulas."""
        found: dict[tuple[str, int], Any] = {}
        for place, rows in self.formulas.items():
            tab, _, start = place.partition("!")
            found |= {(tab, int(start[1:]) + n): row for n, row in enumerate(rows)}
        return found


@pytest.mark.parametrize("after", [False, True])
async def test_a_tick_cut_off_at_any_call_is_made_good_by_the_next(world: World, after: bool) -> None:
    world.sheet = whole = CutSheet()
    await tick(world)
    assert whole.calls >= 4 and len(whole.lookups) == 1390
    for n in range(whole.calls):
        world.sheet = sheet = CutSheet(n, after)
        with pytest.raises(Unavailable):
            await tick(world)
        for _ in range(2):
            sheet.changes.clear()
            await tick(world)
        assert (sheet.tabs, sheet.lookups) == (whole.tabs, whole.lookups), n
        assert sheet.changes == []


async def test_mending_writes_over_nothing(world: World) -> None:
    world.sheet = sheet = CutSheet(2)  # headers and ids are there, lookups are not
    with pytest.raises(Unavailable):
        await tick(world)
    sheet.put("Campaigns!B2", [["Mine"]])
    sheet.put("Campaigns!M5", [["a note"]])
    sheet.put("Import!A2", [["my id"], [""]])
    before = [sheet.rows(f"{tab}!A2:Z") for tab in ("Campaigns", "Import")]
    await tick(world)
    assert [sheet.rows(f"{tab}!A2:Z") for tab in ("Campaigns", "Import")] == before
    assert ("Campaigns", 5) not in sheet.lookups and len(sheet.lookups) == 1389
    assert [name for place, name in sheet.changes if place == "write" and name.startswith("Campaigns")][-3:] == [
        "Campaigns!M2",
        "Campaigns!M6",
        "Campaigns!M1",
    ]


@pytest.mark.parametrize(
    ("top", "second"),
    [
        (["ID", "Name", "Notes"], ["C-0001"]),  # columns were moved
        ([*console.ROW_FIELDS, "My notes"], ["C-0001"]),  # their own column stands where results would
        ([""], list(console.ROW_FIELDS)),  # a row was put in above
    ],
)
async def test_a_tab_in_another_shape_is_left_alone(world: World, top: list[str], second: list[str]) -> None:
    world.sheet.tabs["Campaigns"] = [top, second]
    await tick(world)
    assert world.sheet.tabs["Campaigns"] == [top, second]
    assert not [place for place in world.sheet.formulas if place.startswith("Campaigns")]


@pytest.mark.parametrize("tab", list(HEADERS))
async def test_a_header_that_was_emptied_is_written_again(world: World, tab: str) -> None:
    await tick(world)
    before = world.sheet.rows(f"'{tab}'!A1:Z")
    world.sheet.tabs[tab][0] = []
    await tick(world)
    assert world.sheet.rows(f"'{tab}'!A1:Z") == before
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []


async def test_an_idle_tick_makes_two_read_calls(world: World) -> None:
    class Counting(FakeSheet):
        calls = 0

        def _answer(self) -> None:
            self.calls += 1

    world.sheet = sheet = Counting()
    await world.campaign()
    await tick(world)
    await tick(world)
    sheet.calls = 0
    await tick(world)
    assert sheet.calls == 2


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


async def test_an_id_that_could_be_a_formula_is_answered_once(world: World) -> None:
    await tick(world)
    world.sheet.tabs["Import"][1:3] = [
        ["@b", "a@example.com", "", "", "", "fair"],
        ["x" * 49_990, "b@example.com", "", "", "", "fair"],
    ]
    await tick(world)
    assert [row[1] for row in shown(world, "Import results")] == ["Imported.", "Imported."]
    world.sheet.changes.clear()
    before = world.versions()
    await tick(world)
    assert world.sheet.changes == [] and world.versions() == before


async def test_a_long_id_is_cut_in_an_answer(world: World) -> None:
    answers = await paste(world, {"ID": "x" * 9000, "Email": "a@example.com"}, {"Email": "a@example.com"})
    assert answers["I-0002"] == f"Rejected: The same address as row {'x' * 59}…."
    answers = await paste(world, {"ID": "x" * 9000, "Email": "a@example.com"}, {"ID": "x" * 9000, "Email": "b@example.com"})
    assert len(answers["x" * 9000]) < 200


async def test_names_and_tags_of_every_script(world: World) -> None:
    answers = await paste(
        world,
        {"Email": "a@example.com", "Name": "می\u200cخواهم", "Tags": "हिन्दी, R&D, a/b"},
        {"Email": "b@example.com", "Tags": ", ".join(f"no/{n}" for n in range(5))},
    )
    assert answers["I-0001"] == "Imported. Left out as tags: a/b."
    assert answers["I-0002"] == "Imported. Left out as tags: no/0, no/1, no/2 and 2 more."
    found = await world.subscriber("a@example.com")
    assert (found["name"], found["tags"]) == ("می\u200cخواهم", ["हिन्दी", "r&d"])


async def test_the_whole_list_is_read_beside_the_event_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, threads = imports.firsts, []

    def watched(*given: Any) -> dict[str, str]:
        threads.append(threading.current_thread())
        return first(*given)

    monkeypatch.setattr(imports, "firsts", watched)
    await paste(world, {"Email": "a@example.com"})
    assert len(threads) == 1 and threads[0] is not threading.main_thread()


async def test_more_rows_than_a_tick_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST", 2)
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


@pytest.mark.parametrize(
    ("tab", "header"), [("Import", "ID,Email,Name"), ("Campaigns", "ID,Name,Name,Template"), ("Import", "Mine")]
)
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
    for n, kind in enumerate(("delivered", "opened", "clicked", "unsubscribed", "converted")):
        label: Any = "human" if kind in ("opened", "clicked") else ""
        name: Any = kind
        ref = MailRef("C-0001", world.sid("a@example.com")).text
        await world.record().handle(Event(name, ref, NOW + n, label=label).to_message())
    other = MailRef("C-0001", world.sid("b@example.com")).text
    for event in (
        Event("opened", other, NOW, label="machine"),
        Event("clicked", other, NOW, label="machine"),
        Event("bounced", other, NOW, hard=True),
    ):
        await world.record().handle(event.to_message())
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
    more = ("Opened, robots included", "Clicked by machines", "Clicked, robots included", "Bounced for good", "Bounced softly")
    assert [found[name] for name in (*more, "Converted")] == ["2", "1", "2", "1", "0", "1"]
    assert (board(world)["Mails sent"], board(world)["Campaigns completed"]) == ("2", "1")
    assert shown(world, "Activity")[-1][1] == "C-0001 C-0001: Done: 2 sent."
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []


def results(**figures: int) -> list[Any]:
    """A row of Results; the columns by their names, with _ for spaces and commas left out."""
    names = [name.replace(",", "").replace(" ", "_") for name in console.RESULT_FIELDS]
    assert set(figures) <= set(names)
    return ["C-0001", "paused", "", "", *(figures.get(name, 0) for name in names[4:])]


def figures(*rows: list[Any]) -> dict[str, list[Any]]:
    """What the Dashboard shows below the mails sent."""
    shows = tabs.dashboard({}, rows, [])
    return {str(row[0]): row[1:] for row in shows[shows.index(next(row for row in shows if row[0] == "Mails delivered")) :]}


def test_the_dashboard_shows_people_beside_all() -> None:
    hits = {"Opened": 20, "Opened_robots_included": 50, "Clicked": 5, "Clicked_robots_included": 40, "Opened_by_machines": 9}
    gone = {"Bounced": 12, "Bounced_for_good": 6, "Bounced_softly": 4, "Complained": 1, "Unsubscribed": 2}
    shows = figures(results(Sent=100, Delivered=80, **hits), results(Sent=100, Delivered=100, **gone))
    assert shows == {
        "Mails delivered": ["180 (90.0% of sent)"],
        "Opened": ["", "20 (11.1% of delivered)", "50 (27.8% of delivered)"],
        "Clicked": ["", "5 (2.8% of delivered)", "40 (22.2% of delivered)"],
        "Clicks to opens": ["", "25.0%", "80.0%"],
        "Hard bounces": ["6 (3.0% of sent)"],
        "Soft bounces": ["4 (2.0% of sent)"],
        "Other bounces": ["2 (1.0% of sent)"],
        "Spam complaints": ["1 (0.6% of delivered)"],
        "Left after a mail": ["2 (1.1% of delivered)"],
    }
    assert figures(results(Sent=100, Delivered=90, Converted=9))["Converted"] == ["9 (10.0% of delivered)"]
    twice = figures(results(Sent=100, Bounced=1, Bounced_for_good=1, Bounced_softly=1))
    assert twice["Other bounces"] == ["0 (0.0% of sent)"]


@pytest.mark.parametrize(
    ("delivered", "bounced", "of"), [(0, 100, "sent"), (10, 2, "sent"), (80, 9, "sent"), (80, 10, "delivered")]
)
def test_rates_are_of_those_delivered_where_nearly_all_are_told(delivered: int, bounced: int, of: str) -> None:
    shows = figures(results(Sent=100, Delivered=delivered, Bounced=bounced, Opened=40))
    assert shows["Opened"][1] == {"sent": "40 (40.0% of sent)", "delivered": "40 (50.0% of delivered)"}[of]
    assert shows["Mails delivered"] == ["80 (80.0% of sent)" if of == "delivered" else delivered]


def test_a_dashboard_of_nothing_divides_by_nothing() -> None:
    for rows in ([], [["C-0001", "draft", "", "", *[""] * 22]], [results()]):
        shows = figures(*rows)
        assert shows["Opened"] == ["", 0, 0] and shows["Clicks to opens"] == ["", "–", "–"]
        assert shows["Hard bounces"] == shows["Other bounces"] == shows["Mails delivered"] == [0]
        assert "Converted" not in shows


async def test_an_old_campaign_keeps_its_numbers_unless_somebody_spoiled_them(world: World) -> None:
    await world.campaign()
    totals = dict.fromkeys(("recipients", "sent", "failed", "suppressed", "skipped", "cancelled", "unknown", "deferred"), 3)
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "completed", "totals": totals})])
    found = await world.store.get(world.paths.campaign("C-0001"))
    assert found
    old = [""] * 13 + ["7"] * 13
    later = NOW + 8 * DAY

    async def seen(old: list[str], now: int) -> list[Any]:
        return (await tabs.result(world.store, world.paths, tabs.Tally(0), found, "UTC", old, now))[13:]

    assert await seen(old, later) == [7] * 13, "numbers, not text: a chart leaves text out"
    assert await seen(old, NOW + DAY) == [0] * 13
    for spoiled in ([*old[:-1], "abc"], old[:-1]):
        assert await seen(spoiled, later) == [0] * 13


async def test_subscribers_and_suppressions_are_masked(world: World) -> None:
    await world.add("adalovelace@example.com", name="=cmd()", tags=["vip"])
    eve = {"address": "eve@example.com", "created_at": NOW, "located": {"seen": {"PT": NOW}}}
    await world.store.commit([Create(world.paths.subscriber("ff" * 16), eve)])
    await world.store.commit(suppress(world.paths, "ff" * 16, "complaint", "mail of C-0001", NOW))
    await tick(world)
    everything = str(world.sheet.tabs)
    assert "adalovelace@" not in everything and "eve@" not in everything
    rows = {row[0]: row[1:] for row in shown(world, "Subscribers")}
    assert rows[world.sid("adalovelace@example.com")[:8]][:2] == ["a***@example.com", "'=cmd()"]
    assert rows["ffffffff"][3:5] == ["PT", "complaint"]
    assert shown(world, "Suppressions") == [["ffffffff", "complaint", "2027-01-15 08:00", "mail of C-0001"]]
    shows = board(world)
    assert (shows["Mailable subscribers"], shows["Waiting for confirmation"], shows["Complained"]) == ("1", "1", "1")


@pytest.mark.parametrize(
    ("why", "cell"),
    [
        ({"code": "many", "words": "", "at": NOW}, "Too many mails"),
        ({"code": "never", "words": "ask eve@example.com, or bob＠example.com!"}, "Never signed up: ask (address) or (address)"),
        ({"code": "other", "words": "x" * 300}, f"Something else: {'x' * 119}…"),
        ({"code": "other", "words": f"{'x' * 100} {'y' * 30}@example.com"}, f"Something else: {'x' * 100} (address)"),
        ({"code": "retired", "words": "=HYPERLINK(1)"}, "'=HYPERLINK(1)"),
        ({"code": "irrelevant", "words": "\t=1"}, "Not interesting: \t'=1"),
    ],
)
async def test_why_a_reader_left_stands_beside_it_without_addresses_or_formulas(world: World, why: Any, cell: str) -> None:
    await world.add("eve@example.com")
    sid = world.sid("eve@example.com")
    await world.store.commit(suppress(world.paths, sid, "unsubscribed", "mail of C-0001", NOW))
    await world.store.commit([Merge(world.paths.suppression(sid), {"why": why})])
    await tick(world)
    assert shown(world, "Suppressions") == [[sid[:8], "unsubscribed", "2027-01-15 08:00", "mail of C-0001", cell]]
    assert "@" not in cell and "eve@" not in str(world.sheet.tabs)


# --- providers ---


CONFIG = {"kind": "smtp", "weight": 1, "rate": 0, "daily": 0, "warm_up": "", "gone": False}
GROUP = {"state": "warming", "level": 4, "allowed": 76, "paused_until": 0}


async def way(world: World, name: str, **fields: Any) -> list[str]:
    """A provider's document, a tick, and its row in the Providers tab without name and kind."""
    await world.store.commit([Merge(world.paths.provider(name), CONFIG | fields)])
    await tick(world)
    return {row[0]: row[2:] for row in shown(world, "Providers")}[name]


WARM = {"warm_up": "2027-01-12"}


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ({}, ["ready"]),
        ({"down_until": NOW - 1, "down_code": "421"}, ["ready"]),
        ({"down_until": NOW + HOUR + 300_000, "down_code": "421"}, ["down until 09:05: 421"]),
        ({"down_until": NOW + HOUR}, ["down until 09:00"]),
        ({"rate": 14}, ["ready", "0", "", "14 a second"]),
        ({"rate": 0.5, "day": "2027-01-15", "used": 7}, ["ready", "7", "", "0.5 a second"]),
        ({"daily": 500, "day": "2027-01-15", "used": 480}, ["ready", "480", "500"]),
        ({"daily": 500, "day": "2027-01-14", "used": 480}, ["ready", "0", "500"]),
        (
            {"daily": 500, "day": "2027-01-15", "used": 500, "waiting": 900, "goes_by": "2027-01-17"},
            ["ready", "500", "500", "", "900", "2027-01-17"],
        ),
        (WARM | {"groups": {"gmail": GROUP, "apple": GROUP}}, ["warming up, day 4: apple 76, gmail 76", "0"]),
        (
            WARM | {"groups": {"yahoo": GROUP | {"level": -4, "allowed": 25, "state": "cut"}, "gmail": GROUP}},
            ["warming up, day 1 to 4: gmail 76, yahoo 25 (halved)", "0"],
        ),
        (
            WARM | {"groups": {"yahoo": GROUP | {"paused_until": NOW + DAY, "state": "paused"}, "gmail": GROUP}},
            ["warming up, day 4: gmail 76, yahoo paused until 2027-01-16 08:00", "0"],
        ),
        (
            WARM | {"groups": {"yahoo": GROUP | {"paused_until": NOW + DAY, "state": "paused"}}},
            ["warm-up paused until 2027-01-16 08:00", "0"],
        ),
        (WARM | {"groups": {"yahoo": GROUP | {"paused_until": NOW, "state": "paused"}}}, ["warming up, day 4: yahoo 76", "0"]),
        (WARM | {"groups": {"yahoo": GROUP | {"state": "established"}, "gmail": GROUP}}, ["warming up, day 4: gmail 76", "0"]),
        (WARM | {"groups": {"yahoo": GROUP | {"state": "established"}}}, ["ready", "0"]),
        ({"warm_up": "2027-02-01", "groups": {"gmail": GROUP}}, ["warm-up begins 2027-02-01", "0"]),
        ({"warm_up": "", "groups": {"gmail": GROUP}}, ["ready"]),
    ],
)
async def test_a_provider_is_a_row(world: World, fields: dict[str, Any], row: list[str]) -> None:
    assert await way(world, "ses", **fields) == row


async def test_the_tick_keeps_the_providers_up_to_date(world: World) -> None:
    await way(world, "ses", daily=10)
    await way(world, "main")
    assert [row[:3] for row in shown(world, "Providers")] == [["main", "smtp", "ready"], ["ses", "smtp", "ready"]]
    world.sheet.changes.clear()
    before = replace(world.store.operations)
    await tick(world)
    assert world.sheet.changes == []
    reads = world.store.operations.reads - before.reads
    await world.store.commit([Delete(world.paths.provider("main"))])
    before = replace(world.store.operations)
    await tick(world)
    assert reads - (world.store.operations.reads - before.reads) == 1  # one read a provider
    assert [row[0] for row in shown(world, "Providers")] == ["ses"]
    await world.store.commit([Merge(world.paths.provider("ses"), {"gone": True})])
    await world.store.commit([Merge(world.paths.provider("other"), {"down_until": NOW + HOUR})])  # before launch has seen it
    await tick(world)
    assert shown(world, "Providers") == []
    assert {place for _, place in world.sheet.changes} == {"Providers!A2", "Providers!A3:Z", "Providers!A2:Z"}


async def test_what_the_tick_of_launch_keeps_is_what_is_shown(world: World) -> None:
    ways = [Provider("ses", "ses", rate=14, warm_up=date(2027, 1, 15)), Provider("main", "smtp", domains=("yahoo.com",))]
    allowances = await Allowances.open(world.store, world.paths, ways, NOW)
    assert allowances.forecast({"gmail": 100}) == "50 today, the rest by 2027-01-16 while ses warms up."
    await allowances.report()
    await tick(world)
    volumes = "apple 50, gmail 50, microsoft 50, other 50, yahoo 50"
    assert shown(world, "Providers") == [
        ["main", "smtp", "ready"],
        ["ses", "ses", f"warming up, day 1: {volumes}", "0", "", "14 a second", "100", "2027-01-16"],
    ]


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


async def test_ids_that_cannot_be_used_are_one_notice(world: World) -> None:
    await tick(world)
    ids = ["Spring 2026", "C.7", "confirm", "C-0009", "x" * 41]
    world.sheet.put("Campaigns!A2", [[id, "Mine"] for id in ids])
    world.sheet.put("Campaigns!A8", [["free / unused"]])
    await tick(world)
    [notice] = [row[1] for row in shown(world, "Dashboard") if row[0] == "Notice"]
    assert notice == (
        "Campaigns: a row is ignored while its id cannot be used: “Spring 2026”, “C.7”, “confirm” and 1 more. "
        "Take letters, digits and hyphens, such as C-0001."
    )
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []
    world.sheet.put("Campaigns!A2", [["C-0001"], ["C-0002"], ["C-0003"], ["C-0004"], ["C-0005"]])
    await tick(world)
    assert "Notice" not in board(world)


async def test_a_long_name_stops_no_results(world: World) -> None:
    await world.campaign()
    long = {"row": {"name": "n" * 49_990}, "answer": "a" * 60_000, "answered_at": NOW}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), long)])
    await tick(world)
    assert shown(world, "Activity")[-1][1].startswith(f"C-0001 {'n' * 59}…: aaa")
    assert len(shown(world, "Results")[0][2]) < 50_000
    world.sheet.changes.clear()
    await tick(world)
    assert world.sheet.changes == []


@pytest.mark.parametrize("error", [Unavailable("Google Sheets"), BadInput("The tab is protected.")])
async def test_an_activity_that_takes_no_lines_stops_nothing_else(world: World, error: Exception) -> None:
    class Stubborn(FakeSheet):
        refusing = True

        async def append(self, tab: str, rows: Rows) -> None:
            if self.refusing:
                raise error
            await super().append(tab, rows)

    world.sheet = sheet = Stubborn()
    step = world.sync_sheet()
    await step.handle()
    await world.campaign()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"answer": "Sending to 3.", "answered_at": NOW})])
    sheet.put("Import!A2", [["I-0001", "a@example.com", "", "", "", "fair"]])
    await step.handle()
    assert shown(world, "Import results")[0][1] == "Imported."
    assert shown(world, "Results")[0][2] == "Sending to 3."
    sheet.refusing = False
    await step.handle()
    await step.handle()
    told = [row[1] for row in shown(world, "Activity")]
    assert told == (["Import: 1 accepted, 0 rejected.", "C-0001 C-0001: Sending to 3."] if isinstance(error, Unavailable) else [])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("n", range(4))
async def test_what_activity_tells_survives_the_end_of_the_process(world: World, n: int, after: bool) -> None:
    world.sheet = sheet = CutSheet(after=after, error=Died())
    await tick(world)
    await world.campaign()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"answer": "Sending to 3.", "answered_at": NOW})])
    sheet.put("Import!A2", [["I-0001", "a@example.com", "", "", "", "fair"]])
    sheet.at = sheet.calls + n
    with pytest.raises(Died):
        await tick(world)
    await tick(world)
    told = {row[1] for row in shown(world, "Activity")}
    assert told == {"Import: 1 accepted, 0 rejected.", "C-0001 C-0001: Sending to 3."}


async def test_a_campaign_that_has_ended_is_counted_now_and_then(world: World) -> None:
    asked: list[str] = []

    class Watched(FaultyStore):
        async def count(self, collection: str, *given: Any) -> int:
            asked.append(collection)
            return await super().count(collection, *given)

        async def page(self, *given: Any, **named: Any) -> Any:
            if given[0] == world.paths.campaigns:
                assert named["fields"] and "mail" not in named["fields"]
            return await super().page(*given, **named)

    step = world.sync_sheet(Watched(world.store, lambda verb: ""))

    async def counted(later: int) -> bool:
        world.clock.advance(later)
        asked.clear()
        await step.handle()
        return world.paths.deliveries("C-0001") in asked

    await world.campaign()
    assert [await counted(0), await counted(60_000)] == [True, True]
    totals = dict.fromkeys(("recipients", "sent", "failed", "suppressed", "skipped", "cancelled", "unknown", "deferred"), 3)
    ended = {"state": "completed", "totals": totals, "answer": "Done.", "answered_at": world.clock.now()}
    await world.store.commit([Merge(world.paths.campaign("C-0001"), ended)])
    assert [await counted(later) for later in (0, 60_000, 500_000, 60_000, 60_000)] == [True, False, False, True, False]
    assert [await counted(later) for later in (DAY, 30 * 60_000, 31 * 60_000)] == [True, False, True]
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"answered_at": world.clock.now()})])
    assert [await counted(0), await counted(1000)] == [False, False]
    world.clock.advance(1000)
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"answered_at": world.clock.now()})])
    assert await counted(HOUR // 60) is True
    assert await counted(8 * DAY) is False


# --- reports ---


async def test_reports_are_one_table_and_written_only_when_there_is_a_new_one(world: World) -> None:
    step = world.sync_sheet()
    await step.handle()
    rows = [
        {
            "by": "total",
            "value": "",
            "sent": 9,
            "clicked": 2,
            "conversions": 1,
            "revenue_EUR": 12_500_000,
            "revenue_USD": 3_000_000,
        },
        {"by": "link", "value": "0", "clicked": 2},
    ]
    data = {"rows": rows, "newest": -NOW, "began": NOW - DAY, "name": "=Spring", "links": {"0": "https://shop.example/a"}}
    old = {**data, "began": NOW - 91 * DAY}
    await world.store.commit([Create(world.paths.report("C-0001"), data), Create(world.paths.report("C-0000"), old)])
    world.sheet.changes.clear()
    await step.handle()
    assert [change for change in world.sheet.changes if "Reports" in change[1]] == [("write", "Reports!A2")]
    assert shown(world, "Reports") == [
        ["C-0001", "'=Spring", "total", "all", "9", "0", "0", "2", "0", "0", "0", "1", "12.5", "EUR"],
        ["C-0001", "'=Spring", "total", "all", "0", "0", "0", "0", "0", "0", "0", "0", "3", "USD"],
        ["C-0001", "'=Spring", "link", "0 https://shop.example/a", "0", "0", "0", "2", "0", "0", "0", "0", "0"],
    ]
    world.sheet.changes.clear()
    before = world.store.operations.reads
    await step.handle()
    quiet = world.store.operations.reads - before
    await world.sync_sheet().handle()  # another process
    assert world.sheet.changes == []
    await world.store.commit([Merge(world.paths.report("C-0001"), {"rows": rows[1:], "newest": -NOW - 1})])
    before = world.store.operations.reads
    await step.handle()
    assert [row[2] for row in shown(world, "Reports")] == ["link"]
    assert world.store.operations.reads - before == quiet + 2  # the reports


async def test_reports_that_the_sheet_did_not_take_are_shown_by_the_next_tick(world: World) -> None:
    step = world.sync_sheet()
    await step.handle()
    data = {"rows": [{"by": "total", "value": ""}], "newest": -NOW, "began": NOW, "name": "", "links": {}}
    await world.store.commit([Create(world.paths.report("C-0001"), data)])
    write, failed = world.sheet.write, []

    async def down(*args: Any, **more: Any) -> None:
        failed.append(1)
        raise Unavailable("Sheets")

    world.sheet.write = down  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await step.handle()
    world.sheet.write = write  # type: ignore[method-assign]
    await step.handle()
    assert failed and shown(world, "Reports")[0][0] == "C-0001"
