"""Cell contents as Sheets sees them: what typed text becomes, and how a value is displayed.

A value is str, bool, int, float, date, datetime or None (blank). Only the parts of Google's rules that our tabs meet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

Value: TypeAlias = "str | bool | int | float | date | None"

_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_DATE = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?:[ T](\d\d?):(\d\d)(?::(\d\d))?)?")
PATTERNS = ("#,##0",)  # number formats that are known
_EPOCH = datetime(1899, 12, 30)


@dataclass(frozen=True, slots=True)
class Cell:
    """A stored cell. kind: s text, n number, b boolean, d date or date and time (ISO), f formula (text starts with "=")."""

    kind: Literal["s", "n", "b", "d", "f"]
    text: str

    @property
    def value(self) -> Value:
        """The constant it holds; a formula's own text."""
        if self.kind == "n":
            number = float(self.text)
            return int(number) if number.is_integer() else number
        if self.kind == "b":
            return self.text == "TRUE"
        if self.kind == "d":
            return datetime.fromisoformat(self.text) if " " in self.text else date.fromisoformat(self.text)
        return self.text


def raw(given: Any) -> Cell | None:
    """A JSON value stored as it is (valueInputOption RAW); None for the empty text, which clears."""
    if isinstance(given, bool):
        return Cell("b", str(given).upper())
    if isinstance(given, int | float):
        return Cell("n", repr(given))
    return Cell("s", given) if given else None


def typed(given: Any) -> Cell | None:
    """A value as if a person had typed it (USER_ENTERED): formulas, numbers, booleans and ISO dates are recognised."""
    if not isinstance(given, str):
        return raw(given)
    text = given.strip()
    if given.startswith("'"):
        return raw(given[1:])
    if given.startswith("=") and len(given) > 1:
        return Cell("f", given)
    if _NUMBER.fullmatch(text):
        return Cell("n", repr(float(text)))
    if text.upper() in ("TRUE", "FALSE"):
        return Cell("b", text.upper())
    return _dated(text) or raw(given)


def display(value: Value, pattern: str = "") -> str:
    """FORMATTED_VALUE with a pattern of PATTERNS or the automatic format of an English sheet; a date and time shows its seconds, as
    Sheets does."""
    if value is None:
        return ""
    if pattern and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.0f}"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def unformatted(value: Value) -> str | bool | int | float:
    """UNFORMATTED_VALUE; a date is its serial number of days."""
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        days = (moment - _EPOCH).total_seconds() / 86400
        return int(days) if days.is_integer() else days
    return "" if value is None else value


def _dated(text: str) -> Cell | None:
    found = _DATE.fullmatch(text)
    if not found:
        return None
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    return Cell("d", str(moment) if found[4] else str(moment.date()))
