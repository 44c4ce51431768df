"""Addresses as people type them. The id made from one: shared/model/sid.py."""

from __future__ import annotations

import re
from typing import Final

import email_validator

from shared.errors import BadInput
from shared.model.sid import MAX_TYPED, canonical_v1, masked, sid_of

__all__ = ["MAX_LENGTH", "MAX_TYPED", "canonical_v1", "masked", "parse", "sid_of"]

MAX_LENGTH = 254  # octets in a forward path (RFC 5321 4.5.3.1.3, erratum 1690)

# What nearly everybody types, and what the library gives back unchanged; all else it judges itself, for ten times the CPU.
_PLAIN: Final = re.compile(
    r"(?=.{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.ASCII
)
_SPECIAL: Final = tuple(email_validator.SPECIAL_USE_DOMAIN_NAMES)


def parse(text: str) -> str:
    """The address as we mail it: local part as given, domain lower-case ASCII (IDNA 2008).

    Raises BadInput with a sentence for the person who typed it. Addresses whose local part needs SMTPUTF8 are refused.
    """
    text = text.strip()
    if len(text) <= MAX_LENGTH and _PLAIN.fullmatch(text) and "--" not in text and not text.endswith(_SPECIAL):
        return text
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
