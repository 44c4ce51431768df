"""The Templates tab: each file of the folder tried out by launch, shown by sync_sheet, and nothing done while nothing changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.launch import templates
from functions.launch.handler import Launch
from functions.sync_sheet.templates import PLACE
from shared.errors import BadInput, Unavailable
from shared.mail import confined
from shared.mail.confined import Outline
from shared.mail.source import Source
from shared.model import console
from shared.ports import Create, Merge

from .fakes import NOW, FaultyStore, Folder
from .world import LETTER, TENANT, World

NEWS = "---\nsubject: A new roast\n---\n# Hello {{ name or 'friend' }}\n\nFor {{ country }}.\n"
NAMELESS = "# Hello\n\nA letter whose campaigns say the subject.\n"
BROKEN = "---\nsubject: News\n---\n# Hello\n\n{% if name %}\nDear {{ name }}\n"


@pytest.fixture
def folder(world: World) -> Folder:
    world.drive = folder = Folder(news=NEWS)
    return folder


@pytest.fixture
def launch(world: World, folder: Folder) -> Launch:
    return world.launch()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is tried out."""
    names: list[str] = []

    def counting(source: Source, *rest: Any) -> Outline:
        names.append(source.name)
        return confined.compile(source, *rest)

    monkeypatch.setattr(templates, "compile", counting)
    return names


async def ticks(launch: Launch, count: int = 2) -> None:
    """A process looks at templates from its second tick on."""
    for _ in range(count):
        await launch.handle()


async def told(world: World) -> dict[str, dict[str, Any]]:
    """What launch has told, by name."""
    data = await world.data(world.paths.templates)
    return {entry["name"]: entry for entry in data.get("files", {}).values()}


async def rows(world: World) -> dict[str, dict[str, str]]:
    await world.sync_sheet().handle()
    shown = world.sheet.rows("Templates!A2:Z")
    return {row[0]: dict(zip(console.TEMPLATE_FIELDS, row, strict=False)) for row in shown}


async def test_a_template_is_shown_with_what_it_says_and_where_it_is(world: World, launch: Launch) -> None:
    await ticks(launch)
    assert await rows(world) == {
        "news.md": {
            "Template": "news.md",
            "Kind": "Markdown",
            "Language": "en",
            "Subject": "A new roast",
            "Changed": "2027-01-01 00:00",
            "Variables": "country, name",
            "Problem": "",
            "Used by": "",
            "File": PLACE.format("news.md"),
        }
    }


