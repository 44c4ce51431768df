"""One raw request to an ASGI app, and what came of it: an app that answers with 5xx, raises, answers wrongly or not at all is noted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

PATIENCE = 10.0  # seconds for an answer
MOST_SHOWN = 20  # faults that are told in full

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Call:
    """`target`: the path and query as they stand in the request line, percent-encoded; header names are lower-case, as servers hand
    them on. `cut`: the caller hangs up before the body's end."""

    method: str
    target: bytes
    headers: Headers = ()
    chunks: tuple[bytes, ...] = (b"",)
    cut: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def shown(self) -> str:
        """Enough to send it again by hand."""
        return f"{self.method} {self.target[:200]!r} {self.headers!r:.1500} {self.body[:300]!r} ({len(self.body)} bytes)"


@dataclass
class Answer:
    """`wrong`: what makes it no answer, or none that a step may give; "" when all is well."""

    status: int = 0
    wrong: str = ""
    hung: bool = False


@dataclass
class Figures:
    """What came of many calls to one step, or with one proof."""

    name: str = ""
    requests: int = 0
    server_errors: int = 0
    hangs: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, call: Call, answer: Answer) -> None:
        self.requests += 1
        self.statuses[answer.status] += 1
        self.hangs += answer.hung
        self.server_errors += bool(answer.wrong) and not answer.hung
        if answer.wrong and len(self.faults) < MOST_SHOWN:
            self.faults.append(f"{self.name}: {answer.wrong}: {call.shown()}")


async def ask(app: App, call: Call, patience: float = PATIENCE) -> Answer:
    """Make the call. An answer that came after `patience` seconds is none, also when the app kept the event loop to itself."""
    path, _, query = call.target.partition(b"?")
    sent: list[dict[str, Any]] = []
    waiting = list(call.chunks)

    async def receive() -> dict[str, Any]:
        if not waiting or (call.cut and len(waiting) == 1):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "https",
        "root_path": "",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "headers": list(call.headers),
        "client": ("192.0.2.7", 40_000),
        "server": ("127.0.0.1", 8080),
    }
    started = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            await app(scope, receive, send)
    except TimeoutError:
        return Answer(wrong=f"no answer in {patience:g} s", hung=True)
    except Exception as error:
        return Answer(wrong=f"raised {type(error).__name__}")
    if time.monotonic() - started > patience:
        return Answer(wrong=f"no answer in {patience:g} s", hung=True)
    return _answer(sent)


def _answer(sent: Sequence[dict[str, Any]]) -> Answer:
    if [message["type"] for message in sent[:1]] != ["http.response.start"] or sent[-1].get("more_body"):
        return Answer(wrong="no whole answer")
    status: int = sent[0]["status"]
    if status >= 500:
        return Answer(status, f"answered {status}")
    if any(set(name + value) & set(b"\r\n\0") for name, value in sent[0]["headers"]):
        return Answer(status, "a header of several lines")
    return Answer(status)
