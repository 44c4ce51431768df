"""Readers' own mails: the link to their preferences, and what is kept of them as two files. To whom, how often, and what is in it."""

from __future__ import annotations

import csv
import email
import email.policy
import io
import json
import re
import struct
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

import pytest

from functions.launch.system import OURS, chosen
from functions.send_batch import personal, personal_files
from functions.send_batch.audience import Audience
from functions.send_batch.personal import Personal
from functions.send_batch.personal_files import HEADER, MOST, attachments, moment
from local.mailbox import Mailbox
from shared.mail.source import read, thawed
from shared.model import batch
from shared.model.cells import neutralise
from shared.model.erasure import erase
from shared.model.event import Event
from shared.model.paths import ACCESS, EXPORT, SYSTEM
from shared.model.ref import MailRef
from shared.model.subscriber import suppress
from shared.ports import Create, Merge, Outcome, Outgoing, Store
from shared.providers.smtp import SmtpSender
from tests.house.formulas import TEXTS

from .fakes import DAY, NOW, Fault, FaultyStore
from .world import IDENTITY, World

ADDRESS = "ada@example.com"
TODAY = NOW // DAY
CONSENT = {
    "at": NOW - 5000,
    "kind": "sign-up",
    "text": "We send news by mail.",
    "text_version": "0123456789ab",
    "page": "https://news.example/subscribe",
    "language": "en",
    "source": "form",
    "network": "192.0.2.0/24",
    "located": {"country": "PT", "city": "Lisbon"},
    "agent": "Mozilla/5.0",
    "requested": {"name": "Ada", "tags": ["coffee"]},
}
READER = {
    "name": "Ada",
    "language": "en",
    "tags": ["coffee", "soft"],
    "asked": ADDRESS,
    "engaged_at": NOW - 100,
    "opens": {"07": NOW - 100},
    "located": {"seen": {"PT": NOW - 100}, "country": "PT", "city": "Lisbon", "zone": "Europe/Lisbon", "at": NOW - 5000},
    "topics": {
        "coffee": {"on": True, "at": NOW - 3000, "consent": "c1"},
        "soft": {"on": False, "at": NOW - 3000, "consent": "c1"},
    },
    "confirmations": {
        "c1": {"at": NOW - 4000, "network": "192.0.2.0/24", "agent": "Mozilla/5.0", "message": "<m@news.brand.example>"}
    },
    "paused_until": NOW + DAY,
    "frequency": "weekly",
}


@pytest.fixture
async def ready(world: World) -> World:
    """A world whose system mails are frozen."""
    await world.launch().handle()
    return world


async def ask(world: World, campaign: str, address: str = ADDRESS, day: int = TODAY, store: Store | None = None) -> str:
    """Ask for a mail; the name of its state, "" when it waits."""
    sid = world.sid(address)
    await world.send_batch(store).handle(batch.request(campaign, f"{sid}.{day}"))
    ledger = await world.ledger(f"{sid}.{day}", campaign)
    return batch.NAMES[ledger["states"][0]] if ledger and ledger["states"] else ""


def mail_of(world: World, address: str = ADDRESS) -> EmailMessage:
    return parsed(world.sender.mails[address])


def parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def contents(message: EmailMessage) -> tuple[dict[str, Any], list[list[str]]]:
    """What data.json and data.csv say."""
    found = {part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments()}
    assert list(found) == ["data.json", "data.csv"]
    return json.loads(as_bytes(found["data.json"])), list(
        csv.reader(io.StringIO(as_bytes(found["data.csv"]).decode("utf-8-sig")))
    )


def as_bytes(data: object) -> bytes:
    assert isinstance(data, bytes)
    return data


# --- who gets one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("campaign", [ACCESS, EXPORT])
@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "sent"),
        ({"suppressed": ["unsubscribed"]}, "sent"),
        ({"suppressed": ["soft_bounces"]}, "sent"),
        ({"paused_until": NOW + DAY, "frequency": "monthly"}, "sent"),
        ({"suppressed": ["hard_bounce"]}, "suppressed"),
        ({"suppressed": ["complaint", "unsubscribed"]}, "suppressed"),
    ],
)
async def test_who_left_gets_it_and_who_bounced_does_not(ready: World, campaign: str, fields: dict[str, Any], state: str) -> None:
    await ready.add(ADDRESS, **fields)
    assert await ask(ready, campaign) == state
    assert ready.sender.accepted == [ADDRESS] * (state == "sent")


