"""Conversions: how a site that a click leads to learns whose it was, and what it may say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

from shared.errors import BadInput

VISITOR = "sp"  # the parameter that carries the track token
UNIT = 1_000_000  # a value is kept in millionths
MOST = 10**12  # units
_VALUE = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,20})?")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_ORDER = re.compile(r"[A-Za-z0-9._:#/-]{0,100}")


def visiting(target: str, token: str, domains: Set[str]) -> str:
    """The target, with the token as its parameter when its host is one of `domains` (lower case) or below one. A target that has
    a parameter of that name keeps its own."""
    parts = urlsplit(target)
    labels = (parts.hostname or "").split(".")
    if domains.isdisjoint(".".join(labels[n:]) for n in range(len(labels))):
        return target
    if any(name == VISITOR for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return target
    page, hash, fragment = target.partition("#")
    return f"{page}{'&' if '?' in page else '?'}{VISITOR}={token}{hash}{fragment}"


def sale(fields: Mapping[str, str]) -> tuple[int, str, str]:
    """(value in millionths of the currency's unit, ISO 4217 code, order id) of a conversion; raises BadInput.

    `value`: decimal text of 0 to MOST units, rounded to UNIT; one above 0 needs its `currency`. `order`: up to 100 characters of
    A-Z, a-z, 0-9 and ._:#/- : it tells a reload from a second conversion, and is no place for an e-mail address.
    """
    text, currency, order = (fields.get(name, "").strip() for name in ("value", "currency", "order"))
    if not _VALUE.fullmatch(text or "0") or Decimal(text or 0) > MOST:
        raise BadInput(f"The value must be a number like 12.50, from 0 to {MOST}.")
    if currency and not _CURRENCY.fullmatch(currency):
        raise BadInput("The currency must be a code of three letters, like EUR (ISO 4217).")
    value = round(Decimal(text or 0) * UNIT)
    if value and not currency:
        raise BadInput("A value needs its currency, like EUR.")
    if not _ORDER.fullmatch(order):
        raise BadInput("The order must be an id of at most 100 letters, digits and ._:#/- characters.")
    return value, currency.upper(), order
