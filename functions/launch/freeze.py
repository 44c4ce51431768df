"""Freezing a mail: fetch the template's bytes, check that they compile, keep them under their hash. A later edit of the file changes
the next campaign, never one that was launched."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from shared.errors import BadInput, BadTemplate, NotFound
from shared.links import Links
from shared.mail.confined import compile
from shared.mail.source import Identity, Source
from shared.model.paths import CONFIRM, WELCOME
from shared.ports import DOCUMENT, Drive, File, Objects

SUFFIXES = (".md", ".html", ".htm", ".txt")
CONFIRM_URL = frozenset({"confirm_url"})
KNOWN = frozenset({"tags"})  # what a template may say of a subscriber, besides the standard names


def find(files: Sequence[File], wanted: str) -> File:
    """The template called `wanted`, with or without its suffix, whatever its case; raises BadInput."""
    templates = [file for file in files if file.mime == DOCUMENT or PurePosixPath(file.name).suffix.lower() in SUFFIXES]
    if not wanted:
        raise BadInput(f"Choose a template. The folder has: {_names(templates)}.")
    name = wanted.lower()
    found = [file for file in templates if file.name.lower() == name]
    found = found or [file for file in templates if PurePosixPath(file.name).stem.lower() == name]
    if not found:
        raise BadInput(f"There is no template “{wanted[:60]}” in the folder. It has: {_names(templates)}.")
    if len(found) > 1:
        raise BadInput(f"More than one template is called “{wanted[:60]}”: give the whole name ({_names(found)}).")
    return found[0]


def letters(files: Sequence[File]) -> list[File]:
    """The templates a campaign may use: the confirmation and the welcome are the system's own."""
    return [file for file in files if PurePosixPath(file.name).stem.lower() not in (CONFIRM, WELCOME)]


def _names(files: Sequence[File]) -> str:
    names = [file.name for file in files]
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "") if names else "no templates yet"


async def freeze(
    drive: Drive,
    objects: Objects,
    links: Links,
    file: File,
    campaign: str,
    identity: Identity,
    *,
    subject: str = "",
    single: bool = False,
) -> dict[str, Any]:
    """The campaign's `mail` field; its bytes are in Objects before this returns. Raises BadTemplate, BadInput, Unavailable.

    `single`: a confirmation, which is neither tracked nor unsubscribed from.
    """
    try:
        data = await drive.download(file.id)
    except NotFound:
        raise BadInput(f"The template {file.name} was just removed from the folder.") from None
    name = file.name
    if file.mime == DOCUMENT and not name.endswith(".md"):
        name += ".md"  # what a Google Doc is downloaded as
    source = Source(
        name=name, data=data, subject=subject, campaign=campaign, identity=identity, bulk=not single, tracked=not single
    )
    try:
        compiled = await asyncio.to_thread(compile, source, links, KNOWN, CONFIRM_URL if single else frozenset())
    except BadTemplate as error:
        raise BadTemplate(f"The template {file.name} cannot be sent: {error}") from None
    digest = hashlib.sha256(data).hexdigest()
    await objects.put(f"mails/{digest}", data)
    return {
        "object": f"mails/{digest}",
        "hash": digest,
        "file": file.id,
        "version": file.version,
        "name": name,
        "subject": subject,
        "identity": asdict(identity),
        "bulk": not single,
        "tracked": not single,
        "links": {str(number): target for number, target in compiled.links},  # by which reports name them
    }
