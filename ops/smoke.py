"""Looks at a deployed product from outside, as strangers and readers do, and says what does not hold.

    STACK=google GOOGLE_CLOUD_PROJECT=… TENANT=… PUBLIC_URL=https://… \\
    python -m ops smoke --address you@example.com --endpoints "$(terraform output -json endpoints)"

One line for each check: ok, FAILED or left out. The exit status is 1 when one failed. A sign-up leaves one unconfirmed subscriber
behind, whom nobody mails again. Seeing its mail go out needs the pepper, because the ledger knows people by their sid only:
roles/secretmanager.secretAccessor and roles/secretmanager.viewer on that secret, and roles/datastore.viewer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from shared import config
from shared.errors import BadInput, PipelineError
from shared.model import batch
from shared.model.address import parse, sid_of
from shared.model.face import Face
from shared.model.paths import CONFIRM, Paths
from shared.ports import Clock, Document, Store
from shared.stack.clock import open_clock
from shared.stack.secrets import only_pepper, open_secrets
from shared.stack.store import open_store

TIMEOUT = 30.0  # seconds for one request: a cold start fits in
ATTEMPTS, PAUSE = 5, 1.0  # of a request that finds nobody listening; seconds before the second, doubling
POLL = 2.0  # seconds between two looks at the ledger
AT_ONCE = 8  # requests
REFUSED = (401, 403, 404)  # Cloud Run's own check of the caller, or no way in from outside
STRANGER = "https://stranger.example/"
NOT_OURS = b"This link is not valid.\n"  # what a step of ours says of such a link, and no other server
LEAVE = (b'<form method="post">', b'name="page"')  # what unsubscribe shows, whoever asks
DAY = 86_400_000  # ms
Sleep = Callable[[float], Awaitable[None]]
Say = Callable[[str], None]


class Fault(Exception):
    """A check does not hold; the message is its sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence.rstrip())


class LeftOut(Exception):
    """A check cannot be made; the message is its sentence."""


@dataclass(frozen=True)
class Answer:
    """What came back. `location`: where a redirect leads, absolute."""

    status: int
    body: bytes
    location: str


