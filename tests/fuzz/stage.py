"""Every step as it is deployed, in this process, on the embedded stack in a folder: a twin's secrets, tenant, workbook and templates,
a few readers and a campaign. The steps keep what they build from the environment, so a process has one stage."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from local import seed, starting
from local.issuer import LocalIssuer
from local.server import ISSUER, PUSHER
from local.stacks import framework_apps
from local.steps import STEPS
from shared.adapters.embedded import FileSecrets, put
from shared.adapters.sqlite_store import SqliteStore
from shared.errors import NotFound
from shared.model import batch
from shared.model.address import sid_of
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.model.subscriber import segments_of
from shared.ports import Create
from shared.providers import webhooks
from tests.contract.emulated import emulated
from tests.house.serving import URL, environment
from tests.providers.webhook_contract import LINKS, NOW
from tests.providers.webhook_samples import contract

from .asking import App

PEPPER, SIGNING = b"p" * 32, b"s" * 32  # the key of the contract's LINKS
CAMPAIGN = "C-0001"
READERS = tuple(f"reader{n}@example.com" for n in range(8))


@dataclass(frozen=True)
class Stage:
    """`tokens`: real ones, by the part of a link that they stand in; `bearer`: a valid caller of pushes and ticks."""

    apps: Mapping[str, App]
    state: Path
    tokens: Mapping[str, tuple[str, ...]]
    refs: tuple[str, ...]
    bearer: str

    def at_the_contracts_time(self) -> None:
        """Set the steps' clock to when the callbacks of `webhook_contract` are signed."""
        put(self.state / "clock", str(NOW - time.time_ns() // 1_000_000).encode())


@asynccontextmanager
async def staged(folder: Path, steps: Sequence[str] = STEPS) -> AsyncIterator[Stage]:
    state = folder / "state"
    settings = await environment(state)
    secrets = FileSecrets(state / "secrets")
    for name, value in (("pepper", PEPPER), ("signing-key", SIGNING)):
        (state / "secrets" / f"{name}.json").unlink()
        secrets.add(name, value)
    for name in webhooks.WEBHOOKS:
        made = contract(name)
        for key in made.KEYS:
            secrets.add(made.hook.SECRET, key)
    seed.templates(folder / "templates")
    with emulated(folder / "google", folder / "templates", write_quota=1_000_000_000) as google:
        google.google.sheets.create_spreadsheet(seed.SHEET, "Pipeline", seed.ZONE, tabs=[starting.START])
        os.environ.update(settings | {"PUBLIC_URL": LINKS.base, "SHEETS_ENDPOINT": google.url, "DRIVE_ENDPOINT": google.url})
        refs = await _people(state)
        importlib.import_module("functions.webhooks.main").__dict__["Https"] = lambda: _nothing
        bearer = f"Bearer {LocalIssuer(state / 'issuer', ISSUER).sign(URL, PUSHER)}"
        yield Stage(framework_apps(steps), state, _tokens(refs), tuple(ref.text for ref in refs), bearer)


async def _nothing(url: str) -> bytes:
    raise NotFound(url)


async def _people(state: Path) -> list[MailRef]:
    store, paths = SqliteStore.open(state / "store.db"), Paths("local")
    refs = []
    for address in READERS:
        sid = sid_of(PEPPER, "local", address)
        data = {"address": address, "status": "confirmed", "confirmed_at": NOW, "created_at": NOW, "tags": ["coffee"]}
        await store.commit([Create(paths.subscriber(sid), {**data, "segments": segments_of(data)})])
        refs.append(MailRef(CAMPAIGN, sid))
        asked = {"name": "", "language": "", "country": "", "tags": ["tea"]}
        await store.commit([Create(paths.consent(sid, "c1"), {"at": NOW, "requested": asked})])
    await store.commit([Create(paths.batch(CAMPAIGN, "000000"), batch.new({"low": "", "high": ""}, batch.NEVER))])
    store.close()
    return refs


def _tokens(refs: list[MailRef]) -> dict[str, tuple[str, ...]]:
    return {
        "track": tuple(LINKS.track_token(ref, NOW) for ref in refs),
        "leave": tuple(LINKS.unsubscribe(ref).rpartition("/")[2] for ref in refs),
        "confirm": tuple(LINKS.confirm(ref.sid, "c1", "20833", NOW + 9**15).rpartition("/")[2] for ref in refs),
        "target": tuple(LINKS.signed_target(CAMPAIGN, n, f"https://shop.example/{n}") for n in range(4)),
    }
