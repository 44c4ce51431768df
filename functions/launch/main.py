"""launch, tick: due campaigns, sweeper. Called by Cloud Scheduler; publishes to send-requests (consumed by send_batch) and
privacy-requests (by privacy)."""

from __future__ import annotations

import functions_framework.aio

from shared.adapters.dns_resolver import Resolver
from shared.adapters.drive import GoogleDrive
from shared.adapters.google_pictures import GooglePictures
from shared.adapters.sheets import Sheets
from shared.links import Links
from shared.mail.assets import MAX_PICTURE, Assets
from shared.model import provider
from shared.model.paths import Paths
from shared.model.tenant import Tenant
from shared.once import once
from shared.push import ticked
from shared.stack.bus import open_bus
from shared.stack.clock import open_clock
from shared.stack.objects import open_assets, open_objects
from shared.stack.secrets import only_pepper, open_secrets
from shared.stack.store import open_store
from shared.tokens import Tokens

from .feeds import Feeds
from .handler import Launch
from .preflight import Checks
from .preflight_domain import Sending
from .preflight_spamd import Spamd
from .regular import Regular
from .settings import settings


@once
async def built(tenant: Tenant) -> Launch:
    given = settings()
    clock, paths, ways = open_clock(given), Paths(given.tenant), provider.parse(given.providers)
    sheet, drive = Sheets(tenant.sheet, given.sheets_endpoint), GoogleDrive(given.drive_endpoint)
    secrets = open_secrets(given)
    links, pepper = Links(given.public_url, await Tokens.load(secrets, clock)), await only_pepper(secrets)
    spam = Spamd(given.spamd_host) if given.spamd_host else None
    checks = Checks(Resolver(), spam, Sending(given.bounce_domain, given.dkim_domain, given.dkim_selector))
    fetch = None if given.drive_endpoint else GooglePictures(MAX_PICTURE).fetch
    assets = Assets(drive, open_assets(given, given.assets_bucket), given.assets_url, fetch) if given.assets_url else None
    bus = open_bus(given)
    stores = open_store(given), bus, clock, open_objects(given)
    return Launch(*stores, sheet, drive, links, paths, tenant, ways, checks, pepper, assets, Feeds(clock).read, Regular(bus))


async def step() -> Launch:
    return await built(await Tenant.load(open_store(settings()), Paths(settings().tenant)))


@functions_framework.aio.http
@ticked(settings)
async def launch() -> None:
    await (await step()).handle()
