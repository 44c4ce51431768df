"""The bounce mailbox, on a real IMAP server: nothing is lost, nothing deleted, and no password goes to a stranger."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from functions.inbox import handler, imap
from functions.inbox.handler import ENOUGH, GROUP, MOST, Inbox, Received
from functions.inbox.imap import Account, Imap
from functions.inbox.settings import Config
from local import seed, stacks
from shared import config
from shared.bounces.mail import MAX_BYTES
from shared.errors import ConfigError, NotFound, Unavailable
from shared.links import Links
from shared.model.event import Event
from shared.model.ref import MailRef
from shared.ports import Bus
from shared.tokens import Tokens
from tests.house.asgi import Answer, call
from tests.house.serving import URL, environment, push
from tests.imap_server import PASSWORD, Maildirs, Wire, between, maildirs
from tests.providers.certificates import Authority

from .fakes import HOUR, NOW
from .world import World

REF = MailRef("C-0001", "ab" * 16)
TAKEN_IN = NOW - HOUR


def bounce(world: World, ref: MailRef = REF, rest: bytes = b"") -> bytes:
    """A delivery status notification of a mail of ours."""
    to = world.links.return_path(ref, "news.example")
    return (
        f"From: MAILER-DAEMON@mx.example.org\nTo: <{to}>\nSubject: Undelivered Mail\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\n\n--B\nContent-Type: message/delivery-status\n\n'
        "Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 user unknown\n\n--B\nContent-Type: message/rfc822\n\nSubject: ours\n\n"
    ).encode() + rest


LETTER = b"From: Ann <ann@example.org>\nTo: <b@news.example>\nSubject: Hello\n\nLovely beans.\n"


def events(world: World) -> list[Event]:
    return [Event.from_message(message) for message in world.bus.take("engagement-events")]


# --- with a mailbox in memory -----------------------------------------------------------------------------------------


@dataclass
class Memory:
    """A `Mailbox`: mails, or what reading one raises."""

    mails: dict[str, Received | Exception] = field(default_factory=dict)
    read_ones: list[str] = field(default_factory=list)
    flagged: list[str] = field(default_factory=list)
    marks: int = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Memory]:
        yield self

    async def waiting(self, most: int) -> list[str]:
        return [name for name in self.mails if name not in (*self.read_ones, *self.flagged)][:most]

    async def read(self, name: str) -> Received:
        found = self.mails[name]
        if isinstance(found, Exception):
            raise found
        return found

    async def mark_read(self, names: Sequence[str]) -> None:
        assert names
        self.marks += 1
        self.read_ones += names

    async def flag(self, names: Sequence[str]) -> None:
        assert names
        self.flagged += names


def step(world: World, box: Memory, bus: Bus | None = None) -> Inbox:
    return Inbox(bus or world.bus, world.clock, world.links, box.open)


async def test_what_waits_is_published_and_then_marked(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    box = Memory({"1": Received(bounce(world), TAKEN_IN), "2": Received(LETTER, TAKEN_IN), "3": Received(b"", 0)})
    await step(world, box).handle()
    [found] = events(world)
    assert found == Event("bounced", REF.text, TAKEN_IN, hard=True, code="550 5.1.1", provider="mail", id=found.id)
    assert (box.read_ones, box.flagged) == (["1", "2", "3"], [])
    logged = capsys.readouterr().out
    assert '"bounced": 1' in logged and '"other": 2' in logged and "@" not in logged
    await step(world, box).handle()
    assert world.bus.calls == 1 and capsys.readouterr().out == ""


async def test_a_bounce_of_somebody_elses_mail_is_marked_and_counted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    box = Memory({"1": Received(bounce(world).replace(b"b+", b"c+"), TAKEN_IN)})
    await step(world, box).handle()
    assert box.read_ones == ["1"] and world.bus.calls == 0 and '"not_ours": 1' in capsys.readouterr().out


@pytest.mark.parametrize(("taken_in", "expected"), [(TAKEN_IN, TAKEN_IN), (0, NOW), (NOW + HOUR, NOW)])
async def test_an_event_is_of_when_the_server_took_the_mail_in(world: World, taken_in: int, expected: int) -> None:
    await step(world, Memory({"1": Received(bounce(world), taken_in)})).handle()
    assert [event.at for event in events(world)] == [expected]


@pytest.mark.parametrize("bad", [NotFound("mail 1"), Received(cast(Any, 7), 0)])
async def test_what_cannot_be_read_is_flagged_and_holds_up_nobody(
    world: World, bad: Received | Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Memory({"1": bad, "2": Received(bounce(world), TAKEN_IN)})
    await step(world, box).handle()
    assert (box.flagged, box.read_ones, len(events(world))) == (["1"], ["2"], 1)
    assert "flagged" in capsys.readouterr().out
    await step(world, box).handle()
    assert world.bus.calls == 1


@pytest.mark.parametrize("lost", ["read", "keys"])
async def test_what_may_pass_later_marks_nothing(world: World, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Memory({"1": Received(bounce(world), TAKEN_IN), "2": Unavailable("mailbox")})
    if lost == "keys":
        del box.mails["2"]

        def old(*_: object) -> None:
            raise Unavailable("the signing keys")

        monkeypatch.setattr(handler, "read_mail", old)
    with pytest.raises(Unavailable):
        await step(world, box).handle()
    assert (box.read_ones, box.flagged, world.bus.calls) == ([], [], 0)


async def test_a_failed_publish_leaves_all_of_its_group_unread(world: World) -> None:
    box = Memory({str(n): Received(bounce(world), TAKEN_IN) for n in range(GROUP + 1)})
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await step(world, box).handle()
    assert box.read_ones == [] and world.bus.calls == 1
    world.bus.failing = False
    await step(world, box).handle()
    assert len(events(world)) == len(box.read_ones) == GROUP + 1


async def test_a_tick_takes_so_many_and_for_so_long(world: World) -> None:
    box = Memory({str(n): Received(bounce(world), TAKEN_IN) for n in range(1000)})
    await step(world, box).handle()
    assert len(box.read_ones) == MOST and box.marks == MOST // GROUP == world.bus.calls
    await step(world, box).handle()
    assert box.read_ones == list(box.mails) and len(events(world)) == 1000

    class Slow(Memory):
        async def read(self, name: str) -> Received:
            world.clock.advance(ENOUGH // 30)
            return await super().read(name)

    slow = Slow(box.mails)
    await step(world, slow).handle()
    assert len(slow.read_ones) == 2 * GROUP


async def test_a_mailbox_that_hardly_answers_ends_the_tick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Memory):
        async def waiting(self, most: int) -> list[str]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr(handler, "LONGEST", 0.01)
    with pytest.raises(Unavailable, match="too slow"):
        await step(world, Stuck()).handle()


# --- on a real server -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maildirs]:
    authority.server()
    [pem] = authority.folder.glob("*.pem")
    with maildirs(tmp_path_factory.mktemp("imap") / "mails", pem) as running:
        yield running


@dataclass
class Box:
    """A user's mailbox, and the step on it."""

    world: World
    account: Account
    mails: Path
    password: str = PASSWORD
    tls: ssl.SSLContext | None = None

    def put(self, raw: bytes, flags: str = "", at: int = TAKEN_IN) -> None:
        """As a mail server delivers; `flags`: of Maildir."""
        name = f"{len(self.flags())}.mail.here"
        path = self.mails / "cur" / f"{name}:2,{flags}" if flags else self.mails / "new" / name
        path.write_bytes(raw)
        os.utime(path, (at / 1000, at / 1000))

    def flags(self) -> list[str]:
        """Of each mail, in the order they were put in."""
        paths = [path for part in ("new", "cur") for path in (self.mails / part).iterdir()]
        return [path.name.partition(":2,")[2] for path in sorted(paths, key=lambda path: int(path.name.partition(".")[0]))]

    def step(self, bus: Bus | None = None) -> Inbox:
        async def password() -> str:
            return self.password

        return Inbox(bus or self.world.bus, self.world.clock, self.world.links, Imap(self.account, password, self.tls).open)

    async def refused(self, why: str) -> None:
        """A tick says why it was none, and did nothing."""
        before = self.flags()
        with pytest.raises(Unavailable, match=why) as error:
            await self.step().handle()
        assert self.world.bus.calls == 0 and self.flags() == before
        assert PASSWORD not in str(error.value) and self.account.user not in str(error.value)


