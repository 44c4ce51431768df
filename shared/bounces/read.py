"""A mail that came to the bounce address → what it says of a mail of ours."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from shared.bounces import report, words
from shared.bounces.codes import Verdict, judge
from shared.bounces.mail import Mail, Unreadable, parse
from shared.bounces.whose import whose
from shared.links import Links
from shared.model.event import Event

PROVIDER = "mail"
What = Literal["bounced", "deferred", "delivered", "complained", "nothing"]

_COMPLAINTS = {
    "abuse",
    "fraud",
    "virus",
    "opt-out",
    "opt-out-list",
}  # RFC 5965 §7.3; the last two were in its drafts, and are sent
# Outlook.com's Junk Mail Reporting Program writes no RFC 5965: https://sendersupport.olc.protection.outlook.com/snds/FAQ.aspx
_JMRP = re.compile(r"complaint about message from [\da-f.:]{3,45}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` the mail says, whoever's it is; of a bounce, `hard`, `counts` and `code` as in Event. `reason`: a word or a short
    sentence of ours for the log, never the mail's own. `event`: None for "nothing", or when no mail of ours is proven."""

    what: What
    reason: str
    code: str = ""
    hard: bool = False
    counts: bool = False
    event: Event | None = None


def read_mail(raw: bytes, links: Links, at: int, recipient: str = "") -> Finding:
    """`raw`: any bytes, an RFC 5322 message at best; `at`: when it came (ms); `recipient`: the address it came to, if known.
    A mail that is not understood says nothing. The event's `id` is the mail's, so that reading it twice is one event. Raises
    Unavailable where the keys at hand are too old to judge a token (Tokens.verify): to be read again later."""
    try:
        mail = parse(raw)
    except Unreadable as error:
        return Finding("nothing", str(error))
    found = understand(mail)
    if found.what == "nothing":
        return found
    ref = whose(mail, links, recipient)
    if ref is None:
        return found
    event = Event(
        found.what,
        ref.text,
        at,
        hard=found.hard,
        counts=found.counts,
        code=found.code,
        provider=PROVIDER,
        id=hashlib.sha256(raw).hexdigest()[:32],
    )
    return Finding(found.what, found.reason, found.code, found.hard, found.counts, event)


def understand(mail: Mail) -> Finding:
    """What the mail says, whoever's it is about."""
    if mail.feedback:
        return _feedback(mail)
    if _JMRP.fullmatch(mail.header("Subject")) and "\nx-hmxmroriginalrecipient:" in f"\n{mail.returned.lower()}":
        return Finding("complained", "abuse", "abuse")
    rejected = "rejected" in mail.header("Auto-Submitted").lower()  # RFC 5429 §2.1.1: Sieve's reject may come as one
    if mail.report == "disposition-notification" and not rejected:
        return Finding("nothing", "a read receipt")
    people = words.own_words(mail)
    if mail.status and (reported := _reported(report.recipients(mail.status), people)):
        return reported
    if words.automatic(mail):
        return Finding("nothing", "an automatic answer")
    system = words.of_mail_system(mail)
    if system and (reported := _reported(report.recipients(words.all_words(mail)), people)):  # its MIME is broken, or was lost
        return reported
    told = words.told(mail, people)
    if told == "delayed":
        return Finding("deferred", "said in words")
    if told == "failed":
        verdict = judge("", people)
        return _bounced(verdict) if system else Finding("bounced", "not from a mail system", verdict.code)
    return Finding("nothing", "not a bounce")


def _reported(recipients: list[report.Recipient], people: str) -> Finding | None:
    """One mail has one recipient of ours; where it forwards to several, one that was reached is enough, and one that may still be."""
    actions = {recipient.action for recipient in recipients}
    if not recipients:
        return None
    if actions & {"delivered", "relayed", "expanded"}:
        sure = "delivered" in actions
        return Finding("delivered" if sure else "nothing", "reported as delivered" if sure else "passed on")
    if "delayed" in actions or all(not r.action and r.status.startswith("4") for r in recipients):
        return Finding("deferred", "reported as delayed", next((r.status for r in recipients if r.status), ""))
    if all(not r.action and r.status.startswith("2") for r in recipients):
        return Finding("nothing", "passed on")
    verdicts = [_judged(recipient, people) for recipient in recipients]
    return _bounced(min(verdicts, key=lambda verdict: ("ignored", "counts", "hard").index(verdict.kind)))


def _judged(recipient: report.Recipient, people: str) -> Verdict:
    """By the remote server's words; where they leave the reason open, by what the reporting server tells people, which may list what
    it guesses: it ends an address only where nothing else is known."""
    verdict = judge(recipient.status, recipient.diagnostic)
    if verdict.word not in ("unclear", "routing", "mail-system"):
        return verdict
    told = judge(recipient.status, people)
    if told.word in ("unclear", "busy", "policy") or (told.kind == "hard" and verdict.word != "unclear"):
        return verdict
    return Verdict(told.kind, told.code if verdict.code == verdict.word else verdict.code, told.word)


def _bounced(verdict: Verdict) -> Finding:
    return Finding("bounced", verdict.word, verdict.code, hard=verdict.kind == "hard", counts=verdict.kind == "counts")


def _feedback(mail: Mail) -> Finding:
    kind = report.feedback_type(mail.feedback)
    if kind in _COMPLAINTS:
        return Finding("complained", kind, kind)
    return Finding("nothing", "not-spam" if kind == "not-spam" else "a report that is not a complaint")
