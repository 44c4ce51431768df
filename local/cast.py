"""Who does what with the mails of the demo's first campaign: people, robots, and mail servers that give up later.

Each part is played on the mails of the same contacts in every drive, by their place in the file, so that people and robots share some
mails and not others. What is played again after a crash changes nothing.
"""

from __future__ import annotations

import asyncio
import quopri
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import aiohttp

from local.audit import Mailed
from local.played import Played
from shared.adapters.embedded import FileClock
from shared.links import Links

BROWSER: Final = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
GMAIL: Final = {"user-agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"}
# Robots: one that says so, and those that do not
SCANNER: Final = {"user-agent": "TwinWaveScanner"}  # looks for phishing
DISGUISED: Final = {
    "user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
}
APPLE: Final = {"user-agent": "Mozilla/5.0"}  # Mail Privacy Protection's relay

ROUND: Final = 30  # contacts, after which the robots' and servers' parts begin anew
SCANNED, PROBED, RUSHED, TRAPPED, FETCHED = (1, 5), (11,), (13,), (17,), (19,)  # places in a round
FAILING, LEAVING = (8, 23), (26, 29)
YOUNG: Final = 3500  # ms after the hand-over: a gateway that looks at once has looked by then
SERVERS: Final = (  # how a mail comes back (local/returned.py), and what that makes of its reader
    ("told-hard", "hard"),
    ("told-hard", "hard"),
    ("told-soft", "soft"),
    ("mail-hard", "hard"),
    ("mail-hard", "hard"),
    ("mail-astray", "hard"),
    ("mail-soft", "soft"),
    ("mail-late", "delayed"),
    ("complaint", "complained"),
)


class Stuck(Exception):
    """Something that should have happened did not; the message says what."""


def links(source: bytes, part: str) -> list[str]:
    """The different links of a mail that hold `part`, in order; raises Stuck when there is none."""
    text = quopri.decodestring(source).decode("ascii", "replace")
    found = list(dict.fromkeys(re.findall(rf"http://[^\s\"<>]*{re.escape(part)}[^\s\"<>]*", text)))
    if not found:
        raise Stuck(f"a mail without a {part} link")
    return found


