"""What each evidence of a reader's choice keeps of the moment it was made: the very words, and not the person's address on the network."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any, Final

_NUMBER: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"((?:{_NUMBER}\.){{3}}){_NUMBER}")


def network_of(client: str) -> str:
    """Consent evidence keeps the network, not the person: IPv4 to /24, IPv6 to /56; "" when it is no address."""
    if plain := _IPV4.fullmatch(client):  # nearly always, and a tenth of the CPU
        return f"{plain[1]}0/24"
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return ""
    address = getattr(address, "ipv4_mapped", None) or address  # ::ffff:192.0.2.1: else all of IPv4 would be one network
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 56), strict=False))


def text_version(text: str) -> str:
    """Tells one text from every other: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def agent_of(header: str) -> str:
    """A User-Agent as evidence keeps it: 200 characters, and no address, which some programs put into theirs."""
    return " ".join(word if "@" not in word else "…" for word in header.split())[:200]


def evidence(kind: str, text: str, page: str, language: str, source: str, client: str, agent: str, at: int) -> dict[str, Any]:
    """What every evidence holds: the `text` as it was shown, on which `page`, in which language; `client`: an IP address, `agent`: a
    User-Agent; `at` in ms."""
    return {
        "kind": kind,
        "at": at,
        "text": text,
        "text_version": text_version(text) if text else "",
        "page": page,
        "language": language,
        "source": source,
        "network": network_of(client),
        "agent": agent_of(agent),
    }
