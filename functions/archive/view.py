"""One mail in the browser, as launch rendered it for nobody in particular (functions/launch/views.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.errors import NotFound
from shared.http import Response
from shared.logs import log
from shared.model.paths import Paths
from shared.pages.languages import suiting
from shared.ports import Objects, Store

KEPT: Final = 32  # pages in a process: one is 2 MB at most
CACHED: Final = "private, max-age=86400"  # it was frozen; longer would outlast a key that was disabled


@dataclass(frozen=True, slots=True)
class View:
    """`public`: it is in the archive."""

    page: bytes
    public: bool


async def found(store: Store, objects: Objects, paths: Paths, campaign: str, language: str) -> View | None:
    """A campaign's mail in the language that suits, else in that of everybody else; None for a campaign that has not begun, or whose
    mail says nothing without a reader. A read and an object. Raises Unavailable."""
    document = await store.get(paths.campaign(campaign), ["mail", "public"])
    mail = document.data.get("mail", {}) if document else {}
    views = {code: one["view"] for code, one in {"": mail, **mail.get("languages", {})}.items() if "view" in one}
    view = views.get(suiting(language, views))
    if document is None or view is None:
        return None
    try:
        page = await objects.get(view["object"])
    except NotFound:
        log("ERROR", "the public version is gone", campaign=campaign, object=view["object"])
        return None
    return View(page, document.data.get("public") == "shown")


def response(view: View, base: str, indexed: bool) -> Response:
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
    return Response(200, view.page, "text/html; charset=utf-8", headers)
