"""Tokens that nobody signed for the purpose: however many are tried, none is believed. `FORGED=1000000` tries more."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import BadToken
from shared.links import Links
from shared.model.ref import MailRef
from shared.pages import forms
from shared.tokens import PURPOSES, Purpose, Tokens

NOW = 1_800_000_000_000
LINKS = Links("https://news.example", Tokens([b"k" * 32, b"old" * 11]))
THIEF = Links("https://news.example", Tokens([b"t" * 32]))
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/+= \n\x00\u2603"

READERS: dict[Purpose, Callable[[str], Any]] = {
    "track": LINKS.read_track,
    "leave": LINKS.read_leave,
    "message": lambda token: LINKS.read_message_id(f"<{token}@news.example>"),
    "link": lambda token: LINKS.read_target("C-0001", token.removeprefix("C-0001/")),
    "confirm": lambda token: LINKS.read_confirm(token, NOW),
    "live": lambda token: LINKS.read_live(token.removeprefix("t/"), "t", NOW),
    "form": lambda token: LINKS.tokens.verify("form", token),
    "view": LINKS.read_view,
}


def real(links: Links, ref: MailRef, at: int) -> dict[Purpose, str]:
    """A token of each purpose, as mails carry them."""
    return {
        "track": links.track_token(ref, at),
        "leave": links.unsubscribe(ref).rpartition("/")[2],
        "message": links.message_id(ref, "x").strip("<>").partition("@")[0],
        "link": f"C-0001/{links.signed_target('C-0001', at % 9, f'https://shop.example/{ref.sid}')}",
        "confirm": links.confirm(ref.sid, "c1", "20833", NOW + at % 9 * 1000).rpartition("/")[2],
        "live": f"t/{links.live(f'C-{ref.sid[:4]}', at + 1000, 't').rpartition('/')[2]}",
        "form": forms.given(links.tokens, at),
        "view": links.view(f"C-{ref.sid[:4]}", "fr").rpartition("/")[2],
    }


def forged(chance: random.Random) -> tuple[Purpose, str]:
    """One attempt: the purpose that it claims, and a token that was not made for it."""
    ref, other = (MailRef("C-0001", f"{chance.getrandbits(128):032x}") for _ in range(2))
    at = NOW + chance.randrange(1_000_000)
    mine, theirs = real(LINKS, ref, at), real(LINKS, other, at + 60_000)
    claimed, made = chance.choice(PURPOSES), chance.choice(PURPOSES)
    token, payload, signature = mine[claimed], *mine[claimed].rsplit(".", 1)
    place, letter = chance.randrange(len(token)), chance.choice(ALPHABET)
    tries = [
        mine[made] if made != claimed else f"{payload}.{mine[PURPOSES[PURPOSES.index(made) - 1]].rpartition('.')[2]}",
        LINKS.tokens.sign(made, payload) if made != claimed else "",
        real(THIEF, ref, at)[claimed],
        f"{payload}.{theirs[claimed].rpartition('.')[2]}",
        f"{theirs[claimed].rpartition('.')[0]}.{signature}",
        token[:place] + letter + token[place + 1 :],
        token[:place] + letter + token[place:],
        token[:place] + token[place + 1 :],
        token[:place],
        token.swapcase(),
        f"{payload}.{signature}=",
        f"{payload}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}",  # the low bits that base64 would not miss
        f"{payload}..{signature}",
        f"{payload}~{at // 1000 + 1:x}.{signature}",
        f"{payload}.{'A' * 22}",
        f".{signature}",
        "".join(chance.choices(ALPHABET, k=chance.randrange(90))),
        f"{payload}.{''.join(chance.choices(ALPHABET[:64], k=22))}",
    ]
    return claimed, chance.choice([one for one in tries if one != token])


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_real_one_is_believed(purpose: Purpose) -> None:
    assert READERS[purpose](real(LINKS, MailRef("C-0001", "ab" * 16), NOW)[purpose])


@pytest.mark.parametrize("attempts", [int(os.environ.get("FORGED") or 20_000)])
def test_no_forged_token_is_believed(attempts: int) -> None:
    chance, believed = random.Random(attempts), []
    for _ in range(attempts):
        claimed, token = forged(chance)
        try:
            READERS[claimed](token)
            believed.append((claimed, token))
        except BadToken:
            pass
    assert believed == []
