"""The public pages' own texts: the files of the folder `pages`, made ready whenever one has changed, and kept for the steps that draw them.

console/pages
    pages   name of the page -> language in lower case, or DEFAULT -> {title, html}
    files   file id -> what the Templates tab tells of it, as in console/templates
    more    how many files are left out

A file that cannot be used leaves the text that was there before it; one that is gone leaves the built-in text. Like the look at templates
this costs nothing while the listing stays the same, and comes after all campaigns.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from shared.errors import BadInput, NotFound, Unavailable
from shared.logs import log
from shared.mail.source import language_of
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.pages.faces import DEFAULT
from shared.ports import DOCUMENT, Clock, Create, Document, Drive, File, Merge, Store

from .freeze import PAGES, SUFFIXES, is_spoken, name_of, path_of
from .page_text import page_text
from .templates import digest, ms

NAMES: Final = (
    "sign-up",
    "check",
    "confirm",
    "confirmed",
    "leave",
    "left",
    "keep",
    "kept",
    "preferences",
    "access",
    "erased",
    "archive",
)
MOST: Final = 100  # files: of 8 KB each in one document of 1 MiB
FEW: Final = 4  # made ready in a tick
RULES: Final = 1  # raise it when a file would come to something else than before
_NAME, _PROBLEM = 120, 300  # characters that are kept


@dataclass
class Pages:
    """What this process knows, as `Templates`: the listing that was looked at to the end, and the document as it is stored."""

    _started: bool = False
    _seen: str = ""
    _kept: Document | None = None

    async def look(
        self, store: Store, paths: Paths, drive: Drive, tenant: Tenant, files: Sequence[File], clock: Clock, latest: int
    ) -> None:
        """Make ready what has changed, FEW files at most and none after `latest` (ms). Raises Conflict, Unavailable."""
        ours = [file for file in files if is_page(file)]
        about = digest([RULES, tenant.name])
        listed = digest([about, tenant.identity.language, *map(asdict, ours)])
        if listed == self._seen or not self._started:
            self._started = True
            return
        kept, self._kept = self._kept, None  # unknown, if this comes to nothing
        kept = kept or await store.get(paths.pages) or Document(paths.pages, "", {"pages": {}, "files": {}, "more": 0})
        work = _Work(drive, tenant, about, kept.data)
        for file in ours[:MOST]:
            await work.take(file, [*map(place, ours[:MOST])], room=clock.now() < latest)
        data = {"pages": work.pages, "files": work.entries, "more": max(0, len(ours) - MOST)}
        if data != kept.data:
            write = Merge(paths.pages, data, if_version=kept.version) if kept.version else Create(paths.pages, data)
            [version] = await store.commit([write])
            kept = Document(paths.pages, version, data)
        self._kept, self._seen = kept, "" if work.left else listed


class _Work:
    """One look. `pages`, `entries`: what is to be stored; `left`: whether the next tick has to go on."""

    def __init__(self, drive: Drive, tenant: Tenant, about: str, kept: Mapping[str, Any]) -> None:
        self._drive, self._tenant, self._about, self._kept = drive, tenant, about, kept
        self.pages: dict[str, dict[str, dict[str, str]]] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self.left = False
        self._tried = 0

    async def take(self, file: File, places: Sequence[tuple[str, str]], *, room: bool) -> None:
        """Go on with one file. `places`: which page, in which language, each file is; `room`: whether there is time to fetch it."""
        name, language = place(file)
        before, text = self._kept["files"].get(file.id), self._kept["pages"].get(name, {}).get(language or DEFAULT)
        twice = Counter(places)[name, language] > 1
        entry: dict[str, Any] | None = before
        if not self._current(file, before, twice=twice):
            if not room or self._tried == FEW:
                self.left = True
            else:
                self._tried += 1
                try:
                    entry, text = await self._read(file, text, twice=twice)
                except Unavailable as error:
                    log("WARNING", f"a page is left to the next tick: {error}")
                    self.left = True
        if text and name in NAMES:
            self.pages.setdefault(name, {})[language or DEFAULT] = text
        if entry:
            self.entries[file.id] = entry

    def _current(self, file: File, entry: Mapping[str, Any] | None, *, twice: bool) -> bool:
        then = (entry["version"], entry["about"], entry["name"], entry["twice"]) if entry else ()
        return then == (file.version, self._about, path_of(file)[:_NAME], twice)

    async def _read(
        self, file: File, text: dict[str, str] | None, *, twice: bool
    ) -> tuple[dict[str, Any], dict[str, str] | None]:
        """What is told of a file, and its page; `text`: what was there before it. Raises Unavailable."""
        name, language = place(file)
        problem = ""
        try:
            check_place(name, language, twice=twice)
            data = await self._drive.download(file.id)
            doc = file.mime == DOCUMENT
            text = await asyncio.to_thread(page_text, name_of(file), data, self._tenant.name, doc=doc)
        except NotFound:
            problem = "It was just removed from the folder."
        except BadInput as error:
            problem = str(error)[:_PROBLEM]
        entry = {
            "name": path_of(file)[:_NAME],
            "kind": "Page",
            "language": language_of(name_of(file)) or self._tenant.identity.language,
            "subject": "" if problem or text is None else text["title"],
            "modified": ms(file.modified),
            "variables": [],
            "problem": problem,
            "use": "not in use" if problem else "in use",
            "version": file.version,
            "about": self._about,
            "twice": twice,
        }
        return entry, text


def is_page(file: File) -> bool:
    """Whether a file is meant as a page's text, by its place and name."""
    inside = file.folder.lower() == PAGES
    return inside and (file.mime == DOCUMENT or PurePosixPath(file.name).suffix.lower() in SUFFIXES)


def place(file: File) -> tuple[str, str]:
    """Which page, in which language ("" for everybody else): both in lower case."""
    name = name_of(file)
    language = language_of(name)
    return PurePosixPath(name).stem.removesuffix(f".{language}").strip().lower(), language.lower()


def check_place(name: str, language: str, *, twice: bool) -> None:
    """Raise BadInput where the place of a file, see `place`, is that of no page, or of another file, too."""
    if name not in NAMES:
        raise BadInput(f"“{name[:60]}” is no page. The pages are: {', '.join(NAMES)}.")
    if language and not is_spoken(language):
        raise BadInput(f"“{language}” in its name is no language, such as fr or pt-BR.")
    if twice:
        spoken = f" in the language “{language}”" if language else ""
        raise BadInput(f"Two files are the page “{name}”{spoken}: remove one of them.")
