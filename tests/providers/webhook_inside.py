"""What callbacks must withstand whose body holds the proof as well: the same as others', but for where it is spoiled."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.errors import BadInput, Unauthenticated
from shared.http import Request

from .webhook_contract import WebhookContract, changed, json_values, many, spoiled


class InsideContract(WebhookContract):
    """`FIELDS`: where in the body the proof and what it covers stand."""

    PROOFS = ()
    FIELDS: ClassVar[tuple[tuple[str, ...], ...]]

    def with_field(self, request: Request, path: tuple[str, ...], value: Any) -> Request:
        return replace(request, body=json.dumps(changed(json.loads(request.body), path, value)).encode())

    def taken(self, data: Any) -> None:
        """A body that cannot be read has no proof."""
        try:
            super().taken(data)
        except Unauthenticated:
            assert isinstance(data, bytes)

    def test_a_missing_proof_is_refused(self) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        nothing: list[Any] = [None, "", " ", 0, [], {}]
        for path in self.FIELDS:
            for value in nothing:
                self.refused(self.with_field(good, path, value), self.KEYS)
        for body in (b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, json.dumps([json.loads(good.body)]).encode()):
            self.refused(replace(good, body=body), self.KEYS)

    @many
    @given(draw=st.data())
    def test_a_spoiled_proof_is_refused(self, draw: st.DataObject) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        path = draw.draw(st.sampled_from(self.FIELDS))
        value: Any = json.loads(good.body)
        for name in path:
            value = value[name]
        self.refused(self.with_field(good, path, spoiled(draw, value)), self.KEYS)

    @many
    @given(draw=st.data(), value=json_values)
    def test_whatever_else_is_said_is_refused(self, draw: st.DataObject, value: Any) -> None:
        good = self.request(self.plain(), self.KEYS[0])
        path = draw.draw(st.sampled_from(self.FIELDS))
        bad = self.with_field(good, path, value)
        assume(json.loads(bad.body) != json.loads(good.body))
        self.refused(bad, self.KEYS)

    @many
    @given(draw=st.data())
    def test_another_body_is_refused(self, draw: st.DataObject) -> None:
        """Or it says the same, in what is signed."""
        good = self.request(self.plain(), self.KEYS[0])
        body = spoiled(draw, good.body.decode()).encode("utf-8", "surrogatepass")
        bad = replace(good, body=body)
        try:
            same = getattr(self.hook, "signed")(bad) == getattr(self.hook, "signed")(good)  # noqa: B009
        except Exception:
            same = False
        assume(not same)
        self.refused(bad, self.KEYS)

    @pytest.mark.parametrize("body", [b"null", b"[[]]", b'"text"', b'{"a": NaN, "b": ' + b"9" * 4000 + b"}"])
    def test_what_is_not_theirs_is_bad_input(self, body: bytes) -> None:
        with pytest.raises(BadInput):
            self.events(body)
