"""The Drive port on Google Drive (API v3): what people keep in the templates folder. Files are only ever read here."""

from __future__ import annotations

from typing import Any

from shared.adapters.google_rest import Service
from shared.ports import File

SCOPES = ("https://www.googleapis.com/auth/drive.readonly",)
FOLDER = "application/vnd.google-apps.folder"
_FIELDS = "nextPageToken,files(id,name,mimeType,version,modifiedTime,md5Checksum,size)"


class GoogleDrive:
    """Files shared with us. `endpoint` is the root URL of an emulator, "" for Google with the environment's credentials."""

    def __init__(self, endpoint: str = "") -> None:
        self._service = Service("drive", "v3", "/drive/v3/", endpoint, SCOPES)

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
        """The content as stored. Raises NotFound, and BadInput for a Google Doc, which has no bytes of its own."""
        content = await self._service.call("files", lambda files: files.get_media(fileId=file, supportsAllDrives=True))
        return bytes(content)

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
        size=int(found.get("size", 0)),
    )
