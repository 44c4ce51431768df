"""The Sheet port on Google Sheets (API v4). Google takes 60 write calls a minute and user: every verb is one call when it can be,
and our own writes are held a little below that. Sharing decides what the account may do: Viewer to read, Editor to write.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.adapters.google_rest import Pace, Service, Sleep
from shared.errors import BadInput
from shared.model.cells import quote, stored
from shared.model.look import Look
from shared.ports import Guarded, Protection, Rows, Workbook

from . import sheets_look

READING = "https://www.googleapis.com/auth/spreadsheets.readonly"
WRITING = "https://www.googleapis.com/auth/spreadsheets"
WRITES = 54  # a minute: a call takes its time to arrive, so calls a minute apart may be counted together
VALUES = "spreadsheets.values"
_GUARDED = "sheets(properties(sheetId,title),protectedRanges,data(rowData(values(userEnteredValue,formattedValue))))"
SPARE_ROWS = 500  # added beyond what is needed when a tab is too small, so that it rarely happens


class Sheets:
    """One spreadsheet. `endpoint` is the root URL of an emulator, "" for Google with the environment's credentials.

    `now` (seconds) and `sleep` are the clock of the pace and of what is tried again.
    """

    def __init__(
        self, spreadsheet_id: str, endpoint: str = "", *, now: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._id = spreadsheet_id
        pace = Pace(WRITES, now, sleep)
        self._service = Service("sheets", "v4", "/", endpoint, reading=READING, writing=WRITING, writes=pace, sleep=sleep)

    async def workbook(self) -> Workbook:
        """Raises NotFound for an unknown spreadsheet, BadInput when it is not shared with us."""
        mask = "properties.timeZone,sheets(properties(sheetId,title),developerMetadata(metadataKey,metadataValue))"
        found = await self._properties(mask)
        tabs = {sheet["properties"]["title"]: int(sheet["properties"]["sheetId"]) for sheet in found["sheets"]}
        looks = {
            sheet["properties"]["title"]: mark["metadataValue"]
            for sheet in found["sheets"]
            for mark in sheet.get("developerMetadata", ())
            if mark["metadataKey"] == sheets_look.KEY
        }
        return Workbook(zone=found["properties"]["timeZone"], tabs=tabs, looks=looks)

    async def add_tabs(self, titles: Sequence[str], columns: Mapping[str, int] | None = None) -> None:
        """Make what is missing; another writer making the same tab at the same moment is no error."""
        for _ in range(3):
            there = (await self.workbook()).tabs
            missing = [title for title in dict.fromkeys(titles) if title not in there]
            if not missing:
                return
            try:
                await self._change([_add_sheet(title, (columns or {}).get(title, 0)) for title in missing])
                return
            except BadInput as error:
                if "already exists" not in str(error):
                    raise
        raise BadInput("The tabs could not be added, because somebody keeps adding tabs with the same names.")

    async def read(self, ranges: Sequence[str]) -> list[list[list[str]]]:
        """Displayed text, one values:batchGet for all ranges."""
        if not ranges:
            return []
        found = await self._service.call(
            VALUES,
            lambda values: values.batchGet(
                spreadsheetId=self._id, ranges=list(ranges), majorDimension="ROWS", valueRenderOption="FORMATTED_VALUE"
            ),
        )
        return [[[str(cell) for cell in row] for row in part.get("values", [])] for part in found["valueRanges"]]

    async def guarded(self, tabs: Sequence[str]) -> dict[str, Guarded]:
        """One spreadsheets.get. Google shows who the editors of a protection are only to those who are among them."""
        found = await self._properties(_GUARDED, [quote(tab) for tab in tabs])
        return {sheet["properties"]["title"]: guarded(sheet) for sheet in found["sheets"]}

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        """One values:batchUpdate. A tab that is too small is enlarged and the write repeated (three more calls, rarely)."""
        await self._put({where: _plain(rows, formulas) for where, rows in updates.items()}, formulas)

    async def copy(self, updates: Mapping[str, Rows]) -> None:
        """As `write`, for what people of the workbook typed themselves: RAW, to the letter, with no apostrophe in front of it."""
        await self._put(updates, formulas=False)

    async def _put(self, updates: Mapping[str, Rows], formulas: bool) -> None:
        data = [{"range": where, "values": rows} for where, rows in updates.items()]
        if not data:
            return
        body = {"valueInputOption": "USER_ENTERED" if formulas else "RAW", "data": data}
        try:
            await self._batch_update(body)
        except BadInput as error:
            if "exceeds grid limits" not in str(error):
                raise
            await self._grow(updates)
            await self._batch_update(body)

    async def append(self, tab: str, rows: Rows) -> None:
        """Inserts rows. After Unavailable they may have been added all the same: look before trying again."""
        if not rows:
            return
        body = {"values": _plain(rows, formulas=False)}
        await self._service.call(
            VALUES,
            lambda values: values.append(
                spreadsheetId=self._id, range=quote(tab), valueInputOption="RAW", insertDataOption="INSERT_ROWS", body=body
            ),
            write=True,
            repeat=False,
        )

    async def clear(self, ranges: Sequence[str]) -> None:
        """Empties cells; formats and notes stay."""
        if ranges:
            body = {"ranges": list(ranges)}
            await self._service.call(VALUES, lambda values: values.batchClear(spreadsheetId=self._id, body=body), write=True)

    async def dress(self, looks: Mapping[str, Look], version: str) -> None:
        """Two calls that read, or three where a tab may lack lines, one that writes. After Unavailable the looks may be on all the same, so
        it is not tried again here."""
        tabs = (await self.workbook()).tabs
        there = [quote(tab) for tab in looks if tab in tabs]
        found = await self._properties(sheets_look.FIELDS, there) if there else {"sheets": []}
        told = [tab for tab, look in looks.items() if look.fresh and tab in tabs]
        columns = await self.read([f"{quote(tab)}!A1:A" for tab in told])
        said = {tab: ["".join(row) for row in rows] for tab, rows in zip(told, columns, strict=True)}
        requests = sheets_look.requests(tabs, found["sheets"], looks, version, said)
        if requests:
            await self._change(requests, repeat=False)

    async def _properties(self, fields: str, ranges: Sequence[str] = ()) -> Any:
        return await self._service.call(
            "spreadsheets", lambda sheets: sheets.get(spreadsheetId=self._id, fields=fields, ranges=list(ranges))
        )

    async def _change(self, requests: list[dict[str, Any]], *, repeat: bool = True) -> None:
        body = {"requests": requests}
        await self._service.call(
            "spreadsheets", lambda sheets: sheets.batchUpdate(spreadsheetId=self._id, body=body), write=True, repeat=repeat
        )

    async def _batch_update(self, body: dict[str, Any]) -> None:
        await self._service.call(VALUES, lambda values: values.batchUpdate(spreadsheetId=self._id, body=body), write=True)

    async def _grow(self, updates: Mapping[str, Rows]) -> None:
        """Sheets refuses values beyond a tab's grid (1,000 rows by 26 columns when new) instead of enlarging it."""
        sizes = await self._properties("sheets.properties(sheetId,title,gridProperties(rowCount,columnCount))")
        requests = []
        for properties in (sheet["properties"] for sheet in sizes["sheets"]):
            grid = properties["gridProperties"]
            ends = [_end(where, rows) for where, rows in updates.items() if _title(where) == properties["title"]]
            rows = max((end[0] for end in ends), default=0)
            columns = max((end[1] for end in ends), default=0)
            if rows > grid["rowCount"] or columns > grid["columnCount"]:
                size = {
                    "rowCount": rows + SPARE_ROWS if rows > grid["rowCount"] else grid["rowCount"],
                    "columnCount": max(columns, grid["columnCount"]),
                }
                wanted = {"sheetId": properties["sheetId"], "gridProperties": size}
                fields = "gridProperties.rowCount,gridProperties.columnCount"
                requests.append({"updateSheetProperties": {"properties": wanted, "fields": fields}})
        if requests:
            await self._change(requests)


