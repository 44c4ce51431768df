"""The sign-up form: who filled it in, what it carries, where it may stand, and what it says in which language."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from functions.subscribe.captcha import Captcha
from shared.http import Request, Response
from shared.model.face import Face, SignUp, Topic
from shared.pages import forms
from shared.pages.faces import Shown

from .fakes import NOW
from .world import PROOF, TENANT, TOKENS, World

ADDRESS = "ada@example.com"
OURS = {"sec-fetch-site": "same-origin", "origin": "null"}
SITE = "https://www.example.com"
TOPICS = (Topic("roasts", "New roasts", "once a month"), Topic("node.js", "Code"))


def face(world: World, **signup: Any) -> None:
    """Give the tenant topics and a policy."""
    told = Face(topics=TOPICS, signup=SignUp(**{"sites": (SITE,), "tags": ("vip", "new"), **signup}))
    world.faces.shown = Shown(replace(TENANT, face=told), world.faces.shown.pages)


async def post(world: World, fields: dict[str, str], path: str = "", query: str = "", **headers: str) -> Response:
    """A form post; header names with _ for -."""
    given = {"content-type": "application/x-www-form-urlencoded"} | {key.replace("_", "-"): text for key, text in headers.items()}
    asked = Request("POST", path, dict([query.split("=")]) if query else {}, given, urlencode(fields).encode(), "203.0.113.7")
    return await world.subscribe().handle(asked)


class Form(HTMLParser):
    """The inputs of a page's form and where it goes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.action = ""
        self.inputs: list[dict[str, str | None]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.action = found.get("action") or ""
        if tag == "input":
            self.inputs.append(found)
            if found.get("type") != "checkbox":
                self.fields[found["name"] or ""] = found.get("value") or ""


async def test_the_form_that_was_shown_is_taken_once_somebody_had_time_to_fill_it_in(world: World) -> None:
    face(world, fill=3)
    form = Form((await world.subscribe().handle(Request("GET"))).body)
    assert form.action == "https://news.example/subscribe" and form.fields["website"] == ""
    form.fields["email"] = ADDRESS
    for wait, taken in ((0, False), (2_999, False), (1, True)):
        world.clock.advance(wait)
        answer = await post(world, form.fields, **OURS)
        assert (b"Check your mail" in answer.body, bool(world.bus.take("send-requests"))) == (taken, taken)


def wrong_proofs() -> dict[str, dict[str, str]]:
    fresh = forms.given(TOKENS, NOW)
    return {
        "none": {forms.TOKEN: ""},
        "garbage": {forms.TOKEN: "1800000000.AAAAAAAAAAAAAAAAAAAAAA"},
        "too young": {forms.TOKEN: fresh},
        "the trap is filled": {**PROOF, forms.TRAP: "https://spam.example"},
    }


@pytest.mark.parametrize("proof", wrong_proofs().values(), ids=wrong_proofs())
async def test_a_post_that_proves_nothing_writes_nothing_and_loses_nobody(world: World, proof: dict[str, str]) -> None:
    face(world)
    typed = {"email": ADDRESS, "name": 'A"<b>', "tags": "vip", "topic.roasts": "on"}
    answer = await post(world, typed | proof, **OURS)
    assert answer.status == 200 and b"One more click" in answer.body and b"<b>" not in answer.body
    assert world.versions() == {} and world.bus.messages == []
    form = Form(answer.body)
    assert {name: form.fields[name] for name in typed} == typed and forms.TRAP not in form.fields
    world.clock.advance(2_000)
    again = await post(world, form.fields, **OURS)
    assert b"Check your mail" in again.body
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert consent.data["requested"] == {"name": 'A"<b>', "language": "", "country": "", "tags": ["vip"], "topics": ["roasts"]}


async def test_who_clicks_at_once_keeps_the_time_that_has_gone_by(world: World) -> None:
    face(world, fill=4)
    form = Form((await post(world, {"email": ADDRESS}, **OURS)).body)
    for _ in range(3):
        world.clock.advance(1_000)
        answer = await post(world, form.fields, **OURS)
        assert b"One more click" in answer.body
        assert Form(answer.body).fields["form"] == form.fields["form"]
    world.clock.advance(1_000)
    assert b"Check your mail" in (await post(world, form.fields, **OURS)).body


async def test_a_form_that_lay_open_for_days_asks_for_one_more_click(world: World) -> None:
    world.clock.advance(forms.AGE * 1000)
    answer = await post(world, {"email": ADDRESS, **PROOF}, **OURS)
    assert b"One more click" in answer.body and Form(answer.body).fields["form"] != PROOF["form"]


STRANGERS = [
    {"origin": "https://evil.example"},
    {"origin": "https://www.example.com.evil.example", "sec-fetch-site": "cross-site"},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "cross-site"},
    {"origin": "null", "sec-fetch-site": "same-site"},
    {"origin": "http://www.example.com"},
]


