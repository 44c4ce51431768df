"""The local twin: every step mounted in one process, with the bus, the Sheet, the folder and the mailbox around them.

Steps are reached over real HTTP, with real tokens, exactly as Pub/Sub, Scheduler and readers reach them on Google. All state is in one
folder and survives kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, Any

import aiohttp
import uvicorn
from functions_framework.aio import create_asgi_app_from_module
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from local import seed
from local.bus import LocalBus, Subscription
from local.google import google_app
from local.issuer import LocalIssuer
from local.mailbox import Mailbox
from local.mailbox_pages import mailbox_routes
from local.pages import Desk, desk_routes
from shared import config
from shared.adapters.embedded import FileClock
from shared.model import batch, console, event

STEPS = ("subscribe", "unsubscribe", "track", "webhooks", "launch", "send_batch", "record", "sync_sheet")
PUSHED = {"send_batch": batch.TOPIC, "record": event.TOPIC}  # step -> the topic it consumes
TICKED = ("launch", "sync_sheet")
ISSUER = "https://issuer.twin.localhost"
PUSHER = "pusher@twin.iam.localhost"
SYSTEM_TABS = (
    console.RESULTS,
    console.IMPORT_RESULTS,
    console.SUBSCRIBERS,
    console.SUPPRESSIONS,
    console.DASHBOARD,
    console.ACTIVITY,
)
HERE = Path(__file__).parent


class Busy(Exception):
    """The port or the state folder is in use; the message is the sentence to print."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would cut the pushes that are under way."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Twin:
    """`state` is the twin's folder, `tick` the seconds between ticks, `smtp_delay` milliseconds the mailbox takes to accept a mail."""

    def __init__(self, state: Path, port: int, tick: float, smtp_delay: int) -> None:
        self.state = state.resolve()
        self.url = f"http://127.0.0.1:{port}"
        self._tick_every = tick
        self._ticking = asyncio.Lock()
        self.state.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.state / "lock")
        self._socket = _bound(port)
        seed.templates(self.state / seed.FOLDER)
        self._issuer = LocalIssuer(self.state / "issuer", ISSUER)
        self._secrets = seed.secrets(self.state)
        self.clock = FileClock(self.state / "clock")
        self._google = google_app(
            self.state, self.state / seed.FOLDER, seed.SHEET, folder_id=seed.FOLDER, system_tabs=SYSTEM_TABS
        )
        self._smtp_delay = smtp_delay
        self._stop = asyncio.Event()
        subscriptions = [
            Subscription(step, topic, f"{self.url}/{step}", self.url, ack_deadline=60, min_backoff=0.5, max_backoff=30)
            for step, topic in PUSHED.items()
        ]
        self.bus = LocalBus(self.state / "bus.db", subscriptions, self._sign)

    def _sign(self, audience: str) -> str:
        return self._issuer.sign(audience, PUSHER)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGINT or SIGTERM, or until `stop`; `ready` is called when the twin answers."""
        [key] = await self._secrets.get("webhook-generic")
        webhook = f"{self.url}/webhooks/generic"
        mailbox = Mailbox(self.state / "mailbox.db", 0, self._smtp_delay, webhook_url=webhook, secret=key, clock=self.clock)
        await mailbox.start()
        os.environ.update(self._environment(mailbox.port))
        await seed.workbook_and_tenant(config.load(config.Base), self._google)
        server = _Server(uvicorn.Config(self._app(mailbox), log_level="warning", access_log=False, lifespan="off"))
        with _signals(self._stop):
            serving = asyncio.create_task(server.serve(sockets=[self._socket]))
            await self.bus.start()
            ticker = asyncio.create_task(self._ticker())
            ready()
            await asyncio.wait([asyncio.create_task(self._stop.wait()), serving], return_when=asyncio.FIRST_COMPLETED)
            ticker.cancel()
            await self.bus.stop(grace=20)
            server.should_exit = True
            await serving
        await mailbox.stop()
        self._google.close()

    def stop(self) -> None:
        self._stop.set()

    def _environment(self, smtp_port: int) -> dict[str, str]:
        """What Terraform sets on Google, for all steps at once."""
        return {
            "STACK": "embedded",
            "STATE_DIR": str(self.state),
            "TENANT": "local",
            "PUBLIC_URL": self.url,
            "PUSH_AUTH": "oidc",
            "PUSH_AUDIENCE": self.url,
            "PUSH_ISSUER": ISSUER,
            "PUSH_EMAIL": PUSHER,
            "PUSH_CERTS": (self.state / "issuer" / "certs.json").as_uri(),
            "SHEETS_ENDPOINT": self.url,
            "DRIVE_ENDPOINT": self.url,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(smtp_port),
            "SMTP_SECURITY": "none",
            "LEASE_MS": "15000",
            "BUDGET_MS": "8000",
            "RETRY_MS": "2000",
            "WAIT_MS": "2000",
            "REFRESH_MS": "0",
        }

    def _app(self, mailbox: Mailbox) -> Callable[..., Awaitable[None]]:
        desk = Desk(
            url=self.url, folder=self.state / seed.FOLDER, bus=self.bus, clock=self.clock, mailbox=mailbox, tick=self.tick
        )
        routes = [*self._google.routes, *mailbox_routes(mailbox), *desk_routes(desk)]
        rest = Starlette(routes=[Mount("/static", StaticFiles(directory=HERE / "static")), *routes])
        return mounted(rest)

    async def _ticker(self) -> None:
        while True:
            try:
                await self.tick()
            except (aiohttp.ClientError, TimeoutError) as error:
                print(f"tick: {type(error).__name__}", flush=True)
            await asyncio.sleep(self._tick_every)

    async def tick(self) -> None:
        """What Cloud Scheduler does every minute: call launch, then sync_sheet. One at a time."""
        async with self._ticking, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
            for step in TICKED:
                headers = {"authorization": f"Bearer {self._sign(self.url)}"}
                async with session.post(f"{self.url}/{step}", headers=headers) as answer:
                    await answer.read()


def mounted(rest: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """One ASGI app: `/{step}/…` goes to that step's functions-framework app, anything else to `rest`."""
    apps: dict[str, Any] = {}
    for step in STEPS:
        module = importlib.import_module(f"functions.{step}.main")
        apps[step] = create_asgi_app_from_module(step, module.__file__, "http", module, module.__spec__)  # type: ignore[no-untyped-call]

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        head, slash, _ = scope.get("path", "").lstrip("/").partition("/")
        if head in apps:
            path = scope["path"] if slash else f"/{head}/"
            await apps[head]({**scope, "root_path": f"/{head}", "path": path}, receive, send)
        else:
            await rest(scope, receive, send)

    return app


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        raise Busy(f"Port {port} is in use: stop what listens there, or choose another with PORT=8081.") from None
    listener.listen(1024)  # whoever calls before uvicorn accepts waits a moment instead of being refused
    return listener


def _locked(file: Path) -> IO[str]:
    """Hold the state folder for as long as the process lives."""
    handle = file.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Busy(f"Another twin is using {file.parent}: stop it first.") from None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    yield
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
