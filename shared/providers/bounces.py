"""What a bounce says of the address, where a provider's word and the server's enhanced code are both known: the milder one decides,
because suppressing the wrong person cannot be mended. What codes say is in `shared.bounces.codes`."""

from __future__ import annotations

from collections.abc import Mapping

from shared.bounces.codes import by_code, enhanced_in
from shared.bounces.phrases import Class
from shared.providers.events import Bounce

_MILD: tuple[Bounce, ...] = ("", "counts", "hard")
_CLASSES: Mapping[Class, Bounce] = {"ignored": "", "counts": "counts", "hard": "hard"}


def status_in(text: object) -> str:
    """The first enhanced code of a server's reply, "" for none."""
    return enhanced_in(text) if isinstance(text, str) else ""


def weighed(said: Bounce, status: object) -> Bounce:
    """What a bounce says of the address, by the provider's word and the enhanced code in the server's reply."""
    known = by_code(status_in(status))
    return said if known is None else min(said, _CLASSES[known], key=_MILD.index)
