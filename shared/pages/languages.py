"""Which language a page speaks: what its address asks for, then its reader's, then the browser's, then the tenant's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final

from shared.http import Request

OWN: Final = {"en": "English", "de": "Deutsch", "es": "Español", "fr": "Français"}  # what the pages' own texts are in
RIGHT_TO_LEFT: Final = frozenset({"ar", "dv", "fa", "he", "ku", "ps", "ur", "yi"})
MOST: Final = 20  # of a browser's languages that are looked at
LONGEST: Final = 200  # characters of a header that is remembered: browsers send few different ones


def chosen(request: Request, offered: Collection[str], default: str, reader: str = "") -> str:
    """One of `offered` (lower-case codes), or `default` when none suits. `reader`: the language the reader has on file, "" for none."""
    wanted = [request.query.get("lang", ""), reader, *accepted(request.headers.get("accept-language", ""))]
    return next((found for one in wanted if (found := suiting(one, offered))), default)


def suiting(language: str, offered: Collection[str]) -> str:
    """Which of `offered` suits: for fr-CA that, else fr, else "" (RFC 4647 §3.4, lookup)."""
    found = language.strip().lower().replace("_", "-")[:35]
    while found and found not in offered:
        found = found.rpartition("-")[0]
    return found


def accepted(header: str) -> Sequence[str]:
    """The languages of an Accept-Language header, best first (RFC 9110 §12.5.4); what cannot be read is left out."""
    return _remembered(header) if len(header) <= LONGEST else _read(header)


def _read(header: str) -> tuple[str, ...]:
    found: list[tuple[float, str]] = []
    for part in header.split(",")[:MOST]:
        language, _, weight = part.partition(";")
        try:
            quality = float(weight.partition("=")[2]) if weight else 1.0
        except ValueError:
            continue
        if 0 < quality <= 1 and language.strip() not in ("", "*"):
            found.append((-quality, language.strip()))
    return tuple(language for _, language in sorted(found, key=lambda one: one[0]))


_remembered = lru_cache(500)(_read)


def direction(language: str) -> str:
    """For the attribute `dir`."""
    return "rtl" if language.partition("-")[0] in RIGHT_TO_LEFT else "ltr"


def offered(published: Sequence[str]) -> list[str]:
    """Languages in which a page can be shown: our own, and those that the tenant gave texts in."""
    return list(dict.fromkeys([*OWN, *(language.lower() for language in published if language)]))
