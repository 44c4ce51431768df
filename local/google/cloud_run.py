"""Cloud Run's Admin API v2 on a laptop: the calls that a release makes, and the deployments that Cloud Functions would make.

Strict where Google is: percents add up to 100, a stale etag is a 409, a change is an operation that takes a while, and until it is
done the observed traffic is the old one. Of a service that follows its latest revision Google names no revision in the status.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from local.google.serving import serving

LATEST, REVISION = (f"TRAFFIC_TARGET_ALLOCATION_TYPE_{kind}" for kind in ("LATEST", "REVISION"))
_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED", 503: "UNAVAILABLE"}
_TAG = re.compile(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?")


class Refused(Exception):
    """A call that Google would refuse, with its status and its sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass
class Service:
    """One service. `revisions` are short names, oldest first; `traffic` is what was asked for, `observed` what is."""

    name: str
    ingress: str
    revisions: list[str] = field(default_factory=list)
    ready: str = ""
    traffic: list[dict[str, Any]] = field(default_factory=lambda: [{"type": LATEST, "percent": 100}])
    observed: list[dict[str, Any]] = field(default_factory=lambda: [{"type": LATEST, "percent": 100}])
    version: int = 1
    at_work: int = 0  # operations

    @property
    def short(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def shares(self) -> dict[str, int]:
        """Revision -> percent of the traffic that it gets."""
        found: Counter[str] = Counter()
        for one in self.observed:
            found[one.get("revision", self.ready)] += one.get("percent", 0)
        return {revision: percent for revision, percent in found.items() if percent}

    @property
    def tags(self) -> dict[str, str]:
        """Tag -> revision."""
        return {one["tag"]: one.get("revision", self.ready) for one in self.observed if one.get("tag")}


@dataclass
class CloudRunDouble:
    """`address` is its "host:port"; `public`: the root of the services' own URLs, `{public}/{tag}---{service}`.

    `failures`: statuses that the next calls end with, before they do anything; `fault`: the error of each operation from now on;
    `meddle`: called before a patch is looked at. `patches` counts the taken ones by service, `looks` a new operation's polls until
    it is done, `calls` all.
    """

    address: str = ""
    public: str = "https://a.run.app"
    failures: deque[int] = field(default_factory=deque)
    fault: str = ""
    meddle: Callable[[Service], None] | None = None
    looks: int = 1
    patches: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    services: dict[str, Service] = field(default_factory=dict)
    _operations: dict[str, tuple[Service, int, str]] = field(default_factory=dict)

    # --- what Cloud Functions does

    def create(self, project: str, region: str, short: str, ingress: str = "INGRESS_TRAFFIC_INTERNAL_ONLY") -> Service:
        """A function's first deployment."""
        service = Service(f"projects/{project}/locations/{region}/services/{short}", ingress)
        self.services[service.name] = service
        self.deploy(service, hold=False)
        return service

    def deploy(self, service: Service, *, hold: bool, ready: bool = True) -> str:
        """A function's new revision. `hold`: all_traffic_on_latest_revision is false, and the traffic is left as it is, which is
        not the same as nothing: who follows the latest revision gets it."""
        revision = f"{service.short}-{len(service.revisions) + 1:05d}-abc"
        service.revisions.append(revision)
        if not hold:
            service.traffic = service.observed = [{"type": LATEST, "percent": 100}]
        if ready:
            service.ready = revision
        service.version += 1
        return revision

    # --- what the API does

    def routes(self) -> list[web.RouteDef]:
        one = "/v2/{name:projects/[^/]+/locations/[^/]+/services/[^/]+}"
        return [
            web.get(one, self._answered(self._get)),
            web.patch(one, self._answered(self._patch)),
            web.get("/v2/{name:projects/[^/]+/locations/[^/]+/operations/[^/]+}", self._answered(self._operation)),
        ]

    def _answered(self, answer: Callable[[web.Request], Awaitable[dict[str, Any]]]) -> Any:
        async def respond(request: web.Request) -> web.Response:
            self.calls += 1
            try:
                if self.failures:
                    raise Refused(self.failures.popleft(), "as the test wants it")
                return web.json_response(await answer(request))
            except Refused as refusal:
                error = {"code": refusal.code, "message": str(refusal), "status": _STATUS.get(refusal.code, "UNKNOWN")}
                return web.json_response({"error": error}, status=refusal.code)

        return respond

    def _service(self, request: web.Request) -> Service:
        name = request.match_info["name"]
        if name not in self.services:
            raise Refused(404, f"Resource '{name.rpartition('/')[2]}' of kind 'SERVICE' does not exist.")
        return self.services[name]

    async def _get(self, request: web.Request) -> dict[str, Any]:
        return self._resource(self._service(request))

    async def _patch(self, request: web.Request) -> dict[str, Any]:
        service, body = self._service(request), await request.json()
        if self.meddle:
            self.meddle(service)
        if request.query.get("updateMask") != "traffic":
            raise Refused(400, "This double changes traffic only.")
        if body.get("etag") not in (None, "", self._etag(service)):
            raise Refused(409, f"Conflict for resource '{service.short}': version '{body['etag']}' was specified.")
        if service.at_work:
            raise Refused(409, f"Resource '{service.short}' is being changed by another operation.")
        _check(body["traffic"])
        self.patches[service.short] += 1
        service.traffic, service.version, service.at_work = body["traffic"], service.version + 1, 1
        unknown = {one["revision"] for one in service.traffic if one["type"] == REVISION} - set(service.revisions)
        fault = self.fault or (f"Revision '{unknown.pop()}' is not found." if unknown else "")
        name = f"{service.name.rpartition('/services/')[0]}/operations/{len(self._operations) + 1}"
        self._operations[name] = service, self.looks, fault
        return {"name": name, "done": False} if self.looks else self._ended(name)

    async def _operation(self, request: web.Request) -> dict[str, Any]:
        name = request.match_info["name"]
        if name not in self._operations:
            raise Refused(404, f"Operation '{name}' does not exist.")
        service, looks, fault = self._operations[name]
        self._operations[name] = service, looks - 1, fault
        return self._ended(name) if looks <= 1 else {"name": name, "done": False}

    def _ended(self, name: str) -> dict[str, Any]:
        service, _, fault = self._operations[name]
        service.at_work = 0
        if fault:
            return {"name": name, "done": True, "error": {"code": 9, "message": fault}}
        service.observed = service.traffic
        return {"name": name, "done": True, "response": self._resource(service)}

    def _etag(self, service: Service) -> str:
        return f'"{service.version}"'

    def _resource(self, service: Service) -> dict[str, Any]:
        revisions = f"{service.name}/revisions/"
        tagged = [{**one, **({"uri": self.tag_uri(service, one["tag"])} if one.get("tag") else {})} for one in service.observed]
        return {
            "name": service.name,
            "etag": self._etag(service),
            "ingress": service.ingress,
            "latestReadyRevision": revisions + service.ready,
            "latestCreatedRevision": revisions + service.revisions[-1],
            "traffic": service.traffic,
            "trafficStatuses": tagged,
            "reconciling": bool(service.at_work),
        }

    def tag_uri(self, service: Service, tag: str) -> str:
        return f"{self.public}/{tag}---{service.short}"


def _check(traffic: list[dict[str, Any]]) -> None:
    """Raises Refused."""
    for one in traffic:
        if one.get("type") not in (LATEST, REVISION) or (one["type"] == REVISION) != bool(one.get("revision")):
            raise Refused(400, "A traffic target names a revision exactly when its type is REVISION.")
        if one.get("tag") and not _TAG.fullmatch(one["tag"]):
            raise Refused(400, f"Invalid tag '{one['tag']}'.")
    tags = [one["tag"] for one in traffic if one.get("tag")]
    if len(tags) != len(set(tags)) or sum(one.get("percent", 0) for one in traffic) != 100:
        raise Refused(400, "Percents must add up to 100, and each tag may be there once.")


@asynccontextmanager
async def cloud_run(port: int = 0) -> AsyncIterator[CloudRunDouble]:
    """Serve on 127.0.0.1 (port 0: a free one) in the running event loop."""
    double = CloudRunDouble()
    async with serving(double.routes(), port) as double.address:
        yield double
