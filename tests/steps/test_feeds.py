"""Feeds of campaigns: fetched once from where a stranger may be, frozen with the mail, and told when something is wrong with them."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from functions.launch import feeds
from functions.launch.feeds import KEPT, MINUTE, Feeds, again, noted
from functions.launch.handler import Launch
from functions.send_batch.mails import Mails
from shared.errors import BadInput
from shared.mail.compile import Recipient
from shared.mail.feeds import PART, unpacked
from shared.mail.source import in_language, thawed
from shared.model.paths import TEST, MailTests
from shared.model.ref import MailRef
from shared.outward import public
from shared.providers.api import Answer, Call, Lost
from shared.providers.api_http import Http

from . import test_approval
from .fakes import FakeClock
from .test_approval import APPROVER, EDITOR, Desk
from .test_approval import MINUTE as NEXT
from .test_launch import GO, HEADER, campaign, rows
from .world import PEPPER, World

SITE = "https://site.example/rss.xml"
LETTER = f"""---
subject: News
preheader: Posts of the week
feed: {SITE}
---
# Hello

This is what we wrote this week, for everybody who asked us to say so by mail. Take your time.

{{% for item in feed.items[:2] %}}
- [{{{{ item.title }}}}]({{{{ item.link }}}})
{{% endfor %}}
"""


def rss(*titles: str) -> bytes:
    items = "".join(f"<item><title>{one}</title><link>https://site.example/{one.lower()}</link></item>" for one in titles)
    return f"<rss version='2.0'><channel><title>Posts</title>{items}</channel></rss>".encode()


@dataclass
class Site:
    """Answers by address, and who was asked. An exception is raised, a list answers one after the other."""

    answers: dict[str, Any] = field(default_factory=lambda: {SITE: rss("Water", "Grinders", "Farms")})
    asked: list[str] = field(default_factory=list)
    closed: int = 0

    def open(self, allowed: Callable[[str], bool]) -> Site:
        return self

    async def exchange(self, call: Call) -> Answer:
        self.asked.append(call.url)
        found = self.answers[call.url]
        found = found.pop(0) if isinstance(found, list) else found
        if isinstance(found, Exception):
            raise found
        if isinstance(found, bytes):
            return Answer(200, {}, found)
        assert isinstance(found, Answer)
        return found

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def read(site: Site) -> Feeds:
    return Feeds(FakeClock(), site.open)


async def refused(read: Feeds, address: str = SITE) -> str:
    with pytest.raises(BadInput) as caught:
        await read.read(address)
    sentence = str(caught.value)
    assert sentence.startswith(f"The feed {address[:120]} ") and sentence.endswith(".") and "\n" not in sentence
    return sentence.removeprefix(f"The feed {address[:120]} ")


# --- where a feed may be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *(
            "ftp://site.example/x",
            "file:///etc/passwd",
            "site.example/rss.xml",
            "https://",
            "//site.example/x",
            "gopher://a.example",
        ),
        *(
            "https://user:pw@site.example/x",
            "https://site.example@evil.example/",
            "http://site.example:22/",
            "https://a.example:8443/",
        ),
        *(
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://0x7f.1/",
        ),
        *(
            "http://169.254.169.254/computeMetadata/v1/",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:127.0.0.1]/",
            "http://127.0.0.1./",
        ),
        *(
            "http://site.example\\@127.0.0.1/",
            "http://site.example/\r\nHost: x",
            "https://site.example/a b",
            "http://[x/",
            "http://a:b/",
        ),
        "https://site.example/" + "x" * 1000,
    ],
)
async def test_no_other_address_is_asked(read: Feeds, site: Site, address: str) -> None:
    with pytest.raises(BadInput, match="The feed "):
        await read.read(address)
    assert not site.asked
    site.answers[SITE] = Answer(302, {"location": address if address.partition("://")[2].strip("/") else "gopher:x"})
    await refused(read)
    assert site.asked == [SITE] and site.closed == 1, "nor after a redirect"


HOSTS = {
    "metadata.google.internal": "169.254.169.254",
    "metadata-v6.example": "fd00:ec2::254",
    "localhost": "127.0.0.1",
    "six.example": "::1",
    "mapped.example": "::ffff:10.0.0.1",
    "private.example": "192.168.1.1",
    "carrier.example": "100.64.0.1",
    "link.example": "fe80::1",
    "multicast.example": "224.0.0.1",
}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What host names lead to."""
    known = dict(HOSTS)

    async def getaddrinfo(self: Any, host: str, port: int, **given: Any) -> list[Any]:
        ip = known[host if isinstance(host, str) else host.decode()]
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (ip, port, 0, 0) if ":" in ip else (ip, port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize("host", sorted(HOSTS))
async def test_a_name_that_leads_further_in_is_not_connected_to(names: dict[str, str], host: str) -> None:
    said = await refused(Feeds(FakeClock()), f"http://{host}/x")
    assert said == "is not on the public internet, or leads to where that is not so."


@asynccontextmanager
async def serving(answers: Mapping[str, bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """A server on this machine: its port, and the paths that were asked for."""
    asked: list[str] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1].decode())
        writer.write(answers[asked[-1]].replace(b"{port}", str(server.sockets[0].getsockname()[1]).encode()))
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


ANSWERS = {
    "/rss": http(rss("Water")),
    "/moved": http(b"", "Location: /rss", status="301 Moved"),
    "/in": http(b"", "Location: http://inside.example:{port}/rss", status="302 Found"),
    "/round": http(b"", "Location: /round", status="307 Again"),
    "/large": http(rss("x" * (feeds.MOST + 1))),
    "/bomb": http(gzip.compress(rss("x" * (64 << 20))), "Content-Encoding: gzip"),
    "/cut": http(rss("Water")).replace(b"Content-Length: ", b"Content-Length: 9"),
    "/gone": http(b"", status="404 Not Found"),
}


@pytest.mark.network
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/rss", ""),
        ("/moved", ""),
        ("/in", "is not on the public internet, or leads to where that is not so."),
        ("/round", "leads on more than 3 times: write the address that it leads to."),
        ("/large", "is empty, breaks off, or has more than 1 MB."),
        ("/bomb", "is empty, breaks off, or has more than 1 MB."),
        ("/cut", "is empty, breaks off, or has more than 1 MB."),
        ("/gone", "cannot be fetched: its server answers 404."),
    ],
)
async def test_over_the_network(names: dict[str, str], path: str, said: str) -> None:
    names |= {"site.example": "127.0.0.1", "inside.example": "127.0.0.2"}
    async with serving(ANSWERS) as (port, asked):
        read = Feeds(FakeClock(), public=lambda ip: ip == "127.0.0.1", ports=frozenset({port}))
        address = f"http://site.example:{port}{path}"
        if said:
            assert await refused(read, address) == said
        else:
            assert unpacked(await read.read(address)).items[0]["title"] == "Water"
        assert len(asked) == {"/rss": 1, "/moved": 2, "/round": 4}.get(path, 1)


