"""CPU of a sign-up, a hit and an event through the real main.py, functions-framework and Starlette included, against a bare hello
in the same framework, called alike: the ASGI app with a scope made by hand, 16 requests under way at once, no sockets of ours.

Steps build themselves from the environment once per process, so each stack is measured in a process of its own, each with its own
hello. On Google that is the adapters' price (gRPC and protobuf, on sockets); the emulators are other processes.

    STACK=embedded python -m bench.requests     prints {what: µs a request, for each round}
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from functions_framework.aio import create_asgi_app_from_module

from local.emulators import Emulators
from local.google.secret_manager import secret_manager
from shared.adapters.firestore import Firestore
from shared.adapters.sqlite_bus import SCHEMA
from shared.adapters.sqlite_file import SqliteFile
from shared.model import batch, event, tenant
from shared.model.event import Event
from shared.model.face import Face, SignUp
from shared.model.ref import MailRef
from shared.ports import Create
from shared.push import STRIPPED

from . import letter, stage
from .report import Row, compared

ROUNDS = 3
REQUESTS = {"embedded": 800, "google": 320}  # of each kind a round; the emulators take most of the time
TOPICS = (batch.TOPIC, event.TOPIC)
AT_ONCE = 16
_ISSUER, _PUSHER = "https://accounts.google.com", "pusher@bench.iam.gserviceaccount.com"
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Call:
    """One request and the status that shows it was served."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def made(self, app: App) -> None:
        """Call the app; raises AssertionError for another answer."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "https",
            "root_path": "",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), text.encode()) for name, text in {"host": "x.example", **self.headers}.items()],
            "client": ("192.0.2.7", 40_000),
            "server": ("127.0.0.1", 8080),
        }
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app(scope, receive, send)
        if statuses != [self.status]:
            raise AssertionError(f"{self.method} {self.path[:20]}: answered {statuses}, not {self.status}")


def run(google: Emulators | None) -> list[Row]:
    """Raises AssertionError when a step does not serve."""
    settings = {"embedded": {"STACK": "embedded"}}
    if google:
        settings["google"] = {
            "STACK": "google",
            "GOOGLE_CLOUD_PROJECT": f"bench-{secrets.token_hex(4)}",
            "FIRESTORE_EMULATOR_HOST": google.firestore,
            "PUBSUB_EMULATOR_HOST": google.pubsub,
        }
    rows = []
    for name, variables in settings.items():
        found = _measured(variables)
        hello = found.pop("hello")
        rows += [compared(f"{what}, {name} / bare hello", "µs", spent, hello) for what, spent in found.items()]
    return rows


def _measured(variables: Mapping[str, str]) -> dict[str, list[float]]:
    """What a process of its own prints."""
    command = [sys.executable, "-m", "bench.requests"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr[-2000:])
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


async def measure(state: Path) -> dict[str, list[float]]:
    """µs a request, for each round, on the stack of the environment."""
    async with AsyncExitStack() as opened:
        given = await _prepared(state, opened)
        kinds: dict[str, tuple[App, Callable[[int], Call]]] = {
            "hello": (_app("bench.hello", "hello"), lambda n: Call("GET", "/", 200)),
            "a sign-up (subscribe)": (_app("functions.subscribe.main", "subscribe"), lambda n: _sign_up(given, n)),
            "a click (track)": (_app("functions.track.main", "track"), lambda n: _click(given, n)),
            "an event (record)": (_app("functions.record.main", "record"), lambda n: _event(given, n)),
        }
        found: dict[str, list[float]] = {name: [] for name in kinds}
        count = REQUESTS[os.environ["STACK"]]
        for number in range(ROUNDS + 1):
            for name, (app, make) in kinds.items():
                spent = await _timed(app, [make(number * count + n) for n in range(count)])
                if number:  # the first round builds the steps
                    found[name].append(spent)
    return found


async def _timed(app: App, calls: list[Call]) -> float:
    """µs of CPU a call."""
    started = time.process_time()
    for start in range(0, len(calls), AT_ONCE):
        await asyncio.gather(*(call.made(app) for call in calls[start : start + AT_ONCE]))
    return 1e6 * (time.process_time() - started) / len(calls)


async def _prepared(state: Path, opened: AsyncExitStack) -> stage.Stage:
    """The stage, its tenant, topics, and the environment Terraform would set."""
    os.environ |= {
        "STATE_DIR": str(state),
        "TENANT": stage.TENANT,
        "PUBLIC_URL": stage.BASE,
        "PUSH_AUTH": "iam",
        "K_SERVICE": "bench",
        "PUSH_AUDIENCE": stage.BASE,
        "PUSH_ISSUER": _ISSUER,
        "PUSH_EMAIL": _PUSHER,
    }
    if os.environ["STACK"] == "embedded":
        given = await stage.Stage.open(state)
        await embedded_topics(state)
    else:
        project = os.environ["GOOGLE_CLOUD_PROJECT"]
        given = await stage.Stage.open(state, Firestore.connect(project, emulator_host=os.environ["FIRESTORE_EMULATOR_HOST"]))
        await asyncio.to_thread(google_topics, os.environ["PUBSUB_EMULATOR_HOST"], project)
        double = await opened.enter_async_context(secret_manager(given.secrets))  # here: a secret is read once
        os.environ["SECRET_MANAGER_EMULATOR_HOST"] = double.address
    opened.push_async_callback(given.close)
    face = Face(signup=SignUp(tags=("coffee",))).document()
    known = tenant.document("Lumen Coffee", letter.IDENTITY, "sheet", "folder") | {"face": face}
    await given.store.commit([Create(given.paths.tenant, known)])
    return given


async def embedded_topics(state: Path) -> None:
    """With a subscription each."""
    bus = SqliteFile.open(state / "bus.db", SCHEMA)
    names = [(topic,) for topic in TOPICS]
    await bus.write(lambda connection: connection.executemany("INSERT INTO topics VALUES (?)", names) and None)
    pairs = [(topic, topic) for topic in TOPICS]
    await bus.write(lambda connection: connection.executemany("INSERT INTO subscriptions VALUES (?, ?)", pairs) and None)
    bus.close()


def google_topics(host: str, project: str) -> None:
    for topic in TOPICS:
        url = f"http://{host}/v1/projects/{project}/topics/{topic}"
        headers = {"content-type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(url, b"{}", headers, method="PUT"), timeout=30).close()


def _app(name: str, target: str) -> App:
    module = importlib.import_module(name)
    app: App = create_asgi_app_from_module(target, module.__file__, "http", module, module.__spec__)  # type: ignore[no-untyped-call]
    return app


def _sign_up(given: stage.Stage, n: int) -> Call:
    headers = {"content-type": "application/x-www-form-urlencoded", "user-agent": _BROWSER}
    fields = {"email": f"new{n}@example.com", "name": "Nia", "tags": "coffee", **given.proof()}
    return Call("POST", "/", 200, headers, urlencode(fields).encode())


def _click(given: stage.Stage, n: int) -> Call:
    token = given.links.track_token(MailRef(stage.CAMPAIGN, f"{n:032x}"))
    target = given.links.signed_target(stage.CAMPAIGN, 0, "https://lumen-coffee.example/shop/lot-1")
    return Call("GET", f"/k/{token}/{target}", 302, {"user-agent": _BROWSER})


def _event(given: stage.Stage, n: int) -> Call:
    """A push as Cloud Run hands it on: the token verified, its signature replaced."""
    message = Event("clicked", MailRef(stage.CAMPAIGN, f"{n:032x}").text, 1_767_225_600_000, label="human", link=3).to_message()
    data = base64.b64encode(json.dumps(message).encode()).decode()
    now = int(time.time())
    claims = {"iss": _ISSUER, "aud": stage.BASE, "email": _PUSHER, "email_verified": True, "iat": now, "exp": now + 3600}
    token = ".".join([_segment({"alg": "RS256"}), _segment(claims), STRIPPED])
    body = {"message": {"data": data, "messageId": str(n)}, "subscription": "record"}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    return Call("POST", "/", 204, headers, json.dumps(body).encode())


def _segment(claims: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


if __name__ == "__main__":
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), stage.folder() as folder:  # the steps' own log
        figures = asyncio.run(measure(folder))
    print(json.dumps(figures))