class Cast:
    """`sids`: of the contacts, in the order of the file. `mails`: sid -> its mail of the first campaign, of those that have it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, sids: Sequence[str], played: Played) -> None:
        self.session, self.url, self.sids, self.played = session, url, sids, played
        self.mails: Mapping[str, Mailed] = {}

    def at(self, *places: int) -> list[str]:
        """The sids at these places of each round that have the mail."""
        return [sid for n, sid in enumerate(self.sids) if n % ROUND in places and sid in self.mails]

    async def hit(self, url: str, agent: Mapping[str, str], method: str = "GET", expected: int = 200, **options: Any) -> None:
        async with self.session.request(method, url, headers=agent, allow_redirects=False, **options) as answer:
            if answer.status != expected:
                raise Stuck(f"{method} {url.removeprefix(self.url)[:20]}… was answered {answer.status}")

    async def click(self, sid: str, agent: Mapping[str, str], method: str = "GET", which: int = 0) -> None:
        await self.hit(links(self.mails[sid].source, "/track/k/")[which], agent, method, 302)

    async def look(self, sid: str, agent: Mapping[str, str], method: str = "GET") -> None:
        await self.hit(links(self.mails[sid].source, "/track/o/")[0], agent, method)

    # --- robots

    async def gateways(self, state: Path, reader: Links, campaign: str, over: asyncio.Event) -> None:
        """Security gateways under a browser's name follow a link of each mail at places SCANNED the moment it comes, until `over`. They
        come to no mail late, as after a crash they would."""
        clock, places = FileClock(state / "clock"), {sid for n, sid in enumerate(self.sids) if n % ROUND in SCANNED}
        last, ending = 0, False
        while not ending:
            ending = over.is_set()
            with closing(sqlite3.connect(f"file:{state / 'mailbox.db'}?mode=ro", uri=True)) as db:
                rows = db.execute("SELECT id, message_id, source FROM mail WHERE id > ? ORDER BY id", (last,)).fetchall()
            for id, message_id, source in rows:
                last = id
                ref = reader.read_message_id(message_id)
                if ref.campaign != campaign or ref.sid not in places:
                    continue
                link = links(source, "/track/k/")[0]
                _, handed = reader.read_track(link.partition("/track/k/")[2].partition("/")[0])
                if clock.now() - handed < YOUNG:
                    await self.hit(link, DISGUISED, expected=302)
                    self.played.at_once.add(ref.sid)
            await asyncio.sleep(0.1)

    async def robots(self) -> None:
        """Those that come before anybody can have read: scanners that say what they are, and one that only asks for the heads."""
        for sid in self.at(*SCANNED):
            await self.look(sid, SCANNER)
            await self.click(sid, SCANNER)
        for sid in self.at(*PROBED):
            await self.look(sid, DISGUISED, "HEAD")
            await self.click(sid, DISGUISED, "HEAD")
        self.played.scanned.update(self.at(*SCANNED))
        self.played.probed.update(self.at(*PROBED))

    async def late_robots(self) -> None:
        """Those that come when people read, under a browser's name: one follows every link at once, one also the link that nobody
        sees. Apple's relay fetches the picture, read or not."""
        for sid in self.at(*RUSHED):
            every = range(len(links(self.mails[sid].source, "/track/k/")))
            await asyncio.gather(*(self.click(sid, DISGUISED, which=which) for which in every))
        for sid in self.at(*TRAPPED):
            await self.hit(links(self.mails[sid].source, "/track/h/")[0], DISGUISED)
            await self.click(sid, DISGUISED)
        for sid in self.at(*FETCHED):
            await self.look(sid, APPLE)
        self.played.rushed.update(self.at(*RUSHED))
        self.played.trapped.update(self.at(*TRAPPED))
        self.played.fetched.update(self.at(*FETCHED))

    # --- people

    async def people(self) -> None:
        """Every third opens, half of them by Gmail's proxy; every seventh clicks, where no robot under a browser's name does at the same
        time; the first three of these buy."""
        alone = [sid for sid in self.sids[::7] if sid in self.mails and sid not in self.played.rushed | self.played.trapped]
        for n, sid in enumerate(self.sids[::3]):
            if sid in self.mails:
                await self.look(sid, GMAIL if n % 2 else BROWSER)
                self.played.opened.add(sid)
        for sid in alone:
            await self.click(sid, BROWSER)
            self.played.clicked.add(sid)
        for n, sid in enumerate(alone[:3]):
            token = links(self.mails[sid].source, "/track/k/")[0].partition("/track/k/")[2].partition("/")[0]
            sale = {"sp": token, "value": "12.50", "currency": "EUR", "order": f"A-{n + 1}"}
            await self.hit(f"{self.url}/track/c", BROWSER, "POST", 204, data=sale)
            self.played.bought.add(sid)

    async def leave(self) -> None:
        """Five leave by one-click POST, as a mail program does; the last of them twice."""
        going = self.at(*LEAVING)[:5]
        for sid in [*going, *going[-1:]]:
            link = links(self.mails[sid].source, "/unsubscribe/")[0]
            await self.hit(link, BROWSER, "POST", data={"List-Unsubscribe": "One-Click"})
        self.played.left.update(going)

    # --- servers

    async def servers(self) -> None:
        """Mails that were taken come back: by a provider's callback, by mail to the return path, by a complaint."""
        free = [sid for sid in self.at(*FAILING) if sid not in self.played.opened | self.played.clicked]
        fates: Mapping[str, Callable[[str], None]] = {
            "hard": self.played.hard.add,
            "soft": self.played.soft.add,
            "delayed": self.played.delayed.add,
            "complained": self.played.complained.add,
        }
        for sid, (how, fate) in zip(free, SERVERS, strict=False):
            await self.hit(f"{self.url}/mailbox/{self.mails[sid].id}/return", {}, "POST", 303, data={"how": how})
            fates[fate](sid)
