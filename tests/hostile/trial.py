"""What becomes of hostile templates: each is compiled, and mailed to three people, in a fork with the limits of `confined`."""

from __future__ import annotations

import email
import email.policy
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any, TypedDict

import css_inline
import jinja2
from markdown_it import MarkdownIt

from shared.errors import BadInput
from shared.links import Links
from shared.mail import confined
from shared.mail.compile import Recipient, compile
from shared.mail.source import Identity, Source
from shared.model.ref import MailRef
from shared.tokens import Tokens

from .corpus import Hostile

SECONDS, MEGABYTES = 2, 256  # allowed
MAX_MAIL = 10_000_000  # bytes
IDENTITY = Identity("Lumen Coffee", "letter@lumen.example", "12 Harbour Street\nBremen", "Lumen letter", "letter.lumen.example")
LINKS = Links("https://go.lumen.example", Tokens([b"k" * 32]))
DATE = "Mon, 23 Nov 2026 10:00:00 +0000"
KNOWN = frozenset({"tags"})
PEOPLE: list[dict[str, Any]] = [
    {"name": "Ada", "language": "en", "tags": ["press", "vip"]},
    {"name": "<b>*Zoé*</b>\r\nBcc: x@example.com {{ 1 }} ''.__class__", "tags": [f"tag {n}" for n in range(30)]},
    {},
]
# How Python prints what no template may see: classes, functions, addresses in memory, the environment, files.
LEAK = re.compile(
    r"<(?:class|module) '|<(?:function|built-in|bound method|slot wrapper|method|attribute|property|macro|loopcontext) \w|<[\w.]+ object"
    r"|\bat 0x[0-9a-f]{6,}|\bdict_(?:keys|values|items)\(|\bUndefined\b|environ\(|root:x:0|\bjinja2\.\w+|mappingproxy",
    re.IGNORECASE,
)


class Found(TypedDict, total=False):
    sentence: str
    fault: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a template: `sentence` when it was refused, `fault` when it did harm, `ended` when the kernel ended it."""

    hostile: Hostile
    sentence: str
    fault: str
    ended: str
    seconds: float
    megabytes: float


def tried(
    templates: Iterable[Hostile], work: Callable[[Hostile], Found], cpu: int = SECONDS, megabytes: int = MEGABYTES
) -> Iterator[Outcome]:
    """Each template's outcome; `work` gives its sentence or its fault. Who is ended at the limits did harm to nobody else."""
    for one in templates:
        ended = confined.confined(lambda one=one: json.dumps(work(one)).encode(), cpu=cpu, wall=300, memory=megabytes << 20)  # type: ignore[misc]
        said: Found = json.loads(ended.said) if not ended.died else {}
        fault = ended.died if "read by our program" in ended.died else said.get("fault", "")
        seconds = said.get("seconds", ended.seconds)
        yield Outcome(one, said.get("sentence", ""), fault, ended.died, seconds, ended.peak / (1 << 20))


def ours(one: Hostile) -> Found:
    """The time is that of compiling and of making three mails, without looking at them."""
    subject = "" if b"subject:" in one.data else one.subject
    source = Source(name=one.name, data=one.data, subject=subject, campaign="C-0001", identity=IDENTITY, parts=one.parts)
    start, made, sentence = time.process_time(), [], ""
    try:
        mail = compile(source, LINKS, KNOWN, frozenset())
        for fields in PEOPLE:
            made.append(mail.splice(Recipient(MailRef("C-0001", "ab" * 16), "ada@example.com", fields), DATE))
    except BadInput as error:
        sentence = str(error)
    found: Found = {"seconds": time.process_time() - start, "sentence": sentence}
    harm = next((harm for data in made if (harm := _harm(data))), "")
    if (sentence and not re.fullmatch(r"[^\n]{10,400}[.?]", sentence)) or LEAK.search(sentence):
        harm = f"no sentence: {sentence[:200]}"
    return {**found, "fault": harm}


def _harm(data: bytes) -> str:
    if len(data) > MAX_MAIL:
        return f"a mail of {len(data) / 1e6:.0f} MB"
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    if extra := {"bcc", "cc", "x"} & {name.lower() for name in message} or len(message.get_all("Subject", [])) != 1:
        return f"a header of its own: {extra}"
    texts = [part.get_content() for part in message.walk() if part.get_content_maintype() == "text"]
    for text in [str(message["Subject"]), *texts, *(unescape(text) for text in texts[1:])]:
        if leak := LEAK.search(text):
            return f"a leak: {leak[0][:80]}"
    if len(texts) > 1 and re.search(
        r"<script|<iframe|<[^>]*\bon\w+=x|<[^>]*(?:href|src)=.?javascript:|<style[^<]*(?:javascript:|@import)", texts[1], re.I
    ):
        return "markup that runs"
    return ""


def plain(one: Hostile) -> Found:
    """The control: the same libraries without any of our limits."""
    environment = jinja2.Environment(autoescape=True)  # as most would
    try:
        text = one.data.decode()
        if "x" != one.subject != "Hello":
            text = one.subject
        shown = environment.from_string(text).render({**PEOPLE[0], "postal_address": IDENTITY.postal_line})
        if one.name.endswith(".md"):
            shown = MarkdownIt("commonmark").render(shown)
        elif one.name.endswith(".html"):
            shown = css_inline.inline(shown)
    except MemoryError:
        raise
    except Exception as error:
        return {"sentence": type(error).__name__}
    leak = LEAK.search(shown) or LEAK.search(unescape(shown))
    return {"fault": f"a leak: {leak[0][:80]}"} if leak else {"fault": "too long a mail"} if len(shown) > MAX_MAIL else {}
