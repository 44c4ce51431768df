"""`make bootstrap`: an empty project gets its workbook, its folder of templates and its tenant, or what of them is missing.

With an OAuth client of the operator's own, it makes the workbook and the folder in the operator's Drive and shares them with the
steps. Without one, it fills an empty Sheet and folder that a person made and shared with the default credentials' identity, which
may be a service account. It only ever adds: a cell, a file or a tenant that is there stays as it is, so it can be run again, after
an interruption as well.

The tenant is written with the default credentials in either case: access to Firestore comes from IAM, not from a person's consent.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from local import starting
from shared import config
from shared.adapters.drive import FOLDER, GoogleDrive
from shared.adapters.google_rest import Refusal
from shared.errors import BadInput, ConfigError, Conflict, PipelineError, Unavailable
from shared.mail.source import Identity
from shared.model import tenant as tenants
from shared.model.paths import Paths
from shared.ports import Create, Document, Merge, Store
from shared.stack.store import open_store

from . import fresh
from .bootstrap_options import IDENTITY, VARIABLES, all_checked, complete, lacking
from .workspace import NO_STORAGE, ROLES, SHEET, THINGS, Workspace

UNFINISHED = 3  # exit status: something is left that only a person can do
TOKEN = Path("~/.config/subscriber-pipeline/token.json")
NEEDS = (
    *(("step-launch", SHEET, "reader"), ("step-sync-sheet", SHEET, "writer")),
    *(("step-launch", FOLDER, "reader"), ("step-sync-sheet", FOLDER, "reader")),
)
ADDRESSES = {SHEET: "https://docs.google.com/spreadsheets/d/{}", FOLDER: "https://drive.google.com/drive/folders/{}"}
_DISABLED = frozenset({"SERVICE_DISABLED", "accessNotConfigured"})
_SCOPES = frozenset({"ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"})


@dataclass(frozen=True, kw_only=True)
class Settings(config.Base):
    sheets_endpoint: str = ""
    drive_endpoint: str = ""


def bootstrap(
    project: Annotated[str, typer.Option(envvar=VARIABLES["project"], help="The Google Cloud project.")] = "",
    tenant: Annotated[str, typer.Option(envvar="TENANT", help="The tenant's id.")] = "main",
    firestore_database: Annotated[str, typer.Option(envvar="FIRESTORE_DATABASE")] = "(default)",
    client: Annotated[Path | None, typer.Option(envvar="CLIENT", help="Your OAuth client's JSON file, type Desktop app.")] = None,
    token: Annotated[Path, typer.Option(envvar="TOKEN_FILE", help="Where your consent is kept.")] = TOKEN,
    sheet: Annotated[str, typer.Option(envvar=VARIABLES["sheet"], help="A Sheet that is there: its id or address.")] = "",
    folder: Annotated[
        str, typer.Option(envvar=VARIABLES["folder"], help="A Drive folder that is there: its id or address.")
    ] = "",
    name: Annotated[str, typer.Option(envvar=VARIABLES["name"], help="Who you are, as readers know you.")] = "",
    from_address: Annotated[str, typer.Option(envvar=VARIABLES["from-address"], help="Where mail comes from.")] = "",
    from_name: Annotated[str, typer.Option(envvar=VARIABLES["from-name"], help="Whom it comes from.")] = "",
    postal_address: Annotated[str, typer.Option(envvar=VARIABLES["postal-address"], help="For the foot of each mail.")] = "",
    list_domain: Annotated[str, typer.Option(envvar=VARIABLES["list-domain"], help="Names the list: news.example.com.")] = "",
    time_zone: Annotated[str, typer.Option(envvar=VARIABLES["time-zone"], help="Of a new workbook: Europe/Lisbon.")] = "",
    approvers: Annotated[
        str, typer.Option(envvar=VARIABLES["approvers"], help="Who may approve campaigns: addresses, with commas.")
    ] = "",
    admins: Annotated[
        str, typer.Option(envvar=VARIABLES["admins"], help="Who may change that; you and the Sheet's owner are among them.")
    ] = "",
    hold: Annotated[str, typer.Option(envvar=VARIABLES["hold"], help="Minutes from an approval to the start at least.")] = "",
    update: Annotated[bool, typer.Option(envvar="UPDATE", help="Change a tenant that differs.")] = False,
    carry: Annotated[
        bool, typer.Option(envvar="CARRY", help="Take over from the tenant's old Sheet what is still needed: docs/privacy.md.")
    ] = False,
) -> None:
    """Make the workbook, the folder and the tenant, or add what they lack. Exit status 3: something is left for a person to do."""
    given = {
        "project": project,
        "sheet": sheet,
        "folder": folder,
        "name": name,
        "from-address": from_address,
        "from-name": from_name,
        "postal-address": postal_address,
        "list-domain": list_domain,
        "time-zone": time_zone,
        "approvers": approvers,
        "admins": admins,
        "hold": hold,
    }
    try:
        left = asyncio.run(_run(given, tenant, firestore_database, client, token.expanduser(), update, carry))
    except PipelineError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for sentence in left:
        typer.echo(f"Left for you: {sentence}")
    if left:
        typer.echo("Not finished. Do the above, then run this again.")
        raise typer.Exit(UNFINISHED)


async def _run(
    options: Mapping[str, str], tenant: str, database: str, client: Path | None, token: Path, update: bool, carry: bool
) -> list[str]:
    """Everything in order; what is left for a person to do. Raises PipelineError, whose text is for the operator."""
    given = all_checked(options)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", tenant):
        raise BadInput(f"--tenant: “{tenant}” must be made of small letters, digits and hyphens, 40 at most.")
    if "project" not in given:
        complete(given, ["project"] if sys.stdin.isatty() else lacking(given, bool(client)))
    settings = config.load(Settings, _environment(given["project"], tenant, database))
    paths = Paths(tenant)
    try:
        store = open_store(settings)
        known = await store.get(paths.tenant)
    except ConfigError as error:
        raise ConfigError(f"{error}. On your own computer: gcloud auth application-default login") from None
    except Unavailable as error:
        raise BadInput(f"The tenant cannot be read from Firestore: {error}") from None
    if not known:  # a tenant that is there answers most of what a first run needs
        complete(given, lacking(given, bool(client)))
    if client:
        from . import oauth

        oauth.operator(client, token)
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(token)  # from here on: the store has its own already
    space = Workspace(settings.sheets_endpoint, settings.drive_endpoint, f"{given['project']}/{tenant}")
    run = _Run(given, known, bool(client), update, space, GoogleDrive(settings.drive_endpoint), typer.echo)
    try:
        if carry:
            await run.carry(store, paths)
        sheet, folder = await run.workbook(), await run.folder()
        rule = await run.rule()
        await run.sharing({SHEET: sheet, FOLDER: folder}, rule)
        if run.replacing and sheet != run.held["sheet"] and await run.held_back(store, paths, sheet):
            run.say(f"tenant {tenant}: names the old Sheet until that is done")
            return run.left
        if await run.tenant(store, paths, sheet, folder, rule) and rule:
            await run.approval(store, paths, sheet, rule)
    except Refusal as error:
        raise BadInput(await _explained(error, given["project"], space)) from None
    except Unavailable as error:
        raise BadInput(f"{error}. Check the network and run this again: what was made stays and is found.") from None
    return run.left


def _environment(project: str, tenant: str, database: str) -> dict[str, str]:
    """Google unless the environment names another stack or an emulator; no step's URL matters here."""
    chosen = {"TENANT": tenant, "GOOGLE_CLOUD_PROJECT": project, "FIRESTORE_DATABASE": database, "PUBLIC_URL": "unused:"}
    return {"STACK": "google", **os.environ, **chosen}


