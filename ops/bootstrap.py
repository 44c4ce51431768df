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
from shared.model.address import parse
from shared.model.moments import zone_of
from shared.model.paths import Paths
from shared.ports import Create, Document, Merge, Store
from shared.stack.store import open_store

from .workspace import NO_STORAGE, ROLES, SHEET, THINGS, Workspace

UNFINISHED = 3  # exit status: something is left that only a person can do
TOKEN = Path("~/.config/subscriber-pipeline/token.json")
VARIABLES = {
    "project": "GOOGLE_CLOUD_PROJECT",
    "sheet": "SHEET",
    "folder": "FOLDER",
    "name": "TENANT_NAME",
    "from-address": "FROM_ADDRESS",
    "from-name": "FROM_NAME",
    "postal-address": "POSTAL_ADDRESS",
    "list-domain": "LIST_DOMAIN",
    "time-zone": "TIME_ZONE",
}
QUESTIONS = {
    "project": "Google Cloud project",
    "sheet": "Sheet (address or id)",
    "folder": "Drive folder (address or id)",
    "name": "Name, as readers know you",
    "from-address": "Sender's address",
    "from-name": "Sender's name",
    "postal-address": "Postal address, for the foot of each mail",
    "list-domain": "Domain of the list, like news.example.com",
    "time-zone": "Time zone, like Europe/Lisbon",
}
IDENTITY = ("from-address", "from-name", "postal-address", "list-domain")  # the fields of a sender, with hyphens
NEEDS = (("step-launch", SHEET, "reader"), ("step-sync-sheet", SHEET, "writer"), ("step-launch", FOLDER, "reader"))
ADDRESSES = {SHEET: "https://docs.google.com/spreadsheets/d/{}", FOLDER: "https://drive.google.com/drive/folders/{}"}
_DISABLED = frozenset({"SERVICE_DISABLED", "accessNotConfigured"})
_SCOPES = frozenset({"ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"})


@dataclass(frozen=True, kw_only=True)
class Settings(config.Base):
    sheets_endpoint: str = ""
    drive_endpoint: str = ""


def bootstrap(
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="The Google Cloud project.")] = "",
    tenant: Annotated[str, typer.Option(envvar="TENANT", help="The tenant's id.")] = "main",
    firestore_database: Annotated[str, typer.Option(envvar="FIRESTORE_DATABASE")] = "(default)",
    client: Annotated[Path | None, typer.Option(envvar="CLIENT", help="Your OAuth client's JSON file, type Desktop app.")] = None,
    token: Annotated[Path, typer.Option(envvar="TOKEN_FILE", help="Where your consent is kept.")] = TOKEN,
    sheet: Annotated[str, typer.Option(envvar="SHEET", help="A Sheet that is there: its id or address.")] = "",
    folder: Annotated[str, typer.Option(envvar="FOLDER", help="A Drive folder that is there: its id or address.")] = "",
    name: Annotated[str, typer.Option(envvar="TENANT_NAME", help="Who you are, as readers know you.")] = "",
    from_address: Annotated[str, typer.Option(envvar="FROM_ADDRESS", help="Where mail comes from.")] = "",
    from_name: Annotated[str, typer.Option(envvar="FROM_NAME", help="Whom it comes from.")] = "",
    postal_address: Annotated[str, typer.Option(envvar="POSTAL_ADDRESS", help="For the foot of each mail.")] = "",
    list_domain: Annotated[str, typer.Option(envvar="LIST_DOMAIN", help="Names the list: news.example.com.")] = "",
    time_zone: Annotated[str, typer.Option(envvar="TIME_ZONE", help="Of a new workbook: Europe/Lisbon.")] = "",
    update: Annotated[bool, typer.Option(envvar="UPDATE", help="Change a tenant that differs.")] = False,
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
    }
    try:
        left = asyncio.run(_run(given, tenant, firestore_database, client, token.expanduser(), update))
    except PipelineError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for sentence in left:
        typer.echo(f"Left for you: {sentence}")
    if left:
        typer.echo("Not finished. Do the above, then run this again.")
        raise typer.Exit(UNFINISHED)


# --- what was given


def checked(option: str, text: str) -> str:
    """An option's value as it is used. Raises BadInput with a sentence that names the option."""
    text = text.strip()
    match option:
        case "sheet" | "folder":
            thing, other = (THINGS[SHEET], "/folders/") if option == "sheet" else (THINGS[FOLDER], "/spreadsheets/")
            found = re.search(r"/(?:d|folders)/([\w-]+)|[?&]id=([\w-]+)", text) or re.fullmatch(r"([\w-]+)()", text)
            if not found or other in text:
                raise BadInput(f"--{option} must be the id of a {thing}, or its address.")
            return found[1] or found[2]
        case "from-address":
            try:
                return parse(text)
            except BadInput as error:
                raise BadInput(f"--from-address: {error}") from None
        case "list-domain":
            try:
                return parse(f"list@{text}").partition("@")[2]
            except BadInput:
                raise BadInput("--list-domain must be a domain name, like news.example.com.") from None
        case "time-zone":
            if (zone := zone_of(text)) is None:
                raise BadInput(f"--time-zone: “{text}” is not a time zone, like Europe/Lisbon is.")
            return zone.key
        case "project":
            if not re.fullmatch(r"[a-z][a-z0-9:.-]+", text):
                raise BadInput(f"--project: “{text}” is not the id of a project.")
        case _:
            if not text.replace("\n", "").isprintable():
                raise BadInput(f"--{option} holds characters that cannot be shown.")
    return text


