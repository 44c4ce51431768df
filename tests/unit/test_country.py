"""Codes and time zones come from tzdata; the few zones chosen by hand are ones it lists for that country."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from shared.errors import BadInput
from shared.model import country


@pytest.mark.parametrize(("text", "code"), [("", ""), ("  ", ""), ("DE", "DE"), (" br ", "BR"), ("gb", "GB")])
def test_a_code_is_taken_in_any_letters(text: str, code: str) -> None:
    assert country.country_code(text) == code


@pytest.mark.parametrize("text", ["D", "DEU", "XX", "UK", "AN", "Germany", "D.", "#code", "ＤＥ", "ß"])
def test_a_code_of_no_country_is_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match=r"^The country must be a code of two letters such as DE or BR\.$") as error:
        country.country_code(text)
    assert error.value.field == "country"


@pytest.mark.parametrize(
    ("code", "zone"),
    [
        ("DE", "Europe/Berlin"),
        ("NO", "Europe/Oslo"),  # zone1970.tab knows it as Europe/Berlin
        ("US", "America/New_York"),
        ("BR", "America/Sao_Paulo"),  # zone.tab begins with the island of Noronha
        ("RU", "Europe/Moscow"),
        ("CN", "Asia/Shanghai"),
        ("PT", "Europe/Lisbon"),
        ("BV", ""),
        ("XX", ""),
        ("", ""),
    ],
)
def test_a_country_has_the_zone_of_most_of_its_people(code: str, zone: str) -> None:
    assert country.zone_of(code) == zone


def test_every_zone_exists_and_every_country_but_two_islands_has_one() -> None:
    zones = country._zones()
    assert {code for code in country._codes() if code not in zones} == {"BV", "HM"}  # nobody lives there
    assert all(ZoneInfo(zone).key == zone for zone in zones.values())


def test_a_zone_chosen_by_hand_is_the_countrys_own_and_not_its_first() -> None:
    rows = [(code, zone) for code, _, zone, *_ in country._rows("zone.tab")]
    for code, zone in country._MOST_PEOPLE.items():
        assert (code, zone) in rows and next(row for row in rows if row[0] == code) != (code, zone)
