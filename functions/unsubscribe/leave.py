"""Leaving. RFC 8058 one-click: a POST with no cookie, no redirect and no question; a GET only shows a button.

A POST commits the suppression and the subscriber's status before it answers, then publishes the fact to engagement-events
(consumed by record, for the campaign's report). Replays and tokens that are not ours get the same answer.
"""

from __future__ import annotations

from typing import Any, Final

from shared.contention import outlast
from shared.errors import BadInput, Unavailable
from shared.http import Request, Response
from shared.logs import log
from shared.model import event
from shared.model.event import Event
from shared.model.subscriber import suppress
from shared.ports import Merge

from .desk import Desk, fields_of

REASONS: Final = ("many", "irrelevant", "never", "other")
MAX_WORDS: Final = 300
OURS: Final = "page"  # a field that only the button on our page sends


async def ask(desk: Desk, request: Request, token: str) -> Response:
    """The page with the button, the same for any token: nothing is read."""
    elsewhere = desk.url("", token) if request.path != token else ""
    return await desk.draw(request, "leave.html", name="leave", action=elsewhere, preferences=desk.url("preferences", token))


async def leave(desk: Desk, request: Request, token: str) -> Response:
    """Suppress, then tell. Whoever pressed the button on our page is asked why; a mail program's POST gets an answer without a form.
    Raises Unavailable when it could not be stored."""
    if ref := desk.mail_of(request, token):
        now = desk.clock.now()
        await desk.store.commit(suppress(desk.paths, ref.sid, "unsubscribed", f"mail of {ref.campaign}", now))
        try:
            await desk.bus.publish(event.TOPIC, [Event("unsubscribed", ref.text, now).to_message()])
        except Unavailable as error:  # they have left; only the campaign's report misses one
            log("ERROR", f"unsubscribed, but the event was not published: {error}", mail=ref.text)
    return await _left(desk, request, desk.url("reason", token) if OURS in fields_of(request) else "")


async def reason(desk: Desk, request: Request, token: str) -> Response:
    """Keep why somebody left. Judged before the token is looked at, so that everybody gets the same answer."""
    fields = fields_of(request)
    try:
        why = _reason(fields)
    except BadInput as error:
        action = desk.url("reason", token)
        return await _left(desk, request, action, str(error), fields.get("words", "")[: 2 * MAX_WORDS], fields.get("reason", ""))
    if ref := desk.mail_of(request, token):
        await _keep(desk, ref.sid, why)
    return await _left(desk, request, thanks=True)


def _reason(fields: dict[str, str]) -> dict[str, Any]:
    """{code, words}; raises BadInput with the key of a sentence."""
    code, words = fields.get("reason", ""), " ".join(fields.get("words", "").split())
    words = "".join(char for char in words if char.isprintable())
    if len(words) > MAX_WORDS:
        raise BadInput("reason.long", "words")
    if code not in REASONS:
        raise BadInput("reason.none", "reason")
    return {"code": code, "words": words}


async def _keep(desk: Desk, sid: str, why: dict[str, Any]) -> None:
    """Of somebody who has left: a reason that comes late must not bring back what was lifted, or words of somebody erased."""
    path = desk.paths.suppression(sid)

    async def once() -> None:
        found = await desk.store.get(path, ["reasons", "why"])
        if found is None or "unsubscribed" not in found.data.get("reasons", ()) or "erased" in found.data["reasons"]:
            return
        if not why.items() <= (found.data.get("why") or {}).items():
            await desk.store.commit([Merge(path, {"why": {**why, "at": desk.clock.now()}}, if_version=found.version)])

    await outlast(once)


async def _left(
    desk: Desk, request: Request, action: str = "", problem: str = "", words: str = "", code: str = "", thanks: bool = False
) -> Response:
    return await desk.draw(
        request,
        "left.html",
        400 if problem else 200,
        name="left",
        action=action,
        problem=problem,
        words=words,
        code=code,
        codes=REASONS,
        most=MAX_WORDS,
        thanks=thanks,
        again=f"{desk.base}/subscribe",
    )
