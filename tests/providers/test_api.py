"""What API senders share: the registry, a call that fails on its way, culprits that are looked for, texts."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from shared.errors import ConfigError
from shared.ports import Letter, Outcome
from shared.providers import Given
from shared.providers.api import MOST_REFUSED, Answer, ApiSender, Call, Lost, of_status
from shared.providers.api_http import MOST, Http
from shared.providers.api_texts import Suspect, ascii_header, filled, headers, mailbox, used
from shared.providers.senders import PROVIDERS, open_sender
from shared.providers.sendgrid import SendGrid
from shared.providers.webhooks import WEBHOOKS, webhook
from tests.providers.api_faults import CELLS, cell
from tests.providers.api_server import Reply
from tests.providers.fake_sendgrid import FakeSendGrid
from tests.providers.sender_contract import FROM, kinds, mail, mails

pytestmark = pytest.mark.network


@pytest.mark.parametrize(("kind", "fault", "wanted"), CELLS)
async def test_every_fault_of_every_provider_is_in_its_class(kind: str, fault: str | int, wanted: str) -> None:
    assert await cell(kind, fault) == wanted


# --- the registry -----------------------------------------------------------------------------------------------------


async def no_secret() -> str:
    return ""


def test_a_kind_that_is_unknown_is_no_sender() -> None:
    with pytest.raises(ConfigError, match=r"there is no kind 'pigeon' \(there are: .*mailgun"):
        open_sender("pigeon", Given(name="p", secret=no_secret))


def test_the_registries_lead_to_what_they_say() -> None:
    assert all(callable(importlib.import_module(module).open) for module in PROVIDERS.values())
    for name in WEBHOOKS:
        found = webhook(name)
        assert found is not None and f"webhook-{name}" == found.SECRET and callable(found.verify) and callable(found.normalise)
    assert webhook("pigeon") is None


def test_a_webhook_needs_no_http_client() -> None:
    code = "import sys; from shared.providers.webhooks import *; [webhook(k) for k in WEBHOOKS]; print('aiohttp' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


# --- a call on its way ------------------------------------------------------------------------------------------------

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Raw:
    """A server that does with a connection what `talk` says."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = Http(timeout=10)
    yield http
    await http.close()


async def lost(http: Http, url: str, size: int = 10) -> str:
    with pytest.raises(Lost) as error:
        await http.exchange(Call("POST", url, {}, b"x" * size))
    return error.value.kind


async def test_a_request_cut_before_its_end_is_down(http: Http) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2_000)

    async with Raw(talk) as url:
        assert await lost(http, url, 50_000_000) == "down"


async def test_a_server_that_reads_no_further_is_down() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(5)

    http = Http(timeout=0.5)
    async with Raw(talk) as url:
        assert await lost(http, url, 50_000_000) == "down"
    await http.close()


async def test_a_request_that_left_whole_is_unknown(http: Http) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(10)

    async with Raw(talk) as url:
        assert await lost(http, url) == "unknown"


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://127.0.0.1:1", "http://nowhere.invalid", "http://["])
async def test_no_connection_is_down(http: Http, url: str) -> None:
    assert await lost(http, url) == "down"


async def test_a_server_that_speaks_no_tls_is_down(http: Http) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 plain\r\n\r\n")
        await writer.drain()

    async with Raw(talk) as url:
        assert await lost(http, url.replace("http:", "https:")) == "down"


async def answered(http: Http, raw: bytes) -> Answer:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(10)
        writer.write(raw)
        await writer.drain()
        await asyncio.sleep(0.2)

    async with Raw(talk) as url:
        return await http.exchange(Call("POST", url, {}, b"x" * 10))


async def test_answers_as_they_come(http: Http) -> None:
    good = await answered(http, b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Id: 5\r\n\r\n{"a":1}')
    assert (good.status, good.headers["x-id"], good.json) == (200, "5", {"a": 1})
    cut = await answered(http, b'HTTP/1.1 401 no\r\nContent-Length: 70\r\n\r\n{"a":')
    assert (cut.status, cut.body, cut.json) == (401, b"", None)
    moved = await answered(http, b"HTTP/1.1 307 go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    assert moved.status == 307  # a POST is not taken elsewhere
    endless = await answered(http, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (MOST + 10))
    assert endless.body == b""


async def test_a_connection_that_the_server_left_is_not_used(http: Http) -> None:
    async with FakeSendGrid() as server:
        call = SendGrid(server.url).call(mails(2), server.key)
        assert (await http.exchange(call)).status == 202
        assert server._runner.server is not None
        for connection in server._runner.server.connections:
            assert connection.transport is not None
            connection.transport.close()
        await asyncio.sleep(0.05)
        assert (await http.exchange(call)).status == 202
        assert server.open == 2


async def test_calls_share_nothing_but_the_pool(http: Http) -> None:
    async with FakeSendGrid() as server:
        call = SendGrid(server.url).call(mails(1), server.key)
        assert {answer.status for answer in await asyncio.gather(*(http.exchange(call) for _ in range(20)))} == {202}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((200, "unknown"), (204, "unknown"), (400, None), (413, None), (422, None)),
        *((302, "ours"), (401, "ours"), (402, "ours"), (403, "ours"), (404, "ours")),
        *((408, "down"), (429, "throttle"), (500, "unknown"), (502, "unknown"), (599, "unknown")),
    ],
)
def test_what_a_status_says_by_itself(status: int, kind: str | None) -> None:
    found = of_status(Answer(status, {}))
    assert (found and found.kind) == kind
    assert of_status(Answer(503, {}), down=(503,)) == Outcome("down", "503")


