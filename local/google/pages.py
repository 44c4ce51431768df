"""The twin's pages for a marketer: the Sheet as an editable grid, and the templates folder with a plain editor."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.google.a1 import Area
from local.google.drive import DriveFolder
from local.google.rest import Refused, same_origin
from local.google.store import SheetsStore
from local.google.values import Cell
from local.web import page
from shared.model import console

SYSTEM_TABS = frozenset({"Results", "Subscribers", "Suppressions", "Dashboard", "Activity", "Providers"})
CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {("Campaigns", "Wanted"): console.WANTED}
MAX_CELLS = 100_000  # in one edit
MAX_TEMPLATE = 1_000_000  # bytes that the page edits


class Pages:
    """Routes for people. Edits are what a person types (USER_ENTERED); formulas, headers and system tabs are kept as they are."""

    def __init__(self, sheets: SheetsStore, drive: DriveFolder, spreadsheet: str, system_tabs: frozenset[str]) -> None:
        self._sheets = sheets
        self._drive = drive
        self._book = spreadsheet
        self._system = system_tabs

    def routes(self) -> list[Route]:
        return [
            Route("/sheet", self._sheet),
            Route("/sheet/data", self._data),
            Route("/sheet/edit", self._edit, methods=["POST"]),
            Route("/sheet/rows", self._rows, methods=["POST"]),
            Route("/templates", self._templates),
            Route("/templates/{name:path}", self._template),
            Route("/templates/{name:path}", self._save, methods=["POST"]),
        ]

    # --- the grid

    async def _sheet(self, request: Request) -> Response:
        try:
            title, zone = self._sheets.properties(self._book)
            tabs = [tab.title for tab in self._sheets.tabs(self._book)]
        except Refused:
            title, zone, tabs = "", "", []
        asked = request.query_params.get("tab", "")
        tab = asked if asked in tabs else next(iter(tabs), "")
        return page(
            "sheet.html",
            status=200 if tabs else 503,
            here="/sheet",
            title=title,
            zone=zone,
            tabs=tabs,
            tab=tab,
            system=self._system,
        )

    async def _data(self, request: Request) -> Response:
        title, known = request.query_params.get("tab", ""), request.query_params.get("revision", "")
        return await asyncio.to_thread(self._answer, lambda: self._grid(title, known))

    async def _edit(self, request: Request) -> Response:
        if not same_origin(request):
            return JSONResponse({"error": "This page may only be used from the twin itself."}, status_code=403)
        try:
            body = await request.json()
            title = str(body["tab"])
            cells = [(int(row), int(column), str(text)) for row, column, text in body["cells"]]
        except (ValueError, TypeError, KeyError):
            return JSONResponse({"error": "An edit is {tab, cells: [[row, column, text], …]}."}, status_code=400)
        return await asyncio.to_thread(self._answer, lambda: self._typed(title, cells))

    async def _rows(self, request: Request) -> Response:
        if not same_origin(request):
            return JSONResponse({"error": "This page may only be used from the twin itself."}, status_code=403)
        try:
            body = await request.json()
            title, action, at = str(body["tab"]), str(body["action"]), int(body["at"])
        except (ValueError, TypeError, KeyError):
            return JSONResponse({"error": "A change of rows is {tab, action, at}."}, status_code=400)
        return await asyncio.to_thread(self._answer, lambda: self._arrange(title, action, at))

    def _answer(self, work: Any) -> Response:
        try:
            return JSONResponse(work(), headers={"cache-control": "no-store"})
        except Refused as refusal:
            return JSONResponse({"error": refusal.message}, status_code=refusal.code)

    def _grid(self, title: str, known: str) -> dict[str, Any]:
        """All that the page shows of a tab, or only the revision when the caller knows it already."""
        revision = self._sheets.revision()
        if revision == known:
            return {"revision": revision}
        tab = self._sheets.tab(self._book, title)
        values = self._sheets.read(self._book, Area(title))
        cells = self._sheets.cells(self._book, title)
        headers = values[0] if values else []
        choices = {column: CHOICES[title, name] for column, name in enumerate(headers, 1) if (title, name) in CHOICES}
        return {
            "revision": revision,
            "tab": asdict(tab),
            "tabs": [one.title for one in self._sheets.tabs(self._book)],
            "readonly": title in self._system,
            "values": values,
            "formulas": {f"{row},{column}": cell.text for (row, column), cell in cells.items() if cell.kind == "f"},
            "locked": [f"{row},{column}" for (row, column), cell in cells.items() if self._locked(row, cell)],
            "choices": choices,
        }

    def _typed(self, title: str, cells: list[tuple[int, int, str]]) -> dict[str, Any]:
        """Write what was typed; `kept` lists the cells that are not a person's to change."""
        self._may_edit(title)
        if len(cells) > MAX_CELLS:
            raise Refused(400, f"At most {MAX_CELLS:,} cells can be pasted at once.")
        with self._sheets.change():
            tab = self._sheets.tab(self._book, title)
            there = self._sheets.cells(self._book, title)
            if any(not (1 <= row <= 100_000 and 1 <= column <= tab.columns) for row, column, _ in cells):
                raise Refused(400, f"The tab has {tab.columns} columns; what was pasted does not fit.")
            kept = [[row, column] for row, column, _ in cells if self._locked(row, there.get((row, column)))]
            refused = {(row, column) for row, column in kept}
            lowest = max((row for row, _, _ in cells), default=0)
            if lowest > tab.rows:
                self._sheets.insert_rows(self._book, title, tab.rows + 1, lowest - tab.rows)
            updates = [
                (Area(title, row, column, row, column), [[text]]) for row, column, text in cells if (row, column) not in refused
            ]
            self._sheets.write(self._book, updates, "USER_ENTERED")
        return {"kept": kept}

    def _arrange(self, title: str, action: str, at: int) -> dict[str, Any]:
        self._may_edit(title)
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
        ours = cell is not None and cell.kind == "f" and any(f"{tab}!" in cell.text for tab in self._system)
        return ours or (cell is not None and row == 1)

    def _may_edit(self, title: str) -> None:
        if title in self._system:
            raise Refused(403, f"{title} is written by the system; your changes would be lost.")

    # --- templates

    async def _templates(self, request: Request) -> Response:
        folder = self._drive.folder
        files = [(path.relative_to(folder).as_posix(), path.stat()) for path in self._drive.paths() if path.is_file()]
        rows = [(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) for name, status in files]
        return page("templates.html", here="/templates", folder=folder, files=rows)

    async def _template(self, request: Request) -> Response:
        return await asyncio.to_thread(self._show, request.path_params["name"], "saved" in request.query_params)

    async def _save(self, request: Request) -> Response:
        if not same_origin(request):
            return Response("This page may only be used from the twin itself.", 403, media_type="text/plain")
        form = parse_qs((await request.body()).decode(errors="replace"), keep_blank_values=True)
        text = form.get("text", [""])[0].replace("\r\n", "\n")
        return await asyncio.to_thread(self._store, request.path_params["name"], text, form.get("hash", [""])[0])

    def _show(self, name: str, saved: bool) -> Response:
        path = self._drive.find(name)
        if path is None:
            return self._missing(name)
        data = path.read_bytes()
        try:
            text = data.decode() if len(data) <= MAX_TEMPLATE else None
        except UnicodeDecodeError:
            text = None
        note = "Saved. The next campaign that uses this template shows the change." if saved else ""
        if text is None:
            note = "This file is not text, or too large to edit here; use a program on your computer."
        return self._editor(name, path, text, _hash(data), note, warn=text is None)

    def _store(self, name: str, text: str, known: str) -> Response:
        path = self._drive.find(name)
        if path is None:
            return self._missing(name)
        if len(text) > MAX_TEMPLATE:
            return self._editor(
                name, path, text, known, "Not saved: the text is over a million characters.", warn=True, status=400
            )
        there = path.read_bytes()
        if _hash(there) != known:
            sentence = (
                "Not saved: the file has changed on disk since you opened it. Save again to replace that version with yours."
            )
            return self._editor(name, path, text, _hash(there), sentence, warn=True, status=409)
        self._drive.write(path, text.encode())
        return RedirectResponse("?saved", status_code=303)

    def _editor(
        self, name: str, path: Path, text: str | None, known: str, note: str, *, warn: bool = False, status: int = 200
    ) -> Response:
        values = {"name": name, "path": path, "text": text, "hash": known, "note": note, "warn": warn}
        return page("template_view.html", here="/templates", status=status, **values)

    def _missing(self, name: str) -> Response:
        note = "There is no such file in the folder."
        return page(
            "template_view.html", here="/templates", status=404, name=name, path="", text=None, hash="", note=note, warn=True
        )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
