"""Addresses in what people typed, wherever they stand in a cell: `Ada <ada@x.example>`, `mailto:ada@x.example`, two with a semicolon
between, one with a remark behind it, in a link, with a full-width or written-out at sign. What the import refuses is found all the same.

Where an address begins and ends depends on the cell alone, never on who is looked for: so a row says the same before and after somebody
was taken out of it. In doubt all that could belong to an address does: a part of another's address is nobody's.

Each at sign is looked at once, and only as far on both sides as an address may reach: a cell takes time in proportion to its length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.parse import unquote

from shared.model.address import masked

Theirs = Callable[[str], bool]  # whether an address is of those who are looked for

_LOCAL_MOST: Final = 64  # characters (RFC 5321 4.5.3.1.1)
_DOMAIN_MOST: Final = 255  # characters (RFC 5321 4.5.3.1.2)
_NAME_MOST: Final = 100  # characters before an address in angle brackets
_NAME_WORDS: Final = 4
_PARTICLES: Final = frozenset(
    ("al", "bin", "da", "de", "del", "den", "der", "di", "dos", "du", "el", "la", "le", "ten", "ter", "van", "von", "y")
)  # of names, in small letters
_HIDDEN: Final = "\xad\u200b\u2060\ufeff"  # a soft hyphen, zero-width spaces
_UNSEEN: Final = f"{_HIDDEN}\u200c\u200d"  # with joiners, which a domain may hold (RFC 5892 A.1, A.2)
_BLANK: Final = f" \t\r\n\xa0\u3000{_UNSEEN}"
_SIGNS: Final = ("@", "＠", "﹫", "%40", "&#64;", "(at)", "[at]", "( at ", "[ at ")
_AT: Final = re.compile(
    rf"[\s{_UNSEEN}]{{0,3}}(?:[@＠﹫]|%40|&#64;|\(at\)|\[at\]|\( at \)|\[ at \])[\s{_UNSEEN}]{{0,3}}", re.IGNORECASE
)
# What a local part may hold (RFC 5322 3.2.3), and all that is not ASCII: which of that is decided by `_run`.
_LOCAL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+\Z", re.IGNORECASE)
_WIDE: Final = "．＿＋－"  # full-width forms of signs
# Everything but signs and spaces: a domain may be in any script. The middle dot and what is not seen count.
_DOMAIN: Final = re.compile(
    r"[^\s\x00-,/:-@\[-^`{-\xac\xae-\xb6\xb8-\xbf\u2000-\u200a\u200e-\u205f\u2061-\u206f\u3000\u3001\u3003-\u303f"
    r"\uff01-\uff0c\uff0f\uff1a-\uff20\uff3b-\uff3e\uff40\uff5b-\uff60\uff62-\uff65]+"
)
_ENDS: Final = f"._-·。．｡{_UNSEEN}"  # with which no domain ends
_LINK: Final = re.compile(r"(?:://|www\.|mailto:[^\s<>\"?]{0,320}\?)[^\s<>\"]*", re.IGNORECASE)
# After these a part of a link begins. An encoded + - . _ is as good as the sign.
_BREAK: Final = re.compile(r"%(?!2[bde]|5f)[0-9a-f]{2}|[/?&#|]", re.IGNORECASE)
_FIELD: Final = re.compile(r"[^=]*=")  # before a value in a link
_QUOTED: Final = "!#$%&'*/?^`{|}~"  # before an address in a text; not what may well be of the address
# Not what is of Latin top-level domains such as .vermögensberatung.
_TAIL: Final = re.compile(rf"[-_]|(?<=[a-z0-9])[^\x00-\u036f\u1e00-\u1eff{_UNSEEN}]", re.IGNORECASE)
_TAKEN: Final = re.compile(r"(?<![a-z0-9])erased(?![a-z0-9])", re.IGNORECASE)  # where somebody was taken out: see imports.ERASED


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
    links = [match.span() for match in _LINK.finditer(cell)][::-1]
    first, last = len(cell) - len(cell.lstrip(_BLANK)), len(cell.rstrip(_BLANK))
    before = 0
    for (_, left), (start, end), (right, _) in zip(bounds, bounds[1:], bounds[2:], strict=False):
        while links and links[-1][1] <= start:
            links.pop()
        run = _run(cell[max(left, before, start - _LOCAL_MOST) : start])
        found = _DOMAIN.match(cell, end, min(right, end + _DOMAIN_MOST))
        if not run or not found:
            continue
        linked = cell[start:end].strip() == "%40" or bool(links and links[-1][0] < start)
        alone = start - len(run) <= first and found.end() >= last
        local, domain = run if alone else _local(run, linked), _domain(found[0])
        address = _address(unquote(local) if linked else local, domain, theirs)
        if local and "." in address.rpartition("@")[2]:
            yield (spot := Spot(start - len(local), end + len(domain), address, theirs(address)))
            before = spot.end


def _run(text: str) -> str:
    """What an address could begin with at the end of a text: a letter of any alphabet is a part of it, a sign that is not ASCII none."""
    found = _LOCAL.search(text)
    run = found[0] if found else ""
    run = run[max((match.end() for match in _TAKEN.finditer(run)), default=0) :]
    if run.isascii():
        return run
    others = (at for at, sign in enumerate(run, 1) if not (sign.isascii() or sign in _WIDE or sign in _UNSEEN or _letter(sign)))
    return run[max(others, default=0) :]


def _letter(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "LMN"


def _local(run: str, linked: bool) -> str:
    """The local part at the end of a run that does not fill its cell."""
    if not linked:
        return run[run.rfind("|") + 1 :].lstrip(_QUOTED)
    breaks = [match.end() for match in _BREAK.finditer(run)]
    if not breaks:
        return run.lstrip(_QUOTED)
    part = run[breaks[-1] :]
    return part[field.end() :] if (field := _FIELD.match(part)) else part


def _domain(run: str) -> str:
    """What may be the domain at the beginning of a run: all of it, or what stands before a remark that a hyphen joins to it, or a script
    that takes no spaces."""
    run = run.rstrip(_ENDS)
    dot = max(run.rfind(sign) for sign in ".。．｡")
    tail = _TAIL.search(run, dot + 1)
    return run[: tail.start()] if tail and not run[dot + 1 :].lower().startswith("xn--") else run


def _address(local: str, domain: str, theirs: Theirs) -> str:
    """As it is meant. Where joiners make two of it the one of theirs, if any."""
    address = f"{local}@{domain}"
    if address.isascii():
        return address
    plain, joined = (
        unicodedata.normalize("NFKC", f"{_without(_UNSEEN, local)}@{_without(signs, domain)}") for signs in (_UNSEEN, _HIDDEN)
    )
    return joined if joined != plain and theirs(joined) else plain


def _without(signs: str, text: str) -> str:
    return text.translate(dict.fromkeys(map(ord, signs)))


def replaced(cell: str, found: Iterable[Spot], word: str) -> str:
    """The cell with a word in the place of each spot, and of the name before an address in angle brackets."""
    ranges = [_named(cell, spot) for spot in found]
    edges = [0, *(edge for pair in ranges for edge in pair), len(cell)]
    kept = [cell[start:end] for start, end in list(pairwise(edges))[::2]]
    return word.join(kept)


def _named(cell: str, spot: Spot) -> tuple[int, int]:
    """From where to where a spot goes. Only a name that begins the cell, or what a separator begins, goes too: other words may say
    something of somebody else."""
    if cell[spot.start - 1 : spot.start] != "<" or cell[spot.end : spot.end + 1] != ">":
        return spot.start, spot.end
    bracket = spot.start - 1
    most = max(0, bracket - _NAME_MOST)
    begin = max(cell.rfind(sign, most, bracket) + 1 for sign in ",;\r\n")
    name = cell[begin:bracket].lstrip() if begin or not most else ""
    return bracket - len(name) if _is_name(name) else bracket, spot.end + 1


def _is_name(text: str) -> bool:
    """A few words as names are written, without another address."""
    words = text.split()
    shown = all(word in _PARTICLES or not word.lstrip("\"'").lstrip(_UNSEEN)[:1].islower() for word in words)
    return shown and len(words) <= _NAME_WORDS and not any(sign.isdigit() or sign in "@＠﹫<>()[]%&#|/:=" for sign in text)


def concealed(text: str, own: Theirs = lambda address: False) -> str:
    """A text for a report or for somebody else's document: each address but the `own` ones partly hidden."""
    parts, at = [], 0
    for spot in spots(text, own):
        if not spot.found:
            parts += [text[at : spot.start], masked(spot.address)]
            at = spot.end
    return "".join([*parts, text[at:]])
