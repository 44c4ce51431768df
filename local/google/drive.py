"""The Drive API v3 calls that we use, over a plain folder: a template is a file that any editor can change.

`welcome.gdoc.md` is a Google Doc called "welcome": it has no bytes of its own and can only be exported. The caller is a service
account, which has no storage: it may change files that people shared with it, and make none; or it is a person, whose "My Drive"
the folder is, and who may make and share what they like.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from local.google import query
from local.google.docs import exported
from local.google.rest import Call, Refused, endpoint, partial, parts
from local.google.store import SERVICE, SheetsStore

SHEET_MIME = "application/vnd.google-apps.spreadsheet"
FOLDER_MIME = "application/vnd.google-apps.folder"
DOC_MIME = "application/vnd.google-apps.document"
DOC_SUFFIX = ".gdoc.md"
MAX_EXPORT = 10 << 20  # bytes
ROLES = ("reader", "commenter", "writer")  # that a user can be given
_MIME = {
    ".md": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".mjml": "text/mjml",
    ".txt": "text/plain",
    ".css": "text/css",
    ".csv": "text/csv",
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
_LEFT_BEHIND = (".swp", ".swo", ".tmp", ".bak", ".orig", ".part", ".crdownload")
_SCHEMA = """
pragma journal_mode=wal;
create table if not exists versions (id text primary key, number integer, mark text);
create table if not exists properties (id text primary key, held text not null);
create table if not exists permissions (
    file text, address text, role text not null, primary key (file, address)) without rowid;
