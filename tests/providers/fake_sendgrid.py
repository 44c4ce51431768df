"""SendGrid's v3 Mail Send (its pages are named in shared/providers/sendgrid.py)."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from aiohttp import web

from tests.providers.api_server import FakeApi, Mail, Reply, shown

RESERVED = {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"} | {
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
    "bcc",
}


class FakeSendGrid(FakeApi):
    good = 202
    window = 1000

    def __init__(self) -> None:
        super().__init__()
        self.scopes = ["mail.send", "user.profile.read"]

    def sending(self, request: web.Request, body: bytes) -> bool:
        return request.method == "POST" and request.path == "/v3/mail/send"

    def known(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.key}"

    def other(self, request: web.Request, body: bytes) -> Reply:
        if request.path != "/v3/scopes":
            return Reply(404, {"errors": [{"field": None, "message": "not found"}]})
        return Reply(200, {"scopes": self.scopes}) if self.known(request, body) else self.error(401)

    def error(self, status: int) -> Reply:
        message = {
            401: "The provided authorization grant is invalid, expired, or revoked",
            403: "The from address does not match a verified Sender Identity.",
            413: "The JSON payload you have included in your request is too large.",
            429: "too many requests",
        }.get(status, "error")
        limits = {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1798000000"}
        errors = [{"field": "from" if status == 403 else None, "message": message, "help": None}]
        return Reply(status, {"errors": errors}, limits if status == 429 else {})

    def accept(self, request: web.Request, body: bytes) -> tuple[list[Mail], Reply]:
        data = json.loads(body)
        self.sizes.append(len(data["personalizations"]))
        errors = [*_wrong(data, self.bad)]
        if request.content_type != "application/json" or "application/json" not in request.headers.get("Accept", ""):
            return [], self.error(406)
        if errors:
            return [], Reply(400, {"errors": [{"field": name, "message": said, "help": None} for name, said in errors]})
        return [_mail(data, personal) for personal in data["personalizations"]], Reply(202)


def _wrong(data: dict[str, Any], bad: set[str]) -> list[tuple[str | None, str]]:
    found: list[tuple[str | None, str]] = []
    personals = data["personalizations"]
    addresses = [to["email"].lower() for personal in personals for to in personal["to"]]
    if len(personals) > 1000:
        found.append(("personalizations", "The personalization block is limited to 1000 personalizations per API request."))
    if len(set(addresses)) < len(addresses):
        found.append(
            ("personalizations", "Each unique email address in the personalizations array should only be included once.")
        )
    for n, personal in enumerate(personals):
        if personal["to"][0]["email"] in bad:
            found.append((f"personalizations.{n}.to.0.email", "Does not contain a valid address."))
        if sum(len(key.encode()) + len(value.encode()) for key, value in personal.get("substitutions", {}).items()) > 10_000:
            found.append((f"personalizations.{n}.substitutions", "Substitutions may not exceed 10000 bytes"))
        if RESERVED & {name.lower() for name in personal.get("headers", {})}:
            found.append((f"personalizations.{n}.headers", "Reserved headers may not be overwritten."))
    if not data.get("subject"):
        found.append(("subject", "The subject is required."))
    kinds = [content["type"] for content in data["content"]]
    if kinds not in (["text/plain"], ["text/html"], ["text/plain", "text/html"]) or not all(c["value"] for c in data["content"]):
        found.append(("content", "If present, text/plain must be first, then text/html; a value must be at least one character."))
    return found


def _file(one: dict[str, str]) -> tuple[str, str, bytes]:
    assert ";" not in one["type"] and one["disposition"] == "attachment"  # "the attachment type cannot contain ;"
    return one["filename"], one["type"], b64decode(one["content"], validate=True)


def _mail(data: dict[str, Any], personal: dict[str, Any]) -> Mail:
    def replaced(text: str) -> str:
        for _ in range(5):  # "nested substitutions"
            for tag, value in personal.get("substitutions", {}).items():
                text = text.replace(tag, value)
        return text

    contents = {content["type"]: replaced(content["value"]) for content in data["content"]}
    settings = data["tracking_settings"]
    assert not any(setting["enable"] for setting in settings.values()), "the account's own tracking would rewrite our links"
    return Mail(
        to=[to["email"] for to in personal["to"]],
        sender=(data["from"].get("name", ""), data["from"]["email"]),
        subject=replaced(data["subject"]),
        text=contents.get("text/plain", ""),
        html=contents.get("text/html", ""),
        headers={name.lower(): shown(value) for name, value in personal.get("headers", {}).items()},
        ref=personal["custom_args"]["ref"],
        reply_to=data.get("reply_to", {}).get("email", ""),
        files=[_file(one) for one in data.get("attachments", [])],
    )
