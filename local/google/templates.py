"""The templates folder for a marketer: what is in it, and an editor with a live preview beside it.

A template may be hostile: what it makes is shown in a frame that runs no script, under a policy that lets it load nothing but the
twin's own pictures. A preview writes nothing; files are made, changed and deleted inside the folder only.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from functions.launch.freeze import SUFFIXES, find, languages
from local.google.drive import DriveFolder
from local.google.folder import PICTURES, Folder, Pictures
from local.google.new_template import add, blank, group, suffix
from local.google.page_preview import GROUP as PAGE
from local.google.page_preview import page_preview
from local.google.preview import SAMPLES, Preview, family, preview
from local.google.rest import same_origin
from local.web import page
from shared.errors import BadInput, BadTemplate
from shared.mail.source import MAX_SOURCE, Identity, Source, best, read
from shared.model.paths import SYSTEM
from shared.ports import File

MAX_TEMPLATE = 1_000_000  # bytes that the page edits
_MAX_FORM = 4 * MAX_TEMPLATE  # bytes, encoded
_STARTER = "starter:"
_STARTERS = Path(__file__).parents[1] / "starter"
_OTHERS = "This page may only be used from the twin itself."
_LARGE = "Not saved: the text is over a million characters."
_CHANGED = "Not saved: the file has changed on disk since you opened it. Save again to replace that version with yours."
_GONE = "There is no such file in the folder."
_SAVED = "Saved. The next campaign that uses this template shows the change."
_SAVED_PAGE = "Saved. Visitors see the change in a minute or two."
_DELETED = "Not deleted: the file has changed on disk since you opened it. Look at it once more first."
_SWITCHES = {
    "view": ("Part of the mail", {"html": "Mail", "text": "Text", "source": "Source"}),
    "width": ("Width", {"desk": "Desk", "phone": "Phone"}),
    "scheme": ("Colours", {"light": "Light", "dark": "Dark"}),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'self'"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the list shows it. `subject`: as written, "" when there is none to see; `system`: the product's own mail."""

    name: str
    size: int  # bytes
    modified: datetime
    subject: str = ""
    system: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What the editor is filled with; `text` None is a file that it cannot edit, `hash` that of the file as last seen."""

    name: str
    path: Path | None = None
    text: str | None = None
    hash: str = ""
    note: str = ""
    status: int = 200

    @property
    def warn(self) -> bool:
        return self.status != 200 or self.text is None


class TemplatePages:
    """Routes for people. `identity` is the sender of the previews."""

    def __init__(self, drive: DriveFolder, identity: Identity) -> None:
        self._drive = drive
        self._identity = identity

    def routes(self) -> list[Route]:
        return [
            Route("/templates", self._index),
            Route("/templates", self._create, methods=["POST"]),
            Route("/templates/{name:path}", self._open),
            Route("/templates/{name:path}", self._change, methods=["POST"]),
        ]

    # --- the list

    async def _index(self, request: Request) -> Response:
        deleted = request.query_params.get("deleted", "")
        return await asyncio.to_thread(self._list, f"{deleted} is deleted." if deleted else "")

    async def _create(self, request: Request) -> Response:
        if not same_origin(request):
            return _refused(request, 403, _OTHERS)
        form = await _form(request)
        if form is None:
            return _refused(request, 413, _LARGE)
        return await asyncio.to_thread(self._made, form)

    def _list(self, note: str = "", form: Mapping[str, str] | None = None, status: int = 200) -> Response:
        folder = self._drive.folder
        groups: dict[str, list[Listed]] = {
            "Templates": [],
            "Layouts": [],
            "Partials": [],
            "Pages": [],
            "Assets": [],
            "Other files": [],
        }
        for path in self._drive.paths():
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                groups[group(name)].append(self._listed(name, path))
        values = {
            "folder": folder,
            "groups": groups,
            "note": note,
            "warn": status != 200,
            "form": {"name": "", "from": "", **(form or {})},
            "starters": [file.name for file in sorted(_STARTERS.iterdir())],
            "suffixes": SUFFIXES,
        }
        return page("templates.html", here="/templates", status=status, **values)

    def _listed(self, name: str, path: Path) -> Listed:
        status = path.stat()
        found = Listed(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
        if group(name) != "Templates" or found.size > MAX_SOURCE:
            return found
        return replace(found, subject=self._subject(path), system=_system(name))

    def _subject(self, path: Path) -> str:
        source = Source(name=path.name, data=path.read_bytes(), campaign="", identity=self._identity)
        try:
            return read(source).subject
        except BadTemplate:
            return ""

    # --- one file

    async def _open(self, request: Request) -> Response:
        name = request.path_params["name"]
        if "picture" in request.query_params:
            return await asyncio.to_thread(self._picture, name)
        return await asyncio.to_thread(
            self._page, request, self._read(name, _saved(name) if "saved" in request.query_params else "")
        )

    async def _change(self, request: Request) -> Response:
        """Save, preview, duplicate or delete, as the field `do` says."""
        if not same_origin(request):
            return _refused(request, 403, _OTHERS)
        form = await _form(request)
        if form is None:
            return _refused(request, 413, _LARGE)
        name = request.path_params["name"]
        match form.get("do", "save"):
            case "preview":
                return JSONResponse(await asyncio.to_thread(self._previewed, request, name, _text(form), form))
            case "duplicate":
                return await asyncio.to_thread(self._copied, request, name, form)
            case "delete":
                return await asyncio.to_thread(self._deleted, request, name, form)
            case "save":
                return await asyncio.to_thread(self._saved, request, name, form)
            case _:
                return _refused(request, 400, "This page can save, preview, duplicate and delete.")

    def _read(self, name: str, note: str = "", status: int = 200) -> Shown:
        path = self._drive.find(name)
        if path is None:
            return Shown(name, note=_GONE, status=404)
        data = path.read_bytes()
        try:
            text = data.decode() if len(data) <= MAX_TEMPLATE else None
        except UnicodeDecodeError:
            text = None
        if text is None:
            note = "" if _picture(name) else "This file is not text, or too large to edit here; use a program on your computer."
        return Shown(name, path, text, _hash(data), note, status)

    def _page(self, request: Request, shown: Shown, form: Mapping[str, str] | None = None) -> Response:
        """The editor, with the preview as of now, so that it can be read without any script."""
        under = group(shown.name)
        looks, found = _looks(request.query_params), None
        if shown.text is not None and under in ("Templates", PAGE):
            found = self._previewed(request, shown.name, shown.text, looks)
        answer = page(
            "template_view.html",
            here="/templates",
            status=shown.status,
            shown=shown,
            found=found,
            group=under,
            system=under == "Templates" and _system(shown.name),
            picture=shown.path is not None and _picture(shown.name),
            samples={name: one.label for name, one in SAMPLES.items()},
            switches=_SWITCHES,
            looks=looks,
            form={"name": _another(shown.name), "do": "", **(form or {})},
        )
        answer.headers["content-security-policy"] = _POLICY
        return answer

    def _previewed(self, request: Request, name: str, text: str, asked: Mapping[str, str]) -> dict[str, Any]:
        """The preview's fields, and who gets another language `instead`."""
        looks, base, data = _looks(asked), str(request.base_url).rstrip("/"), text[:MAX_TEMPLATE].encode()
        folder, pictures = Folder(self._drive), Pictures(f"{base}/assets")
        files = asyncio.run(folder.list(""))
        if group(name) == PAGE:
            return asdict(page_preview(name, data, files, looks["scheme"], self._identity, base)) | {"instead": ""}
        try:
            data, parts = asyncio.run(pictures.hosted(folder, files, PurePosixPath(name).name, data))
            found = preview(name, data, parts, looks["sample"], looks["scheme"], self._identity, base)
        except BadInput as error:
            found = Preview(problem=str(error))
        other = _instead(files, name, str(SAMPLES[looks["sample"]].fields["language"]))
        return asdict(found) | {"html": pictures.inside(found.html), "instead": other}

    def _saved(self, request: Request, name: str, form: Mapping[str, str]) -> Response:
        path, text = self._drive.find(name), _text(form)
        if path is None:
            return self._told(request, Shown(name, note=_GONE, status=404))
        if len(text) > MAX_TEMPLATE:
            return self._told(request, Shown(name, path, text, form.get("hash", ""), _LARGE, 400))
        there = path.read_bytes()
        if _hash(there) != form.get("hash", ""):
            return self._told(request, Shown(name, path, text, _hash(there), _CHANGED, 409))
        self._drive.write(path, text.encode())
        if _wants_json(request):
            return self._told(request, Shown(name, path, text, _hash(text.encode()), _saved(name)))
        return RedirectResponse("?saved", status_code=303)

    def _told(self, request: Request, shown: Shown) -> Response:
        if _wants_json(request):
            return JSONResponse({"note": shown.note, "hash": shown.hash}, status_code=shown.status)
        return self._page(request, shown)

    def _deleted(self, request: Request, name: str, form: Mapping[str, str]) -> Response:
        shown = self._read(name)
        if shown.path is None:
            return self._page(request, shown)
        if shown.hash != form.get("hash", ""):
            return self._page(request, replace(shown, note=_DELETED, status=409))
        shown.path.unlink(missing_ok=True)
        return RedirectResponse(f"/templates?deleted={quote(name)}", status_code=303)

    def _copied(self, request: Request, name: str, form: Mapping[str, str]) -> Response:
        path = self._drive.find(name)
        if path is None:
            return self._page(request, Shown(name, note=_GONE, status=404))
        try:
            made = add(self._drive, form.get("name", ""), {suffix(name): path.read_bytes()})
        except BadInput as error:
            return self._page(request, self._read(name, str(error), 400), form)
        return RedirectResponse(self._address(made), status_code=303)

    def _made(self, form: Mapping[str, str]) -> Response:
        start = form.get("from", "")
        starter = next((file for file in _STARTERS.iterdir() if start == _STARTER + file.name), None)
        contents = {starter.suffix: starter.read_bytes()} if starter else blank(form.get("name", ""))
        try:
            made = add(self._drive, form.get("name", ""), contents)
        except BadInput as error:
            return self._list(str(error), form, status=400)
        return RedirectResponse(self._address(made), status_code=303)

    def _address(self, path: Path) -> str:
        return "/templates/" + quote(path.relative_to(self._drive.folder).as_posix())

    def _picture(self, name: str) -> Response:
        path = self._drive.find(name)
        kind = PICTURES.get(PurePosixPath(name).suffix.lower())
        if path is None or kind is None:
            return Response("There is no such picture.", 404, media_type="text/plain")
        headers = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
        return Response(path.read_bytes(), media_type=kind, headers=headers)


