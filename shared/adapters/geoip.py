"""Locations from a file in MaxMind's database format: the bundled countries, or a city database that the operator brings.

The bundled file, made by `local/geo_convert.py`, lies uncompressed in the repository: 2.6 MB that are mapped into memory in 0.1 ms,
2 µs a look-up. As .xz it is 1.1 MB, but costs every cold start 150 ms of CPU, and 40 µs a look-up unless it is written out again.

Read with maxminddb, which geoip2 is a shell around: 13 ms to import instead of 19, 2 µs a look-up instead of 13, and nine packages
less (aiohttp among them) in the locks of steps that only look at files.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

import maxminddb

from shared.errors import ConfigError
from shared.logs import log
from shared.model.country import zone_of
from shared.ports import Location

BUNDLED = Path(__file__).parents[1] / "data" / "country.mmdb"
NOWHERE = Location()
_CODE = re.compile(r"[A-Z]{2}")
# First numbers of IPv4 under which some addresses are nowhere (https://www.iana.org/assignments/iana-ipv4-special-registry):
# only there is it worth asking the standard library, which looks through all such networks.
_MIXED = frozenset({0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256)})


class GeoIp:
    """Implements `shared.ports.Geo`."""

    def __init__(self, reader: maxminddb.Reader) -> None:
        self._reader = reader

    @classmethod
    def open(cls, database: str = "") -> GeoIp:
        """On the file `database` (GeoLite2 or DB-IP, City or Country), or the bundled one. Raises ConfigError."""
        try:
            reader = maxminddb.open_database(database or BUNDLED)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise ConfigError(f"GEO_DATABASE cannot be read: {error}") from None
        kind = reader.metadata().database_type
        if "City" not in kind and "Country" not in kind:
            raise ConfigError(f"GEO_DATABASE must be a city or country database, not {kind!r}")
        return cls(reader)

    def locate(self, address: str) -> Location:
        """Where an address is; nowhere for private, reserved and malformed ones, which a database may well hold by mistake."""
        try:
            ip = ipaddress.ip_address(address)
            ip = getattr(ip, "ipv4_mapped", None) or ip
            return _location(self._reader.get(str(ip))) if _public(ip) else NOWHERE
        except ValueError:  # no address, or one with a zone ("fe80::1%eth0"), or IPv6 in a database that has none
            return NOWHERE
        except (maxminddb.InvalidDatabaseError, OSError) as error:
            log("ERROR", f"the geo database is broken: {error}")
            return NOWHERE


def _public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return (ip.version == 4 and int(ip) >> 24 not in _MIXED) or (ip.is_global and not ip.is_multicast)


def _location(record: Any) -> Location:
    country = _text(record, "country", "iso_code")
    if not _CODE.fullmatch(country):
        return NOWHERE
    zone = _text(record, "location", "time_zone") or zone_of(country)
    return Location(country, _text(record, "city", "names", "en")[:100], zone)


def _text(record: Any, *names: str) -> str:
    """The text at a path of a record, "" when it is not there."""
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, str) else ""
