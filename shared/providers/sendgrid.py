"""Twilio SendGrid, v3 Mail Send.

Options: `endpoint`, https://api.eu.sendgrid.com for a subuser in the EU. Secret: an API key with the scope mail.send.

Sources: "the reference" is https://www.twilio.com/docs/sendgrid/api-reference/mail-send, "errors" its page /errors.

- 1,000 personalizations and recipients a call, less than 30 MB (reference); an address only once in a call (errors).
- `substitutions` replace literal tags in subject, text and HTML, at most 10,000 bytes of them for one recipient (the reference's
  schema, github.com/sendgrid/sendgrid-oai). They nest, so a value could hold another's tag: ours hold a random word. A mail with longer
  values goes alone, filled in by us. `headers` and `custom_args` are each recipient's own, and nothing is replaced in them.
- Tracking and footers are switched off in each call: the links are ours already.
- 202 is "valid and queued" and has no body; 200 is "valid, but not queued" (sandbox mode). A 400 names the field
  ("personalizations.3.to.0.email") and refuses the whole call (errors).
- 403: the From address is no verified sender, or a block after many bad requests; 451: data residency
  (https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses and /errors).
- 503 is "the v3 Web API is not available" and so took nothing; 500 is "an error occurred on a SendGrid server", unknown like every
  other 5xx (https://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html).
- GET /v3/scopes lists what a key may do (…/api-reference/api-key-permissions).

Events carry custom_args, so `ref` comes back with them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

from shared.ports import Outcome, Outgoing, Pieces, Sender
from shared.providers import Given
from shared.providers.api import Answer, ApiSender, Call, Reading, Refused, endpoint, of_status
from shared.providers.api_texts import filled, headers, in_base64, to_json, used

MOST_VALUES: Final = 10_000  # bytes of one recipient's substitutions
TAG: Final = 26  # of which a tag takes at most

_RESERVED = {  # of the reference: "You may not overwrite"
    *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
    *("to", "from", "subject", "reply-to", "cc", "bcc"),
}
_OFF = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
    "ganalytics": {"enable": False},
}
_BLAMED = re.compile(r"personalizations\.(\d+)\.(to\b)?")
_SENDER_FIELDS = ("from", "reply_to")


def open(given: Given) -> Sender:
    """A sender by this account; raises ConfigError."""
    options = given.checked(endpoint="https://api.sendgrid.com")
    return ApiSender(given.name, SendGrid(endpoint(options["endpoint"], given.name)), given.secret)


class SendGrid:
    """See `Api`."""

    name = "sendgrid"
    window = 1000
    size = 30_000_000
    lanes = 1

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def weight(self, mail: Outgoing) -> int:
        values = sum(TAG + len(value.encode("utf-8", "replace")) for value in mail.values)
        return 2 * values if values <= MOST_VALUES else self.size

    def call(self, mails: Sequence[Outgoing], secret: str) -> Call:
        letter = mails[0].letter
        assert letter is not None
        word = secrets.token_hex(8)
        numbers = used(letter.subject, letter.text, letter.html) if len(mails) > 1 else []

        def text(pieces: Pieces) -> str:
            if len(mails) == 1:
                return filled(pieces, mails[0].values)
            return "".join([piece if isinstance(piece, str) else f"-{word}.{piece}-" for piece in pieces])

        def personal(mail: Outgoing) -> dict[str, Any]:
            found: dict[str, Any] = {"to": [{"email": mail.recipient}], "custom_args": {"ref": mail.ref}}
            if own := headers(mail, _RESERVED):
                found["headers"] = own
            if numbers:
                found["substitutions"] = {f"-{word}.{n}-": mail.values[n] for n in numbers}
            return found

        contents = [("text/plain", text(letter.text)), ("text/html", text(letter.html))]
        data: dict[str, Any] = {
            "personalizations": [personal(mail) for mail in mails],
            "from": {"email": letter.from_address, **({"name": letter.from_name} if letter.from_name else {})},
            "subject": text(letter.subject),
            "content": [{"type": kind, "value": value} for kind, value in contents if value],
            "tracking_settings": _OFF,
            "mail_settings": {"footer": {"enable": False}},
        }
        if files := mails[0].attachments:
            data["attachments"] = [
                {"content": in_base64(file), "type": file.kind, "filename": file.name, "disposition": "attachment"}
                for file in files
            ]
        if letter.reply_to:
            data["reply_to"] = {"email": letter.reply_to}
        return Call("POST", f"{self.endpoint}/v3/mail/send", _head(secret), to_json(data))

    def read(self, answer: Answer, mails: Sequence[Outgoing]) -> Reading:
        if answer.status == 202:
            return [Outcome("sent", "202")] * len(mails)
        if answer.status == 200:
            return [Outcome("ours", "200")] * len(mails)
        if every := of_status(answer, down=(503,)):
            return [every] * len(mails)
        return _refused(answer, len(mails))

    def probe(self, secret: str) -> Call:
        return Call("GET", f"{self.endpoint}/v3/scopes", _head(secret))

    def sound(self, answer: Answer) -> bool:
        scopes = answer.json.get("scopes") if isinstance(answer.json, dict) else None
        return answer.status == 200 and isinstance(scopes, list) and "mail.send" in scopes


def _head(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}


def _refused(answer: Answer, count: int) -> Reading:
    """A 4xx: whom its fields blame, or what they say of all."""
    code = str(answer.status)
    data = answer.json
    errors = data.get("errors") if isinstance(data, dict) else None
    fields = [str(e.get("field") or "") for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    blamed: dict[int, Outcome] = {}
    for name in fields:
        if match := _BLAMED.match(name):
            blamed[int(match[1])] = Outcome("recipient", code, hard=True) if match[2] else Outcome("message", code)
    if any(name.partition(".")[0] in _SENDER_FIELDS for name in fields):
        return [Outcome("ours", code)] * count
    if not blamed and fields and all(fields) and not any(name.startswith("personalizations") for name in fields):
        return [Outcome("message", code)] * count  # what all of them share
    return Refused(Outcome("message", code), blamed)