def _instead(files: Sequence[File], name: str, language: str) -> str:
    """The file that a reader of a language gets in place of `name`, of those that are one mail in several languages; "" for none."""
    try:
        default = find(files, family(name))
        spoken = {"": default.id} | {key: file.id for key, file in languages(files, family(name)).items()}
    except BadInput:
        return ""
    chosen = spoken[best([*spoken], language)]
    return chosen if name in spoken.values() and chosen != name else ""


def _saved(name: str) -> str:
    return _SAVED_PAGE if group(name) == PAGE else _SAVED


def _system(name: str) -> bool:
    return family(name) in SYSTEM


def _picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURES


def _another(name: str) -> str:
    """What a copy could be called."""
    end = suffix(name)
    return f"{name.removesuffix(end)}-copy{end}"


def _text(form: Mapping[str, str]) -> str:
    return form.get("text", "").replace("\r\n", "\n")


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form, None when it is larger than any that the page sends."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_FORM:
            return None
    return {name: values[0] for name, values in parse_qs(data.decode(errors="replace"), keep_blank_values=True).items()}


def _looks(asked: Mapping[str, str]) -> dict[str, str]:
    """What is asked for of each choice that the preview has, the first where that is none."""
    choices = {"sample": [*SAMPLES], **{name: [*values] for name, (_, values) in _SWITCHES.items()}}
    return {name: asked[name] if asked.get(name) in values else values[0] for name, values in choices.items()}


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _refused(request: Request, status: int, sentence: str) -> Response:
    if _wants_json(request):
        return JSONResponse({"note": sentence}, status_code=status)
    return Response(sentence, status, media_type="text/plain")


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
