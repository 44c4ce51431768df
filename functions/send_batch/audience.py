"""Who of a window gets the mail, decided on the documents just read, and what the mail says to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from shared.links import Links
from shared.mail.compile import Recipient
from shared.model import batch
from shared.model.paths import ACCESS, CONFIRM, EXPORT, WELCOME
from shared.model.ref import MailRef
from shared.model.subscriber import LIFTABLE, country_of, in_segment, mailable

if TYPE_CHECKING:
    from shared.model.conditions import Rule

FIELDS = (
    "address",
    "asked",
    "status",
    "suppressed",
    "tags",
    "confirmed_at",
    "name",
    "language",
    "country",
    "located",
    "engaged_at",
    "paused_until",
    "frequency",
)
UNREACHABLE = frozenset({"hard_bounce", "complaint"})
CONFIRM_LASTS = 7 * 86_400_000  # ms a confirmation link works


@lru_cache(64)
def rule_of(text: str) -> Rule | None:
    """The rule that a campaign keeps of its segment, None without one. Only who has one pays for the language."""
    if not text:
        return None
    from shared.model.rules import parse

    return parse(text)


@dataclass(frozen=True)
class Audience:
    """The rule of one batch. `segment` and `frozen_at` (ms) belong to a campaign, and `rule` to one whose segment is one by rule, "" for
    the others; `consent` to a single mail; `key` tells it, or a later send of the campaign, from another mail to the same subscriber."""

    campaign: str
    segment: str = ""
    frozen_at: int = 0
    key: str = ""
    consent: str = ""
    rule: str = ""

    @cached_property
    def fields(self) -> Sequence[str]:
        """What is read of each subscriber."""
        return sorted({*FIELDS, *self._parsed.fields}) if self._parsed else FIELDS

    @cached_property
    def _parsed(self) -> Rule | None:
        return rule_of(self.rule)

    def judge(self, subscriber: Mapping[str, Any] | None) -> int:
        """HANDED when the mail should go, else the end state."""
        if subscriber is None or not self.address(subscriber):
            return batch.SKIPPED_LEFT
        reasons = set(subscriber.get("suppressed") or ())
        if self.campaign == CONFIRM:
            reasons -= LIFTABLE  # somebody who left asks to come back
        if self.campaign in (ACCESS, EXPORT):
            reasons &= UNREACHABLE  # who left may want to see, or change, what is kept
        if reasons:
            return batch.SUPPRESSED
        if self.campaign in (CONFIRM, ACCESS, EXPORT):
            return batch.HANDED
        if self.campaign == WELCOME:
            return batch.HANDED if mailable(subscriber) else batch.SKIPPED_LEFT
        if not in_segment(subscriber, self.segment, self._parsed, self.frozen_at):  # a rule's windows are those of the launch
            return batch.SKIPPED_LEFT
        return batch.SKIPPED_JOINED if subscriber.get("confirmed_at", 0) > self.frozen_at else batch.HANDED

    def ref(self, sid: str) -> MailRef:
        return MailRef(self.campaign, sid, self.key)

    def recipient(self, sid: str, subscriber: Mapping[str, Any], links: Links, now: int) -> Recipient:
        """What the template may use. A confirmation gets nothing that a visitor typed."""
        if self.campaign == CONFIRM:
            url = links.confirm(sid, self.consent, self.key, now + CONFIRM_LASTS)
            return Recipient(self.ref(sid), self.address(subscriber), {}, {"confirm_url": url})
        fields = {
            "name": subscriber.get("name", ""),
            "language": subscriber.get("language", ""),
            "country": country_of(subscriber),
            "tags": subscriber.get("tags", []),
        }
        return Recipient(self.ref(sid), self.address(subscriber), fields, {}, now)

    def address(self, subscriber: Mapping[str, Any]) -> str:
        """Where the mail goes: a confirmation to the spelling that waits for it, everything else to the confirmed one."""
        asked = subscriber.get("asked") if self.campaign == CONFIRM else ""
        return str(asked or subscriber.get("address") or "")