@pytest.mark.parametrize("headers", STRANGERS)
async def test_another_sites_form_asks_for_one_more_click_even_with_a_token_of_ours(
    world: World, headers: dict[str, str]
) -> None:
    face(world)
    answer = await post(world, {"email": ADDRESS, **PROOF}, **headers)
    assert b"One more click" in answer.body and world.versions() == {} and world.bus.messages == []


async def test_new_known_and_suppressed_addresses_are_asked_for_one_more_click_alike(world: World) -> None:
    face(world)
    await world.add("known@example.com")
    pages = [(await post(world, {"email": f"{name}@example.com"})) for name in ("newer", "known")]
    assert pages[0].body.replace(b"newer", b"") == pages[1].body.replace(b"known", b"")
    assert (pages[0].status, pages[0].headers) == (pages[1].status, pages[1].headers)


async def test_a_form_on_one_of_the_tenants_sites_needs_no_token(world: World) -> None:
    face(world)
    typed = {"email": ADDRESS, "consent_text": "News of our café, monthly.", "page": f"{SITE}/news?ref=ada%40example.com#form"}
    answer = await post(world, typed, origin=SITE, **{"sec-fetch-site": "cross-site"})
    assert b"Check your mail" in answer.body
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    told = [consent.data[name] for name in ("source", "text", "page")]
    assert told == ["site", "News of our café, monthly.", f"{SITE}/news"]
    trapped = await post(world, typed | {forms.TRAP: "x"}, origin=SITE)
    assert b"One more click" in trapped.body and len(world.bus.messages) == 1


async def test_only_a_site_says_what_it_showed(world: World) -> None:
    face(world)
    await post(world, {"email": ADDRESS, "consent_text": "Anything", "page": "https://evil.example/", **PROOF}, **OURS)
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert "Anything" not in consent.data["text"] and consent.data["page"] == "https://news.example/subscribe"


async def test_the_evidence_holds_the_words_that_the_tenant_put_on_the_form(world: World) -> None:
    world.faces.shown = Shown(TENANT, {"sign-up": {"fr": {"title": "La lettre", "html": "<p>Un <b>café</b> par mois</p>"}}})
    headers = {**OURS, "accept-language": "fr-CA"}
    assert b"Un <b>caf\xc3\xa9</b> par mois" in (await world.subscribe().handle(Request("GET", headers=headers))).body
    await post(world, {"email": ADDRESS, **PROOF}, **headers)
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert consent.data["text"].startswith("La lettre\nUn café par mois\nNous envoyons des nouvelles")
    assert (consent.data["language"], consent.data["requested"]["language"]) == ("fr", "fr")


async def test_the_evidence_holds_no_address_from_the_browsers_words(world: World) -> None:
    await post(world, {"email": ADDRESS, **PROOF}, **OURS, **{"user-agent": f"Bot/1 (+mailto:{ADDRESS}) x"})
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert consent.data["agent"] == "Bot/1 … x"


@pytest.mark.parametrize(
    ("query", "accepted", "given", "page", "kept"),
    [
        ("", "", "", "en", ""),
        ("", "de-AT,en;q=0.5", "", "de", "de"),
        ("lang=es", "de", "", "es", "es"),
        ("lang=es", "de", "pt-BR", "es", "pt-BR"),
        ("", "pt", "", "en", ""),
    ],
)
async def test_a_reader_gets_the_language_of_the_page_unless_another_is_given(
    world: World, query: str, accepted: str, given: str, page: str, kept: str
) -> None:
    answer = await post(world, {"email": ADDRESS, "language": given, **PROOF}, query=query, **{"accept-language": accepted})
    assert re.search(r'<html lang="(\w+)"', answer.body.decode())[1] == page  # type: ignore[index]
    assert (await world.subscriber(ADDRESS))["wanted"]["language"] == kept


@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
async def test_every_page_speaks_every_language_and_is_small(world: World, language: str) -> None:
    face(world)
    seen: list[bytes] = []
    for fields in ({}, {"email": "x"}, {"email": ADDRESS}, {"email": "ada@gmaill.com", **PROOF}, {"email": ADDRESS, **PROOF}):
        answer = await post(world, fields, query=f"lang={language}") if fields else await get(world, "", language)
        seen.append(answer.body)
    seen.append((await get(world, "confirm/x", language)).body)
    for page in seen:
        assert f'<html lang="{language}" dir="ltr"'.encode() in page and len(page) < 20_000 and b"<script" not in page
    assert len({re.search(rb"<h1>(.*?)</h1>", page)[1] for page in seen}) == 4  # type: ignore[index]
    assert b'role="alert"' in seen[1] and f'action="https://news.example/subscribe?lang={language}"'.encode() in seen[1]


