"""The Sheets API v4 calls that we use, as Google answers them: same paths, bodies, limits and errors."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from starlette.routing import Route

from local.google import a1
from local.google.a1 import Area
from local.google.drive import DriveFolder
from local.google.look import Looks, request
from local.google.ranges import barred
from local.google.rest import Call, Refused, endpoint, partial
from local.google.store import PROTECTED, SERVICE, Entry, Render, SheetsStore, Tab

V4 = "/v4/spreadsheets/{id}"


@dataclass
class Meter:
    """Counts calls. Over `write_quota` writes in 60 seconds the answer is 429, as Google's per minute and user."""

    write_quota: int = 60
    reads: int = 0
    writes: int = 0
    refused: int = 0
    now: Callable[[], float] = time.monotonic
    _recent: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> None:
        with self._lock:
            self.reads += 1

    def write(self) -> None:
        """Raises Refused 429 over the quota."""
        with self._lock:
            now = self.now()
            while self._recent and self._recent[0] <= now - 60:
                self._recent.popleft()
            if len(self._recent) >= self.write_quota:
                self.refused += 1
                limit = "quota metric 'Write requests' and limit 'Write requests per minute per user'"
                raise Refused(429, f"Quota exceeded for {limit} of service 'sheets.googleapis.com' for consumer 'twin'.")
            self._recent.append(now)
            self.writes += 1


