"""The pictures of docs/marketers.md: drawn by Chromium from a twin in which the demo has been played.

.venv/bin/python -m local.guide
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from local import browser, seed
from local.browser import ROOT, Missed, Page, Person
from local.pictures import MISSING
from shared.model import console

STATE: Final = Path(".twin/guide/demo")
FOLDER: Final = ROOT / "docs" / "pictures"
SHAPE: Final = (1500, 780)  # of the window, in CSS pixels
PHONE: Final = (390, 820)
_GRID: Final = "document.getElementById('grid')"
_BOX: Final = """(() => {{
  scrollTo(0, 0);
  const {{ x, y, width, height }} = {}.getBoundingClientRect();
  return {{ x, y, width, height }};
}})()"""
_RULES: Final = (
    ("Lisbon regulars", "tag is lisbon and opened in the last 30 days"),
    ("sleepers", "never opened"),
    ("german speakers", "langage is de"),
)
_NONE: Final = "for (const one of document.querySelectorAll('.active')) one.classList.remove('active')"
_PLAIN: Final = (
    "for (const one of document.querySelectorAll('[data-rows], #hint')) one.style.display = 'none'"  # what Sheets has not
)


async def draw(program: str, url: str) -> list[Path]:
    """Play the rest of the story at the twin, and draw it. Raises Missed, RuntimeError."""
    async with browser.chromium(program) as page:
        person = Person(page, url)
        await page.size(*SHAPE)
        await _segments(person)
        await _campaigns(person)
        drawn = [
            await _tab(person, "campaigns", console.CAMPAIGNS),
            await _tab(person, "answers", console.CAMPAIGNS, ("C-0005", "Answer")),
            await _tab(person, "segments", console.SEGMENTS, (_RULES[-1][0], "Answer")),
            await _tab(person, "import", console.IMPORT, ("I-0388", "Answer")),
        ]
        await page.size(860, 700)
        drawn.append(await _tab(person, "dashboard", console.DASHBOARD, last="document.getElementById('charts')"))
        await page.size(1200, 760)
        await page.go(f"{url}/templates/newsletter.md")
        drawn.append(await _keep(page, "template", "document.querySelector('.studio')", 530))
        await page.size(*PHONE)
        await person.mail("first Huila")
        await page.go(f"{url}{await page.ask('location.pathname')}/html")
        drawn.append(await _keep(page, "phone", "document.documentElement", 820))
    return drawn


async def _segments(person: Person) -> None:
    await person.tab(console.SEGMENTS)
    for number, (name, rule) in enumerate(_RULES, 2):
        await person.type(number, Name=name, Rule=rule)
    for name, answer in zip(("Lisbon regulars", "sleepers", "german speakers"), ("Ready", "Ready", "At character"), strict=True):
        await person.wait(name, Answer=answer)


async def _campaigns(person: Person) -> None:
    """Rows in every state that a marketer meets."""
    tomorrow = datetime.now(ZoneInfo(seed.ZONE)) + timedelta(days=3)
    await person.tab(console.CAMPAIGNS)
    rows: Mapping[str, tuple[dict[str, str], str, str]] = {
        "C-0003": (
            {
                "Name": "Tasting evening",
                "Template": "event",
                "Segment": "Lisbon regulars",
                "Schedule": f"{tomorrow:%Y-%m-%d} 09:30",
            },
            "Go",
            "Scheduled for",
        ),
        "C-0004": (
            {"Name": "We miss you", "Template": "re-engagement", "Segment": "sleepers", "Test_to": "ilse@lumen.example"},
            console.TEST,
            "The test mail goes",
        ),
        "C-0005": (
            {"Name": "What we wrote", "Template": "digest", "Subject": "The best of autumn"},
            console.PREVIEW,
            "Nothing stands",
        ),
        "C-0006": ({"Name": "Price list", "Template": "newsleter"}, "Go", "There is no template"),
    }
    for id, (fields, wanted, answer) in rows.items():
        await person.type(id, **fields)
        await person.choose(id, "Wanted", wanted)
        await person.wait(id, Answer=answer)


async def _tab(person: Person, name: str, tab: str, cell: tuple[str, str] | None = None, last: str = _GRID) -> Path:
    """A tab from its tools, which show the whole text of the `cell` that is chosen, down to the element `last`."""
    await person.tab(tab)
    if cell:
        await person.select(*cell)
        if tab != console.IMPORT:
            await person.page.ask(f"{_GRID}.scrollTop = 0")
    else:
        await person.page.ask(_NONE)
    first = "document.querySelector('.sheet-tools')" if cell else _GRID
    return await _keep(person.page, name, first, last=last)


async def _keep(page: Page, name: str, element: str, height: float = 0, last: str = "") -> Path:
    """A picture of an element, of its top, or of all from it down to the `last`."""
    await page.ask(_PLAIN)
    await asyncio.sleep(1)  # until it is laid out
    box = await page.ask(_BOX.format(element))
    if last:
        end = await page.ask(_BOX.format(last))
        height = end["y"] + end["height"] - box["y"]
    file = FOLDER / f"{name}.webp"
    file.write_bytes(await page.picture(box | ({"height": height} if height else {}), format="webp", quality=65))
    return file


def main() -> int:
    """The exit code."""
    program = browser.program()
    if program is None:
        print(MISSING, file=sys.stderr)
        return 1
    if not os.environ.get("RESUME"):
        shutil.rmtree(STATE, ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "local", "demo", "--state", str(STATE)], check=False).returncode:
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with browser.twin(STATE) as url:
            print(*asyncio.run(draw(program, url)), sep="\n")
    except (RuntimeError, Missed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
