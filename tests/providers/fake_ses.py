"""Amazon SES v2's SendBulkEmail and, for a mail with attachments, SendEmail (its pages are named in shared/providers/ses.py)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64decode
from typing import Any

from aiohttp import web

from shared.providers.ses import ref_of
from tests.providers.api_server import FakeApi, Mail, Reply, mailbox, shown

DISALLOWED = {"bcc", "cc", "content-disposition", "content-type", "date", "from", "message-id", "mime-version"} | {
    "reply-to",
    "return-path",
    "subject",
    "to",
}
ONE = "/v2/email/outbound-emails"
TOKEN = re.compile(r"(\\*)\{\{(\{?)(.*?)\}\}(\}?)", re.DOTALL)
PROOF = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([\w-]+)/ses/aws4_request, SignedHeaders=([\w;-]+), Signature=(\w{64})"
)


class RenderingFailure(Exception):
    pass


class FakeSes(FakeApi):
    window = 50
    region = "eu-west-1"

    def __init__(self) -> None:
        super().__init__()
        self.key = "AKIAEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
        self.statuses: dict[str, str] = {}  # address -> the Status of its entry
        self.failures: list[str] = []  # accepted, and never delivered
        self.account: dict[str, Any] = {"SendingEnabled": True, "EnforcementStatus": "HEALTHY"}
        self.may_ask = True

    def sending(self, request: web.Request, body: bytes) -> bool:
        return request.method == "POST" and request.path in ("/v2/email/outbound-bulk-emails", ONE)

    def known(self, request: web.Request, body: bytes) -> bool:
        identity, _, secret = self.key.partition(":")
        match = PROOF.fullmatch(request.headers.get("Authorization", ""))
        if not match or (match[1], match[3]) != (identity, self.region):
            return False
        names = match[4].split(";")
        assert {"host", "x-amz-date"} <= set(names)
        canonical = f"{request.method}\n{request.path}\n{request.query_string}\n"
        canonical += "".join(f"{name}:{request.headers[name].strip()}\n" for name in names)
        canonical += f"\n{match[4]}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{match[2]}/{match[3]}/ses/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{request.headers['X-Amz-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + secret).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == match[5]

    def other(self, request: web.Request, body: bytes) -> Reply:
        if request.path != "/v2/email/account":
            return self.error(404)
        if not self.known(request, body):
            return self.error(401)
        return Reply(200, self.account) if self.may_ask else _error(403, "AccessDeniedException", "User is not authorized")

    def error(self, status: int) -> Reply:
        name = {
            401: "UnrecognizedClientException",
            404: "NotFoundException",
            429: "TooManyRequestsException",
            500: "InternalFailure",
            503: "ServiceUnavailable",
        }.get(status, "BadRequestException")
        return _error(403 if status == 401 else status, name, "error")

    def accept(self, request: web.Request, body: bytes) -> tuple[list[Mail], Reply]:
        data = json.loads(body)
        if request.path == ONE:
            return self._one(data, len(body))
        entries = data["BulkEmailEntries"]
        self.sizes.append(len(entries))
        if len(entries) > 50 or len(body) > 1_000_000:
            return [], _error(400, "BadRequestException", "too many, or too much")
        if any(entry["Destination"]["ToAddresses"][0] in self.bad for entry in entries):
            return [], _error(400, "BadRequestException", "Invalid email address")
        results, mails = [], []
        for entry in entries:
            [address] = entry["Destination"]["ToAddresses"]
            status = self.statuses.get(address) or _wrong(entry)
            results.append({"Status": status or "SUCCESS", **({"Error": "…"} if status else {"MessageId": "0107"})})
            if not status:
                try:
                    mails.append(_mail(data, entry))
                except RenderingFailure as error:
                    self.failures.append(str(error))
        return mails, Reply(200, {"BulkEmailEntryResults": results})

    def _one(self, data: dict[str, Any], size: int) -> tuple[list[Mail], Reply]:
        self.sizes.append(1)
        [address] = data["Destination"]["ToAddresses"]
        message = data["Content"]["Simple"]
        entry = {"ReplacementHeaders": message["Headers"], "ReplacementTags": data["EmailTags"]}
        if size > 40_000_000 or address in self.bad or _wrong(entry):
            return [], _error(400, "BadRequestException", "Invalid")
        for one in message["Attachments"]:
            assert one["ContentDisposition"] == "ATTACHMENT" and one["ContentTransferEncoding"] == "BASE64"
        found = Mail(
            to=[address],
            sender=mailbox(data["FromEmailAddress"]),
            subject=message["Subject"]["Data"],
            text=message["Body"].get("Text", {}).get("Data", ""),
            html=message["Body"].get("Html", {}).get("Data", ""),
            headers={header["Name"].lower(): shown(header["Value"]) for header in message["Headers"]},
            ref=ref_of(data["EmailTags"][0]["Value"]),
            reply_to=(data.get("ReplyToAddresses") or [""])[0],
            files=[
                (one["FileName"], one["ContentType"], b64decode(one["RawContent"], validate=True))
                for one in message["Attachments"]
            ],
        )
        return [found], Reply(200, {"MessageId": "0107"})


def _error(status: int, name: str, said: str) -> Reply:
    return Reply(status, {"message": said}, {"x-amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/"})


def _wrong(entry: dict[str, Any]) -> str:
    headers = entry.get("ReplacementHeaders", [])
    for header in headers:
        if header["Name"].lower() in DISALLOWED or len(header["Value"]) > 995 or not re.fullmatch("[ -~]*", header["Value"]):
            return "INVALID_PARAMETER"
    tags = entry.get("ReplacementTags", [])
    if len(headers) > 15 or any(
        not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", one[name]) for one in tags for name in ("Name", "Value")
    ):
        return "INVALID_PARAMETER"
    return ""


def rendered(template: str, data: dict[str, str]) -> str:
    """Handlebars, of which an inline template has the simple substitutions: one pass, no escaping; a backslash before a tag keeps it
    as text, two are one backslash and the tag; whatever is no plain name, or unknown, is a failure."""

    def value(match: re.Match[str]) -> str:
        slashes, third, name, fourth = match.groups()
        if slashes.endswith("\\") and not slashes.endswith("\\\\"):
            return slashes[:-1] + match[0][len(slashes) :]
        if third or fourth or not re.fullmatch(r"\w+", name) or name not in data:
            raise RenderingFailure(match[0])
        return slashes[:-1] + data[name]

    found = TOKEN.sub(value, template)
    if "{{" in TOKEN.sub("", template):
        raise RenderingFailure("unclosed")
    return found


def _mail(data: dict[str, Any], entry: dict[str, Any]) -> Mail:
    content = data["DefaultContent"]["Template"]["TemplateContent"]
    values = json.loads(entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"])
    assert data["FromEmailAddress"].isascii()
    return Mail(
        to=entry["Destination"]["ToAddresses"],
        sender=mailbox(data["FromEmailAddress"]),
        subject=rendered(content["Subject"], values),
        text=rendered(content.get("Text", ""), values),
        html=rendered(content.get("Html", ""), values),
        headers={header["Name"].lower(): shown(header["Value"]) for header in entry.get("ReplacementHeaders", [])},
        ref=ref_of(entry["ReplacementTags"][0]["Value"]),
        reply_to=(data.get("ReplyToAddresses") or [""])[0],
    )