"""


_EXPORTS: dict[str, Callable[[str], str]] = {
    "text/html": exported,
    "text/plain": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
}


class DriveFolder:
    """A folder on disk seen as a Drive folder with the id `root`. Versions are kept in `database`, so that they only grow.

    An id is a hash of the path: stable while a file keeps its name and place. Hidden files, editors' drafts and links that
    lead out are not there for anyone. `sheets` holds the spreadsheets, which are files too. `account` is the address of the
    person who calls, "" for a service account.
    """

    def __init__(self, folder: Path, database: Path, sheets: SheetsStore, root: str = "templates", account: str = "") -> None:
        self.folder = folder.resolve()
        self.root = root
        self.account = account
        self._sheets = sheets
        self.folder.mkdir(parents=True, exist_ok=True)
        database.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(database, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.executescript(_SCHEMA)
        self._lock = threading.RLock()

    def close(self) -> None:
        self._db.close()

    def routes(self) -> list[Route]:
        """Mounted at the server's root; the client's endpoint is /drive/v3/."""
        return [
            Route("/drive/v3/files", endpoint(self._list)),
            Route("/drive/v3/files/{id}", endpoint(self._get)),
            Route("/drive/v3/files/{id}/export", endpoint(self._export)),
            Route("/drive/v3/files/{id}/permissions", endpoint(self._permissions)),
            Route("/drive/v3/files/{id}/permissions", endpoint(self._permit), methods=["POST"]),
            Route("/drive/v3/about", endpoint(self._about)),
            Route("/drive/v3/files", endpoint(self._create), methods=["POST"]),
            Route("/upload/drive/v3/files", endpoint(self._create), methods=["POST"]),
            Route("/upload/drive/v3/files/{id}", endpoint(self._update), methods=["PATCH"]),
        ]

    def paths(self) -> list[Path]:
        """Everything below the folder that people see, files and folders, by path."""
        found = []
        for path in sorted(self.folder.rglob("*")):
            inside = path.resolve().is_relative_to(self.folder)
            if inside and path.exists() and not any(_hidden(part) for part in path.relative_to(self.folder).parts):
                found.append(path)
        return found

    def find(self, name: str) -> Path | None:
        """The file with this path relative to the folder, when people may see it."""
        return next((path for path in self.paths() if path.is_file() and path.relative_to(self.folder).as_posix() == name), None)

    def share(self, file: str, role: str, address: str) -> None:
        """Share a file or spreadsheet with somebody, or change their role."""
        with self._lock:
            self._db.execute("insert or replace into permissions values (?, ?, ?)", (file, address, role))

    def shared(self, file: str) -> dict[str, str]:
        """address -> role."""
        with self._lock:
            return dict(self._db.execute("select address, role from permissions where file = ? order by address", (file,)))

    def _list(self, call: Call) -> dict[str, Any]:
        wanted = query.parsed(call.query.get("q", ""))
        files = [self._file(path) for path in self.paths()]
        if self.account:  # a service account sees what is in the shared folder; others' spreadsheets are elsewhere
            files += [self._spreadsheet(book) for book in self._sheets.spreadsheets()]
        parents = {parent for field, _, value in wanted if field == "parents" for parent in value}
        if not parents <= {self.root, *(one["id"] for one in files)}:
            raise Refused(404, "File not found: .", "notFound", "fileId")
        files = [one for one in files if all(query.matches(one, *clause) for clause in wanted)]
        order = call.query.get("orderBy", "")
        if order not in ("", "name", "name desc"):
            raise Refused(400, f"Sorting is not supported: {order}", "invalid", "orderBy")
        files.sort(key=lambda one: one["name"].casefold(), reverse=order == "name desc")
        try:
            size, start = int(call.query.get("pageSize", "100")), int(call.query.get("pageToken") or 0)
        except ValueError:
            raise Refused(400, "Invalid Value", "invalid", "pageToken") from None
        if not 1 <= size <= 1000:
            raise Refused(400, "Invalid value. Values must be within the range: [1, 1000]", "invalidParameter", "pageSize")
        fields = call.query.get("fields", "nextPageToken,files(kind,id,name,mimeType)")
        page: dict[str, Any] = {"files": files[start : start + size]}
        if start + size < len(files):
            page["nextPageToken"] = str(start + size)
        return partial(page, fields)

    def _get(self, call: Call) -> dict[str, Any] | Response:
        if call.query.get("alt") != "media":
            return partial(self._described(call.path["id"]), call.query.get("fields", "kind,id,name,mimeType"))
        path = self._by_id(call.path["id"])
        if _mime(path) in (FOLDER_MIME, DOC_MIME):
            reason = "Only files with binary content can be downloaded. Use Export with Docs Editors files."
            raise Refused(403, reason, "fileNotDownloadable", "alt")
        return Response(path.read_bytes(), media_type=_mime(path))

    def _export(self, call: Call) -> Response:
        path, wanted = self._by_id(call.path["id"]), call.query.get("mimeType")
        if not wanted:
            raise Refused(400, "Required parameter: mimeType", "required", "mimeType")
        if _mime(path) != DOC_MIME:
            raise Refused(403, "Export only supports Docs Editors files.", "fileNotExportable")
        if wanted not in _EXPORTS:
            raise Refused(400, "The requested conversion is not supported.", "badRequest", "convertTo")
        data = _EXPORTS[wanted](path.read_text()).encode()
        if len(data) > MAX_EXPORT:
            raise Refused(403, "This file is too large to be exported.", "exportSizeLimitExceeded")
        return Response(data, media_type=wanted)

    def _create(self, call: Call) -> dict[str, Any]:
        """A folder, a spreadsheet, or a file with its content (multipart)."""
        if not self.account:
            sentence = "Service Accounts do not have storage quota. Leverage shared drives, or use OAuth delegation instead."
            raise Refused(403, sentence, "storageQuotaExceeded")
        described, data = call.body, b""
        if kind := call.query.get("uploadType"):
            if kind != "multipart":
                raise Refused(400, "This emulator makes files by uploadType multipart only.", "invalid", "uploadType")
            described, _, data = parts(call.kind, call.upload)
        name, mime, parents = described.get("name", "Untitled"), described.get("mimeType"), described.get("parents", ["root"])
        if len(parents) != 1:
            raise Refused(403, "A file can only have one parent.", "teamDrivesParentLimit")
        place = self._by_id(parents[0])
        if mime == SHEET_MIME:
            file = secrets.token_urlsafe(33)
            self._sheets.create_spreadsheet(file, name, "America/New_York")
        else:
            path = place / name
            if path.parent != place or _hidden(name) or path.exists():
                raise Refused(400, f"This emulator keeps files by their name, and cannot make {name!r} there.", "invalid", "name")
            if mime == FOLDER_MIME:
                path.mkdir()
            else:
                path.write_bytes(data)
            file = self._id(path)
        with self._lock:
            held = json.dumps(described.get("properties", {}))
            self._db.execute("insert or replace into properties values (?, ?)", (file, held))
        return partial(self._described(file), call.query.get("fields", "kind,id,name,mimeType"))

    def _permissions(self, call: Call) -> dict[str, Any]:
        self._described(call.path["id"])
        owner = {self.account: "owner"} if self.account else {}
        found = [_permission(*one) for one in {**self.shared(call.path["id"]), **owner}.items()]
        shown = call.query.get("fields", "kind,permissions(id,type,kind,role)")
        return partial({"kind": "drive#permissionList", "permissions": found}, shown)

    def _permit(self, call: Call) -> dict[str, Any]:
        file, role, address = call.path["id"], call.body.get("role"), call.body.get("emailAddress")
        self._described(file)
        if call.body.get("type") != "user" or role not in ROLES or not address:
            raise Refused(
                400, "This emulator shares with a user, who has an emailAddress, as a reader, commenter or writer.", "badRequest"
            )
        self.share(file, role, address)
        return partial(_permission(address, role), call.query.get("fields", "kind,id,type,role"))

    def _about(self, call: Call) -> dict[str, Any]:
        if "fields" not in call.query:
            raise Refused(400, "The 'fields' parameter is required for this method.", "required", "fields")
        user = {"kind": "drive#user", "emailAddress": self.account or SERVICE}
        return partial({"kind": "drive#about", "user": user}, call.query["fields"])

    def _update(self, call: Call) -> dict[str, Any]:
        path = self._by_id(call.path["id"])
        if _mime(path) in (FOLDER_MIME, DOC_MIME):
            sentence = "Conversion of the uploaded content to the requested output type is not supported."
            raise Refused(400, sentence, "conversionUnsupportedConversionPath")
        match call.query.get("uploadType"):
            case "media":
                self.write(path, call.upload)
            case "multipart":
                self.write(path, parts(call.kind, call.upload)[2])
            case _:
                raise Refused(400, "This emulator takes uploadType media and multipart only.", "invalid", "uploadType")
        return partial(self._file(path), call.query.get("fields", "kind,id,name,mimeType"))

    def write(self, path: Path, data: bytes) -> None:
        """Replace a file's content, all or nothing."""
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with draft.open("xb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        shutil.copymode(path, draft)
        draft.replace(path)

    def _by_id(self, file: str) -> Path:
        if file == self.root or (file == "root" and self.account):
            return self.folder
        for path in self.paths():
            if self._id(path) == file:
                return path
        raise Refused(404, f"File not found: {file}.", "notFound", "fileId")

    def _id(self, path: Path) -> str:
        if path == self.folder:
            return self.root
        return "1" + hashlib.sha256(path.relative_to(self.folder).as_posix().encode()).hexdigest()[:32]

    def _described(self, file: str) -> dict[str, Any]:
        if file in self._sheets.spreadsheets():
            return self._spreadsheet(file)
        path = self._by_id(file)
        return self._folder_itself() if path == self.folder else self._file(path)

    def _spreadsheet(self, book: str) -> dict[str, Any]:
        return {
            "kind": "drive#file",
            "id": book,
            "name": self._sheets.properties(book)[0],
            "mimeType": SHEET_MIME,
            "parents": [self.root] if self.account else [],
            "trashed": False,
            "ownedByMe": self._mine(book),
            "properties": self._properties(book),
            "version": str(self._version(book, self._sheets.revision())),
            "modifiedTime": "2026-01-01T00:00:00.000Z",  # nobody asks when
            "lastModifyingUser": {"kind": "drive#user", "emailAddress": self._sheets.editor(book)},
        }

    def _mine(self, file: str) -> bool:
        """Whether the caller owns a file: nobody else does (`share` it as "owner" to make it a stranger's)."""
        return "owner" not in [role for address, role in self.shared(file).items() if address != self.account]

    def _properties(self, file: str) -> dict[str, str]:
        with self._lock:
            found = self._db.execute("select held from properties where id = ?", (file,)).fetchone()
        held: dict[str, str] = json.loads(found[0]) if found else {}
        return held

    def _folder_itself(self) -> dict[str, Any]:
        return {"kind": "drive#file", "id": self.root, "name": self.folder.name, "mimeType": FOLDER_MIME, "trashed": False}

    def _file(self, path: Path) -> dict[str, Any]:
        status, mime = path.stat(), _mime(path)
        data = path.read_bytes() if path.is_file() else None
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() if data is not None else ""
        version = str(self._version(self._id(path), f"{status.st_mtime_ns} {md5}"))
        found = {
            "kind": "drive#file",
            "id": self._id(path),
            "name": path.name.removesuffix(DOC_SUFFIX) if mime == DOC_MIME else path.name,
            "mimeType": mime,
            "parents": [self._id(path.parent)],
            "trashed": False,
            "ownedByMe": self._mine(self._id(path)),
            "properties": self._properties(self._id(path)),
            "version": version,
            "modifiedTime": datetime.fromtimestamp(status.st_mtime, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
        }
        if data is None:
            return found
        if mime == DOC_MIME:
            return found | {"size": "1024"}  # what it takes of the quota, not what an export is long
        return found | {"md5Checksum": md5, "size": str(len(data)), "headRevisionId": f"{md5[:24]}{version}"}

    def _version(self, file: str, mark: str) -> int:
        """One more than before when time or content changed, even back to what they were."""
        with self._lock:
            known = self._db.execute("select number, mark from versions where id = ?", (file,)).fetchone() or (0, "")
            if known[1] != mark:
                known = (known[0] + 1, mark)
                self._db.execute("insert or replace into versions values (?, ?, ?)", (file, *known))
            return int(known[0])


def _permission(address: str, role: str) -> dict[str, Any]:
    """Its id is the same for an address everywhere."""
    id = str(int(hashlib.sha256(address.encode()).hexdigest()[:16], 16))
    return {"kind": "drive#permission", "id": id, "type": "user", "role": role, "emailAddress": address}


def _hidden(name: str) -> bool:
    return name.startswith((".", "#", "~$")) or name.endswith("~") or name.lower().endswith(_LEFT_BEHIND)


def _mime(path: Path) -> str:
    if path.is_dir():
        return FOLDER_MIME
    return DOC_MIME if path.name.endswith(DOC_SUFFIX) else _MIME.get(path.suffix.lower(), "application/octet-stream")
