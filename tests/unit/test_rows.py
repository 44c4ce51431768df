"""Tables as people keep them: rows by id, columns by header."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from functions.launch.rows import read, start
from shared.errors import BadInput
from shared.model.console import ROW_FIELDS, ROW_OPTIONS, table


def test_columns_are_found_by_their_header() -> None:
    rows = [[" B ", "x", "A"], ["b1", "", " a1 "], [], ["b3"]]
    assert table(rows, "Tab", ["A", "B"]) == [{"A": "a1", "B": "b1"}, {"A": "", "B": ""}, {"A": "", "B": "b3"}]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ([], "“A” is missing"),
        (["B"], "“A” is missing"),
        (["a", "B"], "“A” is missing"),
        (["A", "B", "A"], "“A” stands there more"),
    ],
)
def test_a_header_that_is_missing_or_double_stops_the_tab(header: list[str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        table([header, ["1", "2"]], "Tab", ["A", "B"])
    with pytest.raises(BadInput):
        table([], "Tab", ["A"])


def test_a_column_that_is_optional_may_be_missing_and_not_double() -> None:
    rows = [["A", "B"], ["a1", "b1", "beyond"]]
    assert table(rows, "Tab", ["A"], ["B", "C"]) == [{"A": "a1", "B": "b1", "C": ""}]
    with pytest.raises(BadInput, match="“C” stands there more than once"):
        table([["A", "C", "C"]], "Tab", ["A"], ["B", "C"])


def lines(*rows: tuple[str, ...]) -> list[list[str]]:
    return [list(ROW_FIELDS), *map(list, rows)]


def test_rows_that_say_nothing_are_left_out() -> None:
    assert read(lines(("C-0001",), ("", "Name"), ("C-0002", " "), ("C 3", "Name"), ("welcome", "Name"))) == []


def test_a_row_has_defaults() -> None:
    [row] = read(lines(("C-0001", "", "letter")))
    assert (row.name, row.segment, row.wanted, row.schedule, row.problem) == ("C-0001", "everyone", "draft", "", "")
    assert row.fields == {
        "name": "C-0001",
        "template": "letter",
        "subject": "",
        "segment": "everyone",
        "schedule": "",
        "wanted": "draft",
        "rate": "",
        "hours": "",
        "priority": "",
        "public": "",
    }


def test_any_edit_changes_a_rows_hash_and_nothing_else_does() -> None:
    cells = ("C-0001", "Name", "letter", "Subject", "vip", "2027-01-01 10:00", "Go")
    [first] = read(lines(cells))
    for at in range(1, len(cells)):
        changed = (*cells[:at], cells[at] + "x", *cells[at + 1 :])
        assert read(lines(changed))[0].hash != first.hash
    assert read(lines(("C-0009", "x"), tuple(f" {cell} " for cell in cells)))[1].hash == first.hash


def test_options_are_read_where_there_are_columns_for_them() -> None:
    cells = ("C-0001", "Name", "letter", "Subject", "vip", "2027-01-01 10:00", "Go")
    [without] = read(lines(cells))
    [blank] = read([[*ROW_FIELDS, *ROW_OPTIONS], [*cells, "", "", ""]])
    assert without == blank
    said = [*zip(("id", "name", "template", "subject", "segment", "schedule"), cells, strict=False), ("wanted", "go")]
    assert without.hash == hashlib.sha256(repr(said).encode()).hexdigest()[:16], "a column that is new and blank changes no row"
    assert without.options("Mars") == {"rate": 0, "hours": {}, "priority": 0}
    [row] = read([["Priority", *ROW_FIELDS, "Hours", "Rate"], ["-7", *cells, "9-17 Sun", "2,000/h"]])
    assert row.options("UTC") == {
        "rate": 2000,
        "hours": {"from": 540, "to": 1020, "days": [6], "zone": "UTC"},
        "priority": -7,
    }
    for at in range(1, 4):
        filled = [*cells, *(f"{n}" if n == at else "" for n in range(1, 4))]
        assert read([[*ROW_FIELDS, *ROW_OPTIONS], filled])[0].hash != without.hash


def test_a_command_is_read_however_it_is_spaced() -> None:
    [row] = read(lines(("C-0001", "", "letter", "", "", "", "  Resend  TO\nnon-openers ")))
    assert row.wanted == "resend to non-openers"


@pytest.mark.parametrize("priority", ["high", "1.5", "5 ", "--1", "1001", "-1001", "99999", "٣"])
def test_a_priority_that_is_none_is_a_sentence(priority: str) -> None:
    [row] = read(lines(("C-0001", "x")))
    with pytest.raises(BadInput, match="must be a whole number"):
        replace(row, priority=priority).options("UTC")
    assert [replace(row, priority=text).options("UTC")["priority"] for text in ("", "+3", "1000", "-1000")] == [0, 3, 1000, -1000]


def test_a_double_id_is_a_problem_of_that_id_only() -> None:
    found = {row.id: row for row in read(lines(("C-0001", "a"), ("C-0001", "b"), ("C-0002", "c"), ("C-0002", "")))}
    assert found["C-0001"].problem.startswith("The id C-0001 stands in 2 rows.") and not found["C-0002"].problem


def test_a_segment_is_spelled_as_its_tag() -> None:
    [row] = read(lines(("C-0001", "", "letter", "", "CAFE\u0301")))
    assert row.segment == "café"


@pytest.mark.parametrize("zone", ["Europe", "America/Argentina", "Nowhere/Land", "", "../etc", "a\0b", "\ud800"])
def test_a_zone_that_is_none_is_a_sentence(zone: str) -> None:
    with pytest.raises(BadInput, match="time zone"):
        start("2027-01-15 09:30", zone, 0)
