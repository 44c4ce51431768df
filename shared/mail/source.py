"""What a mail is compiled from: a template file as fetched, the campaign's own subject, and who it comes from.

A template may open with front matter, lines of `key: value` between two `---` lines:

    ---
    subject: A new roast, {{ name or "friend" }}
    preheader: Light, sweet, from Huila
    ---
    # Hello

There `layout: plain` puts Markdown into `layouts/plain.html` instead of our layout, and `feed: https://…` names a feed, see `feeds`.

A template may be in several languages, a file each: `news.fr-CA.md` beside `news.md`, which is for everybody else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Literal

from shared.errors import BadTemplate
from shared.mail.bundle import SUFFIX, unpacked

MAX_SOURCE = 256 * 1024  # bytes
KEYS = ("subject", "preheader", "layout", "feed")
_KINDS: dict[str, Kind] = {"md": "markdown", "html": "html", "htm": "html", "mjml": "mjml", "txt": "text"}
_LANGUAGE = re.compile(r"\.([a-z]{2,3}(?:-[a-z0-9]{2,8})*)\.[a-z]+$", re.I)
_PREVIEW = re.compile(r"<mj-preview>([^<]*)</mj-preview>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
Kind = Literal["markdown", "html", "mjml", "text"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The tenant as a sender. `list_domain` is both the List-Id and the right side of every Message-ID."""

    from_name: str
    from_address: str  # ASCII, as is reply_to
    postal_address: str  # line breaks become ", "
    list_name: str
    list_domain: str
    reply_to: str = ""
    language: str = "en"  # BCP 47, of templates whose name (`welcome.fr.md`) does not tell

    @property
    def postal_line(self) -> str:
        return ", ".join(line.strip() for line in self.postal_address.splitlines() if line.strip())


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A template file and its circumstances. The suffix of `name` decides: .md, .html, .mjml or .txt.

    `subject` overrides the front matter's. `bulk` adds the List-* headers and the footer, `tracked` the open pixel and the
    counted links. `numbered`: targets of links, by number, whose numbers are given: those of the mail's other languages.
    `parts`: the files of the folders `layouts` and `partials` that it is put together from, as "partials/footer.html", and its feed, see
    `feeds`. `spoken`: which of the campaign's languages it is, "" for that of everybody else. `view`: the address of its public version
    where `Links` are not to sign that, "" where they are.
    """

    name: str
    data: bytes
    campaign: str
    identity: Identity
    subject: str = ""
    bulk: bool = True
    tracked: bool = True
    numbered: Sequence[str] = ()
    parts: Mapping[str, bytes] = field(default_factory=dict)
    spoken: str = ""
    view: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A source taken apart. `body` keeps the file's line numbers: the front matter's lines are left empty. `layout`: a name of
    `Source.parts`, "" for ours."""

    kind: Kind
    subject: str
    preheader: str
    body: str
    language: str
    layout: str = ""


def read(source: Source) -> Template:
    """Decode and split; raises BadTemplate for a wrong suffix, encoding, size, control character or front matter."""
    kind = kind_of(source.name)
    if kind is None:
        raise BadTemplate(f"“{source.name}” is not a template we know: use a .md, .html, .mjml or .txt file.")
    head, body = _front_matter(decode(source.data))
    subject = source.subject.strip() or head.get("subject", "")
    if not subject:
        raise BadTemplate("The mail has no subject: fill the Subject cell or add a “subject:” line at the top of the template.")
    if _CONTROL.search(subject) or "\n" in subject or "\r" in subject:
        raise BadTemplate("The subject holds a line break or an invisible control character.")
    preheader = head.get("preheader", "")
    if kind == "mjml" and not preheader and (preview := _PREVIEW.search(body)):
        preheader = unescape(" ".join(preview[1].split()))
        body = body[: preview.start()] + "\n" * preview[0].count("\n") + body[preview.end() :]
    return Template(
        kind=kind,
        subject=subject,
        preheader=preheader,
        body=body,
        language=language_of(source.name) or source.identity.language,
        layout=_layout(head, kind),
    )


