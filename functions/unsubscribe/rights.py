"""What the law gives a reader: a copy of what is kept of them, mailed and never shown, and its erasure."""

from __future__ import annotations

import asyncio
from typing import Final

from shared.errors import Unavailable
from shared.http import Request, Response
from shared.logs import log
from shared.model import batch, erasure
from shared.model.paths import EXPORT
from shared.model.sid import masked
from shared.model.subscriber import LIFTABLE

from .desk import Desk, fields_of
from .preferences import away

SURE = "sure"  # the box to tick
PATIENCE: Final = 5.0  # seconds that a reader waits for what is not theirs to wait for


async def ask_export(desk: Desk, request: Request, token: str) -> Response:
    return await _export(desk, request, token, "export")


async def export(desk: Desk, request: Request, token: str) -> Response:
    """Ask for the mail, which goes to the address on file once a day at most. Raises Unavailable: then nothing was asked for."""
    return await _export(desk, request, token, "exported")


async def _export(desk: Desk, request: Request, token: str, name: str) -> Response:
    ref = desk.mail_of(request, token)
    found = await desk.store.get(desk.paths.subscriber(ref.sid), ["address", "language", "suppressed"]) if ref else None
    if ref is None or found is None or not found.data.get("address"):
        return await desk.dead(request)
    if not LIFTABLE.issuperset(found.data.get("suppressed") or ()):
        return await away(desk, request, token, found.data)
    if name == "exported":
        await desk.bus.publish(batch.TOPIC, [batch.request_of_day(EXPORT, ref.sid, desk.clock.now())])
    reader, address = found.data.get("language", ""), masked(found.data["address"])
    back = desk.url("preferences", token)
    return await desk.draw(request, f"{name}.html", name=name, reader=reader, address=address, preferences=back)


async def ask_erase(desk: Desk, request: Request, token: str) -> Response:
    return await _sure(desk, request, token) if desk.mail_of(request, token) else await desk.dead(request)


async def erased(desk: Desk, request: Request, token: str) -> Response:
    """Erase whoever the mail went to, once the box is ticked; again is harmless. Raises Unavailable."""
    ref = desk.mail_of(request, token)
    if ref is None:
        return await desk.dead(request)
    if SURE not in fields_of(request):
        return await _sure(desk, request, token, "erase.tick")
    await erasure.erase(desk.store, desk.paths, ref.sid, f"mail of {ref.campaign}", desk.clock.now())
    await _go_on(desk)
    return await desk.draw(request, "message.html", name="erased", again=f"{desk.base}/subscribe")


async def _go_on(desk: Desk) -> None:
    """Have privacy take the rest away now. The address is gone already, so a failure is only logged: the regular run does it."""
    try:
        async with asyncio.timeout(PATIENCE):
            await desk.bus.publish(erasure.TOPIC, [{}])
    except (Unavailable, TimeoutError) as error:
        log("WARNING", f"erased, but the rest waits for the next regular run of privacy: {error or type(error).__name__}")


async def _sure(desk: Desk, request: Request, token: str, problem: str = "") -> Response:
    status = 400 if problem else 200
    return await desk.draw(
        request, "erase.html", status, name="erase", problem=problem, preferences=desk.url("preferences", token)
    )
