"""Mails posted to us: the contract of webhooks, what each kind says, and that nothing outside the signature is believed."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bounces.mail import MAX_BYTES
from shared.bounces.read import read_mail
from shared.errors import BadInput
from shared.http import Request
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.providers import inbound
from shared.providers.generic import sign
from tests.providers.webhook_contract import LINKS, NOW, REF, WebhookContract, many, spoiled

OTHER = MailRef("C-0002", "cd" * 16)
DOCUMENT = Path(__file__).parents[2] / "docs" / "bounces.md"


class TestInbound(WebhookContract):
    NAME, PLAIN = "inbound", "hard"
    SIGNED = True
    PROOFS = ("webhook-timestamp", "webhook-signature")
    hook = inbound

    def request(self, body: bytes, key: bytes) -> Request:
        second = NOW // 1000
        proof = {"webhook-timestamp": str(second), "webhook-signature": sign(body, key.strip(), second)}
        return Request("POST", "inbound", headers=proof, body=body)

    def encoded(self, data: Any) -> bytes:
        """A mail, with the token of the one that it names; else JSON, which is no mail."""
        if not isinstance(data, str):
            return super().encoded(data)
        return data.replace(f"<{REF.text}@news.example>", LINKS.message_id(REF, "news.example")).encode("utf-8", "surrogatepass")

    @pytest.mark.parametrize("spelling", ["{} ", " {}", "{}  {}", "v1,x\t{}"])
    def test_a_list_of_signatures_has_one_spelling(self, spelling: str) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        proof = good.headers["webhook-signature"]
        headers = {**good.headers, "webhook-signature": spelling.format(proof, proof)}
        self.refused(replace(good, headers=headers), self.KEYS)

    @pytest.mark.parametrize(
        ("name", "type", "more"),
        [
            ("hard", "bounced", {"hard": True, "code": "550 5.1.1"}),
            ("counts", "bounced", {"counts": True, "code": "552 5.2.2"}),
            ("neither", "bounced", {"code": "550 5.7.1"}),
            ("deferred", "deferred", {"code": "4.4.1"}),
            ("delivered", "delivered", {}),
            ("complained", "complained", {"code": "abuse"}),
        ],
    )
    def test_a_mail_is_one_event(self, name: str, type: Any, more: dict[str, Any]) -> None:
        [found] = self.events(self.bodies()[name])
        assert found == Event(type, REF.text, NOW, provider="inbound", id=found.id, **more) and found.id
        assert self.events(self.bodies()[name], NOW + 1000)[0].id == found.id

    @pytest.mark.parametrize("name", ["away", "person"])
    def test_a_mail_that_is_no_bounce_is_logged_without_an_address(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.events(self.bodies()[name]) == []
        logged = capsys.readouterr().out
        assert logged.count("is no bounce") == 1 and "INFO" in logged
        assert "@" not in logged and "Ann" not in logged and "beans" not in logged

    @pytest.mark.parametrize("first", [b"From MAILER-DAEMON Fri Jan 15 08:00:00 2027\n", b"x_y.z:\r\n"])
    def test_a_mail_may_begin_as_servers_write_it(self, first: bytes) -> None:
        assert len(self.events(first + self.plain())) == 1

    @pytest.mark.parametrize("before", [b"\n", b"hello\n", b"--boundary\r\n", b"body-plain=x&", b"{\n"])
    def test_what_has_no_header_is_no_mail(self, before: bytes) -> None:
        with pytest.raises(BadInput):
            self.events(before + self.plain())

    def test_what_is_not_signed_is_not_believed(self) -> None:
        """A header of the request, and the query, could be changed on the way: to another reader's mail."""
        other = LINKS.return_path(OTHER, "news.example")
        nobodys = self.plain().replace(b"Message-ID: <C-0001", b"Message-ID: <D-0001")
        good = self.request(nobodys, self.KEYS[0])
        names = ("x-envelope-to", "envelope-to", "delivered-to", "x-original-to", "to", "webhook-to")
        told = replace(good, headers={**good.headers, **dict.fromkeys(names, other)}, query=dict.fromkeys(names, other))
        inbound.verify(told, self.KEYS, NOW)
        assert inbound.normalise(told, LINKS, NOW) == []
        signed = replace(told, body=f"Delivered-To: {other}\n".encode() + told.body)
        assert [event.ref for event in inbound.normalise(signed, LINKS, NOW)] == [OTHER.text]

    def test_no_more_of_a_mail_is_read_than_may_be_cut(self) -> None:
        """A bounce that returns megabytes may be posted from its beginning only."""
        whole = self.plain().replace(b"--B--", b"x" * 78 + b"\r\n" + b"A" * 3_000_000)
        [found], [cut] = self.events(whole), self.events(whole[:MAX_BYTES])
        assert replace(found, id="") == replace(cut, id="") and found.hard

    @many
    @given(draw=st.data())
    def test_a_spoiled_mail_is_bad_input_or_at_most_our_mails_event(self, draw: st.DataObject) -> None:
        mail = self.encoded(draw.draw(st.sampled_from(list(self.bodies().values()))))
        text = mail.decode()
        self.taken(spoiled(draw, text).encode("utf-8", "surrogatepass"))
        cut = draw.draw(st.integers(0, len(mail)))
        try:
            found = self.events(mail[cut:] + mail[:cut])
        except BadInput:
            return
        assert {event.ref for event in found} <= {REF.text}

    def test_it_is_the_event_of_the_reader(self) -> None:
        [found] = self.events(self.plain())
        assert read_mail(self.plain(), LINKS, NOW).event == replace(found, provider="mail")


class Taking(BaseHTTPRequestHandler):
    """Answers with `status`, and keeps what was posted."""

    status = 204
    posted: list[Request]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.posted.append(Request("POST", self.path, headers=headers, body=body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.network
@pytest.mark.parametrize(("status", "code"), [(204, 0), (400, 0), (401, 75), (413, 75), (503, 75)])
def test_the_documented_program_posts_what_is_taken(tmp_path: Path, status: int, code: int) -> None:
    [program] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "key").write_bytes(b"a key of text\n")
    posted: list[Request] = []
    taking = type("Taking", (Taking,), {"status": status, "posted": posted})
    with HTTPServer(("127.0.0.1", 0), taking) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/webhooks/inbound"
        program = program.replace("https://news.example.com/webhooks/inbound", url).replace("/etc/bounces/key", f"{tmp_path}/key")
        mail = TestInbound().plain() + b"x" * 300_000
        ended = subprocess.run([sys.executable, "-c", program], input=mail, check=False, timeout=30, capture_output=True)
    assert (ended.returncode, ended.stderr) == (code, b"")
    [request] = posted
    inbound.verify(request, [b"a key of text\n"], int(request.headers["webhook-timestamp"]) * 1000)
    assert request.body == mail[:MAX_BYTES] and request.path == "/webhooks/inbound"
    assert [event.hard for event in inbound.normalise(request, LINKS, NOW)] == [True]
