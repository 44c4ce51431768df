"""What a new twin starts with: secrets, a tenant, a workbook, a folder of starter templates. Doing it again changes nothing."""

from __future__ import annotations

import os
import shutil
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from secrets import token_bytes, token_hex

from local import approving, starting
from local.google import Google
from local.google.a1 import Area
from local.google.store import SERVICE
from shared import config
from shared.adapters.embedded import FileSecrets
from shared.errors import Conflict
from shared.mail.source import Identity
from shared.model import console, tenant
from shared.model.cells import quote
from shared.model.endpoint import parse
from shared.model.paths import Paths
from shared.ports import Create
from shared.stack.store import open_store

SHEET = "ops-sheet"
FOLDER = "templates"
ZONE = "Europe/Lisbon"
ADMIN, APPROVER = "admin@lumen-coffee.example", "approver@lumen-coffee.example"
APPROVAL = tenant.Approval(1, frozenset({ADMIN}), frozenset({SERVICE}))  # with TWIN_APPROVAL=1
BOUNCES = "bounces.lumen-coffee.example"  # domain of the return paths
NAME = "Lumen Coffee"
IDENTITY = Identity(
    from_name=NAME,
    from_address="hello@lumen-coffee.example",
    postal_address="Lumen Coffee, 12 Harbour Street, 1100-001 Lisbon",
    list_name=f"{NAME} news",
    list_domain="news.lumen-coffee.example",
)


def secrets(state: Path, events_out: str = "") -> FileSecrets:
    """The twin's secrets, generated at its first start."""
    found = FileSecrets(state / "secrets")
    for name in ("pepper", "signing-key", "webhook-generic"):
        found.ensure(name)
    try:
        found.versions("webhook-inbound")
    except FileNotFoundError:
        found.add("webhook-inbound", token_hex(32).encode())  # this key is text
    for endpoint in parse(events_out, local=True).values():
        try:
            found.versions(endpoint.secret)
        except FileNotFoundError:
            found.add(endpoint.secret, b"whsec_" + b64encode(token_bytes(32)))
    return found


def templates(folder: Path) -> None:
    """Copy the starter templates into a folder that is not there yet."""
    if not folder.exists():
        draft = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(starting.TEMPLATES, draft)
        draft.rename(folder)


def _guarded(google: Google, rule: tenant.Approval) -> tenant.Approval:
    """Make what the bootstrap makes where campaigns need approval, and the rule with the tabs that it is about."""
    if console.CAMPAIGNS not in [tab.title for tab in google.sheets.tabs(SHEET)]:
        google.sheets.add_tab(SHEET, console.CAMPAIGNS, frozen=1)
        google.sheets.write(SHEET, [(Area(console.CAMPAIGNS), [[*console.ROW_FIELDS, *console.ROW_OPTIONS]])], "RAW")
    sheets = google.api.book(SHEET, approving.FIELDS, ADMIN, [console.CAMPAIGNS])["sheets"]
    last = max(tab.id for tab in google.sheets.tabs(SHEET))
    google.api.change(SHEET, approving.planned(sheets, last, rule, [APPROVER]).requests, ADMIN)
    made = google.api.book(SHEET, approving.FIELDS, ADMIN, [console.CAMPAIGNS, console.TEAM])["sheets"]
    return replace(rule, tabs=approving.tabs_of(made))


async def workbook_and_tenant(settings: config.Base, google: Google) -> None:
    """Make the workbook and the tenant's document, as a person would on Google."""
    google.sheets.create_spreadsheet(SHEET, starting.titled(NAME), ZONE, tabs=[starting.START])
    google.sheets.write(SHEET, [(google.sheets.area(SHEET, f"{quote(starting.START)}!A1"), starting.CELLS)], "RAW")
    rule = APPROVAL if os.environ.get("TWIN_APPROVAL") else None
    if rule and console.TEAM not in [tab.title for tab in google.sheets.tabs(SHEET)]:
        rule = _guarded(google, rule)
    document = tenant.document(NAME, IDENTITY, SHEET, FOLDER, rule)
    try:
        await open_store(settings).commit([Create(Paths(settings.tenant).tenant, document)])
    except Conflict:
        pass  # an earlier start made it
