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
    """What launch has told, as this process last read it: `_held` of templates and of pages, each in its `_versions`; one is read whole
    only when it has changed."""

    _versions: dict[str, str] = field(default_factory=dict)
    _held: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def table(self, store: Store, paths: Paths, campaigns: Sequence[Document], zone: str) -> list[list[Cell]]:
        """The rows, in the order of console.TEMPLATE_FIELDS: by folder and name, the top first. Two reads, and one for each that
        changed."""
        both = (paths.templates, paths.pages)
        for path, seen in zip(both, await store.get_many(both, ["more"]), strict=True):
            changed = seen and seen.version != self._versions.get(path)
            if changed and (found := await store.get(path, ["files", "more"])):
                self._versions[path], self._held[path] = found.version, found.data
        latest: dict[str, str] = {}
        for one in sorted(campaigns, key=lambda one: one.data.get("frozen_at", 0)):
            latest |= dict.fromkeys(one.data.get("templates", ()), one.id)
        held = [pair for one in self._held.values() for pair in one["files"].items()]
        files = sorted(held, key=lambda pair: (pair[1]["name"].rpartition("/")[::2], pair[0]))
        rows = [_row(id, file, latest.get(id, ""), zone) for id, file in files]
        more = sum(one["more"] for one in self._held.values())
        return rows + ([[f"… {more:,} more are not shown"]] if more else [])


def _row(id: str, file: dict[str, Any], campaign: str, zone: str) -> list[Cell]:
    """A web address as text: Sheets shows that as a link, and nothing of it is a formula."""
    told = [file["name"], file["kind"], file["language"], file["subject"], moment(file["modified"], zone)]
    return [*told, ", ".join(file["variables"]), file["problem"], file["use"] or campaign, PLACE.format(quote(id, safe=""))]
