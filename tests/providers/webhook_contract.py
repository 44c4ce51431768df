"""What the callbacks of every provider must withstand. A subclass per provider says how a callback of it is made; pytest collects those
only. The documented bodies are in tests/payloads/webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from shared.errors import BadInput, Unauthenticated
from shared.http import Request
from shared.links import Links
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.providers.webhooks import Webhook
from shared.tokens import Tokens

PAYLOADS = Path(__file__).parents[1] / "payloads" / "webhooks"
NOW = 1_800_000_000_000  # 2027-01-15 08:00 UTC
LINKS = Links("https://mail.example", Tokens([b"s" * 32]))
REF = MailRef("C-0001", "ab" * 16, "2027-01-14")
OTHERS = "C-0001~not-a-reference"

many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([1 << 63, 10**400, -1, 0, 1 << 53])
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(["\ud800", "\x00", REF.text, "x" * 5000, "{", '{"ref": []}', "9" * 4000, "0001-01-01T00:00:00+23:59"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def payloads(name: str, ref: str = REF.text) -> dict[str, Any]:
    """The bodies of a provider by the name of what they tell of, each of our mail."""
    found: dict[str, Any] = json.loads(
        (PAYLOADS / f"{name}.json").read_text(), object_pairs_hook=lambda pairs: dict(_put(pairs, ref))
    )
    return found


def _put(pairs: list[tuple[str, Any]], ref: str) -> Iterator[tuple[str, Any]]:
    for name, value in pairs:
        listed = [_named(item, ref) for item in value] if isinstance(value, list) else _named(value, ref)
        yield name, listed


def _named(value: Any, ref: str) -> Any:
    return value.replace("{ref}", ref).replace("{tag}", ref.replace("~", "_")) if isinstance(value, str) else value


def paths(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside, and to the whole."""
    yield at
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from paths(value, (*at, key))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value there."""
    if not path:
        return value
    copy = data.copy()
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def spoiled(draw: st.DataObject, text: str) -> str:
    """Another text: one place put in, taken away or changed, or the case, or the whole replaced."""
    place = draw.draw(st.integers(0, len(text)))
    mark = draw.draw(st.characters(codec=None) | st.sampled_from("=+/ ,:-_AaZz09?~"))
    cut = draw.draw(st.sampled_from((0, 1)))
    other, less, shout = (
        text[:place] + mark + text[place + cut :],
        text[:place] + text[place + 1 :],
        text[:place] + text[place:].swapcase(),
    )
    found = draw.draw(st.sampled_from((other, less, shout, text[place:], text + text, mark, "")))
    assume(found != text)
    return found


class WebhookContract:
    """`NAME` and `hook`: the provider; `KEYS`: the newest key, and the one before; `PROOFS`: the headers that prove, each of them alone
    or together; `SIGNED`: whether they cover the body; `PLAIN`: the name of a payload that tells of our mail."""

    NAME: ClassVar[str]
    KEYS: ClassVar[list[bytes]] = [b"newest:" + b"n" * 24, b"before:" + b"b" * 24]
    PROOFS: ClassVar[tuple[str, ...]]
    SIGNED: ClassVar[bool] = False
    PLAIN: ClassVar[str]
    hook: Webhook

    def __init_subclass__(cls) -> None:
        if not cls.SIGNED:
            cls.test_another_body_is_refused = None  # type: ignore[assignment,method-assign]  # nothing to collect

    def request(self, body: bytes, key: bytes) -> Request:
        """A callback with a valid proof by this key."""
        raise NotImplementedError

    def bodies(self) -> dict[str, Any]:
        return payloads(self.NAME)

    def encoded(self, data: Any) -> bytes:
        return json.dumps(data).encode()

    def told(self, body: bytes) -> object:
        """What a signature of the body covers: equal for two spellings of the same."""
        return body

    def events(self, data: Any, now: int = NOW) -> list[Event]:
        request = self.request(data if isinstance(data, bytes) else self.encoded(data), self.KEYS[0])
        self.hook.verify(request, self.KEYS, now)
        return self.hook.normalise(request, LINKS, now)

    def refused(self, request: Request, keys: list[bytes]) -> None:
        with pytest.raises(Unauthenticated) as error:
            self.hook.verify(request, keys, NOW)
        assert error.value.status == 401

    def taken(self, data: Any) -> None:
        """BadInput, or events as any other may read them."""
        try:
            found = self.events(data)
        except BadInput:
            return
        for event in found:
            assert event == Event.from_message(json.loads(json.dumps(event.to_message())))
            assert event.provider == self.NAME and "@" not in event.code + event.id

    def plain(self) -> bytes:
        return self.encoded(self.bodies()[self.PLAIN])

    def test_its_secret_has_its_name(self) -> None:
        assert f"webhook-{self.NAME}" == self.hook.SECRET

    def test_two_keys_are_good_and_no_other(self) -> None:
        for key in self.KEYS:
            self.hook.verify(self.request(self.plain(), key), self.KEYS, NOW)
            self.hook.verify(self.request(self.plain(), key), [b"", b"\xff\xfe", key + b"\n"], NOW)
        self.refused(self.request(self.plain(), self.KEYS[1]), self.KEYS[:1])

    @pytest.mark.parametrize("keys", [[], [b""], [b" \n"], [b"\xff"]])
    def test_without_a_key_nothing_is_good(self, keys: list[bytes]) -> None:
        for key in (*keys, *self.KEYS):
            self.refused(self.request(self.plain(), key), keys)
        self.refused(Request("POST", self.NAME, body=self.plain()), keys)

    def test_a_missing_proof_is_refused(self) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        for name in self.PROOFS:
            for header in ({}, {name: ""}, {name: " "}):
                rest = {other: value for other, value in good.headers.items() if other != name}
                self.refused(Request("POST", self.NAME, good.query, rest | header, good.body), self.KEYS)

    @many
    @given(draw=st.data())
    def test_a_spoiled_proof_is_refused(self, draw: st.DataObject) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        name = draw.draw(st.sampled_from(self.PROOFS))
        scheme, space, rest = good.headers[name].rpartition(" ")
        bad = f"{scheme}{space}{spoiled(draw, rest)}"
        self.refused(Request("POST", self.NAME, good.query, {**good.headers, name: bad}, good.body), self.KEYS)

    @many
    @given(proof=st.text(st.characters(codec=None), max_size=60), scheme=st.sampled_from(["", "Basic ", "Bearer ", "v1,", "v2,"]))
    def test_whatever_else_is_said_is_refused(self, proof: str, scheme: str) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        for name in self.PROOFS:
            self.refused(Request("POST", self.NAME, good.query, {**good.headers, name: scheme + proof}, good.body), self.KEYS)

    @many
    @given(draw=st.data())
    def test_another_body_is_refused(self, draw: st.DataObject) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        body = spoiled(draw, good.body.decode()).encode("utf-8", "surrogatepass")
        assume(self.told(body) != self.told(good.body))
        self.refused(Request("POST", self.NAME, good.query, good.headers, body), self.KEYS)

    @many
    @given(data=json_values)
    def test_any_json_is_bad_input_or_events(self, data: Any) -> None:
        self.taken(data)
        self.taken([data])

    @many
    @given(draw=st.data())
    def test_any_value_in_a_documented_body_is_bad_input_or_events(self, draw: st.DataObject) -> None:
        data = draw.draw(st.sampled_from(list(self.bodies().values())))
        self.taken(changed(data, draw.draw(st.sampled_from(list(paths(data)))), draw.draw(json_values)))

    @many
    @given(body=st.binary(max_size=60))
    def test_any_bytes_are_bad_input_or_events(self, body: bytes) -> None:
        self.taken(body)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b"[[]]",
            b"1" * 5000,
            b'"text"',
            b"\xff\xfe{\x00}",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"a": NaN, "b": ' + b"9" * 5000 + b"}",
        ],
    )
    def test_what_is_not_theirs_is_bad_input(self, body: bytes) -> None:
        with pytest.raises(BadInput):
            self.events(body)

    def test_the_mail_of_others_is_left_out_and_logged(self, capsys: pytest.CaptureFixture[str]) -> None:
        others = self.encoded(payloads(self.NAME, OTHERS)[self.PLAIN])
        assert self.events(others) == []
        logged = capsys.readouterr().out
        assert logged.count("no mail of ours") == 1 and self.NAME in logged
        assert len(self.events(self.plain())) == 1 and capsys.readouterr().out == ""
