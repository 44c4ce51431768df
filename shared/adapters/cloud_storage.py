"""The Objects port on Cloud Storage, through the official client (synchronous, therefore in threads).

A blob is only ever created or deleted, never replaced: its name tells its content, so what is there under a name is what was to be put.
That makes every call safe to repeat, keeps repeats off the limit of one write a second and object, and needs the least rights:
`storage.objects.create` to put (Storage Object Creator), `storage.objects.get` and `.list` to get (Storage Object Viewer; without
`list` Google answers 403 for an object that is not there). To delete takes `storage.objects.delete` and `.list`: a bucket that keeps
versions would keep what is deleted by its name alone, so each of its generations is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from mimetypes import guess_type
from typing import Any

from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException

from shared.adapters import credentials
from shared.errors import ConfigError, NotFound, Unavailable

TIMEOUT = (3.05, 10.0)  # seconds to connect, and between two bytes
IMMUTABLE = "public, max-age=31536000, immutable"  # RFC 8246
DEADLINE = 20.0  # seconds after which a failed call is not tried again
_RETRY = DEFAULT_RETRY.with_delay(initial=0.2, maximum=4.0).with_timeout(DEADLINE)


class CloudStorage:
    """Blobs in one bucket, which is the official client's. `public`: for browsers and mail programs, so that each says what it is, by
    the suffix of its name, and that it never changes."""

    def __init__(self, bucket: Any, *, public: bool = False) -> None:
        self._bucket, self._public = bucket, public

    @classmethod
    def connect(cls, project: str, bucket: str, emulator_host: str = "", *, public: bool = False) -> CloudStorage:
        """`emulator_host` ("127.0.0.1:9023", or with its scheme) is reached without credentials. Raises ConfigError."""
        if not bucket:
            raise ConfigError(f"{'ASSETS_BUCKET' if public else 'BUCKET'} is not set")
        if emulator_host:
            options = {"api_endpoint": emulator_host if "://" in emulator_host else f"http://{emulator_host}"}
            client = Client(project, credentials=AnonymousCredentials(), client_options=options)  # type: ignore[no-untyped-call]
        else:
            with credentials.needed():
                client = Client(project)
        return cls(client.bucket(bucket), public=public)

    async def put(self, name: str, data: bytes) -> None:
        """Create the blob; one that exists stays. Raises Unavailable, ConfigError when the bucket cannot be written to."""
        await asyncio.to_thread(self._put, name, data)

    async def get(self, name: str) -> bytes:
        """The blob, its checksum verified. Raises NotFound, Unavailable, ConfigError when the bucket cannot be read."""
        return await asyncio.to_thread(self._get, name)

    async def list(self, prefix: str) -> list[str]:
        """The names that begin with `prefix`. Raises Unavailable, ConfigError when the bucket cannot be listed."""
        return sorted({blob.name for blob in await asyncio.to_thread(self._list, prefix)})

    async def delete(self, name: str) -> None:
        """Take away every generation of a blob; none is no error. Raises Unavailable, ConfigError when this account may not."""
        await asyncio.to_thread(self._delete, name)

    def _list(self, prefix: str) -> Sequence[Any]:
        """The generations of what begins so, those that are no more live too."""
        with self._errors():
            try:
                return tuple(self._bucket.list_blobs(prefix=prefix, versions=True, timeout=TIMEOUT, retry=_RETRY))
            except exceptions.NotFound:
                raise ConfigError(f"BUCKET: there is no bucket {self._bucket.name}") from None

    def _delete(self, name: str) -> None:
        for blob in self._list(name):
            if blob.name == name:
                with self._errors(), suppress(exceptions.NotFound):
                    self._bucket.blob(name, generation=blob.generation).delete(timeout=TIMEOUT, retry=_RETRY)

    def _put(self, name: str, data: bytes) -> None:
        blob, kind = self._bucket.blob(name), "application/octet-stream"
        if self._public:
            kind, blob.cache_control = guess_type(name)[0] or kind, IMMUTABLE
        with self._errors():
            try:
                blob.upload_from_string(data, kind, if_generation_match=0, checksum="crc32c", timeout=TIMEOUT, retry=_RETRY)
            except exceptions.PreconditionFailed:
                return
            except exceptions.Forbidden:
                # Google's table of permissions wants `delete` for a name that is taken; it does not say what is looked at first
                if not self._bucket.blob(name).exists(timeout=TIMEOUT, retry=_RETRY):
                    raise
            except exceptions.NotFound:
                raise ConfigError(f"BUCKET: there is no bucket {self._bucket.name}") from None

    def _get(self, name: str) -> bytes:
        with self._errors():
            try:
                blob = self._bucket.blob(name)
                return bytes(blob.download_as_bytes(checksum="crc32c", raw_download=True, timeout=TIMEOUT, retry=_RETRY))
            except exceptions.NotFound:
                raise NotFound(f"object {name}") from None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What the client raises, in our words."""
        try:
            yield
        except exceptions.Forbidden:
            raise ConfigError(f"BUCKET: this account may not use the bucket {self._bucket.name} so") from None
        except (exceptions.GoogleAPIError, GoogleAuthError, DataCorruption, RequestException, OSError) as error:
            raise Unavailable("Cloud Storage", type(error).__name__) from None
