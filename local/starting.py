"""What a new workbook and a new folder start with, in the twin as on Google."""

from __future__ import annotations

from pathlib import Path

from functions.sync_sheet.look import GUIDE
from shared.model.console import START

__all__ = ["CELLS", "START", "TEMPLATES", "titled"]

TEMPLATES = Path(__file__).parent / "starter"
CELLS = [[line] for line in GUIDE]  # of the tab START, from A1


def titled(name: str) -> str:
    """The title of the workbook of the tenant with that name."""
    return f"{name}: ops dashboard"
