"""What comes back of the mailbox's mails: reports that a stranger's reader would take for real, posted with a proof."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from starlette.applications import Starlette

from local.mailbox import Mail, Mailbox
from local.mailbox_pages import mailbox_routes
from local.returned import HOWS, Returns, complaint
from shared.bounces.read import read_mail
from shared.http import Request
from shared.links import Links
from shared.model.ref import MailRef
from shared.providers import generic, inbound
from shared.tokens import Tokens

pytestmark = pytest.mark.network

NOW = 1_800_000_000_000
KEYS = {"generic": b"a key", "inbound": b"another key"}
LINKS = Links("https://news.example", Tokens([b"s" * 32]))
REF = MailRef("C-0001", "ab" * 16)
ID, VERP = LINKS.message_id(REF, "news.example"), LINKS.return_path(REF, "bounces.example")
HEAD = f"From: News <hello@news.example>\r\nTo: r@shop.example\r\nMessage-ID: {ID}\r\nSubject: Spring"
MAIL = Mail(7, NOW, VERP, "r@shop.example", ID, "Spring", f"{HEAD}\r\n\r\nuser unknown, mailbox full\r\n".encode())


class Fixed:
    def now(self) -> int:
        return NOW


class Hooks:
    """Both webhooks, as the product checks and reads them."""

    def __init__(self) -> None:
        self.status, self.events, self.bodies = 204, [], []  # type: int, list[Any], list[bytes]

    async def answer(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.read()
        given = Request("POST", name, headers={k.lower(): v for k, v in request.headers.items()}, body=body)
        provider: Any = {"generic": generic, "inbound": inbound}[name]
        provider.verify(given, [KEYS[name]], NOW)
        self.events += [(name, event) for event in provider.normalise(given, LINKS, NOW)]
        self.bodies.append(body)
        return web.Response(status=self.status)


@pytest.fixture
async def hooks() -> AsyncIterator[tuple[Hooks, str]]:
    found, app = Hooks(), web.Application()
    app.router.add_post("/{name}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield found, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def returns(box: Mailbox, url: str) -> Returns:
    told, mailed = [(f"{url}/{name}", key) for name, key in KEYS.items()]
    return Returns(box, Fixed(), told, mailed)


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Mailbox]:
    found = Mailbox(tmp_path / "mailbox.db", webhook_url="http://127.0.0.1:9/", secret=b"s", clock=Fixed())
    await found.start()
    yield found
    await found.stop()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("told-hard", ("generic", "bounced", True, False, "550 5.1.1")),
        ("told-soft", ("generic", "bounced", False, True, "452 4.2.2")),
        ("mail-hard", ("inbound", "bounced", True, False, "550 5.1.1")),
        ("mail-astray", ("inbound", "bounced", True, False, "550 5.1.10")),
        ("mail-soft", ("inbound", "bounced", False, True, "552 5.2.2")),
        ("mail-late", ("inbound", "deferred", False, False, "4.4.1")),
        ("complaint", ("inbound", "complained", False, False, "abuse")),
    ],
)
async def test_the_product_takes_it_for_what_it_is(how: str, expected: Any, box: Mailbox, hooks: tuple[Hooks, str]) -> None:
    for _ in range(2):
        assert await returns(box, hooks[1]).send(MAIL, how) == 204
    name, event = hooks[0].events[0]
    assert (name, event.type, event.hard, event.counts, event.code) == expected
    assert event.mail == REF
    assert hooks[0].bodies[0] == hooks[0].bodies[1]
    assert len(hooks[0].events) == 2


def test_there_is_a_test_for_each() -> None:
    marks = test_the_product_takes_it_for_what_it_is.pytestmark
    assert {how for how, _ in marks[0].args[1]} == set(HOWS)


@pytest.mark.parametrize(("how", "to"), [("mail-hard", VERP), ("mail-late", VERP), ("mail-astray", "hello@news.example")])
def test_a_report_has_the_three_parts_of_rfc_3464(how: str, to: str) -> None:
    report = message_from_bytes(HOWS[how][1](MAIL), policy=policy.default)
    assert (report.get_content_type(), report["Content-Type"].params["report-type"]) == ("multipart/report", "delivery-status")
    assert [part.get_content_type() for part in report.iter_parts()][1:] == ["message/delivery-status", "text/rfc822-headers"]
    assert to in report["To"] and (report["Return-Path"], report["Auto-Submitted"]) == ("<>", "auto-replied")
    status = list(report.iter_parts())[1]
    assert [block["Reporting-MTA"] or block["Final-Recipient"] for block in status.iter_parts()] == [
        "dns; mx.shop.example",
        "rfc822; r@shop.example",
    ]


def test_a_report_to_the_from_address_is_told_by_the_message_id_alone() -> None:
    made: bytes = HOWS["mail-astray"][1](MAIL)
    assert VERP.encode() not in made
    event = read_mail(made, LINKS, NOW).event
    assert event and event.mail == REF
    assert read_mail(made.replace(ID.encode(), b"<x@news.example>"), LINKS, NOW).event is None


def test_a_complaint_has_the_three_parts_of_rfc_5965() -> None:
    report = message_from_bytes(complaint(MAIL), policy=policy.default)
    parts = [part.get_content_type() for part in report.iter_parts()]
    assert parts == ["text/plain", "message/feedback-report", "message/rfc822"]
    assert report["Content-Type"].params["report-type"] == "feedback-report"


async def test_the_mails_page_sends_it_back(box: Mailbox, hooks: tuple[Hooks, str]) -> None:
    await box.accept(VERP, ["r@shop.example"], MAIL.source)
    transport = httpx.ASGITransport(Starlette(routes=mailbox_routes(box, returns(box, hooks[1]))))
    async with httpx.AsyncClient(transport=transport, base_url="http://twin") as browser:
        page = (await browser.get("/mailbox/1")).text
        assert all(f'<option value="{how}">' in page for how in HOWS)
        answer = await browser.post("/mailbox/1/return", data={"how": "mail-hard"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/mailbox/1")
        assert [event.type for _, event in hooks[0].events] == ["bounced"]
        hooks[0].status = 401
        assert "answered 401" in (refused := await browser.post("/mailbox/1/return", data={"how": "told-hard"})).text
        assert refused.status_code == 502
        away = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
        assert (await browser.post("/mailbox/1/return", data={"how": "told-hard"}, headers=away)).status_code == 403
        assert (await browser.post("/mailbox/2/return", data={"how": "told-hard"})).status_code == 404
        assert (await browser.post("/mailbox/1/return", data={"how": "nonsense"})).status_code == 404
    assert json.loads(hooks[0].bodies[1])["event"] == "bounced" and len(hooks[0].bodies) == 2
