"""Amazon SES, API v2, SendBulkEmail with an inline template.

Options: `region` (needed); `configuration_set`; `endpoint`, https://email.{region}.amazonaws.com unless given. Secret: an IAM user's access
key, written "{access key id}:{secret access key}", allowed ses:SendBulkEmail and ses:SendEmail (and ses:GetAccount, for a check of the
account).

Sources: "the API" is https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html and the service model of botocore 1.44,
"the guide" https://docs.aws.amazon.com/ses/latest/dg/.

- 50 destinations a call; 1 MB of JSON with an inline template (guide, send-personalized-email-api.html). Raw mail is one a call.
- `{{name}}` is replaced by the template data, unescaped (guide, send-personalized-email-advanced.html); an inline template supports
  simple substitutions only (API, Template). A variable without data is a rendering failure: accepted, and never delivered (guide).
  So braces in our texts that could be read as a tag, and a backslash before one (Handlebars' escape), are variables too.
- Attachments of a template are the same for all who share it, so a mail with some goes by SendEmail, as a simple message of at most
  40 MB (API_SendEmail, API_Attachment); its answer is a MessageId.
- ReplacementHeaders are each destination's own: at most 15, ASCII, 995 characters (API). Message-ID, Date and those of the MIME
  structure are SES's own (guide, header-fields.html), so the Message-ID that a reader sees is not ours.
- Tags come back in events, if the configuration set publishes them: only letters, digits, "_" and "-" (API, MessageTag), so a `ref`
  goes as `tag(ref)`. Opens and clicks are tracked, and links rewritten, only where the configuration set says so: it should not.
- Each entry has a status in the order of the entries (API, BulkEmailEntryResult; its text and its enumeration differ in names, both are
  here). An error of the whole call has a name. "Email address is not verified" comes as MessageRejected.
- 503 ServiceUnavailable: "the request has failed due to a temporary failure of the server"; 500 InternalFailure: "unknown error,
  exception or failure", so unknown, as is a 503 without that name (…/ses/latest/APIReference/CommonErrors.html).

Signature Version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html) is ours: botocore's takes
225 ms and 20 MiB to import and 31 MB to install.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from shared.errors import ConfigError
from shared.ports import Kind, Letter, Outcome, Outgoing, Pieces, Sender
from shared.providers import Given
from shared.providers.api import Answer, ApiSender, Call, Reading, Refused, endpoint, of_status
from shared.providers.api_texts import filled, headers, in_base64, mailbox, to_json, used

SERVICE: Final = "ses"
HEADERS: Final = 15

_STATUSES: dict[str, Kind] = {  # of one entry; others are "unknown"
    "SUCCESS": "sent",
    "MESSAGE_REJECTED": "message",
    "INVALID_PARAMETER": "message",
    "INVALID_PARAMETER_VALUE": "message",
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": "ours",
    "CONFIGURATION_SET_NOT_FOUND": "ours",
    "CONFIGURATION_SET_DOES_NOT_EXIST": "ours",
    "CONFIGURATION_SET_SENDING_PAUSED": "ours",
    "TEMPLATE_NOT_FOUND": "ours",
    "TEMPLATE_DOES_NOT_EXIST": "ours",
    "INVALID_SENDING_POOL_NAME": "ours",
    "ACCOUNT_SUSPENDED": "ours",
    "ACCOUNT_SENDING_PAUSED": "ours",
    "ACCOUNT_THROTTLED": "throttle",
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": "throttle",
    "TRANSIENT_FAILURE": "temporary",
    "FAILED": "temporary",
}
_ERRORS: dict[str, Kind] = {  # of a whole call, besides those of credentials
    "TooManyRequestsException": "throttle",
    "LimitExceededException": "throttle",
    "ThrottlingException": "throttle",
    "Throttling": "throttle",
    "AccountSuspendedException": "ours",
    "SendingPausedException": "ours",
    "MailFromDomainNotVerifiedException": "ours",
    "NotFoundException": "ours",
    "ServiceUnavailable": "down",
    "ServiceUnavailableException": "down",
}
_CREDENTIALS = re.compile(
    "AccessDenied|NotAuthorized|InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|InvalidSignature|IncompleteSignature"
    "|MissingAuthenticationToken|ExpiredToken|OptInRequired|RequestExpired|InvalidAccessKeyId"
)
_RESERVED = {
    *("bcc", "cc", "content-disposition", "content-type", "date", "from", "message-id", "mime-version"),
    *("reply-to", "return-path", "subject", "to"),
}
_REGION = re.compile(r"[a-z0-9-]+")
_KEY = re.compile(r"[A-Za-z0-9]+:\S+")


def open(given: Given) -> Sender:
    """A sender by this account in one region; raises ConfigError."""
    options = given.checked("region", configuration_set="", endpoint="")
    region = options["region"]
    if not _REGION.fullmatch(region):
        raise ConfigError(f"PROVIDERS: {given.name}: the option region must be one of Amazon's, like eu-west-1")
    url = endpoint(options["endpoint"] or f"https://email.{region}.amazonaws.com", given.name)
    return ApiSender(given.name, Ses(url, region, options["configuration_set"]), given.secret)


class Ses:
    """See `Api`. `now`: seconds since the Unix epoch."""

    name = "ses"
    window = 50
    size = 1_000_000
    lanes = 1

    def __init__(self, endpoint: str, region: str, configuration_set: str, now: Callable[[], float] = time.time) -> None:
        self.endpoint = endpoint
        self._region, self._configuration_set, self._now = region, configuration_set, now

    def weight(self, mail: Outgoing) -> int:
        return 2 * sum(map(len, mail.values))

    def call(self, mails: Sequence[Outgoing], secret: str) -> Call:
        letter = mails[0].letter
        assert letter is not None
        if mails[0].attachments:
            return self._whole(mails[0], letter, secret)
        fixed: dict[str, str] = {}  # what our texts hold that must not be read as a tag -> its variable
        parts = (("Subject", letter.subject), ("Text", letter.text), ("Html", letter.html))
        content = {name: _template(pieces, fixed) for name, pieces in parts if pieces or name == "Subject"}
        ours = {name: text for text, name in fixed.items()}
        numbers = used(letter.subject, letter.text, letter.html)
        data: dict[str, Any] = {
            "FromEmailAddress": mailbox(letter.from_name, letter.from_address, encoded=True),
            "DefaultContent": {"Template": {"TemplateContent": content, "TemplateData": "{}"}},
            "BulkEmailEntries": [_entry(mail, ours | {f"v{n}": mail.values[n] for n in numbers}) for mail in mails],
        }
        return self._signed("POST", "/v2/email/outbound-bulk-emails", secret, to_json(self._about(data, letter)))

    def read(self, answer: Answer, mails: Sequence[Outgoing]) -> Reading:
        found = answer.json if isinstance(answer.json, dict) else {}
        if answer.status == 200 and mails[0].attachments:
            return [Outcome("sent" if found.get("MessageId") else "unknown", "200")]
        if answer.status == 200:
            results = found.get("BulkEmailEntryResults")
            if isinstance(results, list) and len(results) == len(mails):
                return [_outcome(item) for item in results]
            return [Outcome("unknown", "200")] * len(mails)
        name = error_name(answer)
        unverified = name.startswith("MessageRejected") and "not verified" in str(found.get("message", found.get("Message", "")))
        if kind := "ours" if unverified or _CREDENTIALS.match(name) else _ERRORS.get(name):
            return [Outcome(kind, name)] * len(mails)
        if every := of_status(answer):
            return [every] * len(mails)
        return Refused(Outcome("message", name or str(answer.status)))

    def probe(self, secret: str) -> Call:
        return self._signed("GET", "/v2/email/account", secret)

    def sound(self, answer: Answer) -> bool:
        found = answer.json
        if answer.status == 200 and isinstance(found, dict):
            return found.get("SendingEnabled") is not False and found.get("EnforcementStatus") != "SHUTDOWN"
        return error_name(answer).startswith("AccessDenied")  # known to be who we say, and allowed to send only

    def _whole(self, mail: Outgoing, letter: Letter, secret: str) -> Call:
        """SendEmail of a simple message: nothing in it is read as a tag."""
        texts = (("Text", filled(letter.text, mail.values)), ("Html", filled(letter.html, mail.values)))
        message: dict[str, Any] = {
            "Subject": _said(filled(letter.subject, mail.values)),
            "Body": {name: _said(text) for name, text in texts if text},
            "Headers": _headers(mail),
            "Attachments": [
                {
                    "RawContent": in_base64(file),
                    "FileName": file.name,
                    "ContentType": file.kind,
                    "ContentDisposition": "ATTACHMENT",
                    "ContentTransferEncoding": "BASE64",
                }
                for file in mail.attachments
            ],
        }
        data: dict[str, Any] = {
            "FromEmailAddress": mailbox(letter.from_name, letter.from_address, encoded=True),
            "Destination": {"ToAddresses": [mail.recipient]},
            "Content": {"Simple": message},
            "EmailTags": [{"Name": "ref", "Value": tag(mail.ref)}] if mail.ref else [],
        }
        return self._signed("POST", "/v2/email/outbound-emails", secret, to_json(self._about(data, letter)))

    def _about(self, data: dict[str, Any], letter: Letter) -> dict[str, Any]:
        """`data` with what either call says of a letter."""
        if letter.reply_to:
            data["ReplyToAddresses"] = [letter.reply_to]
        if self._configuration_set:
            data["ConfigurationSetName"] = self._configuration_set
        return data

    def _signed(self, method: str, path: str, secret: str, body: bytes = b"") -> Call:
        if not _KEY.fullmatch(secret):
            raise ConfigError('the secret must be "{access key id}:{secret access key}"')
        url = self.endpoint + path
        head = {"Content-Type": "application/json"} if body else {}
        return Call(method, url, sign(method, url, head, body, secret, self._region, self._now()), body)


def sign(
    method: str, url: str, head: dict[str, str], body: bytes, key: str, region: str, now: float, service: str = SERVICE
) -> dict[str, str]:
    """The headers of a request signed with Signature Version 4. `key`: "{access key id}:{secret access key}"; the URL's path is plain,
    its query sorted and encoded already."""
    identity, _, secret = key.partition(":")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    parts = urlsplit(url)
    signed = {name.lower(): value for name, value in head.items()} | {"host": parts.netloc, "x-amz-date": stamp}
    names = ";".join(sorted(signed))
    lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
    request = "\n".join([method, parts.path or "/", parts.query, *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    derived = f"AWS4{secret}".encode()
    for step in (stamp[:8], region, service, "aws4_request", text):
        derived = hmac.digest(derived, step.encode(), "sha256")
    proof = f"AWS4-HMAC-SHA256 Credential={identity}/{scope}, SignedHeaders={names}, Signature={derived.hex()}"
    return {**head, "X-Amz-Date": stamp, "Authorization": proof}


def tag(ref: str) -> str:
    """A `ref` as the value of a message tag."""
    return base64.urlsafe_b64encode(ref.encode()).decode().rstrip("=")


def ref_of(tag: str) -> str:
    """The inverse of `tag`; raises ValueError."""
    return base64.urlsafe_b64decode(tag + "=" * (-len(tag) % 4)).decode()


def error_name(answer: Answer) -> str:
    """The error of a whole call: in a header, or in the body ("…#Name")."""
    found = answer.json
    said = found.get("__type") or found.get("code") or "" if isinstance(found, dict) else ""
    return str(answer.headers.get("x-amzn-errortype") or said).partition(":")[0].rpartition("#")[2]


def _entry(mail: Outgoing, data: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Destination": {"ToAddresses": [mail.recipient]},
        "ReplacementEmailContent": {
            "ReplacementTemplate": {"ReplacementTemplateData": json.dumps(data, ensure_ascii=False, separators=(",", ":"))}
        },
    }
    if own := _headers(mail):
        found["ReplacementHeaders"] = own
    if mail.ref:
        found["ReplacementTags"] = [{"Name": "ref", "Value": tag(mail.ref)}]
    return found


def _headers(mail: Outgoing) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in headers(mail, _RESERVED).items()][:HEADERS]


def _said(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _outcome(item: Any) -> Outcome:
    status = str(item.get("Status", "")) if isinstance(item, dict) else ""
    return Outcome(_STATUSES[status], status) if status in _STATUSES else Outcome("unknown", "200")


def _template(pieces: Pieces, fixed: dict[str, str]) -> str:
    """The text with a tag for each value; `fixed` gains what stands in it and would be read as a tag."""

    def variable(match: re.Match[str]) -> str:
        return "{{" + fixed.setdefault(match[0], f"f{len(fixed)}") + "}}"

    found = []
    for n, piece in enumerate(pieces):
        if isinstance(piece, int):
            found.append(f"{{{{v{piece}}}}}")
            continue
        after = n > 0 and isinstance(pieces[n - 1], int)
        before = n + 1 < len(pieces) and isinstance(pieces[n + 1], int)
        found.append(_AWKWARD[after, before].sub(variable, piece))
    return "".join(found)


_AWKWARD = {  # whether a tag stands before and after a text -> the runs of braces and backslashes in it that could be read as a tag
    (after, before): re.compile("|".join([r"[{}\\]{2,}", *([r"^[{}\\]+"] if after else []), *([r"[{}\\]+$"] if before else [])]))
    for after in (False, True)
    for before in (False, True)
}
