"""What providers with an HTTP API share: a window cut into their calls, the culprit of a refused call found, texts filled in.

A provider's file offers an `Api`: how a call for some mails is written, and what its answer means for each of them. From that
`ApiSender` makes a `Sender`:

- mails that share a letter go in one call, nobody twice, as many as the provider takes, and within its size;
- a call that was refused whole, which is certain, is made again without the mails that the provider blames; where it blames none, the
  two halves go apart until the culprit stands alone. After MOST_REFUSED of these the rest is "temporary": nobody fails for another's sake;
- after "throttle", "ours", "down" and "unknown" no further call is begun. Those left after an unknown one are "down": not handed over.

Bounces go to the provider, which tells of them by webhook: neither the envelope's sender nor `Outgoing.return_path` is used.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from shared.errors import ConfigError, Denied, PipelineError, Unavailable
from shared.ports import Outcome, Outgoing, Stop

if TYPE_CHECKING:
    from shared.providers.api_http import Http

MOST_REFUSED: Final = 60  # calls refused whole in one `send`, enough to find six culprits among a thousand
CHECKED_FOR: Final = 3600.0  # seconds that credentials are believed once the provider took them
ATTACHED: Final = 10_000_000  # bytes of a call for one mail with attachments: the least that they all document (Postmark)
FRESH: Final = 3.0  # seconds after an answer in which its connection is surely still there (see api_http.KEPT)

_RECIPIENT = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")

_STATUSES: Final[Mapping[int, Literal["ours", "throttle", "down"]]] = {  # others: see `of_status`
    **dict.fromkeys((401, 402, 403, 404, 405, 406, 409, 415, 451), "ours"),
    408: "down",  # the request did not arrive whole (RFC 9110 §15.5.9)
    429: "throttle",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names are lower-case. The body is b"" when it could not be read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The decoded body, None when it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Lost(Exception):
    """No answer. `kind`: "down" when the provider cannot have taken the request, else "unknown"; `code`: the error's class."""

    def __init__(self, kind: Literal["down", "unknown"], code: str) -> None:
        super().__init__(code)
        self.kind: Literal["down", "unknown"] = kind
        self.code = code


@dataclass(frozen=True, slots=True)
class Refused:
    """A call refused whole, for certain. `blamed`: what the provider says of single mails, by their place in the call; `alone`: what
    such an answer means for a call of one mail."""

    alone: Outcome
    blamed: Mapping[int, Outcome] = field(default_factory=dict)


Reading: TypeAlias = "list[Outcome] | Refused"


class Api(Protocol):
    """One provider's API. `name`: its kind; `endpoint`: its root URL; `window`: most mails of one call; `size`: most bytes of one;
    `lanes`: calls of one `send` under way at once."""

    name: str
    endpoint: str
    window: int
    size: int
    lanes: int

    def weight(self, mail: Outgoing) -> int:
        """By how many bytes this mail makes a call longer, roughly; `size` when it cannot share one."""
        ...

    def call(self, mails: Sequence[Outgoing], secret: str) -> Call:
        """The call that sends mails which share a letter; one with `attachments` comes alone. Raises ConfigError for a secret of the
        wrong form."""
        ...

    def read(self, answer: Answer, mails: Sequence[Outgoing]) -> Reading:
        """What an answer means: one outcome per mail, in order, or that the call was refused."""
        ...

    def probe(self, secret: str) -> Call:
        """A cheap call that tells whether the credentials are good, and sends nothing. Raises ConfigError as `call`."""
        ...

    def sound(self, answer: Answer) -> bool:
        """Whether the probe's answer says that they are."""
        ...


@dataclass(slots=True)
class _Run:
    """One `send`: `waiting` are the places of the mails of calls still to be made."""

    mails: Sequence[Outgoing]
    outcomes: list[Outcome | None]
    waiting: deque[list[int]]
    stop: Stop
    rest: Outcome | None = None  # for those left, once no further call is to be begun
    refused: int = 0


@dataclass(slots=True)
class _Filling:
    """A call to which mails are still added."""

    places: list[int] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    weight: int = 0


