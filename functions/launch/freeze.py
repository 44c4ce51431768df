"""Freezing a mail: fetch the template's bytes, check that they compile, keep them under their hash. A later edit of the file changes
the next campaign, never one that was launched."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final

from shared.errors import BadInput, BadTemplate, NotFound
from shared.links import Links
from shared.mail import docs
from shared.mail.assets import Assets
from shared.mail.bundle import SUFFIX, packed
from shared.mail.confined import compile
from shared.mail.feeds import PART, sample
from shared.mail.source import Identity, Source, feed_of, language_of
from shared.model.paths import CONFIRM, SYSTEM
from shared.ports import DOCUMENT, Drive, File, Objects

from .feeds import NOT_HERE, Read
from .parts import gather

SUFFIXES = (".md", ".html", ".htm", ".mjml", ".txt")
LANGUAGES: Final = 30  # of a mail, besides that of everybody else
PAGES: Final = "pages"  # the folder of the public pages' texts
ASIDE = ("assets", "layouts", "partials", PAGES)  # folders at the top that hold no templates
CONFIRM_URL = frozenset({"confirm_url"})
KNOWN = frozenset({"tags"})  # what a template may say of a subscriber, besides the standard names


def find(files: Sequence[File], wanted: str) -> File:
    """The template called `wanted`, with or without its suffix and folder, whatever its case; raises BadInput. One at the top goes
    before those in folders."""
    templates = [file for file in files if is_template(file)]
    if not wanted:
        raise BadInput(f"Choose a template. The folder has: {_names(templates)}.")
    name = wanted.lower()
    ways = (path_of, lambda file: _stem(path_of(file)), lambda file: file.name, lambda file: _stem(file.name))
    found = next((same for way in ways if (same := [file for file in templates if way(file).lower() == name])), [])
    if not found and (spoken := [file for file in templates if name in _family(file)]):
        raise BadInput(
            f"“{wanted[:60]}” is there in other languages only ({_names(spoken)}): add {wanted[:60]}.md for all other readers, "
            "or give the whole name of one."
        )
    if not found:
        raise BadInput(f"There is no template “{wanted[:60]}” in the folder. It has: {_names(templates)}.")
    if len(found) > 1:
        raise BadInput(
            f"More than one template is called “{wanted[:60]}”: give the whole name, with its folder ({_names(found)})."
        )
    return found[0]


def letters(files: Sequence[File]) -> list[File]:
    """The templates a campaign may use: those at the top that are called like a system mail are the system's own, in all languages."""
    system = {file for name in SYSTEM for file in called(files, name)}
    return [file for file in files if file not in system]


def called(files: Sequence[File], name: str) -> list[File]:
    """The templates at the top that are called `name` (lower case), in all languages."""
    return [file for file in files if not file.folder and name in (_stem(file.name).lower(), *_family(file))]


def languages(files: Sequence[File], wanted: str) -> dict[str, File]:
    """The files that stand beside the one that `find` finds, each under its language, in lower case: `news.fr-CA.md` beside `news`. None
    where `wanted` has a suffix, and so means one file. Raises BadInput as `find`, and for a language that two files have."""
    default = find(files, wanted)
    if _stem(wanted) != wanted:
        return {}
    beside = [file for file in files if is_template(file) and file.folder == default.folder and file != default]
    found: dict[str, File] = {}
    for file in beside:
        if _stem(default.name).lower() in _family(file):
            language = language_of(name_of(file)).lower()
            if language in found:
                both = _names([found[language], file])
                raise BadInput(f"“{wanted[:60]}” is there twice in the language “{language}” ({both}): remove one of them.")
            found[language] = file
    if len(found) > LANGUAGES:
        raise BadInput(f"“{wanted[:60]}” is there in {len(found)} languages besides its own, and {LANGUAGES} is the most.")
    return found


def _family(file: File) -> tuple[str, ...]:
    """What a cell may say for the template of which this file is one language, in lower case; () for a file in no language."""
    language = language_of(name_of(file))
    if not language or not is_spoken(language):  # news.old.md
        return ()
    name = _stem(name_of(file)).removesuffix(f".{language}").lower()
    return name, f"{file.folder.lower()}/{name}".lstrip("/")


def is_spoken(language: str) -> bool:
    """Whether a code is that of a language."""
    from babel import localedata  # 30 ms, for those only who have a file that names one

    return localedata.exists(language.partition("-")[0].lower())


def name_of(file: File) -> str:
    """A file's name as that of a `Source`: a Google Doc becomes HTML."""
    return f"{_stem(file.name)}.html" if file.mime == DOCUMENT else file.name


def is_aside(file: File) -> bool:
    """Whether a file is one that templates may be made of."""
    return file.folder.partition("/")[0].lower() in ASIDE


