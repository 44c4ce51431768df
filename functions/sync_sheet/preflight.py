"""The Preflight tab: all that the latest preflight or preview of a campaign found, a row for each sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.model.moments import moment
from shared.ports import Document

from .tabs import Cell

MOST: Final = 50  # campaigns
PASSED: Final = "Nothing stands in the way."


def table(campaigns: Sequence[Document], zone: str) -> list[list[Cell]]:
    """The rows, in the order of console.PREFLIGHT_FIELDS: the campaign that was looked at last comes first, the archived are left out.

    A campaign's last cell says the same in each of its rows, so that a lookup finds it in any order of them.
    """
    seen = [one for one in campaigns if "checked" in one.data and not one.data.get("archived")]
    seen.sort(key=lambda one: (-one.data["checked"]["at"], one.id))
    rows: list[list[Cell]] = []
    for one in seen[:MOST]:
        found = one.data["checked"]
        lines = [] if found["faults"] else [("Passed", PASSED)]
        for kind in ("fault", "warning", "note"):
            lines += [(kind.capitalize(), sentence) for sentence in found[f"{kind}s"]]
        when, in_short = moment(found["at"], zone), summary(found)
        rows += [[one.id, when, *line, in_short] for line in lines]
    return rows + ([[f"… the newest {MOST} of {len(seen):,} campaigns are shown"]] if len(seen) > MOST else [])


def summary(found: Mapping[str, Any]) -> str:
    """In a few words: "2 faults", "Passed, 1 warning", "Passed"."""
    if faults := len(found["faults"]):
        return f"{faults} fault{'s' * (faults != 1)}"
    warnings = len(found["warnings"])
    return "Passed" + (f", {warnings} warning{'s' * (warnings != 1)}" if warnings else "")
