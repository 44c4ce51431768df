"""The id made from an address, and how an address is shown, apart from how one that was typed is judged (shared/model/address.py), which
takes a library that most steps do without.

`sid` = first 16 bytes, lowercase hex, of HMAC-SHA-256(pepper, tenant ‖ 0 ‖ canonical_v1(address)). The pepper never rotates and
`canonical_v1` never changes: a new rule would be `canonical_v2` with a migration. Golden vectors: tests/unit/test_address.py.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata

import idna

MAX_TYPED = 320  # characters worth a look: a library takes its time over more


def canonical_v1(address: str) -> str:
    """Two spellings of one mailbox give one text: NFC, lower-case, IDNA-encoded domain. Nothing else is folded: dots and
    +tags tell mailboxes apart at most providers."""
    local, _, domain = unicodedata.normalize("NFC", address.strip()).rpartition("@")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local.lower()}@{domain.lower()}"


def sid_of(pepper: bytes, tenant: str, address: str) -> str:
    """The subscriber id of an address: 32 lowercase hex digits. Raises ValueError for a domain that no address can have."""
    message = tenant.encode() + b"\0" + canonical_v1(address).encode()
    return hmac.digest(pepper, message, hashlib.sha256)[:16].hex()


def masked(address: str) -> str:
    """For tabs and pages: `j***@example.com`."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"
