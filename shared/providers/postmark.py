"""Postmark, the batch of single messages.

Options: `stream`, the message stream ("broadcast" unless given); `endpoint`. Secret: a server API token.

Sources: https://postmarkapp.com/developer/api/overview (answers and error codes), …/developer/api/email-api,
…/developer/user-guide/send-email-with-api/batch-emails, …/developer/api/messages-api.

- 500 messages and 50 MB a call, a message of at most 10 MB; the answers come in the order of the messages, each with its own
  ErrorCode, under a 200.
- The batch has no substitution, so every mail is written out. Only `{{{ pm:unsubscribe }}}` means something in it
  (https://postmarkapp.com/support/article/1208-how-to-add-an-unsubscribe-link): braces that stand together are kept apart, by
  character references in HTML and by an invisible word joiner in text, so that the reader sees what was written.
- A broadcast stream adds its own unsubscribe link and headers until support enables "Manage unsubscribes on your own"
  (https://postmarkapp.com/support/article/managing-your-own-unsubscribe-process): without that, one-click unsubscribing is theirs.
- Our Message-ID is kept because of the header X-PM-KeepID (…/developer/user-guide/send-email-with-smtp).
- Metadata come back in every webhook: a name of at most 20 characters, a value of at most 80, so a longer `ref` goes into several
  (https://postmarkapp.com/support/article/1125-custom-metadata-faq). Messages can be searched by one field of them, and are kept for 45
  days unless configured otherwise.
- 503 and ErrorCode 100 are a planned outage, nothing was taken; of a 500 it says that "in most cases the message is lost", so it is
  unknown. A code that is not known here pauses rather than fails the mail.
- 406 is an address that bounced for good, complained, or is suppressed by hand; 300 names the field in its text ("Invalid 'To' address").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from shared.errors import Unavailable
from shared.ports import Kind, Outcome, Outgoing
from shared.providers import Given
from shared.providers.api import Answer, ApiSender, Call, Reading, Refused, endpoint, of_status
from shared.providers.api_texts import filled, headers, in_base64, mailbox, to_json

METADATA: Final = 80  # characters of one value

_KINDS: dict[int, Kind] = {  # ErrorCode; others are "ours"
    0: "sent",
    100: "down",  # maintenance
    300: "message",  # invalid email request
    402: "message",  # invalid JSON
    403: "message",  # incompatible JSON
    406: "recipient",  # inactive recipient
    411: "message",  # forbidden attachment type
    429: "throttle",
}
_BAD_RECIPIENT = re.compile(r"(?:Invalid|Error parsing) 'To'", re.IGNORECASE)
_BRACES = re.compile(r"\{(?=\{)")
_RESERVED = {"to", "from", "subject", "reply-to", "date", "content-type", "mime-version"}


def open(given: Given) -> PostmarkSender:
    """A sender by this server; raises ConfigError."""
    options = given.checked(stream="broadcast", endpoint="https://api.postmarkapp.com")
    return PostmarkSender(given.name, Postmark(endpoint(options["endpoint"], given.name), options["stream"]), given.secret)


class Postmark:
    """See `Api`."""

    name = "postmark"
    window = 500
    size = 20_000_000  # of 50 MB, since all of it is in memory at once
    lanes = 1

    def __init__(self, endpoint: str, stream: str) -> None:
        self.endpoint = endpoint
        self.stream = stream

    def weight(self, mail: Outgoing) -> int:
        letter = mail.letter
        assert letter is not None
        texts = (letter.subject, letter.text, letter.html, *letter.headers.values())
        return sum(len(p if isinstance(p, str) else mail.values[p]) for pieces in texts for p in pieces)

    def call(self, mails: Sequence[Outgoing], secret: str) -> Call:
        data = [self._message(mail) for mail in mails]
        return Call("POST", f"{self.endpoint}/email/batch", head(secret), to_json(data))

    def read(self, answer: Answer, mails: Sequence[Outgoing]) -> Reading:
        found = answer.json
        if answer.status == 200:
            if isinstance(found, list) and len(found) == len(mails):
                return [_outcome(item) for item in found]
            return [Outcome("unknown", "200")] * len(mails)
        if every := of_status(answer, down=(503,)):
            return [every] * len(mails)
        if answer.status == 422 and (said := _outcome(found)).kind not in ("message", "recipient", "sent", "unknown"):
            return [said] * len(mails)
        return Refused(Outcome("message", _code(answer.status, found)))

    def probe(self, secret: str) -> Call:
        return Call("GET", f"{self.endpoint}/server", head(secret))

    def sound(self, answer: Answer) -> bool:
        return answer.status == 200

    def _message(self, mail: Outgoing) -> dict[str, Any]:
        letter, values = mail.letter, mail.values
        assert letter is not None
        own = headers(mail, _RESERVED)
        if "message-id" in {name.lower() for name in own}:
            own["X-PM-KeepID"] = "true"
        found: dict[str, Any] = {
            "From": mailbox(letter.from_name, letter.from_address),
            "To": mail.recipient,
            "Subject": filled(letter.subject, values),
            "Headers": [{"Name": name, "Value": value} for name, value in own.items()],
            "Metadata": metadata(mail.ref),
            "MessageStream": self.stream,
            "TrackOpens": False,
            "TrackLinks": "None",
        }
        if text := filled(letter.text, values):
            found["TextBody"] = _BRACES.sub("{\u2060", text)
        if html := filled(letter.html, values):
            found["HtmlBody"] = _BRACES.sub("&#123;", html)
        if mail.attachments:
            found["Attachments"] = [
                {"Name": file.name, "Content": in_base64(file), "ContentType": file.kind} for file in mail.attachments
            ]
        if letter.reply_to:
            found["ReplyTo"] = letter.reply_to
        return found


class PostmarkSender(ApiSender):
    """Also `Reconciles`."""

    api: Postmark

    async def found(self, refs: Sequence[str]) -> dict[str, Outcome]:
        """One search for each ref."""
        found: dict[str, Outcome] = {}
        secret = await self.secret()
        for ref in refs:
            wanted = metadata(ref)
            query = urlencode({"count": 50, "offset": 0, "messagestream": self.api.stream, "metadata_ref": wanted["ref"]})
            answer = await self.exchange(Call("GET", f"{self.api.endpoint}/messages/outbound?{query}", head(secret)))
            messages = answer.json.get("Messages") if answer.status == 200 and isinstance(answer.json, dict) else None
            if not isinstance(messages, list):
                raise Unavailable("postmark", str(answer.status))
            if any(isinstance(message, dict) and message.get("Metadata") == wanted for message in messages):
                found[ref] = Outcome("sent", "found")
        return found


def head(secret: str) -> dict[str, str]:
    return {"X-Postmark-Server-Token": secret, "Content-Type": "application/json"}


def metadata(ref: str) -> dict[str, str]:
    """A mail's metadata: `ref`, and `ref2` when it is long."""
    found = {"ref": ref[:METADATA]}
    return found | ({"ref2": ref[METADATA : 2 * METADATA]} if len(ref) > METADATA else {})


def _outcome(item: Any) -> Outcome:
    """One message's answer. It may lack an ErrorCode when Postmark accepted the message and is late with it."""
    if not isinstance(item, dict):
        return Outcome("unknown", "200")
    code = item.get("ErrorCode", 0 if item.get("MessageID") else None)
    if not isinstance(code, int):
        return Outcome("unknown", "200")
    if code == 300 and _BAD_RECIPIENT.match(str(item.get("Message", ""))):
        return Outcome("recipient", "300", hard=True)
    kind = _KINDS.get(code, "ours")
    return Outcome(kind, str(code), hard=kind == "recipient")


def _code(status: int, found: Any) -> str:
    return (
        f"{status} {found['ErrorCode']}" if isinstance(found, dict) and isinstance(found.get("ErrorCode"), int) else str(status)
    )
