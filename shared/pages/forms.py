"""What a form of ours carries, so that its post shows that somebody saw it: a token that says when it was given, and a field that nobody
sees and that stays empty. What does not prove itself is neither taken nor refused: whoever posted it gets the form again, filled in.

A template puts both into its form by `{% include "proof.html" %}`, with the value `proof` from `given`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.errors import BadToken
from shared.http import Request
from shared.tokens import Tokens

TOKEN: Final = "form"  # the names of the two fields, as in proof.html
TRAP: Final = "website"
TOPIC: Final = "topic."  # what the check box of a topic is called, before its tag
AGE: Final = 86_400  # seconds for which a form may lie open


def given(tokens: Tokens, now: int) -> str:
    """The token of a form that is shown at `now` (ms)."""
    return tokens.sign("form", str(now // 1000))


def kept(tokens: Tokens, fields: Mapping[str, str], now: int) -> str:
    """The token of a form that is shown again: that of the post, so that the time runs on, or a new one where it is none of ours or too
    old. Raises as `proven`."""
    blank = {TOKEN: fields.get(TOKEN, "")}
    return blank[TOKEN] if proven(tokens, blank, now, 0) else given(tokens, now)


def proven(tokens: Tokens, fields: Mapping[str, str], now: int, fill: int) -> bool:
    """Whether these are the fields of a form that we gave, between `fill` seconds and a day ago, with the trap left empty. Raises
    Unavailable when the token's key cannot be known."""
    if fields.get(TRAP):
        return False
    try:
        age = now // 1000 - int(tokens.verify("form", fields.get(TOKEN, "")))
    except (BadToken, ValueError):
        return False
    return fill <= age <= AGE


def cross_site(request: Request) -> bool:
    """Whether a browser says that another site posted this (https://www.w3.org/TR/fetch-metadata/). Our pages send no referrer, so `Origin`
    is "null" even for their own forms, and says nothing."""
    return request.headers.get("sec-fetch-site", "") == "cross-site"
