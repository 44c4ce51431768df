"""What a mail of a template looks like to one of a few sample readers, worked out with the campaign's own compiler.

A template that somebody is still typing may run away like any other, so all of it happens under the limits of `shared.mail.confined`:
in a fork of a helper process, which is started once and ends with the process that asks, whose end closes its input.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from email.utils import formatdate
from functools import cache
from html import unescape
from pathlib import PurePosixPath
from typing import Any

from functions.launch.freeze import CONFIRM_URL, KNOWN
from local.google.docs import exported
from local.google.drive import DOC_SUFFIX
from shared.errors import BadInput, BadTemplate
from shared.links import Links
from shared.mail import docs
from shared.mail.compile import Recipient, compile
from shared.mail.confined import answering
from shared.mail.feeds import PART
from shared.mail.feeds import sample as sample_feed
from shared.mail.helper import Helper
from shared.mail.parts import FOLDERS
from shared.mail.source import Identity, Source, feed_of, language_of, read
from shared.model.paths import CONFIRM, SYSTEM, WELCOME
from shared.model.ref import MailRef
from shared.tokens import MIN_KEY, Tokens

SNIPPET = 140  # characters of the mail that an inbox shows behind the subject
NO_SUBJECT = "(the campaign's Subject cell)"
_SILENT = "The preview does not answer: try again."
_LINE = re.compile(rf"(?:“((?:{'|'.join(FOLDERS)})/[^”]+)”\W{{1,2}})?\bline (\d+)\b", re.IGNORECASE)
_UNSEEN = re.compile(r"<!--.*?-->|<(head|style|script|title)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_CLOSED = "default-src 'none'; img-src {} data:; style-src 'unsafe-inline'; form-action 'none'"
_STYLE = re.compile(r"<style\b.*?</style", re.IGNORECASE | re.DOTALL)
_PREFERS = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)", re.IGNORECASE)
_SCHEMES = re.compile(r"""<meta\s[^>]*name=["']?color-scheme\b""", re.IGNORECASE)
_FILLER = re.compile(r"[\u034f\u200b-\u200f\u00ad\ufeff]")


@dataclass(frozen=True, slots=True)
class Sample:
    """A reader who does not exist; `fields` as of `Recipient`."""

    label: str
    address: str
    fields: Mapping[str, Any]


