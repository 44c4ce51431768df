"""Test mails: a row's mail as it is now, to the addresses that the row names, and what it looks like.

A test mail is a document of its own (see MailTests), made in one commit with what was seen of the row, so that a command is given once;
the sweeper publishes it, and send_batch mails it as any batch, once. Its reader stands in it: a copy of the subscriber with that address,
or made-up details; no message and no log has the address. It asks neither the contact policy nor a provider's allowance, which is why it
brings grants of its own.

Its links work, and count for nothing: its reference has a key that no mail's has (NOBODY), so track sends on who clicks and unsubscribe
answers as ever, and both, as callbacks and bounces, find that it is nobody's. It can unsubscribe nobody.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

from shared.errors import BadInput
from shared.links import Links
from shared.mail.compile import Recipient, compile
from shared.mail.source import Source
from shared.mail.source import read as read_template
from shared.model import address, batch
from shared.model.cells import listed
from shared.model.paths import NOBODY, TEST, MailTests, Paths
from shared.model.ref import MailRef
from shared.model.subscriber import CONFIRMED, EVERYONE, strongest
from shared.ports import Create, Merge, Store, Write

from .preflight import values

MOST: Final = 5  # addresses
DAILY: Final = 100  # test mails of a tenant whose campaigns need approval: no way round it
DAY: Final = 86_400_000  # ms
TRIES: Final = 1000  # mails of a grant: one for each try
PREFIX: Final = "[Test] "
WHOM: Final = "Write into the column “Test to” who gets test mails: up to 5 addresses, with commas between them."
NAME: Final = "Ada Lovelace"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who gets a test mail, and what the template may say of them. `known`: these are a subscriber's own details."""

    address: str
    fields: Mapping[str, Any]
    known: bool


def made_up(language: str) -> dict[str, Any]:
    """What a template may say of a subscriber, of nobody in particular."""
    return {"name": NAME, "language": language, "country": "", "tags": []}


async def readers(store: Store, paths: Paths, pepper: bytes, cell: str, language: str) -> list[Reader]:
    """Those whom the cell names, each once. Raises BadInput for a cell that names none, too many, or one who must not be mailed;
    Unavailable. Two reads each."""
    typed = [part for part in (part.strip() for part in cell.replace(";", ",").split(",")) if part]
    if not typed:
        raise BadInput(WHOM)
    if len(typed) > MOST:
        raise BadInput(f"“Test to” has {len(typed)} addresses, and {MOST} is the most. Take some out.")
    found: dict[str, str] = {}
    for number, text in enumerate(typed, 1):
        try:
            parsed = address.parse(text)
        except BadInput as error:
            raise BadInput(f"Address {number} in “Test to”: {error}") from None
        found.setdefault(address.sid_of(pepper, paths.tenant_id, parsed), parsed)
    people = await store.get_many([paths.subscriber(sid) for sid in found])
    barred = await store.get_many([paths.suppression(sid) for sid in found], ["reasons"])
    who = []
    for to, person, bar in zip(found.values(), people, barred, strict=True):
        data = person.data if person else {}
        if why := strongest([*(data.get("suppressed") or ()), *(bar.data.get("reasons", ()) if bar else ())]):
            reason = why.replace("_", " ")
            raise BadInput(f"{address.masked(to)} must not be mailed ({reason}), so nothing was sent. Take it out of “Test to”.")
        known = data.get("status") == CONFIRMED
        who.append(Reader(to, values(data) if known else made_up(language), known))
    return who


async def room(store: Store, paths: Paths, more: int, now: int) -> int:
    """How many test mails have gone today (UTC), with `more`. Raises BadInput when that is more than DAILY. One read."""
    found = await store.get(MailTests.of(paths).campaign(TEST), ["day", "mails"])
    gone = found.data["mails"] if found and found.data.get("day") == now // DAY else 0
    if gone + more > DAILY:
        raise BadInput(f"{gone} test mails went out today, and {DAILY} a day is the most. Try again tomorrow.")
    return int(gone) + more


def subject(template: Source) -> str:
    """That of the test of a mail, as a template; raises BadTemplate."""
    return PREFIX + read_template(template).subject


def mails(
    paths: Paths, row: str, mail: Mapping[str, Any], who: Iterable[Reader], providers: Iterable[str], now: int, gone: int = 0
) -> list[Write]:
    """What makes the sweeper send `mail` (frozen for the campaign TEST) to each. `providers`: names of the ways out. `now` in ms. `gone`:
    how many went today, with these (see `room`), 0 where nobody counts them."""
    grants = {name: {"mails": TRIES, "rate": 0} for name in providers}
    today = {"day": now // DAY, "mails": gone} if gone else {}
    writes: list[Write] = [Merge(MailTests.of(paths).campaign(TEST), {"kind": "test", "state": "open", **today})]
    for number, reader in enumerate(who):
        sid = hashlib.sha256(f"{row} {now} {number}".encode()).hexdigest()[:32]  # nobody's
        ledger = {**batch.single(sid, "", now), "key": NOBODY, "due": now, "grants": grants}
        plan = {"mail": dict(mail), "segment": EVERYONE, "frozen_at": now}
        person = {**reader.fields, "address": reader.address, "status": CONFIRMED, "confirmed_at": now}
        writes.append(Create(MailTests.of(paths).batch(TEST, sid), {**ledger, **plan, **person}))
    return writes


def said(who: Sequence[Reader]) -> str:
    """The answer, without the time."""
    strangers = [address.masked(one.address) for one in who if not one.known]
    sentence = f"The test mail goes to {listed([address.masked(one.address) for one in who], 'and')}"
    if not strangers:
        return f"{sentence}, filled in with what we know of them."
    if len(strangers) == len(who):
        return f"{sentence}, filled in with made-up details ({NAME})."
    return f"{sentence}, filled in with what we know of them, and for {listed(strangers, 'and')} with made-up details ({NAME})."


async def looks(template: Source, links: Links, now: int) -> str:
    """The subject and the size of a mail made for nobody in particular; raises BadTemplate."""
    compiled = await asyncio.to_thread(compile, template, links)
    someone = Recipient(MailRef(TEST, "0" * 32, NOBODY), "ada@example.com", made_up(template.identity.language))
    data = compiled.splice(someone, formatdate(now / 1000))
    shown = str(email.message_from_bytes(data, policy=email.policy.SMTP)["Subject"] or "")
    return f"subject “{shown}”, {max(1, round(len(data) / 1024)):,} KB"
