"""One tenant with a real store on a folder and fakes around it, and the steps built on them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from functions.launch.freeze import freeze
from functions.launch.handler import Launch
from functions.privacy.handler import Privacy
from functions.record.handler import Record
from functions.send_batch.handler import SendBatch
from functions.send_batch.mails import Mails
from functions.send_batch.routes import Routes
from functions.send_batch.run import Pace
from functions.subscribe.handler import Subscribe
from functions.sync_sheet.handler import SyncSheet
from functions.track.handler import Track
from functions.unsubscribe.handler import Unsubscribe
from functions.webhooks.fetch import Https
from functions.webhooks.handler import Webhooks
from shared.adapters.embedded import FolderObjects
from shared.adapters.sqlite_store import SqliteStore
from shared.links import Links
from shared.mail.source import Identity
from shared.model import batch
from shared.model.address import sid_of
from shared.model.paths import Paths
from shared.model.subscriber import segments_of
from shared.model.tenant import Tenant
from shared.pages import forms
from shared.pages.faces import Shown
from shared.ports import Create, Document, Merge, Objects, Store
from shared.tokens import Tokens

from .fakes import NOW, FakeClock, FakeDrive, FakeGeo, FakeSecrets, FakeSender, FakeSheet, FixedFaces, RecordingBus

BASE = "https://news.example"
PEPPER = b"p" * 32
KEY, OLD_KEY = b"w" * 32, b"v" * 32  # of the generic webhook: the newest, and the one before
IDENTITY = Identity("Brand", "hello@brand.example", "Brand, 1 Street, Town", "Brand news", "news.brand.example")
TENANT = Tenant("Brand", IDENTITY, "sheet", "folder")
TOKENS = Tokens([b"s" * 32])
PROOF = {forms.TOKEN: forms.given(TOKENS, NOW - 60_000)}  # the field of a form that somebody has had before them for a minute
LETTER = """---
subject: News for {{ name or 'you' }}
---
# Hello

This week we roasted a new coffee from Huila, and there is a tasting in the shop on Friday evening. Come and bring a friend.

