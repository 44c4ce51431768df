"""The Drive port on Google Drive (API v3): what people keep in the templates folder. Files are only ever read here.

A service account has no storage, so it could not make files either, outside a shared drive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.adapters.google_rest import Refusal, Service
from shared.errors import BadInput
from shared.logs import log
from shared.ports import DOCUMENT, File

SCOPE = "https://www.googleapis.com/auth/drive.readonly"  # drive.file would see only what we made ourselves
FOLDER = "application/vnd.google-apps.folder"
_FIELDS = "nextPageToken,files(id,name,mimeType,version,modifiedTime,md5Checksum,size,parents)"
DEPTH = 3  # folders inside folders that are looked into
ENOUGH = 1000  # files, after which no folder inside is looked into
AT_ONCE = 25  # folders asked for in one call: the client sends an address of over 2,048 characters as another request


class GoogleDrive:
    """Files shared with us. `endpoint` is the root URL of an emulator, "" for Google with the environment's credentials."""

    def __init__(self, endpoint: str = "") -> None:
        self._service = Service("drive", "v3", "/drive/v3/", endpoint, reading=SCOPE)

    async def list(self, folder: str) -> list[File]:
        """The folder and those inside, DEPTH deep, a level a call (AT_ONCE folders, 1,000 files and folders), by folder, name and id.
        What is further down, or in folders below the level with which there are ENOUGH files, is left out and the log says so.
        Raises NotFound for an unknown folder."""
        files: list[File] = []
        level, depth = {folder: ""}, 0
        while level and depth <= DEPTH and len(files) < ENOUGH:
            folders = [*level]
            inside: dict[str, str] = {}
            for at in range(0, len(folders), AT_ONCE):
                for found in await self._in(folders[at : at + AT_ONCE]):
                    # a folder's alias, such as "root", is not what its files name as their parent
                    place = next((level[parent] for parent in found.get("parents", []) if parent in level), "")
                    if found["mimeType"] == FOLDER:
                        inside[found["id"]] = f"{place}/{found['name']}".lstrip("/")
                    else:
                        files.append(_file(found, place))
            level, depth = inside, depth + 1
        if level:
            log("WARNING", f"folders of the templates folder are left out: only {DEPTH} levels and {ENOUGH} files are read")
        return sorted(files, key=lambda file: (file.folder, file.name, file.id))

    async def _in(self, folders: Sequence[str]) -> Sequence[dict[str, Any]]:
        """What lies directly in these folders, all pages."""
        escaped = [folder.replace("\\", "\\\\").replace("'", "\\'") for folder in folders]
        parents = " or ".join(f"'{folder}' in parents" for folder in escaped)
        query = f"{parents if len(folders) == 1 else f'({parents})'} and trashed=false"
        listed: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            found = await self._page(query, token)
            listed += found.get("files", [])
            token = found.get("nextPageToken")
            if not token:
                return listed

    async def download(self, file: str) -> bytes:
        """The content as stored; a Google Doc, which has none, as Google's HTML. Raises NotFound, BadInput (a Doc over 10 MB)."""
        try:
            return bytes(await self._service.call("files", lambda files: files.get_media(fileId=file, supportsAllDrives=True)))
        except Refusal as refusal:
            if "fileNotDownloadable" not in refusal.reasons:
                raise
        try:
            exported = await self._service.call("files", lambda files: files.export(fileId=file, mimeType="text/html"))
        except Refusal as refusal:
            if "exportSizeLimitExceeded" not in refusal.reasons:
                raise
            raise BadInput("This Google Doc is too large: Google gives out at most 10 MB. Take pictures out of it.") from None
        return bytes(exported)

    async def edited(self, file: str) -> tuple[str, str]:
        """One files.get; the file may be a spreadsheet."""
        fields = "version,lastModifyingUser(emailAddress)"
        found = await self._service.call("files", lambda files: files.get(fileId=file, supportsAllDrives=True, fields=fields))
        return str(found.get("lastModifyingUser", {}).get("emailAddress", "")), str(found["version"])

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


def _file(found: dict[str, Any], folder: str) -> File:
    return File(
        id=found["id"],
        name=found["name"],
        mime=found["mimeType"],
        version=found["version"],
        modified=found["modifiedTime"],
        md5=found.get("md5Checksum", ""),
        size=0 if found["mimeType"] == DOCUMENT else int(found.get("size", 0)),
        folder=folder,
    )
