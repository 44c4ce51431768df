"""What the Templates tab tells: each template of the folder, tried out as a mail before somebody sends it.

console/templates
    files   file id -> {name, kind, language, subject, modified (ms), variables, problem, use, version, about, hash}
            `name` with its folder; `problem`: the sentence, "" when the template can be sent; `use`: of a system mail, else "";
            `about` and `hash` tell what it was tried out with
    more    how many templates are left out

A listing like the last one costs nothing, and the first of a process a read. The last of a tick's work, and little of it: campaigns
never wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from shared.errors import BadInput, BadTemplate, NotFound, Unavailable
from shared.links import Links
from shared.logs import log
from shared.mail.assets import Assets
from shared.mail.confined import compile
from shared.mail.source import Identity, Source, language_of, read
from shared.model.paths import CONFIRM, SYSTEM, WELCOME, Paths
from shared.ports import DOCUMENT, Clock, Create, Document, Drive, File, Merge, Store

from .freeze import CONFIRM_URL, KNOWN, PAGES, collected, find, is_aside, is_template, languages, letters, name_of, path_of

MOST: Final = 300  # files in the document: 1 MiB is the most that Firestore keeps in one
FEW: Final = 4  # tried out in a tick: a third of a second each
_NAME, _SUBJECT, _PROBLEM, _VARIABLES = 120, 120, 300, 20  # what is kept of each: characters, and names
_KINDS: Final = {".md": "Markdown", ".html": "HTML", ".htm": "HTML", ".txt": "Text", ".mjml": "MJML"}


@dataclass
class Templates:
    """What this process knows. `_seen`: the listing that was looked at to the end, "" for none; `_kept`: the document as it is stored,
    None before it was read. A process that has just started has campaigns to see to: it looks from its second tick on."""

    _started: bool = False
    _seen: str = ""
    _kept: Document | None = None

    async def look(
        self,
        store: Store,
        paths: Paths,
        drive: Drive,
        links: Links,
        identity: Identity,
        files: Sequence[File],
        clock: Clock,
        latest: int,
        assets: Assets | None = None,
    ) -> None:
        """Try out what has changed, FEW files at most and none after `latest` (ms); the next tick goes on. Raises Conflict, Unavailable."""
        listed = digest([asdict(identity), *map(asdict, files)])
        if listed == self._seen or not self._started:
            self._started = True
            return
        kept, self._kept = self._kept, None  # unknown, if this comes to nothing
        kept = kept or await store.get(paths.templates) or Document(paths.templates, "", {"files": {}, "more": 0})
        aside = [one for one in files if is_aside(one) and one.folder.partition("/")[0].lower() != PAGES]
        trial = _Trial(
            drive,
            links,
            identity,
            digest([asdict(identity), *map(asdict, aside)]),
            assets,
            files,
        )
        uses, templates = _uses(files), [file for file in files if is_template(file)]
        entries: dict[str, dict[str, Any]] = {}
        tried, left = 0, False
        for file in templates[:MOST]:
            entry = kept.data["files"].get(file.id)
            if not trial.current(file, entry):
                if tried == FEW or clock.now() >= latest:
                    left = True
                else:
                    tried += 1
                    try:
                        entry = await trial.run(file, entry, uses.get(file.id))
                    except Unavailable as error:
                        log("WARNING", f"a template is left to the next tick: {error}")
                        left = True
            if entry:
                entries[file.id] = {**entry, "use": _use(uses.get(file.id), entry["problem"])}
        data = {"files": entries, "more": max(0, len(templates) - MOST)}
        if data != kept.data:
            write = Merge(paths.templates, data, if_version=kept.version) if kept.version else Create(paths.templates, data)
            [version] = await store.commit([write])
            kept = Document(paths.templates, version, data)
        self._kept, self._seen = kept, "" if left else listed


@dataclass(frozen=True)
class _Trial:
    """How templates are tried out. `about`: a digest of what they have in common."""

    drive: Drive
    links: Links
    identity: Identity
    about: str
    assets: Assets | None
    files: Sequence[File]

    def current(self, file: File, entry: dict[str, Any] | None) -> bool:
        """Whether nothing has changed since `entry` was made."""
        return entry is not None and (entry["version"], entry["about"], entry["name"]) == (file.version, self.about, _name(file))

    async def run(self, file: File, before: dict[str, Any] | None, use: tuple[str, bool] | None) -> dict[str, Any]:
        """What is told of a file; `before`: what was told last, which stays when only the file's version moved, as a Google Doc's does
        when somebody looks at it. Raises Unavailable."""
        entry: dict[str, Any] = {
            "name": _name(file),
            "version": file.version,
            "modified": ms(file.modified),
            "about": self.about,
        }
        blank = {"kind": _kind(file), "language": self._language(file), "subject": "", "variables": [], "problem": "", "hash": ""}
        try:
            data, parts, _ = await collected(self.drive, self.files, file, self.identity, self.assets, trial=True)
        except (BadInput, NotFound) as error:
            gone = "It was just removed from the folder."
            return {**blank, **entry, "problem": gone if isinstance(error, NotFound) else str(error)[:_PROBLEM]}
        blank["hash"] = hashlib.sha256(data).hexdigest()
        if before and all(before[name] == (blank | entry)[name] for name in ("hash", "about", "name", "kind")):
            return {**before, **entry}
        single = use is not None and use[0] != WELCOME
        source = Source(
            name=name_of(file),
            data=data,
            campaign="",
            identity=self.identity,
            bulk=not single,
            tracked=not single,
            parts=parts,
        )
        try:
            subject = _subject(source)
            made_up = replace(source, subject="" if subject or use else "-")
            outline = await asyncio.to_thread(
                compile, made_up, self.links, KNOWN, CONFIRM_URL if use and use[0] == CONFIRM else frozenset()
            )
        except BadInput as error:
            return {**blank, **entry, "problem": str(error)[:_PROBLEM]}
        return {**blank, **entry, "subject": subject[:_SUBJECT], "variables": sorted(outline.variables)[:_VARIABLES]}

    def _language(self, file: File) -> str:
        return language_of(name_of(file)) or self.identity.language


def _subject(source: Source) -> str:
    """A template's own subject, "" when each campaign gives it one; raises BadTemplate for a file that cannot be read."""
    read(replace(source, subject="-"))
    try:
        return read(source).subject
    except BadTemplate:  # there is none: all else was read above
        return ""