async def test_folders_kinds_and_languages(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("a.fr.html", "<html><body><p>Bonjour</p></body></html>")
    folder.put("b.txt", "subject?")
    folder.put("Club letter", NEWS)
    folder.put("foot.html", "<p></p>")
    folder.put("logo.png", "")
    folder.docs.add("Club letter")
    folder.places |= {"a.fr.html": "spring", "foot.html": "partials"}
    await ticks(launch, 3)
    found = await rows(world)
    assert list(found) == ["Club letter", "b.txt", "news.md", "spring/a.fr.html"], "the top first"
    assert [row["Kind"] for row in found.values()] == ["Google Doc", "Text", "Markdown", "HTML"]
    assert (found["spring/a.fr.html"]["Language"], found["b.txt"]["Language"]) == ("fr", "en")


async def test_a_broken_template_says_why_and_the_others_are_fine(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("bad.md", BROKEN)
    folder.put("nameless.md", NAMELESS)
    folder.put("big.md", NEWS)
    folder.refusing["big.md"] = BadInput("This Google Doc is too large.")
    await ticks(launch)
    found = await told(world)
    assert "Unexpected end of template" in found["bad.md"]["problem"]
    assert found["big.md"]["problem"] == "This Google Doc is too large."
    assert (found["nameless.md"]["problem"], found["nameless.md"]["subject"]) == ("", ""), "its campaigns have a subject"
    assert found["news.md"]["problem"] == ""
    folder.put("bad.md", BROKEN + "{% endif %}\n")
    await ticks(launch, 1)
    assert (await told(world))["bad.md"]["problem"] == ""


async def test_the_systems_own_mails_say_whether_they_are_in_use(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("confirm.md", "---\nsubject: Confirm\n---\n[Yes]({{ confirm_url }})\n")
    folder.put("welcome.md", NAMELESS)
    folder.put("welcome.html", "<p>Hello</p>")
    await ticks(launch)
    found = await rows(world)
    assert found["confirm.md"]["Used by"] == "confirm: in use" and found["confirm.md"]["Problem"] == ""
    assert found["welcome.md"]["Used by"] == found["welcome.html"]["Used by"] == "welcome: not in use", "which is meant?"
    del folder.files["welcome.html"]
    await ticks(launch, 1)
    welcome = (await told(world))["welcome.md"]
    assert welcome["use"] == "welcome: not in use" and welcome["problem"].startswith("The mail has no subject"), (
        "no row gives one"
    )
    folder.put("welcome.md", NEWS)
    await ticks(launch, 1)
    assert (await told(world))["welcome.md"]["use"] == "welcome: in use"


async def test_nothing_new_costs_nothing(world: World, launch: Launch, folder: Folder) -> None:
    await ticks(launch)
    before, folder.fetched[:], spent = world.versions(), [], world.store.operations.reads
    await ticks(launch, 1)
    quiet = world.store.operations.reads - spent
    assert (world.versions(), folder.fetched) == (before, [])
    await ticks(world.launch(), 1)
    assert world.store.operations.reads - spent == 2 * quiet + 4, (
        "a new process reads the system's mails, and has other things to do first"
    )
    again = world.launch()
    await ticks(again, 2)
    assert world.store.operations.reads - spent == 4 * quiet + 10, "and reads once what was told, of templates and of pages"
    assert (world.versions(), folder.fetched) == (before, [])


async def test_a_tick_tries_out_a_few_and_the_next_goes_on(
    world: World, folder: Folder, launch: Launch, compiled: list[str]
) -> None:
    for n in range(2 * templates.FEW):
        folder.put(f"n{n}.md", f"{NEWS}{n}")
    await ticks(launch)
    assert len(compiled) == len(await told(world)) == templates.FEW
    await ticks(launch, 2)
    assert len(compiled) == len(await told(world)) == 2 * templates.FEW + 1
    spent = len(compiled)
    await ticks(launch, 2)
    assert len(compiled) == spent


async def test_campaigns_go_first(world: World, folder: Folder, compiled: list[str]) -> None:
    """A tick that has used up its time tries nothing out."""
    launch = world.launch()
    await ticks(launch, 1)
    count = iter(range(100))
    launch = replace(launch, clock=type("Slow", (), {"now": lambda self: NOW + 60_000 * next(count)})())
    await ticks(launch, 1)
    assert compiled == []
    await launch.handle()
    assert compiled == [], "each tick is as slow"


async def test_another_version_of_the_same_bytes_is_not_tried_out_again(
    world: World, folder: Folder, launch: Launch, compiled: list[str]
) -> None:
    folder.docs.add("news.md")
    await ticks(launch)
    before = (await told(world))["news.md"]
    folder.touch("news.md")
    await ticks(launch, 1)
    assert (len(compiled), folder.fetched) == (1, ["news.md"] * 2)
    assert (await told(world))["news.md"] == {**before, "version": "2"}
    folder.put("news.md", NEWS.replace("roast", "blend"))
    await ticks(launch, 1)
    assert len(compiled) == 2 and (await told(world))["news.md"]["hash"] != before["hash"]


async def test_a_new_name_and_a_new_sender_are_tried_out(
    world: World, folder: Folder, launch: Launch, compiled: list[str]
) -> None:
    await ticks(launch)
    folder.places["news.md"] = "old"
    await ticks(launch, 1)
    assert list(await told(world)) == ["old/news.md"] and len(compiled) == 2
    french = replace(launch, tenant=replace(TENANT, identity=replace(TENANT.identity, language="fr")))
    await ticks(french)
    assert (await told(world))["old/news.md"]["language"] == "fr" and len(compiled) == 3


async def test_a_file_that_is_gone_is_dropped(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("old.md", NEWS)
    await ticks(launch)
    assert set(await rows(world)) == {"news.md", "old.md"}
    del folder.files["old.md"]
    await ticks(launch, 1)
    assert set(await rows(world)) == {"news.md"}


async def test_what_does_not_answer_is_tried_again_and_stops_no_other(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("a.md", NEWS)
    folder.refusing["a.md"] = Unavailable("drive")
    await ticks(launch)
    assert set(await told(world)) == {"news.md"}
    folder.refusing.clear()
    await ticks(launch, 1)
    assert set(await told(world)) == {"a.md", "news.md"}


@pytest.mark.parametrize("fault", ["lost", "conflict", "refused"])
async def test_a_write_that_fails_is_made_good_by_the_next_tick(world: World, folder: Folder, fault: Any) -> None:
    folder.put("confirm.md", "---\nsubject: Confirm\n---\n[Yes]({{ confirm_url }})\n")
    folder.put("welcome.md", NEWS)
    faults: list[Any] = []
    store = FaultyStore(world.store, lambda verb: faults.pop() if verb == "commit" and faults else "")
    launch = world.launch(store)
    await ticks(launch)
    folder.put("new.md", NEWS)
    faults.append(fault)  # a tick has nothing else to write
    await ticks(launch, 2)
    assert not faults and {"new.md", "news.md"} < set(await told(world))
    await world.store.commit([Merge(world.paths.templates, {"more": 9})])  # by another process
    folder.put("new.md", NEWS + "More.")
    await ticks(launch, 2)
    assert (await world.data(world.paths.templates))["more"] == 0


async def test_more_files_than_are_kept_are_counted(
    world: World, folder: Folder, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "MOST", 2)
    for n in range(3):
        folder.put(f"n{n}.md", NEWS)
    await ticks(launch)
    assert list(await rows(world)) == ["n0.md", "n1.md", "… 2 more are not shown"]


async def test_what_is_kept_fits_a_document(world: World, folder: Folder, launch: Launch) -> None:
    long = "\U0001f600" * 1_000
    folder.put(f"{long}.md", f"---\nsubject: {long}\n---\nHello\n")
    folder.put("b.md", f"---\nsubject: News\n---\n{{{{ {'x' * 1_000} }}}}\n")
    await ticks(launch)
    entries = (await told(world)).values()
    assert all(len(repr(entry).encode()) * templates.MOST < 1_000_000 for entry in entries)


async def test_a_template_names_the_newest_campaign_with_it(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("letter.md", LETTER)
    folder.put("letter.fr.md", LETTER)
    await world.add("reader@mail.example")
    await world.sync_sheet().handle()
    world.sheet.put("Campaigns!A2", [["C-0001", "News", "letter", "", "", "", "Go"]])
    await ticks(launch, 3)
    assert set((await world.data(world.paths.campaign("C-0001")))["templates"]) == {"letter.md", "letter.fr.md"}
    found = await rows(world)
    assert {name: row["Used by"] for name, row in found.items()} == {
        "letter.md": "C-0001",
        "letter.fr.md": "C-0001",
        "news.md": "",
    }
    newer = {"state": "completed", "frozen_at": NOW + 1, "templates": ["letter.md"], "row": {}}
    await world.store.commit([Create(world.paths.campaign("A-0002"), newer)])
    found = await rows(world)
    assert (found["letter.md"]["Used by"], found["letter.fr.md"]["Used by"]) == ("A-0002", "C-0001")


async def test_the_tab_is_read_and_written_only_when_something_changed(world: World, launch: Launch) -> None:
    await ticks(launch)
    step = world.sync_sheet()
    await step.handle()
    await step.handle()
    world.sheet.changes.clear()
    before = world.store.operations.reads
    await step.handle()
    quiet = world.store.operations.reads - before
    assert world.sheet.changes == []
    await world.store.commit([Merge(world.paths.templates, {"more": 3})])
    await step.handle()
    assert world.store.operations.reads - before == 2 * quiet + 1
    assert world.sheet.changes == [("write", "Templates!A2")]
