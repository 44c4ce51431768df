"""Requests over kept-alive connections, from a process that is not the server's."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from .requests import Call

CONNECTIONS = 64
_PATIENCE = aiohttp.ClientTimeout(total=30)


@dataclass
class Driven:
    """What came of some calls. `latencies`: place among the calls -> seconds, infinite where the answer was not as it should be."""

    latencies: dict[int, float] = field(default_factory=dict)

    @property
    def failed(self) -> list[int]:
        return [n for n, seconds in self.latencies.items() if seconds == math.inf]

    def quantile(self, share: float, weights: Sequence[int] | None = None) -> float:
        """Seconds within which this share of all calls was answered, each of which counts once, or as often as `weights` says."""
        left = share * (sum(weights) if weights else len(self.latencies))
        for n, seconds in sorted(self.latencies.items(), key=lambda item: item[1]):
            left -= weights[n] if weights else 1
            if left <= 0:
                return seconds
        return math.inf


async def at_rate(url: str, calls: Sequence[Call], rate: float) -> Driven:
    """An open loop: call n is due n/rate seconds after the first, whatever became of those before, and its latency counts from then;
    so a server that stalls is charged with everything that waited (https://www.scylladb.com/2021/04/22/on-coordinated-omission/)."""
    done = Driven()
    async with _session(0) as session, asyncio.TaskGroup() as group:
        began = time.monotonic() + 0.05
        for n, call in enumerate(calls):
            due = began + n / rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            group.create_task(_called(session, url, n, call, due, done))
    return done


async def at_once(url: str, calls: Sequence[Call], connections: int = CONNECTIONS) -> Driven:
    """A closed loop: each connection makes its next call when the last is answered."""
    done, left = Driven(), iter(enumerate(calls))

    async def connection() -> None:
        for n, call in left:
            await _called(session, url, n, call, time.monotonic(), done)

    async with _session(connections) as session, asyncio.TaskGroup() as group:
        for _ in itertools.repeat(None, connections):
            group.create_task(connection())
    return done


async def crowd(url: str, calls: Sequence[Call]) -> Driven:
    """All at the same moment, each over a connection of its own, whose making counts. On bare streams, since a client that needs as much
    CPU as the server would be measured with it."""
    done, place = Driven(), urlsplit(url)

    async def one(n: int, call: Call) -> None:
        headers = {"host": place.netloc, "content-length": str(len(call.body)), "connection": "close", **call.headers}
        lines = [f"{call.method} {call.path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
        try:
            async with asyncio.timeout(_PATIENCE.total):
                reader, writer = await asyncio.open_connection(place.hostname, place.port)
                writer.write("\r\n".join(lines).encode() + call.body)
                answer = await reader.read()
                writer.close()
        except (TimeoutError, OSError):
            answer = b""
        right = answer.startswith(f"HTTP/1.1 {call.status} ".encode())
        done.latencies[n] = time.monotonic() - began if right else math.inf

    began = time.monotonic()
    await asyncio.gather(*(one(n, call) for n, call in enumerate(calls)))
    return done


def _session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), timeout=_PATIENCE)


async def _called(session: aiohttp.ClientSession, url: str, n: int, call: Call, due: float, done: Driven) -> None:
    try:
        async with session.request(
            call.method, url + call.path, headers=call.headers, data=call.body or None, allow_redirects=False
        ) as answer:
            await answer.read()
            right = answer.status == call.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        right = False
    done.latencies[n] = time.monotonic() - due if right else math.inf
