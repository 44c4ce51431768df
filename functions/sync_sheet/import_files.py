"""CSV files in the subfolder `imports` of the templates folder become subscribers, a tick at a time, and rows of the tab Imports.

Rows are taken in groups. The answers to a group's rejected rows are written to the Sheet before the document tells that the group is
done: a tick cut off in between does the group again, which changes nothing, and each answer takes the place of itself.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.errors import BadInput, Conflict, NotFound, Unavailable
from shared.logs import log, metric
from shared.model.address import masked
from shared.model.cells import short
from shared.model.paths import Paths
from shared.ports import Clock, Drive, File, Sheet, Store

from . import csv_file, imports
from .answers import FILE, Answers
from .import_entries import ERASED, GONE, Entry, Held, key_of, version_of
from .import_tab import PROGRESS, Taken, Tell
from .spotted import concealed, signs
from .tabs import Cell

FOLDER = "imports"
NEWEST = 200  # files that are looked at, and shown
LEASE = 180_000  # ms: longer than a tick may take
TRIES = 3  # for rows that somebody else's write came before
UNREADABLE = "CSV files cannot be imported, because the folder of templates cannot be read. Ask who runs this system to share it."
GOOGLE = "This is a Google file. Choose File, Download, Comma-separated values, and put that file here."


@dataclass(frozen=True, slots=True)
class Opened:
    """A file's rows in this process."""

    version: str
    rows: Sequence[imports.Row]
    first: Mapping[str, str]
    note: str


