"""One connection's dialogue: how often it waits for the server, and that it does not matter in which pieces replies come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest

from shared.ports import Outcome, Outgoing, Stop
from shared.providers import smtp_dialogue, smtp_wire
from shared.providers.smtp import SmtpSender
from shared.providers.smtp_dialogue import PIECE, Dialogue
from shared.providers.smtp_envelope import Offers
from tests.providers.post import FROM, kinds, mails

CONNECTIONS = 64


class Turns(asyncio.Protocol):
    """A pipelining server that answers all it was told at once, and counts how often it does; `hold` may keep the answers back."""

    def __init__(self, server: Server) -> None:
        self._server, self._buffer, self._content = server, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 ready\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        replies = []
        while (end := self._buffer.find(b"\r\n.\r\n" if self._content else b"\r\n")) >= 0:
            word, self._buffer = self._buffer[:4], self._buffer[end + (5 if self._content else 2) :]
            if self._content:
                self._server.mails += 1
                self._content = False
            self._content = word == b"DATA"
            replies.append(
                b"250-here\r\n250 PIPELINING\r\n" if word == b"EHLO" else b"354 go\r\n" if self._content else b"250 ok\r\n"
            )
        if replies:
            self._server.turns += 1
            self._server.answer(self._transport, b"".join(replies), self._content)


class Server:
    def __init__(self, hold: int = 0) -> None:
        self.turns = self.mails = 0
        self._hold, self._held = hold, list[tuple[asyncio.Transport, bytes]]()

    def answer(self, transport: asyncio.Transport, replies: bytes, to_envelope: bool) -> None:
        """Answer an envelope only when as many connections as `hold` wait for theirs."""
        self._held.append((transport, replies))
        if not to_envelope or len(self._held) >= self._hold:
            for waiting, held in self._held:
                waiting.write(held)
            self._held.clear()

    async def start(self) -> int:
        self._server = await asyncio.get_running_loop().create_server(lambda: Turns(self), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._server.close()


@pytest.mark.network
async def test_a_mail_takes_one_round_trip() -> None:
    server = Server()
    sender = SmtpSender("127.0.0.1", await server.start(), timeout=5)
    await sender.ready()
    before = server.turns
    assert kinds(await sender.send(FROM, mails(20))) == ["sent"] * 20
    await sender.close()
    server.close()
    assert server.turns - before == 20 + 1, "one for each, and one for the first envelope of the window"


@pytest.mark.network
async def test_nothing_makes_one_connection_wait_for_another() -> None:
    """The server answers an envelope only when all connections have one under way, again and again."""
    server = Server(hold=CONNECTIONS)
    sender = SmtpSender("127.0.0.1", await server.start(), connections=CONNECTIONS, timeout=20)
    answers = await asyncio.gather(*(sender.send(FROM, mails(5, first=5 * n)) for n in range(CONNECTIONS)))
    await sender.close()
    server.close()
    assert [kinds(answer) for answer in answers] == [["sent"] * 5] * CONNECTIONS
    assert server.mails == 5 * CONNECTIONS


# --- replies in pieces ------------------------------------------------------------------------------------------------


class Transport:
    """What a dialogue writes to, without a network."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.full: Callable[[], None] = lambda: None  # told after each write

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.full()

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def feed(dialogue: Dialogue, data: bytes) -> None:
    while data and not dialogue.lost:
        view = dialogue.get_buffer(-1)
        count = min(len(view), len(data))
        assert count, "asyncio gives a connection up that has no room"
        view[:count], data = data[:count], data[count:]
        dialogue.buffer_updated(count)


ENVELOPE = b"250 2.1.0 fine\r\n250 2.1.5 fine\r\n354 go\r\n"
LONG = b"250-2.0.0 fine\r\n250-2.0.0 very\r\n250 2.0.0 indeed\r\n250\r\n250 fine\r\n354-go\r\n354 on\r\n"