@pytest.fixture
def box(world: World, server: Maildirs) -> Box:
    user, mails = server.user()
    return Box(world, Account("127.0.0.1", server.port, user, "INBOX", "none"), mails)


def through(box: Box, wire: Wire) -> Box:
    return replace(box, account=replace(box.account, port=wire.port))


@pytest.mark.network
async def test_the_server_has_them_read_and_keeps_them(box: Box, world: World) -> None:
    box.put(bounce(world))
    box.put(LETTER)
    await box.step().handle()
    [found] = events(world)
    assert (found.ref, found.at, found.hard) == (REF.text, TAKEN_IN, True)
    assert box.flags() == ["S", "S"]
    await box.step().handle()
    assert world.bus.calls == 1


@pytest.mark.network
async def test_an_empty_mailbox(box: Box, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await box.step().handle()
    assert world.bus.calls == 0 and capsys.readouterr().out == ""


@pytest.mark.network
async def test_what_others_have_read_flagged_or_deleted_is_left_alone(box: Box, world: World) -> None:
    for flags in ("S", "F", "T", "FS", "R"):
        box.put(bounce(world, replace(REF, campaign=f"C-{flags}")), flags)
    await box.step().handle()
    assert [event.mail.campaign for event in events(world)] == ["C-R"]
    assert box.flags() == ["S", "F", "T", "FS", "RS"]


class Killed(BaseException):
    """The process ends here."""


class Killing:
    """A bus whose publisher is killed before it hears that all went well."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        await self._bus.publish(topic, messages)
        raise Killed

    async def check(self) -> None:
        await self._bus.check()


@pytest.mark.network
async def test_killed_between_publishing_and_marking_it_comes_again_and_counts_once(box: Box, world: World) -> None:
    box.put(bounce(world))
    with pytest.raises(Killed):
        await box.step(cast(Bus, Killing(world.bus))).handle()
    assert box.flags() == [""]
    world.clock.advance(3 * 24 * HOUR)
    await box.step().handle()
    first, second = world.bus.take("engagement-events")
    assert first == second and box.flags() == ["S"]
    await world.record().handle(first)
    once = await world.data(world.paths.delivery(REF.campaign, REF.delivery))
    await world.record().handle(second)
    assert await world.data(world.paths.delivery(REF.campaign, REF.delivery)) == once


@pytest.mark.network
async def test_a_failed_publish_leaves_it_unread(box: Box, world: World) -> None:
    box.put(bounce(world))
    world.bus.failing = True
    with pytest.raises(Unavailable):
        await box.step().handle()
    assert box.flags() == [""]
    world.bus.failing = False
    await box.step().handle()
    assert len(events(world)) == 1 and box.flags() == ["S"]


@pytest.mark.network
@pytest.mark.parametrize("word", [b"AUTHENTICATE", b"SELECT", b"SEARCH", b"FETCH", b"STORE", b"LOGOUT"])
async def test_a_connection_that_ends_loses_nothing(box: Box, world: World, word: bytes) -> None:
    box.put(bounce(world))
    async with between(box.account.port) as wire:
        wire.cut = lambda said: word in said
        if word == b"LOGOUT":
            await through(box, wire).step().handle()
        else:
            with pytest.raises(Unavailable, match="connection ended"):
                await through(box, wire).step().handle()
    assert box.flags() == ["S" if word == b"LOGOUT" else ""]
    await box.step().handle()
    found = events(world)
    assert len(set(found)) == 1 and len(found) == (2 if word == b"STORE" else 1) and box.flags() == ["S"]


@pytest.mark.network
@pytest.mark.parametrize("word", [b"SELECT", b"FETCH"])
@pytest.mark.parametrize("security", ["none", "tls"])
async def test_a_server_that_falls_silent_is_left(
    box: Box, world: World, authority: Authority, word: bytes, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap, "TIMEOUT", 0.5)
    box.put(bounce(world))
    secure = replace(box, account=replace(box.account, security=security), tls=authority.client())
    async with between(box.account.port, authority.server() if security == "tls" else None) as wire:
        wire.answer = lambda data: b"" if word in wire.said else data
        await through(secure, wire).refused("does not answer")


@pytest.mark.network
async def test_a_tick_that_is_over_does_not_wait_for_the_server(box: Box, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "LONGEST", 0.5)
    box.put(bounce(world))
    started = time.monotonic()
    async with between(box.account.port) as wire:
        wire.answer = lambda data: b"" if b"SEARCH" in wire.said else data
        await through(box, wire).refused("too slow")
    assert time.monotonic() - started < imap.TIMEOUT / 2


@pytest.mark.network
async def test_of_a_big_mail_with_odd_bytes_the_beginning_is_read(box: Box, world: World) -> None:
    odd = bytes(range(256)) + b")\r\n* 1 FETCH (FLAGS ())\r\n{9}\r\nA001 OK\r\n" + b"\x00\xff" * 1000
    box.put(bounce(world, rest=odd * 800))
    box.put(bounce(world, replace(REF, campaign="C-0002"), rest=odd))
    box.put(b"\x00\xff\xfe\r\r\n\n" + odd)
    async with between(box.account.port) as wire:
        await through(box, wire).step().handle()
    assert {event.mail.campaign for event in events(world)} == {"C-0001", "C-0002"}
    assert b"BODY[" not in wire.said, "it would mark a mail before it is published"
    assert MAX_BYTES < len(wire.heard) < MAX_BYTES + 20_000 and box.flags() == ["S"] * 3


@pytest.mark.network
async def test_many_mails_take_ticks_of_a_bounded_size(box: Box, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MOST", 20), ("GROUP", 8)):
        monkeypatch.setattr(handler, name, value)
    monkeypatch.setattr(imap, "SEARCHED", 15)
    for n in range(50):
        box.put(bounce(world, replace(REF, campaign=f"C-{n:04}")))
    told: list[set[str]] = []
    while not told or told[-1]:
        await box.step().handle()
        told.append({event.ref for event in events(world)})
    assert [len(refs) for refs in told] == [20, 20, 10, 0] and len(set.union(*told)) == 50
    assert set(box.flags()) == {"S"} and world.bus.calls == 3 + 3 + 2


@pytest.mark.network
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_the_certificate_must_be_good(box: Box, world: World, authority: Authority, security: str) -> None:
    box.put(bounce(world))
    secure = replace(box, account=replace(box.account, security=security))
    good, other = authority.client(), Authority(authority.folder, "other")
    bad: list[tuple[ssl.SSLContext, ssl.SSLContext]] = [(authority.server(), other.client())]
    if security == "tls":  # the server itself has one certificate
        made = [authority.server("127.0.0.2"), authority.server(days=(-2, -1)), authority.server(own=True)]
        bad += [(context, good) for context in made]
    for theirs, believed in bad:
        async with between(box.account.port, theirs if security == "tls" else None) as wire:
            await replace(through(secure, wire), tls=believed).refused("certificate is not valid")
            assert b"AUTH" not in wire.said and b"LOGIN" not in wire.said
            await through(secure, wire).refused("certificate is not valid")  # by the system's authorities
    async with between(box.account.port, authority.server() if security == "tls" else None) as wire:
        await replace(through(secure, wire), tls=good).step().handle()
        assert (b"AUTHENTICATE" in wire.said) == (security == "tls")
    assert len(events(world)) == 1 and box.flags() == ["S"]


@pytest.mark.network
async def test_no_password_goes_in_the_clear(box: Box, world: World, authority: Authority, tmp_path: Path) -> None:
    with maildirs(tmp_path / "plain") as plain:
        user, mails = plain.user()
        for security, why in (("tls", "does not speak TLS"), ("starttls", "connection ended")):
            async with between(plain.port) as wire:
                account = Account("127.0.0.1", wire.port, user, "INBOX", security)
                await Box(world, account, mails, tls=authority.client()).refused(why)
                assert b"AUTHENTICATE" not in wire.said and b"LOGIN" not in wire.said


@pytest.mark.network
async def test_a_wrong_setting_is_a_sentence(box: Box, world: World) -> None:
    await replace(box, password="wrong").refused("refuses IMAP_USER with the password in the secret imap-password")
    await replace(box, account=replace(box.account, folder='No "such" one')).refused("no IMAP_FOLDER")
    await replace(box, account=replace(box.account, port=9)).refused("connection ended")
    await replace(box, password=f"{PASSWORD}\n").step().handle()


async def test_without_a_password_the_secret_is_named(world: World) -> None:
    async def missing() -> str:
        raise ConfigError("the secret imap-password has no enabled version")

    account = Account("127.0.0.1", 9, "bounces", "INBOX", "none")
    with pytest.raises(Unavailable, match="imap-password"):
        await Inbox(world.bus, world.clock, world.links, Imap(account, missing).open).handle()


@pytest.mark.network
async def test_a_server_that_knows_login_only(box: Box, world: World) -> None:
    box.put(bounce(world))
    async with between(box.account.port) as wire:
        wire.answer = lambda data: data.replace(b"AUTH=PLAIN", b"X-NONE")
        await through(box, wire).refused("refuses IMAP_USER")  # its characters are not ASCII's
        assert b"LOGIN" not in wire.said


@pytest.mark.network
async def test_a_folder_that_may_only_be_read(box: Box) -> None:
    async with between(box.account.port) as wire:
        wire.answer = lambda data: data.replace(b"[READ-WRITE]", b"[READ-ONLY]")
        await through(box, wire).refused("may only be read")


# --- the entry point --------------------------------------------------------------------------------------------------


@pytest.fixture
async def ticking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[Account | None], Awaitable[Answer]]]:
    """A tick of the step as it is deployed, in a twin's folder, with the settings of an account."""
    state = tmp_path / "state"
    for name, value in (await environment(state)).items():
        monkeypatch.setenv(name, value)
    seed.secrets(state).add("imap-password", PASSWORD.encode())
    with closing(sqlite3.connect(state / "bus.db")) as bus, bus:
        bus.execute("INSERT INTO subscriptions VALUES ('record', 'engagement-events')")
    names = ("functions.inbox.main", "functions.inbox.settings")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}

    async def tick(account: Account | None) -> Answer:
        for name, value in asdict(account).items() if account else ():
            monkeypatch.setenv(f"IMAP_{name.upper()}", str(value))
        app = stacks.framework_apps(["inbox"])["inbox"]
        return await call(app, "POST", "/", *push(state, {}))

    yield tick
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


