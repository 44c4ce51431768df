"""The addresses written into mails, and how a step reads them back.

    {base}/track/o/{track token}                           open pixel
    {base}/track/k/{track token}/{n}.{target}.{signature}  click: the target is signed at compile time with the campaign
    {base}/track/h/{track token}                           a link that nobody sees: who follows it is a machine
    {base}/track/c?sp={track token}                        conversion, told by the site that a click went to
    {base}/unsubscribe/{leave token}                       one-click POST, and the page
    {base}/unsubscribe/preferences/{leave token}           the preference centre
    {base}/unsubscribe/keep/{leave token}                  the page that asks whether a reader still agrees
    {base}/subscribe/confirm/{confirm token}               double opt-in
    {base}/live/{live token}                               a running campaign's numbers
    {base}/archive/{view token}                            a campaign in the browser, the same for everybody
    b+{message token}@{domain}                             where a mail's bounces go (VERP)

A hit needs no store: the link carries its target, so there is no open redirect, and links outlive purges.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from shared.errors import BadToken
from shared.model.ref import MailRef
from shared.tokens import Tokens

MAX_LOCAL_PART = 64  # octets, RFC 5321 §4.5.3.1.1
NO_LANGUAGE = "-"
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]
_NOT_IN_A_LINK = re.compile(r"[\s\x00-\x1f]")
_TRACKED = re.compile(r"(.*~.*~[^~]*)~([1-9a-f][0-9a-f]{0,9})")
_RETURN_PATH = re.compile(r"[Bb]\+([^~@]+)~([A-Za-z2-7]{26})~([^~@.]*)\.([A-Za-z2-7]{26})")  # in base32


@dataclass(frozen=True, slots=True)
class Links:
    """`base` is the public URL without a trailing slash."""

    base: str
    tokens: Tokens

    def of_mail(self, ref: MailRef, domain: str, at: int = 0) -> tuple[str, str, str]:
        """What each mail carries: `track_token`, `unsubscribe` and `message_id`, made at once."""
        text = ref.text
        tracked = f"{text}~{at // 1000:x}" if at else text
        track, leave, message = self.tokens.sign_each((("track", tracked), ("leave", text), ("message", text)))
        return track, f"{self.base}/unsubscribe/{leave}", f"<{message}@{domain}>"

    def track_token(self, ref: MailRef, at: int = 0) -> str:
        """`at`: when the mail was handed over (ms), kept to the second; 0 leaves it out."""
        return self.tokens.sign("track", f"{ref.text}~{at // 1000:x}" if at else ref.text)

    def open(self, track_token: str) -> str:
        return f"{self.base}/track/o/{track_token}"

    def click(self, track_token: str, signed_target: str) -> str:
        return f"{self.base}/track/k/{track_token}/{signed_target}"

    def trap(self, track_token: str) -> str:
        return f"{self.base}/track/h/{track_token}"

    def signed_target(self, campaign: str, n: int, target: str) -> str:
        """The last segment of a click link for the `n`th link of a mail; `target` is an absolute http or https URL."""
        payload = f"{n}.{base64.urlsafe_b64encode(target.encode()).rstrip(b'=').decode()}"
        return self.tokens.sign("link", f"{campaign}/{payload}").removeprefix(f"{campaign}/")

    def unsubscribe(self, ref: MailRef) -> str:
        return f"{self.base}/unsubscribe/{self.tokens.sign('leave', ref.text)}"

    def preferences(self, ref: MailRef) -> str:
        return self.beside(self.unsubscribe(ref), "preferences")

    def beside(self, unsubscribe: str, page: str) -> str:
        """The address of another page ("preferences", "keep") for the mail with this address to leave: the token is the same, so nothing
        is signed."""
        own = len(self.base) + 13  # "/unsubscribe/"
        return f"{unsubscribe[:own]}{page}/{unsubscribe[own:]}"

    def message_id(self, ref: MailRef, domain: str) -> str:
        """Deterministic, so a repeat would be seen as one; with angle brackets."""
        return f"<{self.tokens.sign('message', ref.text)}@{domain}>"

    def return_path(self, ref: MailRef, domain: str) -> str:
        """The envelope sender of one mail, so that any bounce of it tells which; "" when its local part would be too long, for the
        plain one to be used.

        Some servers fold a local part to one case on a bounce's way. Where there is room (campaign and key of up to 7 characters),
        the token's bytes are therefore in base32, and a folded address is still read; otherwise they are in base64url, and a
        folded address is a BadToken.
        """
        token = self.tokens.sign("message", ref.text)
        signature = base64.urlsafe_b64decode(f"{token[-22:]}==")
        folded = f"{ref.campaign}~{_base32(bytes.fromhex(ref.sid))}~{ref.key}.{_base32(signature)}"
        fitting = next((form for form in (folded, token) if len(form) + 2 <= MAX_LOCAL_PART), "")
        return f"b+{fitting}@{domain}" if fitting else ""

    def confirm(self, sid: str, consent: str, key: str, expires: int) -> str:
        """`key`: of the mail that carries it; `expires` in milliseconds."""
        return f"{self.base}/subscribe/confirm/{self.tokens.sign('confirm', f'{sid}.{consent}.{key}.{expires // 1000}')}"

    def live(self, campaign: str, until: int, tenant: str) -> str:
        """`until` in milliseconds. The tenant is signed and not shown."""
        token = self.tokens.sign("live", f"{tenant}/{campaign}.{until // 1000}").removeprefix(f"{tenant}/")
        return f"{self.base}/live/{token}"

    def view(self, campaign: str, language: str = "") -> str:
        """The public version of a campaign in one of its languages, "" for that of everybody else."""
        return f"{self.base}/archive/{self.tokens.sign('view', f'{campaign}.{language or NO_LANGUAGE}')}"

    def read_track(self, token: str) -> tuple[MailRef, int]:
        """The mail, and when it was handed over (ms), 0 where the token does not say; raises BadToken, Unavailable."""
        text = self.tokens.verify("track", token)
        if found := _TRACKED.fullmatch(text):
            return MailRef.parse(found[1]), int(found[2], 16) * 1000
        return MailRef.parse(text), 0

    def read_leave(self, token: str) -> MailRef:
        return MailRef.parse(self.tokens.verify("leave", token))

    def read_message_id(self, message_id: str) -> MailRef:
        """From a Message-ID with or without brackets and domain; raises BadToken."""
        return MailRef.parse(self.tokens.verify("message", message_id.strip().strip("<>").rpartition("@")[0]))

    def read_return_path(self, address: str) -> MailRef:
        """The mail that a bounce's recipient speaks of, with or without brackets; raises BadToken."""
        local = address.strip().strip("<>").rpartition("@")[0]
        found = _RETURN_PATH.fullmatch(local)
        if found is None:
            return MailRef.parse(self.tokens.verify("message", local[2:] if local[:2] in ("b+", "B+") else ""))
        campaign, sid, key, signature = found.groups()
        sid, signature = _base64(sid), _base64(signature)
        for fold in (str, str.upper, str.lower):  # an id is in one case, or its address was not folded
            try:
                return MailRef.parse(self.tokens.verify("message", f"{fold(campaign)}~{sid}~{fold(key)}.{signature}"))
            except BadToken:
                continue
        raise BadToken("not a return path of ours")

    def read_target(self, campaign: str, signed_target: str) -> tuple[int, str]:
        """(link number, target); raises BadToken for a target not signed for this campaign."""
        return _target(self.tokens.verify("link", f"{campaign}/{signed_target}").removeprefix(f"{campaign}/"))

    def read_confirm(self, token: str, now: int) -> tuple[str, str, str]:
        """(sid, consent id, key of the mail); raises BadToken, also when expired at `now` (milliseconds)."""
        sid, consent, key, expires = self.tokens.verify("confirm", token).split(".")
        if int(expires) * 1000 < now:
            raise BadToken("expired")
        return sid, consent, key

    def read_view(self, token: str) -> tuple[str, str]:
        """(campaign, language, "" for that of everybody else); raises BadToken, Unavailable."""
        campaign, language = self.tokens.verify("view", token).split(".")
        return campaign, "" if language == NO_LANGUAGE else language

    def read_live(self, token: str, tenant: str, now: int) -> tuple[str, int]:
        """(campaign, until when in ms); raises BadToken, also for another tenant's and when expired at `now` (ms)."""
        campaign, until = self.tokens.verify("live", f"{tenant}/{token}").removeprefix(f"{tenant}/").split(".")
        if int(until) * 1000 <= now:
            raise BadToken("expired")
        return campaign, int(until) * 1000


@lru_cache(maxsize=1024)  # the readers of a campaign follow the same few
def _target(payload: str) -> tuple[int, str]:
    """(link number, target) of a verified payload; raises BadToken."""
    n, _, encoded = payload.partition(".")
    try:
        target = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        number = int(n)
    except ValueError:
        raise BadToken("malformed link") from None
    if not trackable(target):
        raise BadToken("not a web link")
    return number, target


def _base32(data: bytes) -> str:
    """16 bytes as 26 lower-case characters, without padding; for each mail, so without base64's slow way."""
    bits = int.from_bytes(data, "big") << 2
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])


def _base64(text: str) -> str:
    """26 characters of base32 in base64url; raises BadToken for a second spelling of the same bytes."""
    data = base64.b32decode(text.upper() + "======")
    if _base32(data) != text.lower():
        raise BadToken("not a token of ours")
    return base64.urlsafe_b64encode(data)[:22].decode()


def trackable(target: str) -> bool:
    """Whether a link is an absolute web link that a click can be counted for."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not _NOT_IN_A_LINK.search(target)
