"""The Geo of a stack: the same on each."""

from __future__ import annotations

from functools import cache

from shared.config import Base
from shared.ports import Geo


@cache
def open_geo(config: Base) -> Geo:
    """Raises ConfigError naming GEO_DATABASE."""
    from shared.adapters.geoip import GeoIp

    return GeoIp.open(config.geo_database)