def kind_of(name: str) -> Kind | None:
    """What a file is, by its suffix."""
    return _KINDS.get(name.rpartition(".")[2].lower()) if "." in name else None


def language_of(name: str) -> str:
    """The language in a template's name, as it is written there: fr-CA of `news.fr-CA.md`; "" for none."""
    found = _LANGUAGE.search(name)
    return found[1] if found else ""


def best(languages: Collection[str], wanted: str) -> str:
    """Which of `languages` (lower case) suits a reader: for fr-CA that, else fr, else "" (RFC 4647 §3.4, lookup)."""
    found = wanted.lower().replace("_", "-") if languages else ""
    while found and found not in languages:
        found = found.rpartition("-")[0]
    return found


def in_language(mail: Mapping[str, Any], language: str) -> Mapping[str, Any]:
    """A campaign's frozen `mail` in one of its `languages`, "" for that of everybody else."""
    return {**mail, **mail["languages"][language], "spoken": language} if language else mail


def thawed(mail: Mapping[str, Any], data: bytes, campaign: str) -> Source:
    """The source of a frozen `mail` (see `in_language`) with its `data`."""
    data, parts = unpacked(data) if mail["object"].endswith(SUFFIX) else (data, {})
    return Source(
        name=mail["name"],
        data=data,
        parts=parts,
        subject=mail["subject"],
        campaign=campaign,
        identity=Identity(**mail["identity"]),
        bulk=mail["bulk"],
        tracked=mail["tracked"],
        numbered=[mail["links"][str(number)] for number in range(len(mail["links"]))] if "languages" in mail else (),
        spoken=mail.get("spoken", ""),
    )


def decode(data: bytes) -> str:
    """A file as text with LF line ends; raises BadTemplate with a sentence."""
    if len(data) > MAX_SOURCE:
        raise BadTemplate(f"The template is {len(data) // 1024:,} KB; at most {MAX_SOURCE // 1024} KB are allowed.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise BadTemplate(f"Line {line} is not UTF-8 text: save the template as UTF-8.") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if control := _CONTROL.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise BadTemplate(f"Line {line} holds an invisible control character (U+{ord(control[0]):04X}): remove it.")
    return text


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return {}, text
    found: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        if line.rstrip() == "---":
            return found, "\n" * number + "\n".join(lines[number:])
        key, colon, value = (piece.strip() for piece in line.partition(":"))
        if not line.strip():
            continue
        if not colon or key.lower() not in KEYS:
            raise BadTemplate(
                f"Line {number}: “{key[:40]}” is not a setting a template can have; {', '.join(KEYS[:-1])} and {KEYS[-1]} are."
            )
        if key.lower() in found:
            raise BadTemplate(f"Line {number}: “{key}” is given twice.")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[key.lower()] = value
    raise BadTemplate("The settings at the top of the template begin with “---” but no second “---” line ends them.")


def layout_of(name: str, text: str) -> str:
    """The layout that a template, called `name`, asks for, as `Template.layout`; raises BadTemplate."""
    return _layout(_front_matter(text)[0], kind_of(name))


def feed_of(data: bytes) -> str:
    """The address of the feed that a template asks for, "" for none; what is wrong with the template is said when it is read."""
    try:
        return _front_matter(decode(data))[0].get("feed", "")
    except BadTemplate:
        return ""


def _layout(head: Mapping[str, str], kind: Kind | None) -> str:
    name = head.get("layout", "")
    if not name:
        return ""
    if kind != "markdown":
        raise BadTemplate('“layout:” is for Markdown. Here write {% extends "layouts/…" %} in the first line instead.')
    return f"layouts/{name}" if kind_of(name) else f"layouts/{name}.html"