def is_template(file: File) -> bool:
    """Whether a file may be a mail, by its name and place."""
    if is_aside(file):
        return False
    return file.mime == DOCUMENT or PurePosixPath(file.name).suffix.lower() in SUFFIXES


def path_of(file: File) -> str:
    """A file's name with its folder: "spring/news.md"."""
    return f"{file.folder}/{file.name}".lstrip("/")


def _stem(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name


def _names(files: Sequence[File]) -> str:
    names = [path_of(file) for file in files]
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "") if names else "no templates yet"


async def collected(
    drive: Drive,
    files: Sequence[File],
    file: File,
    identity: Identity,
    assets: Assets | None,
    *,
    trial: bool = False,
    feed: Read | None = None,
) -> tuple[bytes, dict[str, bytes], dict[str, list[str]]]:
    """What a template's `Source` is made of: its bytes, and those of its parts and their versions, see `gather`. `assets`: where pictures
    are put, None leaves them where they are; `trial`: see `Assets.mail`; it takes a made-up feed. `feed`: None where there can be none.
    Raises NotFound, BadTemplate, BadInput, Unavailable."""
    data = await _fetched(drive, file, identity)
    pictures = assets.mail(files, trial=trial) if assets else None
    data = await pictures.hosted(data) if pictures else data
    parts, versions = await gather(drive, files, name_of(file), data)
    if pictures:
        parts = {path: await pictures.hosted(part) for path, part in parts.items()}
    if address := feed_of(data):
        if not trial and feed is None:
            raise BadInput(NOT_HERE)
        parts[PART] = sample() if trial or feed is None else await feed(address)
    return data, parts, versions


async def _fetched(drive: Drive, file: File, identity: Identity) -> bytes:
    """A template's bytes; a Google Doc in our layout."""
    data = await drive.download(file.id)
    if file.mime != DOCUMENT:
        return data
    language = language_of(name_of(file)) or identity.language
    return await asyncio.to_thread(docs.template, data, identity.list_name, language)


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
    trial: bool = True,
    spoken: Mapping[str, File] = MappingProxyType({}),
    files: Sequence[File] = (),
    assets: Assets | None = None,
    feed: Read | None = None,
) -> dict[str, Any]:
    """The campaign's `mail` field; its bytes are in Objects before this returns. Raises BadTemplate, BadInput, Unavailable.

    `single`: a mail that somebody asked for, which is neither tracked nor unsubscribed from; `trial`: whether it is compiled to see that
    it can be. `spoken`: the mail in other languages, see `languages`: they come as the field's `languages`, which is left out without
    any. Links have one numbering in all of them: an address that several have has the same number, so that a report counts it once.
    `files`: where layouts and partials are looked for; what the mail has of them is frozen with it, and `parts` says which they were.
    `assets`, `feed`: see `collected`; the field's `feed` is the address.
    """
    about = Source(name="", data=b"", subject=subject, campaign=campaign, identity=identity, bulk=not single, tracked=not single)
    numbered: list[str] = []
    kept: dict[str, dict[str, Any]] = {}
    for language, one in {"": file, **spoken}.items():
        try:
            data, parts, versions = await collected(drive, files, one, identity, assets, feed=feed)
            source = replace(about, name=name_of(one), data=data, numbered=numbered, parts=parts)
            extra = CONFIRM_URL if campaign == CONFIRM else frozenset[str]()
            found = (await asyncio.to_thread(compile, source, links, KNOWN, extra)).links if trial else []
        except NotFound:
            raise BadInput(f"The template {one.name} was just removed from the folder.") from None
        except BadTemplate as error:
            raise BadTemplate(f"The template {one.name} cannot be sent: {error}") from None
        numbered = [target for _, target in found]
        blob = packed(data, parts) if parts else data
        digest = hashlib.sha256(blob).hexdigest()
        frozen = f"mails/{digest}{SUFFIX if parts else ''}"
        await objects.put(frozen, blob)
        origin = {"file": one.id, "version": one.version, "name": source.name, "parts": versions}
        if address := feed_of(data):
            origin["feed"] = address
        kept[language] = {"object": frozen, "hash": digest, **origin}
    return {
        **kept.pop(""),
        "subject": subject,
        "identity": asdict(identity),
        "bulk": not single,
        "tracked": not single,
        "links": {str(number): target for number, target in enumerate(numbered)},  # of all languages; by which reports name them
        **({"languages": kept} if kept else {}),
    }


def current(mail: Mapping[str, Any], file: File, spoken: Mapping[str, File], identity: Identity) -> bool:
    """Whether a frozen mail is that of these files as they are, and of this sender."""
    kept = {"": mail, **mail.get("languages", {})}
    then = {language: (one.get("file"), one.get("version")) for language, one in kept.items()}
    now = {language: (one.id, one.version) for language, one in {"": file, **spoken}.items()}
    return then == now and mail.get("identity") == asdict(identity)
