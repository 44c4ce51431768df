"""The Templates tab: each file of the templates folder, as launch has tried it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from shared.model.moments import moment
from shared.model.paths import Paths
from shared.ports import Document, Store

from .tabs import Cell

PLACE = "https://drive.google.com/file/d/{}/view"


@dataclass
class Templates:
    """`_version`, `_held`: what launch has told, as this process last read it; it is read whole only when it has changed."""

    _version: str = ""
    _held: dict[str, Any] = field(default_factory=lambda: {"files": {}, "more": 0})

    async def table(self, store: Store, paths: Paths, campaigns: Sequence[Document], zone: str) -> list[list[Cell]]:
        """The rows, in the order of console.TEMPLATE_FIELDS: by folder and name, the top first. One read; two when something changed."""
        seen = await store.get(paths.templates, ["more"])
        if seen and seen.version != self._version and (found := await store.get(paths.templates)):
            self._version, self._held = found.version, found.data
        latest: dict[str, str] = {}
        for one in sorted(campaigns, key=lambda one: one.data.get("frozen_at", 0)):
            latest |= dict.fromkeys(one.data.get("templates", ()), one.id)
        files = sorted(self._held["files"].items(), key=lambda pair: (pair[1]["name"].rpartition("/")[::2], pair[0]))
        rows = [_row(id, file, latest.get(id, ""), zone) for id, file in files]
        return rows + ([[f"… {self._held['more']:,} more are not shown"]] if self._held["more"] else [])


def _row(id: str, file: dict[str, Any], campaign: str, zone: str) -> list[Cell]:
    """A web address as text: Sheets shows that as a link, and nothing of it is a formula."""
    told = [file["name"], file["kind"], file["language"], file["subject"], moment(file["modified"], zone)]
    return [*told, ", ".join(file["variables"]), file["problem"], file["use"] or campaign, PLACE.format(quote(id, safe=""))]
