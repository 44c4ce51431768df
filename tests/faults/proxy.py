"""A gRPC server in front of an emulator that passes every call on, and cuts some of the replies: the emulator has done the work, and
the caller gets one of the codes that gRPC gives when an answer goes missing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

STREAMED = frozenset({"BatchGetDocuments", "RunQuery", "RunAggregationQuery"})
CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # also what gRPC says of a reply over its limit
)
_Bytes = bytes  # requests and replies pass unread


class Proxy:
    """`chance`: how likely a reply is cut; `most`: how many are, at most; `cut` counts those that were, by method."""

    def __init__(self, upstream: str, random_: random.Random) -> None:
        self._channel = grpc.aio.insecure_channel(upstream)
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

    async def _maybe_cut(self, name: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if self.cut.total() < self.most and self._random.random() < self.chance:
            self.cut[name] += 1
            await context.abort(self._random.choice(CODES), "the reply was cut")
        self.passed += 1

    async def close(self) -> None:
        await self._channel.close()


class _Everything(grpc.GenericRpcHandler):  # type: ignore[misc]  # the package has no types
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._proxy.handler(handler_call_details.method)


def _metadata(context: grpc.aio.ServicerContext[Any, Any]) -> list[tuple[str, Any]]:
    wanted = ("authorization", "google-cloud-resource-prefix", "x-goog-request-params")
    return [(key, value) for key, value in context.invocation_metadata() or () if key in wanted]


@asynccontextmanager
async def proxied(upstream: str, seed: int) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy of the server at `upstream`, and its own host:port."""
    proxy = Proxy(upstream, random.Random(seed))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Everything(proxy),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield proxy, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
        await proxy.close()
