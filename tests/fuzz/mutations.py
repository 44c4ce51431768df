"""A valid callback, changed at one place that its proof covers."""

from __future__ import annotations

import base64
import gzip
import hmac
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from shared.http import Request
from shared.providers import mandrill_events, twilio_events
from shared.providers.signatures import URL, WINDOW, addressed, proof
from tests.providers.webhook_contract import LINKS, NOW
from tests.providers.webhook_samples import mutated

from .asking import Call, Headers

HUGE = (2 << 20) + 1  # bytes: over what the step reads
ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2s")


@dataclass(frozen=True)
class Attempt:
    """`now`: when it comes (ms); `keys`: what the provider's secret holds then, None for its keys."""

    call: Call
    now: int = NOW
    keys: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class Given:
    """Two valid callbacks of a provider. `proofs`: the headers that prove; `fields`: what proves in the body, and what that covers;
    `signed`: what is signed by HMAC of which algorithm, else None."""

    good: Call
    other: Call
    proofs: tuple[bytes, ...]
    fields: tuple[tuple[str, ...], ...]
    keys: tuple[bytes, ...]
    timed: bool
    providers: tuple[str, ...]
    signed: Callable[[Call, str], Call] | None


Mutator = Callable[[random.Random, Given], "Attempt | None"]


def raw(text: str) -> bytes:
    """A header's value as bytes: what latin-1 has in it, else UTF-8; never what ends a header."""
    try:
        found = text.encode("latin-1")
    except UnicodeEncodeError:
        found = text.encode("utf-8", "surrogatepass")
    return found.translate(None, b"\r\n\0")


def with_header(call: Call, name: bytes, *values: bytes) -> Call:
    """The call with these lines of one name, last; none takes it away."""
    rest = tuple(pair for pair in call.headers if pair[0] != name)
    return replace(call, headers=(*rest, *((name, value) for value in values)))


def header(call: Call, name: bytes) -> bytes:
    """The value that counts; b"" when there is none."""
    return dict(call.headers).get(name, b"")


def with_body(call: Call, body: bytes) -> Call:
    return replace(call, chunks=(body,))


def to_call(request: Request) -> Call:
    """As it comes over the wire."""
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in request.query.items())
    target = f"/{request.path}" + (f"?{query}" if query else "")
    headers: Headers = tuple((name.encode(), raw(value)) for name, value in request.headers.items() if name != URL)
    return Call("POST", target.encode(), headers, (request.body,))


def flipped(chance: random.Random, data: bytes, most: int = 3) -> bytes:
    """One to three bits of it."""
    found = bytearray(data)
    for _ in range(chance.randint(1, most) if data else 0):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def flip_body(chance: random.Random, given: Given) -> Attempt:
    return Attempt(with_body(given.good, flipped(chance, given.good.body)))


