"""The grid changes what a person may change, and nothing for another site's page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httplib2
import pytest

from local.google import charts
from local.google.pages import EDITOR
from shared.adapters.sheets import Sheets
from shared.model.look import Chart, Column, Look
from tests.contract.emulated import Emulated, emulated

LOOKUP = "=IFERROR(VLOOKUP(A2,Results!A:B,2,FALSE),A2)"

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    place = tmp_path_factory.mktemp("pages")
    with emulated(place / "state", place / "templates") as running:
        yield running


@pytest.fixture
def twin(server: Emulated) -> Emulated:
    server.reset()
    store = server.google.sheets
    store.add_tab("book", "Campaigns", frozen=1)
    store.add_tab("book", "Results")
    rows = [["Id", "Name", "Wanted", "State"], ["C-2", "b", "", LOOKUP], ["C-1", "a", "Go", LOOKUP.replace("A2", "A3")]]
    store.write("book", [(store.area("book", "Campaigns!A1"), rows)], "USER_ENTERED")
    return server


def call(twin: Emulated, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    data = json.dumps(body) if body is not None and not isinstance(body, str) else body
    client = httplib2.Http(timeout=10, proxy_info=None)
    client.follow_redirects = False
    response, content = client.request(twin.url + path, "GET" if body is None else "POST", data, headers)
    return response.status, content.decode()


def cells(twin: Emulated, tab: str = "Campaigns") -> Any:
    return json.loads(call(twin, f"/sheet/data?tab={tab}")[1])["values"]


def edit(twin: Emulated, *cells: list[Any], tab: str = "Campaigns", **headers: str) -> tuple[int, Any]:
    status, text = call(twin, "/sheet/edit", {"tab": tab, "cells": cells}, **headers)
    return status, json.loads(text)


def test_the_page_says_what_is_editable(twin: Emulated) -> None:
    status, text = call(twin, "/sheet?tab=Campaigns")
    assert status == 200 and "Europe/Berlin" in text and "is read-only here" not in text
    assert "is read-only here" in call(twin, "/sheet?tab=Results")[1]


def test_data_holds_choices_and_formulas_and_is_short_when_nothing_changed(twin: Emulated) -> None:
    found = json.loads(call(twin, "/sheet/data?tab=Campaigns")[1])
    assert found["rules"] == [] and found["charts"] == [] and found["notes"] == {}
    assert found["formulas"]["2,4"] == LOOKUP and "2,4" in found["locked"] and found["values"][1][3] == "C-2"
    again = json.loads(call(twin, f"/sheet/data?tab=Campaigns&revision={found['revision']}")[1])
    assert again == {"revision": found["revision"]}
    assert call(twin, "/sheet/data?tab=Nope")[0] == 400


def test_a_lookup_into_a_tab_of_two_words_is_ours_too(twin: Emulated) -> None:
    store = twin.google.sheets
    store.add_tab("book", "Import results")
    formulas = [["=VLOOKUP(A2,'Import results'!$A:$B,2,FALSE)", "=A2"]]
    store.write("book", [(store.area("book", "Campaigns!E2"), formulas)], "USER_ENTERED")
    found = json.loads(call(twin, "/sheet/data?tab=Campaigns")[1])
    assert "2,5" in found["locked"] and "2,6" not in found["locked"]


async def test_data_holds_the_look(twin: Emulated) -> None:
    sheet = Sheets("book", twin.url)
    await sheet.write({"Results!A1": [["<Id>", "Sent", "Opened"], ["X-1", 40, 10], ["draft"], ["X-2", 1389, 5]]})
    columns = (
        Column(1, "The number."),
        Column(3, "Choose.", 150, ("Draft", "Go")),
        Column(4, colours=(("…-2", "bad"), ("C", "good")), guarded=True, wrap=True),
    )
    bars = Chart("By campaign", "COLUMN", "Results", 1, (2, 3), 1, 0, 2, 6)
    pie = Chart("Opened <b>", "PIE", "Results", 1, (3,), 2, 0, 2, 6)
    empty = Chart("Nothing", "PIE", "Results", 1, (9,), 2, 0, 2, 6)
    look = Look(columns, frozen=(1, 1), guard="Ours.", banded=True, charts=(bars, pie, empty))
    await sheet.dress({"Campaigns": look, "Results": Look((Column(2, pattern="#,##0"),), hidden=True)}, "1")
    found = json.loads(call(twin, "/sheet/data?tab=Campaigns")[1])
    assert (found["notes"], found["widths"], found["frozen_columns"]) == ({"1,1": "The number.", "1,3": "Choose."}, {"3": 150}, 1)
    column = {"top": 2, "left": 3, "bottom": 0, "right": 3}
    assert found["rules"] == [{**column, "choices": ["Draft", "Go"], "hint": "Choose Draft or Go."}]
    assert found["colours"] == {"2,4": "#f4cccc", "3,4": "#d9ead3"}, "the first rule that fits"
    assert found["wraps"] == [{"top": 1, "left": 4, "bottom": 0, "right": 4, "wrap": True}]
    assert found["guarded"] == [{"top": 1, "left": 4, "bottom": 0, "right": 4, "hint": "Ours."}]
    assert found["bands"] == [{"top": 1, "left": 1, "bottom": 0, "right": 4}]
    assert [chart["title"] for chart in found["charts"]] == ["By campaign", "Opened <b>"], "a chart of nothing is not shown"
    drawn, pie_drawn = (chart["svg"] for chart in found["charts"])
    assert drawn.count("<rect") == 2 * 2 + 2 and 'aria-label="Sent: X-1 40, X-2 1389; Opened: X-1 10, X-2 5"' in drawn
    lines = re.findall(r'text-anchor="end" fill="currentColor">([^<]*)<', drawn)
    assert lines == ["0", "500", "1,000", "1,500"], "round numbers, and no place for what has none of its own"
    assert pie_drawn.count("<path") == 2 and 'aria-label="X-1: 10; X-2: 5"' in pie_drawn
    assert edit(twin, [7, 4, "x"]) == (200, {"kept": [[7, 4]]}), "a cell that is guarded"
    assert cells(twin, "Results")[3] == ["X-2", "1,389", "5"]
    assert ">Results" not in call(twin, "/sheet")[1] and ">Results" in call(twin, "/sheet?tab=Results")[1], "a hidden tab"


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ([1], [0, 1]),
        ([7, 3], [0, 2, 4, 6, 8]),
        ([10], [0, 2, 4, 6, 8, 10]),
        ([42], [0, 10, 20, 30, 40, 50]),
        ([0.7, 0.2], [0, 0.2, 0.4, 0.6, 0.8]),
    ],
)
def test_lines_of_a_chart_stand_at_round_numbers(values: list[float], lines: list[float]) -> None:
    assert charts.ticks(values) == lines


async def test_a_charts_text_is_escaped(twin: Emulated) -> None:
    sheet = Sheets("book", twin.url)
    await sheet.write({"Results!A1": [["ID", "<i>"], ['<script>"&', 3], ["b", 1]]})
    drawn = (Chart("x", "PIE", "Results", 1, (2,), 2, 0, 1, 5), Chart("y", "COLUMN", "Results", 1, (2,), 1, 0, 1, 5))
    await sheet.dress({"Results": Look(charts=drawn)}, "1")
    shown = [chart["svg"] for chart in json.loads(call(twin, "/sheet/data?tab=Results")[1])["charts"]]
    assert [svg.count("&lt;script&gt;&quot;&amp;") for svg in shown] == [2, 3]
    assert not any("<script" in svg or "<i>" in svg for svg in shown)


def test_an_edit_is_what_a_person_types_and_leaves_headers_and_formulas(twin: Emulated) -> None:
    status, found = edit(twin, [2, 2, "007"], [2, 3, "=1=1"], [1, 1, "Hacked"], [3, 4, "done"], [1200, 1, "far below"])
    assert (status, found) == (200, {"kept": [[1, 1], [3, 4]]})
    assert cells(twin)[:3] == [["Id", "Name", "Wanted", "State"], ["C-2", "7", "TRUE", "C-2"], ["C-1", "a", "Go", "C-1"]]
    assert cells(twin)[1199] == ["far below"]
    assert edit(twin, [2, 99, "x"])[0] == 400 and edit(twin, ["x"])[0] == 400 and edit(twin, [0, 1, "x"])[0] == 400


def test_a_persons_own_formula_can_be_replaced(twin: Emulated) -> None:
    edit(twin, [2, 2, "=oops"])
    assert cells(twin)[1][1] == "#NAME?"
    assert edit(twin, [2, 2, "name"]) == (200, {"kept": []})
    assert cells(twin)[1][1] == "name"


def test_system_tabs_are_not_edited(twin: Emulated) -> None:
    assert edit(twin, [1, 1, "x"], tab="Results")[0] == 403
    assert call(twin, "/sheet/rows", {"tab": "Results", "action": "sort", "at": 1})[0] == 403
    assert cells(twin, "Results") == []


def test_rows_are_sorted_inserted_and_deleted(twin: Emulated) -> None:
    for action, at in (("sort", 1), ("insert", 3), ("delete", 2)):
        assert call(twin, "/sheet/rows", {"tab": "Campaigns", "action": action, "at": at})[0] == 200
    assert cells(twin) == [["Id", "Name", "Wanted", "State"], [], ["C-2", "b", "", "C-2"]]
    assert call(twin, "/sheet/rows", {"tab": "Campaigns", "action": "delete", "at": 1})[0] == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_another_sites_page_changes_nothing(twin: Emulated, origin: str) -> None:
    before = cells(twin)
    assert edit(twin, [2, 2, "x"], origin=origin)[0] == 403
    assert call(twin, "/sheet/rows", {"tab": "Campaigns", "action": "delete", "at": 2}, origin=origin)[0] == 403
    assert cells(twin) == before
    assert edit(twin, [2, 2, "x"], origin=twin.url)[0] == 200


def test_who_is_not_let_in_by_a_protection_is_refused_as_google_would(twin: Emulated) -> None:
    api, data = twin.google.api, "/sheet/data?tab=Campaigns"
    assert json.loads(call(twin, data)[1])["people"] == []
    place = {"sheetId": twin.google.sheets.tab("book", "Campaigns").id, "startColumnIndex": 2, "endColumnIndex": 3}
    wanted = {
        "range": place,
        "description": "Approvers only.",
        "editors": {"users": ["ada@brand.example", "x@y.gserviceaccount.com"]},
    }
    api.change("book", [{"addProtectedRange": {"protectedRange": wanted}}], "admin@brand.example")
    ada, anybody = (json.loads(call(twin, data + you)[1]) for you in ("&you=ada@brand.example", ""))
    assert anybody["people"] == [EDITOR, "ada@brand.example", "admin@brand.example"]
    assert (
        anybody["guarded"] == [{"top": 1, "left": 3, "bottom": 0, "right": 3, "hint": "Approvers only."}] and not ada["guarded"]
    )
    for action in ("sort", "insert", "delete"):
        assert call(twin, "/sheet/rows", {"tab": "Campaigns", "action": action, "at": 2})[0] == 400
    status, found = edit(twin, [3, 2, "b"], [3, 3, "Pause"])
    assert status == 400 and found["error"].startswith("You are trying to edit a protected cell or object.")
    assert cells(twin)[2][:3] == ["C-1", "a", "Go"], "all or nothing"
    assert edit(twin, [3, 2, "b"])[0] == 200 and twin.google.sheets.editor("book") == EDITOR
    body = {"tab": "Campaigns", "cells": [[3, 3, "Pause"]], "you": "ada@brand.example"}
    assert call(twin, "/sheet/edit", body)[0] == 200 and cells(twin)[2][2] == "Pause"
    assert twin.google.sheets.editor("book") == "ada@brand.example"