def test_a_feed_is_fetched_as_carefully_as_events_are_posted() -> None:
    assert Feeds(FakeClock()).public is public and Feeds(FakeClock()).ports == {80, 443}
    made = feeds.client(public)
    assert isinstance(made, Http) and made._allowed is public and made._most == 1 << 20 and made._limits.total == 10


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_a_stumble_is_tried_again_once(read: Feeds, site: Site) -> None:
    for stumble in (Lost("down", "x"), Answer(503, {}), Answer(429, {})):
        site.answers[f"{SITE}?{stumble!r}".replace(" ", "")] = [stumble, rss("Water")]
        assert await read.read(f"{SITE}?{stumble!r}".replace(" ", ""))
    site.answers[SITE] = Lost("down", "x")
    site.asked.clear()
    assert await refused(read) == "cannot be fetched: its server does not answer, or its name is not known."
    assert site.asked == [SITE, SITE]
    site.answers[SITE + "5"] = Answer(503, {}, b"down")
    assert await refused(read, SITE + "5") == "cannot be fetched: its server answers 503."


async def test_a_slow_feed_is_not_waited_for(read: Feeds, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def exchange(call: Call) -> Answer:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(feeds, "SECONDS", 0.05)
    monkeypatch.setattr(site, "exchange", exchange)
    assert await refused(read) == "takes longer than 0.05 seconds." and site.closed == 1


async def test_a_feed_is_read_once_in_five_minutes_and_a_fault_once_in_one(read: Feeds, site: Site) -> None:
    clock = read.clock
    assert isinstance(clock, FakeClock)
    first = await read.read(SITE)
    site.answers[SITE] = rss("Later")
    clock.advance(KEPT - 1)
    assert await read.read(SITE) == first and len(site.asked) == 1
    clock.advance(1)
    assert await read.read(SITE) != first and len(site.asked) == 2
    clock.advance(KEPT)
    site.answers[SITE] = rss()
    assert await refused(read) == "has no items."
    site.answers[SITE] = rss("Back")
    clock.advance(MINUTE - 1)
    assert await refused(read) == "has no items." and len(site.asked) == 3
    clock.advance(1)
    assert unpacked(await read.read(SITE)).items[0]["title"] == "Back"
    for n in range(feeds.HELD + 5):
        site.answers[f"{SITE}?{n}"] = rss("Water")
        await read.read(f"{SITE}?{n}")
    assert len(read._kept) == feeds.HELD


# --- campaigns --------------------------------------------------------------------------------------------------------


@dataclass
class Paper:
    """A world whose letter has a feed."""

    world: World
    site: Site
    read: Feeds

    def launch(self, **changes: Any) -> Launch:
        return replace(self.world.launch(), feed=self.read.read, **changes)

    async def tick(self, **cells: str) -> dict[str, Any]:
        if cells:
            rows(self.world, cells)
        await self.launch().handle()
        return await campaign(self.world)

    async def made(self, mail: dict[str, Any], language: str = "") -> str:
        compiled = await Mails(self.world.objects, self.world.links).get("C-0001", mail, language)
        recipient = Recipient(MailRef("C-0001", "ab" * 16), "ada@example.com", {"name": "Ada"})
        return compiled.splice(recipient, "Mon, 23 Nov 2026 10:00:00 +0000").decode()


@pytest.fixture
async def paper(world: World, site: Site) -> Paper:
    world.drive.put("letter.md", LETTER)
    await world.add("a@example.com", "b@example.com", tags=["vip"])
    return Paper(world, site, Feeds(world.clock, site.open))


async def test_a_campaign_keeps_the_items_that_it_was_launched_with(paper: Paper) -> None:
    found = await paper.tick(**GO)
    assert (found["state"], found["answer"]) == ("running", "Sending to 2.") and paper.site.asked == [SITE]
    mail = found["mail"]
    assert mail["feed"] == SITE and mail["links"] == {"0": "https://site.example/water", "1": "https://site.example/grinders"}
    paper.site.answers[SITE] = rss("Newer")
    paper.world.clock.advance(KEPT)
    await paper.tick()
    assert (await campaign(paper.world))["mail"] == mail and paper.site.asked == [SITE]
    sent = await paper.made(mail)
    assert "Water" in sent and "Grinders" in sent and "Farms" not in sent and "Newer" not in sent
    view = (await paper.world.objects.get(mail["view"]["object"])).decode()
    assert "https://site.example/water" in view and "Grinders" in view


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (rss(), "has no items."),
        (b"<html><body>Not here</body></html>", "is not RSS, Atom or JSON Feed: it may be the address of a page."),
        (rss("Water")[:-20], "is broken at line "),
        (Answer(404, {}), "cannot be fetched: its server answers 404."),
        (Lost("down", "ClientConnectorError"), "cannot be fetched: its server does not answer, or its name is not known."),
    ],
    ids=["empty", "a page", "broken", "gone", "down"],
)
async def test_a_feed_with_a_fault_stops_its_campaign(paper: Paper, answer: Any, said: str) -> None:
    paper.site.answers[SITE] = answer
    shown = await paper.tick(**GO | {"Wanted": "Preview"})
    assert f"The feed {SITE} {said}" in shown["answer"] and shown["state"] == "draft"
    found = await paper.tick(**GO)
    assert found["state"] == "draft" and found["answer"].startswith(f"The feed {SITE} {said}")
    assert "Then choose Draft, and Go" in found["answer"] and not paper.world.bus.messages
    paper.site.answers[SITE] = rss("Water")
    paper.world.clock.advance(MINUTE)
    await paper.tick(**GO | {"Wanted": "Draft"})
    assert (await paper.tick(**GO))["state"] == "running"


