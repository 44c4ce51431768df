"""Mailgun, batch sending with recipient variables.

Options: `domain` (needed), the sending domain; `endpoint`, https://api.eu.mailgun.net for a domain in the EU. Secret: an API key; a
sending key of that domain is enough.

Sources: "the manual" is https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages, "batch" its page /batch-sending,
"errors" https://documentation.mailgun.com/docs/mailgun/quickstart-guide/responses and github.com/mailgun/documentation
(source/api-intro.rst).

- 1,000 recipients a call, each of whom gets a mail of their own only if `recipient-variables` are given (batch). A message is at most
  25 MB; the fields o:, h:, v: together at most 16 kB (manual), so that each recipient's headers are variables too.
- `%recipient.x%` is replaced in subject, text, HTML (batch) and in the fields h: and v: (as github.com/anymail/django-anymail has it
  working). Nothing is said of a text or a value that looks like a variable, so such a mail goes alone: a call for one mail has no
  variables at all.
- A user variable (v:) comes back in every event; the reader sees it in the header X-Mailgun-Variables (manual).
- 200 is "queued". 400 says what is wrong in words only, and refuses the whole call: "to parameter is not a valid address" does not say
  whose (manual). 401, 403, 404 are the key, the account or the domain, 402 "parameters were valid but request failed" (errors).
- A 5xx is "something is wrong on Mailgun's end" (errors), and customers got mails out of such calls: unknown. 429 is the rate limit
  (errors); 420 was theirs for the same before.
- Asked to send nothing, a good key hears 400 ("often missing a required parameter"), a bad one 401: a sending key may do nothing else.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

from shared.errors import ConfigError
from shared.ports import Attachment, Outcome, Outgoing, Pieces, Sender
from shared.providers import Given
from shared.providers.api import Answer, ApiSender, Call, Reading, Refused, endpoint, of_status
from shared.providers.api_texts import Suspect, filled, headers, mailbox, to_json, used

_DOMAIN = re.compile(r"[A-Za-z0-9.-]+")
_THEIRS: Final = r"%(?:recipient|unsubscribe_|mailing_list_|tag_unsubscribe_)"
_RESERVED = {"to", "from", "subject", "date", "content-type", "mime-version"}
_BAD_RECIPIENT = re.compile(r"'?to'? parameter is not a valid address", re.IGNORECASE)
_BAD_SENDER = re.compile(r"'?from'? parameter", re.IGNORECASE)
_OFF = [("o:tracking", "no"), ("o:tracking-clicks", "no"), ("o:tracking-opens", "no")]


def open(given: Given) -> Sender:
    """A sender by this domain; raises ConfigError."""
    options = given.checked("domain", endpoint="https://api.mailgun.net")
    if not _DOMAIN.fullmatch(options["domain"]):
        raise ConfigError(f"PROVIDERS: {given.name}: the option domain must be a domain name, like mail.example.com")
    return ApiSender(given.name, Mailgun(endpoint(options["endpoint"], given.name), options["domain"]), given.secret)


class Mailgun:
    """See `Api`."""

    name = "mailgun"
    window = 1000
    size = 25_000_000
    lanes = 1

    def __init__(self, endpoint: str, domain: str) -> None:
        self.endpoint = endpoint
        self._url = f"{endpoint}/v3/{domain}/messages"
        self._suspect = Suspect(_THEIRS)

    def weight(self, mail: Outgoing) -> int:
        return self.size if self._suspect(mail) else 2 * sum(map(len, mail.values))

    def call(self, mails: Sequence[Outgoing], secret: str) -> Call:
        first, letter = mails[0], mails[0].letter
        assert letter is not None
        single = len(mails) == 1
        own = [headers(mail, _RESERVED) for mail in mails]

        def text(pieces: Pieces) -> str:
            if single:
                return filled(pieces, first.values)
            return "".join([piece if isinstance(piece, str) else f"%recipient.v{piece}%" for piece in pieces])

        fields = [
            ("from", mailbox(letter.from_name, letter.from_address)),
            *(("to", mail.recipient) for mail in mails),
            ("subject", text(letter.subject)),
            *((name, value) for name, value in (("text", text(letter.text)), ("html", text(letter.html))) if value),
            *((f"h:{name}", value if single else f"%recipient.h{n}%") for n, (name, value) in enumerate(own[0].items())),
            ("v:ref", first.ref if single else "%recipient.r%"),
            *_OFF,
        ]
        if letter.reply_to:
            fields.append(("h:Reply-To", letter.reply_to))
        if not single:
            numbers = used(letter.subject, letter.text, letter.html)
            variables = {
                mail.recipient: {
                    "r": mail.ref,
                    **{f"v{n}": mail.values[n] for n in numbers},
                    **{f"h{n}": value for n, value in enumerate(head.values())},
                }
                for mail, head in zip(mails, own, strict=True)
            }
            fields.append(("recipient-variables", to_json(variables).decode()))
        return self._post(fields, secret, first.attachments)

    def read(self, answer: Answer, mails: Sequence[Outgoing]) -> Reading:
        found = answer.json
        said = str(found.get("message", "")) if isinstance(found, dict) else ""
        code = str(answer.status)
        if answer.status == 200:
            return [Outcome("sent" if isinstance(found, dict) and found.get("id") else "unknown", code)] * len(mails)
        if every := of_status(answer, throttle=(420,)):
            return [every] * len(mails)
        if _BAD_SENDER.match(said):
            return [Outcome("ours", code)] * len(mails)
        if _BAD_RECIPIENT.match(said):
            return Refused(Outcome("recipient", code, hard=True))
        return Refused(Outcome("message", code))

    def probe(self, secret: str) -> Call:
        return self._post([("o:testmode", "yes")], secret)

    def sound(self, answer: Answer) -> bool:
        return answer.status == 400

    def _post(self, fields: Iterable[tuple[str, str]], secret: str, files: Iterable[Attachment] = ()) -> Call:
        boundary = secrets.token_hex(16)
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
        pieces = ["".join(parts).encode("utf-8", "replace")]
        for file in files:
            head_lines = f'Content-Disposition: form-data; name="attachment"; filename="{file.name}"\r\nContent-Type: {file.kind}'
            pieces += [f"--{boundary}\r\n{head_lines}\r\n\r\n".encode(), file.data, b"\r\n"]
        body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
        head = {
            "Authorization": "Basic " + base64.b64encode(f"api:{secret}".encode()).decode(),
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        }
        return Call("POST", self._url, head, body)
