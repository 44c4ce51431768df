"""Mailchimp Transactional (Mandrill).

Options: `subaccount`; `endpoint`. Secret: an API key.

Sources: "the reference" is https://mailchimp.com/developer/transactional/api/messages/ (before, mandrillapp.com/api/docs/messages.html),
articles are at https://mandrill.zendesk.com/hc/en-us/articles/.

- Merge tags work in from name, subject, text and HTML, "can't be included in custom X- headers or the List-Unsubscribe header" (article
  360038786274), and headers belong to the message, not to a recipient. So a letter with a reader's values in its headers, as every bulk
  mail has, goes in a call for each mail, LANES at once; `merge` is off in it. Others share a call.
- `merge_language` mailchimp: `*|NAME|*`, letters, digits and underscores (article 360038786414). Nothing is said of values that look like
  a tag, so a mail with `*|` in its texts or values goes alone.
- `preserve_recipients` false: each recipient sees only themselves. Metadata are at most 200 bytes (article 205582417) and come back in
  webhooks; a search by them must be configured in the account and is limited to 20 a minute, so nothing is reconciled.
- Up to 10 recipients are answered at once, more only with "queued", and their refusals come by webhook (reference, `async`). No most
  is documented; ours keeps the window small, because it may be that many calls.
- Each recipient gets a status and, rejected, a reason (reference). An error has a name, under a status that is not 200:
  ServiceUnavailable is "down for maintenance"; GeneralError "an unexpected error", after which nothing is known; an answer that is not
  theirs is unknown too.
- /users/ping2 tells whether a key is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from shared.ports import Kind, Outcome, Outgoing, Pieces, Sender
from shared.providers import Given
from shared.providers.api import Answer, ApiSender, Call, Reading, Refused, endpoint
from shared.providers.api_texts import Suspect, filled, headers, in_base64, to_json, used

WINDOW: Final = 50
LANES: Final = 10

_REASONS: dict[str, tuple[Kind, bool]] = {  # why a recipient was rejected -> kind, for good; others are "ours"
    "hard-bounce": ("recipient", True),
    "soft-bounce": ("recipient", False),
    "spam": ("recipient", True),
    "unsub": ("recipient", True),
    "custom": ("recipient", False),
    "invalid": ("recipient", True),
    "rule": ("message", False),
    "invalid-sender": ("ours", False),
    "test-mode-limit": ("ours", False),
    "unsigned": ("ours", False),
}
_ERRORS: dict[str, Kind] = {  # others are "unknown"
    "Invalid_Key": "ours",
    "PaymentRequired": "ours",
    "Unknown_Subaccount": "ours",
    "ServiceUnavailable": "down",
    "GeneralError": "unknown",
}
_ACCEPTED = {"sent", "queued", "scheduled"}
_RESERVED = {"to", "from", "subject", "reply-to", "date", "content-type", "mime-version", "message-id"}


def open(given: Given) -> Sender:
    """A sender by this account; raises ConfigError."""
    options = given.checked(subaccount="", endpoint="https://mandrillapp.com/api/1.0")
    return ApiSender(given.name, Mandrill(endpoint(options["endpoint"], given.name), options["subaccount"]), given.secret)


class Mandrill:
    """See `Api`."""

    name = "mandrill"
    window = WINDOW
    size = 25_000_000
    lanes = LANES

    def __init__(self, endpoint: str, subaccount: str) -> None:
        self.endpoint = endpoint
        self._subaccount = subaccount
        self._suspect = Suspect(r"\*\|")

    def weight(self, mail: Outgoing) -> int:
        assert mail.letter is not None
        texts = [pieces for name, pieces in mail.letter.headers.items() if name.lower() not in _RESERVED]
        return self.size if used(*texts) or self._suspect(mail) else sum(map(len, mail.values))

    def call(self, mails: Sequence[Outgoing], secret: str) -> Call:
        first, letter = mails[0], mails[0].letter
        assert letter is not None
        single = len(mails) == 1

        def text(pieces: Pieces) -> str:
            if single:
                return filled(pieces, first.values)
            return "".join([piece if isinstance(piece, str) else f"*|V{piece}|*" for piece in pieces])

        message: dict[str, Any] = {
            "from_email": letter.from_address,
            "from_name": letter.from_name,
            "to": [{"email": mail.recipient, "type": "to"} for mail in mails],
            "subject": text(letter.subject),
            **{name: value for name, value in (("text", text(letter.text)), ("html", text(letter.html))) if value},
            "headers": {**headers(first, _RESERVED), **({"Reply-To": letter.reply_to} if letter.reply_to else {})},
            "preserve_recipients": False,
            **dict.fromkeys(("track_opens", "track_clicks", "auto_text", "auto_html", "inline_css", "view_content_link"), False),
            "merge": not single,
        }
        if single:
            message["metadata"] = {"ref": first.ref}
        else:
            numbers = used(letter.subject, letter.text, letter.html)
            message["merge_language"] = "mailchimp"
            message["merge_vars"] = [
                {"rcpt": mail.recipient, "vars": [{"name": f"V{n}", "content": mail.values[n]} for n in numbers]}
                for mail in mails
            ]
            message["recipient_metadata"] = [{"rcpt": mail.recipient, "values": {"ref": mail.ref}} for mail in mails]
        if first.attachments:
            message["attachments"] = [
                {"type": file.kind, "name": file.name, "content": in_base64(file)} for file in first.attachments
            ]
        if self._subaccount:
            message["subaccount"] = self._subaccount
        return self._post("/messages/send.json", {"key": secret, "message": message, "async": False})

    def read(self, answer: Answer, mails: Sequence[Outgoing]) -> Reading:
        found, code = answer.json, str(answer.status)
        if answer.status < 300:
            return _statuses(found, mails)
        if answer.status == 429:
            return [Outcome("throttle", code)] * len(mails)
        name = str(found.get("name", "")) if isinstance(found, dict) and found.get("status") == "error" else ""
        if name == "ValidationError":
            return Refused(Outcome("message", name))
        if name:
            return [Outcome(_ERRORS.get(name, "unknown"), name)] * len(mails)
        return [Outcome("ours" if answer.status in (401, 403, 404) else "unknown", code)] * len(mails)

    def probe(self, secret: str) -> Call:
        return self._post("/users/ping2.json", {"key": secret})

    def sound(self, answer: Answer) -> bool:
        found = answer.json
        return answer.status == 200 and isinstance(found, dict) and "PING" in found

    def _post(self, path: str, data: Any) -> Call:
        return Call("POST", self.endpoint + path, {"Content-Type": "application/json"}, to_json(data))


def _statuses(found: Any, mails: Sequence[Outgoing]) -> list[Outcome]:
    """Each recipient's own status, told by the address."""
    items = found if isinstance(found, list) else []
    by_address = {str(item.get("email", "")).lower(): item for item in items if isinstance(item, dict)}
    return [_outcome(by_address.get(mail.recipient.lower(), {})) for mail in mails]


def _outcome(item: dict[str, Any]) -> Outcome:
    status, reason = str(item.get("status", "")), str(item.get("reject_reason") or "")
    if status in _ACCEPTED:
        return Outcome("sent", status)
    if status == "invalid":
        return Outcome("recipient", status, hard=True)
    if status == "rejected":
        kind, hard = _REASONS.get(reason, ("ours", False))
        return Outcome(kind, f"{status} {reason}" if reason in _REASONS else status, hard)
    return Outcome("unknown", "200")
