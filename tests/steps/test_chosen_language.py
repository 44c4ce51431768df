"""A language chosen by hand stays chosen from page to page, in links and in forms, and nobody else's does."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.http import Request, Response
from shared.model.ref import MailRef

from .world import BASE, World

ADDRESS = "reader@example.com"
FORM = {"content-type": "application/x-www-form-urlencoded"}
_TO = re.compile(rf'(?:href|action)="({re.escape(BASE)}[^"]*)"')


def token(world: World) -> str:
    return world.links.unsubscribe(MailRef("C-0001", world.sid(ADDRESS))).rpartition("/")[2]


async def asked(world: World, path: str, method: str = "GET", lang: str = "fr", body: bytes = b"") -> Response:
    step: Any = world.unsubscribe()
    answer: Response = await step.handle(Request(method, path, {"lang": lang} if lang else {}, FORM, body))
    return answer


def ways(answer: Response) -> list[str]:
    """Where the page leads to, on our own pages."""
    found = [way for way in _TO.findall(answer.body.decode()) if not way.startswith(f"{BASE}/archive")]
    assert found
    return found


@pytest.mark.parametrize("part", ["", "preferences/", "erase/", "export/"])
async def test_every_link_and_form_keeps_it(world: World, part: str) -> None:
    await world.add(ADDRESS)
    page = await asked(world, part + token(world))
    assert b'<html lang="fr"' in page.body
    assert [way for way in ways(page) if not way.endswith("?lang=fr")] == []


async def test_it_is_kept_from_leaving_to_the_reason(world: World) -> None:
    await world.add(ADDRESS)
    left = await asked(world, token(world), "POST", body=b"page=1")
    [reason] = [way for way in ways(left) if "/reason/" in way]
    assert reason.endswith("?lang=fr") and b'<html lang="fr"' in left.body


@pytest.mark.parametrize("lang", ["", "xx", "../", '"><b>'])
async def test_nothing_is_kept_of_what_is_no_language_of_ours(world: World, lang: str) -> None:
    await world.add(ADDRESS)
    page = await asked(world, f"preferences/{token(world)}", lang=lang)
    assert [way for way in ways(page) if "lang" in way] == []
