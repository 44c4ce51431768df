"""The starter mails as readers see them, on a desk and on a phone, by day and by night: drawn by Chromium, to be looked at.

.venv/bin/python -m local.pictures
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import itertools
import sys
from pathlib import Path

from local import browser, seed, starting
from shared.links import Links
from shared.mail.compile import Recipient, compile
from shared.mail.source import Source
from shared.model.ref import MailRef
from shared.tokens import Tokens

FOLDER = Path(".twin/pictures")
WIDTHS = (1280, 360)  # CSS pixels
THEMES = ("light", "dark")
MISSING = "The pictures need Chromium: install it (on Debian: apt-get install chromium) and try again."
SECONDS = 120.0  # for all of them
_READER = {"name": "Ada", "language": "en", "country": "PT", "tags": ["vip"]}
_URL = "https://news.lumen.example"


def mails() -> dict[str, tuple[str, str]]:
    """Each starter's file name, with the text and the HTML of the mail that one reader gets of it."""
    found: dict[str, tuple[str, str]] = {}
    links = Links(_URL, Tokens([b"pictures".ljust(32)]))
    ref = MailRef("C-0001", "0" * 32)
    for file in sorted(starting.TEMPLATES.iterdir()):
        system = file.stem == "confirm"
        source = Source(
            name=file.name, data=file.read_bytes(), campaign=ref.campaign, identity=seed.IDENTITY, bulk=not system, tracked=False
        )
        extra = {"confirm_url": f"{_URL}/subscribe/confirm/"} if system else {}
        reader = Recipient(ref, "ada@example.com", {} if system else _READER, extra)
        data = compile(source, links).splice(reader, "Mon, 23 Nov 2026 10:00:00 +0000")
        text, page = email.message_from_bytes(data, policy=email.policy.SMTP).iter_parts()
        found[file.name] = (text.get_content().replace("\r\n", "\n"), page.get_content())
    return found


async def draw(program: str, folder: Path) -> list[Path]:
    """Every starter at each width and theme, as <starter>-<width>-<theme>.png in `folder`. Raises RuntimeError, TimeoutError."""
    drawn: list[Path] = []
    async with asyncio.timeout(SECONDS), browser.chromium(program) as page:
        for (name, (_, html)), width, theme in itertools.product(mails().items(), WIDTHS, THEMES):
            file = folder / f"{Path(name).stem}-{width}-{theme}.png"
            file.write_bytes(await page.draw(html, width, theme))
            drawn.append(file)
    return drawn


def main() -> int:
    """The exit code."""
    program = browser.program()
    if program is None:
        print(MISSING, file=sys.stderr)
        return 1
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        print(*asyncio.run(draw(program, FOLDER)), sep="\n")
    except (RuntimeError, TimeoutError) as error:
        print(str(error) or f"Chromium took more than {SECONDS:g} seconds: try again.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