def _uses(files: Sequence[File]) -> dict[str, tuple[str, bool]]:
    """File id -> (one of SYSTEM, whether it is the one that goes out), of the system's own mails."""
    top = [file for file in files if not file.folder]
    campaigns, found = {file.id for file in letters(files)}, dict[str, tuple[str, bool]]()
    for name in SYSTEM:
        try:
            chosen = {find(top, name).id, *(file.id for file in languages(top, name).values())}
        except BadInput:
            chosen = set()
        ours = [file for file in top if file.id not in campaigns and file.name.lower().partition(".")[0] == name]
        found |= {file.id: (name, file.id in chosen) for file in ours}
    return found


def _use(use: tuple[str, bool] | None, problem: str) -> str:
    if use is None:
        return ""
    name, chosen = use
    return f"{name}: in use" if chosen and not problem else f"{name}: not in use"


def _kind(file: File) -> str:
    suffix = PurePosixPath(file.name).suffix.lower()
    return "Google Doc" if file.mime == DOCUMENT else _KINDS.get(suffix, suffix.removeprefix(".").upper())


def _name(file: File) -> str:
    return path_of(file)[:_NAME]


def ms(moment: str) -> int:
    """RFC 3339 in milliseconds, 0 when it cannot be read."""
    try:
        return round(datetime.fromisoformat(moment).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def digest(given: object) -> str:
    """Of a value that `repr` tells from every other."""
    return hashlib.sha256(repr(given).encode()).hexdigest()[:16]