async def talk(pieces: list[bytes], items: int = 2) -> tuple[list[str], list[bytes]]:
    """The outcomes ("kind code"), and what was written."""
    transport: Any = Transport()
    dialogue = Dialogue(transport, 10, Offers(pipelining=True))
    running = asyncio.create_task(dialogue.run([(b"envelope %d\r\n" % n, b"content %d\r\n" % n) for n in range(items)], Stop()))
    await asyncio.sleep(0)
    for piece in pieces:
        feed(dialogue, piece)
    if not running.done():
        dialogue.connection_lost(None)
    return [f"{o.kind} {o.code}" for o in await running], transport.written


@pytest.mark.parametrize("group", [b"250 2.0.0 taken\r\n" + ENVELOPE, LONG], ids=["short", "long"])
async def test_it_does_not_matter_in_which_pieces_replies_come(group: bytes) -> None:
    last = b"250 2.0.0 taken too\r\n"
    wanted = ["sent 250 2.0.0"] * 2, [b"envelope 0\r\n", b"content 0\r\n.\r\nenvelope 1\r\n", b"content 1\r\n.\r\n"]
    assert await talk([ENVELOPE, group, last]) == wanted
    for at in range(1, len(group)):
        assert await talk([ENVELOPE, group[:at], group[at:], last]) == wanted
    assert await talk([bytes([byte]) for byte in ENVELOPE + group + last]) == wanted


@pytest.mark.parametrize(
    ("group", "wanted"),
    [
        (b"250 2.0.0 taken\r\n250 ok\r\n250 ok\r\n250 ok\r\n", ["unknown out of step", "down out of step"]),
        (b"250 2.0.0 taken\r\n354 ok\r\n250 ok\r\n250 ok\r\n", ["unknown out of step"]),
        (b"250 2.0.0 taken\r\n" + ENVELOPE + b"250 ok\r\n", ["sent 250 2.0.0", "down out of step"]),
        (b"354 go\r\n" + ENVELOPE, ["unknown out of step"]),
        (b"250 2.0.0 taken\r\n250 ok\r\n550 5.1.1 no\r\n", ["sent 250 2.0.0", "recipient 550 5.1.1"]),
        (b"250 2.0.0 taken\r\n250 ok\r\n", ["sent 250 2.0.0", "down closed"]),
        (b"250 2.0.0 taken\r\n", ["sent 250 2.0.0"]),
        (b"250 2.0.0 taken\r", ["unknown closed"]),
        (b"250 2.0.0 taken\r\nwhat?\r\n", ["sent 250 2.0.0"]),
        (b"550 5.6.0 bad\r\n250-ok\r\n251 ok\r\n", ["message 550 5.6.0"]),
        (b"421 4.3.2 closing\r\n250 ok\r\n", ["throttle 421 4.3.2"]),
        (b"250 ok\r\n421 4.7.0 later\r\n", ["sent 250", "throttle 421 4.7.0"]),
        (b"250 2.0.0 taken\r\n550 5.7.1 no\r\n503 no\r\n250 ok\r\n", ["unknown out of step", "down out of step"]),
        (b"250 2.0.0 taken\r\n" + b"250-x\r\n" * 3000, ["sent 250 2.0.0"]),
        (b"250-2.0.0 taken\r\n251 2.0.0 or not\r\n", ["unknown garbage"]),
    ],
)
async def test_a_group_of_replies_that_goes_wrong(group: bytes, wanted: list[str]) -> None:
    outcomes, written = await talk([ENVELOPE, group])
    assert outcomes == wanted
    assert written == [b"envelope 0\r\n", b"content 0\r\n.\r\nenvelope 1\r\n"], "no other content is written"


