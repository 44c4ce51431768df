"""What the measured steps stand on: a store (embedded, or Firestore), objects and secrets in a folder of their own, a bus that
counts instead of delivering, and a Sheet and a Drive folder with just what launch reads."""

from __future__ import annotations

import hashlib
import secrets as random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from functions.launch.handler import Launch
from functions.send_batch.handler import SendBatch
from functions.send_batch.mails import Mails
from functions.send_batch.routes import Routes
from functions.send_batch.run import Pace
from local import starting
from local.emulators import Emulators
from local.seed import secrets
from shared import heap
from shared.adapters.embedded import FileClock, FileSecrets, FolderObjects
from shared.adapters.firestore import Firestore
from shared.adapters.sqlite_store import SqliteStore
from shared.links import Links
from shared.model import console
from shared.model.address import sid_of
from shared.model.paths import Paths
from shared.model.subscriber import CONFIRMED, EVERYONE
from shared.model.tenant import Tenant
from shared.pages import forms
from shared.ports import Create, Drive, File, Sender, Sheet, Workbook
from shared.providers.smtp import SmtpSender
from shared.tokens import Tokens

from . import letter
from .prices import Spent
from .sink import Sink

TENANT = "bench"
CAMPAIGN = "C-0001"
BASE = "https://mail.lumen-coffee.example"
ADDRESS = "reader{}@example.com"
_ROW = {"Name": "A new roast", "Template": "news.html", "Segment": EVERYONE, "Wanted": "Go"}
_PACE = Pace(lease=90_000, budget=48_000, retry=300_000, wait=30_000)


@dataclass
class CountingBus:
    """Keeps what is published, by topic."""

    messages: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    published: int = 0

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        self.messages.setdefault(topic, []).extend(messages)
        self.published += len(messages)

    async def check(self) -> None:
        return None

    def take(self, topic: str) -> list[Mapping[str, Any]]:
        """The messages of a topic, once."""
        return self.messages.pop(topic, [])


class _Folder:
    """A Drive folder: the twin's own confirmation and welcome, and the letter."""

    def __init__(self) -> None:
        self._files = {name: (starting.TEMPLATES / name).read_bytes() for name in ("confirm.md", "welcome.md")}
        self._files["news.html"] = letter.template()

    async def list(self, folder: str) -> list[File]:
        return [File(name, name, "text/plain", "1", "", "", len(data)) for name, data in self._files.items()]

    async def download(self, file: str) -> bytes:
        return self._files[file]


@dataclass
class _Campaigns:
    """A workbook whose Campaigns tab wants these campaigns sent."""

    ids: Sequence[str]
    schedule: str = ""

    async def workbook(self) -> Workbook:
        return Workbook("Europe/Lisbon", {console.CAMPAIGNS: 1})

    async def read(self, ranges: Sequence[str]) -> list[list[list[str]]]:
        rows = [_ROW | {"ID": id, "Schedule": self.schedule} for id in self.ids]
        return [[list(console.ROW_FIELDS), *([row.get(name, "") for name in console.ROW_FIELDS] for row in rows)]]


@dataclass
class Stage:
    """One tenant, ready for a campaign."""

    state: Path
    store: SqliteStore | Firestore
    bus: CountingBus
    links: Links
    paths: Paths
    pepper: bytes
    secrets: FileSecrets
    clock: FileClock
    objects: FolderObjects
    tenant: Tenant

    @classmethod
    async def open(cls, state: Path, store: SqliteStore | Firestore | None = None) -> Stage:
        """A stage in an empty folder, on the embedded store unless another is given."""
        kept = secrets(state)
        store, paths = store or SqliteStore.open(state / "store.db"), Paths(TENANT)
        clock, objects = FileClock(state / "clock"), FolderObjects(state / "objects")
        links = Links(BASE, await Tokens.load(kept, clock))
        tenant = Tenant("Lumen Coffee", letter.IDENTITY, "sheet", "folder")
        return cls(state, store, CountingBus(), links, paths, (await kept.get("pepper"))[0].value, kept, clock, objects, tenant)

    def launch(self, campaigns: Sequence[str] = (CAMPAIGN,), schedule: str = "") -> Launch:
        """The real step on a Sheet and a folder of ours; of those ports it reads three verbs."""
        sheet, drive = cast(Sheet, _Campaigns(campaigns, schedule)), cast(Drive, _Folder())
        return Launch(self.store, self.bus, self.clock, self.objects, sheet, drive, self.links, self.paths, self.tenant)

    def send_batch(self, sender: Sender) -> SendBatch:
        """The real step, as its main.py builds it, in a process that has compiled nothing yet."""
        heap.keep()
        mails = Mails(self.objects, self.links)
        return SendBatch(
            self.store,
            self.bus,
            self.clock,
            self.links,
            self.paths,
            Routes.only(sender, self.store, self.paths, _PACE.wait),
            mails,
            _PACE,
        )

    def proof(self) -> dict[str, str]:
        """The field of a form that somebody has had before them for a minute."""
        return {forms.TOKEN: forms.given(self.links.tokens, self.clock.now() - 60_000)}

    @property
    def spent(self) -> Spent:
        """Since the stage was opened."""
        done = self.store.operations
        return Spent(done.reads, done.writes, done.deletes, self.bus.published)

    async def close(self) -> None:
        """Close the store."""
        if isinstance(self.store, SqliteStore):
            self.store.close()
        else:
            await self.store.close()

    def sid(self, address: str) -> str:
        return sid_of(self.pepper, TENANT, address)

    async def seed(self, subscribers: int) -> None:
        """Confirmed subscribers, as sign-up and confirmation leave them."""
        writes = [Create(self.paths.subscriber(self.sid(ADDRESS.format(n))), subscriber(n)) for n in range(subscribers)]
        failed = [result for result in await self.store.write_many(writes) if not isinstance(result, str)]
        if failed:
            raise failed[0]


def subscriber(n: int) -> dict[str, Any]:
    """The document of the nth, confirmed."""
    tag = ("coffee", "tea", "berlin")[n % 3]
    return {
        "address": ADDRESS.format(n),
        "created_at": 1_767_225_600_000 + n,
        "status": CONFIRMED,
        "suppressed": [],
        "confirmed_at": 1_767_225_660_000 + n,
        "consent": hashlib.sha256(str(n).encode()).hexdigest()[:16],
        "tags": [tag],
        "name": letter.NAMES[n % len(letter.NAMES)],
        "language": "en",
        "segments": [EVERYONE, tag],
    }


def firestore(google: Emulators) -> Firestore:
    """An empty Firestore: a project of its own on the emulator. Belongs to the running event loop."""
    return Firestore.connect(f"bench-{random.token_hex(4)}", emulator_host=google.firestore)


def same(what: str, sqlite: Spent, firestore: Spent, spare: int = 0) -> None:
    """Raises AssertionError when the two stores did not do the same work: that they do is the point of one port. `spare`: reads that one
    may have done more; how far is read ahead goes by the store's pace, and a page that begins after the last reader costs one."""
    if replace(sqlite, reads=0) != replace(firestore, reads=0) or abs(sqlite.reads - firestore.reads) > spare:
        raise AssertionError(f"{what}: {sqlite} on sqlite, {firestore} on firestore")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one round."""
    with TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


def sender(sink: Sink) -> SmtpSender:
    """The real sender, without TLS as the peer's."""
    return SmtpSender("127.0.0.1", sink.port)