async def test_preview_test_and_send_show_the_same_items(paper: Paper) -> None:
    rows(paper.world, GO | {"Wanted": "Preview"})
    await paper.launch(pepper=PEPPER).handle()
    assert "Nothing stands in the way" in (await campaign(paper.world))["answer"]
    rows(paper.world, GO | {"Wanted": "Test to me", "Test to": "me@example.com"}, header=[*HEADER, "Test to"])
    await paper.launch(pepper=PEPPER).handle()
    [test] = await paper.world.all(MailTests.of(paper.world.paths).batches(TEST))
    found = await paper.tick(**GO)
    assert paper.site.asked == [SITE], "within five minutes it is asked once"
    for mail in (test.data["mail"], found["mail"]):
        assert "Grinders" in await paper.made(mail)


async def test_each_language_may_have_its_own(paper: Paper) -> None:
    french = "https://site.example/fr.xml"
    paper.site.answers[french] = rss("Eau")
    paper.world.drive.put("letter.fr.md", LETTER.replace(SITE, french))
    paper.world.drive.put("letter.de.md", LETTER)
    mail = (await paper.tick(**GO))["mail"]
    assert sorted(paper.site.asked) == [french, SITE]
    assert "Eau" in await paper.made(mail, "fr") and "Water" in await paper.made(mail, "de")
    assert {one["address"] for one in noted(mail)} == {SITE, french}

    async def never(address: str) -> bytes:
        raise AssertionError

    kept = again(paper.world.objects, noted(mail), never)
    for language, address in (("", SITE), ("fr", french)):
        one = in_language(mail, language)
        assert await kept(address) == thawed(one, await paper.world.objects.get(one["object"]), "C").parts[PART]


