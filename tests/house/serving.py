"""A state folder as the twin makes it, and what every step answers when it is itself."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from local import seed
from local.issuer import LocalIssuer
from local.server import ISSUER, PUSHER, Twin
from shared.adapters.sqlite_bus import SqliteBus
from shared.adapters.sqlite_store import SqliteStore
from shared.adapters.system_clock import SystemClock
from shared.links import Links
from shared.model import batch, erasure, event, tenant
from shared.model.paths import Paths
from shared.pages import forms
from shared.ports import Create
from shared.tokens import SECRET, Tokens

URL = "http://127.0.0.1:8080"
INTERNAL = ("launch", "inbox", "send_batch", "record", "report", "privacy", "sync_sheet")
Ask = Callable[[str, str, str, bytes, Mapping[str, str]], Awaitable[tuple[int, Mapping[str, str], bytes]]]


async def environment(state: Path) -> dict[str, str]:
    """Make the folder; the variables that Terraform would set for all steps."""
    state.mkdir()
    seed.secrets(state)
    LocalIssuer(state / "issuer", ISSUER)
    store = SqliteStore.open(state / "store.db")
    document = tenant.document(seed.NAME, seed.IDENTITY, seed.SHEET, seed.FOLDER)
    await store.commit([Create(Paths("local").tenant, document)])
    store.close()
    SqliteBus.open(state / "bus.db").close()
    with sqlite3.connect(state / "bus.db") as connection:
        connection.executemany("INSERT INTO topics VALUES (?)", [(batch.TOPIC,), (event.TOPIC,), (erasure.TOPIC,)])
    connection.close()
    twin = cast(Any, SimpleNamespace(state=state.resolve(), url=URL))
    return Twin._environment(twin, 25)


def push(state: Path, message: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A push of ours: body and headers."""
    data = base64.b64encode(json.dumps(message).encode()).decode()
    headers = {"authorization": f"Bearer {LocalIssuer(state / 'issuer', ISSUER).sign(URL, PUSHER)}"}
    return json.dumps({"message": {"data": data}}).encode(), headers


async def check(step: str, ask: Ask, state: Path) -> None:
    """Assert that `ask(step, method, path, body, headers)` reaches this step and no other."""
    body: bytes
    match step:
        case "subscribe":
            status, headers, body = await ask(step, "GET", "/", b"", {})
            assert status == 200 and b'name="email"' in body and b"Lumen Coffee" in body
            assert headers["content-security-policy"].startswith("default-src 'none'")
            proof = forms.given(_links(state).tokens, SystemClock().now() - 60_000)
            status, _, body = await ask(step, "POST", "/", f"email=ada%40example.com&form={proof}".encode(), {})
            assert status == 200 and b"Check your mail" in body
            assert (await ask(step, "POST", "/", b"email=" + b"x" * (1 << 16), {}))[0] == 413
            assert (await ask(step, "GET", "/health", b"", {}))[0] == 200
            assert (await ask(step, "GET", "/confirm/x", b"", {}))[0] == 404
        case "unsubscribe":
            assert b"Leave the list?" in (await ask(step, "GET", "/some-token", b"", {}))[2]
            assert b"You are unsubscribed" in (await ask(step, "POST", "/some-token", b"", {}))[2]
        case "track":
            status, headers, body = await ask(step, "GET", "/o/some-token", b"", {})
            assert (status, headers["content-type"], body[:6]) == (200, "image/gif", b"GIF89a")
            assert (await ask(step, "GET", "/k/some-token/target", b"", {}))[0] == 404
        case "live":
            token = _links(state).live("C-0001", SystemClock().now() + 60_000, "local").partition("/live")[2]
            status, headers, body = await ask(step, "GET", token, b"", {})
            assert status == 200 and b"Not started" in body and b"Lumen Coffee" in body
            assert headers["content-security-policy"].startswith("default-src 'none'")
            status, headers, _ = await ask(step, "HEAD", f"{token}/events", b"", {})
            assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            assert (await ask(step, "GET", "/some-token/events", b"", {}))[0] == 404
        case "archive":
            status, headers, body = await ask(step, "GET", "/", b"", {})  # it is off until the Settings tab says otherwise
            assert status == 404 and b"There is no such page" in body and b"Lumen Coffee" in body
            assert headers["content-security-policy"].startswith("default-src 'none'")
            view = _links(state).view("C-0001").partition("/archive")[2]
            assert b"This mail cannot be shown here" in (await ask(step, "GET", view, b"", {}))[2]
            assert (await ask(step, "POST", view, b"", {}))[0] == 405
        case "webhooks":
            assert (await ask(step, "POST", "/generic", b"{}", {}))[0] == 401
            assert (await ask(step, "POST", "/nobody", b"{}", {}))[0] == 404
        case "record":
            await _refused(step, ask)
            message = event.Event("opened", "C-0001~q6urq6urq6urq6urq6urqw~", 1, label="machine").to_message()
            assert (await ask(step, "POST", "/", *push(state, message)))[0] == 204
        case "notify":
            await _refused(step, ask)
            message = event.Event("opened", "C-0001~q6urq6urq6urq6urq6urqw~", 1, label="machine").to_message()
            assert (await ask(step, "POST", "/", *push(state, message)))[0] == 204
        case "send_batch":
            await _refused(step, ask)
            status, _, body = await ask(step, "POST", "/", *push(state, {"campaign": "C-0001", "batch": "000000"}))
            assert (status, body) == (400, b"no such batch\n")
        case "privacy":
            await _refused(step, ask)
            assert (await ask(step, "POST", "/", *push(state, {})))[0] == 204
        case _:
            await _refused(step, ask)


async def _refused(step: str, ask: Ask) -> None:
    for headers in ({}, {"authorization": "Bearer forged"}):
        status, _, body = await ask(step, "POST", "/", b"{}", headers)
        assert (status, body) == (401, b"Not authenticated.\n")


def _links(state: Path) -> Links:
    """As every step makes them."""
    versions = json.loads((state / "secrets" / f"{SECRET}.json").read_text())
    return Links(URL, Tokens([bytes.fromhex(version["value"]) for version in versions]))
