"""The Drive port on Google Drive (API v3): what people keep in the templates folder. Files are only ever read here.

A service account has no storage, so it could not make files either, outside a shared drive.
"""

from __future__ import annotations

import re
from typing import Any

from shared.adapters.google_rest import Refusal, Service
from shared.errors import BadInput
from shared.ports import DOCUMENT, File

SCOPE = "https://www.googleapis.com/auth/drive.readonly"  # drive.file would see only what we made ourselves
FOLDER = "application/vnd.google-apps.folder"
_FIELDS = "nextPageToken,files(id,name,mimeType,version,modifiedTime,md5Checksum,size)"
_MARK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_SETTINGS = re.compile(r"\A\s*\\?---+ *\n(.*?)\n\\?---+ *$", re.DOTALL | re.MULTILINE)
_QUOTES = str.maketrans("“”„‘’", '"""\'\'')


class GoogleDrive:
    """Files shared with us. `endpoint` is the root URL of an emulator, "" for Google with the environment's credentials."""

    def __init__(self, endpoint: str = "") -> None:
        self._service = Service("drive", "v3", "/drive/v3/", endpoint, reading=SCOPE)

    async def list(self, folder: str) -> list[File]:
        """All pages, by name (then id); folders inside are left out. Raises NotFound for an unknown folder."""
        escaped = folder.replace("\\", "\\\\").replace("'", "\\'")
        query = f"'{escaped}' in parents and trashed=false and mimeType != '{FOLDER}'"
        files: list[File] = []
        token: str | None = None
        while True:
            found = await self._page(query, token)
            files += map(_file, found.get("files", []))
            token = found.get("nextPageToken")
            if not token:
                return sorted(files, key=lambda file: (file.name, file.id))

    async def download(self, file: str) -> bytes:
        """The content as stored; a Google Doc, which has none, as Markdown. Raises NotFound, BadInput (a Doc over 10 MB)."""
        try:
            return bytes(await self._service.call("files", lambda files: files.get_media(fileId=file, supportsAllDrives=True)))
        except Refusal as refusal:
            if "fileNotDownloadable" not in refusal.reasons:
                raise
        try:
            exported = await self._service.call("files", lambda files: files.export(fileId=file, mimeType="text/markdown"))
        except Refusal as refusal:
            if "exportSizeLimitExceeded" not in refusal.reasons:
                raise
            raise BadInput("This Google Doc is too large: Google gives out at most 10 MB. Take pictures out of it.") from None
        return _typed(bytes(exported).decode(errors="replace")).encode()

    async def _page(self, query: str, token: str | None) -> Any:
        return await self._service.call(
            "files",
            lambda files: files.list(
                q=query,
                pageSize=1000,
                pageToken=token,
                fields=_FIELDS,
                supportsAllDrives=True,
                includeItemsFromAllDrives=True,
            ),
        )


def _file(found: dict[str, Any]) -> File:
    return File(
        id=found["id"],
        name=found["name"],
        mime=found["mimeType"],
        version=found["version"],
        modified=found["modifiedTime"],
        md5=found.get("md5Checksum", ""),
        size=0 if found["mimeType"] == DOCUMENT else int(found.get("size", 0)),
    )


def _typed(exported: str) -> str:
    """A Doc's Markdown with the marks and the settings at its top as they were typed: Docs escapes punctuation there, and curls
    quotes."""
    text = _MARK.sub(lambda mark: _unescaped(mark[0]).translate(_QUOTES), exported.removeprefix("\ufeff"))
    return _SETTINGS.sub(lambda settings: f"---\n{_unescaped(settings[1])}\n---", text, count=1)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([!-/:-@[-`{-~])", r"\1", text)