# --- culprits ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[FakeSendGrid]:
    async with FakeSendGrid() as running:
        yield running


@pytest.fixture
async def sender(server: FakeSendGrid) -> AsyncIterator[ApiSender]:
    async def secret() -> str:
        return server.key

    sender = open_sender("sendgrid", Given(name="s", options={"endpoint": server.url}, secret=secret))
    assert isinstance(sender, ApiSender)
    yield sender
    await sender.close()


def without_blame(server: FakeSendGrid) -> None:
    """Refusals no longer say whose fault it is."""
    take = server.accept

    def refused(request: object, body: bytes) -> object:
        mails, reply = take(request, body)  # type: ignore[arg-type]
        return (mails, reply) if reply.status != 400 else ([], Reply(400, {"errors": [{"field": None, "message": "no"}]}))

    server.accept = refused  # type: ignore[method-assign, assignment]


async def test_a_culprit_among_a_thousand_is_found_in_few_calls(sender: ApiSender, server: FakeSendGrid) -> None:
    without_blame(server)
    server.bad = {"r777@example.org"}
    outcomes = await sender.send(FROM, mails(1000))
    assert [n for n, outcome in enumerate(outcomes) if outcome.kind != "sent"] == [777]
    assert outcomes[777].kind == "message" and server.sends <= 21
    assert len(server.inbox) == len({one.to[0] for one in server.inbox}) == 999


async def test_more_culprits_than_can_be_looked_for_fail_nobody_else(sender: ApiSender, server: FakeSendGrid) -> None:
    without_blame(server)
    server.bad = {f"r{n}@example.org" for n in range(0, 1000, 20)}
    outcomes = await sender.send(FROM, mails(1000))
    taken = {one.to[0] for one in server.inbox}
    for one, outcome in zip(mails(1000), outcomes, strict=True):
        bad = one.recipient in server.bad
        assert outcome.kind == "temporary" or outcome.kind == ("message" if bad else "sent")
        assert (outcome.kind == "sent") == (one.recipient in taken)
    assert kinds(outcomes).count("temporary") > 0 and server.sends < 4 * MOST_REFUSED


async def test_blame_for_a_mail_that_is_not_there_ends(sender: ApiSender, server: FakeSendGrid) -> None:
    wrong = Reply(400, {"errors": [{"field": "personalizations.77.to.0.email", "message": "no"}]})
    server.faults = dict.fromkeys(range(1, 1000), wrong)
    assert set(kinds(await sender.send(FROM, mails(9)))) == {"message"}
    assert server.sends < 2 * 9


async def test_after_an_unknown_call_the_rest_was_not_handed_over(sender: ApiSender, server: FakeSendGrid) -> None:
    server.faults = {1: 500}
    assert kinds(await sender.send(FROM, mails(1500))) == ["unknown"] * 1000 + ["down"] * 500
    assert server.sends == 1


# --- texts ------------------------------------------------------------------------------------------------------------


def test_texts_are_filled() -> None:
    assert filled(("a", 1, "b", 0, 1), ("x", "y")) == "aybxy"
    assert used(("a", 3, 1), (1,), ()) == [1, 3]


def test_a_suspect_is_found_in_any_text_or_value() -> None:
    suspect = Suspect("%x")
    clean = Letter("", "a@b.example", "", ("s",), ("t", 0), ("h",), {"X-A": ("v",)})
    for changed in (
        {"from_name": "%X"},
        {"subject": ("%x",)},
        {"text": (0, "a%x")},
        {"html": ("%x",)},
        {"headers": {"X-A": ("%x",)}},
    ):
        assert not suspect(mail(1, clean))
        assert suspect(mail(1, replace(clean, **changed)))
    assert suspect(mail(1, clean, name="100%x"))


def test_headers_are_one_line_of_ascii() -> None:
    assert ascii_header("<https://shop.example/" + "x" * 300 + ">") == "<https://shop.example/" + "x" * 300 + ">"
    assert ascii_header("Übersicht der Woche <list.shop.example>") == "=?utf-8?q?=C3=9Cbersicht?= der Woche <list.shop.example>"
    assert ascii_header("one\r\nBcc: two\x00\u2028") == "one Bcc: two"
    long = ascii_header("ü" * 200)
    assert long.isascii() and "\n" not in long and max(map(len, long.split())) <= 75
    letter = Letter("", "a@b.example", "", (), (), (), {"X-A": ("a", 0), "Subject": ("no",)})
    one = mail(1, letter, name="Zoë\nX-Evil: 1")
    assert headers(one, {"subject"}) == {"X-A": "=?utf-8?b?YVpvw6s=?= X-Evil: 1"}


@pytest.mark.parametrize(
    ("name", "encoded", "line"),
    [
        ("", False, "a@b.example"),
        ("Shop", False, "Shop <a@b.example>"),
        ('Müller, "Laden"', False, '"Müller, \\"Laden\\"" <a@b.example>'),
        ("Müller", True, "=?utf-8?q?M=C3=BCller?= <a@b.example>"),
        ("A, B\r\nBcc: c", True, '"A, B Bcc: c" <a@b.example>'),
    ],
)
def test_mailboxes(name: str, encoded: bool, line: str) -> None:
    assert mailbox(name, "a@b.example", encoded=encoded) == line
