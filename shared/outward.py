"""Where a request may go that somebody else has named: only out, never to this machine, this network or the platform's own services."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_UNICAST: Final = IPv6Network("2000::/3")  # all that was given out; mapped, translated, link-local and private ones are elsewhere
_TO_IPV4: Final = IPv6Network("2002::/16")  # 6to4 (RFC 3056): any IPv4 address in disguise


def public(text: str) -> bool:
    """Whether an IP address is one of the public internet's, for a single host
    (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry)."""
    try:
        address = ip_address(text)
    except ValueError:  # a host name, or an address with a zone
        return False
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address in _TO_IPV4):
        return False
    return address.is_global and not _odd(address)


def _odd(address: IPv4Address | IPv6Address) -> bool:
    return address.is_multicast or address.is_reserved or address.is_unspecified
