"""How far each CSV file is on its way to the subscribers, in one document:

console/imports
    files   key of the file's id -> Entry
    lease   until when (ms) a tick works on them: so two at once do not write over each other's answers

A file is known by its id and md5, so it is imported once, and again when somebody changed it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from shared.model.cells import short
from shared.model.moments import moment
from shared.ports import Create, Document, File, Merge, Store

from . import imports
from .spotted import concealed
from .tabs import Cell

ERASED = "It holds addresses that their owners had erased: delete it, and empty the bin of Drive."
GONE = "The file was taken out of the folder before it was done."


@dataclass(frozen=True, slots=True)
class Entry:
    """How far a file is. `state`: "running", "done", GONE or the sentence for which it is not imported; `note`: what to look at; `rows`,
    `done`: of the file, 0 before it was read; `began_at`, `finished_at` in ms."""

    name: str
    version: str
    began_at: int
    state: str = "running"
    rows: int = 0
    done: int = 0
    imported: int = 0
    updated: int = 0
    rejected: int = 0
    note: str = ""
    finished_at: int = 0
    erased: bool = False  # whether it holds addresses whose owners had them erased

    def after(self, answers: Iterable[str]) -> Entry:
        """The entry once the rows that got these answers are done."""
        answers = list(answers)
        kinds = Counter(map(imports.kind, answers))
        return replace(
            self,
            done=self.done + kinds.total(),
            imported=self.imported + kinds["imported"],
            updated=self.updated + kinds["updated"],
            rejected=self.rejected + kinds["rejected"],
            erased=self.erased or any(map(imports.of_erased, answers)),
        )

    def cells(self, zone: str) -> list[Cell]:
        """Its row of Imports."""
        note = f"{self.note} {ERASED}".strip() if self.erased else self.note
        states = {"done": f"Done. {note}".strip(), "running": "Running." if self.rows else "Waiting."}
        state = states.get(self.state, f"{'Stopped' if self.rows else 'Not imported'}. {self.state}")
        counts: list[Cell] = [self.rows, self.done, self.imported, self.updated, self.rejected] if self.rows else [""] * 5
        return [short(self.name), *counts, state, moment(self.finished_at, zone)]


@dataclass
class Held:
    """The document as this tick writes it on: the only one who does while it has the lease."""

    store: Store
    path: str
    version: str
    files: dict[str, Entry]
    lease: int

    @classmethod
    def of(cls, store: Store, path: str, found: Document | None) -> Held:
        data = found.data if found else {}
        files = {key: Entry(**entry) for key, entry in data.get("files", {}).items()}
        return cls(store, path, found.version if found else "", files, data.get("lease", 0))

    async def save(self) -> None:
        """Raises Conflict when another tick was faster."""
        data: dict[str, Any] = {"files": {key: asdict(entry) for key, entry in self.files.items()}, "lease": self.lease}
        write = Merge(self.path, data, if_version=self.version) if self.version else Create(self.path, data)
        [self.version] = await self.store.commit([write])

    def waiting(self, files: Sequence[File]) -> list[File]:
        """Those that are not done as they are now."""
        return [file for file in files if self.begun(file, 0).state == "running"]

    def begun(self, file: File, now: int) -> Entry:
        """The entry of the file as it is now: a new one when it was not begun, or has changed."""
        entry = self.files.get(key_of(file))
        if entry is None or entry.version != version_of(file):
            return Entry(concealed(file.name), version_of(file), now)
        return replace(entry, state="running") if entry.state == GONE else entry

    def gone(self, files: Sequence[File]) -> list[str]:
        """The keys of those that were begun and are no more in the folder."""
        listed = {key_of(file) for file in files}
        return [key for key, entry in self.files.items() if entry.state == "running" and key not in listed]


def key_of(file: File) -> str:
    """A file's id as the name of a field."""
    return hashlib.sha256(file.id.encode()).hexdigest()[:16]


def version_of(file: File) -> str:
    """Changes with a file's content."""
    return file.md5 or "Google"
