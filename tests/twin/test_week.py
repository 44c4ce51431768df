"""A marketer's week, walked by Chromium through the pages that a person uses: nothing is done or read behind them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from local import browser, seed
from local.browser import Missed, Person
from local.pictures import MISSING
from shared.model import console
from tests.emulated_google import left_out

WEEK = 900.0  # seconds that a slow machine may take; it is a minute on a quick one
PLACEHOLDER = "https://your-site.com/spring"
TEMPLATE = """---
subject: Spring tasting, {{{{ name or "friend" }}}}
---
# The spring tasting

Hello {{{{ name or "friend" }}}}, we pour the new harvest on Saturday.

**[Keep a seat]({link})**
"""
CONTACTS = (
    ("ana@reader.example", "Ana", "en", "tasting", "Book fair 2026", "Imported."),
    ("ben@reader.example", "Ben", "en", "tasting, vip", "Book fair 2026", "Imported."),
    ("full@reader.example", "Cleo", "en", "tasting", "Book fair 2026", "Imported."),  # whose mailbox is full at first
    ("dora@reader.example", "Dora", "pt", "tasting", "Book fair 2026", "Imported."),
    ("emil@reader.example", "Emil", "en", "tasting", "", "Rejected: Say where this person agreed to get mail"),
    ("not an address", "Finn", "en", "tasting", "Book fair 2026", "Rejected: "),
)
TASTERS = 3  # of them


@pytest.mark.slow
async def test_a_marketers_week(tmp_path: Path) -> None:
    program = browser.program()
    if program is None:
        left_out.add(f"Left out: a marketer's week. {MISSING}")
        pytest.skip(MISSING)
    with browser.twin(tmp_path / "state", TWIN_APPROVAL="1") as url:
        async with asyncio.timeout(WEEK), browser.chromium(program) as page:
            await page.size(1600, 1000)
            person = Person(page, url)
            for day in (_monday, _tuesday, _wednesday, _thursday, _friday):
                await day(person)


async def _monday(person: Person) -> None:
    """Readers come in, a segment counts them, a template is written."""
    await person.page.until("the workbook is made", lambda: _ready(person))
    await person.tab(console.IMPORT)
    await person.paste("I-0001", "Email", "\n".join("\t".join(contact[:5]) for contact in CONTACTS))
    for number, contact in enumerate(CONTACTS, 1):
        row = await person.wait(f"I-{number:04d}", Answer=contact[5])
        assert row["Email"] == contact[0]
    await person.tab(console.SEGMENTS)
    await person.type(2, Name="tasters", Rule="tag is tasting and langage is en")
    await person.wait("tasters", Answer="did you mean “language”?")
    await person.type("tasters", Rule="tag is tasting and language is en")
    row = await person.wait("tasters", Answer="Ready for campaigns.")
    assert row["Readers"] == str(TASTERS)
    await person.save("newsletter.md", TEMPLATE.format(link=PLACEHOLDER))


async def _tuesday(person: Person) -> None:
    """A test mail is read."""
    await person.tab(console.CAMPAIGNS)
    fields = {"Name": "Spring", "Template": "newsletter", "Segment": "Tasters", "Test_to": "ana@reader.example, me@lumen.example"}
    await person.type("C-0001", **fields)
    await person.choose("C-0001", "Wanted", console.TEST)
    await person.wait("C-0001", Answer="The test mail goes to a")
    assert "Hello Ana, we pour" in await person.mail("[Test] Spring tasting, Ana")
    assert "Hello Ada Lovelace, we pour" in await person.mail("me@lumen.example")


async def _wednesday(person: Person) -> None:
    """What would not do is stopped before anybody gets it, and mended."""
    await person.tab(console.CAMPAIGNS)
    await person.choose("C-0001", "Wanted", "Go")
    row = await person.wait("C-0001", State="draft", Answer="Addresses that are still placeholders")
    assert f"“{PLACEHOLDER}”. Put the real ones in. Then choose Draft, and Go once the row says so." in row["Answer"]
    await person.save("newsletter.md", TEMPLATE.format(link="https://lumen-coffee.example/spring"))
    await person.tab(console.CAMPAIGNS)
    await person.choose("C-0001", "Wanted", "Draft")
    await person.wait("C-0001", Answer="Draft. Choose Go to send it.")
    await person.choose("C-0001", "Wanted", console.PREVIEW)
    row = await person.wait("C-0001", Answer="Nothing stands in the way")
    assert f"{TASTERS} readers, subject “Spring tasting, Ada Lovelace”" in row["Answer"]


async def _thursday(person: Person) -> None:
    """It is to go at half of a day from now where each reader is: approved, changed, approved again; paused on its way, and resumed."""
    later = datetime.now(ZoneInfo(seed.ZONE)) + timedelta(hours=12)
    await person.type("C-0001", Schedule=f"{later:%Y-%m-%d %H:%M} local", Rate="1,000/h")
    await person.choose("C-0001", "Wanted", "Go")
    first = await _approve(person, "Checked: it goes to 3 readers. To approve, write")
    await person.become(seed.ADMIN)
    await person.type("C-0001", Subject="Spring, {{ name }}")
    assert await _approve(person, "It changed since it was approved, so that approval does not count any more.") != first
    await person.hours(1)  # longer than an approval is held
    await person.tab(console.CAMPAIGNS)
    each = f"Sending to {TASTERS}, each at {later:%H:%M} where they are"
    await person.wait("C-0001", State="running", Answer=each)
    await person.choose("C-0001", "Wanted", "Pause")
    await person.wait("C-0001", State="paused", Answer="Paused. Choose Go to resume")
    await person.hours(24)
    await person.tab(console.CAMPAIGNS)
    await person.wait("C-0001", State="paused", Sent="0")
    await person.choose("C-0001", "Wanted", "Go")
    await person.wait("C-0001", State="completed", Answer="Done: 2 sent, 1 failed.", Sent="2", Failed="1")
    assert "Hello Ben, we pour" in await person.mail("ben@reader.example")
    await person.tab(console.DASHBOARD)
    for name, now in (("Campaigns completed", "1"), ("Mails sent", "2"), ("Mails failed", "1"), ("Soft bounces", "1 (")):
        await person.wait(name, Now=now)


async def _friday(person: Person) -> None:
    """Whose mailbox was full gets it now, who did not open it gets it again, and the row is put away."""
    await person.tab(console.CAMPAIGNS)
    await person.choose("C-0001", "Wanted", console.RETRY)
    await person.wait("C-0001", State="completed", Answer="Done: 3 sent.", Failed="0")
    assert "Hello Cleo, we pour" in await person.mail("full@reader.example")
    await person.tab(console.CAMPAIGNS)
    await _command(person, console.RESEND)
    await person.wait("C-0001", State="completed", Answer="Done: 6 sent.")
    await person.mail("ana@reader.example", 3)  # the test, the campaign, and once more
    await person.tab(console.CAMPAIGNS)
    await _command(person, console.ARCHIVE)
    await person.wait("C-0001", Answer="Archived. Choose Draft to bring it back.")


async def _approve(person: Person, asked: str) -> str:
    """Type the code that the row asks for, as somebody who may; the code."""
    row = await person.wait("C-0001", Answer=asked)
    code = row["Answer"].partition("To approve, write ")[2].partition(" ")[0]
    await person.become(seed.APPROVER)
    await person.type("C-0001", Approved=code)
    await person.wait("C-0001", Answer="Approved. It begins to send at")
    return code


async def _command(person: Person, word: str) -> None:
    """Choose Draft, and a command once the row has answered."""
    await person.choose("C-0001", "Wanted", "Draft")
    await person.wait("C-0001", Answer="It may be sent again")
    await person.choose("C-0001", "Wanted", word)


async def _ready(person: Person) -> bool:
    try:
        await person.tab(console.IMPORT)
    except Missed:
        return False
    return bool(await person.row("I-0001"))
