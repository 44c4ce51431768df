"""The look of the twin's own pages: one layout, one style sheet, plain HTML that works on a phone."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

HERE = Path(__file__).parent
SECTIONS = (
    ("/", "Start"),
    ("/subscribe", "Sign-up page"),
    ("/sheet", "Sheet"),
    ("/templates", "Templates"),
    ("/mailbox", "Mailbox"),
    ("/events", "Events"),
    ("/dead-letters", "Dead letters"),
)


@cache
def _pages() -> Environment:
    return Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render `local/templates/{template}`, which extends base.html; `here` is the section to mark as current."""
    text = _pages().get_template(template).render(sections=SECTIONS, **values)
    return HTMLResponse(text, status_code=status, headers={"cache-control": "no-store", "x-content-type-options": "nosniff"})
