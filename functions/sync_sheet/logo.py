"""The logo of the public pages: a picture of the folder `assets`, kept inside the tenant's document, so that a page loads nothing.

It is fetched when the file's version moves, and has to be small already: no picture is made smaller here.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from unicodedata import normalize

from shared.errors import BadInput, NotFound, Unavailable
from shared.logs import log
from shared.model.cells import short
from shared.model.face import MAX_LOGO
from shared.ports import Drive, File

FOLDER: Final = "assets"
LARGEST: Final = (MAX_LOGO - len("data:image/svg+xml;base64,")) // 4 * 3  # bytes of the file
WAITS: Final = "The folder cannot be read just now. It is tried again every minute."
_KINDS: Final[Mapping[str, bytes]] = {
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/jpeg": rb"\xff\xd8\xff",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF....WEBP",
    "image/svg+xml": rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--(?:(?!-->).){0,2000}-->\s*)*<svg[\s>]",
}
_ACTIVE: Final = re.compile(rb"<script|<foreignobject|<!doctype|<!entity|javascript:|\son\w+\s*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Logo:
    """`picture`: a data: URI, "" for none; `origin`: [what the cell said, file id, version], () for none."""

    picture: str = ""
    origin: tuple[str, ...] = ()


@dataclass
class Logos:
    """`_refused`: (file id, version) -> why, of the last file that was no logo, so that it is not fetched again."""

    drive: Drive | None
    _refused: dict[tuple[str, str], str] = field(default_factory=dict)

    async def read(self, wanted: str, files: Sequence[File] | None, held: Logo) -> Logo:
        """The logo that a cell asks for. `files`: the templates folder, None when it cannot be read; `held`: the logo in force. Raises
        BadInput with the sentence why there is none."""
        if not wanted:
            return Logo()
        if self.drive is None or files is None:
            if held.origin[:1] == (wanted,):
                return held
            raise BadInput(WAITS)
        file = _named(wanted, files)
        if file.size > LARGEST:
            raise BadInput(_large(file, file.size))
        origin = (wanted, file.id, file.version)
        if held.picture and held.origin[1:] == origin[1:]:
            return Logo(held.picture, origin)
        if (file.id, file.version) not in self._refused:
            try:
                return Logo(_picture(file, await self.drive.download(file.id)), origin)
            except NotFound:
                raise BadInput(f"“{short(wanted)}” was just removed from the folder.") from None
            except Unavailable as error:
                log("WARNING", f"the logo is left to the next tick: {error}")
                raise BadInput(WAITS) from None
            except BadInput as error:
                self._refused = {(file.id, file.version): str(error)}
        raise BadInput(self._refused[file.id, file.version])


def _named(wanted: str, files: Sequence[File]) -> File:
    path = _known(wanted)
    path = path if path.startswith(f"{FOLDER}/") else f"{FOLDER}/{path}"
    found = next((file for file in files if _known(f"{file.folder}/{file.name}") == path), None)
    if found is None:
        raise BadInput(f"There is no file “{short(wanted)}” in the folder {FOLDER}. Put the picture there, or correct the name.")
    return found


def _known(path: str) -> str:
    return normalize("NFC", path).lower()


def _picture(file: File, data: bytes) -> str:
    if len(data) > LARGEST:
        raise BadInput(_large(file, len(data)))
    kind = next((kind for kind, magic in _KINDS.items() if re.match(magic, data, re.DOTALL)), "")
    if not kind:
        raise BadInput(f"“{short(file.name)}” is no picture that pages can show: use PNG, JPEG, GIF, WebP or SVG.")
    if kind == "image/svg+xml" and _ACTIVE.search(data):
        raise BadInput(f"“{short(file.name)}” holds more than a picture, such as a script. Save it as a plain SVG, or as PNG.")
    return f"data:{kind};base64,{b64encode(data).decode()}"


def _large(file: File, size: int) -> str:
    return f"“{short(file.name)}” has {size / 1024:,.0f} KB, and {LARGEST // 1024} KB is the most: save it smaller, or as SVG."
