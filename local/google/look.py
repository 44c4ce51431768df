"""How tabs look, as the Sheets API sets and shows it: notes, dropdowns, formats, widths, protection, colours, banding, charts, metadata.

A tab's look is one JSON object in the store. Its ranges are Google's: rows and columns count from 0, ends are exclusive, none is open.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from secrets import randbelow
from typing import Any

from googleapiclient.discovery_cache import get_static_doc

from local.google.a1 import Area
from local.google.ranges import Json, meet
from local.google.rest import Refused
from local.google.store import SheetsStore, Tab
from local.google.values import PATTERNS

WIDTH = 100  # pixels of a column that nobody has set
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
_FORMATS = {"numberFormat": ("formats", "format"), "wrapStrategy": ("wraps", "wrap")}  # of a cell, and what is kept of each
_PARTS = (("rules", "rule", "dataValidation", ""), *((*kept, "userEnteredFormat", name) for name, kept in _FORMATS.items()))
_CONDITIONS = ("TEXT_EQ", "TEXT_CONTAINS", "TEXT_STARTS_WITH")  # of the colour rules that the twin evaluates


@cache
def _schemas() -> Json:
    found: Json = json.loads(get_static_doc("sheets", "v4"))["schemas"]
    return found


def known(given: Any, schema: Json, where: str) -> None:
    """Refuse, as Google does, a name or a word that its discovery document does not have."""
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"]]
    kind = schema["type"]
    if kind in _TYPES and not isinstance(given, _TYPES[kind]):
        raise Refused(400, f"Invalid value at '{where}' ({kind}), {json.dumps(given)[:60]}")
    if kind == "array":
        for number, one in enumerate(given):
            known(one, schema["items"], f"{where}[{number}]")
    elif kind == "object" and "properties" in schema:
        for name, value in given.items():
            if name not in schema["properties"]:
                raise Refused(400, f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field.")
            known(value, schema["properties"][name], f"{where}.{name}")
    elif given not in schema.get("enum", (given,)):
        raise Refused(400, f"Invalid value at '{where}', \"{given}\"")


def request(given: Any, where: str) -> None:
    """Refuse a request of a batchUpdate that is none."""
    known(given, {"$ref": "Request"}, where)


class Looks:
    """The requests that set looks, by kind, and what spreadsheets.get shows of them."""

    def __init__(self, store: SheetsStore) -> None:
        self._store = store
        self.kinds: dict[str, Callable[[str, Json], Json]] = {
            "updateCells": self._cells,
            "setDataValidation": self._validation,
            "repeatCell": self._format,
            "updateDimensionProperties": self._width,
            "addProtectedRange": self._protect,
            "updateProtectedRange": self._protect_anew,
            "deleteProtectedRange": self._unprotect,
            "addConditionalFormatRule": self._colour,
            "addBanding": self._band,
            "addChart": self._chart,
            "createDeveloperMetadata": self._mark,
            "updateDeveloperMetadata": self._marked,
        }

    def tab(self, book: str, sheet: int) -> Tab:
        for tab in self._store.tabs(book):
            if tab.id == sheet:
                return tab
        raise Refused(400, f"No grid with id: {sheet}")

    # --- what is set

    def _cells(self, book: str, given: Json) -> Json:
        start = given.get("start") or given["range"]
        tab, look = self._open(book, start)
        top, left = (
            start.get("rowIndex", start.get("startRowIndex", 0)),
            start.get("columnIndex", start.get("startColumnIndex", 0)),
        )
        cells = [row.get("values", []) for row in given.get("rows", ())]
        if given["fields"] == "note":
            notes = look.setdefault("notes", {})
            for row, values in enumerate(cells, top + 1):
                for column, cell in enumerate(values, left + 1):
                    notes.pop(f"{row},{column}", None)
                    notes |= {f"{row},{column}": cell["note"]} if cell.get("note") else {}
            self._store.set_look(book, tab.id, look)
        elif given["fields"] == "userEnteredValue":
            texts = [[cell.get("userEnteredValue", {}).get("stringValue", "") for cell in values] for values in cells]
            self._store.write(book, [(Area(tab.title, top + 1, left + 1), texts)], "RAW")
        else:
            raise Refused(400, "Invalid field: 'fields'; the twin knows note and userEnteredValue.")
        return {}

    def _validation(self, book: str, given: Json) -> Json:
        tab, look = self._open(book, given["range"])
        rule = given.get("rule")
        if rule:
            kind, values = rule["condition"]["type"], rule["condition"].get("values", ())
            if kind not in ("ONE_OF_LIST", "BOOLEAN"):
                raise Refused(400, f"The twin knows ONE_OF_LIST and BOOLEAN, not {kind}.")
            if kind == "ONE_OF_LIST" and not values:
                raise Refused(400, "ONE_OF_LIST must have at least one ConditionValue.")
        look.setdefault("rules", []).append({"range": given["range"], "rule": rule})
        self._store.set_look(book, tab.id, look)
        return {}

    def _format(self, book: str, given: Json) -> Json:
        tab, look = self._open(book, given["range"])
        name = given["fields"].removeprefix("userEnteredFormat.")
        if name not in _FORMATS:
            raise Refused(400, f"Invalid field: 'fields'; of userEnteredFormat the twin knows {' and '.join(_FORMATS)}.")
        form = given["cell"].get("userEnteredFormat", {}).get(name)
        if name == "numberFormat" and form and form.get("pattern") not in PATTERNS:
            raise Refused(400, f"The twin knows the patterns {', '.join(PATTERNS)}.")
        part, kept = _FORMATS[name]
        look.setdefault(part, []).append({"range": given["range"], kept: form})
        self._store.set_look(book, tab.id, look)
        return {}

    def _width(self, book: str, given: Json) -> Json:
        place = given["range"]
        tab, look = self._open(book, place)
        if place["dimension"] != "COLUMNS" or given["fields"] != "pixelSize":
            raise Refused(400, "The twin knows the pixelSize of COLUMNS.")
        if place["endIndex"] > tab.columns:
            raise Refused(400, f"Cannot set properties of columns beyond {tab.columns}.")
        widths = {str(at + 1): given["properties"]["pixelSize"] for at in range(place["startIndex"], place["endIndex"])}
        self._store.set_look(book, tab.id, look | {"widths": look.get("widths", {}) | widths})
        return {}

    def _protect(self, book: str, given: Json) -> Json:
        wanted = given["protectedRange"]
        if wanted.get("warningOnly") and "editors" in wanted:
            raise Refused(400, "Editors are not supported with warningOnly protection.")
        return self._add(book, wanted["range"], "protected", "protectedRange", wanted, "protectedRangeId")

    def protection(self, book: str, id: int) -> tuple[Tab, Json]:
        """A protected range and its tab; raises Refused."""
        for tab in self._store.tabs(book):
            for one in self._store.look(book, tab.id).get("protected", ()):
                if one["protectedRangeId"] == id:
                    return tab, one
        raise Refused(400, f"No protected range with ID: {id}")

    def _protect_anew(self, book: str, given: Json) -> Json:
        wanted, fields = given["protectedRange"], str(given["fields"]).split(",")
        tab, known = self.protection(book, wanted["protectedRangeId"])
        changed = {name: wanted.get(name) for name in fields}
        merged = {name: value for name, value in {**known, **changed}.items() if value not in (None, False)}
        if merged.get("warningOnly"):
            merged.pop("editors", None)
        self._replace(book, tab, known, merged)
        return {}

    def _unprotect(self, book: str, given: Json) -> Json:
        self._replace(book, *self.protection(book, given["protectedRangeId"]), None)
        return {}

    def _replace(self, book: str, tab: Tab, known: Json, new: Json | None) -> None:
        look = self._store.look(book, tab.id)
        others = [one for one in look["protected"] if one["protectedRangeId"] != known["protectedRangeId"]]
        if new is not None:
            self._open(book, new["range"])
        self._store.set_look(book, tab.id, look | {"protected": [*others, *([new] if new else [])]})

    def _colour(self, book: str, given: Json) -> Json:
        rule, at = given["rule"], given.get("index", 0)
        tab, look = self._open(book, rule["ranges"][0])
        rules = look.setdefault("conditional", [])
        if at > len(rules):
            raise Refused(400, f"No conditional format on sheet: {tab.id} at index: {at}")
        if rule["booleanRule"]["condition"]["type"] not in _CONDITIONS:
            raise Refused(400, f"The twin knows {', '.join(_CONDITIONS)}.")
        rules.insert(at, rule)
        self._store.set_look(book, tab.id, look)
        return {}

    def _band(self, book: str, given: Json) -> Json:
        wanted = given["bandedRange"]
        _, look = self._open(book, wanted["range"])
        if any(meet(wanted["range"], there["range"]) for there in look.get("bands", ())):
            already = "You cannot add alternating background colors to a range that already has alternating background colors."
            raise Refused(400, already)
        return self._add(book, wanted["range"], "bands", "bandedRange", wanted, "bandedRangeId")

    def _chart(self, book: str, given: Json) -> Json:
        wanted = given.get("chart", {})
        if not {"basicChart", "pieChart"} & set(wanted.get("spec", {})):
            raise Refused(400, "No chart specified, or one that the twin does not know.")
        for place in sources(wanted["spec"]):
            self.tab(book, place["sheetId"])
            if place["endColumnIndex"] - place["startColumnIndex"] != 1:
                raise Refused(400, "Chart source ranges must have either a height or a width of 1.")
        anchor = wanted["position"]["overlayPosition"]["anchorCell"]
        return self._add(book, {"sheetId": anchor["sheetId"]}, "charts", "chart", wanted, "chartId")

    def _mark(self, book: str, given: Json) -> Json:
        wanted = given["developerMetadata"]
        if not wanted.get("metadataKey") or wanted.get("visibility") not in ("DOCUMENT", "PROJECT"):
            raise Refused(400, "Developer metadata must have a key and a visibility.")
        wanted = {**wanted, "location": {"locationType": "SHEET", **wanted["location"]}}
        return self._add(book, wanted["location"], "metadata", "developerMetadata", wanted, "metadataId")

    def _marked(self, book: str, given: Json) -> Json:
        wanted = {one["developerMetadataLookup"]["metadataId"] for one in given["dataFilters"]}
        if given["fields"] != "metadataValue":
            raise Refused(400, "Invalid field: 'fields'; the twin knows metadataValue.")
        for tab in self._store.tabs(book):
            look = self._store.look(book, tab.id)
            marks = [mark for mark in look.get("metadata", ()) if mark["metadataId"] in wanted]
            for mark in marks:
                mark["metadataValue"] = given["developerMetadata"]["metadataValue"]
            if marks:
                self._store.set_look(book, tab.id, look)
        return {"updateDeveloperMetadata": {}}

    def update(self, book: str, tab: Tab, properties: Json, fields: str) -> bool:
        """What updateSheetProperties sets beside the store's own columns; whether it was anything."""
        look, known = self._store.look(book, tab.id), False
        if "frozenColumnCount" in fields:
            count = properties.get("gridProperties", {}).get("frozenColumnCount", 0)
            if count >= tab.columns:
                raise Refused(400, "You can't freeze all visible columns on the sheet.")
            look, known = look | {"frozen_columns": count}, True
        if "hidden" in fields:
            shown = [one.id for one in self._store.tabs(book) if not self._store.look(book, one.id).get("hidden")]
            if properties.get("hidden") and shown == [tab.id]:
                raise Refused(400, "You can't hide all the sheets in a document.")
            look, known = look | {"hidden": properties.get("hidden", False)}, True
        if known:
            self._store.set_look(book, tab.id, look)
        if "index" in fields.split(","):
            self._store.place_tab(book, tab.id, properties.get("index", 0))
            known = True
        return known

    def _add(self, book: str, place: Json, part: str, name: str, wanted: Json, id: str) -> Json:
        tab, look = self._open(book, place)
        made = {id: randbelow(1 << 31), **wanted}
        look.setdefault(part, []).append(made)
        self._store.set_look(book, tab.id, look)
        reply = {
            "protected": "addProtectedRange",
            "bands": "addBanding",
            "charts": "addChart",
            "metadata": "createDeveloperMetadata",
        }
        return {reply[part]: {name: made}}

    def _open(self, book: str, place: Json) -> tuple[Tab, Json]:
        """A range's tab and its look; raises Refused for a range that is none."""
        tab = self.tab(book, place.get("sheetId", 0))
        for axis, size in (("Row", tab.rows), ("Column", tab.columns)):
            start, end = place.get(f"start{axis}Index", 0), place.get(f"end{axis}Index", size)
            if not 0 <= start < end or end > size:
                raise Refused(400, f"GridRange {axis.lower()}s {start} to {end} exceed grid limits: {size} {axis.lower()}s.")
        return tab, self._store.look(book, tab.id)

    # --- what is shown

    def shown(self, book: str, tab: Tab, areas: Sequence[Area] | None, values: bool, who: str) -> Json:
        """What a sheet of spreadsheets.get has for somebody, besides its properties; with `areas`, their `data`, maybe with `values`."""
        look = self._store.look(book, tab.id)
        names = {"protected": "protectedRanges", "conditional": "conditionalFormats", "bands": "bandedRanges", "charts": "charts"}
        found: Json = {
            theirs: look[ours] for ours, theirs in {**names, "metadata": "developerMetadata"}.items() if look.get(ours)
        }
        if "protectedRanges" in found:
            found["protectedRanges"] = [_seen(one, who) for one in found["protectedRanges"]]
        if areas is not None:
            found["data"] = [self._data(book, tab, look, area, values) for area in areas]
        return found

    def _data(self, book: str, tab: Tab, look: Json, area: Area, values: bool) -> Json:
        bottom, right = min(area.bottom or tab.rows, tab.rows), min(area.right or tab.columns, tab.columns)
        cells: dict[tuple[int, int], Json] = defaultdict(dict)
        for part, name, put, inner in _PARTS:
            for entry in look.get(part, ()):
                place = entry["range"]
                for row in range(
                    max(place.get("startRowIndex", 0) + 1, area.top), min(place.get("endRowIndex", bottom), bottom) + 1
                ):
                    for column in range(place.get("startColumnIndex", 0) + 1, place.get("endColumnIndex", right) + 1):
                        cell = cells[row, column]
                        cell[put] = {**cell.get(put, {}), inner: entry[name]} if inner else entry[name]
        for at, note in look.get("notes", {}).items():
            row, column = at.split(",")
            cells[int(row), int(column)]["note"] = note
        if values:
            self._values(book, replace(area, bottom=bottom, right=right), cells)
        rows: list[list[Json]] = []
        for row, column in sorted(at for at, cell in cells.items() if cell and area.holds(*at)):
            rows += [[] for _ in range(row - area.top + 1 - len(rows))]
            rows[-1] += [{} for _ in range(column - area.left - len(rows[-1]))]
            rows[-1].append({name: value for name, value in cells[row, column].items() if value})
        widths = look.get("widths", {})
        columns = [{"pixelSize": widths.get(str(column), WIDTH)} for column in range(area.left, right + 1)]
        start = {name: at - 1 for name, at in (("startRow", area.top), ("startColumn", area.left)) if at > 1}
        return {**start, "rowData": [{"values": row} if row else {} for row in rows], "columnMetadata": columns}

    def _values(self, book: str, area: Area, cells: dict[tuple[int, int], Json]) -> None:
        for name, render in (("userEnteredValue", "FORMULA"), ("formattedValue", "FORMATTED_VALUE")):
            for row, line in enumerate(self._store.read(book, area, render), area.top):  # type: ignore[arg-type]
                for column, value in enumerate(line, area.left):
                    kind = "boolValue" if isinstance(value, bool) else "stringValue" if isinstance(value, str) else "numberValue"
                    kind = "formulaValue" if str(value).startswith("=") else kind
                    if value != "":
                        cells[row, column][name] = {kind: value} if render == "FORMULA" else value


def _seen(protection: Json, who: str) -> Json:
    """A protected range as somebody sees it: who its editors are is shown only to them."""
    mine = bool(protection.get("warningOnly")) or who in protection.get("editors", {}).get("users", ())
    kept = {name: value for name, value in protection.items() if mine or name != "editors"}
    return kept | ({"requestingUserCanEdit": True} if mine else {})


def sources(spec: Json) -> Iterator[Json]:
    """The ranges of a chart: of its labels, then of each series."""
    if pie := spec.get("pieChart"):
        parts = [pie["domain"], pie["series"]]
    else:
        basic = spec["basicChart"]
        parts = [basic["domains"][0]["domain"], *(one["series"] for one in basic["series"])]
    for part in parts:
        yield part["sourceRange"]["sources"][0]
