"""Where addresses are: the bundled file, an operator's city database, and how the bundled file is made."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import geoip2.database
import maxminddb
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from local.geo_convert import convert
from shared.adapters import geoip
from shared.adapters.geoip import BUNDLED, GeoIp
from shared.config import Base
from shared.errors import ConfigError
from shared.ports import Location
from shared.stack.geo import open_geo

NOWHERE = Location()
LISBON = {
    "country": {"iso_code": "PT"},
    "city": {"names": {"de": "Lissabon", "en": "Lisbon"}},
    "location": {"time_zone": "Europe/Lisbon"},
}
AZORES = {"country": {"iso_code": "PT"}, "city": {"names": {"en": "Ponta Delgada"}}, "location": {"time_zone": "Atlantic/Azores"}}


def write(path: Path, kind: str, networks: dict[str, Any], version: int = 6) -> str:
    writer = MMDBWriter(version, kind, ["en"], "made by a test", ipv4_compatible=version == 6)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return str(path)


@pytest.fixture(scope="module")
def bundled() -> GeoIp:
    return GeoIp.open()


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("8.8.8.8", Location("US", "", "America/New_York")),
        ("193.0.6.139", Location("NL", "", "Europe/Amsterdam")),
        ("200.160.2.3", Location("BR", "", "America/Sao_Paulo")),
        ("2001:67c:2e8:22::c100:68b", Location("NL", "", "Europe/Amsterdam")),
        ("2001:12ff:0:2::3", Location("BR", "", "America/Sao_Paulo")),
        ("::ffff:193.0.6.139", Location("NL", "", "Europe/Amsterdam")),
    ],
)
def test_the_bundled_database_knows_countries(bundled: GeoIp, address: str, place: Location) -> None:
    assert bundled.locate(address) == place


NO_PLACE = [
    "10.0.0.1",
    "192.168.1.1",  # which the data calls Australian
    "::ffff:192.168.1.1",
    "172.16.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.51.100.7",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "2001:67c:2e8:22::c100:68b%eth0",
    "fc00::1",
    "ff02::1",
    "2001:db8::1",  # which the data calls Japanese
    "",
    "testclient",
    "8.8.8",
    "8.8.8.8:80",
    " 8.8.8.8",
    "8.8.8.8\n",
    "08.8.8.8",
    "[2a00::1]",
    "8.8.8.8, 1.1.1.1",
    "\ud800",
    "9" * 5000,
]


@pytest.mark.parametrize("address", NO_PLACE)
def test_private_reserved_and_malformed_addresses_are_nowhere(bundled: GeoIp, address: str) -> None:
    assert bundled.locate(address) == NOWHERE


@pytest.mark.parametrize("address", NO_PLACE)
def test_they_are_nowhere_whatever_a_database_says(tmp_path: Path, address: str) -> None:
    everywhere = {"0.0.0.0/1": LISBON, "128.0.0.0/1": LISBON, "8000::/1": LISBON, "2000::/3": LISBON}
    assert GeoIp.open(write(tmp_path / "all.mmdb", "GeoLite2-City", everywhere)).locate(address) == NOWHERE


def test_a_city_database_gives_the_city_and_its_own_zone(tmp_path: Path) -> None:
    records: dict[str, Any] = {
        "85.240.0.0/16": LISBON,
        "85.241.0.0/16": AZORES,
        "2a00:1::/32": LISBON,
        "85.242.0.0/16": {"country": {"iso_code": "PT"}, "city": {"names": {"pt": "Porto"}}},  # DB-IP's lite files have no zone
        "85.243.0.0/16": {"city": {"names": {"en": "Nowhere"}}},
        "85.244.0.0/16": {"country": {"iso_code": "pt.x"}},
        "85.245.0.0/16": {"country": "PT"},
        "85.246.0.0/16": ["PT"],
    }
    geo = GeoIp.open(write(tmp_path / "city.mmdb", "DBIP-City-Lite", records))
    assert geo.locate("85.240.1.1") == Location("PT", "Lisbon", "Europe/Lisbon") == geo.locate("2a00:1::1")
    assert geo.locate("85.241.1.1") == Location("PT", "Ponta Delgada", "Atlantic/Azores")
    assert geo.locate("85.242.1.1") == Location("PT", "", "Europe/Lisbon")
    assert [geo.locate(f"85.{n}.1.1") for n in (243, 244, 245, 246, 247)] == [NOWHERE] * 5


def test_ipv6_is_nowhere_in_a_database_of_ipv4(tmp_path: Path) -> None:
    geo = GeoIp.open(write(tmp_path / "four.mmdb", "GeoLite2-City", {"85.240.0.0/16": LISBON}, version=4))
    assert (geo.locate("85.240.1.1").city, geo.locate("2a00:1::1")) == ("Lisbon", NOWHERE)


def test_a_record_that_cannot_be_read_is_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(write(tmp_path / "city.mmdb", "GeoLite2-City", {"85.240.0.0/16": LISBON}))
    data, end = path.read_bytes(), path.read_bytes().index(b"\xab\xcd\xefMaxMind.com")
    start = data.index(b"\x00" * 16) + 16
    path.write_bytes(data[:start] + b"\xff" * (end - start) + data[end:])
    assert GeoIp.open(str(path)).locate("85.240.1.1") == NOWHERE
    assert "the geo database is broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [None, b"", b"not a database", b"\xab\xcd\xefMaxMind.com", b"\xab\xcd\xefMaxMind.com\xff\xff"]
)
def test_a_missing_or_broken_database_names_the_setting(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "city.mmdb"
    if content is not None:
        file.write_bytes(content)
    config = Base(stack="embedded", tenant="t", public_url="https://a.example", state_dir="x", geo_database=str(file))
    with pytest.raises(ConfigError, match="GEO_DATABASE"):
        open_geo(config)


def test_a_database_of_something_else_names_the_setting(tmp_path: Path) -> None:
    path = write(tmp_path / "asn.mmdb", "GeoLite2-ASN", {"85.240.0.0/16": {"autonomous_system_number": 3243}})
    with pytest.raises(ConfigError, match="GEO_DATABASE must be a city or country database, not 'GeoLite2-ASN'"):
        GeoIp.open(path)


# --- the bundled file -------------------------------------------------------------------------------------------------

FLAT = {
    "8.0.0.0/9": "US",
    "8.128.0.0/9": "US",
    "9.0.0.0/24": "DE",
    "9.0.1.0/24": "FR",
    "9.1.0.0/24": "DE",
    "9.1.1.0/24": "FR",
    "2a00:1::/32": "PT",
    "2a00:2::/32": "PT",
    "2a00:3::/32": "PT",
}


def source(path: Path, networks: dict[str, str]) -> Path:
    return Path(write(path, "country ipvAll", {network: {"country_code": code} for network, code in networks.items()}))


def test_converting_keeps_every_network_in_geoip2s_shape(tmp_path: Path) -> None:
    target = tmp_path / "country.mmdb"
    convert(source(tmp_path / "flat.mmdb", FLAT), target)
    with geoip2.database.Reader(target) as reader:
        for network, code in FLAT.items():
            for ip in (IPSet([network]).iprange()[0], IPSet([network]).iprange()[-1]):
                assert reader.country(str(ip)).country.iso_code == code
        for outside in ("7.255.255.255", "9.0.2.0", "9.0.255.255", "2a00:4::", "2a00::1", "::1"):
            with pytest.raises(geoip2.errors.AddressNotFoundError):
                reader.country(outside)


def test_converting_merges_neighbours_and_stores_equal_parts_once(tmp_path: Path) -> None:
    target = tmp_path / "country.mmdb"
    flat = source(tmp_path / "flat.mmdb", FLAT)
    convert(flat, target)
    with maxminddb.open_database(target) as made, maxminddb.open_database(flat) as given:
        assert {str(network) for network, _ in made} == {*FLAT, "8.0.0.0/8", "2a00:2::/31"} - {
            "8.0.0.0/9",
            "8.128.0.0/9",
            "2a00:2::/32",
            "2a00:3::/32",
        }
        shared = 8  # 9.0.0.0/16 and 9.1.0.0/16 look alike below their ends
        assert made.metadata().node_count == given.metadata().node_count - shared - 2  # and two pairs became one network


def test_the_same_source_gives_the_same_bytes_with_credit_and_date(tmp_path: Path) -> None:
    flat = source(tmp_path / "flat.mmdb", FLAT)
    for name in ("a", "b"):
        convert(flat, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with maxminddb.open_database(tmp_path / "a") as made, maxminddb.open_database(flat) as given:
        assert made.metadata().build_epoch == given.metadata().build_epoch


def test_a_source_of_another_shape_is_refused(tmp_path: Path) -> None:
    other = Path(write(tmp_path / "city.mmdb", "GeoLite2-City", {"85.240.0.0/16": LISBON}))
    with pytest.raises(ValueError, match="country_code"):
        convert(other, tmp_path / "made")
    with pytest.raises(ValueError, match="no networks"):
        convert(source(tmp_path / "empty.mmdb", {}), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_who_is_nowhere_is_what_the_standard_library_says() -> None:
    """In each network of IPv4 with 65,536 addresses, at both ends."""
    for first in range(256):
        for second in range(256):
            for rest in ("0.0", "255.255"):
                ip = ipaddress.ip_address(f"{first}.{second}.{rest}")
                assert geoip._public(ip) == (ip.is_global and not ip.is_multicast), ip


def test_the_bundled_file_says_where_it_comes_from() -> None:
    with maxminddb.open_database(BUNDLED) as reader:
        metadata = reader.metadata()
    assert (metadata.ip_version, metadata.database_type) == (6, "ip-location-db-Country")
    credit = metadata.description["en"]
    assert all(part in credit for part in ("geo-whois-asn-country of 2026-06-17", "nro.net", "CC BY 4.0", "converted"))
    assert BUNDLED.stat().st_size < 3 << 20
