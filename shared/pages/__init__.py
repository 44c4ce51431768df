"""The public pages' layout: no script, no request to anybody else, readable on a phone and in the dark."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared.http import Response, html

HERE = Path(__file__).parent


@cache
def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader([folder, HERE]), autoescape=True, undefined=StrictUndefined, trim_blocks=True, auto_reload=False
    )


@cache
def _style() -> str:
    return (HERE / "style.css").read_text()


def page(folder: Path, template: str, status: int = 200, **values: Any) -> Response:
    """Render `{folder}/{template}`, which extends base.html; every value is escaped."""
    style = _style()
    return html(_environment(folder).get_template(template).render(style=style, **values), status, style)
