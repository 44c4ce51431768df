"""Make the bundled country database: python -m local.geo_convert geo-whois-asn-country.mmdb

The source is the npm package `@ip-location-db/geo-whois-asn-country-mmdb`, or a newer file of that project: flat records,
`{"country_code": "DE"}`. The result has GeoIP2-Country's shape and a third of the size: neighbours of one country become one network,
and parts of the tree that look alike are stored once. The same source gives the same bytes.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import maxminddb
from mmdb_writer import SearchTreeLeaf, SearchTreeNode, TreeWriter

from shared.adapters.geoip import BUNDLED

CREDIT = (
    "Country of IP addresses, converted (merged, other shape) from geo-whois-asn-country of {day:%Y-%m-%d} by ip-location-db, "
    "https://github.com/sapics/ip-location-db, with data of the NRO (nro.net) and the RIRs' whois, "
    "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
)
Network = tuple[int, int, str]  # first address, prefix length, country; IPv4 as ::/96, as readers look it up
Child = SearchTreeNode | SearchTreeLeaf | None


def convert(source: Path, target: Path) -> None:
    """Raises OSError, maxminddb.InvalidDatabaseError, and ValueError for a record without a country code."""
    with maxminddb.open_database(source) as reader:
        networks = [
            (int(network.network_address), network.prefixlen + (96 if network.version == 4 else 0), _code(record))
            for network, record in reader
        ]
        made = reader.metadata().build_epoch
    root = _Tree(sorted(networks)).child(0, len(networks), 0, 0)
    if not isinstance(root, SearchTreeNode):
        raise ValueError("there are no networks in the source")
    meta = {
        "ip_version": 6,
        "database_type": "ip-location-db-Country",
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "description": {"en": CREDIT.format(day=datetime.fromtimestamp(made, UTC))},
        "build_epoch": made,
    }
    TreeWriter(root, meta).write(str(target))


def _code(record: object) -> str:
    code = record.get("country_code") if isinstance(record, dict) else None
    if not isinstance(code, str):
        raise ValueError("the source holds a record without a country_code")
    return code


class _Tree:
    """The search tree of sorted, disjoint networks, built from its leaves so that equal subtrees are one object."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._leaves: dict[str, SearchTreeLeaf] = {}
        self._nodes: dict[tuple[int, int], SearchTreeNode] = {}  # by the identities of both children, which outlive it

    def child(self, low: int, high: int, first: int, depth: int) -> Child:
        """The subtree of networks[low:high], which share the `depth` leading bits of the address `first`."""
        if low == high:
            return None
        _, length, country = self._networks[low]
        if length == depth:
            return self._leaves.setdefault(country, SearchTreeLeaf({"country": {"iso_code": country}}))
        half = first | 1 << (127 - depth)
        middle = bisect_left(self._networks, (half,), low, high)
        left, right = self.child(low, middle, first, depth + 1), self.child(middle, high, half, depth + 1)
        if left is right and isinstance(left, SearchTreeLeaf) and depth > 0:
            return left
        return self._nodes.setdefault((id(left), id(right)), SearchTreeNode(left, right))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the bundled country database.")
    parser.add_argument("source", type=Path, help="geo-whois-asn-country.mmdb")
    parser.add_argument("target", type=Path, nargs="?", default=BUNDLED)
    given = parser.parse_args()
    convert(given.source, given.target)
    print(f"{given.target}: {given.target.stat().st_size:,} bytes")
