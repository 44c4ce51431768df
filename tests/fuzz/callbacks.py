"""The webhooks step as a provider reaches it, on a store in a folder: its own entry point's decorator and handler, behind a route."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.applications import Starlette
from starlette.routing import Route

from functions.webhooks.handler import Webhooks
from functions.webhooks.main import MAX_BODY
from shared.asgi import served
from shared.errors import NotFound
from shared.providers import ses_events, webhooks
from tests.providers import test_mailgun_events, test_ses_events
from tests.providers.webhook_contract import LINKS, NOW
from tests.providers.webhook_samples import contract
from tests.steps.fakes import FakeSecrets
from tests.steps.world import World

from .asking import App, Call
from .mutations import Attempt, Given, field_of, header, resigned, to_call

TIMED = frozenset({"generic", "inbound", "mailgun", "resend", "sendgrid", "ses"})  # a time is signed
_LISTED = frozenset({b"webhook-signature", b"svix-signature"})  # one good proof among several is enough
_UNNAMED = (("SigningCertURL",), ("Subject",))  # of ses: what its FIELDS leave out


class Broken(Exception):
    """A valid callback is not taken: the run would prove nothing."""


class Callbacks:
    """Those of one provider. `app` is the step; every other provider has a key that this one's callbacks do not know."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.contract = name, contract(name)
        self.world = World.on(folder)
        self.world.links, self.world.clock.time = LINKS, NOW
        self.secret = self.contract.hook.SECRET.replace("-", "_")
        self.secrets = FakeSecrets(**{f"webhook_{other}": [f"{other}:{'k' * 24}".encode()] for other in webhooks.WEBHOOKS})
        self.secrets.values[self.secret] = self.contract.KEYS
        step = Webhooks(
            self.world.bus,
            self.world.clock,
            LINKS,
            self.secrets,
            self.world.store,
            self.world.objects,
            self.world.paths,
            self._fetch,
        )
        endpoint = served(lambda: 0, MAX_BODY)(step.handle)
        self.app: App = Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST", "HEAD"])])
        ses_events.certificates.clear()
        self.good = self.fresh(0)
        self._valid = {self.told(self.good), self.told(self.fresh(1))}

    async def _fetch(self, url: str) -> bytes:
        """Amazon, which has one certificate."""
        if url != test_ses_events.URL:
            raise NotFound(url)
        return test_ses_events.certificate()

    def given(self) -> Given:
        fields = tuple(getattr(self.contract, "FIELDS", ()))
        return Given(
            good=self.good,
            other=self.fresh(1),
            proofs=tuple(name.encode() for name in self.contract.PROOFS),
            fields=fields + (_UNNAMED[:1] if self.name == "ses" else ()),
            keys=tuple(self.contract.KEYS),
            timed=self.name in TIMED,
            providers=tuple(name for name in webhooks.WEBHOOKS if name != self.name),
            signed=resigned(self.name, self.contract.KEYS[0]),
        )

    def fresh(self, n: int) -> Call:
        """The n-th valid callback, which says what no other does."""
        data = self.contract.bodies()[self.contract.PLAIN]
        request = self.contract.request(self.contract.encoded(_marked(data, n)), self.contract.KEYS[0])
        if self.name == "mailgun":
            given = test_mailgun_events.signature(self.contract.KEYS[0], NOW // 1000 - (n == 1), f"{n:050x}")
            request = replace(request, body=json.dumps({**json.loads(request.body), "signature": given}).encode())
        return to_call(request)

    def told(self, call: Call) -> object:
        """What a callback says and by which proof, as far as the proof covers it, in one spelling and without the product's own
        reading of proofs: two calls that are told alike are one to its provider. None for the hook of another."""
        path, _, query = call.target.partition(b"?")
        if unquote(unquote(path.decode("latin-1"))).strip("/") != self.name:
            return None
        proofs = tuple(self._proof(name.encode(), header(call, name.encode())) for name in self.contract.PROOFS)
        return proofs, self._content(call, dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))

    def _proof(self, name: bytes, value: bytes) -> object:
        if name == b"authorization":
            scheme, _, login = value.partition(b" ")
            return _password(login) if scheme.lower() == b"basic" else login if scheme.lower() == b"bearer" else value
        good = header(self.good, name)
        return good if name in _LISTED and good in value.split() else value

    def _content(self, call: Call, query: Mapping[str, str]) -> object:
        fields = getattr(self.contract, "FIELDS", ())
        if fields:
            try:
                return repr([_part(call, names) for names in (*fields, *_UNNAMED)])
            except (ValueError, TypeError, RecursionError):
                return call.body
        if self.name == "mandrill":
            try:
                return "".join(name + value for name, value in sorted(parse_qsl(call.body.decode(), True, True)))
            except ValueError:
                return call.body
        if self.name == "twilio":
            told = self.contract.told(call.body)
            return urlencode(query) + told if isinstance(told, str) else (urlencode(query), told)
        return call.body if self.contract.SIGNED else None

    def counts(self, attempt: Attempt) -> bool:
        """Whether it is a forgery: not valid as it stands, nor another spelling of what is."""
        return attempt.now != NOW or attempt.keys is not None or self.told(attempt.call) not in self._valid

    def set(self, attempt: Attempt) -> None:
        self.world.clock.time = attempt.now
        self.secrets.values[self.secret] = self.contract.KEYS if attempt.keys is None else list(attempt.keys)

    def published(self) -> int:
        """Calls of the bus so far."""
        return self.world.bus.calls

    def stored(self) -> int:
        """Documents and objects."""
        objects = self.world.file.parent / "objects"
        return len(self.world.versions()) + sum(1 for path in objects.rglob("*") if path.is_file())

    def close(self) -> None:
        self.world.store.close()
        ses_events.certificates.clear()


def _password(login: bytes) -> bytes:
    """What HTTP's basic login says, which may be said as a bearer token as well; in one spelling only."""
    try:
        found = base64.b64decode(login, validate=True)
    except ValueError:
        return b"Basic " + login
    return found if base64.b64encode(found) == login else b"Basic " + login


def _part(call: Call, names: tuple[str, ...]) -> object:
    try:
        return field_of(call, names)
    except LookupError:
        return None


def _marked(data: Any, n: int) -> Any:
    """A body with a mark that its provider's readers pass over."""
    if isinstance(data, str):
        return f"{data}\n{n}\n"
    if isinstance(data, list):
        return [_marked(data[0], n), *data[1:]]
    return {**data, "mark": str(n)}
