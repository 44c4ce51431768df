"""Reads terraform/ as text: its blocks, arguments and literal elements, each with where it stands, and what refers to what.

A plan does not show lifecycle, validations, depends_on through locals, or the order of a map; and a mutant takes out a piece of text.
Written for `terraform fmt`'s own form, which is simpler than HCL: a few dozen lines instead of another dependency.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

_HEREDOC = re.compile(r"<<-?(\w+)\n(?:.*\n)*?\s*\1\b")
_BLOCK = re.compile(r'([a-z_]\w*)((?:[ \t]+"[^"\n]*")*)[ \t]*\{')
_KEY = re.compile(r'(?:"([^"\n]*)"|\(?([A-Za-z_][\w.-]*)\)?)[ \t]*=(?![=>])[ \t]*')
_REFERENCE = re.compile(r"\b((?:data\.)?google_\w+\.\w+|ephemeral\.\w+\.\w+|random_\w+\.\w+|local\.\w+|var\.\w+)")
_CLOSING = {"{": "}", "[": "]", "(": ")"}


@dataclass(frozen=True)
class Piece:
    """A block, an argument or an element of a literal. `path`: its names from the top of the file; `start`, `end`: the text to take
    out; `value`: what is given, without the name."""

    kind: str  # block, argument, element
    path: tuple[str, ...]
    start: int
    end: int
    value: str
    inside: tuple[Piece, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        return ".".join(self.path)

    def all(self) -> Iterator[Piece]:
        yield self
        for piece in self.inside:
            yield from piece.all()


@cache
def pieces(text: str) -> tuple[Piece, ...]:
    """The blocks of a file, with all that is in them."""
    return tuple(_body(text, 0, len(text), ()))


def every(files: Mapping[str, str]) -> dict[str, Piece]:
    """Name -> piece of all .tf files; an argument of `locals` is "locals.x"."""
    return {piece.name: piece for text in _texts(files) for top in pieces(text) for piece in top.all()}


def without(text: str, piece: Piece) -> str:
    return text[: piece.start] + text[piece.end :]


def reaches(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Address of a resource -> each that terraform makes before it: by its arguments, depends_on and locals, transitively."""
    direct: dict[str, set[str]] = {}
    for text in _texts(files):
        for top in pieces(text):
            if top.path[0] == "locals":
                direct |= {f"local.{piece.path[-1]}": _referred(piece.value) for piece in top.inside}
            elif top.path[0] in ("resource", "data", "ephemeral"):
                direct[address(top)] = _referred(top.value)
    found = {}
    for start in direct:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for one in direct.get(waiting.pop(), set()) - seen:
                seen.add(one)
                waiting.append(one)
        found[start] = seen
    return found


def address(top: Piece) -> str:
    """Of a resource's block, without a key: "google_pubsub_topic.dead", "data.google_project.this"."""
    return ".".join(top.path[1:] if top.path[0] == "resource" else top.path)


def _texts(files: Mapping[str, str]) -> list[str]:
    return [text for name, text in files.items() if name.endswith(".tf")]


def _referred(text: str) -> set[str]:
    return set(_REFERENCE.findall(re.sub(r"(?m)#.*$", "", text)))


def _body(text: str, at: int, end: int, above: tuple[str, ...]) -> Iterator[Piece]:
    """The arguments and blocks between two places."""
    twice: dict[tuple[str, ...], int] = {}
    while (at := _blank(text, at, end)) < end:
        if block := _BLOCK.match(text, at):
            close = _group(text, block.end() - 1)
            names = [block[1], *re.findall(r'"([^"]*)"', block[2])]
            if names[0] == "dynamic":
                names = names[1:]
            path = (*above, *names)
            twice[path] = twice.get(path, 0) + 1
            if twice[path] > 1 and names != ["locals"]:  # the second validation of a variable
                path = (*path, str(twice[path]))
            inside = tuple(_body(text, block.end(), close - 1, path))
            yield Piece("block", path, at, close, text[block.end() : close - 1], inside)
            at = close
        elif key := _KEY.match(text, at):
            stop = _value(text, key.end(), end, "\n")
            path = (*above, key[1] or key[2])
            yield Piece("argument", path, at, stop, text[key.end() : stop], tuple(_literals(text, key.end(), stop, path)))
            at = stop
        else:
            raise ValueError(f"neither a block nor an argument: {text[at : at + 60]!r}")


def _literals(text: str, at: int, end: int, path: tuple[str, ...]) -> Iterator[Piece]:
    """The elements of every list and map that an expression spells out."""
    called = False  # whether a bracket here would be an index or a call
    while at < end:
        opening = text[at]
        if opening in _CLOSING:
            close = _group(text, at)
            begin = _blank(text, at + 1, close - 1)
            if opening == "(" or (opening == "[" and called) or re.match(r"for\b", text[begin:]):
                yield from _literals(text, at + 1, close - 1, path)
            else:
                yield from _elements(text, at + 1, close - 1, path, opening == "{")
            at, called = close, True
        elif (after := _token(text, at)) > at + 1:
            at, called = after, True
        else:
            called = opening.isalnum() or opening in "_."
            at += 1


def _elements(text: str, at: int, end: int, path: tuple[str, ...], named: bool) -> Iterator[Piece]:
    number = 0
    while (at := _blank(text, at, end, ",")) < end:
        key = _KEY.match(text, at) if named else None
        begin = key.end() if key else at
        stop = _value(text, begin, end, ",\n" if named else ",")
        value = text[begin:stop].strip()
        listed = value.strip('"') if re.fullmatch(r'"[^"$]*"', value) else str(number)
        name = key[1] or key[2] if key else listed
        number += 1
        after = stop + 1 if text[stop : stop + 1] == "," and stop < end else stop
        yield Piece("element", (*path, name), at, after, value, tuple(_literals(text, begin, stop, (*path, name))))
        at = after


def _value(text: str, at: int, end: int, until: str) -> int:
    """Where an expression ends."""
    while at < end and text[at] not in until:
        if text[at] in _CLOSING:
            at = _group(text, at)
        elif text[at] == "#":
            break
        else:
            at = _token(text, at)
    return at


def _blank(text: str, at: int, end: int, also: str = "") -> int:
    while at < end and (text[at].isspace() or text[at] in also or text[at] == "#"):
        at = _token(text, at)
    return min(at, end)


def _group(text: str, at: int) -> int:
    """After the bracket that closes the one at `at`."""
    close = _CLOSING[text[at]]
    at += 1
    while text[at] != close:
        at = _group(text, at) if text[at] in _CLOSING else _token(text, at)
    return at + 1


def _token(text: str, at: int) -> int:
    """After a string, a comment, a heredoc, or one character."""
    if text[at] == "#":
        return at + len(text[at:].partition("\n")[0])
    if text[at] == '"':
        at += 1
        while text[at] != '"':
            at = _group(text, at + 1) if text.startswith("${", at) else at + 2 if text[at] == "\\" else at + 1
        return at + 1
    if found := _HEREDOC.match(text, at):
        return found.end()
    return at + 1
