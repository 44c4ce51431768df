"""The formulas our tabs use, evaluated as Sheets would: IFERROR, VLOOKUP (exact), IF, comparisons, &, references, literals.

Everything else displays #NAME? (an unknown function or word) or #ERROR! (not a formula), and IFERROR does not hide that, so
that a formula which the twin cannot compute is seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne
from typing import Any, TypeAlias

from local.google.a1 import Area, rectangle, unquote
from local.google.values import Cell, Value, display

Cells: TypeAlias = Mapping[tuple[int, int], Cell]
Node: TypeAlias = tuple[Any, ...]  # ("value", v) | ("range", tab | None, Area) | ("call", name, nodes) | ("op", sign, a, b)

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"]|"")*")
    | (?P<tab>(?:'(?:[^']|'')+'|[A-Za-z_]\w*)!)?
      (?P<ref>\$?[A-Za-z]{1,3}\$?[1-9]\d*(?::\$?[A-Za-z]{1,3}\$?\d*)?|\$?[A-Za-z]{1,3}:\$?[A-Za-z]{1,3})(?![\w(])
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<name>[A-Za-z_][\w.]*)
    | (?P<sign><>|<=|>=|[=<>&(),])
    )""",
    re.VERBOSE,
)
_ROW = re.compile(r"(\$?[A-Za-z]{1,3})(\$?)([1-9]\d*)")
_ARGUMENTS = {"IFERROR": (1, 2), "VLOOKUP": (3, 4), "IF": (2, 3)}
_COMPARE = {"=": eq, "<>": ne, "<": lt, ">": gt, "<=": le, ">=": ge}
_DEPTH = 60  # brackets within brackets before it is no formula of anyone