class SheetsApi:
    """The REST face of a store. `drive` knows who calls, and whose a spreadsheet is."""

    def __init__(self, store: SheetsStore, meter: Meter, drive: DriveFolder) -> None:
        self._store = store
        self._drive = drive
        self._looks = Looks(store)
        self._meter = meter

    def routes(self) -> list[Route]:
        """Mounted at the server's root, as the official client expects below its endpoint."""
        reads = {V4 + "/values:batchGet": self._batch_get, V4 + "/values/{range:path}": self._get, V4: self._book}
        writes = {
            V4 + "/values:batchUpdate": self._batch_write,
            V4 + "/values:batchClear": self._batch_clear,
            V4 + "/values/{range:path}:append": self._append,
            V4 + "/values/{range:path}:clear": self._clear,
            V4 + ":batchUpdate": self._batch,
        }
        metered_reads = [(path, self._metered(answer, self._meter.read)) for path, answer in reads.items()]
        metered_writes = [(path, self._metered(answer, self._meter.write)) for path, answer in writes.items()]
        return [
            *(Route(path, answer, methods=["POST"]) for path, answer in metered_writes),
            Route(V4 + "/values/{range:path}", self._metered(self._put, self._meter.write), methods=["PUT"]),
            *(Route(path, answer, methods=["GET", "POST"]) for path, answer in metered_reads),
        ]

    def _metered(self, answer: Callable[[Call], Any], count: Callable[[], None]) -> Callable[..., Any]:
        def counted(call: Call) -> Any:
            count()
            self._store.properties(call.path["id"])
            return answer(call)

        return endpoint(counted)

    @property
    def _caller(self) -> str:
        return self._drive.account or SERVICE

    # --- the spreadsheet

    def _book(self, call: Call) -> dict[str, Any]:
        whole = call.query.get("includeGridData") == "true"
        return self.book(call.path["id"], call.query.get("fields", ""), self._caller, call.query.getlist("ranges"), whole=whole)

    def book(self, book: str, fields: str, who: str, ranges: Sequence[str] = (), *, whole: bool = False) -> dict[str, Any]:
        """A spreadsheet as somebody gets it. Raises Refused."""
        title, zone = self._store.properties(book)
        areas = [self._store.area(book, text) for text in ranges]
        whole, values = "data(" in fields if fields else whole, not fields or "Value" in fields
        sheets = []
        for tab in self._store.tabs(book):
            here = [area for area in areas if area.tab == tab.title] or [Area(tab.title)]
            if not areas or here[0] in areas:
                looks = self._looks.shown(book, tab, here if whole else None, values, who)
                sheets.append({"properties": self._properties(book, tab)} | looks)
        found = {
            "spreadsheetId": book,
            "properties": {"title": title, "locale": "en_US", "timeZone": zone},
            "sheets": sheets,
        }
        return partial(found, fields)

    def _batch(self, call: Call) -> dict[str, Any]:
        book, requests = call.path["id"], call.body.get("requests")
        return {"spreadsheetId": book, "replies": self.change(book, requests, self._caller)}

    def change(self, book: str, requests: Any, who: str) -> list[dict[str, Any]]:
        """A batchUpdate by somebody: its replies. Raises Refused."""
        if not isinstance(requests, list) or not requests:
            raise Refused(400, "Must specify at least one request.")
        kinds = {
            "addSheet": self._add_sheet,
            "updateSheetProperties": self._update_sheet,
            "deleteSheet": self._delete_sheet,
            "updateSpreadsheetProperties": self._update_book,
            "insertDimension": self._insert,
            **self._looks.kinds,
        }
        replies = []
        with self._store.change():
            for number, given in enumerate(requests):
                kind = next(iter(given), "") if isinstance(given, dict) else ""
                if kind not in kinds:
                    raise Refused(400, f"Invalid JSON payload received. Unknown name \"{kind}\" at 'requests[{number}]'.")
                request(given, f"requests[{number}]")
                try:
                    self._guard(book, kind, given[kind], who)
                    replies.append(kinds[kind](book, given[kind]))
                except Refused as refusal:
                    raise Refused(400, f"Invalid requests[{number}].{kind}: {refusal.message}") from None
                except (TypeError, KeyError, AttributeError, ValueError):
                    raise Refused(400, f"Invalid value at 'requests[{number}].{kind}'.") from None
            self._store.edited(book, who)
        return replies

    def _guard(self, book: str, kind: str, given: dict[str, Any], who: str) -> None:
        """Refuse what a hard protection keeps somebody from; who adds one is among its editors, and so is the owner."""
        match kind:
            case "addProtectedRange" if not given["protectedRange"].get("warningOnly"):
                wanted = given["protectedRange"]
                owners = [address for address, role in self._drive.shared(book).items() if role == "owner"]
                users = wanted.get("editors", {}).get("users", [])
                wanted["editors"] = {**wanted.get("editors", {}), "users": list(dict.fromkeys([*users, *owners, who]))}
                place = wanted["range"]
            case "updateProtectedRange" | "deleteProtectedRange":
                id = given.get("protectedRangeId") or given["protectedRange"]["protectedRangeId"]
                _, one = self._looks.protection(book, id)
                if not one.get("warningOnly") and who not in one["editors"].get("users", ()):
                    raise Refused(400, PROTECTED)
                return
            case "deleteSheet":
                place = given
            case "updateSheetProperties" if "title" in given["fields"]:
                there = self._store.look(book, given["properties"]["sheetId"]).get("protected", ())
                if barred({"protected": [one for one in there if len(one["range"]) == 1]}, {}, who):
                    raise Refused(400, PROTECTED)
                return
            case "updateCells" if "start" in given:
                start = given["start"]
                top, left = start.get("rowIndex", 0), start.get("columnIndex", 0)
                rows = given.get("rows", ())
                wide = max((len(row.get("values", ())) for row in rows), default=0)
                place = {"sheetId": start.get("sheetId", 0), "startRowIndex": top, "startColumnIndex": left}
                place |= {"endRowIndex": top + len(rows), "endColumnIndex": left + wide}
            case "updateCells" | "setDataValidation" | "repeatCell":
                place = given["range"]
            case _:
                return
        if barred(self._store.look(book, place.get("sheetId", 0)), place, who):
            raise Refused(400, PROTECTED)

    def _add_sheet(self, book: str, given: dict[str, Any]) -> dict[str, Any]:
        wanted = given.get("properties", {})
        grid = wanted.get("gridProperties", {})
        title = wanted.get("title") or f"Sheet{len(self._store.tabs(book)) + 1}"
        frozen, rows, columns = (int(grid.get(*default)) for default in _GRID)
        tab = self._store.add_tab(book, title, frozen, rows, columns, wanted.get("sheetId"))
        return {"addSheet": {"properties": self._properties(book, tab)}}

    def _update_sheet(self, book: str, given: dict[str, Any]) -> dict[str, Any]:
        wanted, fields = given["properties"], str(given["fields"])
        tab = self._looks.tab(book, wanted["sheetId"])
        grid = wanted.get("gridProperties", {})
        changes: dict[str, Any] = {"title": wanted["title"]} if "title" in fields else {}
        for (name, _), ours in zip(_GRID, ("frozen", "rows", "columns"), strict=True):
            if name in fields:
                changes[ours] = int(grid.get(name, 0))
        if not self._looks.update(book, tab, wanted, fields) and not changes:
            raise Refused(400, "At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
        self._store.update_tab(book, replace(tab, **changes))
        return {}

    def _delete_sheet(self, book: str, given: dict[str, Any]) -> dict[str, Any]:
        tab = self._looks.tab(book, given["sheetId"])
        if len(self._store.tabs(book)) == 1:
            raise Refused(400, "You can't remove all the sheets in a document.")
        self._store.delete_tab(book, tab.id)
        return {}

    def _insert(self, book: str, given: dict[str, Any]) -> dict[str, Any]:
        place = given["range"]
        tab, at, end = self._looks.tab(book, place["sheetId"]), int(place.get("startIndex", 0)), int(place["endIndex"])
        if place["dimension"] != "ROWS":
            raise Refused(400, "The twin inserts rows only.")
        if not 0 <= at < end or at > tab.rows or (at == 0 and given.get("inheritFromBefore")):
            raise Refused(400, "The insertion index must be inside the grid, and not the first one when it inherits from before.")
        self._store.insert_rows(book, tab.title, at + 1, end - at)
        return {}

    def _update_book(self, book: str, given: dict[str, Any]) -> dict[str, Any]:
        wanted, fields = given["properties"], str(given["fields"]).split(",")
        title, zone = self._store.properties(book)
        if not {"title", "timeZone"}.issuperset(fields):
            raise Refused(400, "Invalid field: 'fields'; the twin knows title and timeZone.")
        self._store.update_spreadsheet(
            book, wanted["title"] if "title" in fields else title, wanted["timeZone"] if "timeZone" in fields else zone
        )
        return {}

    def _properties(self, book: str, tab: Tab) -> dict[str, Any]:
        look = self._store.look(book, tab.id)
        frozen = {"frozenRowCount": tab.frozen, "frozenColumnCount": look.get("frozen_columns", 0)}
        grid = {"rowCount": tab.rows, "columnCount": tab.columns} | {name: count for name, count in frozen.items() if count}
        shown = {"sheetId": tab.id, "title": tab.title, "index": tab.position, "sheetType": "GRID", "gridProperties": grid}
        return shown | ({"hidden": True} if look.get("hidden") else {})

    # --- values

    def _get(self, call: Call) -> dict[str, Any]:
        return self._values(call, call.path["range"])

    def _batch_get(self, call: Call) -> dict[str, Any]:
        return {
            "spreadsheetId": call.path["id"],
            "valueRanges": [self._values(call, text) for text in call.query.getlist("ranges")],
        }

    def _put(self, call: Call) -> dict[str, Any]:
        data = {"range": call.path["range"], "values": call.body.get("values", [])}
        return self._written(call, [data], _choice(call.query, "valueInputOption", get_args(Entry), ""))[0]

    def _batch_write(self, call: Call) -> dict[str, Any]:
        entry = _choice(call.body, "valueInputOption", get_args(Entry), "")
        responses = self._written(call, call.body.get("data", []), entry)
        return {
            "spreadsheetId": call.path["id"],
            "totalUpdatedCells": sum(one["updatedCells"] for one in responses),
            "responses": responses,
        }

    def _append(self, call: Call) -> dict[str, Any]:
        book, rows = call.path["id"], _rows(call.body)
        entry = _choice(call.query, "valueInputOption", get_args(Entry), "")
        _choice(call.query, "insertDataOption", ("INSERT_ROWS",), "")  # OVERWRITE would write into what is below
        with self._store.change():
            went = self._store.append(book, self._store.area(book, call.path["range"]), rows, entry)
            self._store.guard(book, went, self._caller)
            self._store.edited(book, self._caller)
        updates = {"spreadsheetId": book, "updatedRange": a1.name(went), "updatedRows": len(rows)}
        return {"spreadsheetId": book, "updates": updates}

    def _clear(self, call: Call) -> dict[str, Any]:
        book, area = call.path["id"], self._store.area(call.path["id"], call.path["range"])
        self._wipe(book, [area])
        return {"spreadsheetId": book, "clearedRange": a1.name(self._closed(book, area))}

    def _batch_clear(self, call: Call) -> dict[str, Any]:
        book = call.path["id"]
        areas = [self._store.area(book, str(text)) for text in call.body.get("ranges", [])]
        self._wipe(book, areas)
        return {"spreadsheetId": book, "clearedRanges": [a1.name(self._closed(book, area)) for area in areas]}

    def _wipe(self, book: str, areas: list[Area]) -> None:
        with self._store.change():
            for area in areas:
                self._store.guard(book, area, self._caller)
            self._store.clear(book, areas)
            self._store.edited(book, self._caller)

    def _values(self, call: Call, text: str) -> dict[str, Any]:
        book = call.path["id"]
        _choice(call.query, "majorDimension", ("ROWS",), "ROWS")
        area = self._store.area(book, text)
        rows = self._store.read(book, area, _choice(call.query, "valueRenderOption", get_args(Render), "FORMATTED_VALUE"))
        found: dict[str, Any] = {"range": a1.name(self._closed(book, area)), "majorDimension": "ROWS"}
        return found | ({"values": rows} if rows else {})

    def _written(self, call: Call, data: list[Any], entry: Any) -> list[dict[str, Any]]:
        book = call.path["id"]
        updates = []
        for part in data:
            if not isinstance(part, dict) or not isinstance(part.get("range"), str):
                raise Refused(400, "Invalid value at 'data'.")
            updates.append((self._store.area(book, part["range"]), _rows(part)))
        with self._store.change():
            for area, rows in updates:
                self._store.guard(book, _written(area, rows), self._caller)
            self._store.write(book, updates, entry)
            self._store.edited(book, self._caller)
        return [
            {
                "spreadsheetId": book,
                "updatedRange": a1.name(area),
                "updatedRows": len(rows),
                "updatedCells": sum(cell is not None for row in rows for cell in row),
            }
            for area, rows in updates
        ]

    def _closed(self, book: str, area: Area) -> Area:
        tab = self._store.tab(book, area.tab)
        bottom = min(area.bottom or tab.rows, tab.rows)
        return replace(area, bottom=bottom, right=min(area.right or tab.columns, tab.columns))


_GRID = (("frozenRowCount", 0), ("rowCount", 1000), ("columnCount", 26))


def _written(area: Area, rows: list[list[Any]]) -> Area:
    """The cells that values written at an area reach."""
    right = area.left + max((len(row) for row in rows), default=1) - 1
    return replace(area, bottom=area.top + max(len(rows), 1) - 1, right=max(right, area.left))


def _choice(given: Any, name: str, allowed: tuple[str, ...], default: str) -> Any:
    value = given.get(name, default)
    if value not in allowed:
        raise Refused(400, f"Invalid value at '{name}': {value or 'missing'}; the twin knows {', '.join(allowed)}.")
    return value


def _rows(given: dict[str, Any]) -> list[list[Any]]:
    if given.get("majorDimension", "ROWS") != "ROWS":
        raise Refused(400, "Invalid value at 'majorDimension': the twin knows ROWS.")
    rows = given.get("values", [])
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise Refused(400, "Invalid value at 'values'.")
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if not isinstance(cell, str | int | float | None):
                raise Refused(400, f"Invalid values[{number}][{column}]: not a text, number or boolean.")
            if isinstance(cell, str) and len(cell) > 50_000:
                raise Refused(400, "Your input contains more than the maximum of 50000 characters in a single cell.")
    return rows
