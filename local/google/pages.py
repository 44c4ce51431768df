"""The Sheet for a marketer: an editable grid."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.sync_sheet.workbook import FORMS, HEADERS
from local.google import charts, ranges
from local.google.a1 import Area
from local.google.look import sources
from local.google.rest import Refused, same_origin
from local.google.store import SheetsStore
from local.google.values import Cell
from local.web import page
from shared.model.cells import quote

SYSTEM_TABS = frozenset(HEADERS) - frozenset(FORMS)
EDITOR = "editor@lumen-coffee.example"  # who edits unless the page says otherwise
_SERVICES = ".gserviceaccount.com"
MAX_CELLS = 100_000  # in one edit


class Pages:
    """Routes for people. Edits are what a person types (USER_ENTERED); formulas, headers and system tabs are kept as they are."""

    def __init__(self, sheets: SheetsStore, spreadsheet: str) -> None:
        self._sheets = sheets
        self._book = spreadsheet

    def routes(self) -> list[Route]:
        return [
            Route("/sheet", self._sheet),
            Route("/sheet/data", self._data),
            Route("/sheet/edit", self._edit, methods=["POST"]),
            Route("/sheet/rows", self._rows, methods=["POST"]),
        ]

    # --- the grid

    async def _sheet(self, request: Request) -> Response:
        try:
            title, zone = self._sheets.properties(self._book)
            asked = request.query_params.get("tab", "")
            hidden = {tab.title for tab in self._sheets.tabs(self._book) if self._sheets.look(self._book, tab.id).get("hidden")}
            tabs = [tab.title for tab in self._sheets.tabs(self._book) if tab.title == asked or tab.title not in hidden]
        except Refused:
            asked, title, zone, tabs = "", "", "", []
        tab = asked if asked in tabs else next(iter(tabs), "")
        return page(
            "sheet.html",
            status=200 if tabs else 503,
            here="/sheet",
            title=title,
            zone=zone,
            tabs=tabs,
            tab=tab,
            system=SYSTEM_TABS,
        )

    async def _data(self, request: Request) -> Response:
        asked = request.query_params
        title, known, who = asked.get("tab", ""), asked.get("revision", ""), asked.get("you") or EDITOR
        return await asyncio.to_thread(self._answer, lambda: self._grid(title, known, who))

    async def _edit(self, request: Request) -> Response:
        if not same_origin(request):
            return JSONResponse({"error": "This page may only be used from the twin itself."}, status_code=403)
        try:
            body = await request.json()
            title, who = str(body["tab"]), str(body.get("you") or EDITOR)
            cells = [(int(row), int(column), str(text)) for row, column, text in body["cells"]]
        except (ValueError, TypeError, KeyError):
            return JSONResponse({"error": "An edit is {tab, cells: [[row, column, text], …]}."}, status_code=400)
        return await asyncio.to_thread(self._answer, lambda: self._typed(title, cells, who))

    async def _rows(self, request: Request) -> Response:
        if not same_origin(request):
            return JSONResponse({"error": "This page may only be used from the twin itself."}, status_code=403)
        try:
            body = await request.json()
            title, action, at = str(body["tab"]), str(body["action"]), int(body["at"])
            who = str(body.get("you") or EDITOR)
        except (ValueError, TypeError, KeyError):
            return JSONResponse({"error": "A change of rows is {tab, action, at}."}, status_code=400)
        return await asyncio.to_thread(self._answer, lambda: self._arrange(title, action, at, who))

    def _answer(self, work: Any) -> Response:
        try:
            return JSONResponse(work(), headers={"cache-control": "no-store"})
        except Refused as refusal:
            return JSONResponse({"error": refusal.message}, status_code=refusal.code)

    def _grid(self, title: str, known: str, who: str) -> dict[str, Any]:
        """All that the page shows of a tab, or only the revision when the caller knows it already."""
        revision = self._sheets.revision()
        if revision == known:
            return {"revision": revision}
        tab = self._sheets.tab(self._book, title)
        values = self._sheets.read(self._book, Area(title))
        cells = self._sheets.cells(self._book, title)
        look = self._sheets.look(self._book, tab.id)
        return {
            "revision": revision,
            "tab": asdict(tab),
            "tabs": [one.title for one in self._sheets.tabs(self._book)],
            "readonly": title in SYSTEM_TABS,
            "values": values,
            "formulas": {f"{row},{column}": cell.text for (row, column), cell in cells.items() if cell.kind == "f"},
            "locked": [f"{row},{column}" for (row, column), cell in cells.items() if self._locked(row, cell)],
            "rules": [{**_box(rule["range"]), **_asked(rule["rule"])} for rule in look.get("rules", ()) if rule["rule"]],
            "notes": look.get("notes", {}),
            "widths": look.get("widths", {}),
            "wraps": [{**_box(one["range"]), "wrap": one["wrap"] == "WRAP"} for one in look.get("wraps", ())],
            "frozen_columns": look.get("frozen_columns", 0),
            "colours": dict(_colours(look, values)),
            "bands": [_box(band["range"]) for band in look.get("bands", ())],
            "guarded": [
                {**_box(one["range"]), "hint": one.get("description", "")}
                for one in look.get("protected", ())
                if one.get("warningOnly") or who not in one["editors"]["users"]
            ],
            "people": self._people(),
            "charts": self._charts(look),
        }

    def _charts(self, look: dict[str, Any]) -> list[dict[str, str]]:
        titles = {tab.id: tab.title for tab in self._sheets.tabs(self._book)}

        def read(place: dict[str, Any]) -> list[Any]:
            box = _box(place)
            area = Area(titles[place["sheetId"]], box["top"], box["left"], box["bottom"] or None, box["right"] or None)
            return [row[0] if row else "" for row in self._sheets.read(self._book, area, "UNFORMATTED_VALUE")]

        drawn = [
            {"title": chart["spec"].get("title", ""), "svg": charts.svg(chart, read)}
            for chart in look.get("charts", ())
            if all(place["sheetId"] in titles for place in sources(chart["spec"]))
        ]
        return [one for one in drawn if one["svg"]]

    def _people(self) -> list[str]:
        """Whom somebody at this grid may be: those whom a protection lets in, and a plain editor; [] where nothing is protected."""
        tabs = self._sheets.tabs(self._book)
        ranges = [one for tab in tabs for one in self._sheets.look(self._book, tab.id).get("protected", ())]
        named = {user for one in ranges for user in one.get("editors", {}).get("users", ()) if not user.endswith(_SERVICES)}
        return [EDITOR, *sorted(named - {EDITOR})] if named else []

    def _typed(self, title: str, cells: list[tuple[int, int, str]], who: str) -> dict[str, Any]:
        """Write what somebody typed; `kept` lists the cells that are not a person's to change."""
        self._may_edit(title)
        if len(cells) > MAX_CELLS:
            raise Refused(400, f"At most {MAX_CELLS:,} cells can be pasted at once.")
        with self._sheets.change():
            tab = self._sheets.tab(self._book, title)
            there = self._sheets.cells(self._book, title)
            if any(not (1 <= row <= 100_000 and 1 <= column <= tab.columns) for row, column, _ in cells):
                raise Refused(400, f"The tab has {tab.columns} columns; what was pasted does not fit.")
            for row, column, _ in cells:
                self._sheets.guard(self._book, Area(title, row, column, row, column), who)
            protected = self._sheets.look(self._book, tab.id).get("protected", ())
            guarded = [one["range"] for one in protected if one.get("warningOnly")]
            kept = [
                [row, column]
                for row, column, _ in cells
                if self._locked(row, there.get((row, column))) or any(ranges.holds(place, row, column) for place in guarded)
            ]
            refused = {(row, column) for row, column in kept}
            lowest = max((row for row, _, _ in cells), default=0)
            if lowest > tab.rows:
                self._sheets.insert_rows(self._book, title, tab.rows + 1, lowest - tab.rows)
            updates = [
                (Area(title, row, column, row, column), [[text]]) for row, column, text in cells if (row, column) not in refused
            ]
            self._sheets.write(self._book, updates, "USER_ENTERED")
            self._sheets.edited(self._book, who)
        return {"kept": kept}

    def _arrange(self, title: str, action: str, at: int, who: str) -> dict[str, Any]:
        """Move rows, as far as no protection holds a cell of them."""
        self._may_edit(title)
        self._sheets.guard(self._book, Area(title, 2 if action.startswith("sort") else at), who)
        if action in ("sort", "sort-down"):
            self._sheets.sort(self._book, title, at, descending=action == "sort-down")
        elif action == "insert" and at > 1:
            self._sheets.insert_rows(self._book, title, at)
        elif action == "delete" and at > 1:
            self._sheets.delete_rows(self._book, title, at)
        else:
            raise Refused(400, "The header row stays where it is.")
        return {}

    def _locked(self, row: int, cell: Cell | None) -> bool:
        """Headers, and formulas of ours, which look something up in a system tab; a person's own formulas are theirs."""
        ours = cell is not None and cell.kind == "f" and any(f"{quote(tab)}!" in cell.text for tab in SYSTEM_TABS)
        return ours or (cell is not None and row == 1)

    def _may_edit(self, title: str) -> None:
        if title in SYSTEM_TABS:
            raise Refused(403, f"{title} is written by the system; your changes would be lost.")


