"""RFC 8058, from the header of a mail that was really sent to the subscription that ends: https://www.rfc-editor.org/rfc/rfc8058"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Mapping
from email.message import EmailMessage
from urllib.parse import urlsplit

import dkim as oracle  # type: ignore[import-untyped]
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from shared.asgi import served
from shared.http import Request, Response
from shared.model.ref import MailRef
from tests.house.asgi import Answer, call
from tests.unit.test_dkim import RECORDS, SIGNERS

from .world import BASE, World

ADDRESS = "ada@example.com"
SCANNER = {"user-agent": "Mozilla/5.0 (compatible; LinkScanner/1.0)", "sec-fetch-site": "none"}
URLENCODED = ({"content-type": "application/x-www-form-urlencoded"}, b"List-Unsubscribe=One-Click")
MULTIPART = (
    {"content-type": "multipart/form-data; boundary=----b"},
    b'------b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n------b--\r\n',
)


async def sent(world: World, *addresses: str) -> dict[str, bytes]:
    """The mails of a campaign to these, as they were handed over."""
    await world.add(*addresses)
    await world.campaign()
    await world.send_batch().handle({"campaign": "C-0001", "batch": "000000"})
    return {address: world.sender.mails[address] for address in addresses}


def way_out(wire: bytes) -> str:
    """What a mail program takes from the headers, by the RFC's own rules (§3.1)."""
    mail = email.message_from_bytes(wire, EmailMessage, policy=email.policy.SMTP)
    [listed], [post] = mail.get_all("List-Unsubscribe", []), mail.get_all("List-Unsubscribe-Post", [])
    assert str(post) == "List-Unsubscribe=One-Click"
    [link] = re.findall(r"<(https:[^<>\s]+)>", str(listed))
    return str(link)


async def ask(world: World, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> Answer:
    """One request on the wire, through what stands between the framework and the step."""

    async def handle(request: Request) -> Response:
        return await world.unsubscribe().handle(request)

    app = Starlette(routes=[Route("/unsubscribe/{path:path}", served(lambda: 0)(handle), methods=["GET", "HEAD", "POST"])])
    assert url.startswith(f"{BASE}/unsubscribe/")
    return await call(app, method, urlsplit(url).path, body, headers)


async def test_a_sent_mail_offers_one_click_and_dkim_covers_the_offer(world: World) -> None:
    wire = (await sent(world, ADDRESS))[ADDRESS]
    assert way_out(wire).startswith(f"{BASE}/unsubscribe/")
    raw = re.search(rb"^List-Unsubscribe: <[^\r\n]*>\r\n", wire, re.MULTILINE)
    assert raw, "one link, unfolded and not encoded"
    for signer in SIGNERS.values():
        signature = signer.sign(wire)
        [covered] = re.findall(r" h=([^;]+);", signature.decode().replace("\r\n", ""))
        assert {"list-unsubscribe", "list-unsubscribe-post"} <= set(covered.lower().replace(" ", "").split(":"))
        whole = signature + wire
        assert oracle.verify(whole, dnsfunc=lambda name, timeout=5: RECORDS.get(name))
        for changed in (
            whole.replace(raw[0], b"List-Unsubscribe: <https://stranger.example/>\r\n"),
            whole.replace(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b""),
            whole.replace(raw[0], raw[0] + b"List-Unsubscribe: <https://stranger.example/>\r\n"),
        ):
            assert not oracle.verify(changed, dnsfunc=lambda name, timeout=5: RECORDS.get(name))


@pytest.mark.parametrize("body", [URLENCODED, MULTIPART], ids=["urlencoded", "multipart"])
async def test_the_post_ends_the_subscription_without_redirect_or_cookie(
    world: World, body: tuple[dict[str, str], bytes]
) -> None:
    link = way_out((await sent(world, ADDRESS, "bob@example.com"))[ADDRESS])
    headers, content = body
    answer = await ask(world, "POST", link, content, headers)
    assert answer.status == 200 and not {"location", "set-cookie", "refresh"} & answer.headers.keys()
    assert (await world.subscriber(ADDRESS))["suppressed"] == ["unsubscribed"]
    assert "suppressed" not in await world.subscriber("bob@example.com")
    await world.campaign("C-0002")
    world.sender.accepted.clear()
    await world.send_batch().handle({"campaign": "C-0002", "batch": "000000"})
    assert world.sender.accepted == ["bob@example.com"]


async def test_replays_and_garbage_are_answered_alike(world: World) -> None:
    link = way_out((await sent(world, ADDRESS))[ADDRESS])
    other = way_out((await sent_again(world))["C-0002"])
    answers = []
    track = f"{BASE}/unsubscribe/{world.links.track_token(MailRef('C-0001', world.sid(ADDRESS)))}"
    for url in (link, link, other, link + "A", link[:-1], f"{BASE}/unsubscribe/garbage", f"{BASE}/unsubscribe/a/b", track):
        for headers, content in (URLENCODED, MULTIPART):
            answers.append(await ask(world, "POST", url, content, headers))
    assert [answer for answer in answers if (answer.status, answer.headers, answer.body) != parts(answers[0])] == []
    assert answers[0].status == 200


def parts(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    return answer.status, answer.headers, answer.body


async def sent_again(world: World) -> dict[str, bytes]:
    """The mail of another campaign to the same reader."""
    await world.campaign("C-0002")
    await world.send_batch().handle({"campaign": "C-0002", "batch": "000000"})
    return {"C-0002": world.sender.mails[ADDRESS]}


async def test_two_hundred_looks_of_a_scanner_unsubscribe_nobody(world: World) -> None:
    people = [f"reader{n}@example.com" for n in range(5)]
    mails = await sent(world, *people)
    before = world.versions()
    links = [way_out(mails[address]) for address in people]
    tails = [link.removeprefix(f"{BASE}/unsubscribe/") for link in links]
    urls = [*links, *(f"{BASE}/unsubscribe/{part}/{tail}" for part in ("preferences", "export", "erase") for tail in tails)]
    for n in range(200):
        answer = await ask(world, "HEAD" if n % 4 == 3 else "GET", urls[n % len(urls)], headers=SCANNER)
        assert answer.status == 200 and "set-cookie" not in answer.headers
    assert world.versions() == before and world.bus.messages == []