async def _explained(error: Refusal, project: str, space: Workspace) -> str:
    if error.reasons & _DISABLED:
        return f"{error} Or: gcloud services enable sheets.googleapis.com drive.googleapis.com --project {project}"
    if error.reasons & _SCOPES:
        return "The default credentials may not use Sheets and Drive: run as a service account, or give --client."
    return f"Google refused: {error} Are the Sheet and the folder shared with {await space.identity()} as Editor?"


@dataclass
class _Run:
    """The steps, each of which finds what is there before it adds. `left` is what only a person can do."""

    given: Mapping[str, str]
    known: Document | None
    own: bool  # as the operator, who can make and share files
    update: bool
    space: Workspace
    drive: GoogleDrive
    say: Callable[[str], object]

    def __post_init__(self) -> None:
        self.left: list[str] = []
        self.unusable = False  # whether the steps could not work with the Sheet and the folder as they are
        self.replacing = False  # whether the Sheet is to take an old one's place

    @property
    def held(self) -> dict[str, Any]:
        return self.known.data if self.known else {}

    async def _place(self, mime: str, title: str) -> tuple[str, bool]:
        """The id of the Sheet or folder, made when it may be and nobody has named one; whether this or an earlier run made it."""
        option = THINGS[mime].lower()
        file = self.given.get(option, "")
        if self.held and not (file and self.update):
            file = self.held[option]
        if file:
            await self.space.check(file, mime)
            return file, False
        file = await self.space.marked(mime)
        if not file:
            file = await self.space.make(title, mime)
            self.say(f"{THINGS[mime]}: made, {ADDRESSES[mime].format(file)}")
        return file, True

    @property
    def name(self) -> str:
        return self.given.get("name") or str(self.held["name"])

    async def workbook(self) -> str:
        """Its id."""
        sheet, ours = await self._place(SHEET, starting.titled(self.name))
        zone = self.given.get("time-zone", "")
        begun = ours and await self.space.begin(sheet, zone)
        found = await self.space.fill(sheet)
        for tab in found.added:
            self.say(f"Sheet: added tab {tab}")
        if found.more:
            self.say("Sheet: added what its tabs lacked")
        if not (begun or found.added or found.more):
            self.say("Sheet: found, unchanged")
        if zone and zone != found.zone:
            self.say(f"Sheet: its time zone is {found.zone}, and stays so; File, Settings changes it to {zone}")
        self.left += found.problems
        self.unusable |= bool(found.problems)
        return sheet

    async def carry(self, store: Store, paths: Paths) -> None:
        """Fill an empty Sheet with what is still needed of the one that the tenant names."""
        new = self.given.get("sheet", "")
        if not self.held or not new:
            raise BadInput(
                "A fresh workbook takes the place of an old one: say --sheet, the empty Sheet, of a tenant that is there."
            )
        if new != self.held["sheet"]:
            self.replacing = True
            await self.space.check(new, SHEET)
            await fresh.carry(self.space, store, paths, self.held["sheet"], new, self.given.get("time-zone", ""), self.say)

    async def held_back(self, store: Store, paths: Paths, sheet: str) -> bool:
        """Whether the tenant must go on with its old Sheet, because the steps could not use the new one, or because it is out of date."""
        stale = await fresh.differing(self.space, store, paths, self.held["sheet"], sheet)
        self.left += stale
        return self.unusable or bool(stale)

    async def folder(self) -> str:
        """Its id. A template of any kind with a starter's name, whatever it holds, takes the starter's place."""
        folder, _ = await self._place(FOLDER, f"{self.name}: templates")
        there = {PurePosixPath(file.name).stem.lower() for file in await self.drive.list(folder) if not file.folder}
        by_hand: list[str] = []
        for file in sorted(starting.TEMPLATES.iterdir()):
            if file.stem in there:
                self.say(f"folder: {file.stem} found, unchanged")
                continue
            try:
                if not by_hand:
                    await self.space.upload(folder, file.name, file.read_bytes())
                    self.say(f"folder: added {file.name}")
                    continue
            except Refusal as refusal:
                if not refusal.reasons & NO_STORAGE:
                    raise
            by_hand.append(file.name)
        if by_hand:
            where = f"{starting.TEMPLATES} to {ADDRESSES[FOLDER].format(folder)}"
            self.left.append(f"upload {', '.join(by_hand)} from {where}: the identity used here cannot own files there.")
        return folder

    async def rule(self) -> tenants.Approval | None:
        """Who lets campaigns go, as it should stand in the tenant; None where campaigns need no approval."""
        known, given = tenants.Approval.of(self.held.get("approval")), self.given
        if known is None and not {"approvers", "admins", "hold"} & set(given):
            return None
        me = await self.space.identity()
        if "@" not in me:
            raise BadInput("Google does not say as whom this runs, so nobody could be told from an admin.")
        admins = frozenset(given["admins"].split(",")) if "admins" in given else known.admins if known else frozenset()
        services = frozenset(self._address(account) for account, mime, _ in NEEDS if mime == SHEET)
        hold = int(given["hold"]) if "hold" in given else known.hold if known else 0
        tabs = known.tabs if known and not self.update else ()
        return tenants.Approval(hold, admins | {me.lower()}, services, tabs)

    async def approval(self, store: Store, paths: Paths, sheet: str, rule: tenants.Approval) -> None:
        """See that approvals can be believed. It comes last: without it nothing goes out that needs one."""
        approvers = [one for one in self.given.get("approvers", "").split(",") if one]
        made, left, protected = await self.space.approval(sheet, rule, approvers)
        if protected != rule:
            await store.commit([Merge(paths.tenant, {"approval.tabs": list(protected.tabs)})])
        for sentence in made or ["approval found, unchanged"]:
            self.say(f"Sheet: {sentence}")
        self.left += left

    def _address(self, account: str) -> str:
        return f"{account}@{self.given['project']}.iam.gserviceaccount.com"

    async def sharing(self, files: Mapping[str, str], rule: tenants.Approval | None) -> None:
        """See that the steps' service accounts can do their work: share as the operator, else say what is missing."""
        before = len(self.left)
        shared = {mime: await self.space.roles(file) for mime, file in files.items()}
        for account, mime, least in NEEDS:
            role = "writer" if rule and mime == SHEET else least  # who may not edit is not shown who else may
            address, thing, roles = self._address(account), THINGS[mime], shared[mime]
            wish = f"share the {thing} with {address} as {'Editor' if role == 'writer' else 'Viewer'}"
            has = (roles or {}).get(address)
            if roles is None and self.replacing and files[mime] != self.held[thing.lower()]:
                me = await self.space.identity()
                self.left.append(
                    f"{wish}; whom it is shared with is not shown to {me}: make that one an Editor, or give CLIENT=."
                )
            elif roles is None:
                self.say(f"{thing}: whom it is shared with is not shown to us; if you have not yet, {wish}")
            elif has and ROLES.index(has) >= ROLES.index(role):
                self.say(f"{thing}: shared with {address}, unchanged")
            elif has or not self.own:
                self.left.append(f"{wish}.")
            else:
                try:
                    await self.space.share(files[mime], address, role)
                    self.say(f"{thing}: shared with {address} as {role}")
                except Refusal as refusal:  # as long as the account does not exist, for one
                    self.left.append(f"{wish}; Google refused it now: {refusal}")
        self.unusable |= len(self.left) > before

    async def tenant(self, store: Store, paths: Paths, sheet: str, folder: str, rule: tenants.Approval | None) -> bool:
        """Create the document, or show what differs from it; whether it says now what it should."""
        changes = {option.replace("-", "_"): self.given[option] for option in IDENTITY if option in self.given}
        if self.known is None:
            wanted = tenants.document(self.name, Identity(list_name=f"{self.name} news", **changes), sheet, folder, rule)
            try:
                await store.commit([Create(paths.tenant, wanted)])
            except Conflict:
                raise BadInput("Somebody else made the tenant at this moment: run this again.") from None
            self.say(f"tenant {paths.tenant_id}: made")
            return True
        identity = asdict(replace(Identity(**self.held["identity"]), **changes))
        wanted = {
            "name": self.name,
            "identity": identity,
            "sheet": self.given.get("sheet", self.held["sheet"]),
            "folder": self.given.get("folder", self.held["folder"]),
        } | ({"approval": rule.document()} if rule else {})
        differs = [
            (key, old, new)
            for (key, old), new in zip(_flat(self.held).items(), _flat(wanted).values(), strict=True)
            if old != new
        ]
        if not differs:
            self.say(f"tenant {paths.tenant_id}: found, unchanged")
            return True
        for key, old, new in differs:
            self.say(f"tenant {paths.tenant_id}: {key} is “{old}”, not “{new}”")
        if not self.update:
            self.left.append("the tenant differs as shown: --update (UPDATE=1) changes it, or leave these options out.")
            return False
        try:
            await store.commit([Merge(paths.tenant, wanted, if_version=self.known.version)])
        except Conflict:
            raise BadInput("Somebody else changed the tenant at this moment: run this again.") from None
        self.say(f"tenant {paths.tenant_id}: changed")
        return True


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    identity = Identity(**document["identity"])
    rule = tenants.Approval.of(document.get("approval"))
    asked = f"{', '.join(sorted(rule.admins))} and {rule.hold} minutes" if rule else "not needed"
    places = {"sheet": document["sheet"], "folder": document["folder"]}
    return {"name": document["name"], **asdict(identity), **places, "approval": asked}
