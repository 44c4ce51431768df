"""Making the workbook: adds the tabs that are missing, with their headers, pre-numbered rows and lookup formulas. Never touches a tab
that is there, so what people made stays."""

from __future__ import annotations

from string import ascii_uppercase

from shared.model import console
from shared.model.cells import quote
from shared.ports import Rows, Sheet, Workbook

CAMPAIGN_ROWS = 200
IMPORT_ROWS = 1000
HEADERS: dict[str, tuple[str, ...]] = {
    console.CAMPAIGNS: console.ROW_FIELDS + console.ROW_RESULTS,
    console.IMPORT: console.IMPORT_FIELDS + console.IMPORT_ANSWERS,
    console.DASHBOARD: ("What", "Now"),
    console.SUBSCRIBERS: ("Subscriber", "Address", "Name", "Language", "Status", "Tags", "Since"),
    console.SUPPRESSIONS: ("Subscriber", "Reason", "Since", "Source"),
    console.ACTIVITY: ("When", "What"),
    console.RESULTS: console.RESULT_FIELDS,
    console.IMPORT_RESULTS: ("ID", "Answer", "Of"),
}


async def ensure(sheet: Sheet) -> Workbook:
    """The workbook, with every tab there. One read call when nothing is missing."""
    found = await sheet.workbook()
    missing = [tab for tab in HEADERS if tab not in found.tabs]
    if not missing:
        return found
    await sheet.add_tabs(missing)
    await sheet.write({f"{quote(tab)}!A1": [HEADERS[tab]] for tab in missing})
    formulas: dict[str, Rows] = {}
    numbers: dict[str, Rows] = {}
    if console.CAMPAIGNS in missing:
        numbers[f"{console.CAMPAIGNS}!A2"] = [[f"C-{n:04d}"] for n in range(1, CAMPAIGN_ROWS + 1)]
        first = ascii_uppercase[len(console.ROW_FIELDS)]
        wanted = [console.RESULT_FIELDS.index(name) + 1 for name in console.ROW_RESULTS]
        span = f"{console.RESULTS}!$A:${ascii_uppercase[len(console.RESULT_FIELDS) - 1]}"
        formulas[f"{console.CAMPAIGNS}!{first}2"] = [
            [lookup(row, span, at) for at in wanted] for row in range(2, CAMPAIGN_ROWS + 2)
        ]
    if console.IMPORT in missing:
        numbers[f"{console.IMPORT}!A2"] = [[f"I-{n:04d}"] for n in range(1, IMPORT_ROWS + 1)]
        first = ascii_uppercase[len(console.IMPORT_FIELDS)]
        span = f"{quote(console.IMPORT_RESULTS)}!$A:$B"
        formulas[f"{console.IMPORT}!{first}2"] = [[lookup(row, span, 2)] for row in range(2, IMPORT_ROWS + 2)]
    if numbers:
        await sheet.write(numbers)
        await sheet.write(formulas, formulas=True)
    return await sheet.workbook()


def lookup(row: int, span: str, column: int) -> str:
    """The formula that shows a result beside the row whose id is in column A."""
    return f'=IF($A{row}="","",IFERROR(VLOOKUP($A{row},{span},{column},FALSE),""))'
