"""The mails that the system sends by itself: the confirmation, the welcome, the link to the preferences, and what is kept of a reader. Each
is kept equal to its file at the top of the templates folder. For the last two there are texts of ours, so that readers get them also
where nobody has written any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import shared.mail
from shared.errors import BadInput, NotFound
from shared.logs import log
from shared.mail.source import language_of
from shared.model.campaign import answered
from shared.model.paths import ACCESS, EXPORT, SYSTEM, WELCOME, Paths
from shared.ports import File, Merge, Store

from .freeze import called, current, find, freeze, is_aside, languages
from .parts import unchanged
from .start import Start

AGAIN: Final = 600_000  # ms after which the store is asked again: it may have been restored
OURS: Final = Path(shared.mail.__file__).parent / "system"
WRITTEN: Final = (ACCESS, EXPORT)  # of which there are texts of ours


class Shipped:
    """The texts that come with the program, as a folder. See `Drive`."""

    async def list(self, folder: str) -> list[File]:
        return _shipped()

    async def download(self, file: str) -> bytes:
        if file not in {one.id for one in _shipped()}:
            raise NotFound(file)
        return (OURS / file).read_bytes()

    async def edited(self, file: str) -> tuple[str, str]:
        return "", next(one.version for one in _shipped() if one.id == file)


@dataclass
class SystemMails:
    """`start`: how the folder's mails are frozen. `_seen`: the listing that was worked through last, and when (ms)."""

    store: Store
    paths: Paths
    start: Start
    _seen: tuple[Sequence[File], int] = field(default=((), -AGAIN), init=False)

    async def keep(self, files: Sequence[File], now: int) -> None:
        """Freeze what has changed at `now` (ms); one read of each, and none while the folder is as it was. A file that cannot be sent
        leaves the mail as it was, or as ours is, and its sentence is the campaign's answer. Raises Unavailable."""
        if self._seen[0] == files and now - self._seen[1] < AGAIN:
            return
        documents = await self.store.get_many([self.paths.campaign(name) for name in SYSTEM])
        top = [file for file in files if not file.folder or is_aside(file)]
        for name, known in zip(SYSTEM, documents, strict=True):
            data = known.data if known else {}
            try:
                mail, answer = await self._mail(name, data, top), ""
            except BadInput as error:
                if data.get("answer") == str(error):
                    continue
                log("WARNING", str(error), campaign=name)
                mail, answer = None if "mail" in data or name not in WRITTEN else await self._ours(name), str(error)
            if mail or answer:
                changes = {"kind": "system", "state": "running", **({"mail": mail} if mail else {}), **answered(answer, now)}
                await self.store.commit([Merge(self.paths.campaign(name), changes)])
        self._seen = files, now

    async def _mail(self, name: str, data: Mapping[str, Any], top: Sequence[File]) -> dict[str, Any] | None:
        """The mail as its file says, None when it is frozen so already; raises BadInput, Unavailable."""
        mail, identity = data.get("mail", {}), self.start.tenant.identity
        theirs = name not in WRITTEN or bool(called(top, name))
        file, spoken = (find(top, name), languages(top, name)) if theirs else chosen(name, identity.language)
        if not data.get("answer") and unchanged(mail, top) and current(mail, file, spoken, identity):
            return None
        return await self.start.frozen(top, name, name, single=name != WELCOME) if theirs else await self._ours(name)

    async def _ours(self, name: str) -> dict[str, Any]:
        identity = self.start.tenant.identity
        file, spoken = chosen(name, identity.language)
        return await freeze(
            Shipped(), self.start.objects, self.start.links, file, name, identity, single=True, trial=False, spoken=spoken
        )


def chosen(name: str, language: str) -> tuple[File, dict[str, File]]:
    """Of our texts of a mail that for everybody, in the sender's `language` if there is one, else in English; and the others."""
    found = {language_of(file.name): file for file in _shipped() if file.name.startswith(f"{name}.")}
    own = language.partition("-")[0].lower()
    return found.pop(own if own in found else "en"), found


@cache
def _shipped() -> list[File]:
    """Our texts: a file's id is its name, its version the hash of its content."""
    found = []
    for path in sorted(OURS.glob("*.md")):
        data = path.read_bytes()
        version = hashlib.sha256(data).hexdigest()[:16]
        found.append(File(path.name, path.name, "text/markdown", version, "", "", len(data)))
    return found
