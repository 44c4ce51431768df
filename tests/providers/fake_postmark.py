"""Postmark's batch and its message search (its pages are named in shared/providers/postmark.py)."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any

from aiohttp import web

from tests.providers.api_server import FakeApi, Mail, Reply, mailbox, shown

UNSUBSCRIBE = re.compile(r"\{\{\{ ?pm:unsubscribe[^}]*\}\}\}")


class FakePostmark(FakeApi):
    window = 500

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, tuple[int, str]] = {}  # address -> the ErrorCode and Message for it
        self.kept: list[dict[str, Any]] = []  # what a search finds

    def sending(self, request: web.Request, body: bytes) -> bool:
        return request.method == "POST" and request.path == "/email/batch"

    def known(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("X-Postmark-Server-Token") == self.key

    def other(self, request: web.Request, body: bytes) -> Reply:
        if not self.known(request, body):
            return self.error(401)
        if request.path == "/server":
            return Reply(200, {"ID": 1, "Name": "Production", "ApiTokens": []})
        if request.path == "/messages/outbound":
            query = dict(request.query)
            assert query.pop("count") and query.pop("offset") == "0", "required"
            stream = query.pop("messagestream", "outbound")
            [(name, value)] = query.items()  # "you can currently only search by a single metadata field at a time"
            wanted = name.removeprefix("metadata_")
            found = [one for one in self.kept if one["Metadata"].get(wanted) == value and one["MessageStream"] == stream]
            return Reply(200, {"TotalCount": len(found), "Messages": found})
        return Reply(404, {"ErrorCode": 0, "Message": "not found"})

    def error(self, status: int) -> Reply:
        code, message = {
            401: (10, "Request does not contain a valid Server token."),
            422: (403, "Invalid request field(s) - Metadata"),
            429: (429, "Rate limit exceeded"),
            503: (100, "The Postmark API is offline for maintenance."),
        }.get(status, (status, "error"))
        return Reply(status, {"ErrorCode": code, "Message": message})

    def accept(self, request: web.Request, body: bytes) -> tuple[list[Mail], Reply]:
        if len(body) > 50_000_000:
            return [], Reply(413, {"ErrorCode": 0, "Message": "Payload Too Large"})
        data = json.loads(body)
        self.sizes.append(len(data))
        if len(data) > 500:
            return [], Reply(422, {"ErrorCode": 410, "Message": "The maximum of 500 messages was exceeded."})
        mails: list[Mail] = []
        answers = []
        for message in data:
            code, said = self._judged(message)
            if code:
                answers.append({"ErrorCode": code, "Message": said})
                continue
            mails.append(_mail(message))
            id = f"b7bc2f4a-e38e-4336-af7d-{len(self.kept):012d}"
            self.kept.append({"MessageID": id, "Status": "Sent", **{k: message[k] for k in ("Metadata", "MessageStream")}})
            answers.append({"ErrorCode": 0, "Message": "OK", "MessageID": id, "SubmittedAt": "2026-11-26", "To": message["To"]})
        return mails, Reply(200, answers)

    def _judged(self, message: dict[str, Any]) -> tuple[int, str]:
        to = message["To"]
        if "," in to or to in self.bad:
            return 300, f"Invalid 'To' address: '{to}'."
        if any(len(name) > 20 or len(value) > 80 for name, value in message["Metadata"].items()):
            return 300, "Invalid metadata content. Field names are limited to 20 characters, values to 80."
        if not message.get("TextBody") and not message.get("HtmlBody"):
            return 300, "Provide either email TextBody or HtmlBody or both."
        return self.codes.get(to, (0, ""))


def _mail(message: dict[str, Any]) -> Mail:
    headers = {one["Name"].lower(): shown(one["Value"]) for one in message["Headers"]}
    if headers.pop("x-pm-keepid", "") != "true":
        headers.pop("message-id", None)
    assert message["TrackOpens"] is False and message["TrackLinks"] == "None"

    def replaced(name: str) -> str:
        return UNSUBSCRIBE.sub("https://unsubscribe.postmarkapp.com/x", message.get(name, ""))

    return Mail(
        to=[message["To"]],
        sender=mailbox(message["From"]),
        subject=message["Subject"],
        text=replaced("TextBody").replace("\u2060", ""),  # nobody sees a word joiner
        html=replaced("HtmlBody").replace("&#123;", "{"),  # as a browser shows it
        headers=headers,
        ref=message["Metadata"]["ref"] + message["Metadata"].get("ref2", ""),
        reply_to=message.get("ReplyTo", ""),
        files=[
            (one["Name"], one["ContentType"], b64decode(one["Content"], validate=True)) for one in message.get("Attachments", [])
        ],
    )
