"""Reads terraform/ as text: its blocks, arguments and literal elements, each with where it stands, and what refers to what.

A plan does not show lifecycle, validations, depends_on through locals, or the order of a map; and a mutant takes out a piece of text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

import hcl2
from lark import Token, Tree

_BLOCK = re.compile(r"(?ms).*?(?:^\}\n|\Z)")  # down to a brace at the margin, which ends a block of formatted text
_COMMA = re.compile(r"\s*,|")
_REFERENCE = re.compile(r"\b((?:data\.)?google_\w+\.\w+|ephemeral\.\w+\.\w+|random_\w+\.\w+|local\.\w+|var\.\w+)")


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
    twice: dict[tuple[str, ...], int] = {}
    found = _BLOCK.finditer(text)
    return tuple(_moved(piece, at.start()) for at in found if at[0] for piece in _body(at[0], _tree(at[0]), (), twice))


@cache
def _tree(text: str) -> Tree[Token]:
    """Parsing is what takes long, and a mutant changes one block of a file."""
    return _trees(hcl2.parses_to_tree(text))[0]


def _moved(piece: Piece, by: int) -> Piece:
    inside = tuple(_moved(one, by) for one in piece.inside)
    return replace(piece, start=piece.start + by, end=piece.end + by, inside=inside)


def every(files: Mapping[str, str]) -> Mapping[str, Piece]:
    """Name -> piece of all .tf files; an argument of `locals` is "locals.x"."""
    return _every(tuple(_texts(files)))


@lru_cache(8)
def _every(texts: tuple[str, ...]) -> Mapping[str, Piece]:
    return {piece.name: piece for text in texts for top in pieces(text) for piece in top.all()}


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


def _body(text: str, body: Tree[Token], above: tuple[str, ...], twice: dict[tuple[str, ...], int]) -> Iterator[Piece]:
    """The arguments and blocks of a body. `twice`: how many blocks of a name were before."""
    for node in _trees(body):
        start, end = node.meta.start_pos, node.meta.end_pos
        name, *rest = _trees(node)
        if node.data == "attribute":
            path, value = (*above, _said(text, name)), rest[-1]
            yield Piece("argument", path, start, end, _said(text, value), tuple(_literals(text, value, path)))
        elif node.data == "block":
            names = [_said(text, one).strip('"') for one in (name, *rest[:-1])]
            path = (*above, *names[names[0] == "dynamic" :])
            twice[path] = twice.get(path, 0) + 1
            if twice[path] > 1 and names != ["locals"]:  # the second validation of a variable
                path = (*path, str(twice[path]))
            yield Piece("block", path, start, end, _said(text, rest[-1]), tuple(_body(text, rest[-1], path, {})))


def _literals(text: str, node: Tree[Token], path: tuple[str, ...]) -> Iterator[Piece]:
    """The elements of every list and map that an expression spells out."""
    if node.data in ("tuple", "object"):
        yield from _elements(text, node, path)
    elif node.data not in ("string", "heredoc_template", "heredoc_template_trim"):
        for child in _trees(node):
            yield from _literals(text, child, path)


def _elements(text: str, node: Tree[Token], path: tuple[str, ...]) -> Iterator[Piece]:
    for number, element in enumerate(_trees(node)):
        *key, value = _trees(element) if node.data == "object" else [element]
        said = _said(text, value)
        name = _said(text, key[0]).strip('"()') if key else said.strip('"') if re.fullmatch(r'"[^"$]*"', said) else str(number)
        end = element.meta.end_pos + len(_COMMA.match(text, element.meta.end_pos)[0])  # type: ignore[index]
        yield Piece("element", (*path, name), element.meta.start_pos, end, said, tuple(_literals(text, value, (*path, name))))


def _trees(node: Tree[Token]) -> list[Tree[Token]]:
    """The children that are neither punctuation nor comments."""
    return [child for child in node.children if isinstance(child, Tree) and child.data != "new_line_or_comment"]


def _said(text: str, node: Tree[Token]) -> str:
    return "" if node.meta.empty else text[node.meta.start_pos : node.meta.end_pos]
