"""The rows of the Topics tab: tags that readers see under a label of their own, and choose themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.errors import BadInput
from shared.model.cells import neutralise, short
from shared.model.face import Topic
from shared.model.subscriber import EVERYONE, tag_form, usable_tag

MOST: Final = 30
LABEL: Final = 60  # characters
ABOUT: Final = 200


@dataclass(frozen=True, slots=True)
class Listed:
    """The topics in the order of their rows, and what each row is answered, by its tag as typed."""

    topics: tuple[Topic, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)


def listed(rows: Sequence[Mapping[str, str]], before: Sequence[Topic], segments: frozenset[str]) -> Listed:
    """`rows`: those in which anything stands; `before`: the topics in force; `segments`: names that are no tags, in small letters. A row
    that cannot be used leaves its topic as it was, and while a tag cannot be read no topic goes."""
    held, found, answers = {one.tag: one for one in before}, dict[str, Topic](), dict[str, str]()
    times = Counter(tag_form(row["Tag"]) for row in rows)
    unread = False
    for row in rows:
        tag = tag_form(row["Tag"])
        try:
            _check_tag(tag, times[tag], segments)
        except BadInput as error:
            unread = unread or times[tag] == 1
            if tag in held:
                found[tag] = held[tag]
            answers[row["Tag"]] = f"{error} Until then nothing changes."
            continue
        try:
            if len(found) >= MOST:
                raise BadInput(f"Readers can choose among {MOST} topics at most.")
            found[tag] = Topic(tag, _text(row["Label"], "Label", LABEL), _text(row["About"], "About", ABOUT))
            answers[row["Tag"]] = "In force."
        except BadInput as error:
            if tag in held and len(found) < MOST:
                found[tag] = held[tag]
                answers[row["Tag"]] = f"{error} Until then: {short(held[tag].label)}."
            else:
                answers[row["Tag"]] = f"{error} Until then readers do not see it."
    if unread:
        found = {**found, **{tag: topic for tag, topic in held.items() if tag not in found}}
    answers.pop("", None)
    return Listed(tuple(found.values()), answers)


def _check_tag(tag: str, times: int, segments: frozenset[str]) -> None:
    if not usable_tag(tag) or tag == EVERYONE:
        raise BadInput("Choose another tag: up to 40 letters and numbers, with signs such as - or & in between.")
    if tag in segments:
        raise BadInput(f"“{short(tag)}” is a segment by a rule, which readers cannot choose. Choose another tag.")
    if times > 1:
        raise BadInput(f"“{short(tag)}” stands here more than once: clear the other row.")


def _text(cell: str, name: str, most: int) -> str:
    text = " ".join(cell.split())
    if not text and name == "Label":
        raise BadInput("Say in Label what readers see.")
    if len(text) > most:
        raise BadInput(f"{name} has {len(text):,} characters, and {most} is the most.")
    if not text.isprintable() or neutralise(text) != text:
        raise BadInput(f"{name} begins like a formula or holds signs that nobody sees: write plain words.")
    return text
