"""What a tab of a spreadsheet lacks of a look, as requests of spreadsheets.batchUpdate. What is there is somebody's, and stays.

Protection is a warning (`warningOnly`): a hard one would keep out every account that it does not name, and of the accounts that write
this workbook no one knows the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from shared.model.cells import listed, runs
from shared.model.look import Chart, Column, Look, Tone

Json: TypeAlias = dict[str, Any]

KEY = "subscriber-pipeline.look"  # of the developer metadata that holds the version
FIELDS = (
    "sheets(properties(sheetId,title,gridProperties(rowCount,columnCount,frozenRowCount,frozenColumnCount)),"
    "developerMetadata(metadataId,metadataKey),protectedRanges(range),conditionalFormats(ranges),bandedRanges(range),"
    "charts(spec(title)),data(columnMetadata(pixelSize),"
    "rowData(values(note,dataValidation(condition(type)),userEnteredFormat(numberFormat(type),wrapStrategy)))))"
)
WIDTH = 100  # pixels of a column that nobody has set
_TONES: dict[Tone, str] = {"good": "#d9ead3", "busy": "#cfe2f3", "waiting": "#fff2cc", "bad": "#f4cccc"}
_HEADER, _PLAIN, _SHADED = "#e8eef3", "#ffffff", "#f7f9fb"
_CHART = (560, 300)  # pixels


def requests(
    tabs: Mapping[str, int],
    sheets: Sequence[Json],
    looks: Mapping[str, Look],
    version: str,
    said: Mapping[str, Sequence[str]] | None = None,
) -> list[Json]:
    """`tabs` are all of the workbook, `sheets` those of `looks` as spreadsheets.get gives them with FIELDS; [] when none is there. `said`:
    column A of those that may lack lines."""
    ids = dict(tabs)
    found = {sheet["properties"]["title"]: sheet for sheet in sheets}
    made: list[Json] = []
    for title, look in looks.items():
        if title not in found and look.lines:
            ids[title] = max(ids.values(), default=-1) + 1
            found[title] = {}
            rows = [{"values": [{"userEnteredValue": {"stringValue": line}}]} for line in look.lines]
            start = {"sheetId": ids[title], "rowIndex": 0, "columnIndex": 0}
            made.append({"addSheet": {"properties": {"sheetId": ids[title], "title": title}}})
            made.append({"updateCells": {"start": start, "rows": rows, "fields": "userEnteredValue"}})
    for title, look in looks.items():
        if title in found:
            made += _Dresser(ids[title], found[title], look).requests(ids, version)
    for title, column in (said or {}).items():  # last: until here rows are counted as they were
        for at, line in looks[title].added(column):
            made += _inserted(ids[title], at, line)
    return made


def _inserted(sheet: int, at: int, line: str) -> list[Json]:
    """A row with a line in column A. It looks like the row above it."""
    place = {"sheetId": sheet, "dimension": "ROWS", "startIndex": at, "endIndex": at + 1}
    cell = {"userEnteredValue": {"stringValue": line}}
    start = {"sheetId": sheet, "rowIndex": at, "columnIndex": 0}
    return [
        {"insertDimension": {"range": place, "inheritFromBefore": at > 0}},
        {"updateCells": {"start": start, "rows": [{"values": [cell]}], "fields": "userEnteredValue"}},
    ]


class _Dresser:
    """One tab as it is, and as it should look."""

    def __init__(self, id: int, sheet: Json, look: Look) -> None:
        self._id, self._sheet, self._look = id, sheet, look
        self._grid: Json = sheet.get("properties", {}).get("gridProperties", {})
        data: Json = next(iter(sheet.get("data", ())), {})
        self._cells: list[list[Json]] = [row.get("values", []) for row in data.get("rowData", ())]
        self._worn = next((mark for mark in sheet.get("developerMetadata", ()) if mark["metadataKey"] == KEY), None)
        self._widths = [column.get("pixelSize", WIDTH) for column in data.get("columnMetadata", ())]

    def requests(self, ids: Mapping[str, int], version: str) -> list[Json]:
        return [
            *self._properties(),
            *self._notes(),
            *(part for column in self._look.columns for part in self._column(column)),
            *self._protection(),
            *self._colours(),
            *self._banding(),
            *(_chart(self._id, chart, ids) for chart in self._look.charts if chart.source in ids and not self._has(chart)),
            self._mark(version),
        ]

    def _properties(self) -> Iterator[Json]:
        rows, columns = self._look.frozen
        grid = {"frozenRowCount": rows, "frozenColumnCount": columns}
        wanted: Json = {name: count for name, count in grid.items() if count and not self._grid.get(name)}
        properties: Json = {"gridProperties": wanted} if wanted else {}
        fields = [f"gridProperties.{name}" for name in wanted]
        if self._worn is None:  # afterwards people move and show it as they like
            properties |= ({"hidden": True} if self._look.hidden else {}) | ({"index": 0} if self._look.first else {})
            fields += [name for name in ("hidden", "index") if name in properties]
        if fields:
            yield {"updateSheetProperties": {"properties": {"sheetId": self._id, **properties}, "fields": ",".join(fields)}}

    def _notes(self) -> Iterator[Json]:
        noted = {
            column.at: column.note for column in self._look.columns if column.note and not self._cell(1, column.at).get("note")
        }
        for run in runs(noted):
            values = [{"note": noted[at]} for at in run]
            yield {"updateCells": {"range": self._range(run[0], run[-1], 1, 1), "rows": [{"values": values}], "fields": "note"}}

    def _column(self, column: Column) -> Iterator[Json]:
        set_by = self._widths[column.at - 1] if column.at <= len(self._widths) else WIDTH
        if column.width and set_by == WIDTH:
            place = {"sheetId": self._id, "dimension": "COLUMNS", "startIndex": column.at - 1, "endIndex": column.at}
            size = {"pixelSize": column.width}
            yield {"updateDimensionProperties": {"range": place, "properties": size, "fields": "pixelSize"}}
        if column.choices:
            condition = {"type": "ONE_OF_LIST", "values": [{"userEnteredValue": choice} for choice in column.choices]}
            rule = {
                "condition": condition,
                "inputMessage": f"Choose {listed(column.choices, 'or')}.",
                "strict": True,
                "showCustomUi": True,
            }
            for place in self._free(column.at, "dataValidation"):
                yield {"setDataValidation": {"range": place, "rule": rule}}
        if column.pattern:
            kind = "DATE_TIME" if "y" in column.pattern else "NUMBER"
            form = {"userEnteredFormat": {"numberFormat": {"type": kind, "pattern": column.pattern}}}
            for place in self._free(column.at, "userEnteredFormat", "numberFormat"):
                yield {"repeatCell": {"range": place, "cell": form, "fields": "userEnteredFormat.numberFormat"}}
        if column.wrap:
            wrapped = {"userEnteredFormat": {"wrapStrategy": "WRAP"}}
            for place in self._free(column.at, "userEnteredFormat", "wrapStrategy", top=1):
                yield {"repeatCell": {"range": place, "cell": wrapped, "fields": "userEnteredFormat.wrapStrategy"}}

    def _protection(self) -> Iterator[Json]:
        if not self._look.guard:
            return
        guarded = {column.at for column in self._look.columns if column.guarded}
        places = [self._range(run[0], run[-1]) for run in runs(guarded)] if guarded else [{"sheetId": self._id}]
        for place in places:
            if not any(_meet(place, there.get("range", {})) for there in self._sheet.get("protectedRanges", ())):
                shown = {"range": place, "description": self._look.guard, "warningOnly": True}
                yield {"addProtectedRange": {"protectedRange": shown}}

    def _colours(self) -> Iterator[Json]:
        rules = self._sheet.get("conditionalFormats", ())
        index = len(rules)  # the first that fits wins: people's own come before ours
        for column in self._look.columns:
            place = self._range(column.at, column.at, 2)
            if any(_meet(place, there) for rule in rules for there in rule.get("ranges", ())):
                continue
            for text, tone in column.colours:
                kind = "TEXT_CONTAINS" if text.startswith("…") else "TEXT_STARTS_WITH"
                condition = {"type": kind, "values": [{"userEnteredValue": text.removeprefix("…")}]}
                shown = {"condition": condition, "format": {"backgroundColorStyle": _style(_TONES[tone])}}
                yield {"addConditionalFormatRule": {"rule": {"ranges": [place], "booleanRule": shown}, "index": index}}
                index += 1

    def _banding(self) -> Iterator[Json]:
        if self._look.banded and self._look.columns and not self._sheet.get("bandedRanges"):
            names = ("headerColorStyle", "firstBandColorStyle", "secondBandColorStyle")
            colours = {name: _style(colour) for name, colour in zip(names, (_HEADER, _PLAIN, _SHADED), strict=True)}
            place = self._range(1, max(column.at for column in self._look.columns), 1)
            yield {"addBanding": {"bandedRange": {"range": place, "rowProperties": colours}}}

    def _mark(self, version: str) -> Json:
        if self._worn:
            chosen = [{"developerMetadataLookup": {"metadataId": self._worn["metadataId"]}}]
            wanted = {"metadataValue": version}
            return {"updateDeveloperMetadata": {"dataFilters": chosen, "developerMetadata": wanted, "fields": "metadataValue"}}
        mark = {"metadataKey": KEY, "metadataValue": version, "location": {"sheetId": self._id}, "visibility": "DOCUMENT"}
        return {"createDeveloperMetadata": {"developerMetadata": mark}}

    def _has(self, chart: Chart) -> bool:
        return any(there.get("spec", {}).get("title") == chart.title for there in self._sheet.get("charts", ()))

    def _cell(self, row: int, column: int) -> Json:
        cells = self._cells[row - 1] if row <= len(self._cells) else []
        return cells[column - 1] if column <= len(cells) else {}

    def _free(self, column: int, name: str, part: str = "", top: int = 2) -> Iterator[Json]:
        """The column from `top` on, without the cells that have `name`, or that `part` of it; what lies below the last of them is
        open-ended."""

        def has(cell: Json) -> bool:
            return bool(cell.get(name, {}).get(part) if part else cell.get(name))

        taken = [row for row in range(top, len(self._cells) + 1) if has(self._cell(row, column))]
        for above, below in zip([top - 1, *taken], [*taken, 0], strict=True):
            if (not below and above < self._grid.get("rowCount", above + 1)) or below > above + 1:
                yield self._range(column, column, above + 1, below - 1 if below else 0)

    def _range(self, left: int, right: int, top: int = 1, bottom: int = 0) -> Json:
        place: Json = {"sheetId": self._id, "startColumnIndex": left - 1, "endColumnIndex": right}
        if top > 1 or bottom:
            place["startRowIndex"] = top - 1
        return place | ({"endRowIndex": bottom} if bottom else {})


def _chart(sheet: int, chart: Chart, ids: Mapping[str, int]) -> Json:
    def data(column: int) -> Json:
        place = {"sheetId": ids[chart.source], "startColumnIndex": column - 1, "endColumnIndex": column}
        rows = {"startRowIndex": chart.top - 1} | ({"endRowIndex": chart.bottom} if chart.bottom else {})
        return {"sourceRange": {"sources": [place | rows]}}

    spec: Json
    if chart.kind == "PIE":
        spec = {"pieChart": {"legendPosition": "RIGHT_LEGEND", "domain": data(chart.labels), "series": data(chart.series[0])}}
    else:
        series = [{"series": data(column), "targetAxis": "LEFT_AXIS"} for column in chart.series]
        shown = {"chartType": chart.kind, "legendPosition": "BOTTOM_LEGEND", "headerCount": 1}
        spec = {"basicChart": {**shown, "domains": [{"domain": data(chart.labels)}], "series": series}}
    anchor = {"sheetId": sheet, "rowIndex": chart.row - 1, "columnIndex": chart.column - 1}
    place = {"anchorCell": anchor, "widthPixels": _CHART[0], "heightPixels": _CHART[1]}
    return {"addChart": {"chart": {"spec": {"title": chart.title, **spec}, "position": {"overlayPosition": place}}}}


def _meet(one: Json, other: Json) -> bool:
    """Whether two grid ranges of a sheet have a cell in common."""

    def apart(first: Json, second: Json, axis: str) -> bool:
        end = first.get(f"end{axis}Index")
        return end is not None and bool(end <= second.get(f"start{axis}Index", 0))

    return not any(apart(*pair, axis) for axis in ("Row", "Column") for pair in ((one, other), (other, one)))


def _style(colour: str) -> Json:
    parts = zip(("red", "green", "blue"), bytes.fromhex(colour[1:]), strict=True)
    return {"rgbColor": {name: round(part / 255, 4) for name, part in parts}}
