"""The campaigns that are public, as launch keeps them in one document (functions/launch/listing.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.links import NO_LANGUAGE
from shared.pages.languages import suiting

PAGE: Final = 50  # mails on a page
FEW: Final = 5  # on each, whatever else is there
ROOM: Final = 12_500  # bytes of the list and the logo: a page has to stay below 20 KB
ITEM: Final = 190  # bytes of an item without its subject


@dataclass(frozen=True, slots=True)
class Entry:
    """A campaign in one language. `at` in ms; `day`: "2026-12-31"; `spoken`: which language of it that is, "" for everybody else's."""

    id: str
    at: int
    day: str
    spoken: str
    subject: str
    about: str


@dataclass(frozen=True, slots=True)
class Listing:
    """`campaigns`: as in the document, the newest first; `languages`: all that one of them is in."""

    campaigns: tuple[tuple[str, Mapping[str, Any]], ...]
    changed_at: int
    languages: frozenset[str]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Listing:
        """What the document says, {} where there is none."""
        found = sorted(data.get("campaigns", {}).items(), key=lambda item: (-item[1]["at"], item[0]))
        spoken = frozenset(language for _, one in found for language in one["languages"])
        return cls(tuple(found), data.get("changed_at", 0), spoken - {NO_LANGUAGE})

    def entries(self, language: str) -> list[Entry]:
        """All of them, each in the language that suits."""
        found = []
        for id, one in self.campaigns:
            spoken = suiting(language, one["languages"].keys() - {NO_LANGUAGE})
            subject, about = one["languages"][spoken or NO_LANGUAGE]
            found.append(Entry(id, one["at"], one["day"], spoken, subject, about))
        return found

    def pages(self, language: str, logo: int) -> list[list[Entry]]:
        """The same, page by page: [[]] for none. `logo`: the bytes that it takes of each page."""
        pages: list[list[Entry]] = [[]]
        room = ROOM - logo
        left = room
        for entry in self.entries(language):
            size = ITEM + len(entry.subject.encode())
            if len(pages[-1]) >= PAGE or (left < size and len(pages[-1]) >= FEW):
                pages.append([])
                left = room
            pages[-1].append(entry)
            left -= size
        return pages