@pytest.mark.parametrize("campaign", [ACCESS, EXPORT])
async def test_nobody_known_and_nobody_confirmed_and_nobody_erased_get_none(ready: World, campaign: str) -> None:
    await ready.store.commit([Create(ready.paths.subscriber(ready.sid("new@example.com")), {"asked": "new@example.com"})])
    await ready.add("gone@example.com")
    await erase(ready.store, ready.paths, ready.sid("gone@example.com"), "test", NOW)
    for address in ("nobody@example.com", "new@example.com", "gone@example.com"):
        assert await ask(ready, campaign, address) == "skipped"
    assert ready.sender.calls == 0


@pytest.mark.parametrize("campaign", [ACCESS, EXPORT])
async def test_two_requests_a_day_are_one_mail(ready: World, campaign: str) -> None:
    await ready.add(ADDRESS)
    for day in (TODAY, TODAY, TODAY, TODAY + 1):
        assert await ask(ready, campaign, day=day) == "sent"
    assert ready.sender.accepted == [ADDRESS] * 2


@pytest.mark.parametrize("campaign", [ACCESS, EXPORT])
def test_the_rule_reads_no_more_than_it_is_given(campaign: str) -> None:
    audience = Audience(campaign, key="1")
    assert audience.judge({"address": ADDRESS, "status": "confirmed"}) == batch.HANDED
    assert audience.judge({"asked": ADDRESS}) == batch.SKIPPED_LEFT


# --- what they say ----------------------------------------------------------------------------------------------------


async def test_access_is_one_link_to_the_preferences_and_no_bulk_mail(ready: World) -> None:
    await ready.add(ADDRESS)
    await ask(ready, ACCESS)
    message = mail_of(ready)
    [page] = [part.get_content() for part in message.walk() if part.get_content_type() == "text/html"]
    [link] = re.findall(r'href="([^"]+)"', page)
    assert link.startswith("https://news.example/unsubscribe/preferences/")
    assert ready.links.read_leave(link.rpartition("/")[2]) == MailRef(ACCESS, ready.sid(ADDRESS), str(TODAY))
    assert message["List-Unsubscribe"] is None and message["Auto-Submitted"] == "auto-generated"
    assert "/track/" not in page and "<img" not in page and IDENTITY.postal_address in page


@pytest.mark.parametrize("campaign", [ACCESS, EXPORT])
@pytest.mark.parametrize(
    ("language", "word"),
    [("", "preferences"), ("fr-CA", "préférences"), ("de", "Einstellungen"), ("es", "preferencias"), ("pt", "preferences")],
)
async def test_ours_are_in_the_readers_language(ready: World, campaign: str, language: str, word: str) -> None:
    await ready.add(ADDRESS, language=language)
    await ask(ready, campaign)
    body = mail_of(ready).get_body(("plain",))
    assert body and word in body.get_content()


def test_for_everybody_else_ours_are_in_the_senders_language() -> None:
    own, others = chosen(ACCESS, "de-AT")
    assert own.name == "access.de.md" and sorted(others) == ["en", "es", "fr"]
    assert chosen(EXPORT, "pt")[0].name == "export.en.md"


@pytest.mark.parametrize("path", sorted(OURS.glob("*.md")), ids=lambda path: path.name)
async def test_ours_are_whole(ready: World, path: Any) -> None:
    name, language, _ = path.name.split(".")
    mail = (await ready.data(ready.paths.campaign(name)))["mail"]
    one = mail["languages"].get(language, mail)
    found = read(thawed({**mail, **one}, await ready.objects.get(one["object"]), name))
    assert found.subject and found.preheader and found.language == language
    assert found.body.count("{{ preferences_url }}") == 1 and "{{ postal_address }}" in found.body