[Shop](https://shop.example/a)
"""
CONFIRM = "---\nsubject: Please confirm\n---\n[Yes]({{ confirm_url }})\n"
WELCOME = "---\nsubject: Welcome{{ ' ' ~ name if name }}\n---\nGlad to have you.\n"
PACE = Pace(lease=90_000, budget=60_000, retry=1_000, wait=30_000)


@dataclass(repr=False)
class World:
    file: Path
    store: SqliteStore
    objects: FolderObjects
    paths: Paths
    clock: FakeClock = field(default_factory=FakeClock)
    bus: RecordingBus = field(default_factory=RecordingBus)
    sheet: FakeSheet = field(default_factory=FakeSheet)
    drive: FakeDrive = field(default_factory=lambda: FakeDrive(letter=LETTER, confirm=CONFIRM, welcome=WELCOME))
    sender: FakeSender = field(default_factory=FakeSender)
    geo: FakeGeo = field(default_factory=FakeGeo)
    links: Links = field(default_factory=lambda: Links(BASE, TOKENS))
    faces: FixedFaces = field(default_factory=lambda: FixedFaces(Shown(TENANT)))

    @classmethod
    def on(cls, folder: Path, tenant: str = "t") -> World:
        file = folder / "store.db"
        return cls(file, SqliteStore.open(file), FolderObjects(folder / "objects"), Paths(tenant))

    # --- steps ---

    def subscribe(self, store: Store | None = None) -> Subscribe:
        deps = store or self.store, self.bus, self.clock, self.links, self.paths, PEPPER
        return Subscribe(*deps, self.faces, BASE, self.geo, FakeSecrets())

    def unsubscribe(self, store: Store | None = None) -> Unsubscribe:
        secrets = FakeSecrets(pepper=[PEPPER])
        return Unsubscribe(store or self.store, self.bus, self.clock, self.links, self.paths, self.faces, secrets, BASE)

    def track(self) -> Track:
        return Track(self.bus, self.clock, self.links, self.geo)

    def webhooks(self) -> Webhooks:
        secrets = FakeSecrets(webhook_generic=[KEY, OLD_KEY])
        return Webhooks(self.bus, self.clock, self.links, secrets, self.store, self.objects, self.paths, Https())

    def record(self) -> Record:
        return Record(self.store, self.paths)

    def launch(self, store: Store | None = None) -> Launch:
        return Launch(
            store or self.store,
            self.bus,
            self.clock,
            self.objects,
            self.sheet,
            self.drive,
            self.links,
            self.paths,
            TENANT,
        )

    def send_batch(self, store: Store | None = None, pace: Pace = PACE) -> SendBatch:
        return SendBatch(
            store=store or self.store,
            bus=self.bus,
            clock=self.clock,
            links=self.links,
            paths=self.paths,
            routes=self.routes(store, pace),
            mails=Mails(self.objects, self.links),
            pace=pace,
        )

    def routes(self, store: Store | None = None, pace: Pace = PACE) -> Routes:
        return Routes.only(self.sender, store or self.store, self.paths, pace.wait)

    def sync_sheet(self, store: Store | None = None) -> SyncSheet:
        return SyncSheet(store or self.store, self.sheet, self.clock, self.paths, PEPPER)

    def privacy(self, store: Store | None = None, objects: Objects | None = None, retention: int = 730) -> Privacy:
        return Privacy(store or self.store, objects or self.objects, self.clock, self.paths, retention)

    # --- data ---

    def let_sign_ups_set(self, *tags: str) -> None:
        """As the row Sign-up tags of the Settings."""
        shown = self.faces.shown
        face = replace(shown.tenant.face, signup=replace(shown.tenant.face.signup, tags=tags))
        self.faces.shown = replace(shown, tenant=replace(shown.tenant, face=face))

    def sid(self, address: str) -> str:
        return sid_of(PEPPER, self.paths.tenant_id, address)

    async def add(self, *addresses: str, **fields: Any) -> None:
        """Confirmed subscribers, unless `fields` say otherwise."""
        for address in addresses:
            data = {"address": address, "status": "confirmed", "confirmed_at": NOW - 1, "created_at": NOW - 1, **fields}
            data.setdefault("segments", segments_of(data))
            await self.store.commit([Create(self.paths.subscriber(self.sid(address)), data)])

    async def subscriber(self, address: str) -> dict[str, Any]:
        return await self.data(self.paths.subscriber(self.sid(address)))

    async def data(self, path: str) -> dict[str, Any]:
        found = await self.store.get(path)
        return found.data if found else {}

    async def all(self, collection: str) -> list[Document]:
        return await self.store.page(collection)

    def versions(self) -> dict[str, str]:
        """Every document of the file and its version: equal before and after means that nothing was written."""
        with sqlite3.connect(f"file:{self.file}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT collection || '/' || id, version FROM documents").fetchall()
        return dict(rows)

    # --- campaigns ---

    async def frozen(self, name: str, campaign: str) -> dict[str, Any]:
        [file] = [file for file in await self.drive.list("") if file.name == f"{name}.md"]
        return await freeze(self.drive, self.objects, self.links, file, campaign, IDENTITY, single=name == "confirm")

    async def campaign(self, id: str = "C-0001", segment: str = "everyone", parts: int = 1) -> None:
        """A running campaign with `parts` ranges, published."""
        cut = {
            "kind": "campaign",
            "state": "running",
            "active": True,
            "cut": True,
            "mail": await self.frozen("letter", id),
            "segment": segment,
            "frozen_at": self.clock.now(),
            "expected": parts * batch.BATCH_SIZE,
            "row": {"name": id},
        }
        await self.store.commit([Create(self.paths.campaign(id), cut)])
        for n, source in enumerate(batch.ranges(parts * batch.BATCH_SIZE) if parts else []):
            await self.store.commit([Create(self.paths.batch(id, f"{n:06d}"), batch.new(source, self.clock.now() + batch.GRACE))])

    async def system(self, *names: str) -> None:
        """The frozen confirmation and welcome."""
        for name in names:
            data = {"kind": "system", "state": "running", "mail": await self.frozen(name, name)}
            await self.store.commit([Merge(self.paths.campaign(name), data)])

    async def ledger(self, name: str = "000000", campaign: str = "C-0001") -> dict[str, Any]:
        return await self.data(self.paths.batch(campaign, name))

    async def states(self, name: str = "000000", campaign: str = "C-0001") -> dict[str, str]:
        """sid -> the name of its state, in one batch."""
        data = await self.ledger(name, campaign)
        return {sid: batch.NAMES[state] for sid, state in zip(batch.sids(data["sids"]), data["states"], strict=True)}

    async def state_of(self, address: str) -> str:
        return (await self.states()).get(self.sid(address), "")
