"""A campaign as everybody may see it: rendered once in each language when it begins, for a reader of whom nothing is known.

So no reader's data can be in it, links are not counted, and its way to unsubscribe leads to the public page. In the process that
confines compiling: it is the template's text that decides what is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any, Final

from shared.errors import BadInput
from shared.links import Links
from shared.logs import log
from shared.mail.compose import Content
from shared.mail.confined import public
from shared.mail.source import in_language, language_of, thawed
from shared.ports import Objects

SUBJECT, ABOUT = 150, 300  # characters kept of each
_HEAD = re.compile(r"<head\b[^<>]*>", re.I)
_TITLE = re.compile(r"<title\b", re.I)
_LINK = re.compile(r"(?<!\s)\s*<[^\s<>]+>")  # what stands behind a link in a text part
_SENTENCE = re.compile(r".+?(?:[。！？]|[.!?…](?=\s|$))")
_UNREAL = re.compile(r"[\ud800-\udfff\ufffe\uffff]")
_TEXT: Final = (
    '<!doctype html>\n<html lang="{}">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
    "<title>{}</title>\n<style>pre{{margin:2rem auto;padding:0 1rem;max-width:40rem;white-space:pre-wrap;overflow-wrap:anywhere;"
    "font:1rem/1.6 system-ui,sans-serif}}</style>\n</head>\n<body>\n<main><pre>{}</pre></main>\n</body>\n</html>\n"
)


async def with_views(objects: Objects, links: Links, campaign: str, mail: Mapping[str, Any]) -> dict[str, Any]:
    """A frozen `mail` with `view` in each language: {object, subject, about}; left out where the template says nothing without a reader.
    The objects are there before this returns. Raises Unavailable, NotFound."""
    found = {
        language: await _view(objects, links, campaign, in_language(mail, language))
        for language in ("", *mail.get("languages", {}))
    }
    spoken = {language: {**one, **found[language]} for language, one in mail.get("languages", {}).items()}
    return {**mail, **found[""], **({"languages": spoken} if spoken else {})}


async def _view(objects: Objects, links: Links, campaign: str, mail: Mapping[str, Any]) -> dict[str, Any]:
    source = replace(thawed(mail, await objects.get(mail["object"]), campaign), tracked=False, numbered=())
    try:
        content = await asyncio.to_thread(public, source, links)
    except BadInput as error:
        log("INFO", f"it has no public version: {error}", campaign=campaign, template=source.name)
        return {}
    page = document(content, language_of(source.name) or source.identity.language).encode()
    name = f"views/{hashlib.sha256(page).hexdigest()}.html"
    await objects.put(name, page)
    return {"view": {"object": name, "subject": _line(content.subject, SUBJECT), "about": about(content)}}


def document(content: Content, language: str) -> str:
    """The page: the mail's own HTML, with a title, or its text in a plain page."""
    subject = escape(_line(content.subject, SUBJECT))
    if not content.html:
        return _UNREAL.sub("", _TEXT.format(escape(language), subject, escape(content.text)))
    page = content.html
    if not _TITLE.search(page):
        page = _HEAD.sub(lambda found: f"{found[0]}<title>{subject}</title>", page, count=1)
    return _UNREAL.sub("", page)


def about(content: Content) -> str:
    """One line that says what is in it: the preheader, or the first sentence."""
    if given := _line(content.preheader, ABOUT):
        return given
    lines = (_line(_LINK.sub("", line), 2000) for line in content.text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#>-*•" and line[0].isprintable()), "")
    sentence = _SENTENCE.match(first)
    return _line(sentence[0] if sentence else first, ABOUT)


def _line(text: str, most: int) -> str:
    """In one line, and not too long."""
    line = _UNREAL.sub("", " ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
