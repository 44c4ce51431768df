"""Addresses in what people typed: found in any usual notation, told from others', and in time that grows with the cell alone."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.sync_sheet import imports
from functions.sync_sheet.spotted import concealed, replaced, signs, spots
from shared.model import console

ADA = "ada@x.example"
LONG = "Agreed in person at the Berlin fair on 3 May 2024"


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
        ("https://crm.example/ada@x.example?x=1", "https://crm.example/gone?x=1"),
        ("https://crm.example/?next=%2Fx%3Fe%3Dada%40x.example", "https://crm.example/?next=%2Fx%3Fe%3Dgone"),
        ("Ada|ada@x.example|Lisbon", "Ada|gone|Lisbon"),
        ("erased/ada@x.example", "erased/gone"),
        ("\ufeffada\u200b@\u200bx.example", "gone"),
        ("a\u200cd\xada@x.exam\u2060ple\u200b old", "gone\u200b old"),
        ("Ada van der L. <ada@x.example>; Bob", "gone; Bob"),
        (f"{LONG} recommended by Ada <ada@x.example>", f"{LONG} recommended by Ada gone"),
        ("Recommended by Ada <ada@x.example>", "Recommended by Ada gone"),
        ("bob@y.example and Ada <ada@x.example>", "bob@y.example and Ada gone"),
        ("bob@y.example Ada <ada@x.example>", "bob@y.example Ada gone"),
        ("Bob <bob@y.example> Ada <ada@x.example>", "Bob <bob@y.example> Ada gone"),
        ("3 May, Room 4 <ada@x.example>", "3 May, Room 4 gone"),
        ("Wien Graz Linz Bonn Ada <ada@x.example>", "Wien Graz Linz Bonn Ada gone"),
        (f"{'W' * 120} Ada <ada@x.example>", f"{'W' * 120} Ada gone"),
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


OTHERS = "_maria -maria x/maria bob!maria srs0=ab=maria josé.maria jose\u0301.maria +maria a=maria"


@pytest.mark.parametrize(
    "form", ["{}", " {} ", "see {} now", "<{}>", "'{}'", "{} (old)", "{}-old", "mailto:{}", "{}; {}", "\u200b{}"]
)
@pytest.mark.parametrize("local", OTHERS.split())
def test_the_end_of_anothers_address_is_nobodys(local: str, form: str) -> None:
    cell = form.replace("{}", f"{local}@hotmail.com")
    assert not [spot for spot in spots(cell, lambda address: address == "maria@hotmail.com") if spot.found]
    assert [spot.address for spot in spots(cell, lambda address: False)][:1], "it is an address, of somebody else"


def test_the_plus_of_a_link_may_be_encoded() -> None:
    for link in ("https://s/?e=ada%2Bshop%40x.example", "https://s/?e=ada%2bshop@x.example", "ada%2Bshop%40x.example"):
        found = [spot.address for spot in spots(f"{link} (old)", lambda address: True)]
        assert found == ["ada+shop@x.example"]
        assert not [spot for spot in spots(link, lambda address: address == "shop@x.example") if spot.found]


@pytest.mark.parametrize("address", ["a@b.vermögensberatung", "a@b.vermo\u0308gensberatung", "a@نامه\u200cای.example"])
def test_a_domain_of_another_script_is_whole(address: str) -> None:
    meant = unicodedata.normalize("NFKC", address)
    assert [spot.found for spot in spots(f"at {address} now", lambda found: found == meant)] == [True]


WORDS = [
    ADA,
    "bob@y.example",
    "Ada <ada@x.example>",
    "Bob <bob@y.example>",
    "ada%40x.example",
    "Bob",
    "on 3 May",
    "recommended by",
]
WORDS += ["https://s/?e=ada@x.example", "https://s/?e=ada@x.example&f=bob@y.example", "mailto:bob@y.example"]
BETWEEN = [" ", "; ", ", ", "/", "|", "*", "-", "\n", " (", ") ", "'", "&", "\u200b "]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.lists(st.sampled_from(BETWEEN), min_size=4, max_size=4))
def test_a_row_says_the_same_of_others_before_and_after_somebody_was_taken_out(words: list[str], between: list[str]) -> None:
    """Else all that was done is that an address went, and the row would be taken in anew."""
    text = "".join(part for pair in zip(words, between, strict=False) for part in pair)
    row = {**dict.fromkeys(console.IMPORT_FIELDS, ""), "Email": "bob@y.example"}
    after = replaced(text, [spot for spot in spots(text, ada) if spot.found], imports.ERASED)
    assert imports.digest({**row, "Consent source": after}) == imports.digest({**row, "Consent source": text})


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
    "named": "A <a@b.c> ",
    "links": "://a=",
    "mails": "mailto:",
    "unseen": "\u200b",
}


@pytest.mark.parametrize("name", HUGE)
def test_a_cell_as_large_as_they_get_takes_no_more_than_its_length(name: str) -> None:
    """50,000 characters. What a regular expression does inside is not counted: there a quadratic one would take minutes."""
    part = HUGE[name]
    half, whole = (part * (size // len(part)) + "a@b.c>" for size in (25_000, 50_000))
    small, large = (work(lambda cell=cell: concealed(cell)) for cell in (half, whole))  # type: ignore[misc]
    assert large <= 2.5 * small + 1000
