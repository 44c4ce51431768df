"""The twin's own desk: a start page that says what to try, what the bus carried, what it gave up, the clock and the tick."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.google.rest import same_origin
from local.mailbox import Mailbox
from local.stacks import Bus
from local.web import SECTIONS, page
from shared.adapters.embedded import FileClock
from shared.model.campaign import usable_id
from shared.ports import Clock

HOUR = 3_600_000  # ms


@dataclass(frozen=True)
class Desk:
    """What the pages look at. `tick` runs each ticked step once; `live` makes the address of a campaign's live page."""

    url: str
    folder: Path
    bus: Bus
    clock: Clock  # only a FileClock can be moved
    mailbox: Mailbox
    tick: Callable[[], Awaitable[None]]
    live: Callable[[str], Awaitable[str]]


def desk_routes(desk: Desk) -> list[Route]:
    """GET /, /events, /dead-letters, /status.json, /watch/{campaign}; POST /tick, /clock, /dead-letters/replay."""

    async def start(request: Request) -> Response:
        return page(
            "start.html",
            here="/",
            folder=desk.folder,
            mails=await desk.mailbox.count(),
            pending=sum((await desk.bus.pending()).values()),
            dead=len(await desk.bus.dead_letters()),
            now=_moment(desk.clock.now()),
            movable=isinstance(desk.clock, FileClock),
            ahead=desk.clock.offset() // HOUR if isinstance(desk.clock, FileClock) else 0,
        )

    async def events(request: Request) -> Response:
        rows = [(_moment(found.at), found, json.dumps(found.data, ensure_ascii=False)) for found in await desk.bus.recent(200)]
        return page("events.html", here="/events", rows=rows, pending=await desk.bus.pending())

    async def dead_letters(request: Request) -> Response:
        rows = [(_moment(found.at), found, json.dumps(found.data, ensure_ascii=False)) for found in await desk.bus.dead_letters()]
        return page("dead_letters.html", here="/dead-letters", rows=rows)

    async def replay(request: Request) -> Response:
        id = (await _form(request)).get("id", "")
        await desk.bus.replay(int(id) if id.isascii() and id.isdigit() else None)
        return RedirectResponse("/dead-letters", 303)

    async def status(request: Request) -> Response:
        pending = await desk.bus.pending()
        return JSONResponse(
            {"pending": pending, "dead_letters": len(await desk.bus.dead_letters()), "mails": await desk.mailbox.count()}
        )

    async def watch(request: Request) -> Response:
        campaign = request.path_params["campaign"]
        if not usable_id(campaign):
            return Response("No campaign can be called so.\n", 404, media_type="text/plain")
        return RedirectResponse(await desk.live(campaign), 303)

    async def tick(request: Request) -> Response:
        await desk.tick()
        back = (await _form(request)).get("back")
        return RedirectResponse(back if back in {path for path, _ in SECTIONS} else "/", 303)

    async def clock(request: Request) -> Response:
        hours = (await _form(request)).get("hours", "")
        if isinstance(desk.clock, FileClock) and hours.isascii() and hours.isdigit() and int(hours) <= 24 * 90:
            desk.clock.advance(int(hours) * HOUR)
        return RedirectResponse("/", 303)

    return [
        Route("/", start),
        Route("/events", events),
        Route("/dead-letters", dead_letters),
        Route("/dead-letters/replay", _guarded(replay), methods=["POST"]),
        Route("/status.json", status),
        Route("/watch/{campaign}", watch),
        Route("/tick", _guarded(tick), methods=["POST"]),
        Route("/clock", _guarded(clock), methods=["POST"]),
    ]


def _guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Refuse a form that another site's page sent."""

    async def guarded(request: Request) -> Response:
        if not same_origin(request):
            return JSONResponse({"error": "This page may only be used from the twin itself."}, 403)
        return await endpoint(request)

    return guarded


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


def _moment(at: Any) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