@dataclass
class ImportFiles:
    """`folder`: the id of the templates folder."""

    store: Store
    sheet: Sheet
    clock: Clock
    paths: Paths
    pepper: bytes
    drive: Drive
    folder: str
    listed: Sequence[File] | None = field(default=None, init=False)  # all files, None when the last tick could not list them
    _settled: tuple[tuple[str, ...], ...] | None = field(default=None, init=False)  # the listing of which nothing is left to do
    _entries: dict[str, Entry] | None = field(default=None, init=False)  # by key, as last read or written
    _opened: dict[str, Opened] = field(default_factory=dict, init=False)  # the one that is on its way

    async def tick(self, answers: Answers, until: int, most: int, tell: Tell) -> Taken:
        """Go on with the files until it is `until` (ms), at most `most` rows. One listing; a read of the store when it is not as it was."""
        self.listed = None
        try:
            self.listed = await self.drive.list(self.folder)
        except Unavailable as error:
            log("WARNING", f"files are left to the next tick: {error}")
            return Taken()
        except (BadInput, NotFound) as error:
            log("ERROR", f"the templates folder cannot be listed: {error}")
            return Taken(notices=(UNREADABLE,))
        listed = [file for file in self.listed if _wanted(file)]
        files = sorted(listed, key=lambda file: (file.modified, file.id))[-NEWEST:]
        many = (f"Imports: only the newest {NEWEST} files are looked at. Take old ones out of the folder.",)
        notices = many if len(listed) > NEWEST else ()
        listing = tuple((file.id, version_of(file)) for file in files)
        if listing == self._settled:
            return Taken(notices=(*self._erased(files), *notices))
        held = Held.of(self.store, self.paths.imports, await self.store.get(self.paths.imports))
        self._entries = held.files
        taken, now = Taken(), self.clock.now()
        if (held.waiting(files) or held.gone(files)) and held.lease <= now < until and most > 0:
            try:
                taken = await self._work(files, held, answers, until, most, tell)
            except Conflict as error:
                log("WARNING", f"left to the next tick, another one is at it: {error}")
            self._entries = held.files
        if not held.waiting(files) and not held.gone(files):
            self._settled = listing
            self._opened.clear()
        going = [entry for entry in self._entries.values() if entry.state == "running" and entry.rows]
        progress = (f"Import of {short(entry.name)}: {entry.done:,} of {entry.rows:,} {PROGRESS}" for entry in going)
        return replace(taken, notices=(*progress, *self._erased(files), *notices))

    async def mark(self, names: Collection[str]) -> bool:
        """Note of files, by name, that they hold addresses which were erased since; whether that is done."""
        held = Held.of(self.store, self.paths.imports, await self.store.get(self.paths.imports))
        theirs = [key for key, entry in held.files.items() if _page(entry.name) in names and not entry.erased]
        if theirs and held.lease > self.clock.now():
            return False
        held.files |= {key: replace(held.files[key], erased=True) for key in theirs}
        try:
            if theirs:
                await held.save()
        except Conflict:
            return False
        self._settled = None
        return True

    def _erased(self, files: Sequence[File]) -> list[str]:
        """What the Dashboard says of files that are still there."""
        held = self._entries or {}
        names = [short(concealed(file.name)) for file in files if (entry := held.get(key_of(file))) and entry.erased]
        return [f"Imports: {name}. {ERASED}" for name in names]

    def table(self, zone: str) -> list[list[Cell]] | None:
        """The rows of Imports, newest first; None while this process has not looked at them."""
        if self._entries is None:
            return None
        newest = sorted(self._entries.values(), key=lambda entry: (-entry.began_at, entry.name))
        return [entry.cells(zone) for entry in newest]

    async def _work(self, files: Sequence[File], held: Held, answers: Answers, until: int, most: int, tell: Tell) -> Taken:
        """Raises Conflict when another tick took it over."""
        now, waiting = self.clock.now(), held.waiting(files)
        held.files |= {key: replace(held.files[key], state=GONE, finished_at=now) for key in held.gone(files)}
        held.files |= {key_of(file): held.begun(file, now) for file in waiting}
        listed = {key_of(file) for file in files}
        kept = sorted(held.files.items(), key=lambda item: (item[0] not in listed, -item[1].began_at))[:NEWEST]
        held.files, held.lease = dict(kept), now + LEASE
        await held.save()
        rows, came = 0, False
        try:
            for file in waiting:
                if rows >= most or self.clock.now() >= until:
                    break
                taken = await self._file(file, held, answers, until, most - rows, tell)
                rows, came = rows + taken.rows, came or taken.came
        except Unavailable:
            held.lease = 0
            await held.save()
            raise
        held.lease = 0
        await held.save()
        return Taken(rows, came)

    async def _file(self, file: File, held: Held, answers: Answers, until: int, most: int, tell: Tell) -> Taken:
        key = key_of(file)
        entry = held.files[key]
        try:
            opened = await self._open(file, key)
        except BadInput as error:
            held.files[key] = replace(entry, state=str(error), finished_at=self.clock.now())
            await tell([f"Import of {short(entry.name)}: not imported. {error}"])
            await held.save()
            return Taken()
        if opened is None:
            return Taken()
        if not entry.done:
            answers.forget(FILE + key)
        origin = imports.Origin(f"{FOLDER}/{_page(file.name)}", "line", lambda row: _hash(file.id, row))
        rows, came = 0, False
        while rows < most and entry.done < len(opened.rows) and (not rows or self.clock.now() < until):
            group = opened.rows[entry.done : entry.done + min(imports.ANSWERS, most - rows)]
            found = await self._group(group, opened.first, origin, until)
            if not found:
                break
            entry = replace(entry, rows=len(opened.rows), note=opened.note).after(found.values())
            for row in group[: len(found)]:
                line, answer = f"{entry.name}, line {row['ID']}", found[row["ID"]]
                if answer.startswith("Rejected"):
                    answers.put(line, _whose(row, answer), FILE + key)
                else:
                    answers.drop(line, FILE + key)
            answers.trim(answers.of_import())
            await answers.write(self.sheet)
            if entry.done == entry.rows:
                entry = replace(entry, state="done", finished_at=self.clock.now())
                said = f"{entry.imported:,} imported, {entry.updated:,} updated, {entry.rejected:,} rejected."
                await tell([f"Import of {short(entry.name)}: all {entry.rows:,} rows done: {said} {entry.note}".strip()])
            held.files[key] = entry
            await held.save()
            good = sum(not answer.startswith("Rejected") for answer in found.values())
            metric("import", {"import_accepted": good, "import_rejected": len(found) - good}, left=entry.rows - entry.done)
            rows, came = rows + len(found), came or good > 0
        return Taken(rows, came)

    async def _open(self, file: File, key: str) -> Opened | None:
        """Its rows, kept from tick to tick; None when it is gone or changed just now, or Drive does not answer. Raises BadInput."""
        version = version_of(file)
        if key in self._opened and self._opened[key].version == version:
            return self._opened[key]
        if not file.md5:
            raise BadInput(GOOGLE)
        if file.size > csv_file.MOST_BYTES:
            raise BadInput(csv_file.TOO_LARGE)
        try:
            data = await self.drive.download(file.id)
        except (NotFound, Unavailable) as error:
            log("WARNING", f"a file is left to the next tick: {error}")
            return None
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != file.md5:
            return None
        rows, note = await asyncio.to_thread(csv_file.read, data)
        self._opened = {key: Opened(version, rows, await asyncio.to_thread(imports.firsts, rows), note)}
        return self._opened[key]

    async def _group(
        self, group: Sequence[imports.Row], first: Mapping[str, str], origin: imports.Origin, until: int
    ) -> dict[str, str]:
        """Id -> answer of the group's first rows: up to where a row cannot be written just now, or the time is up."""
        found: dict[str, str] = {}
        for at in range(0, len(group), imports.CHUNK):
            if at and self.clock.now() >= until:
                break
            rows = group[at : at + imports.CHUNK]
            for _ in range(TRIES):
                left = [row for row in rows if row["ID"] not in found]
                found |= await imports.take(self.store, self.paths, self.pepper, left, first, origin, self.clock.now())
                if all(row["ID"] in found for row in rows):
                    break
            else:
                break
        whole = next((n for n, row in enumerate(group) if row["ID"] not in found), len(group))
        return {row["ID"]: found[row["ID"]] for row in group[:whole]}


def _page(name: str) -> str:
    """A file's name as consents keep it, and notes of erasures (shared/model/erasure.py)."""
    return concealed(name)[: 200 - len(FOLDER) - 1]


def _wanted(file: File) -> bool:
    return file.folder == FOLDER and file.name.lower().endswith(".csv")


def _hash(file: str, row: imports.Row) -> str:
    """Not the line: a row that moved in its file has the consent that it had."""
    said = [file, *(row[name] for name in csv_file.FIELDS)]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def _whose(row: imports.Row, answer: str) -> str:
    """The answer with what tells its row, without the address."""
    email = row["Email"]
    return f"{answer} ({short(masked(email))})" if "@" in email and signs(email) == 1 else answer