class ApiSender:
    """A `Sender` over one Api. `name`: what the operator calls it; `secret` is asked for at each call."""

    form: Literal["letter"] = "letter"

    def __init__(self, name: str, api: Api, secret: Callable[[], Awaitable[str]], http: Http | None = None) -> None:
        from shared.providers.api_http import Http  # 360 ms: only whoever sends needs it

        self.api = api
        self.window = api.window
        self._name, self._secret = name, secret
        self._http = http or Http()
        self._checking = asyncio.Lock()
        self._checked = ("", 0.0)  # the secret that was good, and until when
        self._heard = -FRESH

    async def ready(self) -> None:
        """Make sure of a live connection, and once an hour of the credentials. Raises Unavailable, Denied with the provider's code."""
        try:
            async with self._checking:
                secret = await self.secret()
                if self._checked[0] != secret or time.monotonic() > self._checked[1]:
                    answer = await self.exchange(self.api.probe(secret))
                    if answer.status != 429 and not self.api.sound(answer):  # a probe too many says nothing of the credentials
                        reading = self.api.read(answer, [Outgoing("")])
                        meant = reading.alone if isinstance(reading, Refused) else reading[0]
                        if meant.kind == "ours":
                            raise Denied(meant.code)
                        raise Unavailable(self._name, str(answer.status))
                    self._checked = secret, time.monotonic() + CHECKED_FOR
                elif time.monotonic() - self._heard > FRESH:
                    await self.exchange(Call("HEAD", self.api.endpoint))
        except ConfigError as error:
            raise Unavailable(self._name, str(error)) from None

    async def send(self, envelope_from: str, mails: Sequence[Outgoing], stop: Stop | None = None) -> list[Outcome]:
        """See `Sender.send`. A recipient that is no plain ASCII address is "message"."""
        run = _Run(mails, [None] * len(mails), deque(), stop or Stop())
        fit = [place for place, mail in enumerate(mails) if _RECIPIENT.fullmatch(mail.recipient)]
        run.waiting.extend(self._calls(mails, fit))
        await asyncio.gather(*(self._lane(run) for _ in range(min(self.api.lanes, len(run.waiting)))))
        rest = run.rest or Outcome("unsent")
        for places in run.waiting:
            for place in places:
                run.outcomes[place] = rest
        return [outcome or Outcome("message", "address") for outcome in run.outcomes]

    async def exchange(self, call: Call) -> Answer:
        """Make a call of the Api's own; raises Unavailable."""
        try:
            answer = await self._http.exchange(call)
        except Lost as error:
            raise Unavailable(self._name, error.code) from None
        self._heard = time.monotonic()
        return answer

    async def secret(self) -> str:
        """The newest key, without the line end that it was stored with; raises as `Secrets.get`."""
        return (await self._secret()).strip()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _calls(self, mails: Sequence[Outgoing], fit: Iterable[int]) -> list[list[int]]:
        """The places of `fit` mails, cut into calls: one letter each, no address twice, at most a window."""
        calls: list[list[int]] = []
        filling: dict[int, _Filling] = {}  # by letter
        for place in fit:
            mail = mails[place]
            if mail.letter is None:
                raise ValueError("a sender of letters was given a mail without one")
            to, weight = mail.recipient.lower(), self.api.weight(mail)
            if weight >= self.api.size or mail.attachments:
                calls.append([place])
                continue
            call = filling.get(id(mail.letter))
            if call is None or to in call.taken or len(call.places) == self.window or call.weight + weight > self.api.size:
                call = filling[id(mail.letter)] = _Filling()
                calls.append(call.places)
            call.places.append(place)
            call.taken.add(to)
            call.weight += weight
        return calls

    async def _lane(self, run: _Run) -> None:
        while run.waiting and not run.rest and not run.stop.come:
            places = run.waiting.popleft()
            mails = [run.mails[place] for place in places]
            reading = await self._hand_over(mails)
            settled = self._narrowed(run, places, reading) if isinstance(reading, Refused) else reading
            for place, outcome in zip(places, settled, strict=True):
                run.outcomes[place] = outcome
            run.rest = run.rest or _rest([outcome for outcome in settled if outcome])

    async def _hand_over(self, mails: Sequence[Outgoing]) -> Reading:
        try:
            call = self.api.call(mails, await self.secret())
        except ConfigError:
            return [Outcome("ours", "secret")] * len(mails)
        except PipelineError as error:
            return [Outcome("down", type(error).__name__)] * len(mails)
        if len(call.body) > (ATTACHED if mails[0].attachments else self.api.size):
            return Refused(Outcome("message", "size"))
        try:
            answer = await self._http.exchange(call)
        except Lost as error:
            return [Outcome(error.kind, error.code)] * len(mails)
        self._heard = time.monotonic()
        return self.api.read(answer, mails)

    def _narrowed(self, run: _Run, places: list[int], refused: Refused) -> Sequence[Outcome | None]:
        """What a refused call settles; the mails that it does not settle (None) wait for another."""
        if len(places) == 1:
            return [refused.blamed.get(0, refused.alone)]
        run.refused += 1
        if run.refused > MOST_REFUSED:
            return [Outcome("temporary", refused.alone.code)] * len(places)
        left = [place for n, place in enumerate(places) if n not in refused.blamed]
        if len(left) < len(places):
            run.waiting.extendleft([left] if left else [])
        else:
            middle = len(left) // 2
            run.waiting.extendleft((left[middle:], left[:middle]))
        return [refused.blamed.get(n) for n in range(len(places))]


def _rest(outcomes: Sequence[Outcome]) -> Outcome | None:
    """What the mails of calls not yet begun get, None to go on."""
    by_kind = {outcome.kind: outcome for outcome in outcomes}
    if throttle := by_kind.get("throttle"):
        return throttle
    if len(by_kind) == 1 and (found := by_kind.get("ours") or by_kind.get("down")):
        return found
    return Outcome("down") if "unknown" in by_kind else None


def of_status(answer: Answer, down: Collection[int] = (), throttle: Collection[int] = ()) -> Outcome | None:
    """What the status alone says of every mail of the call; None for the 4xx where the body has the say (400, 413, 422 …). A 2xx that
    the provider does not document is "unknown".

    `down`: those of the 5xx of which the provider's documentation says that nothing was done; else they are "unknown".
    """
    status, code = answer.status, str(answer.status)
    if status in throttle:
        return Outcome("throttle", code)
    if status in down:
        return Outcome("down", code)
    if status in _STATUSES:
        return Outcome(_STATUSES[status], code)
    if status >= 500 or status < 300:
        return Outcome("unknown", code)
    return Outcome("ours", code) if 300 <= status < 400 else None


def endpoint(given: str, name: str) -> str:
    """A root URL without a trailing slash; raises ConfigError unless it is https, or http on this machine (for tests)."""
    parts = urlsplit(given)
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
        raise ConfigError(f"PROVIDERS: {name}: the endpoint must be an https:// address")
    return given.rstrip("/")
