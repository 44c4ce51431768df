"""A link to one's settings, for somebody who has no mail of ours at hand: mailed to the address that they give, if we know it.

Nothing is read or written, and the answer is the same for every address; the side that sends holds each to one link a day, and what is
asked for from one network, or for one domain, to so many an hour. The form's token keeps off what fills in forms blindly; whoever reads
our pages can have one, so it earns nothing there, and a request as JSON, which has none, is counted like the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shared import http
from shared.errors import BadInput, ConfigError, Unavailable
from shared.http import Request, Response
from shared.model import batch
from shared.model.consent import network_of
from shared.model.paths import ACCESS
from shared.model.sid import MAX_TYPED, sid_of
from shared.pages import forms
from shared.stack.secrets import only_pepper

from .desk import Desk

ACCEPTED = "If the address is on this list, a link to its settings is on its way. It is mailed once a day at most."
MISSING = "Please give an e-mail address."


async def ask(desk: Desk, request: Request, token: str) -> Response:
    return await _form(desk, request)


async def send(desk: Desk, request: Request, token: str) -> Response:
    """Ask for the mail. Raises Unavailable: then nothing was asked for."""
    fields: dict[str, str] = {}
    try:
        fields = request.form()
        sid = _sid(await _pepper(desk), desk.paths.tenant_id, fields.get("email", ""))
    except BadInput as error:
        if request.wants_json:
            return http.json({"error": str(error), "field": error.field}, 400)
        return await _form(desk, request, "access.missing", fields, 400)
    if not request.wants_json and not await _proven(desk, fields):
        return await _form(desk, request, "access.once", fields)
    asked = batch.request_of_day(ACCESS, sid, desk.clock.now(), network=network_of(request.client))
    await desk.bus.publish(batch.TOPIC, [asked])
    if request.wants_json:
        return http.json({"accepted": True, "message": ACCEPTED}, 202)
    return await desk.draw(request, "message.html", name="sent", again="")


async def _pepper(desk: Desk) -> bytes:
    """Only asked for here: whatever becomes of it, everybody can leave. Raises Unavailable."""
    try:
        return await only_pepper(desk.secrets)
    except ConfigError as error:
        raise Unavailable("the link to one's settings", str(error)) from None


def _sid(pepper: bytes, tenant: str, typed: str) -> str:
    """Whether it is an address that can be mailed shows nobody here: one that cannot be is nobody's. Raises BadInput."""
    local, _, domain = typed.strip().rpartition("@")
    if not local or not domain or len(typed) > MAX_TYPED or not typed.strip().isprintable():
        raise BadInput(MISSING, "email")
    try:
        return sid_of(pepper, tenant, typed)
    except ValueError:
        raise BadInput(MISSING, "email") from None


async def _proven(desk: Desk, fields: dict[str, str]) -> bool:
    fill = (await desk.faces.get()).tenant.face.signup.fill
    return forms.proven(desk.links.tokens, fields, desk.clock.now(), fill)


async def _form(
    desk: Desk, request: Request, told: str = "", fields: Mapping[str, str] = MappingProxyType({}), status: int = 200
) -> Response:
    """`told`: the key of what is said above the form; `fields`: what was posted."""
    return await desk.draw(
        request,
        "access.html",
        status,
        name="access",
        told=told,
        wrong=status >= 400,
        email=fields.get("email", "")[:MAX_TYPED],
        proof=forms.kept(desk.links.tokens, fields, desk.clock.now()),
    )
