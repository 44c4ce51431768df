"""Who gets a Cloud Run service's traffic: the three calls of the Admin API v2 that a release needs.

Terraform cannot say it. It knows functions, and a function knows only "all traffic to the latest revision" or "leave it".
https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from shared.adapters.google_rest import Refusal
from shared.adapters.google_rest import Service as Google
from shared.errors import PipelineError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CANDIDATE = "candidate"  # the tag of a revision that is being released
ATTEMPTS = 6  # of a change that meets somebody else's
FIRST, LONGEST, PATIENCE = 0.5, 8.0, 300.0  # seconds: between two looks at an operation, doubling; for all of it
_TYPE = "TRAFFIC_TARGET_ALLOCATION_TYPE_"
Sleep = Callable[[float], Awaitable[None]]


class Failed(PipelineError):
    """Cloud Run did not do, or not in time, what it was asked; the message is the sentence to print."""


class Overtaken(PipelineError):
    """The service has got another revision meanwhile. Nothing was written."""


@dataclass(frozen=True)
class Target:
    """One line of a service's traffic. `revision`: its short name, "" is whichever is the latest ready one; `percent` of all."""

    revision: str
    percent: int
    tag: str = ""

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Target:
        return cls(found.get("revision", "").rpartition("/")[2], found.get("percent", 0), found.get("tag", ""))

    def body(self) -> dict[str, Any]:
        """As the API writes it."""
        kind = {"type": f"{_TYPE}REVISION", "revision": self.revision} if self.revision else {"type": f"{_TYPE}LATEST"}
        return {**kind, "percent": self.percent, **({"tag": self.tag} if self.tag else {})}


LATEST = (Target("", 100),)


@dataclass(frozen=True)
class Service:
    """A service as read. `name` is the full one; revisions are short names. `targets`: what was asked for; `shares`: revision ->
    percent as it is; `tags`: tag -> (revision, URL). `settled` is False while Cloud Run is still at work on it."""

    name: str
    etag: str
    targets: tuple[Target, ...]
    shares: Mapping[str, int]
    tags: Mapping[str, tuple[str, str]]
    ready: str
    created: str
    reachable: bool  # at its own URLs, from anywhere
    settled: bool

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Service:
        ready = found.get("latestReadyRevision", "").rpartition("/")[2]
        shares: dict[str, int] = {}
        tags: dict[str, tuple[str, str]] = {}
        for status in found.get("trafficStatuses", ()):
            target = Target.read(status)
            revision = target.revision or ready
            if target.percent:
                shares[revision] = shares.get(revision, 0) + target.percent
            if target.tag:
                tags[target.tag] = revision, status.get("uri", "")
        return cls(
            name=found["name"],
            etag=found.get("etag", ""),
            targets=tuple(Target.read(one) for one in found.get("traffic", ())) or LATEST,
            shares=shares,
            tags=tags,
            ready=ready,
            created=found.get("latestCreatedRevision", "").rpartition("/")[2],
            reachable=found.get("ingress") == "INGRESS_TRAFFIC_ALL" and not found.get("defaultUriDisabled", False),
            settled=not found.get("reconciling", False),
        )

    def has(self, targets: Sequence[Target]) -> bool:
        """Whether its traffic is this, as asked for and as observed."""
        shares = {target.revision or self.ready: target.percent for target in targets if target.percent}
        tags = {target.tag for target in targets if target.tag}
        return self.settled and set(self.targets) == set(targets) and self.shares == shares and self.tags.keys() == tags

    @property
    def split(self) -> bool:
        """Whether more than one revision has a share, as asked for or as it is. A tag alone is none: gcloud keeps it at 0%."""
        asked = {target.revision or self.ready for target in self.targets if target.percent}
        return len(self.shares) > 1 or len(asked) > 1

    @property
    def serving(self) -> str:
        """The revision that counts as serving: of a split, the greater share that is not the candidate."""
        candidate = self.tags.get(CANDIDATE, ("", ""))[0]
        return max(self.shares, key=lambda revision: (revision != candidate, self.shares[revision]), default=self.ready)


def _named(name: str, resource: Any) -> Any:
    return resource.get(name=name)


class CloudRun:
    """The services of a project. `endpoint`: the root of a double, "" is Google with the default credentials.

    Needs run.services.get, run.services.update and run.operations.get (roles/run.developer), and iam.serviceAccounts.actAs on the
    services' accounts. Every method raises NotFound, Refusal, Unavailable, Failed, ConfigError.
    """

    def __init__(self, endpoint: str = "", sleep: Sleep = asyncio.sleep) -> None:
        self._google = Google("run", "v2", "/", endpoint, reading=SCOPE, writing=SCOPE, sleep=sleep)
        self._sleep = sleep

    async def get(self, name: str) -> Service:
        """A service, by its full name."""
        return Service.read(await self._call("services", partial(_named, name)))

    async def route(self, name: str, targets: Sequence[Target], since: Service | None = None) -> bool:
        """Give a service this traffic and wait until it has it; False when it had it already, and nothing was written.

        `since`: raises Overtaken when its latest revisions, the ready one and the created one, are not those of then.
        """
        for attempt in range(ATTEMPTS):
            found = await self.get(name)
            if since and (found.ready, found.created) != (since.ready, since.created):
                raise Overtaken(name)
            if found.has(targets):
                return attempt > 0
            body = {"name": name, "etag": found.etag, "traffic": [target.body() for target in targets]}
            try:
                operation = await self._patched(name, body)
            except Refusal as refusal:
                if attempt == ATTEMPTS - 1 or not await self._changed(found):
                    raise Failed(f"{name.rpartition('/')[2]}: {refusal}") from None
                await self._sleep(FIRST * 2**attempt)
                continue
            await self._done(name, operation)
            return True
        raise Failed(f"{name.rpartition('/')[2]}: somebody else keeps changing it")

    async def _patched(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        # A repeat after a lost reply is harmless: the first one has changed the etag.
        answer: dict[str, Any] = await self._call(
            "services", lambda services: services.patch(name=name, updateMask="traffic", body=body), write=True
        )
        return answer

    async def _changed(self, before: Service) -> bool:
        """Whether a refusal came of somebody else's change: there is another version by now, or it is being made."""
        after = await self.get(before.name)
        return after.etag != before.etag or not after.settled

    async def _done(self, name: str, operation: Mapping[str, Any]) -> None:
        waited, pause = 0.0, FIRST
        while not operation.get("done"):
            if waited > PATIENCE:
                raise Failed(f"{name.rpartition('/')[2]}: Cloud Run was not done after {PATIENCE:.0f} s")
            await self._sleep(pause)
            waited, pause = waited + pause, min(pause * 2, LONGEST)
            operation = await self._call("operations", partial(_named, operation["name"]))
        if error := operation.get("error"):
            raise Failed(f"{name.rpartition('/')[2]}: {error.get('message', 'Cloud Run gives no reason')}")

    async def _call(self, collection: str, request: Callable[[Any], Any], *, write: bool = False) -> Any:
        """A call that is under way is seen to its end even when we are told to stop: what follows must know what it did."""
        calling = asyncio.ensure_future(self._google.call(f"projects.locations.{collection}", request, write=write))
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:
            await asyncio.wait([calling])
            raise
