"""The twin's inbox: on disk before its 250, reported until heard, and safe to look into."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import signal
import smtplib
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from starlette.applications import Starlette

from local.mailbox import Mailbox, bodies
from local.mailbox_pages import mailbox_routes
from local.returned import Returns
from shared.ports import Outgoing
from shared.providers.smtp import SmtpSender

pytestmark = pytest.mark.network

SECRET = b"a secret of the tests"
NOW = 1_800_000_000_000


class Fixed:
    def now(self) -> int:
        return NOW


class Hook:
    """The product's end of the webhook: refuses the first `refusals` calls."""

    def __init__(self) -> None:
        self.refusals = 0
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.under_way = self.most = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.005)
        self.under_way -= 1
        self.calls.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        return web.Response(status=503 if len(self.calls) <= self.refusals else 200)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]


@pytest.fixture
async def hook() -> AsyncIterator[tuple[Hook, str]]:
    found = Hook()
    app = web.Application()
    app.router.add_post("/webhooks/generic", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield found, f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/generic"
    await runner.cleanup()


@pytest.fixture
async def mailbox(tmp_path: Path, hook: tuple[Hook, str]) -> AsyncIterator[Mailbox]:
    box = Mailbox(tmp_path / "mailbox.db", webhook_url=hook[1], secret=SECRET, clock=Fixed())
    await box.start()
    yield box
    await box.stop()


def mail(n: int, extra: bytes = b"") -> Outgoing:
    head = b"Message-ID: <m%d@shop.example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= %d\r\n" % (n, n)
    return Outgoing(f"r{n}@example.org", head + extra + b"\r\nHello %d.\r\n" % n)


async def post(box: Mailbox, *mails: Outgoing) -> None:
    sender = SmtpSender("127.0.0.1", box.port, timeout=5)
    assert {o.kind for o in await sender.send("bounce@shop.example", mails)} <= {"sent"}
    await sender.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.01)


def rows(path: Path, what: str) -> list[tuple[Any, ...]]:
    """As another process would read them."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(f"SELECT {what} FROM mail ORDER BY id").fetchall()


async def test_mails_are_kept_as_they_came(mailbox: Mailbox, tmp_path: Path) -> None:
    out = [mail(n) for n in range(60)]
    await post(mailbox, *out)
    assert await mailbox.count() == 60
    newest = await mailbox.list(limit=2)
    assert [(m.rcpt, m.subject, m.message_id, m.received_at) for m in newest] == [
        (f"r{n}@example.org", f"Grüße {n}", f"<m{n}@shop.example>", NOW) for n in (59, 58)
    ]
    assert [m.id for m in await mailbox.list(limit=3, after=newest[1].id)] == [58, 57, 56]
    assert [m.rcpt for m in await mailbox.list(query="R17@")] == ["r17@example.org"]
    assert await mailbox.list(query="%") == []
    found = await mailbox.find("r5@example.org")
    assert [m.source for m in found] == [out[5].data]
    assert await mailbox.get(found[0].id) == found[0]
    assert await mailbox.get(10_000) is None
    assert rows(tmp_path / "mailbox.db", "mail_from, rcpt, source") == [("bounce@shop.example", m.recipient, m.data) for m in out]


async def test_concurrent_connections_all_get_their_answer(mailbox: Mailbox) -> None:
    await asyncio.gather(*(post(mailbox, *(mail(100 * c + n) for n in range(20))) for c in range(8)))
    assert await mailbox.count() == 160


async def test_a_mail_over_the_limit_is_refused(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.mailbox.MAX_SIZE", 100_000)
    sender = SmtpSender("127.0.0.1", mailbox.port, timeout=5)
    big = Outgoing("r@example.org", b"\r\n" + b"x" * 998 + b"\r\n" + (b"y" * 998 + b"\r\n") * 101)
    assert [o.kind for o in await sender.send("b@shop.example", [big, mail(1)])] == ["message", "sent"]
    await sender.close()
    assert await mailbox.count() == 1


async def test_a_full_mailbox_has_room_for_the_second_mail(mailbox: Mailbox) -> None:
    sender = SmtpSender("127.0.0.1", mailbox.port, timeout=5)
    out = [Outgoing("Full@shop.example", mail(1).data), mail(2)]
    first, other = await sender.send("b@shop.example", out)
    assert (first.kind, first.hard, first.code, other.kind) == ("recipient", False, "552 5.2.2", "sent")
    assert [o.kind for o in await sender.send("b@shop.example", out[:1])] == ["sent"]
    await sender.close()
    assert [m.rcpt for m in await mailbox.list()] == ["Full@shop.example", "r2@example.org"]


async def test_a_mail_that_cannot_be_stored_is_not_accepted(mailbox: Mailbox, tmp_path: Path) -> None:
    locked = sqlite3.connect(tmp_path / "mailbox.db")
    locked.execute("DROP TABLE mail")
    sender = SmtpSender("127.0.0.1", mailbox.port, timeout=5)
    assert [(o.kind, o.code) for o in await sender.send("b@shop.example", [mail(1)])] == [("temporary", "451 4.3.0")]
    await sender.close()


async def test_delay_slows_each_acceptance(tmp_path: Path, hook: tuple[Hook, str]) -> None:
    box = Mailbox(tmp_path / "slow.db", delay_ms=60, webhook_url=hook[1], secret=SECRET, clock=Fixed())
    await box.start()
    start = time.monotonic()
    await post(box, mail(1), mail(2), mail(3))
    assert time.monotonic() - start >= 0.18
    await box.stop()


# --- durable before the 250 -------------------------------------------------------------------------------------------

SERVE = """
import asyncio, sys
from pathlib import Path
from local.mailbox import Mailbox
class Clock:
    def now(self): return 1