async def test_what_a_refusal_left_open_is_reset_or_the_connection_left() -> None:
    refused = b"250 2.0.0 taken\r\n250 ok\r\n550 5.1.1 no\r\n503 no\r\n"
    for answer, outcomes in (
        (b"250 reset\r\n" + ENVELOPE, ["sent 250 2.0.0", "recipient 550 5.1.1", "unknown closed"]),
        (b"500 what?\r\n" + ENVELOPE, ["sent 250 2.0.0", "recipient 550 5.1.1"]),
        (b"354 go\r\n" + ENVELOPE, ["sent 250 2.0.0", "recipient 550 5.1.1"]),
    ):
        # Each reply by itself, so that none goes the short way.
        pieces = [line + b"\n" for line in (ENVELOPE + refused + answer).split(b"\n")[:-1]]
        found, written = await talk(pieces, items=3)
        assert found == outcomes
        assert written[2] == b"RSET\r\nenvelope 2\r\n"
        assert written[3:] == ([b"content 2\r\n.\r\n"] if len(outcomes) == 3 else [])


def dialogue_of(*contents: bytes) -> tuple[Any, Dialogue, asyncio.Task[list[Outcome]]]:
    """A fake transport, a dialogue that has announced the first of `contents`, and its end."""
    transport: Any = Transport()
    dialogue = Dialogue(transport, 10, Offers(pipelining=True))
    return transport, dialogue, asyncio.create_task(dialogue.run([(b"envelope\r\n", content) for content in contents], Stop()))


async def test_each_reply_may_take_the_time_out_and_no_part_of_one_makes_it_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(smtp_wire, "monotonic", lambda: now)
    monkeypatch.setattr(smtp_dialogue, "monotonic", lambda: now)
    for group in (b"250 ok\r\n" + ENVELOPE, b"250 ok\r\n250-o"):
        now = 0.0
        transport, dialogue, running = dialogue_of(b"a\r\n", b"b\r\n")
        await asyncio.sleep(0)
        for moment, data in ((8.0, ENVELOPE), (16.0, group), (24.0, b"250-")):
            now = moment
            dialogue._tick()
            feed(dialogue, data)
            assert not dialogue.lost
        now = 25.9
        dialogue._tick()
        assert not transport.closed
        now = 26.1
        dialogue._tick()
        assert transport.closed
        assert dialogue.lost == "time-out"
        await running


async def test_a_cancelled_dialogue_ends_its_connection() -> None:
    transport, _, running = dialogue_of(b"a\r\n")
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert transport.closed


async def test_after_an_early_refusal_nothing_more_is_written() -> None:
    transport, dialogue, running = dialogue_of(b"x" * 3 * PIECE + b"\r\n", b"b\r\n")
    await asyncio.sleep(0)
    transport.full = dialogue.pause_writing
    feed(dialogue, ENVELOPE)
    feed(dialogue, b"552 5.3.4 too big\r\n")
    assert await running == [Outcome("message", "552 5.3.4")]
    assert transport.closed
    assert len(transport.written) == 2, "the envelope and a first piece"


@pytest.mark.parametrize("room", [1, 2, 9])
async def test_a_long_contents_end_leaves_when_the_rest_has_left(room: int) -> None:
    """`room`: how often the network takes what is waiting, before it is lost."""
    content = b"x" * 3 * PIECE + b"\r\n"
    transport, dialogue, running = dialogue_of(content)
    await asyncio.sleep(0)
    dialogue.pause_writing()
    feed(dialogue, ENVELOPE)
    assert transport.written == [b"envelope\r\n"]
    transport.full = dialogue.pause_writing
    for _ in range(room):
        dialogue.resume_writing()
    dialogue.connection_lost(None)
    parts = [content[:PIECE], content[PIECE : 2 * PIECE], content[2 * PIECE : 3 * PIECE], b"\r\n.\r\n"]
    assert transport.written[1:] == parts[:room]
    assert [o.kind for o in await running] == ["unknown" if room > 3 else "down"]


@pytest.mark.network
async def test_a_kept_connection_keeps_no_mails() -> None:
    server = Server()
    sender = SmtpSender("127.0.0.1", await server.start(), timeout=5)
    data = b"Subject: %d\r\n\r\n" % 5
    held = sys.getrefcount(data)
    assert kinds(await sender.send(FROM, [Outgoing("a@example.org", data)])) == ["sent"]
    assert sys.getrefcount(data) == held
    await sender.close()
    server.close()
