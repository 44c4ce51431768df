"""Whatever a stranger types stays where it was put: no mail gets another header, no page another element."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jinja2
import pytest

from functions.subscribe.drawing import PAGES as SIGN_UP
from functions.unsubscribe.desk import PAGES as LEAVING
from shared import pages
from shared.http import Request, Response
from shared.model.ref import MailRef

from .fakes import DAY, NOW
from .injected import Heads, Shape, as_address, header_inputs, html_inputs, neutral, tags_of, tree_of
from .world import BASE, PROOF, World

COUNT, SEED = 10_000, 20261123
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
LETTER = """---
subject: News for {{ name or 'you' }}, {{ tags|join(' ') }}, {{ language }}
preheader: "{{ name }}"
---
# Hello {{ name }}

{{ tags|join(', ') }} {{ language }} {{ country }} [Shop](https://shop.example/a?n={{ name }})
"""
FREE = frozenset({"subject", "to", "message-id", "list-unsubscribe", "date", "feedback-id"})  # a reader's own, in each mail
PLACES = ("name", "name", "email", "tags", "name", "email", "tags", "language", "name", "agent")


def sign_up(world: World, text: str, n: int) -> Request:
    """A sign-up with a text in one place, as a form or as JSON."""
    place = PLACES[n % len(PLACES)]
    fields = {"email": f"reader{n}@example.com", "name": "Ada", "tags": "tea"}
    if place == "email":
        fields["email"] = as_address(text, n // len(PLACES))
    elif place != "agent":
        fields[place] = text
    headers = JSON if n % 3 else FORM
    agent = text.encode("utf-8", "surrogatepass").decode("latin-1") if place == "agent" else "x"
    if n % 3 == 0:
        fields |= PROOF
    body = json.dumps(fields).encode() if n % 3 else urlencode(fields, errors="surrogatepass").encode()
    return Request("POST", headers={**headers, "user-agent": agent}, body=body, client=f"192.0.{n % 200}.7")


async def confirmed(world: World, requests: list[Request]) -> tuple[Counter[int], list[dict[str, Any]]]:
    """Make the sign-ups and confirm each; the answers' statuses and the messages that asked for confirmations."""
    step, statuses = world.subscribe(), Counter[int]()
    for at in range(0, len(requests), 200):
        answers = await asyncio.gather(*(step.handle(request) for request in requests[at : at + 200]))
        statuses.update(answer.status for answer in answers)
    messages = world.bus.take("send-requests")
    for at in range(0, len(messages), 200):
        some = messages[at : at + 200]
        answers = await asyncio.gather(*(step.handle(Request("POST", confirm_path(world, one), headers=FORM)) for one in some))
        assert {answer.status for answer in answers} == {200}
    return statuses, messages


def confirm_path(world: World, message: dict[str, Any]) -> str:
    sid, _, key = message["batch"].partition(".")
    return world.links.confirm(sid, message["consent"], key, NOW + DAY).partition("/subscribe/")[2]


def sent(world: World, address: str) -> bytes:
    """A mail as it arrives."""
    return world.sender.mails[address].replace(b"\r\n..", b"\r\n.")


async def test_ten_thousand_inputs_bring_no_header_into_a_mail(world: World) -> None:
    inputs = header_inputs(COUNT, SEED)
    statuses, messages = await confirmed(
        world, [sign_up(world, "Grace", 10), *(sign_up(world, text, n + 20) for n, text in enumerate(inputs))]
    )
    assert set(statuses) <= {200, 202, 400} and statuses[400] < COUNT * 0.7
    world.drive.put("letter.md", LETTER)
    await world.campaign()
    world.sender.window = 50
    await world.send_batch().handle({"campaign": "C-0001", "batch": "000000"})
    mailed = list(world.sender.mails)
    assert len(mailed) > COUNT * 0.4
    plain = Heads.of(sent(world, "reader10@example.com"), FREE)
    assert set(plain.names) >= {
        "from",
        "to",
        "subject",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "mime-version",
    }
    wrong = {address: found for address in mailed if (found := plain.faults(sent(world, address)))}
    assert wrong == {}
    await singles(world, messages)
    assert naive(inputs[: COUNT // 5]) > COUNT // 5 * 0.2


async def singles(world: World, messages: list[dict[str, Any]]) -> None:
    """Confirmations and welcomes, some hundred: each is a batch of its own."""
    await world.system("confirm", "welcome")
    for campaign in ("confirm", "welcome"):
        world.sender.mails.clear()
        for message in [messages[0], *messages[1::40]]:
            sid = message["batch"].partition(".")[0]
            ask = message if campaign == "confirm" else {"campaign": "welcome", "batch": f"{sid}.{message['consent']}"}
            await world.send_batch().handle(ask)
        assert len(world.sender.mails) > 100
        plain = Heads.of(sent(world, "reader10@example.com"), FREE)
        assert {address: found for address in world.sender.mails if (found := plain.faults(sent(world, address)))} == {}


def naive(inputs: list[str]) -> int:
    """How many inputs get a header past a program that joins texts, by the same detector."""

    def mail(text: str) -> bytes:
        head = (
            f"From: Brand <hello@brand.example>\r\nTo: ada@example.com\r\nSubject: Hello {text}\r\nMIME-Version: 1.0\r\n\r\nx\r\n"
        )
        return head.encode("utf-8", "surrogatepass")

    plain = Heads.of(mail("Grace"), frozenset({"subject", "to"}))
    return sum(any(fault.startswith("headers") for fault in plain.faults(mail(text))) for text in inputs)


# --- pages ----------------------------------------------------------------------------------------------------------------

READER = "reader@example.com"
EVERY = 80  # of so many pages one is parsed as a browser does, which takes long
HARMLESS = ("Ada", "", "Grace Hopper", "x" * 700, "\x07", "ada.example", "-", "x\u2028y\u202e", "5 & 6")


@dataclass(frozen=True)
class Page:
    """A way to have texts shown: `takes` of them in one request. `step`: "subscribe" or "unsubscribe"."""

    name: str
    step: str
    takes: int
    request: Callable[[Sequence[str], str], Request]  # the texts, and a real leave token
    shows: bool = True  # the texts themselves; else they are in no more than a link, quoted, and fewer do


def post(path: str, **fields: str) -> Request:
    return Request("POST", path, headers=FORM, body=urlencode(fields, errors="surrogatepass").encode())


def way(text: str) -> str:
    """One part of a path, as a server decodes it: never half a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("/", "|")


def held(texts: Sequence[str]) -> dict[str, str]:
    names = ("email", "name", "language", "country", "tags", "consent_text", "page")
    return dict(zip(names, texts, strict=False))


def preferred(texts: Sequence[str]) -> dict[str, str]:
    return {"name": texts[0], "language": texts[1], "frequency": f"x{texts[2]}"}


def asked(path: str, lang: str, accept: str) -> Request:
    return Request("GET", path, {"lang": lang}, {"accept-language": accept.encode("utf-8", "replace").decode("latin-1")})


PAGES = [
    Page("sign-up with a problem", "subscribe", 5, lambda t, _: post("", **held((f"{t[0]} ", *t[1:5])), **PROOF)),
    Page("embedded sign-up with a problem", "subscribe", 5, lambda t, _: post("embed", **held((f"{t[0]} ", *t[1:5])), **PROOF)),
    Page("one more click", "subscribe", 8, lambda t, _: post("", **held([f"x{text}" for text in t[:7]]), **{f"topic.{t[7]}": t[0]})),
    Page("sign-up in a language", "subscribe", 2, lambda t, _: asked("", *t[:2]), shows=False),
    Page("dead confirmation", "subscribe", 3, lambda t, _: asked(f"confirm/{way(t[0])}", *t[1:]), shows=False),
    Page("leave?", "unsubscribe", 3, lambda t, _: asked(way(t[0]), *t[1:]), shows=False),
    Page("left, and why?", "unsubscribe", 2, lambda t, _: post(f"x{way(t[0])}", page=t[1]), shows=False),
    Page("a reason with a problem", "unsubscribe", 3, lambda t, _: post(f"reason/{way(t[0])}", words=t[1], reason=t[2])),
    Page("preferences with a problem", "unsubscribe", 3, lambda t, leave: post(f"preferences/{leave}", **preferred(t))),
    Page("dead preferences", "unsubscribe", 3, lambda t, _: asked(f"preferences/{way(t[0])}", *t[1:]), shows=False),
    Page("access once more", "unsubscribe", 2, lambda t, _: post("", email=f"{t[0][:140]} {t[1][:140]}@example.com")),
]  # fmt: skip


def shape_of(answer: Response, whole: bool) -> Shape:
    text = answer.body.decode()
    return neutral(tree_of(text) if whole else tags_of(text), BASE)


async def strange(world: World, page: Page, inputs: Sequence[str]) -> list[str]:
    """What the inputs did to a page: [] when its elements and attributes are those that it has for harmless ones."""
    step: Any = world.subscribe() if page.step == "subscribe" else world.unsubscribe()
    leave = world.links.unsubscribe(MailRef("C-0001", world.sid(READER))).rpartition("/")[2]

    async def answered(texts: Sequence[str], whole: bool) -> Shape:
        answer: Response = await step.handle(page.request(texts, leave))
        assert answer.content_type == "text/html; charset=utf-8", (page.name, answer.status)
        return shape_of(answer, whole)

    known = {whole: [await answered([text] * page.takes, whole) for text in HARMLESS] for whole in (False, True)}
    found: list[str] = []
    for n, at in enumerate(range(0, len(inputs), page.takes)):
        texts = [*inputs[at : at + page.takes], *inputs[: page.takes]][: page.takes]
        found += [f"{page.name}: {texts!r}"] * (await answered(texts, False) not in known[False])
        if n % EVERY == 0:
            found += [f"{page.name}, in a browser: {texts!r}"] * (await answered(texts, True) not in known[True])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_ten_thousand_inputs_bring_no_element_into_a_page(
    world: World, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add(READER)
    inputs = html_inputs(COUNT if page.shows else COUNT // 5, SEED)
    assert await strange(world, page, inputs) == []
    monkeypatch.setattr(pages, "Environment", lambda **given: jinja2.Environment(**{**given, "autoescape": False}))  # the control
    for drawn in (SIGN_UP, LEAVING):
        monkeypatch.delitem(drawn.__dict__, "_environment", raising=False)
    shown = await strange(world, page, inputs[:400])
    for drawn in (SIGN_UP, LEAVING):
        drawn.__dict__.pop("_environment", None)
    assert bool(shown) == page.shows and (len(shown) > 100 / page.takes or not page.shows)
