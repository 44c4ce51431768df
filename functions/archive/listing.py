"""The campaigns that are public, as launch keeps them (functions/launch/volumes.py): the newest in one document, older ones in volumes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.links import NO_LANGUAGE
from shared.pages.languages import suiting

Place: TypeAlias = tuple[int, str]  # -at (ms) and id: in this order campaigns are listed
Campaigns: TypeAlias = "tuple[tuple[Place, Mapping[str, Any]], ...]"  # as in a document, in this order


@dataclass(frozen=True, slots=True)
class Entry:
    """A campaign in one language. `at` in ms; `day`: "2026-12-31"; `spoken`: which language of it that is, "" for everybody else's."""

    id: str
    at: int
    day: str
    spoken: str
    subject: str
    about: str

    @property
    def place(self) -> Place:
        return -self.at, self.id


@dataclass(frozen=True, slots=True)
class Listing:
    """The first document. `volumes`: first place and number of each; `years`: that campaigns are of; both with the newest first.
    `languages`: all that one of the newest campaigns is in."""

    campaigns: Campaigns
    volumes: tuple[tuple[Place, int], ...]
    changed_at: int
    years: tuple[str, ...]
    languages: frozenset[str]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Listing:
        """What the document says, {} where there is none."""
        campaigns, volumes = ordered(data), data.get("volumes", [])
        spoken = frozenset(language for _, one in campaigns for language in one["languages"])
        years = {one["day"][:4] for _, one in campaigns}.union(*(volume["years"] for volume in volumes))
        places = tuple(((-one["at"], one["id"]), one["number"]) for one in volumes)
        return cls(campaigns, places, data.get("changed_at", 0), tuple(sorted(years, reverse=True)), spoken - {NO_LANGUAGE})

    def volume(self, place: Place) -> int:
        """The index of the volume where this place is, -1 for the first document."""
        return bisect_right([first for first, _ in self.volumes], place) - 1


def ordered(data: Mapping[str, Any]) -> Campaigns:
    """A document's campaigns, the newest first."""
    found = (((-one["at"], id), one) for id, one in data.get("campaigns", {}).items())
    return tuple(sorted(found, key=lambda one: one[0]))


def entry(place: Place, one: Mapping[str, Any], language: str) -> Entry:
    """A campaign in the language that suits."""
    spoken = suiting(language, one["languages"].keys() - {NO_LANGUAGE})
    subject, about = one["languages"][spoken or NO_LANGUAGE]
    return Entry(place[1], one["at"], one["day"], spoken, subject, about)
