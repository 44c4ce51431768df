"""The workbook's look: put on once, never over what a person made, and at no cost afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from functions.sync_sheet import look, preflight
from functions.sync_sheet.workbook import FORMS, HEADERS, ensure
from shared.adapters import sheets_look
from shared.errors import BadInput, Unavailable
from shared.model import console
from shared.model.look import Look

from .fakes import FakeSheet
from .world import World


class Wardrobe(FakeSheet):
    """Keeps the looks that are put on; `refused` is what it answers instead."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Look]] = []
        self.refused: Exception | None = None

    async def dress(self, looks: Mapping[str, Look], version: str) -> None:
        self.calls.append(dict(looks))
        if self.refused:
            raise self.refused
        await super().dress(looks, version)


@pytest.fixture
def sheet() -> Wardrobe:
    return Wardrobe()


def named(sheet: Wardrobe, tab: str) -> dict[str, Any]:
    header = sheet.rows(f"'{tab}'!A1:Z1")[0]
    return {header[column.at - 1]: column for column in sheet.calls[-1][tab].columns}


async def test_a_fresh_workbook_gets_its_look_in_one_call_and_a_second_tick_writes_nothing(sheet: Wardrobe) -> None:
    await ensure(sheet)
    [looks] = sheet.calls
    assert set(looks) == {*HEADERS, console.START}
    assert sheet.rows("'Start here'!A1:A10") == [[line] for line in look.GUIDE] and len(look.GUIDE) == 10
    for tab, header in HEADERS.items():
        assert list(named(sheet, tab)) == [name for name in header if name != "Of"], "every header says what it is"
        assert all(column.note.endswith((".", "newsletter", "100 a minute", "berlin")) for column in looks[tab].columns), tab
    campaigns = named(sheet, console.CAMPAIGNS)
    assert campaigns["Wanted"].choices == console.WANTED
    assert dict(campaigns["State"].colours)["paused"] == "waiting"
    for tab in (*FORMS, console.RESULTS, console.IMPORT_RESULTS):
        assert named(sheet, tab)["Answer"].wrap, "its sentences are longer than the column is wide"
    for tab, form in FORMS.items():
        assert [name for name, column in named(sheet, tab).items() if column.guarded] == list(form.results)
        assert looks[tab].frozen == (1, 1)
    assert all(looks[tab].guard for tab in HEADERS) and not looks[console.START].guard
    sheet.changes.clear()
    await ensure(sheet)
    assert (sheet.changes, len(sheet.calls)) == ([], 1)


@pytest.mark.parametrize(("faults", "warnings", "tone"), [(0, 0, "good"), (0, 2, "good"), (1, 0, "bad"), (12, 1, "bad")], ids=str)
async def test_a_preflight_in_short_is_green_or_red(sheet: Wardrobe, faults: int, warnings: int, tone: str) -> None:
    await ensure(sheet)
    said = preflight.summary({"faults": ["x"] * faults, "warnings": ["y"] * warnings})
    for tab in (console.CAMPAIGNS, console.PREFLIGHT):
        colours = named(sheet, tab)[console.PREFLIGHT].colours
        fitting = [tone for text, tone in colours if said.startswith(text) or (text[0] == "…" and text[1:] in said)]
        assert fitting == [tone]


async def test_a_workbook_of_an_earlier_version_gets_what_is_missing(sheet: Wardrobe) -> None:
    await ensure(sheet)
    sheet.looks |= {console.CAMPAIGNS: "0", console.DASHBOARD: "0"}
    del sheet.looks[console.IMPORT]
    await ensure(sheet)
    assert set(sheet.calls[1]) == {console.CAMPAIGNS, console.DASHBOARD, console.IMPORT}
    await ensure(sheet)
    assert len(sheet.calls) == 2