async def test_a_file_in_the_folder_takes_the_place_of_ours_and_ours_comes_back(ready: World) -> None:
    path = ready.paths.campaign(ACCESS)
    ours = (await ready.data(path))["mail"]
    ready.drive.put("access.md", "---\nsubject: Your link\n---\n[Go]({{ preferences_url }})\n")
    ready.drive.put("access.fr.md", "---\nsubject: Votre lien\n---\n[Aller]({{ preferences_url }})\n")
    await ready.launch().handle()
    theirs = (await ready.data(path))["mail"]
    assert theirs["name"] == "access.md" and list(theirs["languages"]) == ["fr"] and not theirs["bulk"] and not theirs["tracked"]
    for name in ("access.md", "access.fr.md"):
        del ready.drive.files[name]
    await ready.launch().handle()
    assert (await ready.data(path))["mail"] == ours


async def test_a_file_that_cannot_be_sent_leaves_ours_and_says_so(world: World) -> None:
    world.drive.put("export.md", "---\nsubject: x\n---\n{{ confirm_url }}")
    await world.launch().handle()
    data = await world.data(world.paths.campaign(EXPORT))
    assert data["mail"]["name"] == "export.en.md" and "export.md cannot be sent" in data["answer"]
    before = world.versions()
    await world.launch().handle()
    assert world.versions() == before
    del world.drive.files["export.md"]
    await world.launch().handle()
    assert (await world.data(world.paths.campaign(EXPORT)))["answer"] == ""


async def test_a_quiet_tick_freezes_nothing_again(ready: World) -> None:
    before = ready.versions()
    await ready.launch().handle()
    assert ready.versions() == before
    assert {name for name in SYSTEM if (await ready.data(ready.paths.campaign(name)))["mail"]} == set(SYSTEM)


# --- the data ---------------------------------------------------------------------------------------------------------


async def reader(world: World, **fields: Any) -> str:
    """Somebody with a past: a consent, a lifted suppression, two mails of campaigns, and a confirmation."""
    await world.add(ADDRESS, **{**READER, **fields})
    sid, paths = world.sid(ADDRESS), world.paths
    await world.campaign("C-0001")
    await world.campaign("C-0002", parts=0)
    await world.store.commit(
        [
            Create(paths.consent(sid, "c1"), CONSENT),
            *suppress(paths, sid, "unsubscribed", "mail of C-0000", NOW - 9000),
            Create(paths.lift(sid, "1-soft_bounces"), {"reason": "soft_bounces", "by": "Op", "why": "mended", "at": NOW - 8000}),
            Merge(paths.campaign("C-0001"), {"sends": [{"key": "", "kind": "all", "expected": 1, "parts": 1}]}),
            Merge(
                paths.campaign("C-0002"),
                {"sends": [{"key": "", "parts": 0, "plan": "p"}, {"key": "r1", "parts": 0, "plan": "q"}], "frozen_at": NOW + 1},
            ),
            Merge(paths.batch("C-0001", "000000"), ledger(sid, batch.SENT)),
            Create(paths.batch("C-0002", "000000"), {**batch.new({}, NOW), **ledger("ee" * 16, batch.SENT)}),
            Create(paths.batch("C-0002", "000001"), {**batch.new({}, NOW), **ledger(sid, batch.FAILED, {"0": "550 5.1.1"})}),
            Create(paths.batch("C-0002", "r1-000000"), {**batch.new({}, NOW, "r1"), **ledger(sid, batch.SENT), "key": "r1"}),
            Create(paths.batch("confirm", f"{sid}.{TODAY}"), {**batch.single(sid, "c1", NOW), **ledger(sid, batch.SENT)}),
        ]
    )
    for event in (
        Event("delivered", MailRef("C-0001", sid).text, NOW + 1000),
        Event("clicked", MailRef("C-0001", sid).text, NOW + 2000, label="human", link=0, country="PT", city="Lisbon"),
    ):
        await world.record().handle(event.to_message())
    return sid


