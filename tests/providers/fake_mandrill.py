"""Mailchimp Transactional's messages (its pages are named in shared/providers/mandrill.py)."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any

from aiohttp import web

from tests.providers.api_server import FakeApi, Mail, Reply, shown

TAG = re.compile(r"\*\|([A-Za-z0-9_]+)(?::([^|]*))?\|\*")


class FakeMandrill(FakeApi):
    window = 50

    def __init__(self) -> None:
        super().__init__()
        self.reasons: dict[str, str] = {}  # address -> why it is rejected

    def sending(self, request: web.Request, body: bytes) -> bool:
        return request.method == "POST" and request.path == "/messages/send.json"

    def known(self, request: web.Request, body: bytes) -> bool:
        return bool(json.loads(body)["key"] == self.key)

    def other(self, request: web.Request, body: bytes) -> Reply:
        if request.path != "/users/ping2.json":
            return Reply(404)
        return Reply(200, {"PING": "PONG!"}) if self.known(request, body) else self.error(401)

    def error(self, status: int) -> Reply:
        if status == 401:
            return Reply(500, {"status": "error", "code": -1, "name": "Invalid_Key", "message": "Invalid API key"})
        if status == 500:
            return Reply(500, {"status": "error", "code": -99, "name": "GeneralError", "message": "An unexpected error occurred"})
        return Reply(status)

    def accept(self, request: web.Request, body: bytes) -> tuple[list[Mail], Reply]:
        message = json.loads(body)["message"]
        to = [one["email"] for one in message["to"]]
        self.sizes.append(len(to))
        assert message["preserve_recipients"] is False and message["track_clicks"] is False
        answers, mails = [], []
        for address in reversed(to):  # no order is promised
            if address in self.bad:
                answers.append({"email": address, "status": "invalid", "_id": "a1"})
            elif reason := self.reasons.get(address):
                answers.append({"email": address, "status": "rejected", "reject_reason": reason, "_id": "a1"})
            else:
                answers.append({"email": address, "status": "queued" if len(to) > 10 else "sent", "_id": "a1"})
                mails.append(_mail(message, address))
        return mails, Reply(200, answers)


def _mail(message: dict[str, Any], address: str) -> Mail:
    [own] = [one["vars"] for one in message.get("merge_vars", []) if one["rcpt"] == address] or [[]]
    merging = message["merge"] or own or message.get("global_merge_vars")
    values = {one["name"].upper(): one["content"] for one in [*message.get("global_merge_vars", []), *own]}

    def merged(text: str) -> str:
        for _ in range(2 if merging else 0):  # the worst: nobody says that a value's own tags stay
            text = TAG.sub(lambda m: values.get(m[1].upper(), ""), text)
        return text

    [ref] = [one["values"]["ref"] for one in message.get("recipient_metadata", []) if one["rcpt"] == address] or [
        message.get("metadata", {}).get("ref")
    ]
    assert len(json.dumps({"ref": ref})) <= 200
    headers = {name.lower(): shown(value) for name, value in message["headers"].items()}
    return Mail(
        to=[address],
        sender=(message["from_name"], message["from_email"]),
        subject=merged(message["subject"]),
        text=merged(message.get("text", "")),
        html=merged(message.get("html", "")),
        reply_to=headers.pop("reply-to", ""),
        headers=headers,
        ref=ref,
        files=[(one["name"], one["type"], b64decode(one["content"], validate=True)) for one in message.get("attachments", [])],
    )
