"""The formulas of our tabs compute what Sheets computes, follow their rows, and stay fast."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.google.a1 import Area, letters, number, parse
from local.google.formulas import Evaluator, FormulaError, move_rows
from local.google.formulas import parse as parse_formula
from local.google.rest import Refused
from local.google.store import SheetsStore
from local.google.values import Cell, typed


def evaluate(formula: str, results: list[list[Any]] = [], own: list[Any] = []) -> Any:  # noqa: B006 only read
    """The formula in D2 of a tab with the cells `own` in row 2, beside a tab Results."""
    grid = {"Results": results, "Own": [[], [*own, *[""] * (3 - len(own)), formula]]}

    def load(tab: str) -> Any:
        if tab not in grid:
            return None
        cells = {(row, col): typed(value) for row, line in enumerate(grid[tab], 1) for col, value in enumerate(line, 1)}
        return {place: cell for place, cell in cells.items() if cell}

    return Evaluator(load).shown("Own", 2, 4)


RESULTS: list[list[Any]] = [
    ["Id", "State", "Sent"],
    ["C-0001", "running", 12],
    ["c-0002", "", True],
    ["C-0001", "second", 0],
    [7, "seven", "x"],
]
LOOKUP = '=IFERROR(VLOOKUP($A2,Results!$A:$Z,{},FALSE),"")'
GUARDED = '=IF($A2="","",IFERROR(VLOOKUP($A2,Results!$A:$Z,{},FALSE),""))'


@pytest.mark.parametrize("formula", [LOOKUP, GUARDED])
@pytest.mark.parametrize(
    ("id", "column", "shown"),
    [
        ("C-0001", 2, "running"),  # the first of several
        ("C-0001", 3, 12),
        ("C-0002", 3, True),  # without case
        ("C-0002", 2, None),
        ("C-0003", 2, ""),
        ("", 2, ""),
        (7, 2, "seven"),
        ("C-0001", 27, ""),  # beyond the range: #REF!, hidden by IFERROR
    ],
)
def test_our_lookups(formula: str, id: str | int, column: int, shown: Any) -> None:
    assert evaluate(formula.format(column), RESULTS, [id]) == shown


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("=VLOOKUP($A2,Results!$A:$Z,2,FALSE)", "#N/A"),
        ("=VLOOKUP($A2,Results!$A$1:$B$2,3,FALSE)", "#REF!"),
        ('=VLOOKUP("7",Results!A:B,2,FALSE)', "#N/A"),  # text is not a number
        ('=vlookup("c-0001", Results!A2:C3, 3, false)', 12),
        ("=VLOOKUP(7,Results!A:B,2)", "#ERROR!"),  # the inexact form is not ours
        ("=Results!B2", "running"),
        ("=Missing!B2", "#REF!"),
        ("='Results'!C2", 12),
        ('=IF(Results!C2>=12,"yes","no")', "yes"),
        ('=IF(1=2,"yes")', False),
        ('=IF("A"="a","same","other")', "same"),
        ('=IF(Results!C2<>12,1,"no"&" "&"way")', "no way"),
        ('=IF(Z9=0,"blank is 0","")', "blank is 0"),
        ('="say ""hi"""', 'say "hi"'),
        ("=(((1)))", 1),
        ("=NOW()", "#NAME?"),
        ("=Total", "#NAME?"),
        ('=IFERROR(NOW(),"hidden")', "#NAME?"),
        ("=1+", "#ERROR!"),
        ("=IF(1", "#ERROR!"),
        ("=IF()", "#ERROR!"),
        ("=1 1", "#ERROR!"),
        ("=" + "(" * 5000, "#ERROR!"),
        ("=D2", "#REF!"),
        ("=IFERROR(D2,1)", "#REF!"),
    ],
)
def test_single_formulas(formula: str, shown: Any) -> None:
    assert evaluate(formula, RESULTS) == shown


def test_a_chain_of_references_is_followed_and_an_endless_one_ends() -> None:
    for length, shown in ((100, "end"), (5000, "#REF!")):
        cells = {(row, 1): Cell("f", f"=A{row + 1}") for row in range(1, length)} | {(length, 1): Cell("s", "end")}
        assert Evaluator({"Own": cells}.get).shown("Own", 1, 1) == shown


@given(st.text(alphabet="=ABIFVLOKUP(),$!:\"'&<> 0123456789", max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    with suppress(FormulaError):
        parse_formula("=" + text)


def test_references_move_and_strings_do_not() -> None:
    def down(tab: str | None, row: int, absolute: bool) -> int:
        return row if absolute else row + 3

    formula = "=IF($A2=\"A2\",Results!B$2,'My A2'!C2:D4&IFERROR(A:B,E2))"
    assert move_rows(formula, down) == "=IF($A5=\"A2\",Results!B$2,'My A2'!C5:D7&IFERROR(A:B,E5))"
    assert move_rows("=A2+broken(", down) == "=A5+broken("
    assert move_rows("=A2&B3", lambda tab, row, absolute: None if row == 2 else row) == "=#REF!&B3"


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("My Tab", Area("My Tab")),
        ("'My Tab'!A2:F", Area("My Tab", 2, 1, None, 6)),
        ("'It''s'!$B$3", Area("It's", 3, 2, 3, 2)),
        ("A1:B2", Area("My Tab", 1, 1, 2, 2)),
        ("'My Tab'!A:AA", Area("My Tab", 1, 1, None, 27)),
        ("'My Tab'!3:4", Area("My Tab", 3, 1, 4, None)),
    ],
)
def test_a1_notation(text: str, area: Area) -> None:
    assert parse(text, ["My Tab", "It's"]) == area


