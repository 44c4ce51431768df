"""Contacts that are pasted into the Import tab, or come in a file, become subscribers: one plain answer per row.

A consent source makes a contact mailable; without one it is rejected. Suppressed addresses stay suppressed. Doing a row twice
changes nothing, and gives the same answer: the subscriber's id comes from the address, the consent's from the row.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import BadInput
from shared.model import console
from shared.model.address import canonical_v1, parse, sid_of
from shared.model.cells import short, stored
from shared.model.paths import Paths
from shared.model.subscriber import CONFIRMED, MAX_NAME, left_out, printable_name, segments_of, strongest, tags_of
from shared.ports import Create, Document, Merge, Minimum, Store, Write

from .spotted import concealed, replaced, spots, suspect

CHUNK = 500  # rows at once
MOST = 10_000  # rows a tick: two writes each stay below the 500 a second that Firestore takes of a list that is new to it
BUDGET = 40_000  # ms after which a tick begins no more of them
ANSWERS = 2_500  # rows whose answers are one call to the Sheet
WORDS = {
    "complaint": "it reported our mail as unwanted",
    "hard_bounce": "mail to it bounced for good",
    "soft_bounces": "mail to it bounced too often",
    "unsubscribed": "it has left",
    "erased": "its owner had it erased",
}
ERASED = "erased"  # what stands in a row's Email, and in no other cell of it, when its owner had it erased
KINDS = ("imported", "updated", "rejected")  # of answers: how each begins, in lower case


Row = Mapping[str, str]  # by console.IMPORT_FIELDS, trimmed; "Problem" where its id stands elsewhere, too


@dataclass(frozen=True, slots=True)
class Contact:
    """A row that can be stored."""

    row: str
    sid: str
    address: str
    name: str
    language: str
    tags: list[str]
    left_out: list[str]  # what cannot be a tag
    source: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from, as their consents keep it. `unit`: what one is called; `hash`: what tells one from every other."""

    page: str
    unit: str
    hash: Callable[[Row], str]


def digest(row: Row) -> str:
    """What a row said when it was answered: an edited row is answered anew. But not when all that was done is that somebody's address,
    who was erased, was taken out of what it says of another person."""
    if row.get("Problem"):
        return "twice"
    said = [row[name] if name == "Email" or not suspect(row[name]) else _anonymous(row[name]) for name in console.IMPORT_FIELDS]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def _anonymous(text: str) -> str:
    return replaced(text, spots(text, lambda address: False), ERASED)


TAB = Origin("Import tab", "row", digest)


