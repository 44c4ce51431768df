"""The local twin: every step, with the bus, the Sheet, the folder and the mailbox around them, behind one address.

Steps are reached over real HTTP, with real tokens, exactly as Pub/Sub, Scheduler and readers reach them on Google. `local.stacks` says
where they run and what they stand on. All state is in one folder; on the embedded stack it survives kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from local import seed, stacks
from local.google import google_app
from local.issuer import LocalIssuer
from local.mailbox import Mailbox
from local.mailbox_pages import mailbox_routes
from local.pages import Desk, desk_routes
from local.returned import Returns
from local.steps import STEPS, TICKED, subscriptions
from shared import config
from shared.links import Links
from shared.stack.objects import PUBLIC
from shared.tokens import Tokens

ISSUER = "https://issuer.twin.localhost"
PUSHER = "pusher@twin.iam.localhost"
TENANT = "local"
WATCHED = 12 * 3_600_000  # ms a live page's address works
HERE = Path(__file__).parent


_MAILBOX = {"host": "127.0.0.1", "security": "none"}


class Busy(Exception):
    """The port or the state folder cannot be used; the message is the sentence to print."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would cut the pushes that are under way."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Pictures(StaticFiles):
    """The pictures of mails, as a bucket gives them out, and nothing that a browser could run."""

    def file_response(self, *args: Any, **given: Any) -> Response:
        response = super().file_response(*args, **given)
        response.headers.update(
            {
                "cache-control": "public, max-age=31536000, immutable",
                "content-security-policy": "default-src 'none'; sandbox",
                "x-content-type-options": "nosniff",
            }
        )
        return response


