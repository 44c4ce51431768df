"""A provider that nobody has: the smallest file that a sender needs, with its server. It is the example of docs/adding-a-provider.md."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from shared.ports import Outcome, Outgoing, Sender
from shared.providers import Given
from shared.providers.api import Answer, ApiSender, Call, Reading, Refused, endpoint, of_status
from shared.providers.api_texts import filled, headers, in_base64, mailbox, to_json
from tests.providers.api_server import FakeApi, Mail, Reply, shown
from tests.providers.api_server import mailbox as parsed


def open(given: Given) -> Sender:
    """Raises ConfigError."""
    options = given.checked("account", endpoint="https://api.toy.example")
    return ApiSender(given.name, Toy(endpoint(options["endpoint"], given.name), options["account"]), given.secret)


class Toy:
    """See `Api`. A call lists mails written out, and is taken or refused whole."""

    name = "toy"
    window = 10
    size = 1_000_000
    lanes = 1

    def __init__(self, endpoint: str, account: str) -> None:
        self.endpoint, self._account = endpoint, account

    def weight(self, mail: Outgoing) -> int:
        return 0

    def call(self, mails: Sequence[Outgoing], secret: str) -> Call:
        data = [_written(mail) for mail in mails]
        return Call("POST", f"{self.endpoint}/{self._account}/mails", {"Authorization": f"Bearer {secret}"}, to_json(data))

    def read(self, answer: Answer, mails: Sequence[Outgoing]) -> Reading:
        if answer.status == 200:
            return [Outcome("sent" if answer.json == "taken" else "unknown", "200")] * len(mails)
        if every := of_status(answer):
            return [every] * len(mails)
        return Refused(Outcome("recipient", str(answer.status), hard=True))

    def probe(self, secret: str) -> Call:
        return Call("GET", f"{self.endpoint}/{self._account}", {"Authorization": f"Bearer {secret}"})

    def sound(self, answer: Answer) -> bool:
        return answer.status == 200


def _written(mail: Outgoing) -> dict[str, object]:
    letter, values = mail.letter, mail.values
    assert letter is not None
    return {
        "from": mailbox(letter.from_name, letter.from_address, encoded=True),
        "reply_to": letter.reply_to,
        "to": mail.recipient,
        "subject": filled(letter.subject, values),
        "text": filled(letter.text, values),
        "html": filled(letter.html, values),
        "headers": headers(mail),
        "ref": mail.ref,
        "files": [[file.name, file.kind, in_base64(file)] for file in mail.attachments],
    }


class FakeToy(FakeApi):
    window = Toy.window

    def sending(self, request: web.Request, body: bytes) -> bool:
        return request.method == "POST"

    def known(self, request: web.Request, body: bytes) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.key}" and request.path.startswith("/shop")

    def other(self, request: web.Request, body: bytes) -> Reply:
        return Reply(200 if self.known(request, body) else 401)

    def error(self, status: int) -> Reply:
        return Reply(status)

    def accept(self, request: web.Request, body: bytes) -> tuple[list[Mail], Reply]:
        data = json.loads(body)
        self.sizes.append(len(data))
        if len(data) > Toy.window or any(one["to"] in self.bad for one in data):
            return [], Reply(400)
        return [_received(one) for one in data], Reply(200, "taken")


def _received(data: dict[str, Any]) -> Mail:
    texts = {name: value for name, value in data.items() if isinstance(value, str)}
    own = data["headers"]
    assert isinstance(own, dict)
    return Mail(
        to=[texts["to"]],
        sender=parsed(texts["from"]),
        subject=texts["subject"],
        text=texts["text"],
        html=texts["html"],
        headers={name.lower(): shown(value) for name, value in own.items()},
        ref=texts["ref"],
        reply_to=texts["reply_to"],
        files=[(name, kind, b64decode(content)) for name, kind, content in data["files"]],
    )