def spoil_body(chance: random.Random, given: Given) -> Attempt:
    body = mutated(chance, given.good.body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogatepass")
    return Attempt(with_body(given.good, body))


def cut_body(chance: random.Random, given: Given) -> Attempt:
    body, at = given.good.body, chance.randrange(len(given.good.body))
    return Attempt(with_body(given.good, chance.choice([body[:at], body[at:], body[:at] + body[at + 1 :], body[::-1]])))


def other_body(chance: random.Random, given: Given) -> Attempt:
    """Empty, longer, or in another encoding."""
    body = given.good.body
    text = body.decode("latin-1")
    found = [b"", b" ", b"{}", b"[]", b"null", body + body, body + b"\n", b"\xef\xbb\xbf" + body, text.encode("utf-16")]
    found += [
        body.replace(b":", b" :"),
        body.replace(b'"', b"'"),
        body.replace(b"\n", b"\r\n"),
        body + bytes(chance.randrange(9)),
    ]
    found += [base64.b64encode(body), quote(body).encode(), body.upper(), body.replace(b"delivered", b"complained")]
    if chance.random() < 0.1:
        packed = with_header(given.good, b"content-encoding", b"gzip")
        return Attempt(with_body(packed, gzip.compress(body)))
    return Attempt(with_body(given.good, chance.choice(found)))


def huge_body(chance: random.Random, given: Given) -> Attempt | None:
    if chance.random() > 0.03:  # each is slow
        return None
    return Attempt(replace(given.good, chunks=(given.good.body, b" " * (HUGE if chance.random() < 0.8 else HUGE // 3))))


def flip_header(chance: random.Random, given: Given) -> Attempt | None:
    if not given.proofs:
        return None
    name = chance.choice(given.proofs)
    value = flipped(chance, header(given.good, name)).translate(None, b"\r\n\0")
    return Attempt(with_header(given.good, name, value))


def spoil_header(chance: random.Random, given: Given) -> Attempt | None:
    if not given.proofs:
        return None
    name = chance.choice(given.proofs)
    return Attempt(with_header(given.good, name, raw(mutated(chance, header(given.good, name).decode("latin-1")))))


def lose_header(chance: random.Random, given: Given) -> Attempt | None:
    """Gone, empty, under another name, or cut."""
    if not given.proofs:
        return None
    name = chance.choice(given.proofs)
    value = header(given.good, name)
    bare = with_header(given.good, name)
    at = chance.randrange(len(value))
    renamed = replace(bare, headers=(*bare.headers, (chance.choice([b"x-" + name, name[2:], name.replace(b"-", b"_")]), value)))
    shorter = [with_header(given.good, name, one) for one in (b"", b" ", value[:at], value[at:], value[:1])]
    return Attempt(chance.choice([bare, renamed, *shorter]))


def repeat_header(chance: random.Random, given: Given) -> Attempt | None:
    """Twice: a valid one, then another."""
    if not given.proofs:
        return None
    name = chance.choice(given.proofs)
    value = header(given.good, name)
    last = chance.choice([b"", value[:-1], flipped(chance, value).translate(None, b"\r\n\0"), header(given.other, name) + b"x"])
    return Attempt(with_header(given.good, name, value, last))


def recode_header(chance: random.Random, given: Given) -> Attempt | None:
    """The same in another encoding."""
    if not given.proofs:
        return None
    name = chance.choice(given.proofs)
    value = header(given.good, name)
    scheme, space, rest = value.rpartition(b" ")
    version, comma, rest = rest.rpartition(b",")
    start = scheme + space + version + comma
    try:
        decoded = base64.b64decode(rest, validate=True)
    except ValueError:
        decoded = rest
    found = [
        rest.swapcase(),
        rest.upper(),
        rest.lower(),
        rest + b"=",
        rest.rstrip(b"="),
        decoded.hex().encode(),
        quote(rest).encode(),
    ]
    found += [
        base64.b64encode(rest),
        base64.b85encode(decoded),
        b'"' + rest + b'"',
        rest + b", " + rest,
        rest[::-1],
        b"%" + rest.hex().encode(),
    ]
    found += [base64.b64encode(decoded + b"\0"), base64.b64encode(decoded[:-1]), base64.b64encode(decoded[: len(decoded) // 2])]
    schemes = [b"Basic ", b"Bearer ", b"Digest ", b"v1,", b"v2,", b"v1a,", b"sha256=", b"Basic\t", b""]
    started = start if chance.random() < 0.7 else chance.choice(schemes)
    return Attempt(with_header(given.good, name, started + (chance.choice(found) if chance.random() < 0.8 else rest)))


def any_header(chance: random.Random, given: Given) -> Attempt | None:
    if not given.proofs:
        return None
    name = chance.choice(given.proofs)
    scheme = chance.choice([b"", b"Basic ", b"Bearer ", b"v1,"])
    text = chance.choice(
        [chance.randbytes(chance.randrange(70)).translate(None, b"\r\n\0"), base64.b64encode(chance.randbytes(32)), b"Og=="]
    )
    return Attempt(with_header(given.good, name, scheme + text))


def other_key(chance: random.Random, given: Given) -> Attempt:
    """The provider signs, or logs in, with a key that is none here."""
    key = given.keys[0].decode()
    at = chance.randrange(len(key) - 1)  # the last letter of base64 may have bits that nothing reads
    letter = chance.choice([one for one in "abcXYZ0189" if one != key[at]])
    changed = (key[:at] + letter + key[at + 1 :]).encode()
    found = [
        (changed,),
        given.keys[1:],
        (given.keys[1], changed),
        (),
        (b"",),
        (b" \n",),
        (chance.randbytes(32),),
        (given.keys[0][:-4],),
    ]
    return Attempt(given.good, keys=chance.choice(found))


def other_algorithm(chance: random.Random, given: Given) -> Attempt | None:
    return Attempt(given.signed(given.good, chance.choice(ALGORITHMS))) if given.signed else None


def other_time(chance: random.Random, given: Given) -> Attempt | None:
    """It comes too late, or from the future."""
    if not given.timed:
        return None
    shift = WINDOW * 1000 + 1 + int(10 ** chance.uniform(0, 11.5))
    return Attempt(given.good, now=max(1, NOW + chance.choice((-1, 1)) * shift))


def other_path(chance: random.Random, given: Given) -> Attempt:
    """To another hook, or to none."""
    _, mark, query = given.good.target.partition(b"?")
    name = given.good.target[1:].partition(b"?")[0].decode()
    found = [
        *given.providers,
        "",
        name + "x",
        f"{name}/x",
        f"x/{name}",
        name.upper(),
        f"{name}%00",
        f"..%2f{name}",
        f"{name};a",
        "__init__",
    ]
    path = chance.choice(found) if chance.random() < 0.8 else quote(mutated(chance, name).encode("utf-8", "surrogatepass"))
    return Attempt(replace(given.good, target=b"/" + path.encode() + mark + query))


def other_query(chance: random.Random, given: Given) -> Attempt | None:
    path, _, query = given.good.target.partition(b"?")
    if not query:
        return None
    text = quote(mutated(chance, query.decode()).encode("utf-8", "surrogatepass"), safe="=&%~+")
    found = chance.choice([text, "", query.decode() + "&a=b", query.decode() + "&" + text, "bodySHA256=" + "0" * 64])
    return Attempt(replace(given.good, target=path + b"?" + found.encode()))


def swapped(chance: random.Random, given: Given) -> Attempt:
    """Parts of one valid callback in another."""
    good, other = (given.good, given.other) if chance.random() < 0.5 else (given.other, given.good)
    found = [with_body(good, other.body)] + [with_header(good, name, header(other, name)) for name in given.proofs]
    for names in given.fields:
        found.append(_with_field(good, names, _field(other, names)))
    return Attempt(chance.choice(found))


def other_field(chance: random.Random, given: Given) -> Attempt | None:
    """In a body that holds its own proof."""
    if not given.fields:
        return None
    names = chance.choice(given.fields)
    value = _field(given.good, names)
    text = value if isinstance(value, str) else ""
    found: list[Any] = [
        None,
        "",
        " ",
        0,
        1,
        -1,
        [],
        {},
        True,
        [value],
        {"a": value},
        text + " ",
        " " + text,
        text.upper(),
        text[:-1],
    ]
    found += [text[::-1], "9" * 400, "\ud800", "\0", flipped(chance, text.encode()).decode("latin-1"), mutated(chance, text)]
    found += [mutated(chance, text) for _ in range(8)] + [
        "https://sns.eu-west-1.amazonaws.com.example/SimpleNotificationService-a.pem"
    ]
    found += [
        f"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{chance.getrandbits(64):x}.pem",
        text.replace("eu", "us"),
    ]
    return Attempt(_with_field(given.good, names, chance.choice(found)))


WEBHOOK: Sequence[Mutator] = (
    flip_body,
    spoil_body,
    cut_body,
    other_body,
    huge_body,
    flip_header,
    spoil_header,
    lose_header,
    repeat_header,
    recode_header,
    any_header,
    other_key,
    other_algorithm,
    other_time,
    other_path,
    other_query,
    swapped,
    other_field,
)


def field_of(call: Call, names: Sequence[str]) -> object:
    """A value inside a JSON body; raises ValueError, LookupError, TypeError."""
    value = json.loads(call.body)
    for name in names:
        value = value[name]
    return value


def _field(call: Call, names: Sequence[str]) -> Any:
    try:
        return field_of(call, names)
    except LookupError:
        return None


def _with_field(call: Call, names: Sequence[str], value: object) -> Call:
    data = json.loads(call.body)
    inner = data
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    return with_body(call, json.dumps(data).encode())


# --- what is signed by HMAC, with another algorithm ---------------------------------------------------------------------


def resigned(name: str, key: bytes) -> Callable[[Call, str], Call] | None:
    """How a callback of a provider is signed with an algorithm that is not its own; None where it is not HMAC."""
    given = _SIGNED.get(name)
    if given is None:
        return None
    place, prefix, made, encoded = given

    def sign(call: Call, algorithm: str) -> Call:
        secret = base64.b64decode(key.removeprefix(b"whsec_")) if key.startswith(b"whsec_") else key
        digest = hmac.digest(secret, made(call), algorithm)
        found = prefix + encoded(digest)
        return with_header(call, place.encode(), found.encode()) if place else _with_field(call, ("signature",) * 2, found)

    return sign


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _stamped(call: Call) -> bytes:
    return header(call, b"webhook-timestamp") + b"." + call.body


def _svix(call: Call) -> bytes:
    return header(call, b"svix-id") + b"." + header(call, b"svix-timestamp") + b"." + call.body


def _token(call: Call) -> bytes:
    given = proof(call.body)["signature"]
    return f"{given['timestamp']}{given['token']}".encode()


def _mandrill(call: Call) -> bytes:
    return mandrill_events.signed(addressed(Request("POST", body=call.body), f"{LINKS.base}/webhooks/mandrill"))


def _twilio(call: Call) -> bytes:
    query = {"ref": call.target.decode().partition("ref=")[2]}
    return twilio_events.signed(addressed(Request("POST", query=query, body=call.body), f"{LINKS.base}/webhooks/twilio"))


_SIGNED: dict[str, tuple[str, str, Callable[[Call], bytes], Callable[[bytes], str]]] = {
    "generic": ("webhook-signature", "v1,", _stamped, _base64),
    "inbound": ("webhook-signature", "v1,", _stamped, _base64),
    "resend": ("svix-signature", "v1,", _svix, _base64),
    "mailgun": ("", "", _token, bytes.hex),
    "mandrill": ("x-mandrill-signature", "", _mandrill, _base64),
    "twilio": ("x-twilio-signature", "", _twilio, _base64),
}
