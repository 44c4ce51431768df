"""Countries as tzdata's own tables know them: which codes there are, and which time zone to take for one.

No list of ours to keep: a lock bump of tzdata brings what changed. The tables are in the public domain.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import tzdata

from shared.errors import BadInput

# zone.tab's rows of a country stand in a geographical order, and the first is the most populous one only where that order allows.
# Here it does not: the first is an island or an edge of the country.
_MOST_PEOPLE = {
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "UZ": "Asia/Tashkent",
}


def country_code(text: str) -> str:
    """The ISO 3166-1 alpha-2 code that somebody typed, in capitals; "" for nothing. Raises BadInput for a code of no country."""
    code = text.strip().upper()
    if code and not (text.isascii() and code in _codes()):  # "ß" in capitals is "SS", South Sudan
        raise BadInput("The country must be a code of two letters such as DE or BR.", "country")
    return code


def zone_of(country: str) -> str:
    """The IANA time zone most people of a country live by; "" for a country that has none in zone.tab."""
    return _zones().get(country, "")


@cache
def _codes() -> frozenset[str]:
    return frozenset(row[0] for row in _rows("iso3166.tab"))


@cache
def _zones() -> dict[str, str]:
    """zone.tab and not zone1970.tab, which gives Oslo the zone of Berlin: a country keeps a zone that bears its own city's name."""
    first: dict[str, str] = {}
    for country, _, zone, *_ in _rows("zone.tab"):
        first.setdefault(country, zone)
    return first | _MOST_PEOPLE


def _rows(table: str) -> list[list[str]]:
    lines = files(tzdata).joinpath("zoneinfo", table).read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]
