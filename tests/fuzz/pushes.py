"""What Google's pushes and ticks prove, forged: a step behind `pushed`, whose handler notes what it was handed."""

from __future__ import annotations

import base64
import hmac
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.routing import Route

from shared.push import CLOCK_SKEW, STRIPPED, pushed
from tests.providers.webhook_samples import mutated
from tests.unit.test_push import Key, b64, claims, raw_push, settings

from .asking import App, Call
from .mutations import Attempt, flipped, header, raw, with_header

_MATTERS = ("iss", "aud", "email", "email_verified")


class Pushes:
    """A proof like `Callbacks`. On Google ("iam") the platform has checked the signature, and who calls has a token of some account
    of Google's: only what it says is left to be forged."""

    def __init__(self, mode: Literal["oidc", "iam"], folder: Path) -> None:
        self.name, self._mode = f"push {mode}", mode
        self._key, self._other = Key(folder / "issuer"), Key(folder / "other")
        given = settings(mode, self._key.certs.as_uri() if mode == "oidc" else "")
        self._handed: list[Any] = []

        async def step(message: Mapping[str, Any]) -> None:
            self._handed.append(message)

        self.app: App = Starlette(routes=[Route("/{path:path}", pushed(lambda: given)(step), methods=["GET", "POST"])])
        self._now = int(time.time())
        self.good = self._call(self._token(self._claims()))
        self._valid = {self.told(self.good)}

    def _claims(self, **changes: Any) -> dict[str, Any]:
        return claims(**{"iat": self._now, "exp": self._now + 7200, **changes})

    def _token(self, found: Mapping[str, Any], key: Key | None = None) -> str:
        if self._mode == "iam":
            return f"{b64({'alg': 'RS256'})}.{b64(found)}.{STRIPPED}"
        return (key or self._key).sign(found)

    def _call(self, token: str, scheme: str = "Bearer ") -> Call:
        return Call("POST", b"/", ((b"authorization", raw(scheme + token)),), (json.dumps(raw_push()).encode(),))

    def told(self, call: Call) -> object:
        """Who calls, in one spelling."""
        value = next((value for name, value in call.headers if name == b"authorization"), b"")  # the first line counts
        scheme, _, token = value.partition(b" ")
        also = self._mode == "iam" and b"x-serverless-authorization" in dict(call.headers)
        head, _, rest = token.decode("latin-1").strip().encode("latin-1").partition(b".")
        body, _, signature = rest.partition(b".")
        if self._mode == "iam":
            return scheme.lower(), also, _who(body), signature
        try:  # decoders pass over what is not of base64, and over missing padding
            proof = base64.urlsafe_b64decode(re.sub(rb"[^A-Za-z0-9_+/=-]", b"", signature) + b"==")
        except ValueError:
            proof = signature
        return scheme.lower(), head, body, proof

    def attempt(self, chance: random.Random) -> Attempt:
        """One forgery, or by chance a valid one in another spelling."""
        make: Callable[[random.Random], Call] = chance.choice(
            (self._garbled, self._lied, self._timed, self._signed, self._carried)
        )
        return Attempt(make(chance))

    def _garbled(self, chance: random.Random) -> Call:
        token = header(self.good, b"authorization").removeprefix(b"Bearer ").decode()
        parts = token.split(".")
        at = chance.randrange(3)
        part = parts[at]
        odd = [mutated(chance, part), part[: chance.randrange(len(part))], "", part[::-1], part + part, part.swapcase()]
        odd += [flipped(chance, part.encode()).decode("latin-1"), flipped(chance, part.encode()).decode("latin-1")]
        odd += [
            b64(b"[" * 20_000),
            b64([]),
            b64({}),
            b64(chance.randbytes(9)),
            b64(b"\xff"),
            "%%%",
            b64(flipped(chance, _decoded(part))),
        ]
        parts[at] = chance.choice(odd)
        whole = [
            ".".join(parts),
            ".".join(reversed(token.split("."))),
            token + ".",
            "." + token,
            token.replace(".", ".."),
            token[:-9],
        ]
        whole += [parts[at], mutated(chance, token), token.replace(".", "", 1), ".".join(parts), ".".join(parts)]
        return self._call(chance.choice(whole))

    def _lied(self, chance: random.Random) -> Call:
        """A valid token of another account, or for another service."""
        good = self._claims()
        name = chance.choice(_MATTERS)
        text = str(good[name])
        odd: list[Any] = [
            None,
            "",
            [good[name]],
            {"a": good[name]},
            1,
            "true",
            "null",
            text + " ",
            text.upper(),
            text + "/",
            text[:-1],
        ]
        odd += [f"x{text}", text + "\0", f"{text}.example", mutated(chance, text), mutated(chance, text), False, 1.0]
        return self._call(self._token(self._claims(**{name: chance.choice(odd)})))

    def _timed(self, chance: random.Random) -> Call:
        gap = CLOCK_SKEW + 60 + int(10 ** chance.uniform(0, 9))
        odd: list[dict[str, Any]] = [
            {"iat": self._now - 3600 - gap, "exp": self._now - gap},
            {"iat": self._now + gap + 3600},
            *({name: chance.choice([None, "never", [], {}, "", "1e999", f"{self._now}x"])} for name in ("exp", "iat")),
            {"exp": -1 << 70},
            {"iat": 10**400},
        ]
        return self._call(self._token(self._claims(**chance.choice(odd))))

    def _signed(self, chance: random.Random) -> Call:
        """By somebody else, by another algorithm, or not at all."""
        said = self._claims()
        kid, pem = self._key.kid, self._key.pem
        signature = self._key.sign(said).rpartition(".")[2]
        other = self._other.sign(said, chance.choice([None, kid, "", "../" + kid]))
        algorithm = chance.choice(["none", "None", "NONE", "HS256", "HS512", "RS512", "ES256", "PS256", "", None])
        head = {"alg": algorithm, "typ": "JWT", "kid": kid, "jwk": {"kty": "oct"}, "jku": "https://evil.example/certs.json"}
        text = f"{b64(head)}.{b64(said)}"
        digest = hmac.digest(pem.encode(), text.encode(), chance.choice(["sha256", "sha512", "sha1"]))
        proofs = [b64(digest), "", signature, b64(chance.randbytes(256)), b64(b"\0" * 256)]
        proofs += [STRIPPED] if self._mode == "oidc" else [STRIPPED.lower(), STRIPPED + "_", STRIPPED[:-1]]
        changed = f"{self._key.sign(self._claims(email='other@x.example')).partition('.')[0]}.{b64(said)}.{signature[::-1]}"
        return self._call(chance.choice([other, f"{text}.{chance.choice(proofs)}", changed]))

    def _carried(self, chance: random.Random) -> Call:
        """A valid token where none counts."""
        value = header(self.good, b"authorization")
        token = value.removeprefix(b"Bearer ")
        lost = with_header(self.good, b"authorization")
        names = [b"x-authorization", b"proxy-authorization", b"x-serverless-authorization", b"cookie", b"authorisation"]
        scheme = chance.choice(
            [b"Basic ", b"Digest ", b"Bearer", b"Bearer:", b"Bearer\t", b"Token ", b"", b"Bearer Bearer ", b"JWT "]
        )
        found = [
            replace(lost, headers=((chance.choice(names), value),)),
            replace(lost, target=b"/?access_token=" + token),
            with_header(lost, b"authorization", scheme + token),
            with_header(lost, b"authorization", chance.choice([b"", b"Bearer", b"Bearer x", value[:-9]]), value),
            lost,
        ]
        if self._mode == "iam":
            found.append(with_header(self.good, b"x-serverless-authorization", chance.choice([b"", value, b"x"])))
        return chance.choice(found)

    def counts(self, attempt: Attempt) -> bool:
        return self.told(attempt.call) not in self._valid

    def set(self, attempt: Attempt) -> None:
        return

    def published(self) -> int:
        return len(self._handed)

    def stored(self) -> int:
        return 0

    def close(self) -> None:
        return


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return part.encode()


def _who(body: bytes) -> object:
    """What the claims say that matters; the times only whether they are good."""
    try:
        found = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
        fresh = float(found["iat"]) - CLOCK_SKEW <= time.time() <= float(found["exp"]) + CLOCK_SKEW
        return repr([*(found.get(name) for name in _MATTERS), fresh])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        return body
