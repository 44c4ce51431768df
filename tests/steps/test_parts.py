"""Layouts and partials are frozen with the mail: an edit of one changes the next campaign, and the system's own mails at once."""

from __future__ import annotations

from typing import Any

import pytest

from functions.launch.freeze import find, freeze
from functions.launch.parts import MOST, gather, unchanged
from functions.launch.preflight import thawed
from functions.send_batch.mails import Mails
from shared.errors import BadInput, BadTemplate
from shared.mail.compile import Recipient
from shared.model.ref import MailRef
from shared.ports import DOCUMENT, File

from .fakes import FakeDrive
from .test_launch import GO, campaign, tick
from .world import IDENTITY, LETTER, World

PLAIN = b"<html><body>{{ content }}{% include 'partials/foot.html' %}</body></html>"


class FolderDrive(FakeDrive):
    """One whose names may have folders in front."""

    async def list(self, folder: str) -> list[File]:
        found = []
        for path, (data, version) in sorted(self.files.items()):
            folder, _, name = path.rpartition("/")
            found.append(File(path, name, "text/plain", str(version), "2027-01-01T00:00:00Z", "", len(data), folder))
        return found


@pytest.fixture
def drive(world: World) -> FolderDrive:
    drive = FolderDrive()
    drive.files = dict(world.drive.files)
    drive.put("letter.md", LETTER.replace("---\n", "---\nlayout: plain\n", 1))
    drive.put("Layouts/plain.html", PLAIN.decode())
    drive.put("partials/foot.html", "<p>Foot one</p>")
    drive.put("partials/unused.html", "<p>Not in it</p>")
    drive.put("news/partials/foot.html", "<p>Not in it</p>")
    world.drive = drive
    return drive


async def frozen(world: World, name: str = "letter") -> dict[str, Any]:
    files = await world.drive.list("")
    return await freeze(world.drive, world.objects, world.links, find(files, name), "C-0001", IDENTITY, files=files)


async def made(world: World, mail: dict[str, Any]) -> str:
    compiled = await Mails(world.objects, world.links).get("C-0001", mail)
    recipient = Recipient(MailRef("C-0001", "ab" * 16), "ada@example.com", {"name": "Ada"})
    return compiled.splice(recipient, "Mon, 23 Nov 2026 10:00:00 +0000").decode()


async def test_one_object_holds_all_that_the_mail_is_made_of(world: World, drive: FolderDrive) -> None:
    mail = await frozen(world)
    assert mail["parts"] == {"layouts/plain.html": ["Layouts/plain.html", "1"], "partials/foot.html": ["partials/foot.html", "1"]}
    source = await thawed(world.objects, "C-0001", mail)
    assert source.data == drive.files["letter.md"][0]
    assert source.parts == {"layouts/plain.html": PLAIN, "partials/foot.html": b"<p>Foot one</p>"}
    drive.put("partials/foot.html", "<p>Foot two</p>")
    assert "Foot one" in await made(world, mail), "what was frozen stays"
    again = await frozen(world)
    assert again["object"] != mail["object"] and again["hash"] != mail["hash"] and "Foot two" in await made(world, again)


async def test_a_mail_of_one_file_is_frozen_as_that_file(world: World, drive: FolderDrive) -> None:
    mail = await frozen(world, "welcome")
    assert mail["parts"] == {} and await world.objects.get(mail["object"]) == drive.files["welcome.md"][0]


async def test_the_system_mails_follow_their_parts(world: World, drive: FolderDrive) -> None:
    drive.put("welcome.md", "---\nsubject: Welcome\n---\nHello.\n\n{% include 'partials/w.md' %}\n")
    drive.put("partials/w.md", "First words.")
    await tick(world, **GO)
    first = await campaign(world, "welcome")
    await tick(world, **GO)
    assert (await campaign(world, "welcome"))["mail"] == first["mail"]
    drive.put("partials/w.md", "Second words.")
    await tick(world, **GO)
    assert "Second words." in await made(world, (await campaign(world, "welcome"))["mail"])
    del drive.files["partials/w.md"]
    await tick(world, **GO)
    gone = await campaign(world, "welcome")
    assert (
        gone["answer"]
        == "The template welcome.md cannot be sent: The template, line 6: there is no file “w.md” in the folder partials."
    )
    assert "Second words." in await made(world, gone["mail"])


async def test_each_language_has_its_own_parts(world: World, drive: FolderDrive) -> None:
    drive.put("letter.fr.md", LETTER.replace("---\n", "---\nlayout: french\n", 1))
    drive.put("layouts/french.html", "<html><body><h1>Bonjour</h1>{{ content }}</body></html>")
    files = await drive.list("")
    spoken = {"fr": next(file for file in files if file.name == "letter.fr.md")}
    mail = await freeze(drive, world.objects, world.links, find(files, "letter.md"), "C", IDENTITY, files=files, spoken=spoken)
    assert unchanged(mail, files)
    compiled = await Mails(world.objects, world.links).get("C", mail, "fr")
    assert b"Bonjour" in compiled.splice(Recipient(MailRef("C", "ab" * 16), "a@example.com"), "Mon, 23 Nov 2026 10:00:00 +0000")
    drive.put("layouts/french.html", "{{ content }}")
    assert not unchanged(mail, await drive.list(""))


async def test_what_is_there_twice_or_too_much_is_told(world: World, drive: FolderDrive) -> None:
    text = b"{% include 'partials/a.html' %}"
    twice = [File(id, "a.html", "text/plain", "1", "", "", 0, "partials") for id in ("1", "2")]
    with pytest.raises(BadInput, match=r"two files “partials/a\.html”: remove one"):
        await gather(drive, twice, "x.html", text)
    with pytest.raises(BadInput, match=r"The file partials/a\.html was just removed"):
        await gather(drive, twice[:1], "x.html", text)
    doc = [File("1", "a.html", DOCUMENT, "1", "", "", 0, "partials")]
    assert await gather(drive, [*doc, *(File("1", "a.html", "text/plain", "1", "", "", 0, "x/partials"),)], "x.html", text) == (
        {},
        {},
    )
    for n in range(MOST + 1):
        drive.put(f"partials/{n}.html", f"{{% include 'partials/{n + 1}.html' %}}")
    with pytest.raises(BadTemplate, match=f"put together from more than {MOST} files"):
        await gather(drive, await drive.list(""), "x.html", b"{% include 'partials/0.html' %}")
    drive.put("partials/0.html", "x" * 300_000)
    with pytest.raises(BadTemplate, match="or 256 KB: use fewer"):
        await gather(drive, await drive.list(""), "x.html", b"{% include 'partials/0.html' %}")


async def test_parts_that_name_each_other_are_fetched_once(world: World, drive: FolderDrive) -> None:
    drive.put("partials/0.html", "{% include 'partials/1.html' %}")
    drive.put("partials/1.html", "{% include 'partials/0.html' %}")
    parts, _ = await gather(drive, await drive.list(""), "x.html", b"{% include 'partials/0.html' %}")
    assert list(parts) == ["partials/0.html", "partials/1.html"]
