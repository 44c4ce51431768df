"""One mail in the browser, as launch rendered it for nobody in particular (functions/launch/views.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.errors import NotFound
from shared.http import Response
from shared.logs import log
from shared.model.paths import Paths
from shared.ports import Objects, Store

KEPT: Final = 32  # pages in a process: one is 2 MB at most
CAMPAIGNS: Final = 1_000  # that a process knows the pages of
CACHED: Final = "private, max-age=86400"  # it was frozen; longer would outlast a key that was disabled


@dataclass(frozen=True, slots=True)
class Views:
    """A campaign's mail: `objects`, the page in each language, "" for that of everybody else; `public`: it is in the archive."""

    objects: Mapping[str, str]
    public: bool


async def found(store: Store, paths: Paths, campaign: str) -> Views:
    """Of a campaign; without objects where it has not begun, or its mail says nothing without a reader. A read. Raises Unavailable."""
    document = await store.get(paths.campaign(campaign), ["mail", "public"])
    mail = document.data.get("mail", {}) if document else {}
    objects = {code: one["view"]["object"] for code, one in {"": mail, **mail.get("languages", {})}.items() if "view" in one}
    return Views(objects, document is not None and document.data.get("public") == "shown")


async def page(objects: Objects, name: str) -> bytes | None:
    """The page, None when it is gone. Raises Unavailable."""
    try:
        return await objects.get(name)
    except NotFound:
        log("ERROR", "the public version is gone", object=name)
        return None


def response(page: bytes, base: str, indexed: bool) -> Response:
    """The mail as a page of its own. Its text is a stranger's: whatever it holds, nothing of it runs, is sent or frames, and it is in an
    origin of its own; a reader's click may lead away. `base`: the public address, whose pictures the twin serves without TLS."""
    pictures = f" {base}" if base.startswith("http:") else ""
    policy = (
        "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation; default-src 'none'; "
        f"img-src https: data:{pictures}; style-src 'unsafe-inline'; font-src https:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cache-control": CACHED,
    }
    if not indexed:
        headers["x-robots-tag"] = "noindex"
    return Response(200, page, "text/html; charset=utf-8", headers)
