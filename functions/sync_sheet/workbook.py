"""Making and mending the workbook, judged by what is there: an absent header is written, an empty id column is numbered, and absent
result columns are added with their lookups. A cell that holds anything is never written, so what people made stays.

The headers of the result columns go in with the lookups, in one call: where they are absent the lookups are, too. So a tick that is
cut off after any call is made good by the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase

from shared.errors import BadInput, Unavailable
from shared.logs import log
from shared.model import console
from shared.model.cells import quote, runs
from shared.ports import Rows, Sheet

from . import look

HEADERS: dict[str, tuple[str, ...]] = {
    console.CAMPAIGNS: console.ROW_FIELDS + console.ROW_OPTIONS + console.ROW_RESULTS,
    console.IMPORT: console.IMPORT_FIELDS + console.IMPORT_ANSWERS,
    console.DASHBOARD: ("What", "Now", "By people", "By all, robots included"),
    console.SUBSCRIBERS: ("Subscriber", "Address", "Name", "Language", "Country", "Status", "Tags", "Since"),
    console.SUPPRESSIONS: ("Subscriber", "Reason", "Since", "Source", "In their words"),
    console.ACTIVITY: ("When", "What"),
    console.RESULTS: console.RESULT_FIELDS,
    console.IMPORT_RESULTS: ("ID", "Answer", "Of"),
    console.IMPORTS: console.IMPORTS_FIELDS,
    console.PROVIDERS: console.PROVIDER_FIELDS,
    console.REPORTS: console.REPORT_FIELDS,
    console.SEGMENTS: console.SEGMENT_FIELDS + console.SEGMENT_ANSWERS,
    console.SEGMENT_RESULTS: ("Name", *console.SEGMENT_ANSWERS),
    console.PREFLIGHT: console.PREFLIGHT_FIELDS,
    console.TEMPLATES: console.TEMPLATE_FIELDS,
    console.SETTINGS: console.SETTING_FIELDS + console.SETTING_ANSWERS,
    console.TOPICS: console.TOPIC_FIELDS + console.TOPIC_ANSWERS,
    console.SETTING_RESULTS: (console.SETTING_FIELDS[0], *console.SETTING_ANSWERS),
    console.TOPIC_RESULTS: (console.TOPIC_FIELDS[0], *console.TOPIC_ANSWERS),
}
VIEWS = (console.SUBSCRIBERS, console.SUPPRESSIONS, console.ACTIVITY, console.REPORTS)  # only the header is read


@dataclass(frozen=True, slots=True)
class Form:
    """A tab that people fill in, and the tabs in which the columns on its right are looked up, each in the first that has it. A workbook
    may be without the `options`."""

    fields: tuple[str, ...]
    options: tuple[str, ...]
    results: tuple[str, ...]
    sources: tuple[str, ...]
    prefix: str  # of the ids; "" where people name the rows
    rows: int

    @property
    def typed(self) -> tuple[str, ...]:
        """The columns that people own, in a workbook that is made now."""
        return self.fields + self.options


FORMS = {
    console.CAMPAIGNS: Form(
        console.ROW_FIELDS, console.ROW_OPTIONS, console.ROW_RESULTS, (console.RESULTS, console.PREFLIGHT), "C", 200
    ),
    console.IMPORT: Form(console.IMPORT_FIELDS, (), console.IMPORT_ANSWERS, (console.IMPORT_RESULTS,), "I", 1000),
    console.SEGMENTS: Form(console.SEGMENT_FIELDS, (), console.SEGMENT_ANSWERS, (console.SEGMENT_RESULTS,), "", 100),
    console.SETTINGS: Form(console.SETTING_FIELDS, (), console.SETTING_ANSWERS, (console.SETTING_RESULTS,), "", 40),
    console.TOPICS: Form(console.TOPIC_FIELDS, (), console.TOPIC_ANSWERS, (console.TOPIC_RESULTS,), "", 50),
}


@dataclass(frozen=True, slots=True)
class Book:
    """The workbook as read: its zone, the rows of each tab (of VIEWS only the first), whether anything had to be written, and the ids of
    those tabs that were there before."""

    zone: str
    rows: dict[str, list[list[str]]]
    mended: bool
    tabs: Mapping[str, int] = field(default_factory=dict)


async def ensure(sheet: Sheet) -> Book:
    """Read the workbook, and write what it lacks. Two read calls and none to write when nothing does.

    A look that cannot be put on stops nothing: the next tick tries again.
    """
    found = await sheet.workbook()
    missing = [tab for tab in HEADERS if tab not in found.tabs]
    if missing:
        await sheet.add_tabs(missing, {tab: len(header) for tab, header in HEADERS.items()})
    rows = await _read(sheet)
    plain, formulas = _lacking(rows)
    if plain:
        await sheet.write(plain)
    if formulas:
        await sheet.write(formulas, formulas=True)
    mended = bool(plain or formulas)
    if mended:
        rows = await _read(sheet)
    if looks := look.due(found, rows):
        try:
            await sheet.dress(looks, look.VERSION)
        except (BadInput, Unavailable) as error:
            log("ERROR", f"the workbook was not given its look: {error}")
    return Book(found.zone, rows, mended, found.tabs)


async def _read(sheet: Sheet) -> dict[str, list[list[str]]]:
    found = await sheet.read([f"{quote(tab)}!A1:Z{1 if tab in VIEWS else ''}" for tab in HEADERS])
    return dict(zip(HEADERS, found, strict=True))


def _lacking(tabs: Mapping[str, Sequence[Sequence[str]]]) -> tuple[dict[str, Rows], dict[str, Rows]]:
    """What to write: headers and ids, then lookups."""
    plain: dict[str, Rows] = {}
    formulas: dict[str, Rows] = {}
    for tab, rows in tabs.items():
        form = FORMS.get(tab)
        top = [cell.strip() for cell in rows[0]] if rows else []
        header = list(form.typed if form else HEADERS[tab])
        if not any(top) and not any(header[0] in row for row in rows):  # a header further down was moved by a person
            plain[f"{quote(tab)}!A1"] = [header]
            top = header
        if form and top[:1] == header[:1]:
            if form.prefix and not any(row[0].strip() for row in rows[1:] if row):
                plain[f"{quote(tab)}!A2"] = [[f"{form.prefix}-{n:04d}"] for n in range(1, form.rows + 1)]
            formulas |= _lookups(tab, form, top, rows)
    return plain, formulas


def _lookups(tab: str, form: Form, top: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Rows]:
    """The result columns with their headers, when these are absent, for `form.rows` rows and as far down as there are ids; rows in which
    somebody typed there are left out."""
    left, width = len(form.typed), len(form.results)
    if tuple(top[:left]) != form.typed or any(top[left : left + width]) or set(form.results) & set(top):
        return {}
    places = [place(form, name) for name in form.results]
    first = f"{quote(tab)}!{ascii_uppercase[left]}"
    last = max((n for n, row in enumerate(rows, 1) if row and row[0].strip()), default=0)
    free = [
        n for n in range(2, max(form.rows + 1, last) + 1) if not any(rows[n - 1][left : left + width] if n <= len(rows) else ())
    ]
    found: dict[str, Rows] = {}
    for numbers in runs(free):
        found[f"{first}{numbers[0]}"] = [[lookup(n, *where) for where in places] for n in numbers]
    return {**found, f"{first}1": [form.results]}


def place(form: Form, name: str) -> tuple[str, int]:
    """The tab in which a result is looked up, as a range, and the result's column there."""
    tab = next(tab for tab in form.sources if name in HEADERS[tab])
    return f"{quote(tab)}!$A:${ascii_uppercase[len(HEADERS[tab]) - 1]}", HEADERS[tab].index(name) + 1


def lookup(row: int, span: str, column: int) -> str:
    """The formula that shows a result beside the row whose id is in column A. A number there is looked up as the text that we write."""
    return f'=IF($A{row}="","",IFERROR(VLOOKUP($A{row}&"",{span},{column},FALSE),""))'