class Twin:
    """`state` is the twin's folder, `tick` the seconds between ticks, `smtp_delay` milliseconds the mailbox takes to accept a mail.

    Raises Busy.
    """

    def __init__(self, state: Path, port: int, tick: float, smtp_delay: int, stack: stacks.Name = "embedded") -> None:
        self.state = state.resolve()
        self.url = f"http://127.0.0.1:{port}"
        self._tick_every = tick
        self._ticking = asyncio.Lock()
        self.state.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.state / "lock")
        self._socket = _bound(port)
        _claim(self.state, stack)
        seed.templates(self.state / seed.FOLDER)
        self._issuer = LocalIssuer(self.state / "issuer", ISSUER)
        events_out = os.environ.get("EVENTS_OUT", "")
        self._secrets = seed.secrets(self.state, events_out)
        self._stack = stacks.chosen(stack, stacks.Plan(self.state, self.url, STEPS, subscriptions(events_out), self._sign))
        self._google = google_app(
            self.state,
            self.state / seed.FOLDER,
            seed.SHEET,
            identity=seed.IDENTITY,
            folder_id=seed.FOLDER,
        )
        self._smtp_delay = smtp_delay
        self._stop = asyncio.Event()

    def _sign(self, audience: str) -> str:
        return self._issuer.sign(audience, PUSHER)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGINT or SIGTERM, or until `stop`; `ready` is called when the twin answers. Raises Broken."""
        with _signals(self._stop):
            serving = asyncio.create_task(self._serve(ready))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving

    def stop(self) -> None:
        self._stop.set()

    async def _serve(self, ready: Callable[[], None]) -> None:
        """Until it is cancelled; what was brought up is taken down in the opposite order."""
        async with AsyncExitStack() as up:
            up.callback(self._google.close)
            mailbox, returns = await self._mailbox()
            up.push_async_callback(mailbox.stop)
            services = await up.enter_async_context(self._stack.services())
            settings = {**self._environment(mailbox.port), **services.settings}
            os.environ.update(settings)
            await seed.workbook_and_tenant(config.load(config.Base), self._google)
            apps = await up.enter_async_context(self._stack.steps({name: value for name, value in settings.items() if value}))
            self._tell(settings)
            app = dispatch(apps, self._rest(mailbox, returns, services))
            serving = await up.enter_async_context(self._listening(app))
            await services.bus.start()
            up.push_async_callback(services.bus.stop, grace=20)
            ticker = asyncio.create_task(self._ticker())
            up.callback(ticker.cancel)
            ready()
            await asyncio.wait([serving])

    async def _mailbox(self) -> tuple[Mailbox, Returns]:
        """The mailbox, started, and what comes back of its mails."""
        told, mailed = [(f"{self.url}/webhooks/{name}", await self._key(f"webhook-{name}")) for name in ("generic", "inbound")]
        clock = self._stack.clock
        mailbox = Mailbox(self.state / "mailbox.db", 0, self._smtp_delay, webhook_url=told[0], secret=told[1], clock=clock)
        await mailbox.start()
        return mailbox, Returns(mailbox, clock, told, mailed)

    async def _key(self, secret: str) -> bytes:
        [version] = await self._secrets.get(secret)
        return version.value

    @asynccontextmanager
    async def _listening(self, app: stacks.App) -> AsyncIterator[asyncio.Task[None]]:
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        config.proxy_headers = False  # shared.asgi reads them
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[self._socket]))
        try:
            yield serving
        finally:
            server.should_exit = True
            await asyncio.wait([serving])

    def _tell(self, settings: Mapping[str, str]) -> None:
        """For the demo, a process of its own: how it opens the store, and where each step is reached without a front door."""
        found = {"settings": settings, "endpoints": {step: self._stack.endpoint(step) for step in STEPS}}
        (self.state / "twin.json").write_text(json.dumps(found, indent=2))

    def _environment(self, smtp_port: int) -> dict[str, str]:
        """What Terraform sets on Google, for all steps at once; the settings of another stack go over it."""
        return {
            "STACK": "embedded",
            "STATE_DIR": str(self.state),
            "TENANT": TENANT,
            "PUBLIC_URL": self.url,
            "PUSH_AUTH": "oidc",
            "PUSH_AUDIENCE": self.url,
            "PUSH_ISSUER": ISSUER,
            "PUSH_EMAIL": PUSHER,
            "PUSH_CERTS": (self.state / "issuer" / "certs.json").as_uri(),
            "SHEETS_ENDPOINT": self.url,
            "DRIVE_ENDPOINT": self.url,
            "PROVIDERS": json.dumps([{"name": "mailbox", "kind": "smtp", "options": {**_MAILBOX, "port": str(smtp_port)}}]),
            "BOUNCE_DOMAIN": seed.BOUNCES,
            "LEASE_MS": "15000",
            "BUDGET_MS": "8000",
            "RETRY_MS": "2000",
            "WAIT_MS": "2000",
            "REFRESH_MS": "0",
            "EVENTS_OUT": os.environ.get("EVENTS_OUT", ""),
            "TRUSTED_HOPS": os.environ.get("TRUSTED_HOPS", "0"),  # more when something that adds X-Forwarded-For stands in front
        }

    def _rest(self, mailbox: Mailbox, returns: Returns, services: stacks.Services) -> stacks.App:
        desk = Desk(
            url=self.url,
            folder=self.state / seed.FOLDER,
            bus=services.bus,
            clock=self._stack.clock,
            mailbox=mailbox,
            tick=self.tick,
            live=self._live,
        )
        routes = [*services.routes, *self._google.routes, *mailbox_routes(mailbox, returns), *desk_routes(desk)]
        routes.append(Mount("/assets", _Pictures(directory=self.state / PUBLIC / "assets", check_dir=False)))
        return Starlette(routes=[Mount("/static", StaticFiles(directory=HERE / "static")), *routes])

    async def _live(self, campaign: str) -> str:
        """A signed address, as `python -m ops live` makes it."""
        clock = self._stack.clock
        links = Links(self.url, await Tokens.load(self._secrets, clock))
        return links.live(campaign, clock.now() + WATCHED, TENANT)

    async def _ticker(self) -> None:
        while True:
            try:
                await self.tick()
            except (aiohttp.ClientError, TimeoutError) as error:
                print(f"tick: {type(error).__name__}", flush=True)
            await asyncio.sleep(self._tick_every)

    async def tick(self) -> None:
        """What Cloud Scheduler does every minute: call the steps that tick. One at a time."""
        async with self._ticking, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
            for step in TICKED:
                headers = {"authorization": f"Bearer {self._sign(self.url)}"}
                async with session.post(self._stack.endpoint(step), headers=headers) as answer:
                    await answer.read()


def mounted(rest: stacks.App) -> stacks.App:
    """One ASGI app: `/{step}/…` goes to that step, mounted in this process, anything else to `rest`."""
    return dispatch(stacks.framework_apps(STEPS), rest)


def dispatch(apps: Mapping[str, stacks.App], rest: stacks.App) -> stacks.App:
    """One ASGI app: `/{step}/…` goes to that step's app, anything else to `rest`."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        head, slash, _ = scope.get("path", "").lstrip("/").partition("/")
        if head in apps:
            path = scope["path"] if slash else f"/{head}/"
            headers = [*scope["headers"], (b"function-execution-id", token_hex(6).encode())]  # as Google's front end does
            await apps[head]({**scope, "root_path": f"/{head}", "path": path, "headers": headers}, receive, send)
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


def _claim(state: Path, stack: stacks.Name) -> None:
    """Note whose folder it is. What the emulators forgot at their end is removed here as well; templates and keys stay."""
    mark = state / "stack"
    made = mark.read_text() if mark.exists() else "embedded" if (state / "store.db").exists() else ""
    if made not in ("", stack):
        raise Busy(f"{state} was made with STACK={made}, not {stack}: choose another folder with STATE=.")
    mark.write_text(stack)
    if made == "emulators":
        for file in (*state.glob("*.db*"), *state.glob("*.log")):
            file.unlink()


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    yield
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
