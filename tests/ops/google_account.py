"""A Google for the bootstrap: our emulator of Sheets and Drive behind a gate that counts, refuses and loses, and the sign-in that an
OAuth client file names."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode

import httplib2
import typer
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from typer.testing import CliRunner, Result

from local.google.rest import Refused
from ops.bootstrap import bootstrap
from ops.oauth import SCOPES
from tests.contract.emulated import Emulated, emulated

PERSON = "operator@brand.example"
IDENTITY = {
    "--name": "Brand",
    "--from-address": "hello@brand.example",
    "--from-name": "Brand",
    "--postal-address": "Brand, 1 Street, Town",
    "--list-domain": "news.brand.example",
}
Fault = Literal["refused", "lost", ""]
App = Callable[..., Any]


def invoked(*arguments: str, **environ: str) -> Result:
    """`python -m ops bootstrap`, with nobody at the terminal."""
    app = typer.Typer()
    app.command()(bootstrap)
    return CliRunner().invoke(app, list(arguments), env=environ)


@dataclass
class Gate:
    """In front of the emulator. `fault` is asked about each request by its number; `refusals`: (method, part of the path) -> answer."""

    app: App
    sign_in: SignIn
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[int], Fault] = lambda n: ""
    refusals: dict[tuple[str, str], Refused] = field(default_factory=dict)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self._chosen(scope["method"], scope["path"])(scope, receive, send)

    def _chosen(self, method: str, path: str) -> App:
        if path.startswith("/sign-in/"):
            return self.sign_in
        fault = self.fault(len(self.requests))
        self.requests.append((method, path))
        for (verb, part), refused in self.refusals.items():
            if verb == method and part in path:
                return JSONResponse(refused.body(), refused.code)
        later = JSONResponse({"error": {"code": 503, "message": "Try later"}}, 503)

        async def lost(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await self.app(scope, receive, _swallow)
            await later(scope, receive, send)

        answers: dict[Fault, App] = {"": self.app, "refused": later, "lost": lost}
        return answers[fault]

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[0] != "GET"]


async def _swallow(message: Any) -> None:
    return


@dataclass
class SignIn:
    """The two endpoints of RFC 6749 that an installed app uses; like Google's, it refuses a refresh for scopes never granted."""

    grants: tuple[str, ...] = SCOPES
    denies: bool = False
    refresh_tokens: list[str] = field(default_factory=list)
    access_tokens: list[str] = field(default_factory=list)
    consents: int = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if request.url.path.endswith("/auth"):
            self.consents += 1
            query = request.query_params
            answer = {"error": "access_denied"} if self.denies else {"code": "code", "scope": " ".join(self.grants)}
            back = f"{query['redirect_uri']}?{urlencode({'state': query['state'], **answer})}"
            await RedirectResponse(back)(scope, receive, send)
            return
        given = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        body, status = self._token(given)
        await JSONResponse(body, status)(scope, receive, send)

    def _token(self, given: Mapping[str, str]) -> tuple[dict[str, Any], int]:
        self.access_tokens.append(secrets.token_hex(8))
        found = {
            "access_token": self.access_tokens[-1],
            "expires_in": 3599,
            "token_type": "Bearer",
            "scope": " ".join(self.grants),
        }
        if given["grant_type"] == "authorization_code":
            self.refresh_tokens.append(secrets.token_hex(8))
            return found | {"refresh_token": self.refresh_tokens[-1]}, 200
        if given["refresh_token"] not in self.refresh_tokens:
            return {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, 400
        if not set(given.get("scope", "").split()) <= set(self.grants):
            return {"error": "invalid_scope", "error_description": "Some requested scopes were invalid."}, 400
        return found, 200


@dataclass
class Account:
    """One server for a module; `fresh` empties it. Everything of a run is below `state`."""

    emulated: Emulated
    gate: Gate
    home: Path
    state: Path = Path()
    runs: int = 0

    def fresh(self, own: bool) -> None:
        """Empty again: a person's own Drive, or a folder and a Sheet "book" that a person shared with a service account."""
        self.runs += 1
        self.state = self.home / f"run{self.runs}"
        self.state.mkdir()
        self.emulated.reset()
        self.emulated.google.drive.account = PERSON if own else ""
        with closing(sqlite3.connect(self.home / "google" / "drive.db", isolation_level=None)) as db:
            db.executescript("delete from properties; delete from permissions")
        self.gate.requests.clear()
        self.gate.refusals.clear()
        self.gate.fault = lambda n: ""
        self.gate.sign_in.__init__()  # type: ignore[misc]
        self.client.write_text(json.dumps({"installed": self.client_described}))
        if own:
            self.consented()

    # --- the operator

    @property
    def client(self) -> Path:
        return self.state / "client.json"

    @property
    def token(self) -> Path:
        return self.state / "config" / "token.json"

    @property
    def client_described(self) -> dict[str, str]:
        place = f"{self.emulated.url}/sign-in"
        return {"client_id": "id", "client_secret": "secret", "auth_uri": f"{place}/auth", "token_uri": f"{place}/token"}

    def consented(self) -> None:
        """As after an earlier consent."""
        self.gate.sign_in.refresh_tokens.append("kept")
        self.token.parent.mkdir()
        self.token.write_text(json.dumps({"client_id": "id", "refresh_token": "kept"}))

    def environment(self) -> dict[str, str]:
        url = self.emulated.url
        return {"STACK": "embedded", "STATE_DIR": str(self.state), "SHEETS_ENDPOINT": url, "DRIVE_ENDPOINT": url}

    def run(self, *arguments: str, **environ: str) -> Result:
        return invoked(*arguments, **{**self.environment(), **environ})

    def own(self, *more: str, **environ: str) -> Result:
        """With the operator's own OAuth client."""
        return self.run(*self.arguments(), *more, **environ)

    def arguments(self) -> list[str]:
        given = {"--project": "brand-mail", "--client": str(self.client), "--token": str(self.token), "--time-zone": "Asia/Tokyo"}
        return [part for pair in (given | IDENTITY).items() for part in pair]

    def filled(self, *more: str, **environ: str) -> Result:
        """With a Sheet and a folder that a person made."""
        given = {"--project": "brand-mail", "--sheet": "book", "--folder": "templates"} | IDENTITY
        return self.run(*(part for pair in given.items() for part in pair), *more, **environ)

    # --- what is there

    def tenant(self) -> dict[str, Any]:
        with closing(sqlite3.connect(self.state / "store.db")) as db:
            rows = db.execute("select data from documents where collection = 'tenants' and id = 'main'").fetchall()
        found: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
        return found

    def everything(self) -> dict[str, Any]:
        """Every row of the emulators' databases and of the store, and every file with its times. (What a file's version is, the
        emulator notes when somebody looks.)"""
        found: dict[str, Any] = {}
        for name in ("google/sheet.db", "google/drive.db", f"{self.state.name}/store.db"):
            with closing(sqlite3.connect(self.home / name)) as db:
                tables = [
                    table for (table,) in db.execute("select name from sqlite_master where type = 'table' and name != 'versions'")
                ]
                found |= {f"{name} {table}": sorted(map(repr, db.execute(f"select * from {table}"))) for table in tables}
        for path in self.emulated.google.drive.paths():
            found[str(path)] = (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        return found

    def plain(self) -> dict[str, Any]:
        """What two runs that start from nothing have in common: everything but ids."""
        google, held = self.emulated.google, self.tenant()
        names = {held.get("sheet", ""): "SHEET", held.get("folder", ""): "FOLDER", "book": "book"}
        sheets = {
            names[book]: (
                google.sheets.properties(book),
                {tab.title: self.cells(book, tab.title) for tab in google.sheets.tabs(book)},
            )
            for book in google.sheets.spreadsheets()
        }
        files = {
            str(path.relative_to(google.drive.folder)): path.is_file() and path.read_bytes() for path in google.drive.paths()
        }
        shared = {name: google.drive.shared(file) for file, name in names.items()}
        return {"sheets": sheets, "files": files, "shared": shared, "tenant": held | {"sheet": "", "folder": ""}}

    def cells(self, book: str, tab: str) -> list[list[Any]]:
        store = self.emulated.google.sheets
        return store.read(book, store.area(book, f"'{tab}'!A1:Z"), "FORMULA")

    def type(self, book: str, where: str, *rows: list[str]) -> None:
        """A person types."""
        store = self.emulated.google.sheets
        store.write(book, [(store.area(book, where), rows)], "USER_ENTERED")


@contextmanager
def account(home: Path) -> Iterator[Account]:
    gates: list[Gate] = []

    def front(app: App) -> App:
        gates.append(Gate(app, SignIn()))
        return gates[0]

    with emulated(home / "google", home / "my drive", account=PERSON, front=front) as twin:
        yield Account(twin, gates[0], home)


class Browser:
    """Opens a page as a person's browser would, who answers at once."""

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        visit = lambda: httplib2.Http(timeout=10, proxy_info=None).request(url)  # noqa: E731
        threading.Thread(target=visit, daemon=True).start()
        return True
