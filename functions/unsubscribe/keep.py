"""The page of a mail that asks everybody again: one button, and evidence that its reader still agrees.

It keeps somebody on the list and brings nobody back: that takes a new sign-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup

from shared.contention import outlast
from shared.http import Request, Response
from shared.model.sid import masked
from shared.model.subscriber import mailable
from shared.pages.faces import Shown
from shared.ports import Create, Document, Merge

from .desk import PAGES, Desk
from .preferences import gone

NAME: Final = "keep"  # of the page
DAY: Final = 86_400_000  # ms


async def ask(desk: Desk, request: Request, token: str) -> Response:
    """The page with the button: one read."""
    ref = desk.mail_of(request, token)
    found = await desk.store.get(desk.paths.subscriber(ref.sid)) if ref else None
    return await _drawn(desk, request, token, found, NAME)


async def keep(desk: Desk, request: Request, token: str) -> Response:
    """Note that the reader agrees, once a day. Raises Unavailable when it could not be stored."""
    ref, shown, now = desk.mail_of(request, token), await desk.faces.get(), desk.clock.now()
    if ref is None:
        return await desk.dead(request)
    kept = desk.paths.consent(ref.sid, f"keep-{now // DAY}")

    async def once() -> Response:
        found, noted = await desk.store.get_many([desk.paths.subscriber(ref.sid), kept])
        if found is None or not mailable(found.data) or noted:  # noted: also when our own reply was lost
            return await _drawn(desk, request, token, found, "kept")
        evidence = _evidence(desk, request, shown, found.data, ref.campaign, now)
        await desk.store.commit([Merge(found.path, {"consented_at": now}, if_version=found.version), Create(kept, evidence)])
        return await _drawn(desk, request, token, found, "kept")

    return await outlast(once)


def _evidence(desk: Desk, request: Request, shown: Shown, held: Mapping[str, Any], campaign: str, at: int) -> dict[str, Any]:
    """What was on the page, in its very words; never the address."""
    language = PAGES.language(shown, request, NAME, held.get("language", ""))
    page = PAGES.page(shown, NAME, language)
    intro = Markup(page["intro"]).striptags()  # noqa: S704  without its tags it is never drawn
    text = "\n".join(part for part in (page["title"], intro, PAGES.text(language, "keep.button")) if part)
    return desk.evidence(request, "re-consent", text, NAME, page["language"], campaign, at)


async def _drawn(desk: Desk, request: Request, token: str, found: Document | None, name: str) -> Response:
    held = found.data if found else {}
    return await gone(desk, request, token, held) or await desk.draw(
        request,
        "keep.html",
        name=name,
        reader=held.get("language", ""),
        address=masked(held["address"]),
        button=name == NAME,
        leave=desk.url("", token),
        preferences=desk.url("preferences", token),
    )
