"""Strangers' text is never a formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.cells import MOST, neutralise, short, stored


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1", "＠x", "=", "=cmd|' /C calc'!A0"])
def test_text_that_could_be_a_formula_gets_an_apostrophe(text: str) -> None:
    assert neutralise(text) == "'" + text


@pytest.mark.parametrize("cell", ["", "Zoë", "a=1", "'=1", "1-2", "C-0001", 0, -5, -1.5, True, False])
def test_everything_else_passes_as_it_is(cell: str | int | float | bool) -> None:
    assert neutralise(cell) is cell


@given(st.text())
def test_nothing_that_leaves_starts_like_a_formula_and_twice_is_once(text: str) -> None:
    safe = neutralise(text)
    assert isinstance(safe, str) and safe[:1] not in tuple("=+-@\t\r\n＝＋－＠")
    assert safe.replace("'", "") == text.replace("'", "") and neutralise(safe) == safe


@pytest.mark.parametrize("text", ["x" * 50_001, "😀" * 49_990, "=" * 49_990, "x" * (MOST - 1) + "😀"])
def test_a_text_too_long_for_a_cell_is_cut(text: str) -> None:
    cut = stored(text)
    assert isinstance(cut, str) and MOST - 1 <= len(cut.encode("utf-16-le")) // 2 <= MOST
    assert str(neutralise(text)).startswith(cut) and stored(cut) == cut


def test_what_fits_is_stored_as_it_is() -> None:
    for cell in ("", "x" * MOST, "😀" * (MOST // 2), 10**60, True):
        assert stored(cell) == cell
    assert stored("@x") == "'@x"


def test_a_name_in_a_sentence_is_short() -> None:
    assert short("x" * 60) == "x" * 60 and short("x" * 61) == "x" * 59 + "…"