@pytest.mark.parametrize("text", ["", "!", "Nope!A1", "A", "1", "A0", "A1:", "'My Tab'!", "A1:B2:C3", "A1 B2"])
def test_what_is_not_a_range(text: str) -> None:
    with pytest.raises(ValueError, match="Unable to parse range"):
        parse(text, ["My Tab"])


@given(st.integers(1, 18278))
def test_column_letters(column: int) -> None:
    assert number(letters(column)) == column


# --- a whole workbook


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SheetsStore]:
    store = SheetsStore(tmp_path / "sheet.db")
    store.create_spreadsheet("b", "Book", "UTC", ("Campaigns", "Results"))
    yield store
    store.close()


def fill(store: SheetsStore, ids: list[str]) -> None:
    rows = [[id, f"name {id}", GUARDED.format(2).replace("$A2", f"$A{n}")] for n, id in enumerate(ids, 2)]
    store.write("b", [(store.area("b", "Campaigns!A1"), [["Id", "Name", "State"], *rows])], "USER_ENTERED")
    results = [[id, f"state {id}"] for id in reversed(ids)]
    store.write("b", [(store.area("b", "Results!A1"), [["Id", "State"], *results])], "RAW")


def rows(store: SheetsStore) -> list[list[Any]]:
    return store.read("b", Area("Campaigns", top=2))


def test_rows_keep_their_results_however_they_are_moved(store: SheetsStore) -> None:
    """Sorting, inserting and deleting at random: every filled row still shows the result of its own id."""
    chance = random.Random(7)
    ids = [f"C-{n:04}" for n in range(1, 31)]
    fill(store, ids)
    for _ in range(40):
        match chance.choice(["sort", "insert", "delete", "results"]):
            case "sort":
                store.sort("b", "Campaigns", chance.choice([1, 2, 3]), descending=chance.random() < 0.5)
            case "insert":
                store.insert_rows("b", "Campaigns", chance.randrange(2, 20), chance.choice([1, 2]))
            case "delete":
                at = chance.randrange(2, 30)
                gone = store.read("b", Area("Campaigns", at, 1, at, 1))
                store.delete_rows("b", "Campaigns", at)
                ids = [id for id in ids if [[id]] != gone]
            case "results":
                store.sort("b", "Results", 1, descending=chance.random() < 0.5)
        filled = [row for row in rows(store) if row]
        assert sorted(row[0] for row in filled) == ids
        assert all(row == [row[0], f"name {row[0]}", f"state {row[0]}"] for row in filled)


def test_sorting_puts_numbers_first_and_blanks_last(store: SheetsStore) -> None:
    cells = [["h"], ["b"], [""], ["10"], ["A"], ["9"], ["TRUE"]]
    store.write("b", [(Area("Results"), [[*cell, n] for n, cell in enumerate(cells)])], "USER_ENTERED")
    store.sort("b", "Results", 1)
    assert [row[0] for row in store.read("b", Area("Results"))] == ["h", "9", "10", "A", "b", "TRUE", ""]
    store.sort("b", "Results", 1, descending=True)
    assert [row[0] for row in store.read("b", Area("Results"))] == ["h", "TRUE", "b", "A", "10", "9", ""]


def test_a_deleted_row_leaves_a_broken_reference_and_headers_stay(store: SheetsStore) -> None:
    store.write("b", [(Area("Campaigns"), [["=Results!A3", "=Results!A5"]])], "USER_ENTERED")
    store.write("b", [(Area("Results", 5), [["five"]])], "RAW")
    store.delete_rows("b", "Results", 3)
    assert store.read("b", Area("Campaigns"), "FORMULA") == [["=#REF!", "=Results!A4"]]
    assert store.read("b", Area("Campaigns")) == [["#ERROR!", "five"]]
    with pytest.raises(Refused):
        store.delete_rows("b", "Results", 1, 5000)


def test_a_failed_change_changes_nothing(store: SheetsStore) -> None:
    fill(store, ["C-0001"])
    before = rows(store)
    with pytest.raises(Refused, match="exceeds grid limits"):
        store.write("b", [(Area("Campaigns", 2), [["changed"]]), (Area("Results", 1001), [["x"]])], "RAW")

    def half() -> None:
        with store.change():
            store.clear("b", [Area("Campaigns")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert rows(store) == before


def test_500_rows_of_lookups_are_not_quadratic(store: SheetsStore) -> None:
    ids = [f"C-{n:04}" for n in range(1, 501)]
    fill(store, ids)
    cells = [[GUARDED.format(2).replace("$A2", f"$A{n}") for _ in range(8)] for n in range(2, 502)]
    store.write("b", [(store.area("b", "Campaigns!C2"), cells)], "USER_ENTERED")
    started = time.perf_counter()
    found = rows(store)
    assert all(row[2:] == [f"state {row[0]}"] * 8 for row in found)
    assert time.perf_counter() - started < 5, "4,000 lookups over 500 rows scanned one by one take far longer"
