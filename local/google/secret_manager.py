"""Secret Manager on a laptop: the two gRPC calls that the adapter makes, over the twin's own secrets folder.

It is strict where Google is: names carry the project's number, only an enabled version is given out, and a page is cut before the
filter takes versions out of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
from google.cloud.secretmanager_v1.types import resources, service

from shared.adapters.embedded import FileSecrets

SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"
PROJECT_NUMBER = 100200300400
MAX_PAGE = 25_000
_PARENT = re.compile(r"projects/[^/]+/secrets/(?P<name>[A-Za-z0-9_-]{1,255})")
_VERSION = re.compile(_PARENT.pattern + r"/versions/(?P<number>[1-9][0-9]*|latest)")
_FILTER = re.compile(r"state[:=](ENABLED|DISABLED|DESTROYED)|")


class Refused(Exception):
    """A call that ends with a status other than OK, and Google's sentence."""

    def __init__(self, status: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass
class SecretManagerDouble:
    """`address` is its "host:port". `refusal`: a status that every call ends with while it is set; `calls` counts all."""

    secrets: FileSecrets
    address: str = ""
    refusal: grpc.StatusCode | None = None
    calls: int = 0

    def list_versions(self, request: service.ListSecretVersionsRequest) -> service.ListSecretVersionsResponse:
        _, versions = self._versions(_PARENT, request.parent)
        wanted, token = _FILTER.fullmatch(request.filter), request.page_token or "0"
        if not wanted or not token.isdigit() or request.page_size < 0:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Request contains an invalid argument.")
        start, size = int(token), min(request.page_size or MAX_PAGE, MAX_PAGE)
        page = [one for one in versions[start : start + size] if wanted[1] in (None, one.state.name)]
        following = str(start + size) if start + size < len(versions) else ""
        return service.ListSecretVersionsResponse(versions=page, next_page_token=following, total_size=len(versions))

    def access_version(self, request: service.AccessSecretVersionRequest) -> service.AccessSecretVersionResponse:
        asked, versions = self._versions(_VERSION, request.name)
        at = 0 if asked["number"] == "latest" else len(versions) - int(asked["number"])
        if not 0 <= at < len(versions):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Secret Version [{request.name}] not found.")
        version = versions[at]
        if version.state != resources.SecretVersion.State.ENABLED:
            sentence = f"Secret Version [{version.name}] is in {version.state.name} state."
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, sentence)
        value = bytes.fromhex(self.secrets.versions(asked["name"])[at]["value"])
        return service.AccessSecretVersionResponse(name=version.name, payload=resources.SecretPayload(data=value))

    def _versions(self, form: re.Pattern[str], name: str) -> tuple[re.Match[str], list[resources.SecretVersion]]:
        """What was asked for, and that secret's versions, newest first; raises Refused."""
        self.calls += 1
        if self.refusal:
            raise Refused(self.refusal, "refused")
        asked = form.fullmatch(name)
        if not asked:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Resource ID has invalid format.")
        try:
            content = self.secrets.versions(asked["name"])
        except FileNotFoundError:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Secret [{name}] not found or has no versions.") from None
        return asked, [_version(asked["name"], len(content) - n, one) for n, one in enumerate(content)]


def _version(secret: str, number: int, content: dict[str, Any]) -> resources.SecretVersion:
    states = resources.SecretVersion.State
    return resources.SecretVersion(
        name=f"projects/{PROJECT_NUMBER}/secrets/{secret}/versions/{number}",
        create_time=datetime.fromtimestamp(content.get("created", 0) / 1000, UTC),
        state=states.DISABLED if content.get("disabled") else states.ENABLED,
    )


@asynccontextmanager
async def secret_manager(secrets: FileSecrets, port: int = 0) -> AsyncIterator[SecretManagerDouble]:
    """Serve on 127.0.0.1 (port 0: a free one) in the running event loop."""
    double = SecretManagerDouble(secrets)
    handlers = {
        "ListSecretVersions": _handler(
            double.list_versions, service.ListSecretVersionsRequest, service.ListSecretVersionsResponse
        ),
        "AccessSecretVersion": _handler(
            double.access_version, service.AccessSecretVersionRequest, service.AccessSecretVersionResponse
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    double.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield double
    finally:
        await server.stop(None)


def _handler(answer: Callable[[Any], Any], request: Any, response: Any) -> Any:
    async def answered(asked: Any, context: Any) -> Any:
        try:
            return answer(asked)
        except Refused as refusal:
            await context.abort(refusal.status, str(refusal))

    return grpc.unary_unary_rpc_method_handler(answered, request.deserialize, response.serialize)
