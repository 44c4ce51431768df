"""Which files are templates, and what is kept of one."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from functions.launch.freeze import find, freeze, letters
from functions.send_batch.mails import Mails
from shared.adapters.embedded import FolderObjects
from shared.errors import BadInput
from shared.mail.assets import Assets
from shared.ports import DOCUMENT, File
from tests.unit.test_assets import BASE, PNG, Pictures, url

from .world import IDENTITY, World


def file(name: str, mime: str = DOCUMENT, folder: str = "") -> File:
    return File(name, name, mime, "7", "2027-01-01T00:00:00Z", "", 0, folder)


@pytest.mark.parametrize(
    ("name", "kept"),
    [("Spring news", "Spring news.html"), ("news.md", "news.html"), ("letter.fr", "letter.fr.html")],
)
async def test_a_google_doc_is_put_into_our_layout(world: World, name: str, kept: str) -> None:
    world.drive.put(name, "<p>---</p><p>subject: Hi {{ name or “you” }}</p><p>---</p><p>Hello, {{ name or “friend” }}</p>")
    found = find(letters([file(name), file("other")]), name.upper())
    mail = await freeze(world.drive, world.objects, world.links, found, "C-0001", IDENTITY)
    assert (mail["name"], mail["file"], mail["version"]) == (kept, name, "7")
    assert await Mails(world.objects, world.links).get("C-0001", mail), "send_batch makes the mail from what was kept"
    data = (await world.objects.get(mail["object"])).decode()
    assert data.startswith('---\nsubject: Hi {{ name or "you" }}\n---\n<!DOCTYPE html>')
    assert f'<html lang="{"fr" if ".fr" in name else "en"}"' in data and '<p>Hello, {{ name or "friend" }}</p>' in data


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


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        ("news", ""),
        ("spring/news", "spring"),
        ("Spring/News.md", "spring"),
        ("sale", "spring/late"),
        ("sale.md", "spring/late"),
        ("spring/late/sale", "spring/late"),
        ("welcome", "spring"),
    ],
)
def test_a_template_in_a_folder_is_found_with_its_folder_or_where_its_name_is_the_only_one(wanted: str, where: str) -> None:
    names = {
        "": ("news.md", "welcome.md"),
        "autumn": ("news.md",),
        "spring": ("news.md", "welcome.md"),
        "spring/late": ("sale.md",),
    }
    files = [file(name, "text/markdown", folder) for folder in names for name in names[folder]]
    assert find(letters(files), wanted).folder == where


def test_names_in_several_folders_are_told_with_them() -> None:
    files = [file("news.md", "text/markdown", folder) for folder in ("a", "b")]
    with pytest.raises(BadInput, match=r"give the whole name, with its folder \(a/news\.md, b/news\.md\)"):
        find(files, "news")


@pytest.mark.parametrize("folder", ["layouts", "Partials", "assets/icons"])
def test_what_mails_are_made_of_is_no_template(folder: str) -> None:
    with pytest.raises(BadInput, match=r"It has: news/layouts/a\.md\."):
        find([file("a.md", "text/markdown", folder), file("a.md", "text/markdown", "news/layouts")], "b")


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    pictures = Pictures()
    return Assets(pictures, FolderObjects(tmp_path / "public"), BASE, pictures.fetch)  # type: ignore[arg-type]


async def test_a_docs_pictures_are_frozen_with_it(world: World, assets: Assets, tmp_path: Path) -> None:
    image = f'<img src="data:image/png;base64,{b64encode(PNG).decode()}" style="width: 20.00px">'
    world.drive.put("News", f"<p>---</p><p>subject: Hi</p><p>---</p><p>Hello {image}</p>")
    mail = await freeze(world.drive, world.objects, world.links, file("News"), "C-1", IDENTITY, assets=assets)
    assert f'<img src="{url(PNG, "png")}" alt="" width="20">'.encode() in await world.objects.get(mail["object"])
    assert (tmp_path / "public" / "assets" / url(PNG, "png").rpartition("/")[2]).read_bytes() == PNG


async def test_launch_hands_them_on(world: World, assets: Assets) -> None:
    world.drive.put("letter.md", "---\nsubject: Hi\n---\nHello ![us](assets/logo.png)")
    launch = replace(world.launch(), assets=assets)
    files = [*await world.drive.list(""), *await assets.drive.list("")]
    mail = await launch._start.frozen(files, "letter", "C-1")
    assert url(PNG, "png").encode() in await world.objects.get(mail["object"])