async def get(world: World, path: str, language: str = "en") -> Response:
    return await world.subscribe().handle(Request("GET", path, {"lang": language}))


async def test_a_slip_of_the_finger_is_pointed_out_and_keeps_nobody_from_signing_up(world: World) -> None:
    answer = await post(world, {"email": "ada@gmaill.com", "name": "Ada", **PROOF}, **OURS)
    assert b"Check your mail" in answer.body and b"Did you mean ada@gmail.com?" in answer.body
    assert (await world.subscriber("ada@gmaill.com"))["asked"] == "ada@gmaill.com"
    form = Form(answer.body)
    assert b"Check your mail" in (await post(world, form.fields, **OURS)).body
    assert (await world.subscriber("ada@gmail.com"))["wanted"]["name"] == "Ada"


async def test_a_slip_that_ends_at_a_throw_away_domain_is_pointed_out_as_well(world: World) -> None:
    answer = await post(world, {"email": "ada@gmial.com", **PROOF}, **OURS)
    assert answer.status == 400 and b"Did you mean ada@gmail.com?" in answer.body


async def test_a_throw_away_address_is_refused_flagged_or_taken_as_the_settings_say(world: World) -> None:
    email = {"email": "ada@mailinator.com", **PROOF}
    face(world, disposable="refuse")
    answer = await post(world, email, **OURS)
    assert answer.status == 400 and b"an address that you will keep" in answer.body and world.versions() == {}
    for rule, flags in (("flag", ["disposable"]), ("allow", None)):
        face(world, disposable=rule)
        assert b"Check your mail" in (await post(world, email, **OURS)).body
        consent = (await world.subscriber("ada@mailinator.com"))["wanted"]["consent"]
        evidence = await world.data(world.paths.consent(world.sid("ada@mailinator.com"), consent))
        assert evidence.get("flags") == flags


# --- embedded ---------------------------------------------------------------------------------------------------------


async def test_only_the_embedded_form_may_be_framed_and_only_by_the_tenants_sites(world: World) -> None:
    face(world)
    plain, framed = [await world.subscribe().handle(Request("GET", path)) for path in ("", "embed")]
    assert "frame-ancestors 'none'" in plain.headers["content-security-policy"] and plain.headers["x-frame-options"] == "DENY"
    assert f"frame-ancestors {SITE}" in framed.headers["content-security-policy"] and "x-frame-options" not in framed.headers
    assert "default-src 'none'" in framed.headers["content-security-policy"]
    assert Form(framed.body).action == "https://news.example/subscribe/embed"
    for fields in ({"email": "x"}, {"email": ADDRESS}, {"email": ADDRESS, **PROOF}):
        answer = await post(world, fields, "embed", **OURS)
        assert f"frame-ancestors {SITE}" in answer.headers["content-security-policy"]
    [consent] = await world.all(f"{world.paths.subscriber(world.sid(ADDRESS))}/consents")
    assert (consent.data["source"], consent.data["page"]) == ("embed", "https://news.example/subscribe/embed")


async def test_without_sites_nobody_frames_the_form(world: World) -> None:
    framed = await world.subscribe().handle(Request("GET", "embed"))
    assert "frame-ancestors 'none'" in framed.headers["content-security-policy"] and framed.headers["x-frame-options"] == "DENY"


# --- CAPTCHA ----------------------------------------------------------------------------------------------------------


async def test_with_a_captcha_a_form_without_its_proof_asks_for_one_more_click(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def passed(self: Captcha, token: str, client: str) -> bool:
        assert client == "203.0.113.7"
        return token == "good"

    monkeypatch.setattr(Captcha, "passed", passed)
    face(world, captcha="turnstile", captcha_key="1x00")
    shown = await world.subscribe().handle(Request("GET"))
    assert b'data-sitekey="1x00"' in shown.body and b"<noscript>" in shown.body
    assert "script-src https://challenges.cloudflare.com" in shown.headers["content-security-policy"]
    answer = await post(world, {"email": ADDRESS, **PROOF}, **OURS)
    assert b"One more click" in answer.body and b'data-sitekey="1x00"' in answer.body and world.versions() == {}
    assert b"Check your mail" in (await post(world, {"email": ADDRESS, "cf-turnstile-response": "good", **PROOF}, **OURS)).body
