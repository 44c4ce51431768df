"""What a new workbook and a new folder start with, in the twin as on Google."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = Path(__file__).parent / "starter"
START = "Start here"
HELP = (
    "This workbook runs the list. What you type is read at the next tick; what the system knows is written back.",
    "Import: paste contacts. Each row gets an answer; a consent source makes a contact mailable.",
    "Campaigns: a row is a campaign. Name a template and a segment (empty: everyone; or a tag), then choose Go.",
    "Schedule: empty is now, else 2026-12-31 09:30 in this workbook's time zone.",
    "Dashboard, Providers, Subscribers, Suppressions, Activity: written by the system.",
)
CELLS = [[line] for line in HELP]  # of the tab START, from A1


def titled(name: str) -> str:
    """The title of the workbook of the tenant with that name."""
    return f"{name}: ops dashboard"
