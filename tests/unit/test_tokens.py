"""Tokens: one purpose each, one spelling each, and keys that rotate."""

from __future__ import annotations

import hmac
import string
from hashlib import sha256
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadToken
from shared.tokens import PURPOSES, Purpose, Tokens

OLD, NEW = b"o" * 32, b"n" * 32
PAYLOAD = "C-0001~q6urq6urq6urq6urq6urqw~k.1"
GOLDEN = "abc.def.Fj5WdOhDLBhc6IzblDbJRA"


def test_a_token_never_changes_its_form() -> None:
    assert Tokens([OLD]).sign("track", "abc.def") == GOLDEN
    key = sha256(b"subscriber-pipeline track\0" + OLD).digest()
    assert hmac.new(key, b"abc.def", "sha256").digest()[:16].hex() == "163e5674e8432c185ce88cdb9436c944"


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_.~/", max_size=80), st.sampled_from(PURPOSES))
def test_what_was_signed_is_read_back(payload: str, purpose: Purpose) -> None:
    tokens = Tokens([OLD])
    assert tokens.verify(purpose, tokens.sign(purpose, payload)) == payload


@pytest.mark.parametrize(("made", "used"), [*permutations(PURPOSES, 2)])
def test_a_token_is_worth_nothing_for_another_purpose(made: Purpose, used: Purpose) -> None:
    tokens = Tokens([OLD])
    with pytest.raises(BadToken):
        tokens.verify(used, tokens.sign(made, PAYLOAD))


def test_any_changed_character_is_refused() -> None:
    tokens = Tokens([OLD])
    token = tokens.sign("leave", PAYLOAD)
    for at in range(len(token)):
        for other in string.ascii_letters + string.digits + "-_.~!= ":
            changed = token[:at] + other + token[at + 1 :]
            if changed != token:
                with pytest.raises(BadToken):
                    tokens.verify("leave", changed)


def test_any_shorter_or_longer_token_is_refused() -> None:
    tokens = Tokens([OLD])
    token = tokens.sign("leave", PAYLOAD)
    wrong = [token[:n] for n in range(len(token))] + [token[n:] for n in range(1, len(token))]
    wrong += [token + more for more in ("A", "=", "==", "\n", " ", ".", "\u00e9", "\ud800", "AAAA")]
    wrong += [more + token for more in ("A", ".", "\n")]
    wrong += [token[:-5] + more + token[-5:] for more in ("!", "\n", "=", " ")]
    for text in wrong:
        with pytest.raises(BadToken):
            tokens.verify("leave", text)


def test_the_newest_key_signs_and_all_verify() -> None:
    before, during, after = Tokens([OLD]), Tokens([NEW, OLD]), Tokens([NEW])
    old, new = before.sign("track", PAYLOAD), during.sign("track", PAYLOAD)
    assert during.verify("track", old) == during.verify("track", new) == after.verify("track", new) == PAYLOAD
    for tokens, token in ((before, new), (after, old)):
        with pytest.raises(BadToken):
            tokens.verify("track", token)