def ledger(sid: str, state: int, codes: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {
        "sids": bytes.fromhex("aa" * 16 + sid),
        "states": bytes([batch.SENT, state]),
        "via": b"\x00\x00",
        "times": struct.pack(">II", 1, NOW // 1000),
        "providers": ["smtp"],
        "codes": {"1": next(iter((codes or {}).values()), "")},
    }


async def test_the_files_hold_all_that_is_kept(ready: World) -> None:
    sid = await reader(ready)
    kept = await ready.subscriber(ADDRESS)
    assert await ask(ready, EXPORT) == "sent"
    said, rows = contents(mail_of(ready))
    assert (said["version"], said["made_at"], said["subscriber_id"], said["left_out"]) == (1, "2027-01-15T08:00:00.000Z", sid, [])
    person = said["subscriber"]
    assert len(person) == len(kept), "no field of the document is missing"
    assert person["address"] == ADDRESS and person["not_mailed_because"] == ["unsubscribed"] and person["frequency"] == "weekly"
    assert person["confirmed_at"] == moment(NOW - 1) and person["paused_until"] == "2027-01-16T08:00:00.000Z"
    assert person["topics"] == {
        "coffee": {"on": True, "at": moment(NOW - 3000), "consent": "c1"},
        "soft": {"on": False, "at": moment(NOW - 3000), "consent": "c1"},
    }
    assert person["last_open_by_week"]["07"] == moment(NOW - 100)
    assert person["place_by_ip_address"]["countries_last_seen_in"] == {"PT": moment(NOW + 2000)}
    assert person["confirmations"]["c1"]["message_id"] == "<m@news.brand.example>"
    [consent] = said["consents"]
    assert consent.keys() == {"id", *({*CONSENT} - {"text", "network", "agent", "located"})} | {
        "text_shown",
        "shortened_ip_address",
        "browser",
        "place_by_ip_address",
    }
    assert said["suppression"]["not_mailed_because"] == ["unsubscribed"] and said["suppression"]["unsubscribed_at"] == moment(
        NOW - 9000
    )
    assert [one["why"] for one in said["lifts"]] == ["mended"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", consent["at"])
    mails = {(one["campaign"], one["send_or_day"]): one for one in said["mails"]}
    assert list(mails) == [("confirm", str(TODAY)), ("C-0002", ""), ("C-0002", "r1"), ("C-0001", "")]
    assert {place: one["state"] for place, one in mails.items()} == {
        ("confirm", str(TODAY)): "sent",
        ("C-0002", ""): "failed",
        ("C-0002", "r1"): "sent",
        ("C-0001", ""): "sent",
    }
    assert mails["C-0002", ""]["answer"] == "550 5.1.1" and mails["C-0002", ""]["batch"] == "000001"
    first = mails["C-0001", ""]
    assert (first["name"], first["provider"], first["handed_over_at"]) == ("C-0001", "smtp", moment(NOW))
    heard, delivery = first["heard_of_it"], await ready.data(ready.paths.delivery("C-0001", sid))
    assert len(heard) == len(delivery) and heard["delivered_at"] == moment(NOW + 1000) and heard["cities"] == ["Lisbon"]
    assert all(value == moment(NOW + 2000) for value in next(iter(heard["hits"].values())).values())
    assert rows[0] == list(HEADER) and all(len(row) == 4 for row in rows)
    assert ["subscriber", "", "address", ADDRESS] in rows and ["consents", "c1", "text_shown", "We send news by mail."] in rows
    assert ["mails", "C-0001", "heard_of_it.delivered_at", moment(NOW + 1000)] in rows
    assert ["subscriber", "", "topics.soft.on", "no"] in rows and rows[1][0] == "about"


async def test_a_name_that_is_a_formula_is_text_in_the_spreadsheet(ready: World) -> None:
    await ready.add(ADDRESS, name='=HYPERLINK("https://evil.example","x")')
    await ask(ready, EXPORT)
    said, rows = contents(mail_of(ready))
    [name] = [row[3] for row in rows if row[:3] == ["subscriber", "", "name"]]
    assert name == '\'=HYPERLINK("https://evil.example","x")' and said["subscriber"]["name"] == name[1:]


def test_no_formula_gets_through() -> None:
    held = personal.Held("ab" * 16, NOW, {f"={n}": text for n, text in enumerate(TEXTS)}, {}, [], [], [])
    _, made = attachments(held)
    for row in csv.reader(io.StringIO(made.data.decode("utf-8-sig"), newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) or neutralise(cell) != cell for cell in row), row


async def test_somebody_without_a_past_gets_a_short_one(ready: World) -> None:
    await ready.add(ADDRESS)
    await ask(ready, EXPORT)
    said, _ = contents(mail_of(ready))
    assert said["consents"] == said["lifts"] == said["mails"] == [] and said["suppression"] == {}
    nobody = await Personal(ready.store, ready.paths).of("ab" * 16, NOW)
    assert json.loads(attachments(nobody)[0].data)["subscriber"] == {}


async def test_nothing_of_it_is_kept_or_logged(ready: World, capsys: pytest.CaptureFixture[str]) -> None:
    await reader(ready)
    folder = ready.file.parent / "objects"
    objects = {path.name for path in folder.rglob("*")}
    capsys.readouterr()
    await ask(ready, EXPORT)
    said = "".join(capsys.readouterr())
    assert ADDRESS not in said and "Lisbon" not in said and "Mozilla" not in said
    assert objects and {path.name for path in folder.rglob("*")} == objects
    stored = json.dumps(await ready.ledger(f"{ready.sid(ADDRESS)}.{TODAY}", EXPORT), default=str)
    assert "Lisbon" not in stored and ADDRESS not in stored


async def test_what_was_heard_of_a_single_mail_is_in_it_when_its_batch_is_gone(ready: World) -> None:
    sid = await reader(ready)
    gone = MailRef("confirm", sid, f"{TODAY - 100}-0123456789abcdef")
    for ref in (gone, MailRef("confirm", sid, str(TODAY)), MailRef("confirm", "ff" * 16, str(TODAY))):
        await ready.record().handle(Event("delivered", ref.text, NOW + 5).to_message())
    held = await Personal(ready.store, ready.paths).of(sid, NOW)
    confirmations = {one["send"]: one for one in held.mails if one["campaign"] == "confirm"}
    assert list(confirmations) == [gone.key, str(TODAY)]
    assert all(one["heard"]["delivered_at"] == NOW + 5 for one in confirmations.values())
    assert "batch" not in confirmations[gone.key] and confirmations[str(TODAY)]["state"] == "sent"


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_what_it_costs(ready: World) -> None:
    """Reads: two documents, a page of consents, one of lifts, the campaigns with the four of the system's own, a delivery a send, the
    batches looked at, and of the four system campaigns two pages."""
    sid = await reader(ready)
    before = ready.store.operations.reads, ready.store.operations.writes
    await Personal(ready.store, ready.paths).of(sid, NOW)
    after = ready.store.operations.reads, ready.store.operations.writes
    documents, sends, ranges, rosters, singles = 2 + 1 + 1, 3, 1, 2 + 1, 4 + 4
    assert (after[0] - before[0], after[1] - before[1]) == (documents + 6 + sends + ranges + rosters + singles, 0)


async def test_only_the_newest_campaigns_are_looked_at(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await reader(ready)
    monkeypatch.setattr(personal, "CAMPAIGNS", 1)
    monkeypatch.setattr(personal, "CONSENTS", 0)
    held = await Personal(ready.store, ready.paths).of(ready.sid(ADDRESS), NOW)
    assert {one["campaign"] for one in held.mails} == {"confirm", "C-0002"} and held.consents == []
    assert held.left_out == [
        "Of the sign-ups and consents 0 are in it: there are more.",
        "Of 2 campaigns the newest 1 were looked at.",
    ]
    monkeypatch.setattr(personal, "BATCHES", 1)
    held = await Personal(ready.store, ready.paths).of(ready.sid(ADDRESS), NOW)
    assert [one["send"] for one in held.mails] == [str(TODAY), ""] and "older campaigns" in held.left_out[-1]


def test_too_much_is_cut_and_says_so() -> None:
    mail = {"campaign": "C-1", "send": "", "state": "sent", "heard": {"labels": ["delivered"] * 40}}
    held = personal.Held("ab" * 16, NOW, {"name": "Ada"}, {}, [{"id": "c", "text": "x" * 1000}] * 900, [], [mail] * 3000)
    made = attachments(held)
    said = json.loads(made[0].data)
    assert sum(len(one.data) for one in made) <= MOST and 0 < len(said["mails"]) < 3000 and len(said["consents"]) == 900
    assert said["left_out"] == [f"Of the mails, the newest, {len(said['mails']):,} are in it: all would be too much for a mail."]
    assert f"{len(said['mails']):,} are in it" in made[1].data.decode()


def test_one_large_document_goes_without_a_spreadsheet() -> None:
    [only] = attachments(personal.Held("ab" * 16, NOW, {f"f{n}": "x" * 100 for n in range(9000)}, {}, [], [], []))
    assert only.name == "data.json" and "data.csv is left out" in json.loads(only.data)["left_out"][-1] and len(only.data) <= MOST


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_a_store_that_does_not_answer_delays_the_mail_and_loses_nothing(ready: World) -> None:
    await reader(ready)
    calls: list[str] = []

    def plan(verb: str) -> Fault:
        calls.append(verb)
        return "refused" if verb == "page" else ""

    assert await ask(ready, EXPORT, store=FaultyStore(ready.store, plan)) == "deferred"
    assert "page" in calls and ready.sender.calls == 0
    ready.clock.advance(60_000)
    assert await ask(ready, EXPORT) == "sent"
    assert contents(mail_of(ready))[0]["subscriber"]["name"] == "Ada"


async def test_who_is_erased_while_it_is_collected_gets_none(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = await reader(ready)
    collect = Personal.of

    async def late(self: Personal, sid: str, now: int) -> personal.Held:
        await erase(ready.store, ready.paths, sid, "test", NOW)
        return await collect(self, sid, now)

    monkeypatch.setattr(Personal, "of", late)
    assert await ask(ready, EXPORT) == "skipped" and ready.sender.calls == 0
    assert (await ready.data(ready.paths.subscriber(sid))).keys() == {"suppressed", "segments"}


async def test_a_provider_that_makes_the_mail_gets_the_files(ready: World) -> None:
    await reader(ready)
    got: list[Outgoing] = []
    ready.sender.form = "letter"
    send = ready.sender.send

    async def keep(envelope_from: str, mails: Any, stop: Any = None) -> list[Outcome]:
        got.extend(mails)
        return await send(envelope_from, mails, stop)

    ready.sender.send = keep  # type: ignore[method-assign]
    assert await ask(ready, EXPORT) == "sent"
    [mail] = got
    assert [one.name for one in mail.attachments] == ["data.json", "data.csv"] and mail.data == b""
    assert json.loads(mail.attachments[0].data)["subscriber"]["address"] == ADDRESS


@pytest.mark.network
async def test_it_arrives_by_smtp(ready: World) -> None:
    mailbox = Mailbox(
        ready.file.parent / "mailbox.db", webhook_url="http://127.0.0.1:9/", secret=b"a secret of the tests", clock=ready.clock
    )
    await mailbox.start()
    ready.sender = SmtpSender("127.0.0.1", mailbox.port, timeout=5)  # type: ignore[assignment]
    try:
        await reader(ready)
        assert await ask(ready, EXPORT) == "sent"
        [listed] = await mailbox.find(ADDRESS)
        got = await mailbox.get(listed.id)
        assert got is not None
        said, rows = contents(parsed(got.source))
        assert said["subscriber"]["address"] == ADDRESS and len(rows) > 30
    finally:
        await ready.sender.close()
        await mailbox.stop()


def test_times_are_rfc_3339() -> None:
    assert moment(NOW + 1) == "2027-01-15T08:00:00.001Z" and moment(0) == moment(-1) == moment(1 << 62) == ""
    assert personal_files.VERSION == 1
