"""Google Sheets and Drive on a laptop: an emulator of the REST calls that the adapters make, and pages for the people.

The spreadsheet lives in SQLite and shows as an editable grid; the Drive folder is a plain folder on disk.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from starlette.routing import Route

from local.google.drive import DriveFolder
from local.google.pages import SYSTEM_TABS, Pages
from local.google.sheets import Meter, SheetsApi
from local.google.store import SheetsStore


@dataclass(frozen=True, slots=True)
class Google:
    """What the twin's server mounts (`routes`, at its root) and shares with the rest of the twin."""

    sheets: SheetsStore
    drive: DriveFolder
    meter: Meter
    routes: list[Route]

    def close(self) -> None:
        self.sheets.close()
        self.drive.close()


def google_app(
    state: Path,
    folder: Path,
    spreadsheet: str,
    *,
    folder_id: str = "templates",
    account: str = "",
    write_quota: int = 60,
    system_tabs: Collection[str] = SYSTEM_TABS,
) -> Google:
    """`state` holds sheet.db and drive.db; `folder` is the Drive folder with the id `folder_id`, shared with a service account; with
    an `account`, the "My Drive" of the person with that address.

    `spreadsheet` is the id that /sheet shows; make it with `sheets.create_spreadsheet`. `write_quota` is in calls a minute;
    people cannot edit `system_tabs` on the page.
    """
    sheets, meter = SheetsStore(state / "sheet.db"), Meter(write_quota)
    drive = DriveFolder(folder, state / "drive.db", sheets, folder_id, account)
    pages = Pages(sheets, drive, spreadsheet, frozenset(system_tabs))
    return Google(sheets, drive, meter, [*SheetsApi(sheets, meter).routes(), *drive.routes(), *pages.routes()])