async def test_without_a_mailbox_a_tick_is_answered_and_builds_nothing(ticking: Any) -> None:
    assert (await ticking(None)).status == 204
    built = sys.modules["functions.inbox.main"].__dict__
    built["step"] = None  # would fail if it was called
    assert (await ticking(None)).status == 204


@pytest.mark.network
async def test_a_tick_publishes_what_waits_in_the_mailbox(ticking: Any, box: Box, world: World, tmp_path: Path) -> None:
    [key] = await seed.secrets(tmp_path / "state").get("signing-key")
    world.links = Links(URL, Tokens([key.value]))
    box.put(bounce(world))
    assert (await ticking(box.account)).status == 204
    with closing(sqlite3.connect(tmp_path / "state" / "bus.db")) as bus:
        [[data]] = bus.execute("SELECT data FROM deliveries").fetchall()
    assert Event.from_message(json.loads(data)).ref == REF.text and box.flags() == ["S"]


@pytest.mark.network
async def test_a_mailbox_that_cannot_be_opened_is_a_sentence_and_a_503(
    ticking: Any, box: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await ticking(replace(box.account, user="nobody"))
    assert answer.status == 503 and b"mailbox" not in answer.body
    logged = capsys.readouterr().out
    assert '"severity": "ERROR"' in logged and "refuses IMAP_USER with the password in the secret imap-password" in logged


# --- settings ---------------------------------------------------------------------------------------------------------

PUSHED = {
    "STACK": "google",
    "TENANT": "t",
    "PUBLIC_URL": "https://news.example",
    "GOOGLE_CLOUD_PROJECT": "p",
    "PUSH_AUTH": "oidc",
    "PUSH_AUDIENCE": "a",
    "PUSH_ISSUER": "i",
    "PUSH_EMAIL": "e",
    "PUSH_CERTS": "c",
}


def test_without_a_host_nothing_is_configured() -> None:
    assert config.load(Config, PUSHED).imap_host == ""
    given = config.load(Config, {**PUSHED, "IMAP_HOST": "imap.example", "IMAP_USER": "bounces@news.example"})
    assert (given.imap_port, given.imap_folder, given.imap_security) == (993, "INBOX", "tls")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"IMAP_USER": ""}, "IMAP_USER"),
        ({"IMAP_SECURITY": "none"}, "IMAP_SECURITY"),
        ({"IMAP_SECURITY": "ssl"}, "IMAP_SECURITY"),
        ({"IMAP_PORT": "x"}, "IMAP_PORT"),
        ({"IMAP_FOLDER": "Zurückgekommen"}, "IMAP_FOLDER"),
        ({"IMAP_USER": "a\r\nb"}, "IMAP_USER"),
    ],
)
def test_a_wrong_setting_is_named_at_start(wrong: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        config.load(Config, {**PUSHED, "IMAP_HOST": "imap.example", "IMAP_USER": "bounces", **wrong})
