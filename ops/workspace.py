"""A tenant's Sheet and folder as the bootstrap sees them: found, made, filled, shared, over Drive's and Sheets' REST.

What is made carries a mark, set in the call that makes it: a run that ends before anybody has noted the id, or whose reply is lost,
leaves nothing that the next run would make again. That is why the workbook is made through Drive, which takes a mark, and not
through Sheets, which does not; its time zone follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from googleapiclient.http import MediaInMemoryUpload

from functions.sync_sheet.workbook import FORMS, HEADERS, ensure
from local import approving, starting
from shared.adapters.drive import FOLDER
from shared.adapters.google_rest import Refusal, Service
from shared.adapters.sheets import WRITING, Sheets
from shared.errors import BadInput, NotFound, Unavailable
from shared.model import console
from shared.model.cells import quote
from shared.model.tenant import Approval

DRIVE = "https://www.googleapis.com/auth/drive"
SHEET = "application/vnd.google-apps.spreadsheet"
THINGS = {SHEET: "Sheet", FOLDER: "folder"}
ROLES = ("reader", "commenter", "writer", "fileOrganizer", "organizer", "owner")  # each may do what those before it may
NO_STORAGE = frozenset({"storageQuotaExceeded", "insufficientParentPermissions", "insufficientFilePermissions"})
KINDS = {".md": "text/markdown", ".html": "text/html", ".txt": "text/plain"}
_KEY = "subscriber-pipeline"


@dataclass(frozen=True, slots=True)
class Filled:
    """A workbook: the tabs added, whether anything else was written, its time zone, and why a tab that people fill cannot be read."""

    added: list[str]
    more: bool
    zone: str
    problems: list[str]


class Workspace:
    """`mark` tells one tenant's files from another's. The endpoints are roots of an emulator, "" for Google.

    Every method raises NotFound, Refusal, Unavailable or ConfigError as `Service.call` does.
    """

    def __init__(self, sheets_endpoint: str, drive_endpoint: str, mark: str) -> None:
        self._sheets_endpoint, self._drive_endpoint, self._mark = sheets_endpoint, drive_endpoint, mark
        self._sheets = Service("sheets", "v4", "/", sheets_endpoint, reading=WRITING, writing=WRITING)
        self._drive = Service("drive", "v3", "/drive/v3/", drive_endpoint, reading=DRIVE, writing=DRIVE)

    async def identity(self) -> str:
        """The address we call as; a description of it when Drive does not say."""
        try:
            found = await self._drive.call("about", lambda about: about.get(fields="user(emailAddress)"))
            return str(found["user"]["emailAddress"])
        except (NotFound, BadInput, Unavailable, KeyError):
            return "the identity of the default credentials"

    async def check(self, file: str, mime: str) -> None:
        """Raises BadInput unless `file` is there, what it should be, and not in the bin."""
        thing = THINGS[mime]
        try:
            found = await self._files(lambda files: files.get(fileId=file, supportsAllDrives=True, fields="mimeType,trashed"))
        except NotFound:
            who = await self.identity()
            sentence = f"There is no {thing} with the id {file}, or it is not shared with {who}"
            raise BadInput(f"{sentence}: check the id, and share it as Editor.") from None
        if found["mimeType"] != mime:
            raise BadInput(
                f"--{thing.lower()}: {file} is not a {'Google Sheet' if mime == SHEET else 'folder'} but another file."
            )
        if found["trashed"]:
            raise BadInput(f"The {thing} {file} is in the bin: restore it, or name another with --{thing.lower()} and --update.")

    async def marked(self, mime: str) -> str:
        """The id of what an earlier run made, "" when none did. Raises BadInput for more than one.

        Only what the caller owns: anybody may share a file with this mark.
        """
        ours = f"'me' in owners and properties has {{ key='{_KEY}' and value='{self._mark}' }}"
        query = f"{ours} and mimeType = '{mime}' and trashed = false"
        found = (await self._files(lambda files: files.list(q=query, fields="files(id)")))["files"]
        if len(found) > 1:
            thing = THINGS[mime]
            raise BadInput(f"There are {len(found)} {thing}s that were made for {self._mark}: name one with --{thing.lower()}.")
        return str(found[0]["id"]) if found else ""

    async def make(self, name: str, mime: str) -> str:
        """A new workbook or folder in the caller's own Drive; its id."""
        body = {"name": name, "mimeType": mime, "properties": {_KEY: self._mark}}
        return str((await self._files(lambda files: files.create(body=body, fields="id"), write=True))["id"])

    def book(self, sheet: str) -> Sheets:
        """Its cells, as the steps see them."""
        return Sheets(sheet, self._sheets_endpoint)

    async def set_zone(self, sheet: str, zone: str) -> None:
        """Give a workbook a time zone."""
        asked = {"updateSpreadsheetProperties": {"properties": {"timeZone": zone}, "fields": "timeZone"}}
        body = {"requests": [asked]}
        await self._sheets.call("spreadsheets", lambda books: books.batchUpdate(spreadsheetId=sheet, body=body), write=True)

    async def begin(self, sheet: str, zone: str) -> bool:
        """Give a workbook that `make` made its time zone, and its only tab its name, in one call; whether that was still to do."""
        found = await self._sheets.call(
            "spreadsheets", lambda books: books.get(spreadsheetId=sheet, fields="sheets.properties(sheetId,title)")
        )
        tabs = {one["properties"]["title"]: one["properties"]["sheetId"] for one in found["sheets"]}
        if starting.START in tabs:
            return False
        requests: list[Any] = [{"updateSpreadsheetProperties": {"properties": {"timeZone": zone}, "fields": "timeZone"}}]
        if len(tabs) == 1:
            named = {"sheetId": next(iter(tabs.values())), "title": starting.START}
            requests.append({"updateSheetProperties": {"properties": named, "fields": "title"}})
        body = {"requests": requests}
        await self._sheets.call("spreadsheets", lambda books: books.batchUpdate(spreadsheetId=sheet, body=body), write=True)
        return True

    async def fill(self, sheet: str) -> Filled:
        """Add the tabs, headers, ids, lookups and help that are missing, as sync_sheet would."""
        book = Sheets(sheet, self._sheets_endpoint)
        before = (await book.workbook()).tabs
        await book.add_tabs([starting.START])
        [shown] = await book.read([f"{quote(starting.START)}!A1:Z"])
        if not shown:
            await book.write({f"{quote(starting.START)}!A1": starting.CELLS})
        found = await ensure(book)
        problems = []
        for tab, form in FORMS.items():
            try:
                console.table(found.rows[tab], tab, form.fields)
            except BadInput as error:
                problems.append(str(error))
        added = [tab for tab in (starting.START, *HEADERS) if tab not in before]
        return Filled(added, found.mended or not shown, found.zone, problems)

    async def approval(self, sheet: str, rule: Approval, approvers: Sequence[str]) -> tuple[list[str], list[str], Approval]:
        """Add what a workbook lacks in which campaigns need approval. What was made, what is left for a person to do, and the rule with
        the tabs that it is about: those that it names, or as they are now."""

        async def found() -> tuple[Any, int]:
            tabs = (await Sheets(sheet, self._sheets_endpoint).workbook()).tabs
            ranges = [quote(tab) for tab in approving.TABS if tab in tabs]
            got = await self._sheets.call(
                "spreadsheets",
                lambda books: books.get(spreadsheetId=sheet, fields=approving.FIELDS, ranges=ranges),
            )
            return got["sheets"], max(tabs.values())

        sheets, last = await found()
        plan = approving.planned(sheets, last, rule, approvers)
        if plan.requests:
            body = {"requests": plan.requests}
            await self._sheets.call("spreadsheets", lambda books: books.batchUpdate(spreadsheetId=sheet, body=body), write=True)
        if plan.left:
            return plan.made, plan.left, rule
        made, _ = await found()
        rule = rule if rule.tabs else replace(rule, tabs=approving.tabs_of(made))
        if doubt := approving.doubts(made, rule):
            plan.left.append(f"no approval counts yet: {doubt}")
        return plan.made, plan.left, rule

    async def upload(self, folder: str, name: str, data: bytes) -> None:
        """Add a file. Raises Refusal with a reason of NO_STORAGE when the caller cannot own files there."""
        media = MediaInMemoryUpload(data, mimetype=KINDS[PurePosixPath(name).suffix])
        body = {"name": name, "parents": [folder]}

        def request(files: Any) -> Any:
            found = files.create(body=body, media_body=media, supportsAllDrives=True, fields="id")
            if self._drive_endpoint:  # the client uploads to Google, whatever its endpoint
                place = urlsplit(found.uri)
                found.uri = f"{self._drive_endpoint}{place.path}?{place.query}"
            return found

        await self._files(request, write=True)

    async def roles(self, file: str) -> dict[str, str] | None:
        """Whom a file is shared with: address -> role; None when we may not know."""
        try:
            found = await self._drive.call(
                "permissions",
                lambda permissions: permissions.list(
                    fileId=file, supportsAllDrives=True, pageSize=100, fields="permissions(emailAddress,role)"
                ),
            )
        except Refusal:
            return None
        return {one["emailAddress"].lower(): one["role"] for one in found["permissions"] if "emailAddress" in one}

    async def share(self, file: str, address: str, role: str) -> None:
        """Share a file, without a mail about it."""
        body = {"type": "user", "role": role, "emailAddress": address}
        await self._drive.call(
            "permissions",
            lambda permissions: permissions.create(
                fileId=file, body=body, sendNotificationEmail=False, supportsAllDrives=True, fields="id"
            ),
            write=True,
        )

    async def _files(self, request: Callable[[Any], Any], *, write: bool = False) -> Any:
        return await self._drive.call("files", request, write=write, repeat=not write)