def _all_checked(given: Mapping[str, str]) -> dict[str, str]:
    found, problems = {}, []
    for option, text in given.items():
        if text.strip():
            try:
                found[option] = checked(option, text)
            except BadInput as error:
                problems.append(str(error))
    if problems:
        raise BadInput("\n".join(problems))
    return found


def _lacking(given: Mapping[str, str], known: Document | None, own: bool) -> list[str]:
    """The options that a first run needs: a tenant that is there answers most of them."""
    if known:
        return []
    places = ["sheet", "folder"] if not own else [] if "sheet" in given else ["time-zone"]
    return [option for option in ("project", *places, "name", *IDENTITY) if option not in given]


def _ask(option: str) -> str:
    while True:
        try:
            return checked(option, typer.prompt(QUESTIONS[option]))
        except BadInput as error:
            typer.echo(str(error))


def _complete(given: dict[str, str], lacking: list[str]) -> None:
    """Ask for what is lacking; raises BadInput naming all of it when nobody is there to answer."""
    if lacking and not sys.stdin.isatty():
        names = ", ".join(f"--{option} ({VARIABLES[option]})" for option in lacking)
        other = "; or give --client (CLIENT) and let me make the Sheet and the folder" if "sheet" in lacking else ""
        raise BadInput(f"Missing: {names}{other}.")
    for option in lacking:
        given[option] = _ask(option)


# --- the run


async def _run(
    options: Mapping[str, str], tenant: str, database: str, client: Path | None, token: Path, update: bool
) -> list[str]:
    """Everything in order; what is left for a person to do. Raises PipelineError, whose text is for the operator."""
    given = _all_checked(options)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", tenant):
        raise BadInput(f"--tenant: “{tenant}” must be made of small letters, digits and hyphens, 40 at most.")
    if "project" not in given:
        _complete(given, ["project"] if sys.stdin.isatty() else _lacking(given, None, bool(client)))
    settings = config.load(Settings, _environment(given["project"], tenant, database))
    paths = Paths(tenant)
    try:
        store = open_store(settings)
        known = await store.get(paths.tenant)
    except ConfigError as error:
        raise ConfigError(f"{error}. On your own computer: gcloud auth application-default login") from None
    except Unavailable as error:
        raise BadInput(f"The tenant cannot be read from Firestore: {error}") from None
    _complete(given, _lacking(given, known, bool(client)))
    if client:
        from . import oauth

        oauth.operator(client, token)
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(token)  # from here on: the store has its own already
    space = Workspace(settings.sheets_endpoint, settings.drive_endpoint, f"{given['project']}/{tenant}")
    run = _Run(given, known, bool(client), update, space, GoogleDrive(settings.drive_endpoint), typer.echo)
    try:
        sheet, folder = await run.workbook(), await run.folder()
        await run.sharing({SHEET: sheet, FOLDER: folder})
        await run.tenant(store, paths, sheet, folder)
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
        return sheet

    async def folder(self) -> str:
        """Its id. A template of any kind with a starter's name, whatever it holds, takes the starter's place."""
        folder, _ = await self._place(FOLDER, f"{self.name}: templates")
        there = {PurePosixPath(file.name).stem.lower() for file in await self.drive.list(folder)}
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

    async def sharing(self, files: Mapping[str, str]) -> None:
        """See that the steps' service accounts can do their work: share as the operator, else say what is missing."""
        shared = {mime: await self.space.roles(file) for mime, file in files.items()}
        for account, mime, role in NEEDS:
            address, thing, roles = f"{account}@{self.given['project']}.iam.gserviceaccount.com", THINGS[mime], shared[mime]
            wish = f"share the {thing} with {address} as {'Editor' if role == 'writer' else 'Viewer'}"
            has = (roles or {}).get(address)
            if roles is None:
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

    async def tenant(self, store: Store, paths: Paths, sheet: str, folder: str) -> None:
        """Create the document, or show what differs from it."""
        changes = {option.replace("-", "_"): self.given[option] for option in IDENTITY if option in self.given}
        if self.known is None:
            wanted = tenants.document(self.name, Identity(list_name=f"{self.name} news", **changes), sheet, folder)
            try:
                await store.commit([Create(paths.tenant, wanted)])
            except Conflict:
                raise BadInput("Somebody else made the tenant at this moment: run this again.") from None
            self.say(f"tenant {paths.tenant_id}: made")
            return
        identity = asdict(replace(Identity(**self.held["identity"]), **changes))
        wanted = {
            "name": self.name,
            "identity": identity,
            "sheet": self.given.get("sheet", self.held["sheet"]),
            "folder": self.given.get("folder", self.held["folder"]),
        }
        differs = [
            (key, old, new)
            for (key, old), new in zip(_flat(self.held).items(), _flat(wanted).values(), strict=True)
            if old != new
        ]
        if not differs:
            self.say(f"tenant {paths.tenant_id}: found, unchanged")
            return
        for key, old, new in differs:
            self.say(f"tenant {paths.tenant_id}: {key} is “{old}”, not “{new}”")
        if not self.update:
            self.left.append("the tenant differs as shown: --update (UPDATE=1) changes it, or leave these options out.")
            return
        try:
            await store.commit([Merge(paths.tenant, wanted, if_version=self.known.version)])
        except Conflict:
            raise BadInput("Somebody else changed the tenant at this moment: run this again.") from None
        self.say(f"tenant {paths.tenant_id}: changed")


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    identity = Identity(**document["identity"])
    return {"name": document["name"], **asdict(identity), "sheet": document["sheet"], "folder": document["folder"]}
