"""Commands in a row's Wanted cell that look, try out and put away: Test to me, Preview, Duplicate, Archive."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import re
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from functions.launch.handler import Launch
from functions.launch.testing import WHOM
from shared.errors import BadInput
from shared.http import Request
from shared.model import batch, console, event
from shared.model.paths import TEST, MailTests
from shared.model.provider import parse
from shared.ports import Create, Outcome, Store

from .fakes import Fault, FaultyStore, nth
from .test_launch import campaign, rows
from .world import PEPPER, World

HEADER = [*console.ROW_FIELDS, *console.ROW_OPTIONS]
ADA, BOB = "ada@example.com", "bob@example.com"
ROW = {"Template": "letter", "Wanted": "Test to me", "Test to": f"{ADA}, {BOB}"}
MINUTE = 60_000


def launch(world: World, store: Store | None = None) -> Launch:
    return replace(world.launch(store), pepper=PEPPER)


async def tick(world: World, **cells: str) -> dict[str, Any]:
    """Type these cells into the only row, a tick with workers at work, a minute later; the campaign."""
    if cells:
        rows(world, cells, header=HEADER)
    await launch(world).handle()
    await work(world)
    world.clock.advance(MINUTE)
    return await campaign(world)


async def work(world: World) -> None:
    for message in world.bus.take(batch.TOPIC):
        await world.send_batch().handle(message)


def mail(world: World, address: str) -> EmailMessage:
    return email.message_from_bytes(world.sender.mails[address], _class=EmailMessage, policy=email.policy.default)


def page(world: World, address: str) -> str:
    part = mail(world, address).get_body(("html",))
    assert part
    return str(part.get_content())


async def tests(world: World) -> list[dict[str, Any]]:
    return [found.data for found in await world.all(MailTests.of(world.paths).batches(TEST))]


# --- Test to me ---


async def test_the_mail_as_it_is_goes_to_those_that_the_row_names(world: World) -> None:
    await world.add(ADA, name="Ada")
    found = await tick(world, **ROW, Subject="For {{ name }}")
    assert sorted(world.sender.accepted) == [ADA, BOB]
    assert str(mail(world, ADA)["Subject"]) == "[Test] For Ada"
    assert str(mail(world, BOB)["Subject"]) == "[Test] For Ada Lovelace", "nobody we know: made-up details"
    assert "we roasted a new coffee" in page(world, ADA) and "1 Street" in page(world, ADA)
    assert (found["state"], found["active"], "mail" in found) == ("draft", False, False)
    assert found["answer"] == (
        "At 08:00: The test mail goes to a***@example.com and b***@example.com, filled in with what we know of them, "
        "and for b***@example.com with made-up details (Ada Lovelace)."
    )
    assert await world.all(world.paths.subscribers) and len(await world.all(world.paths.subscribers)) == 1
    assert [data["state"] for data in await tests(world)] == ["done", "done"]
    before = world.versions()
    await tick(world)
    assert world.versions() == before and len(world.sender.accepted) == 2


async def test_the_templates_own_subject_is_marked_as_well(world: World) -> None:
    await tick(world, **ROW)
    assert str(mail(world, ADA)["Subject"]) == "[Test] News for Ada Lovelace"


async def test_a_test_is_sent_once_each_time_it_is_chosen(world: World) -> None:
    row = {**ROW, "Test to": ADA}
    await tick(world, **row)
    found = await tick(world, **row, Name="renamed")
    assert found["answer"].startswith("No test mail was sent: Wanted says what it said before. For one more choose Draft first")
    assert world.sender.accepted == [ADA]
    await tick(world, **{**row, "Wanted": "Draft"})
    await tick(world, **{**row, "Wanted": "test  to ME"})
    assert world.sender.accepted == [ADA, ADA]


async def test_no_message_and_no_campaign_has_the_address(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    rows(world, ROW, header=HEADER)
    await launch(world).handle()
    messages = json.dumps(world.bus.messages)
    await work(world)
    for text in (messages, repr(await campaign(world)), "".join(capsys.readouterr())):
        assert "example.com" not in text.replace("a***@example.com", "").replace("b***@example.com", "")
    assert '"campaign": "test"' in messages


async def test_two_ticks_at_once_and_a_message_that_comes_again_send_it_once(world: World) -> None:
    rows(world, ROW, header=HEADER)
    await asyncio.gather(*(launch(world).handle() for _ in range(4)))
    messages = world.bus.take(batch.TOPIC)
    assert len(await tests(world)) == 2
    await asyncio.gather(*(world.send_batch().handle(message) for message in [*messages, *messages]))
    world.clock.advance(5 * MINUTE)
    await tick(world)
    assert sorted(world.sender.accepted) == [ADA, BOB]


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
@pytest.mark.parametrize("write", [0, 1])  # the command, and that its mails may go
async def test_a_test_survives_a_store_that_fails(world: World, write: int, fault: Fault) -> None:
    await launch(world).handle()  # confirmation and welcome
    rows(world, ROW, header=HEADER)
    await launch(world, FaultyStore(world.store, nth(write, fault))).handle()
    await work(world)
    world.clock.advance(5 * MINUTE)
    await tick(world)
    assert sorted(world.sender.accepted) == [ADA, BOB]


async def test_a_lost_message_is_sent_by_the_next_tick(world: World) -> None:
    rows(world, ROW, header=HEADER)
    world.bus.failing = True
    await launch(world).handle()
    world.bus.failing = False
    world.clock.advance(2 * MINUTE)
    await tick(world)
    assert sorted(world.sender.accepted) == [ADA, BOB]


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("", WHOM),
        (" , ", WHOM),
        (", ".join(f"a{n}@example.com" for n in range(6)), "“Test to” has 6 addresses, and 5 is the most."),
        (f"{ADA}, bob", "Address 2 in “Test to”: This is not an e-mail address we can mail"),
        (f"{ADA}, Left@example.com", "l***@example.com must not be mailed (unsubscribed), so nothing was sent."),
        ("gone@example.com", "g***@example.com must not be mailed (hard bounce), so nothing was sent."),
    ],
)
async def test_who_cannot_get_one_is_named_and_a_mended_cell_sends_it(world: World, cell: str, sentence: str) -> None:
    await world.add("left@example.com", suppressed=["unsubscribed"])
    gone = world.paths.suppression(world.sid("gone@example.com"))  # erased since: only the suppression is left
    await world.store.commit([Create(gone, {"reasons": ["hard_bounce"]})])
    found = await tick(world, **{**ROW, "Test to": cell})
    assert found["answer"].casefold().startswith(sentence.casefold())
    assert not world.sender.accepted and not await tests(world)
    await tick(world, **{**ROW, "Test to": f"{ADA}; {ADA.upper()}"})
    assert world.sender.accepted == [ADA], "one mailbox, one mail"


async def test_a_tab_without_the_column_leaves_it_blank(world: World) -> None:
    rows(world, {"Template": "letter", "Wanted": "Test to me"})
    assert (await tick(world))["answer"] == WHOM


async def test_a_mail_that_cannot_be_made_says_why(world: World) -> None:
    world.drive.put("letter.md", "---\nsubject: x\n---\n{{ nmae }}")
    assert "did you mean “name”" in (await tick(world, **ROW))["answer"]
    world.drive.put("letter.md", "---\nsubject: x\n---\n{{ name }}")
    await tick(world, **ROW, Name="touched")
    assert sorted(world.sender.accepted) == [ADA, BOB]


async def test_without_a_pepper_nobody_is_mailed(world: World) -> None:
    rows(world, ROW, header=HEADER)
    await world.launch().handle()
    assert (await campaign(world))["answer"] == "Test mails are not set up here. Please tell your operator."
    assert not await tests(world)


async def test_links_of_a_test_work_and_count_for_nothing(world: World) -> None:
    await world.add(ADA)
    await tick(world, **{**ROW, "Test to": ADA})
    before = world.versions()
    shown = page(world, ADA)
    [click] = set(re.findall(r"https://news.example/track/(k/[^\"]+)", shown))
    answer = await world.track().handle(Request("GET", click, headers={"user-agent": "Mozilla/5.0"}))
    assert (answer.status, answer.headers["location"]) == (302, "https://shop.example/a")
    [pixel] = set(re.findall(r"https://news.example/track/(o/[^\"]+)", shown))
    assert (await world.track().handle(Request("GET", pixel))).status == 200
    [leave] = re.findall(r"https://news.example/unsubscribe/([^>]+)>", str(mail(world, ADA)["List-Unsubscribe"]))
    assert leave in shown
    assert (await world.unsubscribe().handle(Request("POST", leave))).status == 200
    assert world.bus.messages == [] and world.versions() == before


@pytest.mark.parametrize("outcome", [Outcome("recipient", "550", hard=True), Outcome("message", "554")])
async def test_a_refused_test_suppresses_nobody(world: World, outcome: Outcome) -> None:
    await world.add(ADA)
    world.sender.answers[ADA] = [outcome]
    await tick(world, **{**ROW, "Test to": ADA})
    assert [data["tally"] for data in await tests(world)] == [{"failed": 1}]
    assert world.bus.take(event.TOPIC) == [] and not await world.all(world.paths.suppressions)


async def test_a_greylisted_test_is_tried_again_whatever_the_providers_allow(world: World) -> None:
    world.sender.answers[ADA] = [Outcome("temporary", "451")] * 2
    rows(world, {**ROW, "Test to": ADA}, header=HEADER)
    limited = parse('[{"name": "smtp", "kind": "smtp", "daily": 1}]')
    for _ in range(4):
        await replace(launch(world), providers=limited).handle()
        for message in world.bus.take(batch.TOPIC):
            step = world.send_batch()
            step.routes.all[0].provider = limited[0]
            await step.handle(message)
        world.clock.advance(5 * MINUTE)
    assert world.sender.accepted == [ADA] and world.sender.calls == 3


async def test_a_provider_that_refuses_us_stops_no_later_test(world: World) -> None:
    world.sender.answers[ADA] = [Outcome("ours", "535")]
    await tick(world, **{**ROW, "Test to": ADA})
    assert await world.data(MailTests.of(world.paths).campaign(TEST)) == {"kind": "test", "state": "open"}
    world.clock.advance(5 * MINUTE)
    await tick(world)
    assert world.sender.accepted == [ADA]


async def test_a_message_of_no_test_is_a_dead_letter(world: World) -> None:
    with pytest.raises(BadInput, match="no such batch"):
        await world.send_batch().handle({"campaign": TEST, "batch": f"{'0' * 32}.x"})


async def test_a_scheduled_campaign_is_tested_and_stays_scheduled(world: World) -> None:
    await world.add(ADA)
    later = {**ROW, "Test to": ADA, "Schedule": "2027-01-15 12:00"}
    await tick(world, **{**later, "Wanted": "Go"})
    found = await tick(world, **later)
    assert (found["state"], found["active"], world.sender.accepted) == ("scheduled", True, [ADA])
    found = await tick(world, **later, Name="renamed")
    assert "choose Go first" in found["answer"]
    world.clock.advance(4 * 60 * MINUTE)
    await tick(world)
    assert world.sender.accepted == [ADA, ADA] and str(mail(world, ADA)["Subject"]) == "News for you"


async def test_an_ended_campaign_is_tested_as_often_as_it_is_chosen(world: World) -> None:
    await world.add(ADA)
    for wanted in ("Go", "Test to me", "Draft", "Test to me"):
        await tick(world, **{**ROW, "Test to": ADA, "Wanted": wanted})
    assert world.sender.accepted == [ADA] * 3


async def test_no_row_may_be_called_as_the_tests_are(world: World) -> None:
    rows(world, {**ROW, "ID": TEST, "Wanted": "Go"}, header=HEADER)
    await world.launch().handle()
    assert await campaign(world, TEST) == {}


# --- Preview ---


async def test_a_preview_says_what_would_go_and_sends_nothing(world: World) -> None:
    await world.add(ADA, BOB)
    found = await tick(world, Template="letter", Wanted="Preview")
    kilobytes = re.search(r"(\d+) KB", found["answer"])
    assert kilobytes and 1 <= int(kilobytes[1]) <= 50
    start = "Preview at 08:00. Nothing stands in the way: 2 readers, subject “News for Ada Lovelace”, "
    assert found["answer"].startswith(start)
    assert (found["state"], found["active"], "mail" in found) == ("draft", False, False)
    assert not world.sender.accepted and not world.bus.messages
    found = await tick(world, Template="letter", Wanted="Preview", Subject="Hello")
    assert "Preview at 08:01" in found["answer"] and "“Hello”" in found["answer"], "it looks again when the row changes"


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({}, "Nobody is confirmed yet."),
        ({"Segment": "vip"}, "Nobody is in the segment “vip” yet."),
        ({"Segment": "spoilt"}, "The segment “spoilt” cannot be used. Its row in the tab Segments says: Mend it."),
        ({"Template": "lettre"}, "There is no template “lettre” in the folder."),
        ({"Schedule": "tomorrow"}, "The schedule “tomorrow” must look like"),
        ({"Rate": "soon"}, "The rate “soon” must look like"),
        ({"Template": "place"}, "Addresses that are still placeholders: “https://your-site.com/”."),
    ],
)
async def test_a_preview_says_what_stands_in_the_way(world: World, cells: dict[str, str], sentence: str) -> None:
    if cells.get("Template") == "place":
        await world.add(ADA)
        world.drive.put("place.md", "---\nsubject: x\n---\n[Shop](https://your-site.com/)\n\n" + "We roasted a new coffee. " * 9)
    await world.store.commit([Create(world.paths.segment("spoilt"), {"answer": "Mend it."})])
    found = await tick(world, **{"Template": "letter", "Wanted": "Preview", **cells})
    assert found["answer"].startswith(f"Preview at 08:00. {sentence}"), found["answer"]
    assert found["state"] == "draft"


async def test_a_running_campaign_is_previewed_and_goes_on(world: World) -> None:
    await world.add(ADA)
    rows(world, {"Template": "letter", "Wanted": "Go"})
    await launch(world).handle()
    frozen = (await campaign(world))["mail"]
    rows(world, {"Template": "letter", "Wanted": "Preview", "Subject": "Other"})
    await launch(world).handle()
    found = await campaign(world)
    assert (found["state"], found["mail"]) == ("running", frozen) and "“Other”" in found["answer"]


# --- Duplicate ---


async def test_duplicate_says_how_and_writes_no_row(world: World) -> None:
    found = await tick(world, Template="letter", Wanted="Duplicate")
    assert found["answer"].startswith("Rows are yours, so nothing was copied. Copy the cells right of the ID")
    assert (found["state"], world.sheet.changes) == ("draft", [])


# --- Archive ---


async def shown(world: World, tab: str = console.RESULTS) -> dict[str, list[str]]:
    await world.sync_sheet().handle()
    return {row[0]: row[1:] for row in world.sheet.rows(f"{tab}!A2:Z") if row}


async def test_an_archived_campaign_is_neither_shown_nor_counted_until_it_comes_back(world: World) -> None:
    await world.add(ADA, BOB)
    await tick(world, Template="letter", Wanted="Go")
    assert (await tick(world))["state"] == "completed"
    assert (await shown(world))["C-0001"][0] == "completed"
    before = await shown(world, console.DASHBOARD)
    assert (before["Campaigns completed"], before["Mails sent"]) == (["1"], ["2"])
    found = await tick(world, Template="letter", Wanted="Archive")
    assert (found["state"], found["archived"]) == ("completed", True)
    assert (await shown(world))["C-0001"] == ["archived", "Archived. Choose Draft to bring it back.", "2027-01-15 08:02"]
    after = await shown(world, console.DASHBOARD)
    assert (after["Campaigns completed"], after["Mails sent"]) == (["0"], ["0"])
    for wanted in ("Retry failures", "Test to me", "Preview", "Go"):
        found = await tick(world, **{**ROW, "Wanted": wanted})
        assert found["answer"] == "Archived. Choose Draft to bring it back."
    assert len(world.sender.accepted) == 2
    found = await tick(world, Template="letter", Wanted="Draft")
    assert found["answer"] == "Back from the archive. It may be sent again: choose Retry failures or Resend to non-openers."
    assert (await shown(world))["C-0001"][0] == "completed"
    assert (await shown(world, console.DASHBOARD))["Mails sent"] == ["2"]


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        ([], "It has not been sent, so there is nothing to archive."),
        (["Go"], "It is still on its way. Once it has ended, choose Draft, and Archive once the row says so."),
        (["Go", "Pause"], "It is still on its way."),
    ],
)
async def test_what_has_not_ended_is_not_archived(world: World, before: list[str], sentence: str) -> None:
    await world.add(ADA)
    for wanted in before:
        rows(world, {"Template": "letter", "Wanted": wanted})
        await launch(world).handle()
    state = (await campaign(world)).get("state", "draft")
    rows(world, {"Template": "letter", "Wanted": "Archive"})
    await launch(world).handle()
    found = await campaign(world)
    assert found["answer"].startswith(sentence) and "archived" not in found and found["state"] == state


async def test_what_is_scheduled_is_cancelled_before_it_is_archived(world: World) -> None:
    later = {"Template": "letter", "Schedule": "2027-01-15 12:00"}
    await tick(world, **later, Wanted="Go")
    found = await tick(world, **later, Wanted="Archive")
    assert (found["state"], found["answer"][:38]) == ("scheduled", "It has not been sent. Choose Cancel fi")
    await tick(world, **later, Wanted="Cancel")
    assert (await tick(world, **later, Wanted="Archive"))["archived"]
