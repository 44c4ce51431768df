"""What every implementation of the Drive port does. A subclass gives fixtures `drive`, `folder` (its id), `put(name, bytes)` and
`put_doc(name, bytes)`: a Google Doc into which that text was typed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

import pytest

from shared.errors import NotFound
from shared.mail.docs import template
from shared.ports import DOCUMENT, Drive

Put: TypeAlias = "Callable[[str, bytes], object]"


class DriveContract:
    async def test_files_are_listed_by_name_with_what_we_need(self, drive: Drive, folder: str, put: Put) -> None:
        put("welcome.md", b"# Hello")
        put("news.html", b"<p>News")
        put("grüße & 'more'.md", b"")
        files = await drive.list(folder)
        assert [file.name for file in files] == sorted(["grüße & 'more'.md", "news.html", "welcome.md"])
        welcome = files[-1]
        assert (welcome.mime, welcome.size) == ("text/markdown", 7)
        assert welcome.md5 == hashlib.md5(b"# Hello", usedforsecurity=False).hexdigest()
        assert welcome.modified.endswith("Z") and int(welcome.version) > 0

    async def test_content_comes_back_byte_for_byte(self, drive: Drive, folder: str, put: Put) -> None:
        content = bytes(range(256)) * 300
        put("raw.bin", content)
        (file,) = await drive.list(folder)
        assert await drive.download(file.id) == content

    async def test_an_edit_keeps_the_id_and_raises_the_version(self, drive: Drive, folder: str, put: Put) -> None:
        seen = []
        for text in (b"one", b"two", b"one"):
            put("a.md", text)
            (file,) = await drive.list(folder)
            seen.append(file)
        assert len({file.id for file in seen}) == 1
        versions = [int(file.version) for file in seen]
        assert versions == sorted(set(versions))
        assert (await drive.list(folder))[0] == seen[-1], "looking changes nothing"

    async def test_a_google_doc_comes_as_html(self, drive: Drive, folder: str, put_doc: Put) -> None:
        put_doc(
            "Spring news", b"---\nsubject: Hi {{ name or 'friend' }}\n---\n# News\n\n**Warm** [days](https://a.example/?a=b)\n"
        )
        (file,) = await drive.list(folder)
        assert (file.name, file.mime, file.md5, file.size) == ("Spring news", DOCUMENT, "", 0)
        found = template(await drive.download(file.id), "Letter", "en").decode()
        assert found.startswith("---\nsubject: Hi {{ name or 'friend' }}\n---\n<!DOCTYPE html>")
        assert '<h1>News</h1>\n<p><strong>Warm</strong> <a href="https://a.example/?a=b">days</a></p>\n' in found
        put_doc("Spring news", b"changed")
        (after,) = await drive.list(folder)
        assert after.id == file.id and int(after.version) > int(file.version)

    async def test_many_files_come_in_pages(self, drive: Drive, folder: str, put: Put) -> None:
        names = [f"{n:04}.md" for n in range(1100)]
        for name in names:
            put(name, b"x")
        assert [file.name for file in await drive.list(folder)] == names

    async def test_folders_inside_are_listed_too_after_the_top(self, drive: Drive, folder: str, put: Put) -> None:
        for name in ("b.md", "spring/b.md", "a/b/c/deep.md", "a/b/c/d/deeper.md", "a/late.md", "a/early.md"):
            put(name, b"x")
        found = [(file.folder, file.name) for file in await drive.list(folder)]
        assert found == [("", "b.md"), ("a", "early.md"), ("a", "late.md"), ("a/b/c", "deep.md"), ("spring", "b.md")]

    async def test_many_folders_inside(self, drive: Drive, folder: str, put: Put) -> None:
        names = [f"it's {n:03}" for n in range(90)]
        for name in names:
            put(f"{name}/a.md", b"x")
        assert [file.folder for file in await drive.list(folder)] == names

    async def test_what_is_not_there(self, drive: Drive) -> None:
        with pytest.raises(NotFound):
            await drive.download("no-such-file")
        with pytest.raises(NotFound):
            await drive.list("no'such folder")
