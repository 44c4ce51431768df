"""The Sheets adapter and the official client against the twin's emulator."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httplib2
import pytest
from googleapiclient.errors import HttpError

from local.google.store import SERVICE
from shared.adapters import google_rest
from shared.adapters.sheets import WRITES, Sheets
from shared.errors import BadInput, NotFound, Unavailable
from shared.model.look import Chart, Column, Look
from shared.ports import Protection
from tests.contract.emulated import Emulated, emulated
from tests.contract.sheet_contract import SheetContract

pytestmark = pytest.mark.network


@pytest.fixture
def sheet(twin: Emulated) -> Sheets:
    return Sheets("book", twin.url)


@pytest.fixture
def values(twin: Emulated) -> Any:
    return twin.raw("sheets", "v4").spreadsheets().values()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_rest, "PAUSE", 0.01)


class TestSheets(SheetContract):
    pass


def error_of(request: Any) -> dict[str, Any]:
    with pytest.raises(HttpError) as caught:
        request.execute()
    found: dict[str, Any] = json.loads(caught.value.content)["error"]
    assert found["code"] == caught.value.status_code
    return found


async def test_one_call_per_verb(twin: Emulated, sheet: Sheets) -> None:
    await sheet.add_tabs(["A", "B"])
    reads, writes = twin.google.meter.reads, twin.google.meter.writes
    await sheet.write({"A!A1": [[1]], "B!A1": [[2]], "A!C1": [[3]]})
    await sheet.append("A", [[4], [5]])
    await sheet.clear(["A!A1", "B!A1"])
    assert (twin.google.meter.reads, twin.google.meter.writes) == (reads, writes + 3)
    await sheet.read(["A", "B", "A!C1"])
    assert twin.google.meter.reads == reads + 1
    await sheet.dress({"A": Look((Column(1, "a", 50, ("x",)), Column(2, "b", guarded=True)), guard="Ours.", banded=True)}, "1")
    assert (twin.google.meter.reads, twin.google.meter.writes) == (reads + 3, writes + 4)


async def test_an_unknown_spreadsheet_is_not_found(twin: Emulated) -> None:
    with pytest.raises(NotFound):
        await Sheets("other", twin.url).workbook()
    error = error_of(twin.raw("sheets", "v4").spreadsheets().get(spreadsheetId="other"))
    assert error == {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}


class Time:
    """A clock that only sleeping moves; `slept` has every pause."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)

    @contextmanager
    def quota(self, place: Path, writes: int) -> Iterator[tuple[Emulated, Sheets]]:
        """A spreadsheet with a quota of so many writes a minute, on this clock."""
        with emulated(place / "state", place / "templates", write_quota=writes) as twin:
            twin.google.meter.now = self.now
            yield twin, Sheets("book", twin.url, now=self.now, sleep=self.sleep)