class Smoke:
    """The checks. `public` has no trailing slash; `endpoints`: private step -> the URL where it is called.

    `sign_up` is the check that mails somebody; `regions`: where the public steps are; `say` gets the lines.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        public: str,
        endpoints: Mapping[str, str],
        sign_up: SignUp | None = None,
        *,
        regions: Sequence[str] = (),
        say: Say,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._session, self._public, self._endpoints, self._sign_up = session, public, endpoints, sign_up
        self._regions, self._say, self._sleep = regions, say, sleep

    async def passed(self, samples: int = 1, mail: bool = True) -> bool:
        """Run every check, each public one `samples` times over, because a share of the traffic goes to another revision; whether
        all held. `mail`: the sign-up too."""
        checks: list[tuple[str, Awaitable[str]]] = [
            ("health", self._each(samples, self._healthy)),
            ("forged click", self._each(samples, self._click)),
            ("unsubscribe page", self._each(samples, self._leave)),
            ("unsigned webhook", self._each(samples, self._webhook)),
            *((f"unsigned push to {step}", self._push(url)) for step, url in sorted(self._endpoints.items())),
        ]
        if mail and self._sign_up:
            checks.append(("sign-up", self._sign_up.check(self._send)))
        held = [await self._line(name, check) for name, check in checks]
        if not self._endpoints:
            self._say("left out  unsigned pushes: no endpoints were given.")
        if mail and not self._sign_up:
            self._say("left out  sign-up: no address was given (none is while paused), so no mail was seen to go out.")
        if len(self._regions) > 1:
            self._say(f"left out  other regions: of {', '.join(self._regions)} only the one nearest to here was asked.")
        self._say("left out  launch, record, report, inbox, notify and sync_sheet: no check calls them; their alerts tell.")
        return all(held)

    async def tagged(self, url: str) -> bool:
        """Whether subscribe is healthy at a revision's own URL."""
        return await self._line("health of the candidate", self._healthy(f"{url}/health"))

    async def _line(self, name: str, check: Awaitable[str]) -> bool:
        try:
            sentence = await check
        except (Fault, PipelineError) as fault:
            self._say(f"FAILED    {name}: {fault}")
            return False
        except LeftOut as reason:
            self._say(f"left out  {name}: {reason}")
            return True
        self._say(f"ok        {name}: {sentence}")
        return True

    async def _each(self, samples: int, check: Callable[[], Awaitable[str]]) -> str:
        """A check many times, a few at once; raises the first Fault."""
        left = asyncio.Semaphore(AT_ONCE)

        async def one() -> str:
            async with left:
                return await check()

        found = await asyncio.gather(*(one() for _ in range(samples)), return_exceptions=True)
        for error in found:
            if isinstance(error, BaseException):
                raise error
        return f"{found[0]}" + (f" ({samples} times)" if samples > 1 else "")

    async def _healthy(self, url: str = "") -> str:
        answer = await self._send("GET", url or f"{self._public}/subscribe/health")
        if answer.status != 200:
            raise Fault(f"answered {answer.status}, not 200. {_start(answer.body)}")
        return "200"

    async def _click(self) -> str:
        target = base64.urlsafe_b64encode(STRANGER.encode()).rstrip(b"=").decode()
        mail, signature = f"C-0001~{'A' * 22}~.{'A' * 22}", "A" * 22
        answer = await self._send("GET", f"{self._public}/track/k/{mail}/0.{target}.{signature}")
        host = urlsplit(answer.location).netloc
        if host and host != urlsplit(self._public).netloc:
            raise Fault(f"redirected ({answer.status}) to {host}: track is an open redirect.")
        if answer.status != 404:
            raise Fault(f"answered {answer.status}, not 404.")
        if answer.body != NOT_OURS:
            raise Fault(f"answered 404, but not as track does. {_start(answer.body)}")
        return "404, in the words of track"

    async def _leave(self) -> str:
        """A GET writes nothing, and shows the page for any token."""
        answer = await self._send("GET", f"{self._public}/unsubscribe/C-0001~{'A' * 22}~.{'A' * 22}")
        if answer.status != 200:
            raise Fault(f"answered {answer.status}, not 200. {_start(answer.body)}")
        if not all(part in answer.body for part in LEAVE):
            raise Fault(f"answered 200, but not with the page that asks. {_start(answer.body)}")
        return "200, the page that asks"

    async def _webhook(self) -> str:
        answer = await self._send("POST", f"{self._public}/webhooks/generic", json=[])
        if answer.status != 401:
            raise Fault(f"answered {answer.status}, not 401.")
        return "401"

    async def _push(self, url: str) -> str:
        envelope = {"message": {"data": base64.b64encode(b"{}").decode(), "messageId": "1"}, "subscription": "smoke"}
        answer = await self._send("POST", url, json=envelope)
        if answer.status not in REFUSED:
            raise Fault(f"answered {answer.status}: a stranger may call it.")
        return f"refused with {answer.status}" + (": nothing is found from outside" if answer.status == 404 else "")

    async def _send(self, method: str, url: str, **options: Any) -> Answer:
        """One request, again only while nobody listens there; raises Fault."""
        pause = PAUSE
        for attempt in range(ATTEMPTS):
            try:
                async with self._session.request(method, url, allow_redirects=False, **options) as answer:
                    location = answer.headers.get("location", "")
                    return Answer(answer.status, await answer.read(), urljoin(url, location) if location else "")
            except TimeoutError:
                raise Fault(f"no answer within {TIMEOUT:.0f} s.") from None
            except aiohttp.ClientConnectionError as error:
                if attempt == ATTEMPTS - 1:
                    raise Fault(f"cannot be reached ({type(error).__name__}).") from None
            except aiohttp.ClientError as error:
                raise Fault(f"its answer is broken ({type(error).__name__}).") from None
            await self._sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")