class FormulaError(Exception):
    """An error value; `code` is what the cell displays (#N/A, #REF!, …). `fatal`: IFERROR does not hide it."""

    def __init__(self, code: str, fatal: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.fatal = fatal


class Evaluator:
    """One pass over a workbook that does not change meanwhile. `load` gives a tab's cells, or None when there is no such tab."""

    def __init__(self, load: Callable[[str], Cells | None]) -> None:
        self._load = load
        self._tabs: dict[str, Cells | None] = {}
        self._known: dict[tuple[str, int, int], Value | FormulaError] = {}
        self._indexes: dict[Area, dict[Value, int]] = {}
        self._busy: set[tuple[str, int, int]] = set()

    def cells(self, tab: str) -> Cells:
        """Raises FormulaError #REF! for an unknown tab."""
        if tab not in self._tabs:
            self._tabs[tab] = self._load(tab)
        found = self._tabs[tab]
        if found is None:
            raise FormulaError("#REF!")
        return found

    def value(self, tab: str, row: int, column: int) -> Value:
        """A cell's value. Raises FormulaError when it displays an error."""
        cell = self.cells(tab).get((row, column))
        if cell is None or cell.kind != "f":
            return cell.value if cell else None
        key = (tab, row, column)
        if key not in self._known:
            if key in self._busy:
                raise FormulaError("#REF!", fatal=True)
            self._busy.add(key)
            try:
                self._known[key] = self._scalar(parse(cell.text), tab)
            except FormulaError as error:
                self._known[key] = error
            except RecursionError:  # a chain of many hundred references
                self._known[key] = FormulaError("#REF!", fatal=True)
            finally:
                self._busy.discard(key)
        known = self._known[key]
        if isinstance(known, FormulaError):
            raise FormulaError(known.code, known.fatal)
        return known

    def shown(self, tab: str, row: int, column: int) -> Value:
        """As `value`, with an error as its code."""
        try:
            return self.value(tab, row, column)
        except FormulaError as error:
            return error.code

    def _scalar(self, node: Node, tab: str) -> Value:
        match node:
            case ("value", value):
                return value  # type: ignore[no-any-return]
            case ("range", other, Area() as area) if (area.top, area.left) == (area.bottom, area.right):
                return self.value(other or tab, area.top, area.left)
            case ("call", "IFERROR", (first, *rest)):
                try:
                    return self._scalar(first, tab)
                except FormulaError as error:
                    if error.fatal:
                        raise
                    return self._scalar(rest[0], tab) if rest else None
            case ("call", "IF", (test, yes, *no)):
                if _true(self._scalar(test, tab)):
                    return self._scalar(yes, tab)
                return self._scalar(no[0], tab) if no else False
            case ("call", "VLOOKUP", nodes):
                return self._lookup(nodes, tab)
            case ("op", sign, left, right):
                return _operate(sign, self._scalar(left, tab), self._scalar(right, tab))
        raise FormulaError("#VALUE!")

    def _lookup(self, nodes: list[Node], tab: str) -> Value:
        if len(nodes) != 4 or nodes[1][0] != "range" or _true(self._scalar(nodes[3], tab)):
            raise FormulaError("#ERROR!", fatal=True)  # only the exact form is ours
        wanted, column = self._scalar(nodes[0], tab), self._scalar(nodes[2], tab)
        area: Area = nodes[1][2]
        where = nodes[1][1] or tab
        if not isinstance(column, int) or column < 1:
            raise FormulaError("#VALUE!")
        if area.right is not None and area.left + column - 1 > area.right:
            raise FormulaError("#REF!")
        row = self._index(where, area).get(_key(wanted)) if wanted is not None else None
        if row is None:
            raise FormulaError("#N/A")
        return self.value(where, row, area.left + column - 1)

    def _index(self, tab: str, area: Area) -> dict[Value, int]:
        place = Area(tab, area.top, area.left, area.bottom, area.left)
        if place not in self._indexes:
            rows = sorted((row for row, column in self.cells(tab) if place.holds(row, column)), reverse=True)
            self._indexes[place] = {_key(self.shown(tab, row, area.left)): row for row in rows}
        return self._indexes[place]


@lru_cache(maxsize=65536)
def parse(formula: str) -> Node:
    """The tree of a formula that starts with "=". Raises FormulaError (#ERROR!, #NAME?)."""
    tokens, place = [], 1
    while place < len(formula.rstrip()):
        found = _TOKEN.match(formula, place)
        if not found:
            raise FormulaError("#ERROR!", fatal=True)
        tokens.append(found)
        place = found.end()
    if len(tokens) > 500:
        raise FormulaError("#ERROR!", fatal=True)
    tokens.reverse()
    node = _comparison(tokens, 0)
    if tokens:
        raise FormulaError("#ERROR!", fatal=True)
    return node


def move_rows(formula: str, moved: Callable[[str | None, int, bool], int | None]) -> str:
    """Rewrite the row numbers of all references: `moved(tab or None, row, absolute)` is the new row, None when it is gone."""
    parts, place = ["="], 1
    while found := _TOKEN.match(formula, place):
        text = found[0]
        if found["ref"]:
            tab = unquote(found["tab"][:-1]) if found["tab"] else None
            rows = [moved(tab, int(row), bool(fixed)) for _, fixed, row in _ROW.findall(found["ref"])]
            if None in rows:
                text = "#REF!"
            else:
                new = iter(rows)
                reference = _ROW.sub(lambda part: f"{part[1]}{part[2]}{next(new)}", found["ref"])  # noqa: B023 used at once
                text = text[: len(text) - len(found["ref"])] + reference
        parts.append(text)
        place = found.end()
    return "".join(parts) + formula[place:]


def _comparison(tokens: list[re.Match[str]], depth: int) -> Node:
    left = _joined(tokens, depth)
    while tokens and tokens[-1]["sign"] in ("=", "<>", "<", ">", "<=", ">="):
        sign = tokens.pop()["sign"]
        left = ("op", sign, left, _joined(tokens, depth))
    return left


def _joined(tokens: list[re.Match[str]], depth: int) -> Node:
    left = _operand(tokens, depth)
    while tokens and tokens[-1]["sign"] == "&":
        tokens.pop()
        left = ("op", "&", left, _operand(tokens, depth))
    return left


def _operand(tokens: list[re.Match[str]], depth: int) -> Node:
    if not tokens or depth > _DEPTH:
        raise FormulaError("#ERROR!", fatal=True)
    token = tokens.pop()
    if token["text"]:
        return ("value", token["text"][1:-1].replace('""', '"'))
    if token["ref"]:
        tab = unquote(token["tab"][:-1]) if token["tab"] else None
        return ("range", tab, rectangle("", token["ref"]))
    if token["number"]:
        number = float(token["number"])
        return ("value", int(number) if number.is_integer() else number)
    if token["name"]:
        return _named(token["name"].upper(), tokens, depth)
    if token["sign"] == "(":
        node = _comparison(tokens, depth + 1)
        _expect(")", tokens)
        return node
    raise FormulaError("#ERROR!", fatal=True)


def _named(name: str, tokens: list[re.Match[str]], depth: int) -> Node:
    if name in ("TRUE", "FALSE"):
        return ("value", name == "TRUE")
    if name not in _ARGUMENTS:
        raise FormulaError("#NAME?", fatal=True)
    _expect("(", tokens)
    nodes = [_comparison(tokens, depth + 1)]
    while tokens and tokens[-1]["sign"] == ",":
        tokens.pop()
        nodes.append(_comparison(tokens, depth + 1))
    _expect(")", tokens)
    fewest, most = _ARGUMENTS[name]
    if not fewest <= len(nodes) <= most:
        raise FormulaError("#N/A", fatal=True)
    return ("call", name, nodes)


def _expect(sign: str, tokens: list[re.Match[str]]) -> None:
    if not tokens or tokens.pop()["sign"] != sign:
        raise FormulaError("#ERROR!", fatal=True)


def _operate(sign: str, left: Value, right: Value) -> Value:
    if sign == "&":
        return display(left) + display(right)
    first, second = _order(left, right), _order(right, left)
    return bool(_COMPARE[sign](first, second))


def _order(value: Value, other: Value) -> tuple[int, Any]:
    """Numbers before text before booleans, text without case; a blank is the other side's empty value."""
    if value is None:
        value = 0 if isinstance(other, int | float) and not isinstance(other, bool) else "" if other is not False else False
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    return (1, display(value).casefold())


def _key(value: Value) -> Value:
    """What VLOOKUP compares: text without case; TRUE is not 1 and "1" is not 1."""
    if isinstance(value, bool | date):
        return f"\0{value}"
    return value.casefold() if isinstance(value, str) else value


def _true(value: Value) -> bool:
    if isinstance(value, str):
        raise FormulaError("#VALUE!")
    return bool(value)
