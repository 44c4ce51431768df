"""`python -m bench.engagement`: 100,000 deliveries of events, 30% of them repeats, in any order, to two processes with the real record
on one store file.

Then every delivery, subscriber and suppression is compared with what `expected` says of the set of events: it knows neither order nor
repetition, keeps every event, and shares no code with the step. Prints counts, seconds and mismatches; exits 1 when there is one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from functions.record.handler import Record
from shared.adapters.sqlite_store import SqliteStore
from shared.errors import Unavailable
from shared.model.event import Event, Type
from shared.model.hits import settled
from shared.model.paths import SYSTEM, Paths
from shared.model.ref import MailRef
from shared.ports import Create, Store

DELIVERIES: Final = 100_000  # of messages
REPEATED: Final = 0.3
WORKERS: Final = 2
AT_ONCE: Final = 64  # messages that a worker has
MAILS: Final = 7  # campaigns
PER_MAIL: Final = 7  # events
BEGAN: Final = 1_800_000_000_000  # ms
DAY: Final = 86_400_000
DAYS: Final = 200
PATHS: Final = Paths("bench")
_UNCOUNTED: Final = {"delivered", "deferred", "unknown"}

_Kinds = list[tuple[int, Type, dict[str, Any]]]  # how often, among the others; what

_COMMON: Final[_Kinds] = [
    (5, "delivered", {}),
    (2, "deferred", {"code": "451 4.7.1"}),
    (3, "opened", {"label": "human"}),
    (1, "opened", {"label": "machine", "reason": "mail image proxy"}),
    (1, "opened", {"label": "suspect"}),
    (2, "clicked", {"label": "human", "link": 1, "country": "PT", "city": "Porto", "device": "phone"}),
    (1, "clicked", {"label": "human", "link": 2}),
    (1, "clicked", {"label": "machine", "link": 3, "reason": "burst"}),
    (1, "opened", {"label": "machine", "reason": "honeypot link"}),
    (2, "converted", {"id": "order", "value": 19_900_000, "currency": "EUR"}),
    (1, "converted", {}),
    (1, "bounced", {"code": "550 5.7.1"}),
    (1, "unsubscribed", {}),
    (1, "unknown", {"code": "word"}),
]
_SOFT: Final[_Kinds] = [
    (12, "bounced", {"counts": True, "code": "452 4.2.2", "provider": "generic"}),
    (6, "deferred", {}),
    (1, "delivered", {"provider": "generic"}),
]
_FATAL: Final[_Kinds] = [
    (2, "bounced", {"hard": True, "code": "550 5.1.1"}),
    (1, "complained", {}),
    (1, "unsubscribed", {"provider": "generic"}),
]


def seeded(readers: int) -> dict[str, dict[str, Any]]:
    """sid -> what is known of a reader beforehand; a bounce of every fifth one was lifted half way through."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(readers):
        sid = hashlib.sha256(b"%d" % number).hexdigest()[:32]
        found[sid] = {"address": f"reader{number}@example.com", "status": "confirmed", "confirmed_at": BEGAN, "tags": ["coffee"]}
        found[sid]["segments"] = ["everyone", "coffee"]
        if number % 5 == 4:
            found[sid]["lifted"] = {"hard_bounce": BEGAN + DAYS // 2 * DAY, "soft_bounces": BEGAN + DAYS // 4 * DAY}
    return found


def events(sids: Sequence[str], count: int, chance: random.Random) -> list[Event]:
    """`count` different ones. Every third reader mostly bounces for now, every seventh may bounce for good or complain."""
    found: dict[Event, None] = {}
    while len(found) < count:
        number = chance.randrange(len(sids))
        kinds = _SOFT if number % 3 == 0 else _COMMON
        if number % 7 == 0 and chance.random() < 0.05:
            kinds = _FATAL
        [(_, type, fields)] = chance.choices(kinds, [often for often, _, _ in kinds])
        given = dict(fields)
        if "id" in given:
            given |= {"id": f"order {chance.randrange(3)}", "value": chance.randrange(3) * 1_000_000}
        ref = MailRef(f"C-{chance.randrange(MAILS):04d}", sids[number])
        found[Event(type, ref.text, BEGAN + chance.randrange(DAYS * DAY), **given)] = None
    return list(found)


def expected(readers: Mapping[str, Mapping[str, Any]], told: Iterable[Event]) -> dict[str, dict[str, Any]]:
    """Path -> the document that the set of these events makes of what was known, lists sorted."""
    mails: dict[str, list[Event]] = defaultdict(list)
    people: dict[str, list[Event]] = {sid: [] for sid in readers}
    for event in set(told):
        mails[PATHS.delivery(event.mail.campaign, event.mail.delivery)].append(event)
        people.setdefault(event.mail.sid, []).append(event)
    found = {path: _delivery(those) for path, those in mails.items()}
    for sid, those in people.items():
        found[PATHS.subscriber(sid)], found[PATHS.suppression(sid)] = _reader(readers.get(sid, {}), those)
    return {path: kept for path, data in found.items() if (kept := normal(data))}


def _delivery(told: Sequence[Event]) -> dict[str, Any]:
    times: dict[str, list[int]] = defaultdict(list)
    orders: dict[str, list[Event]] = defaultdict(list)
    for event in told:
        kinds: list[str] = [event.label] if event.label and event.type != "bounced" else []
        if event.type == "bounced":
            kinds = ["", "hard" if event.hard else "soft" if event.counts else "other"]
        for kind in kinds or [""]:
            times["_".join(filter(None, [event.type, kind, "at"]))].append(event.at)
        if event.type == "converted":
            order = f"id {event.id}" if event.id else f"at {event.at}"
            orders[hashlib.sha256(order.encode()).hexdigest()[:16]].append(event)
    data: dict[str, Any] = {name: min(those) for name, those in times.items()}
    plain = {event.type for event in told}
    labels = plain | {name[:-3].replace("_", ".") for name in times} | ({"counted"} if plain - _UNCOUNTED else set())
    data["hits"], people = _hits(told)
    data["labels"] = list(labels - ({"opened.human", "clicked.human"} - people))
    if told[0].mail.campaign in SYSTEM:
        data["first_at"] = min(event.at for event in told)
    for many, one in (
        ("reasons", "reason"),
        ("codes", "code"),
        ("cities", "city"),
        ("providers", "provider"),
    ):
        data[many] = list({getattr(event, one) for event in told} - {""})
    if orders:
        data["conversions"] = {
            order: {"at": min(event.at for event in those)}
            | {
                event.currency: max(one.value for one in those if one.currency == event.currency)
                for event in those
                if event.currency
            }
            for order, those in orders.items()
        }
    return data


def _hits(told: Sequence[Event]) -> tuple[dict[str, Any], set[str]]:
    """(the field, the labels of people that it leaves)."""
    slots: dict[str, list[Event]] = defaultdict(list)
    for event in told:
        if event.type in ("opened", "clicked") and (event.label == "human" or _later(event)):
            number = "" if event.link < 0 else event.link
            slots[f"{event.type[0]}{number}_{event.at // 3_600_000 % 168:03d}"].append(event)
    field: dict[str, Any] = {}
    people = set()
    for slot, those in slots.items():
        human, machine = ([event.at for event in those if (event.label == "human") is wanted] for wanted in (True, False))
        field[slot] = {"human": max(human), "first": min(human)} if human else {}
        if machine:
            field[slot]["machine"] = max(machine)
        for place in {place for event in those for place in (event.country, event.device) if place}:
            field[slot][place] = max(event.at for event in those if place in (event.country, event.device))
        if max(human, default=-1) > max(machine, default=-1):
            people.add(f"{those[0].type}.human")
    return field, people


def _later(event: Event) -> bool:
    return event.label == "machine" and event.reason in ("burst", "honeypot link")


def _reader(known: Mapping[str, Any], told: Sequence[Event]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(subscriber, suppression)."""
    data, kept, lifted = dict(known), dict[str, Any](), known.get("lifted", {})
    reasons: list[str] = list(known.get("suppressed", ()))

    def those(*types: str, **fields: Any) -> list[Event]:
        return [event for event in told if event.type in types and all(getattr(event, one) == is_ for one, is_ in fields.items())]

    people = those("opened", "clicked", label="human")
    clicks, opens = those("clicked", label="human"), those("opened", label="human")
    softs, hards = those("bounced", counts=True), those("bounced", hard=True)
    for name, latest in (("engaged_at", people), ("delivered_at", those("delivered")), ("bounced_at", hards)):
        if latest:
            data[name] = max(event.at for event in latest)
    later = [event for event in those("opened", "clicked") if _later(event)]
    for name, hits in (("clicks", clicks), ("opens", opens), ("machines", later)):
        if hits:
            data[name] = _slots(hits, 7 * DAY, 26)
    if softs:
        data["soft"] = _slots(softs, DAY, 90)
    if clicks:
        data["engaged"] = _slots(clicks, 3_600_000, 24)
    if placed := [event for event in clicks if event.country]:
        seen = {event.country: max(one.at for one in placed if one.country == event.country) for event in placed}
        data["located"] = {"seen": seen}
    if any(event.at > lifted.get("hard_bounce", -1) for event in hards):
        reasons.append("hard_bounce")
    if those("complained"):
        reasons.append("complaint")
    if left := those("unsubscribed", provider="generic"):
        reasons.append("unsubscribed")
        kept["left_at"] = max(event.at for event in left)
    since = max([known.get("confirmed_at", -1), lifted.get("soft_bounces", -1), *(event.at for event in those("delivered"))])
    days = {event.at // DAY for event in softs if event.at > since and event.at // DAY > max(one.at for one in softs) // DAY - 90}
    if len(days) >= 5:
        reasons.append("soft_bounces")
    told_of = {"hard_bounce": hards, "complaint": those("complained"), "soft_bounces": softs, "unsubscribed": left}
    for reason, causes in told_of.items():
        if causes:
            kept[f"{reason}_at"] = min(event.at for event in causes)
            kept[f"{reason}_sources"] = list({f"mail of {event.mail.campaign}" for event in causes})
    data["suppressed"] = kept["reasons"] = reasons = list(dict.fromkeys(reasons))
    if reasons:
        data["segments"] = []
    return data, kept


def _slots(told: Sequence[Event], length: int, size: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for at in sorted(event.at for event in told):
        found[f"{at // length % size:02d}"] = at
    return found


def normal(data: Mapping[str, Any]) -> dict[str, Any]:
    """A document without the order of its lists, its labels put right as report does; an empty list or map says as much as none."""
    data = {**data, **settled(data)}
    return {
        name: sorted(value, key=str) if isinstance(value, list) else value
        for name, value in data.items()
        if value not in ([], {})
    }


async def stored(store: Store) -> dict[str, dict[str, Any]]:
    """Path -> every document, as `normal` has it."""
    found: dict[str, dict[str, Any]] = {}
    campaigns = [PATHS.deliveries(f"C-{number:04d}") for number in range(MAILS)]
    for collection in (PATHS.subscribers, PATHS.suppressions, *campaigns):
        after = ""
        while page := await store.page(collection, after=after, limit=1000):
            found |= {document.path: kept for document in page if (kept := normal(document.data))}
            after = page[-1].id
    return found


def mismatches(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The paths at which they differ."""
    return sorted(path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path))


async def work(file: Path, messages: Path) -> None:
    """One worker: each message until record takes it, AT_ONCE at a time."""
    with closing(SqliteStore.open(file)) as store:
        record = Record(store, PATHS)
        waiting = iter(messages.read_text().splitlines())

        async def serve() -> None:
            for line in waiting:
                while True:
                    try:
                        await record.handle(json.loads(line))
                        break
                    except Unavailable:
                        await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(serve())


async def run(deliveries: int, folder: Path, seed: int = 1) -> tuple[list[str], dict[str, Any]]:
    """(mismatches, figures). Raises AssertionError when a worker fails."""
    chance, file = random.Random(seed), folder / "store.db"
    unique = round(deliveries * (1 - REPEATED))
    readers = seeded(max(30, unique // (MAILS * PER_MAIL)))
    told = events(list(readers), unique, chance)
    messages = [event.to_message() for event in told + chance.choices(told, k=deliveries - unique)]
    chance.shuffle(messages)
    with closing(SqliteStore.open(file)) as store:
        for sid, data in readers.items():
            await store.commit([Create(PATHS.subscriber(sid), data)])
        parts = [folder / f"messages-{number}" for number in range(WORKERS)]
        for number, part in enumerate(parts):
            part.write_text("\n".join(map(json.dumps, messages[number::WORKERS])))
        began = time.perf_counter()
        workers = [
            await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.engagement", str(file), str(part)) for part in parts
        ]
        ends = [await worker.wait() for worker in workers]
        seconds = time.perf_counter() - began
        if any(ends):
            raise AssertionError(f"a worker ended with {ends}")
        found, wanted = await stored(store), expected(readers, told)
    reasons = Counter(reason for path, data in wanted.items() if "/suppressions/" in path for reason in data.get("reasons", ()))
    kinds = Counter(event.type for event in told)
    return mismatches(found, wanted), {
        "deliveries of events": len(messages),
        "different events": len(told),
        **{f"  {kind}": kinds[kind] for kind in sorted(kinds)},
        "documents": len(wanted),
        **{f"  suppressed by {reason}": reasons[reason] for reason in sorted(reasons)},
        "seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str]) -> int:
    if arguments:
        asyncio.run(work(Path(arguments[0]), Path(arguments[1])))
        return 0
    with TemporaryDirectory() as folder:
        wrong, figures = asyncio.run(run(DELIVERIES, Path(folder)))
    for name, figure in figures.items():
        print(f"{name:32}{figure:>12,}")
    print(f"{'mismatches':32}{len(wrong):>12,}")
    for path in wrong[:10]:
        print(f"  {path}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
