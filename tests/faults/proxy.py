"""A server in front of an emulator that passes every call on, and cuts some of the replies: the emulator has done the work, and the
caller gets one of the codes that gRPC gives when an answer goes missing, or over REST the half of it.

As on the emulator, both are at one port: HTTP/2 begins with its preface (RFC 9113 §3.4), and is gRPC.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import grpc.aio
from aiohttp import web

STREAMED = frozenset({"BatchGetDocuments", "RunQuery", "RunAggregationQuery"})
CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # also what gRPC says of a reply over its limit
)
_PASSED = frozenset({"authorization", "google-cloud-resource-prefix", "x-goog-request-params", "content-type"})  # headers
_Bytes = bytes  # requests and replies pass unread


class Proxy:
    """`chance`: how likely a reply is cut; `most`: how many are, at most; `cut` counts those that were, by method."""

    def __init__(self, upstream: str, random_: random.Random) -> None:
        self._upstream = upstream
        self._channel = grpc.aio.insecure_channel(upstream)
        self._session = aiohttp.ClientSession()
        self._random = random_
        self.chance = 0.0
        self.most = 1 << 30
        self.cut: Counter[str] = Counter()
        self.passed = 0

    def handler(self, method: str) -> grpc.RpcMethodHandler:
        """The handler of a full method name, "/package.Service/Method"."""
        name = method.rpartition("/")[2]

        async def unary(request: _Bytes, context: grpc.aio.ServicerContext[Any, Any]) -> _Bytes:
            call = self._channel.unary_unary(method)(request, metadata=_metadata(context), timeout=context.time_remaining())
            try:
                reply: bytes = await call
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            await self._maybe_cut(name, context)
            return reply

        async def stream(request: _Bytes, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[_Bytes]:
            call = self._channel.unary_stream(method)(request, metadata=_metadata(context), timeout=context.time_remaining())
            try:
                replies = [reply async for reply in call]
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            for reply in replies[:-1]:
                yield reply
            await self._maybe_cut(name, context)
            for reply in replies[-1:]:
                yield reply

        if name in STREAMED:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """Pass a REST call on; of a reply that is cut only the half arrives."""
        headers = {key: value for key, value in request.headers.items() if key.lower() in _PASSED}
        url = f"http://{self._upstream}{request.raw_path}"
        async with self._session.request(request.method, url, data=await request.read(), headers=headers) as found:
            status, body, kind = found.status, await found.read(), found.headers.get("content-type", "")
        method = request.path.rpartition(":")[2]
        reply = web.StreamResponse(status=status, headers={"content-type": kind, "content-length": str(len(body))})
        await reply.prepare(request)
        if status == 200 and self._cuts(method[:1].upper() + method[1:]):
            await reply.write(body[: len(body) // 2])
            assert request.transport is not None
            request.transport.close()
        else:
            await reply.write(body)
        return reply

    async def _maybe_cut(self, name: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if self._cuts(name):
            await context.abort(self._random.choice(CODES), "the reply was cut")

    def _cuts(self, name: str) -> bool:
        cuts = self.cut.total() < self.most and self._random.random() < self.chance
        if cuts:
            self.cut[name] += 1
        else:
            self.passed += 1
        return cuts

    async def close(self) -> None:
        await self._session.close()
        await self._channel.close()


class _Everything(grpc.GenericRpcHandler):  # type: ignore[misc]  # the package has no types
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._proxy.handler(handler_call_details.method)


def _metadata(context: grpc.aio.ServicerContext[Any, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in context.invocation_metadata() or () if key in _PASSED]


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@asynccontextmanager
async def proxied(upstream: str, seed: int) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy of the server at `upstream`, and its own host:port."""
    proxy = Proxy(upstream, random.Random(seed))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Everything(proxy),))
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", proxy.rest)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    rest_port = runner.addresses[0][1]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65_536)
        inner, outer = await asyncio.open_connection("127.0.0.1", grpc_port if first.startswith(b"PRI") else rest_port)
        outer.write(first)
        await asyncio.gather(_pipe(reader, outer), _pipe(inner, writer))

    front = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield proxy, f"127.0.0.1:{front.sockets[0].getsockname()[1]}"
    finally:
        front.close()
        await runner.cleanup()
        await server.stop(None)
        await proxy.close()
