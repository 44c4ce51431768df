"""Which files are templates, and what is kept of one."""

from __future__ import annotations

import pytest

from functions.launch.freeze import find, freeze, letters
from functions.send_batch.mails import Mails
from shared.errors import BadInput
from shared.ports import DOCUMENT, File

from .world import IDENTITY, LETTER, World


def file(name: str, mime: str = DOCUMENT) -> File:
    return File(name, name, mime, "7", "2027-01-01T00:00:00Z", "", 0)


@pytest.mark.parametrize(
    ("name", "kept"),
    [("Spring news", "Spring news.md"), ("news.md", "news.md"), ("a.html", "a.html.md"), ("letter.fr", "letter.fr.md")],
)
async def test_a_google_doc_is_a_markdown_template(world: World, name: str, kept: str) -> None:
    world.drive.put(name, LETTER)
    found = find(letters([file(name), file("other")]), name.upper())
    mail = await freeze(world.drive, world.objects, world.links, found, "C-0001", IDENTITY)
    assert (mail["name"], mail["file"], mail["version"]) == (kept, name, "7")
    assert await Mails(world.objects, world.links).get("C-0001", mail), "send_batch makes the mail from what was kept"


def test_other_things_of_google_are_no_templates() -> None:
    sheet = file("plan", "application/vnd.google-apps.spreadsheet")
    with pytest.raises(BadInput, match=r"no template “plan” in the folder\. It has: news"):
        find([sheet, file("news")], "plan")
    assert letters([file("welcome"), file("confirm"), file("news")]) == [file("news")]


def test_a_doc_and_a_file_of_one_name_are_told_apart_by_the_whole_name() -> None:
    files = [file("news"), file("news.md", "text/markdown")]
    assert [find(files, name).name for name in ("news", "News.md")] == ["news", "news.md"]
    with pytest.raises(BadInput, match="More than one"):
        find([file("news"), file("news")], "news")