def guarded(sheet: Mapping[str, Any]) -> Guarded:
    """A sheet of spreadsheets.get, with its cells and protections."""
    lines = [row.get("values", []) for part in sheet.get("data", ()) for row in part.get("rowData", ())]
    while lines and not any("formattedValue" in cell or "userEnteredValue" in cell for cell in lines[-1]):  # a dropdown, a colour
        lines.pop()
    shown = [[str(cell.get("formattedValue", "")) for cell in line] for line in lines]
    typed = [[str(cell.get("userEnteredValue", {}).get("stringValue", "")) for cell in line] for line in lines]
    return Guarded(
        sheet["properties"]["sheetId"], shown, typed, tuple(_protection(one) for one in sheet.get("protectedRanges", ()))
    )


def _protection(found: Mapping[str, Any]) -> Protection:
    """A group, a domain, a hole, or a range that goes where a name or a table does lets in people that nobody can list."""
    place, editors = found.get("range", {}), found.get("editors", {})
    names = ("startRowIndex", "startColumnIndex", "endRowIndex", "endColumnIndex")
    top, left, bottom, right = (place.get(name) for name in names)
    others = editors.get("groups") or editors.get("domainUsersCanEdit") or found.get("unprotectedRanges")
    elsewhere = found.get("namedRangeId") or found.get("tableId") or "range" not in found
    told = "users" in editors and not others and not elsewhere
    users = frozenset(str(user).strip().lower() for user in editors["users"]) if told else None
    return Protection((top or 0, left or 0, bottom, right), not found.get("warningOnly", False), users)


def _plain(rows: Rows, formulas: bool) -> list[list[Any]]:
    return [[cell if formulas else stored(cell) for cell in row] for row in rows]


def _add_sheet(title: str, columns: int) -> dict[str, Any]:
    """A spreadsheet holds 10,000,000 cells, the empty ones of a tab's grid included (https://support.google.com/drive/answer/37603)."""
    grid = {"frozenRowCount": 1, **({"columnCount": columns} if columns else {})}
    return {"addSheet": {"properties": {"title": title, "gridProperties": grid}}}


def _title(where: str) -> str:
    tab = where.rpartition("!")[0]
    return tab[1:-1].replace("''", "'") if tab.startswith("'") else tab


def _end(where: str, rows: Rows) -> tuple[int, int]:
    """The last row and column (from 1) that values written at a range reach."""
    start = re.match(r"\$?([A-Za-z]*)\$?(\d*)", where.rpartition("!")[2])
    letters, digits = start.groups() if start else ("", "")
    column = 0
    for letter in (letters or "A").upper():
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(digits or 1) + len(rows) - 1, column + max((len(row) for row in rows), default=1) - 1
