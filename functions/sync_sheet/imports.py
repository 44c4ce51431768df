"""The Import tab: pasted contacts become subscribers, one plain answer per row.

A consent source makes a contact mailable; without one it is rejected. Suppressed addresses stay suppressed. Doing a row twice
changes nothing: the subscriber's id comes from the address, the consent's from the row.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import BadInput
from shared.model import console
from shared.model.address import parse, sid_of
from shared.model.cells import short, stored
from shared.model.paths import Paths
from shared.model.subscriber import CONFIRMED, left_out, printable_name, segments_of, strongest, tags_of
from shared.ports import Create, Document, Merge, Store, Write

CHUNK = 500  # rows a tick
WORDS = {
    "complaint": "it reported our mail as unwanted",
    "hard_bounce": "mail to it bounced for good",
    "soft_bounces": "mail to it bounced too often",
    "unsubscribed": "it has left",
}
DONE = ("Imported", "Updated")  # how the answer of a contact that may be mailed begins


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
    hash: str


def digest(row: Mapping[str, str]) -> str:
    """What a row said when it was answered: an edited row is answered anew."""
    if row.get("Problem"):
        return "twice"
    return hashlib.sha256(repr([row[name] for name in console.IMPORT_FIELDS]).encode()).hexdigest()[:12]


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
            row["Problem"] = f"The id {short(row['ID'])} stands in {rows} rows. Give each row an id of its own."
    return filled, [row for row in filled if answered.get(row["ID"]) != digest(row)]


def contact(row: Mapping[str, str], pepper: bytes, tenant: str) -> Contact:
    """Check one row; raises BadInput with the reason it is rejected."""
    if row.get("Problem"):
        raise BadInput(row["Problem"])
    address = parse(row["Email"])
    name = " ".join(row["Name"].split())
    if len(name) > 100 or not printable_name(name):
        raise BadInput("The name is longer than 100 characters or holds characters that cannot be shown.")
    language = row["Language"].strip()
    if language and not (language.replace("-", "").isalnum() and len(language) <= 35):
        raise BadInput("The language must be a code such as en or pt-BR.")
    if not row["Consent source"]:
        raise BadInput("Say where this person agreed to get mail (Consent source).")
    sid = sid_of(pepper, tenant, address)
    tags, out = tags_of(row["Tags"]), left_out(row["Tags"])
    return Contact(row["ID"], sid, address, name, language, tags, out, row["Consent source"][:200], digest(row))


async def run(
    store: Store, paths: Paths, pepper: bytes, filled: Sequence[Mapping[str, str]], waiting: Sequence[Mapping[str, str]], now: int
) -> dict[str, tuple[str, str]]:
    """Import up to CHUNK of the `waiting` rows: row id -> (answer, digest). Two reads' worth of calls, two writes per new contact."""
    answers: dict[str, tuple[str, str]] = {}
    first = await asyncio.to_thread(_first_rows, filled, pepper, paths.tenant_id)
    contacts: list[Contact] = []
    for row in waiting[:CHUNK]:
        try:
            found = contact(row, pepper, paths.tenant_id)
            if first[found.sid] != found.row:
                raise BadInput(f"The same address as row {short(first[found.sid])}.")
            contacts.append(found)
        except BadInput as error:
            answers[row["ID"]] = (f"Rejected: {error}", digest(row))
    known = await store.get_many([paths.subscriber(found.sid) for found in contacts])
    evidence: list[Write] = []
    changes: list[Write] = []
    writing: list[tuple[Contact, str]] = []
    for found, document in zip(contacts, known, strict=True):
        reason = strongest(document.data.get("suppressed") or ()) if document else None
        if reason:
            answers[found.row] = (f"Rejected: {WORDS[reason]}, and stays off the list.", found.hash)
            continue
        consent = f"import-{found.hash}"
        evidence.append(
            Merge(paths.consent(found.sid, consent), {"at": now, "source": found.source, "page": "Import tab", "row": found.row})
        )
        changes.append(_write(paths, found, document, consent, now))
        done = "Updated." if document and document.data.get("status") == CONFIRMED else "Imported."
        writing.append((found, done + _left_out(found.left_out)))
    kept = await store.write_many(evidence)
    stored = await store.write_many([change for change, ok in zip(changes, kept, strict=True) if isinstance(ok, str)])
    written = iter(stored)
    for (found, answer), ok in zip(writing, kept, strict=True):
        if isinstance(ok, str) and isinstance(next(written), str):  # else the row waits for the next tick
            answers[found.row] = (answer, found.hash)
    return answers


def _left_out(tags: Sequence[str]) -> str:
    if not tags:
        return ""
    return (
        f" Left out as tags: {', '.join(short(tag) for tag in tags[:3])}{f' and {len(tags) - 3} more' if len(tags) > 3 else ''}."
    )


def _first_rows(filled: Sequence[Mapping[str, str]], pepper: bytes, tenant: str) -> dict[str, str]:
    """sid -> id of the first acceptable row with that address."""
    first: dict[str, str] = {}
    for row in filled:
        try:
            first.setdefault(contact(row, pepper, tenant).sid, row["ID"])
        except BadInput:
            continue
    return first


def _write(paths: Paths, found: Contact, document: Document | None, consent: str, now: int) -> Write:
    held: Mapping[str, Any] = document.data if document else {}
    fresh = {
        "address": found.address,
        "name": found.name or held.get("name", ""),
        "language": found.language or held.get("language", ""),
        "tags": list(dict.fromkeys([*held.get("tags", []), *found.tags])),
        "status": CONFIRMED,
        "created_at": held.get("created_at", now),
        "confirmed_at": held.get("confirmed_at", now),
        "consent": held.get("consent", consent),
    }
    fresh["segments"] = segments_of({**fresh, "suppressed": [], "segments": held.get("segments", [])})
    path = paths.subscriber(found.sid)
    return Merge(path, fresh, if_version=document.version) if document else Create(path, fresh)
