"""Cloud Storage on a laptop: the calls of the JSON API that the official client makes for small objects. Kept in memory.

Strict where Google is: unknown buckets and objects are 404, `ifGenerationMatch` guards a write, a wrong checksum is refused, and a
download carries the checksums for the client to verify.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
from aiohttp import web

from local.google.rest import Refused, parts
from local.google.serving import serving

PAGE = 50  # objects in one answer
MAX_BODY = 64 << 20  # bytes; over 8 MB the client uploads in pieces, which this does not know


@dataclass(frozen=True, slots=True)
class Stored:
    """An object. `generation` changes with every write to its name."""

    name: str
    data: bytes
    kind: str
    generation: int

    @property
    def hashes(self) -> dict[str, str]:
        """crc32c and md5, base64."""
        crc32c = google_crc32c.Checksum(self.data).digest()  # type: ignore[no-untyped-call]
        md5 = hashlib.md5(self.data, usedforsecurity=False).digest()
        return {"crc32c": base64.b64encode(crc32c).decode(), "md5": base64.b64encode(md5).decode()}


@dataclass
class CloudStorageDouble:
    """One bucket; `address` is its "host:port". `failures`: statuses that the next calls end with, each before it does anything."""

    bucket: str
    address: str = ""
    failures: deque[int] = field(default_factory=deque)
    calls: int = 0
    objects: dict[str, Stored] = field(default_factory=dict)
    _generation: int = 0

    def routes(self) -> list[web.RouteDef]:
        one = "/b/{bucket}/o/{name:.+}"
        return [
            web.post("/upload/storage/v1/b/{bucket}/o", self._answered(self._upload)),
            web.get("/download/storage/v1" + one, self._answered(self._download)),
            web.get("/storage/v1" + one, self._answered(self._get)),
            web.get("/storage/v1/b/{bucket}/o", self._answered(self._list)),
            web.delete("/storage/v1" + one, self._answered(self._delete)),
        ]

    def _answered(self, answer: Callable[[web.Request], Awaitable[web.Response]]) -> Any:
        async def respond(request: web.Request) -> web.Response:
            self.calls += 1
            await request.read()
            try:
                if self.failures:
                    status = self.failures.popleft()
                    return web.json_response({"error": {"code": status, "message": "as the test wants it"}}, status=status)
                if request.match_info["bucket"] != self.bucket:
                    raise Refused(404, "The specified bucket does not exist.", "notFound")
                return await answer(request)
            except Refused as refusal:
                return web.json_response(refusal.body(), status=refusal.code)

        return respond

    async def _upload(self, request: web.Request) -> web.Response:
        kind, body = request.headers.get("content-type", ""), await request.read()
        match request.query.get("uploadType"):
            case "multipart":
                wanted, kind, data = parts(kind, body)
            case "media":
                wanted, data = {"name": request.query.get("name"), **_given(request.headers.get("x-goog-hash", ""))}, body
            case _:
                raise Refused(400, "This emulator takes uploadType multipart and media only.", "invalid", "uploadType")
        name = wanted.get("name") or request.query.get("name")
        if not name or len(name.encode()) > 1024:
            raise Refused(400, "Required" if not name else "The specified object name is too long.", "required", "name")
        self._check(request, self.objects.get(name))
        self._generation += 1
        stored = Stored(name, data, kind, self._generation)
        for field_name, hashed in (("crc32c", stored.hashes["crc32c"]), ("md5Hash", stored.hashes["md5"])):
            if wanted.get(field_name, hashed) != hashed:
                sentence = f'Provided {field_name} "{wanted[field_name]}" doesn\'t match calculated {field_name} "{hashed}".'
                raise Refused(400, sentence, "invalid")
        self.objects[name] = stored
        return web.json_response(self._resource(stored))

    async def _download(self, request: web.Request) -> web.Response:
        stored = self._stored(request)
        headers = {
            "x-goog-hash": ",".join(f"{name}={hashed}" for name, hashed in stored.hashes.items()),
            "x-goog-generation": str(stored.generation),
            "content-type": stored.kind,
        }
        return web.Response(body=stored.data, headers=headers)

    async def _get(self, request: web.Request) -> web.Response:
        return await self._download(request) if request.query.get("alt") == "media" else self._described(request)

    async def _delete(self, request: web.Request) -> web.Response:
        stored = self._stored(request)
        self._check(request, stored)
        if request.query.get("generation", str(stored.generation)) != str(stored.generation):
            raise Refused(404, f"No such object: {self.bucket}/{stored.name}", "notFound")
        del self.objects[stored.name]
        return web.Response(status=204)

    async def _list(self, request: web.Request) -> web.Response:
        """Up to PAGE a page, as Google does it with its 1,000. No versions are kept, so there are only live ones to show."""
        prefix, after = request.query.get("prefix", ""), request.query.get("pageToken", "")
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        page = {"kind": "storage#objects", "items": [self._resource(self.objects[name]) for name in names[:PAGE]]}
        return web.json_response(page | ({"nextPageToken": names[PAGE - 1]} if len(names) > PAGE else {}))

    def _described(self, request: web.Request) -> web.Response:
        return web.json_response(self._resource(self._stored(request)))

    def _stored(self, request: web.Request) -> Stored:
        name = request.match_info["name"]
        if name not in self.objects:
            raise Refused(404, f"No such object: {self.bucket}/{name}", "notFound")
        return self.objects[name]

    def _check(self, request: web.Request, there: Stored | None) -> None:
        """Google's precondition: the generation that must be there, 0 for none."""
        wanted = request.query.get("ifGenerationMatch")
        if wanted is not None and wanted != str(there.generation if there else 0):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")

    def _resource(self, stored: Stored) -> dict[str, Any]:
        return {
            "kind": "storage#object",
            "id": f"{self.bucket}/{stored.name}/{stored.generation}",
            "name": stored.name,
            "bucket": self.bucket,
            "generation": str(stored.generation),
            "metageneration": "1",
            "contentType": stored.kind,
            "size": str(len(stored.data)),
            "crc32c": stored.hashes["crc32c"],
            "md5Hash": stored.hashes["md5"],
        }


def _given(header: str) -> dict[str, str]:
    """The checksums in an `x-goog-hash` header, by their names in metadata."""
    named = dict(part.strip().split("=", 1) for part in header.split(",") if "=" in part)
    return {{"md5": "md5Hash"}.get(name, name): hashed for name, hashed in named.items()}


@asynccontextmanager
async def cloud_storage(bucket: str, port: int = 0) -> AsyncIterator[CloudStorageDouble]:
    """Serve one bucket on 127.0.0.1 (port 0: a free one) in the running event loop."""
    double = CloudStorageDouble(bucket)
    async with serving(double.routes(), port, MAX_BODY) as double.address:
        yield double