async def test_the_guide_of_an_earlier_version_gets_its_new_step_and_keeps_what_people_typed(sheet: Wardrobe) -> None:
    """A workbook as version 2 made it: without the ninth step."""
    await ensure(sheet)
    before = [[line] for line in look.GUIDE if not line.startswith("9.")]
    before[3] = ["4. Ours: ask Mira for a row.", "a note"]
    sheet.tabs[console.START] = [*before, [], ["Our wiki", "https://wiki.example"]]
    sheet.looks = dict.fromkeys(sheet.looks, "2")
    await ensure(sheet)
    assert sheet.tabs[console.START] == [*before[:8], [look.GUIDE[8]], *before[8:], [], ["Our wiki", "https://wiki.example"]]
    assert set(sheet.looks.values()) == {look.VERSION}
    sheet.changes.clear()
    await ensure(sheet)
    assert sheet.changes == []


async def test_steps_that_people_took_out_of_the_guide_stay_out(sheet: Wardrobe) -> None:
    await ensure(sheet)
    theirs = [[look.GUIDE[0]], ["The rest is in our wiki."]]
    sheet.tabs[console.START] = [[*row] for row in theirs]
    sheet.looks = dict.fromkeys(sheet.looks, "2")
    await ensure(sheet)
    assert sheet.tabs[console.START] == [theirs[0], [look.GUIDE[8]], theirs[1]], "only what is new comes"
    sheet.tabs[console.START] = [["Ours."]]
    sheet.looks = dict.fromkeys(sheet.looks, "2")
    await ensure(sheet)
    assert sheet.tabs[console.START] == [["Ours."]]


def test_every_line_that_came_with_a_version_is_in_the_guide_and_the_version_is_out() -> None:
    assert all(int(version) <= int(look.VERSION) and set(lines) <= set(look.GUIDE) for version, lines in look._NEW.items())


async def test_a_guide_that_was_thrown_away_stays_away(sheet: Wardrobe) -> None:
    await ensure(sheet)
    del sheet.tabs[console.START]
    del sheet.looks[console.CAMPAIGNS]
    await ensure(sheet)
    assert set(sheet.calls[1]) == {console.CAMPAIGNS} and console.START not in sheet.tabs


async def test_columns_that_people_moved_are_dressed_where_they_stand(sheet: Wardrobe) -> None:
    top = ["Mine", *reversed(console.ROW_FIELDS)]
    sheet.tabs[console.CAMPAIGNS] = [top, ["C-1"]]
    await ensure(sheet)
    assert [top[column.at - 1] for column in sheet.calls[0][console.CAMPAIGNS].columns] == top[1:]
    assert sheet.calls[0][console.CAMPAIGNS].guard == "", "no result column, so nothing of ours to guard"


@pytest.mark.parametrize("refused", [BadInput("too much"), Unavailable("Google Sheets")])
async def test_a_look_that_is_refused_stops_nothing_and_is_tried_again(world: World, sheet: Wardrobe, refused: Exception) -> None:
    world.sheet, sheet.refused = sheet, refused
    await world.add("a@example.com")
    await world.sync_sheet().handle()
    assert sheet.rows("Dashboard!A2:B2") == [["Mailable subscribers", "1"]]
    sheet.refused = None
    await world.sync_sheet().handle()
    assert len(sheet.calls) == 2 and set(sheet.looks) == {*HEADERS, console.START}


async def test_charts_show_the_rows_and_columns_that_they_name(world: World, sheet: Wardrobe) -> None:
    world.sheet = sheet
    await world.sync_sheet().handle()
    funnel, wrong, people, campaigns, providers = sheet.calls[0][console.DASHBOARD].charts
    assert [console.RESULT_FIELDS[at - 1] for at in funnel.series] == ["Sent", "Delivered", "Opened", "Clicked"]
    assert [console.RESULT_FIELDS[at - 1] for at in wrong.series] == ["Failed", "Bounced", "Complained", "Unsubscribed"]
    assert console.PROVIDER_FIELDS[providers.series[0] - 1] == "Sent today"
    shown = [row[0] for row in sheet.rows("Dashboard!A1:B99")]
    assert shown[people.top - 1 : people.bottom][::7] == ["What", "Complained"]
    sections = shown[campaigns.top - 1 : campaigns.bottom]
    assert len(sections) == 5 and all(name.startswith("Campaigns ") for name in sections)
    assert not shown[campaigns.bottom].startswith("Campaigns ")


def test_nothing_there_and_nothing_to_make_is_no_request() -> None:
    assert sheets_look.requests({"Other": 4}, [], {"Absent": Look(guard="x")}, "1") == []
