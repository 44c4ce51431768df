"""Moments that no calendar holds, zones that are none."""

from __future__ import annotations

import pytest

from shared.model.moments import moment

NOW = 1_800_000_000_000


@pytest.mark.parametrize("at", [2**63, 10**400, -(2**63), 253_402_300_800_000, -(10**15), 10**17])
def test_a_time_beyond_the_calendar_is_not_shown(at: int) -> None:
    for zone in ("UTC", "Asia/Tokyo", "Europe"):
        assert moment(at, zone) == ""


@pytest.mark.parametrize("zone", ["Europe", "America/Argentina", "", "Nowhere", "../etc", "a\0b", "UTC"])
def test_a_zone_that_is_none_is_utc(zone: str) -> None:
    assert moment(NOW, zone) == "2027-01-15 08:00"
    assert moment(0, zone) == ""
