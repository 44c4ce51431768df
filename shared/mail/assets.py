"""Pictures of mails, put where mail programs find them for as long as anybody reads the mail: pictures of a Google Doc, whose own
addresses expire, and files of the folder `assets`, which have no address at all.

Each goes to `{base}/{sha256 of its bytes}.{suffix}`, so that a mail keeps the picture it was launched with. Only what every mail program
shows is taken, known by its first bytes (https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern), never by its name.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from html import unescape
from typing import TypeAlias
from unicodedata import normalize
from urllib.parse import unquote

from shared.errors import BadInput, BadTemplate, NotFound
from shared.ports import Drive, File, Objects

FOLDER = "assets"
MAX_PICTURE = 2 << 20  # bytes
MAX_PICTURES = 10 << 20  # bytes, of one mail
MOST_PICTURES = 100  # of one mail
_PLACES = (
    r"""\b(?:src|background)\s{0,9}=\s{0,9}["']""",
    r"""\burl\(\s{0,9}["']?""",
    r"""!\[[^\[\]]{0,500}\]\(\s{0,9}<?""",
    r"""^[ ]{0,3}\[[^\]\n]{1,100}\]:[ ]{0,9}<?""",
)
_ADDRESSES = (
    r"""(?:\./)?assets/[^"'<>()\n]{1,200}?\.\w{2,5}(?=["'<>)\s]|$)""",
    r"""data:[^"'<>()\s]*""",
    r"""https://[\w.-]{1,100}\.googleusercontent\.com/[^"'<>()\s]*""",
)
_IMAGE = re.compile(f"({'|'.join(_PLACES)})({'|'.join(_ADDRESSES)})", re.IGNORECASE | re.MULTILINE)
_KINDS = {"png": rb"\x89PNG\r\n\x1a\n", "jpg": rb"\xff\xd8\xff", "gif": rb"GIF8[79]a", "webp": rb"RIFF....WEBP"}
Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True)
class Assets:
    """`objects`: a public place, whose name `assets/x` the world finds at `base`/x. `fetch` gets a picture of Google's, of at most
    MAX_PICTURE bytes (raises BadInput, Unavailable); None leaves those where they are."""

    drive: Drive
    objects: Objects
    base: str
    fetch: Fetch | None = None

    def mail(self, files: Sequence[File], *, trial: bool = False) -> Mail:
        """For the pictures of one mail. `files`: the whole listing. A trial puts and fetches nothing, and says less."""
        return Mail(self, {_path(file): file for file in sorted(files, key=lambda file: file.modified)}, trial)


class Mail:
    """The pictures of one mail."""

    def __init__(self, assets: Assets, files: dict[str, File], trial: bool) -> None:
        self._assets, self._files, self._trial = assets, files, trial
        self._urls: dict[str, str] = {}
        self._size = 0

    async def hosted(self, text: bytes) -> bytes:
        """A template, or a part of one, with its pictures where everybody finds them. Raises BadTemplate, BadInput, Unavailable."""
        source = text.decode("utf-8", "surrogateescape")
        for found in _IMAGE.finditer(source):
            if found[2] not in self._urls:
                if len(self._urls) == MOST_PICTURES:
                    raise BadTemplate(f"The mail has more than {MOST_PICTURES} pictures: leave some out.")
                self._urls[found[2]] = await self._hosted(found[2])
        return _IMAGE.sub(lambda found: found[1] + self._urls[found[2]], source).encode("utf-8", "surrogateescape")

    async def _hosted(self, source: str) -> str:
        address, called, fetch = unescape(source), "A picture", self._assets.fetch
        if address.startswith("data:"):
            data = _inside(address)
        elif address.startswith("https:"):
            if self._trial or not fetch:
                return source
            data = await fetch(address)
        else:
            path = unquote(address).removeprefix("./")
            called, file = f"The picture “{path[:80]}”", self._file(path)
            if self._trial:
                return f"{self._assets.base}/trial.png"
            data = await self._downloaded(file)
        kind = _kind(called, data)
        self._size += len(data)
        if self._size > MAX_PICTURES:
            raise BadTemplate(f"The pictures come to more than {MAX_PICTURES >> 20} MB: leave some out, or make them smaller.")
        name = f"{hashlib.sha256(data).hexdigest()}.{kind}"
        if not self._trial:
            await self._assets.objects.put(f"{FOLDER}/{name}", data)
        return f"{self._assets.base}/{name}"

    def _file(self, path: str) -> File:
        file = self._files.get(_known(path))
        if file is None:
            raise BadTemplate(f"There is no picture “{path[:80]}”: put it into the folder “{FOLDER}”, or correct its name.")
        _check_size(f"The picture “{path[:80]}”", file.size)
        return file

    async def _downloaded(self, file: File) -> bytes:
        try:
            return await self._assets.drive.download(file.id)
        except NotFound:
            raise BadInput(f"The picture {file.name} was just removed from the folder.") from None


def _inside(address: str) -> bytes:
    """What a data: address holds, b"" when that cannot be read."""
    head, _, encoded = address.partition(",")
    try:
        return b64decode(unquote(encoded), validate=True) if head.endswith(";base64") else b""
    except binascii.Error:
        return b""


def _kind(called: str, data: bytes) -> str:
    """The suffix for a picture, by its first bytes; raises BadTemplate."""
    _check_size(called, len(data))
    kind = next((kind for kind, magic in _KINDS.items() if re.match(magic, data, re.DOTALL)), "")
    if not kind:
        raise BadTemplate(f"{called} is of a kind that mail programs do not show: use PNG, JPEG, GIF or WebP.")
    return kind


def _check_size(called: str, size: int) -> None:
    if size > MAX_PICTURE:
        raise BadTemplate(f"{called} has {size / 2**20:.1f} MB, and {MAX_PICTURE >> 20} MB is the most: make it smaller.")


def _path(file: File) -> str:
    return _known(f"{file.folder}/{file.name}")


def _known(path: str) -> str:
    """As paths are compared: a Mac writes an accent as a sign of its own, whoever types it does not."""
    return normalize("NFC", path).lower()
