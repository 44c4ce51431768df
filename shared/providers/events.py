"""What the callbacks of several providers share: proof by a password, JSON, and what may go into an Event."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from shared.errors import BadInput, BadToken, Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.logs import log
from shared.model.event import Event, Type
from shared.model.ref import MailRef
from shared.providers.signatures import same, texts

Bounce = Literal["hard", "counts", ""]  # what a bounce says of the address, see Event; "" is nothing

EARLIEST: Final = 946_684_800_000  # 2000-01-01: a smaller time is in other units, or none
AHEAD: Final = 86_400_000  # ms that the provider's clock may run before ours

_DIGITS = re.compile(r"[0-9]{1,12}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,39}")
_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,200}")
_REPLY = re.compile(r"(?:smtp; ?)?([245][0-9]{2})(?![0-9.])(?:[ -]#?([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.]))?")


def check_login(request: Request, keys: Sequence[bytes], *headers: str) -> None:
    """Raises Unauthenticated unless the caller logs in with a key: "user:password" by HTTP basic (RFC 7617), a token as bearer (RFC
    6750), or a token alone in one of `headers`."""
    scheme, _, login = request.headers.get("authorization", "").partition(" ")
    for key in texts(keys):
        pairs = [(request.headers.get(name, ""), key) for name in headers]
        if scheme.lower() == "basic":
            pairs.append((login, base64.b64encode(key.encode()).decode()))
        elif scheme.lower() == "bearer":
            pairs.append((login, key))
        if any(same(given, expected) for given, expected in pairs):
            return
    raise Unauthenticated("webhook: no valid login")


def objects(body: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON body, one or a list of them; raises BadInput."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput("The body must be JSON.") from None
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(item, dict) for item in listed):
        raise BadInput("The body must be a JSON object, or a list of them.")
    return listed


def listed(
    found: Iterable[dict[str, Any]], read: Callable[[dict[str, Any], Links, int], Event | None], links: Links, now: int
) -> list[Event]:
    """What `read` makes of each object, without None: what is left out, or of no mail of ours."""
    return [event for item in found if (event := read(item, links, now))]


def name_of(item: dict[str, Any]) -> str:
    """The name that an object has in `event`; raises BadInput."""
    name = item.get("event")
    if not isinstance(name, str):
        raise BadInput("Each event must have its name in event.")
    return name


def within(value: object, *path: str) -> Any:
    """What lies in nested objects under these names; None where there is no such thing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text(value: object) -> str:
    """A text or a whole number as text; "" for anything else."""
    return value if isinstance(value, str) else str(value) if type(value) is int and 0 <= value < 1 << 128 else ""


def ref_in(data: object) -> Any:
    """`ref` of an object, or of one that is written as JSON; None when there is none."""
    try:
        return within(json.loads(data) if isinstance(data, str) else data, "ref")
    except (ValueError, RecursionError):
        return None


def mail_of(provider: str, links: Links, *found: object) -> str | None:
    """The reference of the first that is one, or a Message-ID of ours. None is logged: the event is of somebody else's mail."""
    for candidate in map(text, found):
        for read in (MailRef.parse, links.read_message_id):
            try:
                return read(candidate).text
            except BadToken:
                continue
    log("WARNING", "webhook: an event of no mail of ours", provider=provider)
    return None


def seconds(value: object, now: int) -> int:
    """A Unix time in seconds, as a number or in digits, in ms; raises BadInput for one that cannot be at `now` (ms)."""
    digits = text(value)
    return _possible(int(digits) * 1000 if _DIGITS.fullmatch(digits) else 0, now)


def iso(value: object, now: int) -> int:
    """An ISO 8601 time, in UTC unless it says otherwise, in ms; raises BadInput for one that cannot be at `now` (ms)."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
        return _possible(int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000), now)
    except (ValueError, OverflowError):
        raise BadInput("The time of an event must be in ISO 8601.") from None


def _possible(at: int, now: int) -> int:
    if not EARLIEST <= at <= now + AHEAD:
        raise BadInput("The time of an event must be since 2000 and at most a day ahead.")
    return at


def reply(*found: object) -> str:
    """The codes at the start of the first that is an SMTP server's answer, like "550 5.1.1"; else ""."""
    match = next(filter(None, map(_REPLY.match, map(text, found))), None)
    return " ".join(filter(None, match.groups())) if match else ""


def made(
    provider: str, type: Type, ref: str, at: int, *, bounce: Bounce = "", codes: Sequence[object] = (), id: object = ""
) -> Event:
    """A valid Event. Of `codes` the first that is a number or a short word is taken, never a sentence; an `id` of another form is
    left out."""
    event = Event(
        type=type,
        ref=ref,
        at=at,
        hard=type == "bounced" and bounce == "hard",
        counts=type == "bounced" and bounce == "counts",
        code=next(filter(_WORD.fullmatch, map(text, codes)), ""),
        provider=provider,
        id=next(filter(_ID.fullmatch, [text(id)]), ""),
    )
    return Event.from_message(event.to_message())