def _box(place: dict[str, Any]) -> dict[str, int]:
    """A grid range as rows and columns from 1, ends inclusive, 0 is open."""
    return {
        "top": place.get("startRowIndex", 0) + 1,
        "left": place.get("startColumnIndex", 0) + 1,
        "bottom": place.get("endRowIndex", 0),
        "right": place.get("endColumnIndex", 0),
    }


def _asked(rule: dict[str, Any]) -> dict[str, Any]:
    """What a validation rule makes of a cell: a list of choices, or a checkbox (no choices)."""
    condition = rule["condition"]
    choices = [value["userEnteredValue"] for value in condition.get("values", ())] if condition["type"] == "ONE_OF_LIST" else []
    return {"choices": choices, "hint": rule.get("inputMessage", "")}


def _colours(look: dict[str, Any], values: list[list[str]]) -> Iterator[tuple[str, str]]:
    """("row,column", "#rrggbb") of the cells that a colour rule fits; the first rule wins, and case says nothing, as in Sheets."""
    for row, cells in enumerate(values, 1):
        for column, text in enumerate(cells, 1):
            for rule in look.get("conditional", ()) if text else ():
                if any(ranges.holds(place, row, column) for place in rule["ranges"]) and _fits(rule["booleanRule"], text):
                    shade = rule["booleanRule"]["format"]["backgroundColorStyle"]["rgbColor"]
                    parts = (round(255 * shade.get(name, 0)) for name in ("red", "green", "blue"))
                    yield f"{row},{column}", "#" + "".join(f"{part:02x}" for part in parts)
                    break


def _fits(rule: dict[str, Any], text: str) -> bool:
    wanted, shown = str(rule["condition"]["values"][0]["userEnteredValue"]).lower(), text.lower()
    match rule["condition"]["type"]:
        case "TEXT_STARTS_WITH":
            return shown.startswith(wanted)
        case "TEXT_CONTAINS":
            return wanted in shown
        case _:
            return shown == wanted
