"""The addresses written into mails, and how a step reads them back.

    {base}/track/o/{track token}                           open pixel
    {base}/track/k/{track token}/{n}.{target}.{signature}  click: the target is signed at compile time with the campaign
    {base}/unsubscribe/{leave token}                       one-click POST, and the page
    {base}/subscribe/confirm/{confirm token}               double opt-in

A hit needs no store: the link carries its target, so there is no open redirect, and links outlive purges.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.errors import BadToken
from shared.model.ref import MailRef
from shared.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Links:
    """`base` is the public URL without a trailing slash."""

    base: str
    tokens: Tokens

    def track_token(self, ref: MailRef) -> str:
        return self.tokens.sign("track", ref.text)

    def open(self, track_token: str) -> str:
        return f"{self.base}/track/o/{track_token}"

    def click(self, track_token: str, signed_target: str) -> str:
        return f"{self.base}/track/k/{track_token}/{signed_target}"

    def signed_target(self, campaign: str, n: int, target: str) -> str:
        """The last segment of a click link for the `n`th link of a mail; `target` is an absolute http or https URL."""
        payload = f"{n}.{base64.urlsafe_b64encode(target.encode()).rstrip(b'=').decode()}"
        return self.tokens.sign("link", f"{campaign}/{payload}").removeprefix(f"{campaign}/")

    def unsubscribe(self, ref: MailRef) -> str:
        return f"{self.base}/unsubscribe/{self.tokens.sign('leave', ref.text)}"

    def message_id(self, ref: MailRef, domain: str) -> str:
        """Deterministic, so a repeat would be seen as one; with angle brackets."""
        return f"<{self.tokens.sign('message', ref.text)}@{domain}>"

    def confirm(self, sid: str, consent: str, expires: int) -> str:
        """`expires` in milliseconds."""
        return f"{self.base}/subscribe/confirm/{self.tokens.sign('confirm', f'{sid}.{consent}.{expires // 1000}')}"

    def read_track(self, token: str) -> MailRef:
        return MailRef.parse(self.tokens.verify("track", token))

    def read_leave(self, token: str) -> MailRef:
        return MailRef.parse(self.tokens.verify("leave", token))

    def read_message_id(self, message_id: str) -> MailRef:
        """From a Message-ID with or without brackets and domain; raises BadToken."""
        return MailRef.parse(self.tokens.verify("message", message_id.strip().strip("<>").rpartition("@")[0]))

    def read_target(self, campaign: str, signed_target: str) -> tuple[int, str]:
        """(link number, target); raises BadToken for a target not signed for this campaign."""
        n, _, encoded = self.tokens.verify("link", f"{campaign}/{signed_target}").removeprefix(f"{campaign}/").partition(".")
        try:
            target = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            number = int(n)
        except ValueError:
            raise BadToken("malformed link") from None
        if not trackable(target):
            raise BadToken("not a web link")
        return number, target

    def read_confirm(self, token: str, now: int) -> tuple[str, str]:
        """(sid, consent id); raises BadToken, also when expired at `now` (milliseconds)."""
        sid, consent, expires = self.tokens.verify("confirm", token).split(".")
        if int(expires) * 1000 < now:
            raise BadToken("expired")
        return sid, consent


def trackable(target: str) -> bool:
    """Whether a link is an absolute web link that a click can be counted for."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not any(c.isspace() or ord(c) < 32 for c in target)
