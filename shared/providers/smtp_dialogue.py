"""The SMTP transactions of one connection, at one round trip per mail.

Where the server announces PIPELINING (RFC 2920) the content of one mail leaves together with the envelope of the next; more is not
allowed, since DATA must be the last command of a group. Their replies are read in order.

    ->  content 1 <CRLF>.<CRLF>  MAIL 2  RCPT 2  DATA 2
    <-  250 (mail 1 is sent)     250     250     354

What makes it safe: a content is written only after its RCPT was accepted and its DATA answered 354; once its last line may have
left, the mail is `unknown` until its reply is read; before that it is `down`, for a receiver must not act on a content without its
end (RFC 5321 §4.1.1.4). No content is ever written twice. Replies out of step lose the connection, and make the mail that they may
have been about `unknown`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from time import monotonic
from typing import TypeAlias

from shared.ports import Outcome, Stop
from shared.providers.smtp_envelope import Offers
from shared.providers.smtp_replies import Stage, accepted, classify
from shared.providers.smtp_wire import OUT_OF_STEP, Wire

Item: TypeAlias = tuple[bytes, bytes]  # the three commands of the envelope, and the content

PIECE = 65_536  # bytes of a long content per write; its end is written when the rest has left

_STAGES: dict[str, Stage] = {"M": "mail", "R": "rcpt", "D": "data"}
_END, _RESET = b".\r\n", b"RSET\r\n"
_UNKNOWN = Outcome("unknown")
# The replies to a content and the next envelope when all is well, which is nearly always: one match instead of four replies.
_GROUP = re.compile(rb"(250(?: 2\.\d{1,3}\.\d{1,3})?)[ \r][^\n]*\n(?:2\d\d[ \r][^\n]*\n){2}354[ \r][^\n]*\n")


class Dialogue(Wire):
    """One authenticated connection; never used by two callers at a time.

    Letters stand for the replies that are expected: X (RSET), M (MAIL), R (RCPT), D (DATA), C (content), E (the end of a content
    that must not come), L (none: a long content is being written), N (NOOP).
    """

    def __init__(self, transport: asyncio.Transport, timeout: float, offers: Offers) -> None:
        super().__init__(transport, timeout)
        self.offers = offers
        self._pipelining = offers.pipelining
        self.begun = 0  # mails, over its life
        self.opened = self.used = monotonic()
        self.kept = False  # it has been idle in the pool, so the server may have dropped it meanwhile
        self._expected = ""
        self._commands: list[tuple[str, bytes]] = []  # what is to be said when the expected replies are here, last first
        self._items: Sequence[Item] = ()
        self._stop = Stop()
        self._outcomes: list[Outcome] = []  # so that the mail in hand is _items[len(_outcomes)]
        self._refused: Outcome | None = None  # the mail in hand
        self._heard = False  # the server answered something about the mail in hand
        self._doubt = False  # a transaction may be open: RSET before the next
        self._answered = False  # the content's reply is here, others of its group are not
        self._offset = 0  # bytes written of a long content

    async def alive(self) -> bool:
        """Ask the server with a NOOP."""
        self._done = self._loop.create_future()
        self._commands = [("N", b"NOOP\r\n")]
        self._say()
        await self._finished()
        return not self.ended

    async def run(self, items: Sequence[Item], stop: Stop) -> list[Outcome]:
        """One outcome per mail, in order; fewer when `stop` has come, or the connection is lost (see `lost`).

        The mail in hand when it is lost gets an outcome, unless the server had said nothing about it and the connection was in
        use before: then it is the connection that had ended, not this mail that ended it.
        """
        self._items, self._stop, self._outcomes = items, stop, []
        self._heard = False
        self._done = self._loop.create_future()
        try:
            self._begin()
            await self._finished()
            outcomes = self._outcomes
            if self.lost and self._expected[:1] == "C":
                outcomes[-1] = Outcome("unknown", self.lost)
            elif self.lost and self._refused is not None:
                outcomes.append(self._refused)
            elif self.lost and len(outcomes) < len(items) and (self._heard or (not outcomes and not self.kept)):
                outcomes.append(Outcome("down", self.lost))
        finally:
            self._items, self._outcomes, self._refused, self._expected = (), [], None, ""  # what is idle holds no mails
        self.begun += len(outcomes)
        self.used = monotonic()
        return outcomes

    def buffer_updated(self, nbytes: int) -> None:
        if self._expected == "CMRD" and (found := _GROUP.fullmatch(self._buffer, 0, self._filled + nbytes)):
            self._filled = 0
            self._unread = False
            self._deadline = monotonic() + self._timeout
            self._outcomes[-1] = accepted(found[1])
            content = self._items[len(self._outcomes)][1]
            if len(content) <= PIECE:
                self._end(content)
            else:
                self._hand_over()
        else:
            super().buffer_updated(nbytes)

    def replied(self, reply: bytes) -> None:
        stage, self._expected = self._expected[:1], self._expected[1:]
        go_on = reply.startswith(b"354")
        if not self._in_step(stage, reply, go_on):
            self._out_of_step(stage)
        elif reply.startswith(b"421"):  # it closes the connection (RFC 5321 §3.8)
            self.fail("421")
        elif self._expected:
            return
        elif stage == "D" and self._refused is None:
            self._hand_over()
        elif stage == "D" and go_on:  # the server waits for a content that must not come
            self._commands = [("E", _END)]
            self._say()
        elif self._refused is not None:
            self._outcomes.append(self._refused)
            self._refused, self._heard, self._doubt = None, False, True
            self._begin()
        elif stage == "C":
            self._begin()
        elif stage == "L":
            self.fail("refused early")
        elif stage == "N":
            self._finish()
        else:
            self._say()

    def writable(self) -> None:
        """Write the next pieces of a long content, if there is one."""
        if self._expected != "L":
            return
        content = self._items[len(self._outcomes)][1]
        while len(content) - self._offset > PIECE and not self._paused:
            self._transport.write(content[self._offset : self._offset + PIECE])
            self._offset += PIECE
        if not self._paused:
            self._end(content[self._offset :])

    def _in_step(self, stage: str, reply: bytes, go_on: bool) -> bool:
        """Note what the reply means; False when it cannot be the reply to this stage."""
        good = reply[0] == 0x32  # 2xx
        if reply[0] == 0x33 and not (go_on and stage == "D"):
            return False
        match stage:
            case "M" | "R" | "D":
                self._heard = True
                if stage == "D" and good:
                    return False
                if self._refused is None and not good and not go_on:
                    self._refused = classify(_STAGES[stage], reply)
                self._answered = self._answered and stage != "D"
            case "C":
                self._outcomes[-1] = classify("content", reply)
                self._answered = bool(self._expected)
            case "L":
                if not good:
                    self._outcomes.append(classify("content", reply))
                    self._heard = False
                return not good
            case "X":
                self._doubt = not good
                return good
            case "N":
                return good
            case "E":
                pass
            case _:
                return False
        return True

    def _out_of_step(self, stage: str) -> None:
        """Nothing that this group of replies said can be relied on, nor a "sent" among them."""
        if stage == "C" or self._answered:
            self._outcomes[-1] = Outcome("unknown", OUT_OF_STEP)
        self._refused = None
        self.fail(OUT_OF_STEP)

    def _begin(self) -> None:
        """Announce the next mail, if there is one and it is not time to stop."""
        if len(self._outcomes) == len(self._items) or self._stop.come:
            return self._finish()
        envelope = self._items[len(self._outcomes)][0]
        if self._pipelining:
            self._commands = [("XMRD", _RESET + envelope) if self._doubt else ("MRD", envelope)]
        else:
            self._commands = list(zip("DRM", reversed(envelope.splitlines(keepends=True)), strict=True))
            if self._doubt:
                self._commands.append(("X", _RESET))
        return self._say()

    def _say(self) -> None:
        expected, commands = self._commands.pop()
        if self._free():
            self._expected = expected
            self._transport.write(commands)

    def _hand_over(self) -> None:
        """Write the content of the mail in hand."""
        if not self._free():
            return
        content = self._items[len(self._outcomes)][1]
        if len(content) > PIECE:
            self._expected, self._offset = "L", 0
            self.writable()
        else:
            self._end(content)

    def _end(self, content: bytes) -> None:
        """Write the rest of a content, its end and the next envelope. From here on the mail is unknown."""
        self._outcomes.append(_UNKNOWN)
        self._heard = False
        coming = len(self._outcomes)
        if self._pipelining and coming < len(self._items) and not self._stop.come:
            self._expected = "CMRD"
            self._transport.write(b"".join((content, _END, self._items[coming][0])))
        else:
            self._expected = "C"
            self._transport.write(content + _END)

    def _free(self) -> bool:
        """Whether something may be written; else the connection is lost: it has ended, or the server spoke out of turn."""
        if not self._unread and not self.ended:
            return True
        self.fail(OUT_OF_STEP if self._unread else "closed")
        return False
