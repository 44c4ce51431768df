"""Every public route of every step, and the real tokens that stand in them, for whoever walks over all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from shared.adapters.sqlite_store import SqliteStore
from shared.adapters.system_clock import SystemClock
from shared.links import Links
from shared.model.address import sid_of
from shared.model.paths import Paths
from shared.model.ref import MailRef
from shared.model.subscriber import segments_of
from shared.ports import Create
from shared.tokens import SECRET, Tokens

from .imports import STEPS
from .serving import URL

READER = "zebedee.quux@reader.example"
NAME = "Zebedee Quuxly"
ROUTES: Mapping[str, tuple[str, ...]] = {
    step: routes
    for step, routes in {
        "subscribe": ("/", "/embed", "/confirm/{confirm}", "/health", "/nothing/here"),
        "unsubscribe": (
            "/",
            "/{leave}",
            "/preferences/{leave}",
            "/keep/{leave}",
            "/reason/{leave}",
            "/export/{leave}",
            "/erase/{leave}",
            "/nothing/{leave}",
        ),
        "track": ("/o/{track}", "/h/{track}", "/k/{track}/{target}", "/c", "/c?sp={track}", "/nothing"),
        "live": ("/", "/{live}", "/{live}/nothing"),
        "webhooks": ("/", "/generic", "/ses", "/nobody"),
        "archive": ("/", "/feed", "/{view}", "/nothing/here"),
    }.items()
    if step in STEPS
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


async def reader(state: Path) -> dict[str, str]:
    """Add a confirmed reader to a state folder; real tokens, by what they are called in ROUTES."""
    versions = json.loads((state / "secrets" / f"{SECRET}.json").read_text())
    pepper = json.loads((state / "secrets" / "pepper.json").read_text())[0]["value"]
    links = Links(URL, Tokens([bytes.fromhex(version["value"]) for version in versions]))
    paths, now = Paths("local"), SystemClock().now()
    sid = sid_of(bytes.fromhex(pepper), "local", READER)
    data = {"address": READER, "name": NAME, "status": "confirmed", "confirmed_at": now, "created_at": now}
    store = SqliteStore.open(state / "store.db")
    await store.commit([Create(paths.subscriber(sid), {**data, "segments": segments_of(data)})])
    store.close()
    ref = MailRef("C-0001", sid)
    return {
        "confirm": links.tokens.sign("confirm", f"{sid}.c1.{now // 1000 + 9999}"),
        "leave": links.unsubscribe(ref).rpartition("/")[2],
        "track": links.track_token(ref, now),
        "target": links.signed_target("C-0001", 1, "https://shop.example/1"),
        "live": links.live("C-0001", now + 60_000, "local").rpartition("/")[2],
        "view": links.tokens.sign("view", "C-0001.-"),
    }