async def main():
    box = Mailbox(Path(sys.argv[1]), webhook_url="http://127.0.0.1:9/", secret=b"s", clock=Clock())
    await box.start()
    print(box.port, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_kill_right_after_the_250_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mailbox.db"
    for n in range(3):
        process = subprocess.Popen([sys.executable, "-c", SERVE, str(path)], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            with smtplib.SMTP("127.0.0.1", int(process.stdout.readline()), timeout=10) as client:
                client.sendmail("b@shop.example", ["r@example.org"], mail(n).data)
                process.send_signal(signal.SIGKILL)
                process.wait()
                client.close()
        finally:
            process.kill()
            process.wait()
        assert rows(path, "message_id, reported") == [(f"<m{k}@shop.example>", 0) for k in range(n + 1)]


# --- reported until heard ---------------------------------------------------------------------------------------------


async def test_each_mail_is_reported_with_a_signature(mailbox: Mailbox, hook: tuple[Hook, str], tmp_path: Path) -> None:
    await post(mailbox, *(mail(n) for n in range(40)))
    await until(lambda: rows(tmp_path / "mailbox.db", "sum(reported)") == [(40,)])
    for headers, body in hook[0].calls:
        assert headers["webhook-timestamp"] == str(NOW // 1000)
        signed = hmac.new(SECRET, f"{NOW // 1000}.".encode() + body, hashlib.sha256).digest()
        assert headers["webhook-signature"] == "v1," + base64.b64encode(signed).decode()
    events = hook[0].events()
    assert {e["message_id"] for e in events} == {f"<m{n}@shop.example>" for n in range(40)}
    assert len({e["id"] for e in events}) == 40 == len(events)
    assert all(e["event"] == "delivered" and e["at"] == NOW and len(e) == 4 for e in events)
    assert 1 < hook[0].most <= 8


async def test_a_refused_report_is_repeated_with_the_same_id(mailbox: Mailbox, hook: tuple[Hook, str], tmp_path: Path) -> None:
    hook[0].refusals = 2
    await post(mailbox, mail(1))
    await until(lambda: rows(tmp_path / "mailbox.db", "reported") == [(1,)])
    assert len(hook[0].calls) == 3
    assert len({e["id"] for e in hook[0].events()}) == 1


async def test_what_was_not_reported_is_after_a_restart(tmp_path: Path, hook: tuple[Hook, str]) -> None:
    path = tmp_path / "mailbox.db"
    deaf = Mailbox(path, webhook_url="http://127.0.0.1:9/", secret=SECRET, clock=Fixed())
    await deaf.start()
    await post(deaf, mail(1), mail(2))
    await deaf.stop()
    assert rows(path, "reported") == [(0,), (0,)]
    box = Mailbox(path, webhook_url=hook[1], secret=SECRET, clock=Fixed())
    await box.start()
    await until(lambda: rows(path, "reported") == [(1,), (1,)])
    await box.stop()
    assert sorted(e["message_id"] for e in hook[0].events()) == ["<m1@shop.example>", "<m2@shop.example>"]


# --- pages ------------------------------------------------------------------------------------------------------------

HOSTILE = (
    b"<html><head><base target='_top'></head><body><script>top.location='http://evil.example'</script>"
    b"<img src='http://evil.example/x.png'><form action='http://evil.example'></form><p>Hi</p></body></html>"
)


@pytest.fixture
async def browser(mailbox: Mailbox) -> AsyncIterator[httpx.AsyncClient]:
    returns = Returns(mailbox, Fixed(), ("http://127.0.0.1:9/", b""), ("http://127.0.0.1:9/", b""))
    app = Starlette(routes=mailbox_routes(mailbox, returns))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://twin") as client:
        yield client


async def test_the_list_searches_and_pages(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    assert "No mail yet" in (await browser.get("/mailbox")).text
    await post(mailbox, *(mail(n) for n in range(35)))
    first = (await browser.get("/mailbox")).text
    assert first.count('<li><a href="/mailbox/') == 30
    assert "Grüße 34" in first
    older = (await browser.get("/mailbox?q=&after=6")).text
    assert older.count('<li><a href="/mailbox/') == 5
    assert 'href="/mailbox?q=&amp;after=6"' in first
    assert (await browser.get("/mailbox?q=r7@")).text.count('<li><a href="/mailbox/') == 1
    assert "No mail has" in (await browser.get("/mailbox?q=<b>&after=x")).text
    assert (await browser.get("/mailbox/99")).status_code == 404


async def test_a_hostile_mail_stays_in_its_sandbox(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    await post(
        mailbox,
        Outgoing("r@example.org", b"Subject: <script>alert(1)</script>\r\nContent-Type: text/html\r\n\r\n" + HOSTILE + b"\r\n"),
    )
    page = (await browser.get("/mailbox/1")).text
    assert "<script>" not in page
    assert '<iframe sandbox="allow-popups allow-popups-to-escape-sandbox" src="/mailbox/1/html"' in page
    rich = await browser.get("/mailbox/1/html")
    policy = {d.split()[0]: d.split()[1:] for d in rich.headers["content-security-policy"].split(";")}
    assert policy["sandbox"] == ["allow-popups", "allow-popups-to-escape-sandbox"]
    assert policy["default-src"] == ["'none'"]
    assert policy["img-src"] == ["'self'", "data:", "http://127.0.0.1:*"]
    assert "script-src" not in policy
    assert rich.text.index('<base target="_blank">') < rich.text.index("<base target='_top'>")
    for view in ("source", "text", "headers", "nonsense"):
        assert "<script>" not in (await browser.get(f"/mailbox/1?view={view}")).text
    assert "&lt;script&gt;top" in (await browser.get("/mailbox/1?view=source")).text


async def test_scripts_find_a_mail_by_recipient(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    await post(mailbox, mail(1), mail(2), mail(1))
    found = (await browser.get("/mailbox.json?rcpt=r1@example.org&limit=1")).json()
    assert found["count"] == 3
    assert [(m["id"], m["text"], m["html"]) for m in found["mails"]] == [(3, "Hello 1.\n", "")]
    assert [m["id"] for m in (await browser.get("/mailbox.json")).json()["mails"]] == [3, 2, 1]


def test_unknown_charsets_and_broken_parts_are_shown_as_well_as_can_be() -> None:
    assert bodies(b"Content-Type: text/plain; charset=klingon\r\n\r\nh\xe9 \xc3\xa9\r\n") == ("h\ufffd é\n", "")
    assert bodies(b"Content-Type: multipart/alternative; boundary=x\r\n\r\nno parts\r\n") == ("", "")
    assert bodies(b"")[1] == ""
