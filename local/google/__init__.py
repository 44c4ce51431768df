"""Google Sheets and Drive on a laptop: an emulator of the REST calls that the adapters make, and pages for the people.

The spreadsheet lives in SQLite and shows as an editable grid; the Drive folder is a plain folder on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from starlette.routing import Route

from local.google.drive import DriveFolder
from local.google.pages import Pages
from local.google.sheets import Meter, SheetsApi
from local.google.store import SheetsStore
from local.google.templates import TemplatePages
from shared.mail.source import Identity


@dataclass(frozen=True, slots=True)
class Google:
    """What the twin's server mounts (`routes`, at its root) and shares with the rest of the twin."""

    sheets: SheetsStore
    drive: DriveFolder
    meter: Meter
    routes: list[Route]
    api: SheetsApi

    def close(self) -> None:
        self.sheets.close()
        self.drive.close()


def google_app(
    state: Path,
    folder: Path,
    spreadsheet: str,
    *,
    identity: Identity,
    folder_id: str = "templates",
    account: str = "",
    write_quota: int = 60,
) -> Google:
    """`state` holds sheet.db and drive.db; `folder` is the Drive folder with the id `folder_id`, shared with a service account; with
    an `account`, the "My Drive" of the person with that address.

    `spreadsheet` is the id that /sheet shows; make it with `sheets.create_spreadsheet`. `write_quota` is in calls a minute.
    `identity` is who mails are from that /templates previews.
    """
    sheets, meter = SheetsStore(state / "sheet.db"), Meter(write_quota)
    drive = DriveFolder(folder, state / "drive.db", sheets, folder_id, account)
    api = SheetsApi(sheets, meter, drive)
    pages, templates = Pages(sheets, spreadsheet), TemplatePages(drive, identity)
    routes = [*api.routes(), *drive.routes(), *pages.routes(), *templates.routes()]
    return Google(sheets, drive, meter, routes, api)