def pending(cells: Sequence[Sequence[str]], answered: Mapping[str, str]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """(filled rows, those among them whose answer is missing or out of date). `answered`: row id -> digest.

    An id is taken as Import results holds it. Raises BadInput."""
    table = console.table(cells, console.IMPORT, console.IMPORT_FIELDS)
    filled = [row for row in table if row["ID"] and any(text for name, text in row.items() if name != "ID")]
    for row in filled:
        row["ID"] = str(stored(row["ID"]))
    ids = Counter(row["ID"].casefold() for row in filled)  # a lookup in Sheets does not tell i-0001 from I-0001
    for row in filled:
        if (rows := ids[row["ID"].casefold()]) > 1:
            row["Problem"] = f"The id {short(concealed(row['ID']))} stands in {rows} rows. Give each row an id of its own."
    return filled, [row for row in filled if answered.get(row["ID"]) != digest(row)]


def without_id(cells: Sequence[Sequence[str]]) -> str:
    """A notice of the rows that are not read because they have no id, "" when all have. Raises BadInput."""
    table = console.table(cells, console.IMPORT, console.IMPORT_FIELDS)
    count = sum(not row["ID"] and any(row.values()) for row in table)
    if not count:
        return ""
    numbers = [int(row["ID"][2:]) for row in table if row["ID"].startswith("I-") and row["ID"][2:].isdecimal()]
    return (
        f"Import: rows without an ID are left out: {count:,}. Type I-{max(numbers, default=0) + 1:04d} into the first one's ID and drag "
        "that cell's corner down."
    )


def contact(row: Row, pepper: bytes, tenant: str) -> Contact:
    """Check one row; raises BadInput with the reason it is rejected. Addresses of others in it are partly hidden: when their owners are
    erased nobody knows that they stand here."""
    address = _checked(row)
    sid = sid_of(pepper, tenant, address)
    tags, out = tags_of(row["Tags"]), left_out(row["Tags"])

    def own(found: str) -> bool:
        return spelling(found) == spelling(address)

    name, source = (concealed(text, own) for text in (" ".join(row["Name"].split()), row["Consent source"]))
    return Contact(row["ID"], sid, address, name, row["Language"], tags, out, source[:200])


def _checked(row: Row) -> str:
    """The address of a row that can be stored."""
    if row.get("Problem"):
        raise BadInput(row["Problem"])
    if row["Email"] == ERASED:
        raise BadInput(_off("erased"))
    address = parse(row["Email"])
    name = " ".join(row["Name"].split())
    if len(name) > MAX_NAME or not printable_name(name):
        raise BadInput(f"The name is longer than {MAX_NAME} characters or holds characters that cannot be shown.")
    language = row["Language"]
    if language and not (language.replace("-", "").isalnum() and len(language) <= 35):
        raise BadInput("The language must be a code such as en or pt-BR.")
    if not row["Consent source"]:
        raise BadInput("Say where this person agreed to get mail (Consent source).")
    return address


def firsts(rows: Sequence[Row]) -> dict[str, str]:
    """Address, as `spelling` gives it, -> id of the first row that can be stored; of addresses that stand in several rows."""
    found = [spelling(row["Email"]) for row in rows]
    times = Counter(found)
    first: dict[str, str] = {}
    for row, address in zip(rows, found, strict=True):
        if times[address] > 1 and address not in first:
            try:
                _checked(row)
            except BadInput:
                continue
            first[address] = row["ID"]
    return first


def spelling(email: str) -> str:
    """The one spelling of an address, equal for equal subscribers; of what is none, some text. Checking all of a long list takes too long,
    and of ASCII it is not needed."""
    if email.isascii():
        return email.strip().lower()
    try:
        return canonical_v1(parse(email))
    except BadInput:
        return email


async def take(
    store: Store, paths: Paths, pepper: bytes, rows: Sequence[Row], first: Mapping[str, str], origin: Origin, now: int
) -> dict[str, str]:
    """Import up to CHUNK rows: id -> answer, but of rows that somebody else's write came before: those are to be taken again.

    `first`: see `firsts`. A call that reads and two that write; a read and two writes for each contact."""
    answers: dict[str, str] = {}
    contacts: list[Contact] = []
    hashes: dict[str, str] = {}
    for row in rows:
        try:
            found = contact(row, pepper, paths.tenant_id)
            if (same := first.get(spelling(row["Email"]), row["ID"])) != row["ID"]:
                raise BadInput(f"The same address as {origin.unit} {short(concealed(same))}.")
            contacts.append(found)
            hashes[found.row] = origin.hash(row)
        except BadInput as error:
            answers[row["ID"]] = f"Rejected: {error}"
    known = await store.get_many([paths.subscriber(found.sid) for found in contacts])
    evidence: list[Write] = []
    changes: list[Write] = []
    writing: list[tuple[Contact, str]] = []
    for found, document in zip(contacts, known, strict=True):
        reasons = (document.data.get("suppressed") or ()) if document else ()
        if reason := "erased" if "erased" in reasons else strongest(reasons):
            answers[found.row] = f"Rejected: {_off(reason)}"
            continue
        consent = f"import-{hashes[found.row]}"
        shown = {"at": Minimum(now), "source": found.source, "page": origin.page, "row": concealed(found.row)}
        evidence.append(Merge(paths.consent(found.sid, consent), shown))
        changes.append(_write(paths, found, document, consent, now))
        there = document and document.data.get("status") == CONFIRMED and document.data.get("consent") != consent
        writing.append((found, ("Updated." if there else "Imported.") + _left_out(found.left_out)))
    kept = await store.write_many(evidence)
    stored = await store.write_many([change for change, ok in zip(changes, kept, strict=True) if isinstance(ok, str)])
    written = iter(stored)
    for (found, answer), ok in zip(writing, kept, strict=True):
        if isinstance(ok, str) and isinstance(next(written), str):
            answers[found.row] = answer
    return answers


def of_erased(answer: str) -> bool:
    """Whether a row was rejected because its owner had the address erased."""
    return answer == f"Rejected: {_off('erased')}"


def _off(reason: str) -> str:
    return f"{WORDS[reason]}, and stays off the list."


def totals(answers: Iterable[str]) -> str:
    """All of them by what became of them: "12 imported, 3 updated, 1 rejected"."""
    kinds = Counter(kind(answer) for answer in answers)
    return ", ".join(f"{kinds[word]:,} {word}" for word in KINDS)


def kind(answer: str) -> str:
    """One of KINDS."""
    return next(word for word in KINDS if answer.lower().startswith(word))


def _left_out(tags: Sequence[str]) -> str:
    if not tags:
        return ""
    named = ", ".join(short(concealed(tag)) for tag in tags[:3])
    return f" Left out as tags: {named}{f' and {len(tags) - 3} more' if len(tags) > 3 else ''}."


def _write(paths: Paths, found: Contact, document: Document | None, consent: str, now: int) -> Write:
    held: Mapping[str, Any] = document.data if document else {}
    chosen: Mapping[str, Mapping[str, Any]] = held.get("topics") or {}
    fresh = {
        "address": found.address,
        "name": found.name or held.get("name", ""),
        "language": found.language or held.get("language", ""),
        "tags": list(dict.fromkeys([*held.get("tags", []), *(tag for tag in found.tags if chosen.get(tag, {}).get("on", True))])),
        "status": CONFIRMED,
        "created_at": held.get("created_at", now),
        "confirmed_at": held.get("confirmed_at", now),
        "consented_at": held.get("consented_at", now),
        "consent": held.get("consent", consent),
    }
    fresh["segments"] = segments_of({**fresh, "suppressed": [], "segments": held.get("segments", [])})
    path = paths.subscriber(found.sid)
    return Merge(path, fresh, if_version=document.version) if document else Create(path, fresh)
