"""The JSON API of a sign-up, for servers and for the scripts of the tenant's own sites."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.http import Request, Response

from .fakes import FaultyStore, nth
from .test_sign_up_forms import ADDRESS, SITE, face
from .world import World


async def call(world: World, body: Any, method: str = "POST", store: Any = None, **headers: str) -> Response:
    given = {"content-type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
    return await world.subscribe(store).handle(Request(method, headers=given, body=json.dumps(body).encode()))


def said(answer: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def test_a_server_signs_people_up_without_a_token(world: World) -> None:
    face(world)
    answer = await call(world, {"email": ADDRESS, "topics": ["Roasts"], "tags": ["vip", "node.js"], "consent_text": "Monthly."})
    assert (answer.status, said(answer)["accepted"]) == (202, True)
    assert answer.headers["vary"] == "Origin" and "access-control-allow-origin" not in answer.headers
    found = (await world.subscriber(ADDRESS))["wanted"]
    assert (found["topics"], found["tags"]) == (["roasts", "node.js"], ["vip"])
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert (consent.data["source"], consent.data["text"], consent.data["page"]) == ("api", "Monthly.", "")


async def test_nothing_is_made_up_about_what_a_site_showed(world: World) -> None:
    await call(world, {"email": ADDRESS})
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert (consent.data["text"], consent.data["text_version"]) == ("", "")


@pytest.mark.parametrize("origin", [SITE, SITE.upper()])
async def test_a_script_of_one_of_the_tenants_sites_may_read_every_answer(world: World, origin: str) -> None:
    face(world)
    preflight = await call(world, {}, "OPTIONS", origin=origin, access_control_request_method="POST")
    assert preflight.status == 204 and preflight.headers["access-control-allow-headers"] == "content-type"
    taken = await call(world, {"email": ADDRESS}, origin=origin)
    wrong = await call(world, {"email": "x"}, origin=origin)
    later = await call(world, {"email": ADDRESS}, store=FaultyStore(world.store, nth(0, "refused")), origin=origin)
    for answer, status in ((preflight, 204), (taken, 202), (wrong, 400), (later, 503)):
        assert (answer.status, answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (status, SITE, "Origin")
    assert said(wrong)["field"] == "email" and said(later)["error"] and int(later.headers["retry-after"])


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{SITE}.evil.example", "http://www.example.com"])
async def test_any_other_sites_script_may_do_nothing(world: World, origin: str) -> None:
    face(world)
    preflight = await call(world, {}, "OPTIONS", origin=origin)
    refused = await call(world, {"email": ADDRESS}, origin=origin, **{"sec-fetch-site": "cross-site"})
    for answer in (preflight, refused):
        assert answer.status == 403 and "access-control-allow-origin" not in answer.headers
    assert world.versions() == {} and world.bus.messages == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"topics": ["roasts", "gossip"]}, "topics"),
        ({"topics": "gossip"}, "topics"),
        ({"consent_text": f"We write to {ADDRESS}"}, "consent_text"),
        ({"consent_text": "x" * 2001}, "consent_text"),
        ({"page": "javascript:alert(1)"}, "page"),
        ({"page": "https://[::1"}, "page"),
        ({"page": f"https://www.example.com/{ADDRESS}"}, "page"),
        ({"page": f"https://www.example.com/{ADDRESS.replace('@', '%40')}"}, "page"),
        ({"email": "ada@mailinator.com"}, "email"),
    ],
)
async def test_what_cannot_be_kept_is_said_with_its_field(world: World, fields: dict[str, Any], field: str) -> None:
    face(world)
    answer = await call(world, {"email": ADDRESS, **fields})
    assert answer.status == 400 and said(answer)["field"] == field and said(answer)["error"].endswith(".")
    assert world.versions() == {}


async def test_a_slip_of_the_finger_is_told(world: World) -> None:
    assert said(await call(world, {"email": "ada@gmaill.com"}))["did_you_mean"] == "gmail.com"
    assert said(await call(world, {"email": "ada@gmial.com"}))["did_you_mean"] == "gmail.com"  # which gives addresses away
    assert "did_you_mean" not in said(await call(world, {"email": ADDRESS}))


async def test_a_captcha_is_asked_of_calls_too(world: World) -> None:
    face(world, captcha="hcaptcha", captcha_key="k")
    answer = await call(world, {"email": ADDRESS})
    assert (answer.status, said(answer)["field"]) == (400, "h-captcha-response") and world.versions() == {}


async def test_a_captcha_without_its_secret_loses_nobody(world: World) -> None:
    face(world, captcha="hcaptcha", captcha_key="k")
    answer = await call(world, {"email": ADDRESS, "h-captcha-response": "what the widget gave"})
    assert answer.status == 202 and (await world.subscriber(ADDRESS))["asked"] == ADDRESS
