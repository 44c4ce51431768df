"""Mailgun's messages (its pages are named in shared/providers/mailgun.py)."""

from __future__ import annotations

import base64
import json
import re
from email import message_from_bytes
from email.policy import default
from typing import TypeAlias

from aiohttp import web

from tests.providers.api_server import FakeApi, Mail, Reply, mailbox, shown

File: TypeAlias = "tuple[str, str, bytes]"
VARIABLE = re.compile(r"%recipient(?:\.([^%\s]+))?%")


class FakeMailgun(FakeApi):
    window = 1000
    domain = "mail.shop.example"

    def sending(self, request: web.Request, body: bytes) -> bool:
        return request.method == "POST" and request.path == f"/v3/{self.domain}/messages" and b'name="to"' in body

    def known(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("Authorization") == "Basic " + base64.b64encode(f"api:{self.key}".encode()).decode()

    def other(self, request: web.Request, body: bytes) -> Reply:
        if request.path != f"/v3/{self.domain}/messages":
            return self.error(404)
        return Reply(400, {"message": "from parameter is missing"}) if self.known(request, body) else self.error(401)

    def error(self, status: int) -> Reply:
        if status == 401:
            return Reply(401, "Forbidden")
        said = {
            402: "Request failed",
            403: "Domain mail.shop.example is not allowed to send",
            404: "Domain not found: mail.shop.example",
            420: "Domain mail.shop.example is not allowed to send: recipient limit exceeded",
        }.get(status, "error")
        return Reply(status, {"message": said}, {"Retry-After": "30"} if status == 429 else {})

    def accept(self, request: web.Request, body: bytes) -> tuple[list[Mail], Reply]:
        if len(body) > 25_000_000:
            return [], Reply(413, {"message": "Request Entity Too Large"})
        fields, files = _fields(request.headers["Content-Type"], body)
        to = fields["to"]
        self.sizes.append(len(to))
        if len(to) > 1000:
            return [], Reply(400, {"message": "to parameter exceeds 1000 recipients"})
        if self.bad & set(to):
            return [], Reply(400, {"message": "to parameter is not a valid address. please check documentation"})
        options = sum(len(name) + len(value) for name, all in fields.items() if name[1] == ":" for value in all)
        if options > 16_384:
            return [], Reply(400, {"message": "Send options (starting with o:, h:, or v:) are limited to 16 kB in total"})
        variables = json.loads(fields["recipient-variables"][0]) if "recipient-variables" in fields else None
        reply = Reply(200, {"id": "<20261126.1.x@mail.shop.example>", "message": "Queued. Thank you."})
        everyone = dict.fromkeys(to)  # "duplicate addresses are ignored"
        if variables is None:
            return [_mail(fields, None, list(everyone), files) for _ in everyone], reply
        return [_mail(fields, variables[address], [address], files) for address in everyone], reply


def _fields(content_type: str, body: bytes) -> tuple[dict[str, list[str]], list[File]]:
    """The fields, and the files attached."""
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=default)
    found: dict[str, list[str]] = {}
    files: list[File] = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        assert isinstance(name, str) and isinstance(value, bytes)
        if name == "attachment":
            files.append((str(part.get_filename()), part.get_content_type(), value))
            continue
        found.setdefault(name, []).append(value.decode())
    return found, files


def _mail(fields: dict[str, list[str]], variables: dict[str, str] | None, to: list[str], files: list[File]) -> Mail:
    def replaced(name: str) -> str:
        text = fields.get(name, [""])[0].replace("\r\n", "\n")
        if variables is None:
            return text
        known = variables
        for _ in range(2):  # the worst: nobody says that a value's own variables stay
            text = VARIABLE.sub(lambda m: known.get(m[1], "") if m[1] else to[0], text)
        return text

    assert fields["o:tracking"] == ["no"]
    headers = {name[2:].lower(): shown(replaced(name)) for name in fields if name.startswith("h:")}
    return Mail(
        to=to,
        sender=mailbox(fields["from"][0]),
        subject=replaced("subject"),
        text=replaced("text"),
        html=replaced("html"),
        reply_to=headers.pop("reply-to", ""),
        headers=headers,
        ref=replaced("v:ref"),
        files=files,
    )
