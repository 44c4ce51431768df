"""What a reader chooses in the preference centre: read from the form, and what it changes of the subscriber's document.

Only what a form shows is chosen by it: a topic that the tenant has added since then stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import BadInput
from shared.model.subscriber import MAX_NAME, printable_name, segments_of
from shared.pages.forms import TOPIC

FREQUENCIES: Final = ("", "weekly", "monthly")
PAUSE: Final = 30 * 86_400_000  # ms
SHOWN: Final = "shown"  # the field with the tags that a form has a box for
DO: Final = "do"  # the button: "save", "pause" or "resume"


@dataclass(frozen=True, slots=True)
class Choice:
    """`topics`: of those shown, whether each is wanted. `do`: the button that was pressed."""

    name: str
    language: str
    topics: Mapping[str, bool]
    frequency: str
    do: str = "save"


def chosen(fields: Mapping[str, str], held: Mapping[str, Any], tags: Collection[str], languages: Collection[str]) -> Choice:
    """What the fields say; what they leave out is as `held`, the subscriber, has it. `tags` of the tenant's topics and `languages` are what
    may be chosen. Raises BadInput with the key of a sentence."""
    name = " ".join(fields.get("name", held.get("name", "")).split())
    if len(name) > MAX_NAME:
        raise BadInput("preferences.long", "name")
    if not printable_name(name):
        raise BadInput("preferences.odd", "name")
    language = fields.get("language", held.get("language", ""))
    frequency = fields.get("frequency", held.get("frequency", ""))
    do = fields.get(DO, "save")
    if language not in (*languages, held.get("language", ""), "") or frequency not in FREQUENCIES:
        raise BadInput("preferences.offered")
    shown = [tag for tag in fields.get(SHOWN, "").split(",") if tag in tags]
    return Choice(name, language, {tag: TOPIC + tag in fields for tag in shown}, frequency, do)


def wants(held: Mapping[str, Any], tag: str) -> bool:
    """Whether a reader gets a topic: as they chose, or as they were tagged before they could."""
    own = (held.get("topics") or {}).get(tag)
    return bool(own["on"]) if own else tag in held.get("tags", ())


def changed(held: Mapping[str, Any], choice: Choice, now: int, consent: str) -> dict[str, Any]:
    """The fields of the subscriber that a choice changes, {} for none. `consent`: the id of its evidence."""
    topics, tags = dict(held.get("topics") or {}), list(held.get("tags") or [])
    for tag, on in choice.topics.items():
        if (topics.get(tag) or {}).get("on") is not on:
            topics[tag] = {"on": on, "at": now, "consent": consent}
        tags = [*(one for one in tags if one != tag), *([tag] if on else [])] if on is not (tag in tags) else tags
    fresh: dict[str, Any] = {
        "name": choice.name,
        "language": choice.language,
        "topics": topics,
        "tags": tags,
        "frequency": choice.frequency,
    }
    if choice.do == "resume" and paused(held, now):
        fresh["paused_until"] = 0
    if choice.do == "pause" and not paused(held, now):
        fresh["paused_until"] = now + PAUSE
    found = {name: value for name, value in fresh.items() if value != (held.get(name) or _nothing(value))}
    if "tags" in found:
        kept = [one for one in held.get("segments") or [] if one in tags or one not in held.get("tags", ())]
        found["segments"] = segments_of({**held, **found, "segments": kept})
    return found


def paused(held: Mapping[str, Any], now: int) -> int:
    """Until when a reader wants no mails (ms), 0 for not at all."""
    until: int = held.get("paused_until") or 0
    return until if until > now else 0


def _nothing(like: object) -> object:
    return type(like)()
