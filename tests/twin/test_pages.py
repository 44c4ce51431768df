"""The twin's desk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette

from local.pages import Desk, desk_routes
from tests.house.asgi import call


async def _live(campaign: str) -> str:
    return f"http://127.0.0.1:1/live/{campaign}.signed"


async def test_a_campaign_is_watched_behind_a_signed_address() -> None:
    given = cast(Any, None)
    app = Starlette(routes=list(desk_routes(Desk("", Path(), given, given, given, given, _live))))
    answer = await call(app, "GET", "/watch/C-0001")
    assert (answer.status, answer.headers["location"]) == (303, "http://127.0.0.1:1/live/C-0001.signed")
    assert (await call(app, "GET", "/watch/confirm")).status == 404
    assert (await call(app, "GET", "/watch/%C3%A9")).status == 404
