"""The templates folder as launch's own code takes it, so that a preview is made of what a campaign would freeze: files by their paths, and
their pictures, which go nowhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from pathlib import PurePosixPath

from functions.launch.parts import gather
from local.google.docs import exported
from local.google.drive import DOC_SUFFIX, DriveFolder
from shared.errors import NotFound
from shared.mail.assets import Assets
from shared.ports import DOCUMENT, Drive, File

PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}


class Folder:
    """The Drive port on the folder itself, without Google between; ids are paths."""

    def __init__(self, drive: DriveFolder) -> None:
        self._drive = drive

    async def list(self, folder: str) -> list[File]:
        found = []
        for path in self._drive.paths():
            id, doc = path.relative_to(self._drive.folder).as_posix(), path.name.endswith(DOC_SUFFIX)
            if path.is_file():
                name = path.name.removesuffix(DOC_SUFFIX) if doc else path.name
                found.append(File(id, name, DOCUMENT if doc else "", "", "", "", path.stat().st_size, id.rpartition("/")[0]))
        return found

    async def download(self, file: str) -> bytes:
        path = self._drive.find(file)
        if path is None:
            raise NotFound(file)
        data = path.read_bytes()
        return exported(data.decode(errors="replace")).encode() if file.endswith(DOC_SUFFIX) else data

    async def edited(self, file: str) -> tuple[str, str]:
        return "", ""


class Pictures:
    """The pictures of one preview: where a campaign would put them, but kept in memory. `base`: as of `Assets`."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._held: dict[str, bytes] = {}

    async def put(self, name: str, data: bytes) -> None:
        self._held[PurePosixPath(name).name] = data

    async def get(self, name: str) -> bytes:
        try:
            return self._held[PurePosixPath(name).name]
        except KeyError:
            raise NotFound(name) from None

    async def list(self, prefix: str) -> Sequence[str]:
        return sorted(name for name in self._held if name.startswith(PurePosixPath(prefix).name))

    async def delete(self, name: str) -> None:
        self._held.pop(PurePosixPath(name).name, None)

    async def hosted(self, folder: Drive, files: Sequence[File], name: str, data: bytes) -> tuple[bytes, dict[str, bytes]]:
        """A template and its parts as launch freezes them. Raises BadTemplate, BadInput."""
        mail = Assets(folder, self, self._base).mail(files)
        data = await mail.hosted(data)
        parts, _ = await gather(folder, files, name, data)
        return data, {path: await mail.hosted(part) for path, part in parts.items()}

    def inside(self, html: str) -> str:
        """The mail with its pictures in it, since nobody has put them where it says."""
        for name, data in self._held.items():
            kind = PICTURES[PurePosixPath(name).suffix]
            html = html.replace(f"{self._base}/{name}", f"data:{kind};base64,{b64encode(data).decode()}")
        return html
