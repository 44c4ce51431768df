"""Addresses in what people typed, wherever they stand in a cell: `Ada <ada@x.example>`, `mailto:ada@x.example`, two with a semicolon
between, one with a remark behind it, in a link, with a full-width or written-out at sign. What the import refuses is found all the same.

Each at sign is looked at once, and only as far on both sides as an address may reach: a cell takes time in proportion to its length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from shared.model.address import masked

Theirs = Callable[[str], bool]  # whether an address is of those who are looked for

_LOCAL_MOST: Final = 64  # characters (RFC 5321 4.5.3.1.1)
_DOMAIN_MOST: Final = 255  # characters (RFC 5321 4.5.3.1.2)
_NAME_MOST: Final = 100  # characters before an address in angle brackets
_SIGNS: Final = ("@", "＠", "﹫", "%40", "&#64;", "(at)", "[at]", "( at ", "[ at ")
_AT: Final = re.compile(r"\s{0,3}(?:[@＠﹫]|%40|&#64;|\(at\)|\[at\]|\( at \)|\[ at \])\s{0,3}", re.IGNORECASE)
# What a local part may hold (RFC 5322 3.2.3), and the full-width forms of it.
_LOCAL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~０-９Ａ-Ｚａ-ｚ．＿＋－-]+\Z", re.IGNORECASE)
# Everything but signs and spaces: a domain may be in any script. The middle dot and the zero-width joiners count.
_DOMAIN: Final = re.compile(
    r"[^\s\x00-,/:-@\[-^`{-\xb6\xb8-\xbf\u2000-\u200b\u200e-\u206f\u3000\u3001\u3003-\u303f\uff01-\uff0c\uff0f\uff1a-\uff20"
    r"\uff3b-\uff3e\uff40\uff5b-\uff60\uff62-\uff65]+"
)
_ENDS: Final = "._-·\u200c\u200d。．｡"  # with which no domain ends
_BREAK: Final = re.compile(r"%[0-9a-f]{2}|[=/&?#|{}`*!$%^~]", re.IGNORECASE)  # after which an address begins in a link
_TAIL: Final = re.compile(r"[-_]|(?<=[a-z0-9])[^\x00-\x7f]", re.IGNORECASE)
_NAMED: Final = re.compile(r"[^,;<>|\r\n\t]*\Z")


@dataclass(frozen=True, slots=True)
class Spot:
    """An address, from `start` to before `end` of a cell."""

    start: int
    end: int
    address: str
    found: bool  # whether it is of those who are looked for


def suspect(cell: str) -> bool:
    """Whether a cell could hold an address."""
    if "@" in cell:
        return True
    if cell.isalnum():
        return False
    low = cell.lower()
    return any(sign in low for sign in _SIGNS)


def signs(cell: str) -> int:
    """How many at signs a cell holds, in whatever form."""
    return len(_AT.findall(cell))


def spots(cell: str, theirs: Theirs) -> Iterator[Spot]:
    """The addresses of a cell from left to right."""
    if not suspect(cell):
        return
    signs = [match.span() for match in _AT.finditer(cell)]
    bounds = [(0, 0), *signs, (len(cell), len(cell))]
    before = 0
    for (_, left), (start, end), (right, _) in zip(bounds, bounds[1:], bounds[2:], strict=False):
        found = _LOCAL.search(cell[max(left, before, start - _LOCAL_MOST) : start])
        domain = _DOMAIN.match(cell, end, min(right, end + _DOMAIN_MOST))
        if not found or not domain:
            continue
        spot = _spot(start, end, list(_locals(found[0])), list(_domains(domain[0])), theirs)
        if spot:
            before = spot.end
            yield spot


def _spot(start: int, end: int, locals: list[str], domains: list[str], theirs: Theirs) -> Spot | None:
    """The one around an at sign that goes from `start` to before `end`; None when nothing there can be an address."""
    first: Spot | None = None
    for domain in domains:
        for local in locals:
            address = f"{local}@{domain}"
            address = address if address.isascii() else unicodedata.normalize("NFKC", address)
            if "." not in address.rpartition("@")[2]:
                continue
            spot = Spot(start - len(local), end + len(domain), address, theirs(address))
            if spot.found:
                return spot
            first = first or spot
    return first


def _locals(run: str) -> Iterable[str]:
    """What may be the local part at the end of a run, the likeliest first."""
    last = max((match.end() for match in _BREAK.finditer(run)), default=0)
    return dict.fromkeys(part for part in (run, run.lstrip(".'+-_"), run[last:].lstrip(".'")) if part)


def _domains(run: str) -> Iterable[str]:
    """What may be the domain at the beginning of a run: all of it, or what stands before a remark that a hyphen joins to it, or a script
    that takes no spaces."""
    run = run.rstrip(_ENDS)
    dot = max(run.rfind(sign) for sign in ".。．｡")
    tail = _TAIL.search(run, dot + 1)
    short = run[: tail.start()] if tail and not run[dot + 1 :].lower().startswith("xn--") else run
    return dict.fromkeys(part for part in (run, short) if part)


def replaced(cell: str, found: Iterable[Spot], word: str) -> str:
    """The cell with a word in the place of each spot, and of the name before an address in angle brackets."""
    ranges = [_named(cell, spot) for spot in found]
    edges = [0, *(edge for pair in ranges for edge in pair), len(cell)]
    kept = [cell[start:end] for start, end in list(pairwise(edges))[::2]]
    return word.join(kept)


def _named(cell: str, spot: Spot) -> tuple[int, int]:
    if cell[spot.start - 1 : spot.start] != "<" or cell[spot.end : spot.end + 1] != ">":
        return spot.start, spot.end
    before = cell[max(0, spot.start - 1 - _NAME_MOST) : spot.start - 1]
    name = _NAMED.search(before)
    return spot.start - 1 - len(name[0].lstrip() if name else ""), spot.end + 1


def concealed(text: str, own: Theirs = lambda address: False) -> str:
    """A text for a report or for somebody else's document: each address but the `own` ones partly hidden."""
    parts, at = [], 0
    for spot in spots(text, own):
        if not spot.found:
            parts += [text[at : spot.start], masked(spot.address)]
            at = spot.end
    return "".join([*parts, text[at:]])
