"""A tenant's accent, made readable: WCAG 2.2 asks 4.5 to 1 of text on its ground (https://www.w3.org/TR/WCAG22/#contrast-minimum)."""

from __future__ import annotations

import colorsys
import re
from typing import Final

LIGHT_PAPER: Final = "#ffffff"
DARK_PAPER: Final = "#1b212c"
ENOUGH: Final = 4.6  # a little more than is asked: colours are rounded
_HEX = re.compile(r"#[0-9a-f]{6}")


def palette(accent: str) -> tuple[str, str, str, str]:
    """(accent on light paper, text on that, accent on dark paper, text on that) of an accent "#rrggbb"; what is none raises ValueError."""
    if not _HEX.fullmatch(accent):
        raise ValueError("not a colour")
    light, dark = _readable(accent, LIGHT_PAPER), _readable(accent, DARK_PAPER)
    return light, _on(light), dark, _on(dark)


def contrast(one: str, other: str) -> float:
    """From 1 to 21 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _on(ground: str) -> str:
    return max("#ffffff", "#000000", key=lambda text: contrast(text, ground))


def _readable(accent: str, paper: str) -> str:
    """The accent, darker on light paper and lighter on dark paper as far as it must be."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in _rgb(accent)))
    step = -0.01 if _luminance(paper) > 0.5 else 0.01
    while contrast(found := _hex(hue, lightness, saturation), paper) < ENOUGH:
        lightness += step
    return found


def _hex(hue: float, lightness: float, saturation: float) -> str:
    rgb = colorsys.hls_to_rgb(hue, min(1.0, max(0.0, lightness)), saturation)
    return "#" + "".join(f"{round(value * 255):02x}" for value in rgb)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [value / 255 for value in _rgb(colour)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
