"""What a file of the folder `pages` looks like as a public page, made and drawn as launch and the public steps do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import shared.pages
from functions.launch.freeze import PAGES, name_of, path_of
from functions.launch.page_text import page_text
from functions.launch.pages import check_place, place
from local.google.docs import exported
from local.google.preview import Preview, framed
from shared.errors import BadInput
from shared.http import Request
from shared.mail.source import Identity
from shared.model.tenant import Tenant
from shared.pages.faces import DEFAULT, Shown
from shared.ports import DOCUMENT, File

GROUP = PAGES.capitalize()  # the heading under which they are listed
_PAGES = shared.pages.Pages(Path(shared.pages.__file__).parent)


def page_preview(name: str, data: bytes, files: Sequence[File], scheme: str, identity: Identity, base: str) -> Preview:
    """The page that a file, called `name` with its folder and with the content `data`, comes to: `subject` is its title, `source` its HTML.
    `files`: the whole folder; `scheme`: "light" or "dark". In the product's own colour, whatever the Settings tab says."""
    ours = [file for file in files if file.folder.lower() == PAGES]
    found = next((file for file in ours if file.id == name or path_of(file) == name), None)
    if found is None:
        return Preview(problem=f"A page is a file right inside the folder {PAGES}.")
    page, language = place(found)
    doc = found.mime == DOCUMENT
    try:
        check_place(page, language, twice=[place(file) for file in ours].count((page, language)) > 1)
        data = exported(data.decode()).encode() if doc else data
        text = page_text(name_of(found), data, identity.from_name, doc=doc)
    except BadInput as error:
        return Preview(problem=str(error))
    tenant = Tenant(identity.from_name, identity, "", "")
    shown = Shown(tenant, {page: {language or DEFAULT: text}})
    asked = Request("GET", query={"lang": language or identity.language})
    answer = _PAGES.draw(shown, asked, "message.html", name=page, again="")
    html = answer.body.decode()
    return Preview(
        sender=identity.from_name,
        subject=text["title"],
        html=framed(html, base, scheme),
        text="",
        source=text["html"],
        size=len(answer.body),
    )
