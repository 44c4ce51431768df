"""The page: the numbers of the moment it is loaded, which its script then keeps up to date. One request, nobody else's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from shared.http import Response
from shared.model.face import ACCENT
from shared.pages import style_of
from shared.streams import HEADERS

from .watch import LINE

_FOLDER: Final = Path(__file__).parent / "pages"
WORDS: Final[Mapping[str, str]] = {  # state -> what the page calls it
    "unknown": "Not known yet",
    "waiting": "Not started",
    "running": "Sending",
    "paused": "Paused",
    "completed": "Done",
    "cancelled": "Cancelled",
}
REFRESH: Final = 60  # seconds, without JavaScript


@cache
def _parts() -> tuple[Template, str, str, str]:
    """The template, its one style, its one script, and the policy that lets nothing else in."""
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    style = style_of(ACCENT) + (_FOLDER / "live.css").read_text()
    script = (_FOLDER / "live.js").read_text()
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; connect-src 'self'; img-src data:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    return environment.get_template("live.html"), style, script, policy


def _digest(text: str) -> str:
    """https://www.w3.org/TR/CSP3/#grammardef-hash-source"""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def page(brand: str, campaign: str, numbers: Mapping[str, Any], points: Iterable[tuple[int, ...]], until: int) -> Response:
    """`numbers` and `points` as a Watch has them; `until`: when the link expires (ms)."""
    template, style, script, policy = _parts()
    shown = template.render(
        brand=brand,
        campaign=campaign,
        n=numbers,
        points=list(points),
        line=LINE,
        until=until,
        at=_moment(numbers["at"]),
        ends=_moment(until),
        words=WORDS,
        refresh=REFRESH,
        style=style,
        script=script,
    )
    headers = {**HEADERS, "content-security-policy": policy, "x-frame-options": "DENY"}
    return Response(200, shown.encode(), "text/html; charset=utf-8", headers)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1000, UTC)
