"""The files of the folders `layouts` and `partials` that a template is put together from: found, fetched, and told when they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.errors import BadInput, BadTemplate, NotFound
from shared.mail.parts import FOLDERS, reached
from shared.mail.source import MAX_SOURCE
from shared.ports import DOCUMENT, Drive, File

MOST: Final = 50  # files of one mail


async def gather(drive: Drive, files: Sequence[File], name: str, data: bytes) -> tuple[dict[str, bytes], dict[str, list[str]]]:
    """The files that a template, called `name`, names, those that these name, and so on: their bytes, and [file id, version] of each, by
    "partials/footer.html". One that is not there is left out: the compiler says where it is missed. `files`: the whole listing. Raises
    BadTemplate, BadInput, Unavailable; a download each."""
    there = _listed(files)
    parts: dict[str, bytes] = {}
    versions: dict[str, list[str]] = {}
    wanted, size = reached(name, data), 0
    for path in wanted:  # which grows
        if path not in there:
            continue
        if len(there[path]) > 1:
            raise BadInput(f"The folder has two files “{path}”: remove one of them.")
        [file] = there[path]
        try:
            parts[path] = await drive.download(file.id)
        except NotFound:
            raise BadInput(f"The file {path} was just removed from the folder.") from None
        versions[path] = [file.id, file.version]
        size += len(parts[path])
        if len(parts) > MOST or size > MAX_SOURCE:
            raise BadTemplate(
                f"The template {name} is put together from more than {MOST} files or {MAX_SOURCE // 1024} KB: use fewer."
            )
        wanted += [other for other in reached(path, parts[path]) if other not in wanted]
    return parts, versions


def unchanged(mail: Mapping[str, Any], files: Sequence[File]) -> bool:
    """Whether the files that a frozen `mail`, in any language, was put together from are those in the folder."""
    now = {path: [[file.id, file.version] for file in found] for path, found in _listed(files).items()}
    then = [one.get("parts", {}) for one in (mail, *mail.get("languages", {}).values())]
    return all(now.get(path) == [version] for parts in then for path, version in parts.items())


def _listed(files: Sequence[File]) -> dict[str, list[File]]:
    found: dict[str, list[File]] = {}
    for file in files:
        if file.folder.lower() in FOLDERS and file.mime != DOCUMENT:
            found.setdefault(f"{file.folder.lower()}/{file.name}", []).append(file)
    return found
