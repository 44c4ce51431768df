"""The public pages' frame: languages, the tenant's own texts, brand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shared.adapters.sqlite_store import SqliteStore
from shared.errors import Unavailable
from shared.http import Request
from shared.model.paths import Paths
from shared.pages import HERE, Pages, languages
from shared.pages.faces import AGE, Faces
from shared.ports import Merge
from tests.steps.fakes import FakeClock, FaultyStore

PATHS = Paths("t")
TENANT = {
    "name": "Tea & News",
    "identity": {
        "from_name": "Tea",
        "from_address": "tea@news.example",
        "postal_address": "1 Lane",
        "list_name": "Tea",
        "list_domain": "news.example",
    },
    "sheet": "s",
    "folder": "f",
}


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    (tmp_path / "hello.html").write_text(
        '{% extends "base.html" %}{% block main %}<p>{{ t("hello.more", who=who) }}</p>{% endblock %}'
    )
    texts = {
        "en": {"hello.title": "Hello", "hello.intro": "From {brand}.", "hello.more": "You, {who}."},
        "fr": {"hello.title": "Bonjour", "hello.intro": "De {brand}.", "hello.more": "Vous, {who}."},
    }
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    return Pages(tmp_path)


async def drawn(pages: Pages, store: SqliteStore, request: Request, reader: str = "") -> str:
    shown = await Faces(store, PATHS, FakeClock()).get()
    return pages.draw(shown, request, "hello.html", name="hello", reader=reader, who="<b>").body.decode()


def asking(header: str = "", **query: str) -> Request:
    return Request("GET", query=query, headers={"accept-language": header})


@pytest.mark.parametrize(
    ("request_", "reader", "title"),
    [
        (asking(), "", "Hello"),
        (asking("fr-CA,en;q=0.8"), "", "Bonjour"),
        (asking("en;q=0.2, fr;q=0.9"), "", "Bonjour"),
        (asking("fr"), "en", "Hello"),
        (asking("en", lang="fr"), "en", "Bonjour"),
        (asking("xx, *;q=0.5, ;q, fr;q=oops"), "", "Hello"),
    ],
)
async def test_the_language_asked_for_goes_before_the_readers_and_that_before_the_browsers(
    pages: Pages, tmp_path: Path, request_: Request, reader: str, title: str
) -> None:
    store = SqliteStore.open(tmp_path / "store.db")
    await store.commit([Merge(PATHS.tenant, TENANT)])
    shown = await drawn(pages, store, request_, reader)
    assert f"<h1>{title}</h1>" in shown and "Tea &amp; News" in shown and "&lt;b&gt;" in shown


async def test_a_tenants_own_text_takes_the_place_of_ours(pages: Pages, tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "store.db")
    own = {"default": {"title": "Ours", "html": "<p>Own <b>text</b></p>"}, "ar": {"title": "أهلا", "html": ""}}
    await store.commit([Merge(PATHS.tenant, TENANT), Merge(PATHS.pages, {"pages": {"hello": own}})])
    shown = await drawn(pages, store, asking("fr"))
    assert '<h1 lang="en">Ours</h1>' in shown and "<p>Own <b>text</b></p>" in shown and "Vous" in shown
    arabic = await drawn(pages, store, asking("ar"))
    assert 'lang="ar" dir="rtl"' in arabic and "أهلا" in arabic


async def test_what_pages_are_drawn_with_is_read_once_a_minute_and_kept_while_the_store_is_away(tmp_path: Path) -> None:
    store, clock = SqliteStore.open(tmp_path / "store.db"), FakeClock()
    faces = Faces(store, PATHS, clock)
    with pytest.raises(Unavailable, match="not set up"):
        await faces.get()
    await store.commit([Merge(PATHS.tenant, TENANT)])
    assert (await faces.get()).tenant.name == "Tea & News"
    await store.commit([Merge(PATHS.tenant, {"name": "Other"})])
    assert (await faces.get()).tenant.name == "Tea & News"
    clock.advance(AGE)
    assert (await faces.get()).tenant.name == "Other"
    clock.advance(AGE)
    faces.store = FaultyStore(store, lambda verb: "refused")
    assert (await faces.get()).tenant.name == "Other"


@pytest.mark.parametrize("folder", [HERE, *sorted(HERE.parent.parent.glob("functions/*/pages"))], ids=lambda one: one.parent.name)
def test_every_text_is_there_in_every_language_with_the_same_values(folder: Path) -> None:
    if not (folder / "texts.json").exists():
        return
    texts = json.loads((folder / "texts.json").read_text())
    assert set(texts) == set(languages.OWN)
    values = {
        language: {key: sorted(re.findall(r"{(\w+)}", text)) for key, text in own.items()} for language, own in texts.items()
    }
    assert values["de"] == values["en"] and values["es"] == values["en"] and values["fr"] == values["en"]
