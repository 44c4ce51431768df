"""The Secrets port on Secret Manager (gRPC): what was read is refreshed after SECRET_AGE and kept for HAND_OVER at most.

A version's number says when it was made, and one that is not ENABLED is taken out at the next refresh. A refresh is one call
(`ListSecretVersions`; a version's bytes never change and are read once), which counts against 600 reads a minute and project.

Least rights, to be granted on each secret that a step reads, never on the project: `secretmanager.versions.list` and
`secretmanager.versions.access`. Of the predefined roles that is Secret Accessor and Viewer. With grants on single secrets, one that
does not exist answers PERMISSION_DENIED as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc.aio
from google.api_core import exceptions
from google.api_core.retry import AsyncRetry, if_exception_type
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient, SecretVersion
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcAsyncIOTransport

from shared.errors import ConfigError, PipelineError, Unavailable
from shared.logs import log
from shared.ports import HAND_OVER, MAX_VERSIONS, SECRET_AGE, Secret

ATTEMPT = 4.0  # seconds, for one call
DEADLINE = 10.0  # seconds, for one secret with all that is tried again
RETRY = 30.0  # seconds until a secret that is missing or could not be refreshed is asked for again
_RETRIED = (
    exceptions.ServiceUnavailable,
    exceptions.DeadlineExceeded,
    exceptions.ResourceExhausted,
    exceptions.InternalServerError,
)
_AGAIN = AsyncRetry(if_exception_type(*_RETRIED), initial=0.1, maximum=2.0, timeout=DEADLINE)


@dataclass
class _Kept:
    """What is known of one secret. `missing` says why there is no version, or no younger one. On the given clock, `asked`: when
    `versions` were; `until`: when to ask again."""

    versions: list[Secret] = field(default_factory=list)
    missing: str = ""
    asked: float = 0.0
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class SecretManager:
    """Keeps what `read(name)` returns, newest first. `now` is in seconds."""

    def __init__(self, read: Callable[[str], Awaitable[list[Secret]]], now: Callable[[], float] = time.monotonic) -> None:
        self._read, self._now = read, now
        self._kept: dict[str, _Kept] = {}

    @classmethod
    def connect(cls, project: str, emulator_host: str = "") -> SecretManager:
        """To be called where an event loop runs. `emulator_host` ("127.0.0.1:8085") is reached without credentials or TLS."""
        return cls(_Versions(project, emulator_host).read)

    async def get(self, name: str) -> list[Secret]:
        """The newest MAX_VERSIONS enabled versions, as they were less than HAND_OVER ago; raises as the port says.

        Concurrent callers share one refresh, and wait for it only when what is kept is older than that.
        """
        kept = self._kept.setdefault(name, _Kept())
        if self._now() >= kept.until and not (kept.versions and kept.lock.locked() and not self._outdated(kept)):
            async with kept.lock:
                if self._now() >= kept.until:
                    await self._refresh(name, kept)
        if not kept.versions:
            raise ConfigError(f"secret {name}: {kept.missing}")
        if self._outdated(kept):
            raise Unavailable(f"secret {name}", kept.missing)
        return list(kept.versions)

    def _outdated(self, kept: _Kept) -> bool:
        return self._now() - kept.asked >= HAND_OVER / 1000

    async def _refresh(self, name: str, kept: _Kept) -> None:
        asked = self._now()
        try:
            kept.versions, kept.missing = await self._read(name), "no enabled version"
            kept.asked, kept.until = asked, asked + (SECRET_AGE / 1000 if kept.versions else RETRY)
        except PipelineError as error:
            if not kept.versions and isinstance(error, Unavailable):
                raise
            log("ERROR", f"secret {name} was not refreshed: {error}")
            kept.missing, kept.until = str(error), self._now() + RETRY


class _Versions:
    """The official client's side."""

    def __init__(self, project: str, emulator_host: str) -> None:
        self._project = project
        self._values: dict[str, bytes] = {}  # version's resource name -> its bytes
        try:
            if emulator_host:
                channel = grpc.aio.insecure_channel(emulator_host)
                transport = SecretManagerServiceGrpcAsyncIOTransport(channel=channel)
                self._client = SecretManagerServiceAsyncClient(transport=transport)
            else:
                self._client = SecretManagerServiceAsyncClient()
        except DefaultCredentialsError:
            raise ConfigError(
                "Google credentials are missing: set GOOGLE_APPLICATION_CREDENTIALS or run as a service account"
            ) from None

    async def read(self, name: str) -> list[Secret]:
        """The newest enabled versions, [] for none; raises ConfigError when they may not be read, Unavailable."""
        try:
            async with asyncio.timeout(DEADLINE):
                enabled = await self._enabled(f"projects/{self._project}/secrets/{name}")
                values = await asyncio.gather(*(self._value(version.name) for version in enabled))
        except exceptions.NotFound:
            return []
        except (exceptions.Forbidden, exceptions.Unauthenticated):
            raise ConfigError("it does not exist, or its versions may not be listed and accessed by this account") from None
        except (exceptions.GoogleAPIError, TimeoutError) as error:
            raise Unavailable("Secret Manager", type(error).__name__) from None
        created = [round(version.create_time.timestamp() * 1000) for version in enabled]
        return [Secret(value, at) for value, at in zip(values, created, strict=True) if value is not None]

    async def _enabled(self, parent: str) -> list[SecretVersion]:
        """Google lists newest first, and may give fewer than a page where a filter leaves some out."""
        request = {"parent": parent, "filter": "state:ENABLED", "page_size": MAX_VERSIONS}
        found: list[SecretVersion] = []
        async for version in await self._client.list_secret_versions(request=request, retry=_AGAIN, timeout=ATTEMPT):
            found.append(version)
            if len(found) == MAX_VERSIONS:
                break
        return found

    async def _value(self, version: str) -> bytes | None:
        """None for a version that was disabled or destroyed a moment ago."""
        if version not in self._values:
            try:
                answer = await self._client.access_secret_version(request={"name": version}, retry=_AGAIN, timeout=ATTEMPT)
            except (exceptions.FailedPrecondition, exceptions.NotFound):
                return None
            self._values[version] = answer.payload.data
        return self._values[version]
