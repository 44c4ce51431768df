"""Addresses in what people typed: found in any usual notation, told from others', and in time that grows with the cell alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.sync_sheet.spotted import concealed, replaced, signs, spots

ADA = "ada@x.example"


def ada(address: str) -> bool:
    return address.lower() == ADA


def without(cell: str) -> str:
    return replaced(cell, [spot for spot in spots(cell, ada) if spot.found], "gone")


@pytest.mark.parametrize(
    ("cell", "left"),
    [
        ("ada@x.example", "gone"),
        (" ADA@X.example (old)", " gone (old)"),
        ("Ada <ada@x.example>", "gone"),
        ("mailto:ada@x.example", "mailto:gone"),
        ("<mailto:ada@x.example>", "<mailto:gone>"),
        ("ada@x.example; bob@y.example", "gone; bob@y.example"),
        ("Bob <bob@y.example>, Ada L. <ada@x.example>", "Bob <bob@y.example>, gone"),
        ("ada@x.example/bob@y.example", "gone/bob@y.example"),
        ("bob@y.example\nada@x.example\n", "bob@y.example\ngone\n"),
        ("Write to 'ada@x.example'.", "Write to 'gone'."),
        ("Ada (ada@x.example), Lisbon", "Ada (gone), Lisbon"),
        ("ada@x.example-old", "gone-old"),
        ("ada @ x.example", "gone"),
        ("ada (at) x.example", "gone"),
        ("ada＠x.example", "gone"),
        ("ａｄａ＠ｘ．ｅｘａｍｐｌｅ", "gone"),
        ("ada@x.example、bob@y.example", "gone、bob@y.example"),
        ("ada@x.example和bob", "gone和bob"),
        ("https://crm.example/?e=ada%40x.example&n=1", "https://crm.example/?e=gone&n=1"),
        ("https://crm.example/?e=ada@x.example#top", "https://crm.example/?e=gone#top"),
        ("ada@x.example ada@x.example", "gone gone"),
    ],
)
def test_an_address_is_found_however_it_is_written(cell: str, left: str) -> None:
    assert without(cell) == left


@pytest.mark.parametrize(
    "cell",
    [
        "bob+ada@x.example",
        "ada+news@x.example",
        "ada@x.example.org",
        "ada@x.example-shop.com",
        "dada@x.example",
        "a.ada@x.example",
        "ada@mail.x.example",
        "Ada, x.example",
        "@x.example",
        "ada@",
        "",
    ],
)
def test_somebody_elses_stays(cell: str) -> None:
    assert without(cell) == cell


def test_a_text_for_others_shows_addresses_partly_but_for_ones_own() -> None:
    text = "told by Bob <bob@y.example>, ada@x.example"
    assert concealed(text) == "told by Bob <b***@y.example>, a***@x.example"
    assert concealed(text, ada) == "told by Bob <b***@y.example>, ada@x.example"
    assert concealed(concealed(text)) == concealed(text)
    assert (signs("a@b ＠ c (at) d%40e"), signs("atlas")) == (4, 0)


@given(st.text(alphabet="ab@.;<> %40＠()at-_=é\n", max_size=60))
def test_what_is_no_address_stays_as_it_was(text: str) -> None:
    found = list(spots(text, lambda address: True))
    assert all(text[one.start : one.end] for one in found)
    assert [one.start for one in found] == sorted(one.start for one in found)
    assert all(first.end <= second.start for first, second in pairwise(found)), "they do not overlap"
    assert replaced(text, [], "gone") == text
    assert not [
        one for one in spots(replaced(text, found, "gone"), lambda address: True) if one.address in {f.address for f in found}
    ]


def work(task: Callable[[], object]) -> int:
    """Events that the interpreter counts while a task runs: calls and lines, which a slow machine makes as many of."""
    count = 0

    def tracer(*_: Any) -> Any:
        nonlocal count
        count += 1
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        task()
    finally:
        sys.settrace(before)
    return count


HUGE = {
    "local": "a",
    "signs": "@",
    "pairs": "a@",
    "spaces": " ",
    "addresses": "a@b.c;",
    "breaks": "=" * 63 + "@" + "-" * 255,
    "scripts": "é@é.é",
    "brackets": "( at ",
    "names": "<",
}


@pytest.mark.parametrize("name", HUGE)
def test_a_cell_as_large_as_they_get_takes_no_more_than_its_length(name: str) -> None:
    """50,000 characters. What a regular expression does inside is not counted: there a quadratic one would take minutes."""
    part = HUGE[name]
    half, whole = (part * (size // len(part)) + "a@b.c>" for size in (25_000, 50_000))
    small, large = (work(lambda cell=cell: concealed(cell)) for cell in (half, whole))  # type: ignore[misc]
    assert large <= 2.5 * small + 1000
