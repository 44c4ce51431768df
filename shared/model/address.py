"""Addresses and the id made from one.

`sid` = first 16 bytes, lowercase hex, of HMAC-SHA-256(pepper, tenant ‖ 0 ‖ canonical_v1(address)). The pepper never rotates and
`canonical_v1` never changes: a new rule would be `canonical_v2` with a migration. Golden vectors: tests/unit/test_address.py.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata

import email_validator
import idna

from shared.errors import BadInput

MAX_LENGTH = 254  # octets in a forward path (RFC 5321 4.5.3.1.3, erratum 1690)
MAX_TYPED = 320  # characters worth a look: the library takes its time over more


def parse(text: str) -> str:
    """The address as we mail it: local part as given, domain lower-case ASCII (IDNA 2008).

    Raises BadInput with a sentence for the person who typed it. Addresses whose local part needs SMTPUTF8 are refused.
    """
    text = text.strip()
    if not text:
        raise BadInput("Please give an e-mail address.", "email")
    if len(text) > MAX_TYPED:
        raise BadInput("This is not an e-mail address we can mail: it is too long.", "email")
    try:
        found = email_validator.validate_email(
            text, check_deliverability=False, allow_smtputf8=False, strict=True, test_environment=True
        )
    except email_validator.EmailSyntaxError as error:
        raise BadInput(f"This is not an e-mail address we can mail: {_reason(error)}", "email") from None
    except email_validator.EmailNotValidError:
        raise BadInput("This is not an e-mail address we can mail.", "email") from None
    return f"{found.local_part}@{found.ascii_domain}"


def _reason(error: Exception) -> str:
    """The library's reason, without any quotation of what was typed."""
    reason = str(error).splitlines()[0]
    return reason if "@" not in reason.replace("@-sign", "").replace("@ sign", "") and len(reason) < 160 else "it is malformed."


def canonical_v1(address: str) -> str:
    """Two spellings of one mailbox give one text: NFC, lower-case, IDNA-encoded domain. Nothing else is folded: dots and
    +tags tell mailboxes apart at most providers."""
    local, _, domain = unicodedata.normalize("NFC", address.strip()).rpartition("@")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local.lower()}@{domain.lower()}"


def sid_of(pepper: bytes, tenant: str, address: str) -> str:
    """The subscriber id of an address: 32 lowercase hex digits."""
    message = tenant.encode() + b"\0" + canonical_v1(address).encode()
    return hmac.digest(pepper, message, hashlib.sha256)[:16].hex()


def masked(address: str) -> str:
    """For tabs and pages: `j***@example.com`."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"
