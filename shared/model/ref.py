"""Which mail a token, a header or an event speaks of."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from shared.errors import BadToken

CAMPAIGN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_TEXT = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]{0,39})~([A-Za-z0-9_-]{22})~([A-Za-z0-9-]{0,40})")


@dataclass(frozen=True, slots=True)
class MailRef:
    """One mail: the campaign, the subscriber, and a key where a subscriber gets more than one mail of a campaign (the day
    of a confirmation, the consent of a welcome)."""

    campaign: str
    sid: str  # 32 hex digits
    key: str = ""

    @property
    def delivery(self) -> str:
        """The id of its document in `deliveries`."""
        return f"{self.sid}.{self.key}" if self.key else self.sid

    @property
    def text(self) -> str:
        """`{campaign}~{sid, base64url}~{key}`: safe in a URL and in the left side of a Message-ID."""
        return f"{self.campaign}~{base64.urlsafe_b64encode(bytes.fromhex(self.sid))[:22].decode()}~{self.key}"

    @classmethod
    def parse(cls, text: str) -> MailRef:
        """The inverse of `text`; raises BadToken."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise BadToken("not a mail reference")
        sid = base64.urlsafe_b64decode(match[2] + "==").hex()
        found = cls(match[1], sid, match[3])
        if found.text != text:  # a second spelling of the same bytes
            raise BadToken("not a mail reference")
        return found
