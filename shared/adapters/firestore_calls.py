"""One call to Cloud Firestore, and nothing more: who calls decides what to repeat.

The stubs are gRPC's own, on the official client's channel and with its protobuf messages, and queries go over REST
(`documents:runQuery`), which has all documents in one answer where gRPC has a message for each: a third of the CPU
(docs/decisions/0015-queries-over-rest-calls-without-wrappers.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import google.auth
import grpc.aio
import orjson
import urllib3
from google.api_core import exceptions
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.urllib3 import AuthorizedHttp
from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import FirestoreGrpcAsyncIOTransport
from google.cloud.firestore_v1.types import document
from google.cloud.firestore_v1.types import firestore as api
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # the package has no types

from shared.adapters import credentials

TIMEOUT = 10.0  # seconds a call
ENDPOINT = "https://firestore.googleapis.com"
CONNECTIONS = 8  # kept for queries
KEPT = 300  # characters of an answer that is no JSON

# As in the official document client: the generated one would wait for ever on a connection that died silently.
_CHANNEL = (("grpc.keepalive_time_ms", 30_000), ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
_SERVICE = "/google.firestore.v1.Firestore/"


def _protobuf(message: Any) -> Any:
    """The protobuf class behind one of the client's types."""
    return message.pb(message()).__class__


Commit, BatchWrite = _protobuf(api.CommitRequest), _protobuf(api.BatchWriteRequest)
Get, BatchGet = _protobuf(api.GetDocumentRequest), _protobuf(api.BatchGetDocumentsRequest)
RunQuery = _protobuf(api.RunQueryRequest)
Aggregate = _protobuf(api.RunAggregationQueryRequest)


class Calls:
    """Each raises GoogleAPICallError. Belongs to the event loop it was made in."""

    def __init__(self, channel: grpc.aio.Channel, database: str, http: Any, endpoint: str, token: str = "") -> None:
        self._channel, self._http, self._endpoint = channel, http, endpoint
        self._metadata = [("google-cloud-resource-prefix", database)] + ([("authorization", token)] if token else [])
        self._of_database = [*self._metadata, _routing("database", database)]
        self._headers = {**dict(self._metadata), "content-type": "application/json"}
        self._commit = self._stub(channel.unary_unary, "Commit", api.CommitResponse)
        self._batch_write = self._stub(channel.unary_unary, "BatchWrite", api.BatchWriteResponse)
        self._get = self._stub(channel.unary_unary, "GetDocument", document.Document)
        self._batch_get = self._stub(channel.unary_stream, "BatchGetDocuments", api.BatchGetDocumentsResponse)
        self._aggregate = self._stub(channel.unary_stream, "RunAggregationQuery", api.RunAggregationQueryResponse)

    @classmethod
    def connect(cls, database: str, emulator_host: str = "") -> Calls:
        """With default credentials (ConfigError without), or to an emulator. Needs a running event loop."""
        pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, timeout=TIMEOUT)
        if emulator_host:
            channel = grpc.aio.insecure_channel(emulator_host, options=_CHANNEL)
            return cls(channel, database, pool, f"http://{emulator_host}", "Bearer owner")
        with credentials.needed():
            channel = FirestoreGrpcAsyncIOTransport.create_channel(options=_CHANNEL)
            given = google.auth.default(scopes=FirestoreGrpcAsyncIOTransport.AUTH_SCOPES)[0]
        return cls(channel, database, AuthorizedHttp(given, http=pool), ENDPOINT)  # type: ignore[no-untyped-call]

    @staticmethod
    def _stub(kind: Any, method: str, answer: Any) -> Any:
        return kind(_SERVICE + method, request_serializer=_serialized, response_deserializer=_protobuf(answer).FromString)

    async def close(self) -> None:
        await self._channel.close()

    async def commit(self, request: Any) -> Any:
        """A CommitRequest; its CommitResponse."""
        return await self._unary(self._commit, request, self._of_database)

    async def batch_write(self, request: Any) -> Any:
        """A BatchWriteRequest; its BatchWriteResponse."""
        return await self._unary(self._batch_write, request, self._of_database)

    async def get(self, request: Any) -> Any:
        """A GetDocumentRequest; the Document. Less than half the CPU of a BatchGetDocuments for one."""
        return await self._unary(self._get, request, [*self._metadata, _routing("name", request.name)])

    async def batch_get(self, request: Any) -> Sequence[Any]:
        """A BatchGetDocumentsRequest; its answers, in any order."""
        return await self._stream(self._batch_get, request, self._of_database)

    async def aggregate(self, request: Any) -> Sequence[Any]:
        """A RunAggregationQueryRequest; its answers."""
        return await self._stream(self._aggregate, request, [*self._metadata, _routing("parent", request.parent)])

    async def _unary(self, stub: Any, request: Any, metadata: Sequence[tuple[str, str]]) -> Any:
        try:
            return await stub(request, timeout=TIMEOUT, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None

    async def _stream(self, stub: Any, request: Any, metadata: Sequence[tuple[str, str]]) -> Sequence[Any]:
        try:
            return [answer async for answer in stub(request, timeout=TIMEOUT, metadata=metadata)]
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None

    async def query(self, request: Any) -> list[dict[str, Any]]:
        """A RunQueryRequest; its documents, as REST spells them."""
        url = f"{self._endpoint}/v1/{quote(request.parent, safe='/()')}:runQuery"
        body = orjson.dumps({"structuredQuery": MessageToDict(request.structured_query)})
        return await asyncio.to_thread(self._post, url, body)

    def _post(self, url: str, body: bytes) -> list[dict[str, Any]]:
        try:
            answer = self._http.urlopen("POST", url, body=body, headers=dict(self._headers))
            rows = orjson.loads(answer.data)
        except (urllib3.exceptions.HTTPError, GoogleAuthError, OSError) as error:
            raise exceptions.ServiceUnavailable(type(error).__name__) from None  # type: ignore[no-untyped-call]
        except ValueError:  # a balancer's page
            raise _refusal({"message": answer.data[:KEPT].decode(errors="replace")}, answer.status) from None
        for row in rows if isinstance(rows, list) else [rows]:
            if "error" in row:  # also in the midst of an answer that began well
                raise _refusal(row["error"], answer.status)
        return [row["document"] for row in rows if "document" in row]


def _routing(name: str, value: str) -> tuple[str, str]:
    header: tuple[str, str] = to_grpc_metadata(((name, value),))  # type: ignore[no-untyped-call]
    return header


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _failure(error: grpc.aio.AioRpcError) -> exceptions.GoogleAPICallError:
    found: exceptions.GoogleAPICallError = exceptions.from_grpc_error(error)  # type: ignore[no-untyped-call]
    return found


def _refusal(error: dict[str, Any], status: int) -> exceptions.GoogleAPICallError:
    """From Google's {"code", "message", "status"}, where `status` is the name of a google.rpc.Code."""
    message, name = error.get("message", ""), error.get("status", "")
    found: exceptions.GoogleAPICallError
    if name in grpc.StatusCode.__members__:
        found = exceptions.from_grpc_status(grpc.StatusCode[name], message)  # type: ignore[no-untyped-call]
    else:
        found = exceptions.from_http_status(status, message)  # type: ignore[no-untyped-call]
    return found
