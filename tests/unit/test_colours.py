"""Whatever a tenant's accent is, buttons and links can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pages.colours import DARK_PAPER, LIGHT_PAPER, contrast, palette


@given(st.integers(0, 0xFFFFFF))
def test_any_accent_can_be_read_on_both_papers(colour: int) -> None:
    light, on_light, dark, on_dark = palette(f"#{colour:06x}")
    assert (
        min(contrast(light, LIGHT_PAPER), contrast(dark, DARK_PAPER), contrast(light, on_light), contrast(dark, on_dark)) >= 4.5
    )


def test_an_accent_that_can_be_read_stays_as_it_is() -> None:
    assert palette("#0b6b53")[:2] == ("#0b6b53", "#ffffff")


def test_known_ratios() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # as the WCAG's own checkers say


@pytest.mark.parametrize("text", ["", "red", "#fff", "#12345g", "#123456;x", "#ABCDEF"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        palette(text)