async def test_writes_beyond_the_quota_all_land_and_none_twice(tmp_path: Path) -> None:
    time = Time()
    with time.quota(tmp_path, writes=5) as (twin, sheet):
        for n in range(12):
            await sheet.append("Sheet1", [[n]])
        assert await sheet.read(["Sheet1"]) == [[[str(n)] for n in range(12)]]
        assert (twin.google.meter.writes, time.time // 60) == (12, 2) and twin.google.meter.refused > 0
        await asyncio.gather(*(sheet.append("Sheet1", [[n]]) for n in range(12, 20)))
        [rows] = await sheet.read(["Sheet1"])
        assert sorted(int(row[0]) for row in rows) == [*range(20)] and twin.google.meter.writes == 20


async def test_our_own_pace_stays_below_the_quota(tmp_path: Path) -> None:
    time = Time()
    with time.quota(tmp_path, writes=60) as (twin, sheet):
        for n in range(WRITES):
            await sheet.write({"Sheet1!A1": [[n]]})
        assert time.slept == [], "a burst within the quota is not held up"
        await asyncio.gather(*(sheet.write({f"Sheet1!B{n}": [[n]]}) for n in range(1, WRITES + 1)))
        assert time.time == google_rest.WINDOW
        assert (twin.google.meter.refused, twin.google.meter.writes) == (0, 2 * WRITES)
        paused = len(time.slept)
        await sheet.read(["Sheet1"])
        assert len(time.slept) == paused, "reads are counted apart"


async def test_a_quota_that_stays_used_up_is_unavailable_and_writes_nothing(tmp_path: Path) -> None:
    time = Time()
    with time.quota(tmp_path, writes=0) as (twin, sheet):
        for attempt in (sheet.write({"Sheet1!A1": [["x"]]}), sheet.append("Sheet1", [["x"]])):
            started = time.time
            with pytest.raises(Unavailable, match="429 Quota exceeded"):
                await attempt
            assert google_rest.WINDOW < time.time - started <= google_rest.PATIENCE
        assert await sheet.read(["Sheet1"]) == [[]]
        error = error_of(twin.raw("sheets", "v4").spreadsheets().values().clear(spreadsheetId="book", range="Sheet1"))
        assert (error["status"], error["details"][0]["reason"]) == ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED")


@pytest.mark.parametrize(("named", "slept"), [("7", 7), ("40", 40), ("3600", None), ("Sun, 06 Nov 1994 08:49:37 GMT", 1)])
async def test_google_says_how_long_to_wait(named: str, slept: int | None) -> None:
    time = Time()
    given = answer("429 Too Many Requests", headers=f"Retry-After: {named}\r\n")
    with answering(given) as (url, _), pytest.raises(Unavailable) as raised:
        await Sheets("book", url, sleep=time.sleep).read(["A"])
    assert raised.value.retry_after == (float(named) if named.isdigit() else 0)
    if slept is None:
        assert time.slept == []
    else:
        assert slept <= time.slept[0] <= slept + 1


async def test_nobody_listening_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Unavailable):
        await Sheets("book", url).workbook()


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers everything alike and closes; its URL, and the methods of the requests that came."""
    methods: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as connection:
                        methods.append(connection.recv(65536).split()[0])
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", methods
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(status: str, headers: str = "", **error: Any) -> bytes:
    body = json.dumps({"error": {"message": "why", **error}}).encode()
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


OVER_QUOTA = 8  # attempts: after waiting 1, 2, 4 … 32, 32 seconds and half a second each, PATIENCE is used up


@pytest.mark.parametrize(
    ("given", "raised", "reads", "appends"),
    [
        (b"", Unavailable, google_rest.ATTEMPTS, 1),  # taken, then silence: an append may have been applied
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", Unavailable, google_rest.ATTEMPTS, 1),
        (answer("503 Service Unavailable"), Unavailable, google_rest.ATTEMPTS, 1),
        (answer("429 Too Many Requests"), Unavailable, OVER_QUOTA, OVER_QUOTA),
        (answer("403 Forbidden", errors=[{"reason": "userRateLimitExceeded"}]), Unavailable, OVER_QUOTA, OVER_QUOTA),
        (answer("403 Forbidden", errors=[{"reason": "forbidden"}]), BadInput, 1, 1),
        (answer("400 Bad Request"), BadInput, 1, 1),
        (answer("404 Not Found"), NotFound, 1, 1),
    ],
)
async def test_what_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, given: bytes, raised: type[Exception], reads: int, appends: int
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.5)
    with answering(given) as (url, methods):
        sheet = Sheets("book", url, sleep=Time().sleep)
        with pytest.raises(raised):
            await sheet.append("Log", [["x"]])
        assert methods == [b"POST"] * appends
        methods.clear()
        with pytest.raises(raised):
            await sheet.read(["Log"])
        assert methods == [b"GET"] * reads


def test_what_a_person_types_becomes_a_number_date_or_formula(values: Any) -> None:
    typed = ["12", "1.50", "true", "2026-03-01 9:05", "2026-02-30", "'=1", "=NOW()", "=1+", "C-0001", "+49 30 1"]
    body = {"values": [typed]}
    values.update(spreadsheetId="book", range="Sheet1!A1", valueInputOption="USER_ENTERED", body=body).execute()

    def read(render: str) -> list[Any]:
        found: list[Any] = values.get(spreadsheetId="book", range="Sheet1!A1:Z1", valueRenderOption=render).execute()["values"][0]
        return found

    shown = ["12", "1.5", "TRUE", "2026-03-01 09:05:00", "2026-02-30", "=1", "#NAME?", "#ERROR!", "C-0001", "+49 30 1"]
    assert read("FORMATTED_VALUE") == shown
    assert read("UNFORMATTED_VALUE")[:3] == [12, 1.5, True]
    assert read("UNFORMATTED_VALUE")[3] == pytest.approx(46082 + (9 * 60 + 5) / 1440)
    assert read("FORMULA")[5:8] == ["=1", "=NOW()", "=1+"]


def test_raw_text_is_never_a_formula(values: Any) -> None:
    body = {"values": [["=1", "12", 12, None, ""]]}
    values.update(spreadsheetId="book", range="Sheet1!A1", valueInputOption="RAW", body=body).execute()
    found = values.get(spreadsheetId="book", range="Sheet1!A1:E1", valueRenderOption="UNFORMATTED_VALUE").execute()
    assert found == {"range": "Sheet1!A1:E1", "majorDimension": "ROWS", "values": [["=1", "12", 12]]}


def test_a_null_leaves_a_cell_and_an_empty_text_clears_it(values: Any) -> None:
    for row in (["a", "b"], [None, ""]):
        values.update(spreadsheetId="book", range="Sheet1!A1", valueInputOption="RAW", body={"values": [row]}).execute()
    assert values.get(spreadsheetId="book", range="Sheet1").execute()["values"] == [["a"]]


def test_errors_have_googles_shape(twin: Emulated, values: Any) -> None:
    change = twin.raw("sheets", "v4").spreadsheets().batchUpdate
    unknown = error_of(change(spreadsheetId="book", body={"requests": [{"addChart": {}}]}))
    assert unknown["status"] == "INVALID_ARGUMENT" and "addChart" in unknown["message"]
    twice = {"addSheet": {"properties": {"title": "T"}}}
    assert "already exists" in error_of(change(spreadsheetId="book", body={"requests": [twice, twice]}))["message"]
    sheets = twin.raw("sheets", "v4").spreadsheets().get(spreadsheetId="book").execute()["sheets"]
    assert [sheet["properties"]["title"] for sheet in sheets] == ["Sheet1"], "a batch is all or nothing"
    beyond = values.get(spreadsheetId="book", range="Sheet1!A1001")
    assert "exceeds grid limits. Max rows: 1000, max columns: 26" in error_of(beyond)["message"]
    wide = {"values": [["a", "b", "c"]]}
    update = values.update(spreadsheetId="book", range="Sheet1!A1:B1", valueInputOption="RAW", body=wide)
    assert "tried writing to" in error_of(update)["message"]
    assert "valueInputOption" in error_of(values.update(spreadsheetId="book", range="Sheet1!A1", body=wide))["message"]


GRID = {"sheetId": 0, "startRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 1}
LIST = {"condition": {"type": "ONE_OF_LIST", "values": [{"userEnteredValue": "mine"}]}}
CLIPPED = {"cell": {"userEnteredFormat": {"wrapStrategy": "CLIP"}}, "fields": "userEnteredFormat.wrapStrategy"}
TEXT = {"condition": {"type": "TEXT_EQ", "values": [{"userEnteredValue": "x"}]}, "format": {"backgroundColorStyle": {}}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"setDataValidation": {"range": GRID, "rule": {"condition": {"type": "ONE_OF_LIST"}}}}, "at least one ConditionValue"),
    ({"setDataValidation": {"range": GRID, "rules": LIST}}, "Unknown name \"rules\" at 'requests[0].setDataValidation'"),
    ({"setDataValidation": {"range": GRID, "rule": {"condition": {"type": "ONE_OF_MANY"}}}}, '"ONE_OF_MANY"'),
    ({"setDataValidation": {"range": GRID, "rule": {**LIST, "strict": "yes"}}}, "(boolean)"),
    ({"setDataValidation": {"range": {**GRID, "sheetId": 9}, "rule": LIST}}, "No grid with id: 9"),
    ({"setDataValidation": {"range": {**GRID, "endColumnIndex": 27}, "rule": LIST}}, "exceed grid limits"),
    (
        {"addProtectedRange": {"protectedRange": {"range": GRID, "warningOnly": True, "editors": {}}}},
        "Editors are not supported",
    ),
    ({"addConditionalFormatRule": {"rule": {"ranges": [GRID], "booleanRule": TEXT}, "index": 1}}, "at index: 1"),
    ({"addChart": {"chart": {"spec": {"title": "x"}}}}, "No chart"),
    ({"createDeveloperMetadata": {"developerMetadata": {"metadataKey": "k", "location": {"sheetId": 0}}}}, "a visibility"),
    ({"updateSheetProperties": {"properties": {"sheetId": 0, "hidden": True}, "fields": "hidden"}}, "hide all the sheets"),
]


def test_a_look_that_google_refuses_changes_nothing(twin: Emulated) -> None:
    note = {"updateCells": {"start": {"sheetId": 0}, "rows": [{"values": [{"note": "x"}]}], "fields": "note"}}
    change = twin.raw("sheets", "v4").spreadsheets().batchUpdate
    for refused, sentence in REFUSED:
        assert sentence in error_of(change(spreadsheetId="book", body={"requests": [refused, note]}))["message"]
        assert error_of(change(spreadsheetId="book", body={"requests": [note, refused]}))["code"] == 400
        assert twin.google.sheets.look("book", 0) == {}, sentence


def test_banding_twice_is_refused(twin: Emulated) -> None:
    band = {"addBanding": {"bandedRange": {"range": GRID, "rowProperties": {}}}}
    change = twin.raw("sheets", "v4").spreadsheets().batchUpdate
    assert "already has alternating" in error_of(change(spreadsheetId="book", body={"requests": [band, band]}))["message"]


async def test_what_a_person_made_is_left_and_the_rest_is_added(twin: Emulated, sheet: Sheets) -> None:
    spreadsheets = twin.raw("sheets", "v4").spreadsheets()
    column = {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 0, "endIndex": 1}
    theirs: list[dict[str, Any]] = [
        {"updateCells": {"start": {"sheetId": 0}, "rows": [{"values": [{"note": "mine"}]}], "fields": "note"}},
        {"setDataValidation": {"range": {**GRID, "startRowIndex": 2, "endRowIndex": 4}, "rule": LIST}},
        {"updateDimensionProperties": {"range": column, "properties": {"pixelSize": 33}, "fields": "pixelSize"}},
        {"repeatCell": {"range": {**GRID, "startRowIndex": 1, "endRowIndex": 3}, **CLIPPED}},
        {"addConditionalFormatRule": {"rule": {"ranges": [GRID], "booleanRule": TEXT}, "index": 0}},
        {"addProtectedRange": {"protectedRange": {"range": GRID, "description": "mine"}}},
    ]
    spreadsheets.batchUpdate(spreadsheetId="book", body={"requests": theirs}).execute()
    columns = tuple(
        Column(at, "ours", 200, ("a", "b"), pattern="#,##0", colours=(("a", "good"), ("b", "bad")), guarded=True, wrap=True)
        for at in (1, 2)
    )
    look = Look(columns, frozen=(1, 1), guard="Ours.", banded=True, charts=(Chart("C", "COLUMN", "Sheet1", 1, (2,), 1, 0, 1, 5),))
    for version in ("1", "2"):
        await sheet.dress({"Sheet1": look}, version)
        mask = "sheets(properties(gridProperties),protectedRanges(description,range,warningOnly),conditionalFormats,bandedRanges(range),charts(spec(title)),developerMetadata(metadataKey,metadataValue,location))"  # noqa: E501
        [shown] = spreadsheets.get(spreadsheetId="book", fields=mask).execute()["sheets"]
        assert [one["description"] for one in shown["protectedRanges"]] == ["mine"], (
            "the two columns are one range, partly theirs"
        )
        rules = [rule["booleanRule"]["condition"]["values"][0]["userEnteredValue"] for rule in shown["conditionalFormats"]]
        assert rules == ["x", "a", "b"] and shown["conditionalFormats"][2]["ranges"][0]["startColumnIndex"] == 1
        assert len(shown["bandedRanges"]) == len(shown["charts"]) == 1
        location = {"locationType": "SHEET", "sheetId": 0}
        mark = {"metadataKey": "subscriber-pipeline.look", "metadataValue": version, "location": location}
        assert shown["developerMetadata"] == [mark]
        grid = shown["properties"]["gridProperties"]
        assert (grid["frozenRowCount"], grid["frozenColumnCount"]) == (1, 1)
        mask = "sheets(data(rowData(values(note,dataValidation(condition(values)))),columnMetadata(pixelSize)))"
        found = spreadsheets.get(spreadsheetId="book", fields=mask, ranges=["Sheet1!A1:B6"]).execute()["sheets"][0]["data"][0]
        assert [one["pixelSize"] for one in found["columnMetadata"]] == [33, 200]
        assert [cell["note"] for cell in found["rowData"][0]["values"]] == ["mine", "ours"]
        chosen = [[len(cell["dataValidation"]["condition"]["values"]) for cell in row["values"]] for row in found["rowData"][1:]]
        assert chosen == [[2, 2], [1, 2], [1, 2], [2, 2], [2, 2]]
        mask = "sheets(data(rowData(values(userEnteredFormat(wrapStrategy,numberFormat(pattern))))))"
        found = spreadsheets.get(spreadsheetId="book", fields=mask, ranges=["Sheet1!A1:B4"]).execute()["sheets"][0]["data"][0]
        forms = [[cell["userEnteredFormat"] for cell in row["values"]] for row in found["rowData"]]
        wraps = [[form["wrapStrategy"] for form in row] for row in forms]
        assert wraps == [["WRAP", "WRAP"], ["CLIP", "WRAP"], ["CLIP", "WRAP"], ["WRAP", "WRAP"]]
        assert [[form.get("numberFormat", {}).get("pattern") for form in row] for row in forms] == [
            [None] * 2,
            *[["#,##0"] * 2] * 3,
        ]


async def test_a_look_follows_the_rows_that_people_move(twin: Emulated, sheet: Sheets) -> None:
    store = twin.google.sheets
    await sheet.dress({"Sheet1": Look((Column(1, "note", 0, ("a",)),), banded=True)}, "1")
    store.insert_rows("book", "Sheet1", 1, 2)
    look = store.look("book", 0)
    assert (look["notes"], look["rules"][0]["range"]["startRowIndex"]) == ({"3,1": "note"}, 3)
    store.delete_rows("book", "Sheet1", 2, 2)
    look = store.look("book", 0)
    assert (look["notes"], look["rules"][0]["range"]["startRowIndex"]) == ({}, 1)


def test_tabs_can_be_renamed_frozen_and_deleted(twin: Emulated) -> None:
    spreadsheets = twin.raw("sheets", "v4").spreadsheets()
    properties = {"title": "New", "gridProperties": {"frozenRowCount": 1}}
    body: dict[str, Any] = {"requests": [{"addSheet": {"properties": properties}}]}
    added = spreadsheets.batchUpdate(spreadsheetId="book", body=body).execute()["replies"][0]["addSheet"]["properties"]
    assert added["gridProperties"] == {"rowCount": 1000, "columnCount": 26, "frozenRowCount": 1}
    renamed = {"properties": {"sheetId": added["sheetId"], "title": "Newer"}, "fields": "title"}
    spreadsheets.batchUpdate(spreadsheetId="book", body={"requests": [{"updateSheetProperties": renamed}]}).execute()
    mask = "properties.timeZone,sheets.properties(sheetId,title)"
    found = spreadsheets.get(spreadsheetId="book", fields=mask).execute()
    assert found == {
        "properties": {"timeZone": "Europe/Berlin"},
        "sheets": [{"properties": {"sheetId": 0, "title": "Sheet1"}}, {"properties": {"sheetId": 1, "title": "Newer"}}],
    }
    body = {"requests": [{"deleteSheet": {"sheetId": 1}}]}
    spreadsheets.batchUpdate(spreadsheetId="book", body=body).execute()
    assert (
        "all the sheets"
        in error_of(spreadsheets.batchUpdate(spreadsheetId="book", body={"requests": [{"deleteSheet": {"sheetId": 0}}]}))[
            "message"
        ]
    )


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    for round_ in range(2):
        with emulated(tmp_path / "state", tmp_path / "templates") as twin:
            sheet = Sheets("book", twin.url)
            if round_ == 0:
                await sheet.add_tabs(["Kept"])
                await sheet.write({"Kept!A1": [["x", 1, True]]})
            assert await sheet.read(["Kept"]) == [[["x", "1", "TRUE"]]]


async def test_calls_at_once_do_not_disturb_one_another(sheet: Sheets) -> None:
    await asyncio.gather(*(sheet.append("Sheet1", [[n]]) for n in range(20)))
    assert sorted(int(row[0]) for row in (await sheet.read(["Sheet1"]))[0]) == list(range(20))


async def test_a_range_of_the_default_tab(sheet: Sheets) -> None:
    await sheet.write({"A1": [["x"]]})
    assert await sheet.read(["Sheet1!$A$1", "A1:A1"]) == [[["x"]], [["x"]]]
    with pytest.raises(BadInput):
        await sheet.read(["A"])


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v4/spreadsheets/book/values/Sheet1!A1:append?valueInputOption=RAW&insertDataOption=INSERT_ROWS"),
        ("POST", "/v4/spreadsheets/book:batchUpdate"),
        ("PUT", "/v4/spreadsheets/book/values/Sheet1!A1?valueInputOption=RAW"),
        ("GET", "/v4/spreadsheets/book"),
        ("GET", "/drive/v3/files"),
    ],
)
def test_another_sites_page_is_refused(twin: Emulated, method: str, path: str, origin: str) -> None:
    body = None if method == "GET" else json.dumps({"values": [["x"]], "requests": [{"addSheet": {}}]})

    def status(origin: str) -> tuple[int, Any]:
        headers = {"content-type": "text/plain", "origin": origin}
        response, content = httplib2.Http(timeout=10, proxy_info=None).request(twin.url + path, method, body, headers)
        return response.status, json.loads(content)

    tabs, calls = twin.google.sheets.tabs("book"), twin.google.meter.writes
    found, answer = status(origin)
    assert (found, answer["error"]["code"], answer["error"]["status"]) == (403, 403, "PERMISSION_DENIED")
    assert (twin.google.sheets.tabs("book"), twin.google.meter.writes) == (tabs, calls)
    assert status(twin.url)[0] == 200


def test_title_and_time_zone_change_with_the_tabs_or_not_at_all(twin: Emulated) -> None:
    def change(*requests: dict[str, Any]) -> Any:
        return twin.raw("sheets", "v4").spreadsheets().batchUpdate(spreadsheetId="book", body={"requests": requests})

    def properties(fields: str, **wanted: str) -> dict[str, Any]:
        return {"updateSpreadsheetProperties": {"properties": wanted, "fields": fields}}

    named = {"updateSheetProperties": {"properties": {"sheetId": 0, "title": "First"}, "fields": "title"}}
    change(properties("timeZone", timeZone="Asia/Tokyo", title="not named"), named).execute()
    store = twin.google.sheets
    assert (store.properties("book"), store.tabs("book")[0].title) == (("Pipeline", "Asia/Tokyo"), "First")
    change(properties("title,timeZone", timeZone="UTC", title="New")).execute()
    assert store.properties("book") == ("New", "UTC")
    renamed = {"updateSheetProperties": {"properties": {"sheetId": 0, "title": "Second"}, "fields": "title"}}
    assert "Unsupported time zone" in error_of(change(renamed, properties("timeZone", timeZone="Mars/Base")))["message"]
    assert error_of(change(properties("locale", locale="de")))["code"] == 400
    assert (store.properties("book"), store.tabs("book")[0].title) == (("New", "UTC"), "First")


async def test_protections_come_with_the_cells_and_editors_only_to_editors(twin: Emulated, sheet: Sheets) -> None:
    await sheet.add_tabs(["Team"])
    await sheet.write({"Team!A1": [["typed", 5], ["", "x"]]})
    await sheet.write({"Team!A2": [["=A1"]]}, formulas=True)
    tab, api = twin.google.sheets.tab("book", "Team"), twin.google.api
    column = {"sheetId": tab.id, "startColumnIndex": 1, "endColumnIndex": 2}
    for place, editors in (({"sheetId": tab.id}, [SERVICE]), (column, ["Ada@brand.example"])):
        wanted = {"range": place, "editors": {"users": editors}}
        api.change("book", [{"addProtectedRange": {"protectedRange": wanted}}], SERVICE)
    known = twin.google.sheets.look("book", tab.id)["protected"][1]
    api.change("book", [{"addProtectedRange": {"protectedRange": {"range": column, "warningOnly": True}}}], SERVICE)
    found = (await sheet.guarded(["Team"]))["Team"]
    assert found.shown == [["typed", "5"], ["typed", "x"]] and found.typed == [["typed", ""], ["", "x"]]
    whole, part, warning = found.protections
    assert whole == Protection((0, 0, None, None), True, frozenset({SERVICE}))
    assert part == Protection((0, 1, None, 2), True, frozenset({SERVICE, "ada@brand.example"})) and not warning.hard
    without = {"protectedRangeId": known["protectedRangeId"], "editors": {"users": ["ada@brand.example"]}}
    api.change("book", [{"updateProtectedRange": {"protectedRange": without, "fields": "editors"}}], SERVICE)
    hidden = (await sheet.guarded(["Team"]))["Team"].protections
    assert [one.editors for one in hidden if one.place == part.place and one.hard] == [None]
    with pytest.raises(BadInput, match="protected cell"):
        await sheet.write({"Team!B1": [["x"]]})
    with pytest.raises(BadInput, match="protected cell"):
        await sheet.clear(["Team!A1:B"])
