"""The lines that a bulk mail must have, in the mail's language: whose it is, and the way out. Added where a template lacks them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

WORDS: Final = {  # language -> what the links to leave, and to the preferences, are called
    "en": ("Unsubscribe", "Preferences"),
    "fr": ("Se désabonner", "Préférences"),
    "de": ("Abmelden", "Einstellungen"),
    "es": ("Darse de baja", "Preferencias"),
}
_STYLE = (
    "max-width:600px;margin:0 auto;padding:8px 24px 32px;text-align:center;font-size:13px;line-height:1.6;color:#696969;"
    "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
)
_CALLED = re.compile(rf"\b(?:{'|'.join(word for words in WORDS.values() for word in words)})\b:?( ·)?")
_LINK = '<a href="{}" style="color:#696969;text-decoration:underline">{}</a>'


def as_html(postal: str, ways: Sequence[str], language: str) -> str:
    """`postal`: HTML text, "" when the template has it. `ways`: the address to leave by, and then that of the preferences, as many as it
    lacks. `language`: BCP 47; one that is not in WORDS gets English."""
    lines = [postal] if postal else []
    if ways:
        lines.append(" · ".join(_LINK.format(way, word) for way, word in zip(ways, _words(language), strict=False)))
    return f'<div class="footer" style="{_STYLE}">{"<br>".join(lines)}</div>' if lines else ""


def as_text(text: str, postal: str, ways: Sequence[str], language: str) -> str:
    """A plain `text` with the same below it."""
    if not postal and not ways:
        return text
    lines = [postal] if postal else []
    lines += [f"{word}: {way}" for way, word in zip(ways, _words(language), strict=False)]
    return "\n".join([text.rstrip("\n"), "", "-- ", *lines, ""])


def bare(text: str) -> str:
    """`text` without the words of a footer's links."""
    return _CALLED.sub("", text)


def _words(language: str) -> tuple[str, str]:
    return WORDS.get(language.partition("-")[0].lower(), WORDS["en"])