SAMPLES = {
    "named": Sample("With a name", "ada@reader.example", {"name": "Ada Lovelace", "language": "en", "country": "GB", "tags": []}),
    "unnamed": Sample("Without a name", "reader@reader.example", {"name": "", "language": "", "country": "", "tags": []}),
    "french": Sample("From France", "zoe@reader.example", {"name": "Zoé", "language": "fr", "country": "FR", "tags": []}),
    "vip": Sample("With the tag vip", "ada@reader.example", {"name": "Ada", "language": "en", "country": "PT", "tags": ["vip"]}),
    "odd": Sample(
        "With an odd name",
        "o'neil+news@reader.example",
        {
            "name": "Sinéad <b>O'Neil</b> & *Söhne* of Llanfairpwllgwyngyll",
            "language": "en",
            "country": "IE",
            "tags": ["vip", "press"],
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Preview:
    """A mail, or in `problem` why there is none.

    `html`, "" for a mail of text only, is a document to put into a frame: the mail's but for links, which lead straight to where they
    go, and without the picture that counts opens; `source` is the message as it is sent, `size` its bytes. `line`, from 1, is where
    the problem is when that is known, 0 else, in the file of the folder that `file` names, "" for the template itself.
    """

    sender: str = ""
    subject: str = ""
    snippet: str = ""
    text: str = ""
    html: str = ""
    source: str = ""
    size: int = 0
    problem: str = ""
    line: int = 0
    file: str = ""


def preview(
    name: str, data: bytes, parts: Mapping[str, bytes], sample: str, scheme: str, identity: Identity, base: str
) -> Preview:
    """The mail that the file `name` of the templates folder, with the content `data`, makes for one of SAMPLES, on a screen with the colour
    scheme "light" or "dark". `parts`, `base`: as of `Source` and `Links`. Blocks, for any thread; bounded in time and memory, and writes
    nothing."""
    files = {part: b64encode(content).decode() for part, content in {"": data, **parts}.items()}
    looks = {"sample": sample, "scheme": scheme}
    asked = {"name": name, "files": files, "identity": asdict(identity), "base": base, **looks}
    answer = _helper().ask(json.dumps(asked).encode())
    return Preview(**json.loads(answer)) if answer else Preview(problem=_SILENT)


@cache
def _helper() -> Helper:
    return Helper("local.google.preview")


# --- in the helper ----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer each line of the input, until it is closed."""
    answering(_answer, lambda died: json.dumps(asdict(Preview(problem=died))).encode())


def _answer(request: bytes) -> bytes:
    asked: dict[str, Any] = json.loads(request)
    parts = {name: b64decode(data) for name, data in asked["files"].items()}
    links = Links(asked["base"], Tokens([bytes(MIN_KEY)]))  # what is signed here leads nowhere
    sample = SAMPLES.get(asked["sample"], SAMPLES["named"])
    try:
        found = render(asked["name"], parts.pop(""), parts, sample, Identity(**asked["identity"]), links)
        found = replace(found, html=framed(found.html, links.base, asked["scheme"]) if found.html else "")
    except BadInput as error:
        place = _LINE.search(str(error))
        file, line = (place[1] or "", int(place[2])) if place else ("", 0)
        if not file and asked["name"].endswith(DOC_SUFFIX):
            line = 0  # of the HTML that Docs makes
        found = Preview(problem=str(error), line=line, file=file)
    return json.dumps(asdict(found)).encode()


def render(name: str, data: bytes, parts: Mapping[str, bytes], sample: Sample, identity: Identity, links: Links) -> Preview:
    """As `preview`, here and now, without limits and without a frame; raises BadTemplate, BadInput."""
    system = family(name) in SYSTEM and family(name) != WELCOME
    if name.endswith(DOC_SUFFIX):
        name = name.removesuffix(DOC_SUFFIX) + ".html"
        data = docs.template(exported(data.decode()).encode(), identity.list_name, language_of(name) or identity.language)
    source = Source(
        name=PurePosixPath(name).name,
        data=data,
        campaign="C-0000",
        identity=identity,
        bulk=not system,
        tracked=not system,
        parts={**parts, PART: sample_feed()} if feed_of(data) else parts,
    )
    source = source if _has_subject(source) else replace(source, subject=NO_SUBJECT)
    extra = {"confirm_url": f"{links.base}/subscribe/confirm/"} if system else {}
    reader = Recipient(MailRef(source.campaign, "0" * 32), sample.address, {} if system else sample.fields, extra)
    known = frozenset(KNOWN), CONFIRM_URL if family(name) == CONFIRM else frozenset[str]()
    sent = compile(source, links, *known).splice(reader, formatdate())
    _, shown = _bodies(compile(replace(source, tracked=False), links, *known).splice(reader, formatdate()))
    message = email.message_from_bytes(sent, policy=email.policy.SMTP)
    text, _ = _bodies(sent)
    return Preview(
        sender=identity.from_name,
        subject=str(message["Subject"] or ""),
        snippet=_snippet(shown, text),
        text=text,
        html=shown,
        source=sent.decode("utf-8", "replace").replace("\r\n", "\n"),
        size=len(sent),
    )


def family(name: str) -> str:
    """What a file is called but for its suffix and its language, in lower case: spring/news of `spring/News.fr.md`."""
    stem = name.removesuffix(DOC_SUFFIX) if name.endswith(DOC_SUFFIX) else name.removesuffix(PurePosixPath(name).suffix)
    language = language_of(f"{stem}.md")
    return stem.removesuffix(f".{language}").lower() if language else stem.lower()


def _has_subject(source: Source) -> bool:
    """Whether the template names one: a campaign's row may do that too. Raises BadTemplate for what is wrong besides."""
    read(replace(source, subject=NO_SUBJECT))
    try:
        read(source)
    except BadTemplate:
        return False
    return True


def _bodies(data: bytes) -> tuple[str, str]:
    """The text and the HTML of a message."""
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    parts = {
        part.get_content_type(): part.get_content().replace("\r\n", "\n") for part in message.walk() if not part.is_multipart()
    }
    return parts.get("text/plain", ""), parts.get("text/html", "")


def _snippet(html: str, text: str) -> str:
    """The first words of a mail, with what the HTML hides, as inboxes show them: the preheader stands first."""
    words = unescape(_UNSEEN.sub(" ", html)) if html else text
    return " ".join(_FILLER.sub("", words).split())[:SNIPPET]


def framed(html: str, base: str, scheme: str) -> str:
    """A mail for the frame, as on a screen with that colour scheme, whatever the one it is looked at on. A policy of its own goes in
    front of everything, where nothing in the mail can undo it."""

    def settled(style: re.Match[str]) -> str:
        return _PREFERS.sub(lambda found: "(min-width: 0)" if found[1].lower() == scheme else "(max-width: 0)", style[0])

    head = f'<meta http-equiv="content-security-policy" content="{_CLOSED.format(base)}"><base target="_blank">'
    if _SCHEMES.search(html):
        head += f"<style>:root {{ color-scheme: {scheme} !important }}</style>"
    return f"<!doctype html>{head}{_STYLE.sub(settled, html)}"
