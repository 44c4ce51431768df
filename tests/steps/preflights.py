"""A letter with nothing wrong, a domain with nothing wrong, and a preflight of them with one thing changed."""

from __future__ import annotations

import asyncio
from typing import Any

from functions.launch.preflight import Audience, preflight
from functions.launch.preflight_domain import Sending
from functions.launch.preflight_report import Report
from functions.launch.preflight_spamd import Verdict
from shared.errors import Unavailable
from shared.links import Links
from shared.mail.source import Identity, Source
from shared.ports import RecordKind
from shared.tokens import Tokens

POSTAL = "Lumen Roasters, 12 Harbour Street, Lisbon"
IDENTITY = Identity("Lumen", "letter@lumenroasters.org", POSTAL, "Lumen letter", "news.lumenroasters.org")
LINKS = Links("https://go.lumenroasters.org", Tokens([b"k" * 32]))
WORDS = "The first harvest of the year has arrived after eleven weeks at sea, and it is the sweetest that we have tasted. " * 4
HEAD = "---\nsubject: A new roast\npreheader: Light and sweet\n---\n"
GOOD = HEAD + f'# Hello {{{{ name or "friend" }}}}\n\n{WORDS}\n\n**[See it](https://shop.lumenroasters.org/huila)**\n'
SENDING = Sending(dkim_selector="k1", spf_include="spf.mailer.net", provider="Mailer")
ZONE: dict[tuple[str, str], list[str]] = {
    ("org", "NS"): ["a0.org."],
    ("lumenroasters.org", "TXT"): ["v=spf1 include:spf.mailer.net ~all", "site-verification=1"],
    ("spf.mailer.net", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
    ("k1._domainkey.lumenroasters.org", "TXT"): ["v=DKIM1; k=rsa; p=MIIB"],
    ("_dmarc.lumenroasters.org", "TXT"): ["v=DMARC1; p=quarantine"],
}


class FakeDns:
    def __init__(self, zone: dict[tuple[str, str], list[str]] | None = None) -> None:
        self.zone = ZONE if zone is None else zone
        self.down = False
        self.hanging = ""
        self.asked: list[str] = []

    async def records(self, name: str, kind: RecordKind) -> list[str]:
        self.asked.append(name)
        if self.down:
            raise Unavailable("DNS")
        if self.hanging and name.startswith(self.hanging):
            await asyncio.Event().wait()
        return self.zone.get((name, kind), [])


class FakeSpam:
    def __init__(self, verdict: Verdict = Verdict(0.1), hanging: bool = False, down: bool = False) -> None:
        self.verdict, self.hanging, self.down = verdict, hanging, down
        self.mails: list[bytes] = []

    async def score(self, mail: bytes) -> Verdict:
        self.mails.append(mail)
        if self.hanging:
            await asyncio.Event().wait()
        if self.down:
            raise Unavailable("SpamAssassin", "ConnectionRefusedError")
        return self.verdict


def person(**fields: Any) -> dict[str, Any]:
    return {"address": "x@example.com", "status": "confirmed", "name": "Grace", "language": "en", "tags": [], **fields}


PEOPLE = [person(), person(name="Alan"), person(name="")]


async def run(body: str = GOOD, name: str = "news.md", **changes: Any) -> Report:
    about: dict[str, Any] = {key: changes.pop(key) for key in ("identity", "subject", "bulk", "tracked") if key in changes}
    given: dict[str, Any] = {
        "links": LINKS,
        "dns": FakeDns(),
        "spam": FakeSpam(),
        "audience": Audience("everyone", 1_000, PEOPLE),
        "previous": 900,
        "sending": SENDING,
    }
    about = {"campaign": "C-0001", "identity": IDENTITY, **about}
    return await preflight(Source(name=name, data=body.encode(), **about), **(given | changes))


def only(faults: str = "", warnings: str = "", notes: str = "") -> Report:
    return Report(*([sentence] if sentence else [] for sentence in (faults, warnings, notes)))
