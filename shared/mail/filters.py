"""Filters that write dates, numbers and sums of money as the mail's language does: `{{ day | date }}`, `{{ 9.9 | currency("EUR") }}`.

How each language does it is CLDR's, by Babel, which is loaded when the first of them is worked out: 25 ms, and 5 to 25 ms for each
language, for those templates only that use them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from jinja2 import Undefined

if TYPE_CHECKING:
    from babel import Locale

    from shared.mail.sandbox import Meter

STYLES: Final = ("short", "medium", "long", "full")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,30})?")
_LONGEST = 40  # characters of a date


def of_language(language: str, meter: Meter) -> dict[str, Callable[..., str]]:
    """The filters for a mail in `language` (BCP 47; one that CLDR lacks is written as English). An absent value stays empty; one that
    is no date or number is a ValueError, whose sentence `program.fail` passes on."""

    def day(value: Any, style: str = "medium") -> str:
        """`value`: an ISO 8601 date or date and time, of which the date is shown as it stands there, in one of STYLES."""
        meter.spend()
        if _absent(value):
            return ""
        if style not in STYLES:
            raise ValueError(f"a date is {', '.join(STYLES[:-1])} or {STYLES[-1]}")
        from babel.dates import format_date

        return format_date(_date(value), style, _locale(language))

    def number(value: Any) -> str:
        """`value`: a number or its text, below 10^15; at most 3 decimals are shown."""
        meter.spend()
        if _absent(value):
            return ""
        from babel.numbers import format_decimal

        return format_decimal(_number(value), locale=_locale(language))

    def currency(value: Any, code: str) -> str:
        """`value`: as for a number, in the currency's decimals. `code`: ISO 4217."""
        meter.spend()
        if _absent(value):
            return ""
        from babel.numbers import format_currency, is_currency

        if not (isinstance(code, str) and is_currency(code)):
            _refuse(code, "a currency such as EUR")
        return format_currency(_number(value), code, locale=_locale(language))

    return {"date": day, "number": number, "currency": currency}


def _absent(value: Any) -> bool:
    return value is None or value == "" or isinstance(value, Undefined)


def _date(value: Any) -> date:
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
    except ValueError:
        _refuse(value, "a date such as 2027-01-15")


def _number(value: Any) -> Decimal:
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        text = f"{Decimal(str(value)):f}"
    if not _NUMBER.fullmatch(text):
        _refuse(value, "a number such as 1234.5")
    return Decimal(text)


def _refuse(value: Any, what: str) -> NoReturn:
    shown = f"“{value[:_LONGEST]}”" if isinstance(value, str) else "this"
    raise ValueError(f"{shown} is not {what}")


@lru_cache(64)
def _locale(language: str) -> Locale:
    """As near as CLDR comes to it."""
    from babel import Locale, UnknownLocaleError

    tag = language
    while tag:
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            tag = tag.rpartition("-")[0]
    return Locale("en")
