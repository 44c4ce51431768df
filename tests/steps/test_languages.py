"""One campaign in several languages: which files are one mail, who gets which, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from functions.launch.freeze import find, freeze, languages, letters
from functions.launch.preflight import Audience
from functions.send_batch.mails import Mails
from functions.sync_sheet.reports import named
from shared.errors import BadInput, NotFound, Unavailable
from shared.mail.compile import CompiledMail, Recipient
from shared.mail.source import Source, best, language_of
from shared.model import console
from shared.model.ref import MailRef
from shared.ports import DOCUMENT, File, Letter, Merge, Objects, Outcome, Outgoing, Pieces

from .fakes import FakeSender
from .preflights import GOOD, person
from .preflights import IDENTITY as GOOD_IDENTITY
from .preflights import run as preflight
from .test_launch import GO, campaign, rows, tick
from .world import CONFIRM, IDENTITY, LETTER, PEPPER, World

REQUEST = {"campaign": "C-0001", "batch": "000000"}
SHARED, OWN = "https://shop.example/a", "https://shop.example/fr"
FRENCH = LETTER.replace("News", "Nouvelles").replace("[Shop]", f"[Ici]({OWN}) [Shop]")
QUEBEC = LETTER.replace("News", "Nouvelles du Québec")
BRAZIL = "---\nsubject: Notícias\n---\n<html><body><p>Olá, um café novo.</p></body></html>"
READERS = {
    "fr-CA": "Nouvelles du Québec for you",
    "FR_ca": "Nouvelles du Québec for you",
    "fr-BE": "Nouvelles for you",
    "fr": "Nouvelles for you",
    "pt-BR": "Notícias",
    "pt": "News for you",
    "de": "News for you",
    "": "News for you",
}


def file(name: str, mime: str = "text/plain", folder: str = "") -> File:
    return File(f"{folder}/{name}", name, mime, "7", "2027-01-01T00:00:00Z", "", 0, folder)


def address(language: str) -> str:
    return f"reader-{language.lower() or 'none'}@example.com"


def subject(mail: bytes) -> str:
    return str(message_from_bytes(mail, policy=default)["Subject"])


@pytest.fixture
async def spoken(world: World) -> None:
    """A letter in four languages, and readers of more."""
    for name, text in {"fr.md": FRENCH, "fr-CA.md": QUEBEC, "pt-BR.html": BRAZIL}.items():
        world.drive.put(f"letter.{name}", text)
    for language in READERS:
        await world.add(address(language), **({"language": language} if language else {}))
    world.sender.window = 50


# --- which files are one mail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("en-GB", ""),
        ("fr", "fr"),
        ("FR-be", "fr"),
        ("fr_CA", "fr-ca"),
        ("fr-CA-x-mine", "fr-ca"),
        ("f", ""),
        ("", ""),
        ("frr", ""),
    ],
)
def test_a_reader_gets_the_nearest_language(wanted: str, expected: str) -> None:
    assert best({"fr": 1, "fr-ca": 2}, wanted) == expected
    assert best((), wanted) == ""


@pytest.mark.parametrize(
    ("name", "language"),
    [("news.md", ""), ("news.fr.md", "fr"), ("a.b.pt-BR.html", "pt-BR"), ("n.zh-Hant-TW.txt", "zh-Hant-TW"), ("v1.2.md", "")],
)
def test_a_name_says_its_language(name: str, language: str) -> None:
    assert language_of(name) == language


def test_languages_stand_beside_the_template_that_a_cell_names() -> None:
    beside = [file("News.fr.md"), file("news.pt-BR.html"), file("news.de", DOCUMENT), file("news.ES-419.md")]
    others = [file("news.old.md"), file("other.fr.md"), file("news.fr.png"), file("news.it.md", folder="spring")]
    files = [file("news.md"), *beside, *others]
    expected = {"fr": "News.fr.md", "pt-br": "news.pt-BR.html", "de": "news.de", "es-419": "news.ES-419.md"}
    assert {language: one.name for language, one in languages(files, "NEWS").items()} == expected
    assert languages(files, "news.md") == languages(files, "news.fr.md") == languages(files, "news.fr") == {}
    assert find(files, "news.fr").name == "News.fr.md"
    inside = [file("news.md", folder="spring"), *files]
    assert list(languages(inside, "spring/news")) == ["it"]


def test_a_language_is_not_the_default_and_stands_there_once() -> None:
    with pytest.raises(BadInput) as caught:
        find([file("news.fr.md"), file("News.de.md"), file("old.md")], "news")
    assert str(caught.value) == (
        "“news” is there in other languages only (news.fr.md, News.de.md): add news.md for all other readers, or give the whole "
        "name of one."
    )
    with pytest.raises(
        BadInput, match=r"^“news” is there twice in the language “fr” \(news\.fr\.md, news\.FR\.html\): remove one"
    ):
        languages([file("news.md"), file("news.fr.md"), file("news.FR.html")], "news")
    many = [file(f"news.fr-{number:03}.md") for number in range(31)]
    assert len(languages([file("news.md"), *many[1:]], "news")) == 30
    with pytest.raises(BadInput, match="31 languages besides its own, and 30 is the most"):
        languages([file("news.md"), *many], "news")


def test_the_systems_own_mails_are_no_letters_in_any_language() -> None:
    own = [file("confirm.md"), file("Confirm.fr.md"), file("welcome.pt-BR.html"), file("welcome.de", DOCUMENT)]
    assert letters([*own, file("news.fr.md")]) == [file("news.fr.md")]


# --- freezing ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("spoken")
async def test_a_campaign_is_frozen_in_all_its_languages(world: World) -> None:
    found = await tick(world, **GO)
    mail = found["mail"]
    assert (found["state"], mail["name"], mail["file"]) == ("running", "letter.md", "letter.md")
    kept = {language: (one["name"], one["version"]) for language, one in mail["languages"].items()}
    assert kept == {"fr": ("letter.fr.md", "1"), "fr-ca": ("letter.fr-CA.md", "1"), "pt-br": ("letter.pt-BR.html", "1")}
    assert await world.objects.get(mail["languages"]["fr"]["object"]) == FRENCH.encode()


@pytest.mark.parametrize("template", ["letter.md", "letter.fr.md", "letter.fr"])
@pytest.mark.usefixtures("spoken")
async def test_a_whole_name_means_one_file(world: World, template: str) -> None:
    mail = (await tick(world, **GO | {"Template": template}))["mail"]
    assert "languages" not in mail and mail["name"] == f"{template.removesuffix('.md')}.md"


@pytest.mark.usefixtures("spoken")
async def test_a_language_that_cannot_be_sent_stops_the_campaign(world: World) -> None:
    world.drive.put("letter.fr.md", "---\nsubject: x\n---\n{% if name %}")
    found = await tick(world, **GO)
    assert found["state"] == "draft" and found["answer"].startswith("The template letter.fr.md cannot be sent: ")


@pytest.mark.parametrize("single", [False, True])
async def test_links_have_one_numbering_in_all_languages(world: World, single: bool) -> None:
    world.drive.put("letter.fr.md", FRENCH + f"\n[Encore]({SHARED})\n")
    world.drive.put("letter.de.md", f"---\nsubject: x\n---\n[Hier](https://shop.example/de) [da]({SHARED})")
    files = await world.drive.list("")
    spoken = languages(files, "letter")
    mail = await freeze(
        world.drive, world.objects, world.links, find(files, "letter"), "C-0001", IDENTITY, single=single, spoken=spoken
    )
    if single:
        assert mail["links"] == {}
        return
    assert mail["links"] == {"0": SHARED, "1": "https://shop.example/de", "2": OWN, "3": SHARED}
    assert named("link", "2", mail["links"]) == f"2 {OWN}"
    mails = Mails(world.objects, world.links)
    for language, expected in {"": [0], "de": [1, 0], "fr": [2, 0, 3]}.items():
        shown = page(await mails.get("C-0001", mail, language))
        counted = [world.links.read_target("C-0001", link) for link in re.findall(r"/track/k/[^/\"]+/([^/\"]+)", shown)]
        numbers = [number for number, target in counted if target != "https://news.example"]
        assert numbers == expected and all(mail["links"][str(number)] == target for number, target in counted)


# --- sending ----------------------------------------------------------------------------------------------------------


async def running(world: World, subject: str = "") -> dict[str, Any]:
    """A campaign of the letter in all its languages; its mail."""
    files = await world.drive.list("")
    spoken, default_file = languages(files, "letter"), find(files, "letter")
    mail = await freeze(world.drive, world.objects, world.links, default_file, "C-0001", IDENTITY, subject=subject, spoken=spoken)
    await world.campaign()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"mail": mail})])
    return mail


def page(compiled: CompiledMail) -> str:
    someone = Recipient(MailRef("C-0001", "0" * 32), "a@example.com")
    letter, values = compiled.letter(someone, "Thu, 01 Jan 2026 09:00:00 +0000")
    return put(letter.html, values)


def put(pieces: Pieces, values: tuple[str, ...]) -> str:
    return "".join(piece if isinstance(piece, str) else values[piece] for piece in pieces)


class CountingObjects:
    """`failing`: what is raised for a name."""

    def __init__(self, objects: Objects) -> None:
        self.objects, self.asked = objects, list[str]()
        self.failing: dict[str, Exception] = {}

    async def get(self, name: str) -> bytes:
        self.asked.append(name)
        if name in self.failing:
            raise self.failing[name]
        return await self.objects.get(name)

    async def put(self, name: str, data: bytes, content_type: str = "") -> None:
        await self.objects.put(name, data)

    async def list(self, prefix: str) -> Sequence[str]:
        return await self.objects.list(prefix)

    async def delete(self, name: str) -> None:
        await self.objects.delete(name)


@pytest.mark.usefixtures("spoken")
async def test_a_window_mixes_languages(world: World) -> None:
    await running(world)
    await world.send_batch().handle(REQUEST)
    assert world.sender.calls == 1
    assert {language: subject(world.sender.mails[address(language)]) for language in READERS} == READERS
    assert b'lang=3D"fr-CA"' in world.sender.mails[address("fr-CA")]


@pytest.mark.usefixtures("spoken")
async def test_the_subject_cell_goes_for_all_languages(world: World) -> None:
    await running(world, "Mine")
    await world.send_batch().handle(REQUEST)
    assert {subject(mail) for mail in world.sender.mails.values()} == {"Mine"}


@dataclass
class LetterSender(FakeSender):
    """Keeps the letters."""

    letters: dict[str, tuple[Letter, tuple[str, ...]]] = field(default_factory=dict)

    async def send(self, envelope_from: str, mails: Sequence[Outgoing], stop: Any = None) -> list[Outcome]:
        self.letters |= {mail.recipient: (mail.letter, mail.values) for mail in mails if mail.letter}
        return await super().send(envelope_from, mails, stop)


@pytest.mark.usefixtures("spoken")
async def test_languages_share_no_letter(world: World) -> None:
    await running(world)
    world.sender = LetterSender(window=50, form="letter")
    await world.send_batch().handle(REQUEST)
    sent = world.sender.letters
    assert {language: put(sent[address(language)][0].subject, sent[address(language)][1]) for language in READERS} == READERS
    groups: dict[int, set[str]] = {}
    for language in READERS:
        groups.setdefault(id(sent[address(language)][0]), set()).add(language)
    assert sorted(map(sorted, groups.values())) == [["", "de", "pt"], ["FR_ca", "fr-CA"], ["fr", "fr-BE"], ["pt-BR"]]


@pytest.mark.usefixtures("spoken")
async def test_only_the_languages_of_a_batch_are_fetched_and_once(world: World) -> None:
    mail = await running(world)
    await world.store.commit(
        [
            Merge(world.paths.subscriber(world.sid(address(one))), {"status": "pending"})
            for one in READERS
            if one not in ("fr", "de")
        ]
    )
    world.sender.window = 1
    objects = CountingObjects(world.objects)
    await replace(world.send_batch(), mails=Mails(objects, world.links)).handle(REQUEST)
    assert len(world.sender.accepted) == 2
    assert sorted(objects.asked) == sorted([mail["object"], mail["languages"]["fr"]["object"]])


@pytest.mark.parametrize(("error", "state"), [(Unavailable("Cloud Storage"), "running"), (NotFound("mails/x"), "paused")])
@pytest.mark.usefixtures("spoken")
async def test_a_language_that_cannot_be_had_loses_nobody(world: World, error: Exception, state: str) -> None:
    mail = await running(world)
    objects = CountingObjects(world.objects)
    objects.failing[mail["languages"]["fr"]["object"]] = error
    world.sender.window = 3
    step = replace(world.send_batch(), mails=Mails(objects, world.links))
    await step.handle(REQUEST)
    assert (await campaign(world))["state"] == state and len(world.sender.accepted) < len(READERS)
    objects.failing.clear()
    await world.store.commit([Merge(world.paths.campaign("C-0001"), {"state": "running"})])
    for _ in range(3):
        world.clock.time = max(world.clock.time, (await world.ledger())["not_before"])
        await step.handle(REQUEST)
    assert sorted(world.sender.accepted) == sorted(map(address, READERS))
    assert (await world.ledger())["state"] == "done"


@pytest.mark.usefixtures("spoken")
async def test_waiting_for_a_language_is_no_try(world: World) -> None:
    mail = await running(world)
    last = max(map(address, READERS), key=world.sid)
    for reader in map(address, READERS):
        changes = {"language": "fr" if reader == last else ""}
        await world.store.commit([Merge(world.paths.subscriber(world.sid(reader)), changes)])
    objects = CountingObjects(world.objects)
    objects.failing[mail["languages"]["fr"]["object"]] = Unavailable("Cloud Storage")
    world.sender.window = 1
    await replace(world.send_batch(), mails=Mails(objects, world.links)).handle(REQUEST)
    assert len(world.sender.accepted) == len(READERS) - 1
    assert (await world.ledger())["retry_from"] == len(READERS) - 1, "the next turn goes on with them, in the same round"


async def test_test_mails_are_in_their_readers_language(world: World) -> None:
    world.drive.put("letter.fr.md", FRENCH)
    await world.add("ada@example.com", language="fr")
    await world.add("bob@example.com")
    row = {"Template": "letter", "Wanted": "Test to me", "Test to": "ada@example.com, bob@example.com"}
    rows(world, row, header=[*console.ROW_FIELDS, *console.ROW_OPTIONS])
    await replace(world.launch(), pepper=PEPPER).handle()
    for message in world.bus.take("send-requests"):
        await world.send_batch().handle(message)
    found = {to: subject(mail) for to, mail in world.sender.mails.items()}
    assert found == {"ada@example.com": "[Test] Nouvelles for you", "bob@example.com": "[Test] News for you"}


# --- the system's own mails -------------------------------------------------------------------------------------------


async def test_system_mails_follow_their_languages(world: World) -> None:
    async def frozen() -> dict[str, Any]:
        await world.launch().handle()
        found = await world.data(world.paths.campaign("confirm"))
        return dict(found["mail"])

    assert "languages" not in await frozen()
    world.drive.put("confirm.fr.md", CONFIRM.replace("Please confirm", "Confirmez"))
    assert (await frozen())["languages"]["fr"]["version"] == "1"
    world.drive.put("confirm.fr.md", CONFIRM.replace("Please confirm", "Confirmez donc"))
    assert (await frozen())["languages"]["fr"]["version"] == "2"
    before = await world.data(world.paths.campaign("confirm"))
    world.clock.advance(60_000)
    await frozen()
    assert await world.data(world.paths.campaign("confirm")) == before
    await world.add("ada@example.com", status="pending", language="fr-BE")
    await world.send_batch().handle({"campaign": "confirm", "batch": f"{world.sid('ada@example.com')}.c1", "consent": "c1"})
    assert subject(world.sender.mails["ada@example.com"]) == "Confirmez donc"
    del world.drive.files["confirm.fr.md"]
    assert "languages" not in await frozen()


# --- the preflight ----------------------------------------------------------------------------------------------------


def source(name: str, body: str) -> Source:
    return Source(name=name, data=body.encode(), campaign="C-0001", identity=GOOD_IDENTITY)


async def test_a_preflight_says_which_file() -> None:
    bad = GOOD.replace("https://shop.lumenroasters.org/huila", "http://localhost/x")
    spoken = {"fr": source("news.fr.md", bad), "de": source("news.de.md", bad), "pt": source("news.pt.md", GOOD)}
    private = "Addresses that work only inside your own network: “http://localhost/x”. Use public ones."
    report = await preflight(spoken=spoken)
    assert report.faults == [f"news.fr.md, news.de.md: {private}"]
    everywhere = await preflight(bad, spoken={"fr": source("news.fr.md", bad)})
    assert everywhere.faults == [private]
    broken = await preflight(spoken={"fr": source("news.fr.md", GOOD.replace("{{ name", "{{ nmae"))})
    assert [fault.partition(": ")[0] for fault in broken.faults] == ["news.fr.md"]
    elsewhere = replace(source("news.fr.md", GOOD), numbered=["http://localhost/x"])
    assert not (await preflight(spoken={"fr": elsewhere})).faults, "a link of another language is judged there"


async def test_a_preflight_judges_a_language_by_those_who_speak_it() -> None:
    bare = GOOD.replace('{{ name or "friend" }}', "{{ name }}")
    people = [person(language="fr-CA", name=""), person(language="fr"), person(), person(language="de")]
    report = await preflight(spoken={"fr": source("news.fr.md", bare)}, audience=Audience("everyone", 1_000, people))
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("news.fr.md: “{{ name }}” (line 5) is empty for 1 of the 2 subscribers looked at (50%)")