@dataclass(frozen=True)
class SignUp:
    """A sign-up whose confirmation has to be handed to the mail server within `patience` seconds. `address` is nobody else's."""

    store: Store
    paths: Paths
    pepper: bytes
    clock: Clock
    public: str
    address: str
    patience: float = 180.0
    now: Callable[[], float] = time.monotonic
    sleep: Sleep = asyncio.sleep

    async def check(self, send: Callable[..., Awaitable[Answer]]) -> str:
        """Raises Fault, LeftOut, PipelineError."""
        tenant = await self.store.get(self.paths.tenant, ["face"])
        if tenant and Face.of(tenant.data.get("face")).signup.captcha:
            raise LeftOut(
                f"the Settings ask for a CAPTCHA, which only a person passes, so no mail was seen to go out. Sign up at {self.public}"
                "/subscribe yourself."
            )
        sid = sid_of(self.pepper, self.paths.tenant_id, self.address)
        if await self.store.get(self.paths.subscriber(sid), ["created_at"]):
            raise Fault("this address has signed up before, and gets one confirmation a day: give another --run.")
        days = {self.clock.now() // DAY}
        started = self.now()
        answer = await send("POST", f"{self.public}/subscribe", json={"email": self.address, "name": "Smoke test"})
        if answer.status != 202:
            raise Fault(f"refused: answered {answer.status}, not 202. {_start(answer.body)}")
        days.add(self.clock.now() // DAY)
        if not await self.store.get(self.paths.subscriber(sid), ["created_at"]):
            raise Fault("accepted, but not recorded: no such subscriber is in this tenant's store.")
        names = [self.paths.batch(CONFIRM, f"{sid}.{day}") for day in sorted(days)]
        while True:
            found = next((one for one in await self.store.get_many(names) if one), None)
            state = _state(found)
            spent = self.now() - started
            if state == batch.SENT:
                return f"the mail server had the confirmation after {spent:.1f} s"
            if state in (batch.FAILED, batch.UNKNOWN, batch.SUPPRESSED, batch.CANCELLED):
                raise Fault(await self._ended(state, found))
            if spent > self.patience:
                raise Fault(f"after {spent:.0f} s the mail still waits: {_waiting(state, found)}")
            await self.sleep(POLL)

    async def _ended(self, state: int, found: Document | None) -> str:
        sentence = f"the mail ended as {batch.NAMES[state]}"
        if state != batch.FAILED or found is None:
            return f"{sentence}."
        await self.sleep(POLL)  # record is told in a message of its own
        delivery = await self.store.get(self.paths.delivery(CONFIRM, found.id), ["codes"])
        codes = delivery.data.get("codes", []) if delivery else []
        return (
            f"{sentence}: the mail server said {', '.join(codes)}."
            if codes
            else f"{sentence}; the mail server's words were not kept."
        )


def _state(found: Document | None) -> int:
    """The one mail's byte in the ledger, 0 where there is none yet."""
    return found.data["states"][0] if found and found.data["states"] else 0


def _waiting(state: int, found: Document | None) -> str:
    if found is None:
        return "send_batch has not begun with it. Does send-requests push to it?"
    if state == batch.HANDED:
        return "it was handed to the mail server, whose answer is not in."
    until = datetime.fromtimestamp(found.data["not_before"] / 1000, UTC).isoformat(sep=" ", timespec="seconds")
    if state == batch.DEFERRED:
        return f"the mail server cannot be reached or put it off; the next attempt is not before {until}."
    return f"send_batch waits until {until}. Has launch frozen the template confirm, and does the mail server answer?"


def plus(address: str, run: str) -> str:
    """`address` with `+smoke-{run}` before its @; raises BadInput."""
    local, _, domain = parse(address).rpartition("@")
    return parse(f"{local}{'-' if '+' in local else '+'}smoke-{run}@{domain}")


def _start(body: bytes) -> str:
    return " ".join(body[:200].decode(errors="replace").split())


def endpoints(text: str) -> dict[str, str]:
    """Private step -> URL, from `terraform output -json endpoints`; raises BadInput."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(url, str) and url.startswith("http") for url in found.values()):
        raise BadInput("The endpoints must be a JSON object: step -> URL.")
    return found


@asynccontextmanager
async def opened(
    given: config.Base, address: str, run: str, urls: str, regions: Sequence[str], patience: float, say: Say
) -> AsyncIterator[Smoke]:
    """The checks of a deployed product. `address`: "" leaves the sign-up out. Raises BadInput, ConfigError, Unavailable."""
    sign_up = None
    if address:
        sign_up = SignUp(
            store=open_store(given),
            paths=Paths(given.tenant),
            pepper=await only_pepper(open_secrets(given)),
            clock=open_clock(given),
            public=given.public_url,
            address=plus(address, run),
            patience=patience,
        )
    timeout, connector = aiohttp.ClientTimeout(total=TIMEOUT), aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Smoke(session, given.public_url, endpoints(urls), sign_up, regions=regions, say=say)
