"""What a sign-up asks for, read from its fields, and the evidence of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from shared.errors import BadInput
from shared.http import Request
from shared.model import consent
from shared.model.address import parse
from shared.model.country import country_code
from shared.model.face import Face
from shared.model.subscriber import MAX_NAME, printable_name, tag_form, tags_of
from shared.pages.forms import TOPIC
from shared.ports import Location

MAX_TEXT: Final = 2_000  # characters of a consent text that a site showed
CARRIED: Final = (
    "email",
    "name",
    "language",
    "country",
    "tags",
    "consent_text",
    "page",
)  # what a form asks again keeps of what was typed


class Refused(BadInput):
    """A field that cannot be taken: the sentence in English, and its `key` among the pages' texts. `meant`: the domain that was probably
    meant, "" for none."""

    def __init__(self, key: str, sentence: str, field: str, meant: str = "") -> None:
        super().__init__(sentence, field)
        self.key = key
        self.meant = meant


@dataclass(frozen=True, slots=True)
class Asked:
    """`language` and `country`: codes, "" for not said; `topics`: tags that readers choose themselves, `tags`: others that the tenant lets
    a sign-up set, `refused`: those that it does not. `text`, `page`: what a site says it showed, and where; "" for not said."""

    address: str
    name: str
    language: str
    country: str
    tags: list[str]
    topics: list[str]
    text: str = ""
    page: str = ""
    refused: list[str] = field(default_factory=list)

    @property
    def requested(self) -> dict[str, Any]:
        """As the evidence and the subscriber keep it: what a confirmation is to do. Tags that were refused are not in it, since a
        confirmation may read it from either."""
        told = {"name": self.name, "language": self.language, "country": self.country}
        return {**told, "tags": self.tags, "topics": self.topics}


def read(fields: Mapping[str, str], face: Face, spoken: str = "", *, told: bool = False) -> Asked:
    """Raises Refused. `spoken`: the language where the fields name none; `told`: from a site or a server, which may say what it showed."""
    try:
        address = parse(fields.get("email", ""))
    except BadInput as error:
        raise Refused("email" if fields.get("email", "").strip() else "nothing", str(error), "email") from None
    name = " ".join(fields.get("name", "").split())
    if len(name) > MAX_NAME:
        raise Refused("long", f"Please keep the name under {MAX_NAME} characters.", "name")
    if not printable_name(name):
        raise Refused("name", "The name holds characters that cannot be shown.", "name")
    language = fields.get("language", "").strip()[:35]
    if language and not (language.isascii() and language.replace("-", "").isalnum()):
        raise Refused("language", "The language must be a code such as en or pt-BR.", "language")
    try:
        country = country_code(fields.get("country", ""))
    except BadInput as error:
        raise Refused("country", str(error), "country") from None
    offered = {topic.tag for topic in face.topics}
    tags = tags_of(_listed(fields.get("tags", "")))
    chosen = list(dict.fromkeys([*_chosen(fields, offered), *(tag for tag in tags if tag in offered)]))
    others = [tag for tag in tags if tag not in offered]
    allowed, refused = ([tag for tag in others if face.signup.allows(tag) is yes] for yes in (True, False))
    text, page = _shown(fields, address) if told else ("", "")
    return Asked(address, name, language or spoken, country, allowed, chosen, text, page, refused)


def carried(fields: Mapping[str, str]) -> dict[str, str]:
    """What a form that asks again holds of a post, each value cut."""
    found = {name: text[:MAX_TEXT] for name, text in fields.items() if name in CARRIED and text}
    return found | {name[:60]: "on" for name in fields if name.startswith(TOPIC)}


def evidence(asked: Asked, request: Request, at: int, place: Location, flags: Sequence[str], **shown: str) -> dict[str, Any]:
    """The document that proves a sign-up. `shown`: text, page, language, source. Tags that were refused stand apart in `refused_tags`,
    which nothing acts on."""
    located = {name: text for name in ("country", "city", "zone") if (text := getattr(place, name))}
    found = consent.evidence("sign-up", **shown, client=request.client, agent=request.headers.get("user-agent", ""), at=at)
    noted = {"flags": list(flags), "refused_tags": asked.refused}
    return found | {"located": located, "requested": asked.requested} | {name: held for name, held in noted.items() if held}


def _chosen(fields: Mapping[str, str], offered: Collection[str]) -> list[str]:
    """Of a form what was ticked and is still offered; of JSON all that it names, or Refused."""
    ticked = [tag for name in fields if name.startswith(TOPIC) and (tag := name.removeprefix(TOPIC)) in offered]
    named = [tag_form(tag) for tag in _listed(fields.get("topics", "")).split(",") if tag.strip()]
    if any(tag not in offered for tag in named):
        raise Refused("topic", "One of these topics is not offered.", "topics")
    return [*ticked, *named]


def _listed(text: str) -> str:
    """A list of texts in JSON as one text with commas."""
    if text.startswith("["):
        try:
            return ",".join(one for one in json.loads(text) if isinstance(one, str))
        except (ValueError, RecursionError):
            return ""
    return text


def _shown(fields: Mapping[str, str], address: str) -> tuple[str, str]:
    """(the consent text, the page) that a site says it showed. No evidence holds an address."""
    text, page = " ".join(fields.get("consent_text", "").split()), fields.get("page", "").strip()
    if len(text) > MAX_TEXT or not printable_name(text) or address.lower() in text.lower():
        raise Refused(
            "text", f"The consent text must be at most {MAX_TEXT} characters, and not hold the address.", "consent_text"
        )
    if not page:
        return text, ""
    try:
        parts = urlsplit(page)
    except ValueError:
        parts = urlsplit("")
    plain = f"{parts.scheme}://{parts.netloc}{parts.path}"[:500]
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in unquote(plain) or not plain.isprintable():
        raise Refused("page", "The page must be a web address.", "page")
    return text, plain