async def test_the_systems_own_mails_have_none(paper: Paper) -> None:
    paper.world.drive.put("welcome.md", f"---\nsubject: Welcome\nfeed: {SITE}\n---\nGlad to have you.\n")
    await paper.tick(**GO)
    assert (await campaign(paper.world, "welcome"))["answer"] == feeds.NOT_HERE
    assert paper.site.asked == [SITE], "the letter's"


async def test_the_tab_tries_a_template_with_a_made_up_feed(paper: Paper) -> None:
    paper.world.drive.put("wrong.md", LETTER.replace("feed.items", "feeds.items"))
    step = paper.launch()
    for _ in range(3):
        await step.handle()
    files = (await paper.world.data(paper.world.paths.templates))["files"]
    assert files["letter.md"]["problem"] == "" and "no recipient has a value called “feeds”" in files["wrong.md"]["problem"]
    assert not paper.site.asked


# --- approval ---------------------------------------------------------------------------------------------------------


_unread, desk, served, sheet = test_approval._unread, test_approval.desk, test_approval.served, test_approval.sheet  # fixtures


@dataclass
class Approving:
    """A desk whose letter has a feed."""

    desk: Desk
    site: Site

    async def tick(self, later: int = NEXT) -> dict[str, Any]:
        self.desk.world.clock.advance(later)
        await replace(self.desk.launch(), feed=Feeds(self.desk.world.clock, self.site.open).read).handle()
        return await self.desk.campaign()


@pytest.fixture
def approving(desk: Desk, site: Site) -> Approving:
    desk.world.drive.put("letter.md", LETTER)
    return Approving(desk, site)


@pytest.mark.network
async def test_what_was_approved_goes_whatever_the_site_says_since(approving: Approving) -> None:
    book, site = approving.desk, approving.site
    book.type(EDITOR, Template="letter", Wanted="Go")
    found = await approving.tick()
    code = found["review"]["code"]
    site.answers[SITE] = rss("Evil")
    book.world.drive.put("other.md", "---\nsubject: x\n---\nAn edit of another file, after which all is checked again.")
    assert (await approving.tick())["review"]["code"] == code
    book.type(APPROVER, Approved=code)
    await approving.tick()
    found = await approving.tick()
    assert found["state"] == "running" and site.asked == [SITE]
    [one] = noted(found["mail"])
    data = thawed(found["mail"], await book.world.objects.get(one["object"]), "C-0001").parts[PART]
    assert [item["title"] for item in unpacked(data).items] == ["Water", "Grinders", "Farms"]


@pytest.mark.network
async def test_the_code_is_of_the_items_and_a_new_go_reads_them_anew(approving: Approving) -> None:
    book, site = approving.desk, approving.site
    book.type(EDITOR, Template="letter", Wanted="Go")
    old = (await approving.tick())["review"]["code"]
    book.type(EDITOR, Wanted="Draft")
    await approving.tick()
    site.answers[SITE] = rss("Evil")
    book.type(EDITOR, Wanted="Go")
    book.type(APPROVER, Approved=old)
    found = await approving.tick()
    assert found["review"]["code"] != old and len(site.asked) == 2
    assert (await approving.tick())["state"] == "scheduled", "the old code is of other items"
    book.type(APPROVER, Approved=found["review"]["code"])
    await approving.tick()
    assert (await approving.tick())["state"] == "running"
