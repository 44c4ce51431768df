"""The public archive: what is in it, its feed, one mail in the browser; and that looking at it changes nothing."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from functions.archive.handler import Archive
from functions.archive.held import AGE
from functions.launch import approval, listing, views
from functions.launch.handler import Launch
from functions.send_batch.mails import Mails
from shared.errors import Conflict, NotFound, Unavailable
from shared.http import Request, Response
from shared.mail.compile import Recipient
from shared.mail.compose import Content
from shared.model import tenant
from shared.model.face import Face
from shared.model.ref import MailRef
from shared.model.tenant import Approval
from shared.pages.faces import Faces
from shared.ports import Merge, Store

from .fakes import NOW, Fault, FaultyStore, nth
from .test_launch import HEADER, campaign, finish
from .test_launch import rows as typed
from .world import BASE, IDENTITY, LETTER, TENANT, World

DAY = 86_400_000
FEED = {"atom": "http://www.w3.org/2005/Atom"}
FRENCH = (
    "---\nsubject: Nouvelles\npreheader: Du café, {{ name or 'voilà' }}\n---\n# Bonjour\n\nUn café nouveau nous vient du Huila.\n"
)
SECRET = "Ottilie Zwetschgenbaum"
PERSONAL = """---
subject: For {{ name or 'you' }}
preheader: Dear {{ name }}
---
# Hello {{ name }}

{% if name == 'Ottilie Zwetschgenbaum' %}Only for you.{% endif %} You are {{ email }} in {{ country }}, and this is a long enough letter.

[Shop](https://shop.example/a?who={{ email }}) [Leave]({{ unsubscribe_url }}) [Browser]({{ view_in_browser_url }})
"""


class Counting:
    """A port that counts what it is asked."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.asked = inner, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self.inner, name)


def archive(world: World, store: Store | Any = None, objects: Any = None) -> Archive:
    store = store or world.store
    return Archive(store, objects or world.objects, world.clock, world.links, world.paths, Faces(store, world.paths, world.clock))


async def ask(world: World, path: str = "", method: str = "GET", step: Archive | None = None, **headers: str) -> Response:
    """`path`: what follows /archive/, or a whole address."""
    path = path.removeprefix(f"{BASE}/archive").lstrip("/")
    place, _, query = path.partition("?")
    given = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await (step or archive(world)).handle(Request(method, place, given, named))


async def launch(world: World, *lines: dict[str, str], approval: Approval | None = None, store: Store | None = None) -> None:
    """Type these rows and tick."""
    typed(world, *({"Template": "letter", "Wanted": "Go", **line} for line in lines), header=[*HEADER, "Public"])
    step: Launch = world.launch(store)
    await (replace(step, tenant=replace(TENANT, approval=approval)) if approval else step).handle()


async def listed(world: World) -> list[str]:
    return await shown(world, "")


async def shown(world: World, query: str, step: Archive | None = None) -> list[str]:
    """The subjects on a page of the list."""
    return re.findall(r'<li><a href="/archive/[^"]+"[^>]*>([^<]*)</a>', (await ask(world, query, step=step)).body.decode())


@pytest.fixture(autouse=True)
async def brand(world: World) -> None:
    await face(world, archive=True)
    await world.add("a@example.com")


async def face(world: World, **fields: Any) -> None:
    data = {**tenant.document("Brand", IDENTITY, "sheet", "folder"), "face": Face(**fields).document()}
    await world.store.commit([Merge(world.paths.tenant, data)])


# --- the list -------------------------------------------------------------------------------------------------------------


async def test_public_campaigns_are_listed_and_others_are_not(world: World) -> None:
    await launch(
        world, {"Public": "Yes", "Subject": "One"}, {"Subject": "Two"}, {"Public": "TRUE", "Wanted": "Draft", "Subject": "Three"}
    )
    assert await listed(world) == ["One"]
    assert (await campaign(world))["public"] == "shown" and (await campaign(world, "C-0002"))["public"] == ""
    await launch(world, {"Public": "Yes", "Wanted": "Draft"}, {}, {"Public": "TRUE", "Wanted": "Cancel"})
    assert await listed(world) == ["One"]  # one that was cancelled before it started never went


async def test_a_campaign_that_has_ended_or_was_stopped_is_still_listed(world: World) -> None:
    await launch(world, {"Public": "Yes", "Subject": "One"}, {"Public": "yes", "Subject": "Two"})
    await launch(world, {"Public": "Yes", "Subject": "One"}, {"Public": "yes", "Subject": "Two", "Wanted": "Cancel"})
    await finish(world, states=b"s", sids=bytes(16))
    await world.launch().handle()
    assert [(await campaign(world, id))["state"] for id in ("C-0001", "C-0002")] == ["completed", "cancelled"]
    assert await listed(world) == ["One", "Two"]


@pytest.mark.parametrize("state", ["running", "completed", "archived"])
async def test_what_is_not_public_any_more_leaves_the_list_and_its_link_goes_on(world: World, state: str) -> None:
    await launch(world, {"Public": "Yes", "Subject": "One"})
    if state != "running":
        await finish(world, states=b"s", sids=bytes(16))
        await world.launch().handle()
    wanted = {"running": "Go", "completed": "Go", "archived": "Archive"}[state]
    await launch(world, {"Public": "Yes", "Subject": "One", "Wanted": wanted})
    for cell, expected, answer in (("", [], listing.UNLISTED), ("Yes", ["One"], listing.LISTED), ("no", [], listing.UNLISTED)):
        await launch(world, {"Public": cell, "Subject": "One", "Wanted": wanted})
        assert await listed(world) == expected and (await campaign(world))["answer"] == answer
        assert (await ask(world, world.links.view("C-0001"))).status == 200
    before = world.versions()
    await world.launch().handle()
    assert world.versions() == before


async def test_a_cell_that_says_neither_is_answered(world: World) -> None:
    await launch(world, {"Public": "maybe"})
    assert (await campaign(world))["answer"] == "“Public” must be Yes, or be empty, and not “maybe”."
    await launch(world, {"Public": "Yes", "Subject": "One"})
    await launch(world, {"Public": "perhaps", "Subject": "One"})
    found = await campaign(world)
    assert found["answer"].endswith("“Public” must be Yes, or be empty, and not “perhaps”.") and await listed(world) == ["One"]


async def test_a_cell_that_became_wrong_while_it_was_scheduled_stops_only_its_own_campaign(world: World) -> None:
    first = {"Schedule": "2027-01-15 12:00", "Public": "Yes"}
    await launch(world, first, first)
    await launch(world, {**first, "Wanted": "Test to me", "Public": "maybe"}, first)
    assert [(await campaign(world, id))["state"] for id in ("C-0001", "C-0002")] == ["scheduled", "scheduled"]
    world.clock.advance(400 * DAY)
    await world.launch().handle()
    found = await campaign(world)
    assert found["state"] == "draft" and found["answer"].startswith("“Public” must be Yes")
    assert (await campaign(world, "C-0002"))["state"] == "running"


async def test_a_later_yes_makes_a_campaign_public_unless_approvers_saw_it_private(world: World) -> None:
    await launch(world, {"Subject": "One"}, {"Subject": "Two"})
    await launch(world, {"Subject": "One", "Public": "Yes"}, {"Subject": "Two"})
    assert await listed(world) == ["One"]
    rule = Approval(0, frozenset({"ada@brand.example"}), frozenset())
    await launch(world, {"Subject": "One", "Public": "Yes"}, {"Subject": "Two", "Public": "Yes"}, approval=rule)
    assert await listed(world) == ["One"] and (await campaign(world, "C-0002"))["answer"] == listing.UNAPPROVED


def test_whether_it_is_public_is_part_of_what_is_approved() -> None:
    row = {"subject": "One", "segment": "everyone", "schedule": "", "template": "letter"}

    def both(**more: str) -> tuple[object, object]:
        return approval.seen({**row, **more}, "UTC", {}, {}), approval.stamp({**row, **more}, "UTC", {}, [], IDENTITY)

    assert both() == both(public="")  # as campaigns were approved before there was such a column
    assert all(one != other for one, other in zip(both(), both(public="Yes"), strict=True))


async def test_pages_hold_fifty_and_lead_to_one_another(world: World) -> None:
    await fill(world, 120)
    seen, address = list[str](), "?lang=de"
    for expected, size in ((("next",), 50), (("next", "prev"), 50), (("prev",), 20)):
        answer = await ask(world, address)
        page = answer.body.decode()
        links = dict(reversed(one) for one in re.findall(rf'<{BASE}/archive(\S*)>; rel="(next|prev)"', answer.headers["link"]))
        assert sorted(links) == sorted(expected) and page.count('<li><a href="/archive/') == size
        assert len(answer.body) < 20_000 and "script" not in page and "year=" not in page
        seen += re.findall(r">(Mail \d+)</a>", page)
        for rel, where in links.items():
            assert f'rel="{rel}" href="{where.replace("&", "&amp;")}"' in page and where.startswith("?lang=de&")
        address = links.get("next", "")
    assert seen == [f"Mail {n}" for n in range(119, -1, -1)]
    assert await shown(world, links["prev"]) == [f"Mail {n}" for n in range(69, 19, -1)]  # the page before, from its end


async def test_a_page_says_the_same_while_newer_mails_come(world: World) -> None:
    await fill(world, 60)
    older, newer = f"?before={NOW + 10}.C-0010", f"?after={NOW + 5}.C-0005"
    before = await shown(world, older), await shown(world, newer)
    assert before[0] == [f"Mail {n}" for n in range(9, -1, -1)]
    assert before[1] == [f"Mail {n}" for n in range(55, 5, -1)]
    await fill(world, 110)
    assert (await shown(world, older), await shown(world, newer)) == before
    assert await shown(world, f"?after={NOW + 80}.C-0080") == [f"Mail {n}" for n in range(109, 59, -1)]  # the newest page


async def test_a_year_is_a_place_to_begin_at(world: World) -> None:
    at = {
        "2024-12-31": 1_735_691_400_000,
        "2025-01-01": 1_735_700_000_000,
        "2027-03-01": 1_804_000_000_000,
    }  # the first in the west
    many = {f"C-{day}": {"at": when, "day": day, "languages": {"-": [day, ""]}} for day, when in at.items()}
    await world.store.commit([Merge(world.paths.archive, {"campaigns": many, "changed_at": NOW})])
    page = (await ask(world)).body.decode()
    assert re.findall(r'href="\?year=(\d+)">\1<', page) == ["2027", "2025", "2024"]
    assert await shown(world, "?year=2025") == ["2025-01-01", "2024-12-31"] and await shown(world, "?year=2024") == ["2024-12-31"]
    assert await shown(world, "?year=2027") == await shown(world, "") == sorted(at, reverse=True)
    assert (await ask(world, "?year=2026")).status == 404
    assert 'rel="prev" href="?after=1735691400000.C-2024-12-31"' in (await ask(world, "?year=2024")).body.decode()


WRONG = ["before=", "before=x", "before=1", "after=1.", "before=-1.C-1", "before=1.C_1", f"before={'9' * 30}.C-1", "before=0.C-1"]
WRONG += [f"before={NOW}.C-0000", "year=", "year=1900", "year=²", "year=" + "9" * 5000, f"before={NOW}.C-2&year=2027"]


@pytest.mark.parametrize("query", WRONG, ids=range(len(WRONG)))
async def test_an_address_of_no_page_is_not_there(world: World, query: str) -> None:
    await fill(world, 3)
    assert (await ask(world, f"?{query}")).status == 404


async def test_a_page_stays_small_with_a_large_logo_and_long_subjects(world: World) -> None:
    await fill(world, 60, "茶" * views.SUBJECT)
    for logo in ("", "data:image/png;base64," + "A" * 11_900):
        await face(world, archive=True, logo=logo)
        seen, address = 0, "?"
        while address:
            answer = await ask(world, address)
            assert answer.status == 200 and len(answer.body) < 20_000
            seen += answer.body.count(b'<li><a href="/archive/')
            found = re.search(r"<\S*/archive(\?\S*)>; rel=\"next\"", answer.headers["link"])
            address = found[1] if found else ""
        assert seen == 60


@pytest.mark.parametrize(
    "work",
    [
        lambda n: views.about(Content("Subject", "\u2003" * n)),
        lambda n: views.document(Content("Subject", "", "<head " * n), "en"),
    ],
    ids=["text", "html"],
)
def test_a_hostile_template_takes_no_longer_than_its_length(work: Callable[[int], str]) -> None:
    def spent(n: int) -> float:
        began = time.process_time()
        work(n)
        return time.process_time() - began

    assert min(spent(16_000) for _ in range(3)) < 8 * min(spent(4_000) for _ in range(3)) + 0.02, "16 times where it is quadratic"


async def test_a_list_of_nothing_says_so_and_an_archive_that_is_off_is_not_there(world: World) -> None:
    assert b"There is no mail here yet." in (await ask(world)).body
    assert ElementTree.fromstring((await ask(world, "feed")).body).findall(".//item") == []
    await face(world, archive=False)
    for path in ("", "feed"):
        answer = await ask(world, path)
        assert answer.status == 404 and b"There is no such page" in answer.body


async def test_the_list_speaks_its_readers_language(world: World) -> None:
    world.drive.put("letter.fr.md", FRENCH)
    await launch(world, {"Public": "Yes"})
    answer = await ask(world, accept_language="fr-CA, de;q=0.5")
    page = answer.body.decode()
    assert '<html lang="fr"' in page and ">Nouvelles</a>" in page and 'lang="fr">Nouvelles' not in page
    assert answer.headers["vary"] == "accept-language" and answer.headers["cache-control"] == "public, max-age=300"
    link = re.search(r'href="(/archive/[^"]+)">Nouvelles', page)
    assert link and "Un café nouveau" in (await ask(world, BASE + link[1])).body.decode()
    german = (await ask(world, accept_language="de")).body.decode()
    assert 'lang="en">News for you</a>' in german and re.search(
        r'<time datetime="(\d{4})-\d\d-\d\d">\d+\. [A-ZJFMASOND]\w+ \1<', german
    )


# --- the feed -------------------------------------------------------------------------------------------------------------


async def test_the_feed_is_rss_that_parsers_read(world: World) -> None:
    world.drive.put("letter.fr.md", FRENCH)
    await launch(world, {"Public": "Yes", "Subject": "Coffee & <b>tea</b>"})
    world.clock.advance(3 * DAY)
    await launch(world, {"Public": "Yes", "Subject": "Coffee & <b>tea</b>"}, {"Public": "Yes"})
    answer = await ask(world, "feed")
    assert (
        answer.content_type == "application/rss+xml; charset=utf-8" and answer.headers["cache-control"] == "public, max-age=300"
    )
    channel = ElementTree.fromstring(answer.body).find("channel")
    assert channel is not None and [channel.findtext(name) for name in ("title", "link", "language")] == [
        "Brand",
        f"{BASE}/archive",
        "en",
    ]
    own = channel.find("atom:link", FEED)
    assert own is not None and own.attrib == {"href": f"{BASE}/archive/feed", "rel": "self", "type": "application/rss+xml"}
    news, coffee = channel.findall("item")
    assert (news.findtext("title"), coffee.findtext("title")) == ("News for you", "Coffee & <b>tea</b>")
    assert coffee.findtext("guid") == "C-0001@news.brand.example" and coffee.find("guid[@isPermaLink='false']") is not None
    assert news.findtext("description", "").startswith("This week we roasted a new coffee from Huila, and there is")
    assert (await ask(world, str(news.findtext("link")))).status == 200
    french = ElementTree.fromstring((await ask(world, "feed?lang=fr-CA")).body)
    assert [one.findtext("description") for one in french.iter("item")] == ["Du café, voilà"] * 2
    assert french.findtext("channel/language") == "fr"


async def test_feedparser_reads_the_same(world: World) -> None:
    feedparser = pytest.importorskip("feedparser")
    await fill(world, 25, "Tea & <i>more</i>", about="5 < 6 & more")
    found = feedparser.parse((await ask(world, "feed")).body)
    assert not found.bozo and found.version == "rss20" and len(found.entries) == 20
    first = found.entries[0]
    assert (first.title, first.summary) == (
        "Tea &amp; <i>more</i> 24",
        "5 &lt; 6 &amp; more",
    ) or first.title == "Tea & <i>more</i> 24"
    assert first.published_parsed[:3] == (2027, 1, 1) or first.published_parsed is not None


async def test_no_text_breaks_the_feed(world: World) -> None:
    await fill(world, 1, "]]> &amp; <script>\x00\x0b\ufffe", about="\x1f</description>")
    item = ElementTree.fromstring((await ask(world, "feed")).body).find("channel/item")
    assert (
        item is not None
        and item.findtext("title") == "]]> &amp; <script> 0"
        and item.findtext("description") == "&lt;/description&gt;"
    )


async def test_who_has_it_already_is_not_sent_it_again(world: World) -> None:
    await launch(world, {"Public": "Yes"})
    for path in ("", "feed", world.links.view("C-0001")):
        first = await ask(world, path)
        same = await ask(world, path, if_none_match=f'"other", W/{first.headers["etag"]}')
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", first.headers["etag"])
        assert same.headers["cache-control"] == first.headers["cache-control"]
        assert (await ask(world, path, if_none_match='"other"')).status == 200
    since = (await ask(world, "feed")).headers["last-modified"]
    assert (await ask(world, "feed", if_modified_since=since)).status == 304
    assert (await ask(world, "feed", if_modified_since="Thu, 01 Jan 1970 00:00:00 GMT")).status == 200
    assert (await ask(world, "feed", if_modified_since="yesterday")).status == 200
    assert (await ask(world, "feed", if_modified_since=since, if_none_match='"other"')).status == 200
    world.clock.advance(DAY)
    await launch(world, {"Public": ""})
    assert (await ask(world, "feed", if_modified_since=since)).status == 200  # less is a change, too


# --- one mail -------------------------------------------------------------------------------------------------------------


async def test_a_mails_link_shows_its_language_and_counts_nothing(world: World) -> None:
    world.drive.put("letter.fr.md", FRENCH)
    world.drive.put(
        "letter.pt-BR.txt", "---\nsubject: Notícias\n---\nOlá {{ name or 'você' }} <b>\n\nUm café novo chegou hoje de Huila.\n"
    )
    await launch(world, {})
    bodies = {"": "This week we roasted", "fr": "Un café nouveau", "pt-br": "Olá você &lt;b&gt;"}
    for language, text in bodies.items():
        page = (await ask(world, world.links.view("C-0001", language))).body.decode()
        assert text in page and "/track/" not in page and f"{BASE}/unsubscribe" in page and f"{BASE}/unsubscribe/" not in page
    for asked, text in {"fr-CA": bodies["fr"], "de": bodies[""], "": bodies[""], "PT-br": bodies["pt-br"]}.items():
        assert text in (await ask(world, f"{world.links.view('C-0001')}?lang={asked}")).body.decode()
    assert bodies["fr"] in (await ask(world, world.links.view("C-0001", "fr") + "?lang=")).body.decode()
    assert bodies[""] in (await ask(world, world.links.view("C-0001", "nl"))).body.decode()


async def test_the_link_in_a_mail_is_everybodys_and_not_counted(world: World) -> None:
    world.drive.put("letter.md", PERSONAL)
    await launch(world, {})
    data = await campaign(world)
    assert all("/archive/" not in target for target in data["mail"]["links"].values())
    mail = await Mails(world.objects, world.links).get("C-0001", data["mail"])
    address = world.links.view("C-0001").encode()
    for sid in ("ab" * 16, "cd" * 16):
        sent = mail.splice(Recipient(MailRef("C-0001", sid, ""), "a@example.com"), "Fri, 01 Jan 2027 00:00:00 +0000")
        assert sent.replace(b"=\r\n", b"").count(address) == 2  # in the text and in the HTML


async def test_nothing_of_a_reader_is_in_it(world: World) -> None:
    world.drive.put("letter.md", PERSONAL)
    await world.add("ottilie@example.com", name=SECRET, country="PT")
    await launch(world, {"Public": "Yes"})
    pages = [(await ask(world, path)).body.decode() for path in (world.links.view("C-0001"), "", "feed")]
    assert not any(word in page for page in pages for word in ("Ottilie", "example.com", "Only for you", "Zwetschgenbaum"))
    assert ">For you</a>" in pages[1] and "<title>For you</title>" in pages[2] and "<description>Dear</description>" in pages[2]
    assert f'href="{BASE}/unsubscribe"' in pages[0] and f'href="{world.links.view("C-0001")}"' in pages[0]
    assert 'href="https://shop.example/a?who="' in pages[0]


async def test_a_mail_that_says_nothing_without_a_reader_goes_and_is_not_shown(world: World) -> None:
    text = LETTER.replace("# Hello", "{% set share = 10 / (email | length) %}\n# Hello, you {{ share }}")
    world.drive.put("letter.md", text)
    await world.add("b@example.com")
    await launch(world, {"Public": "Yes"})
    found = await campaign(world)
    assert found["state"] == "running" and found["answer"].endswith(listing.UNSEEN) and "view" not in found["mail"]
    assert found["public"] == "" and await listed(world) == []
    answer = await ask(world, world.links.view("C-0001"))
    assert answer.status == 404 and b"This mail cannot be shown here" in answer.body


GARBAGE = ["x", "C-0001", "C-0001.-.", "C-0001.-.AAAAAAAAAAAAAAAAAAAAAA", "feed/x", "../C-0001", "é", "a" * 5000, "list"]


@pytest.mark.parametrize("path", GARBAGE, ids=range(len(GARBAGE)))
async def test_what_is_no_link_of_ours_is_not_there(world: World, path: str) -> None:
    await launch(world, {})
    answer, other = await ask(world, path), await ask(world, "y")
    assert (answer.status, answer.body) == (other.status, other.body) == (404, other.body)
    for purpose in ("leave", "track", "live", "confirm"):
        assert (await ask(world, world.links.tokens.sign(purpose, "C-0001.-"))).body == other.body


async def test_what_is_gone_or_never_began_cannot_be_shown(world: World) -> None:
    await launch(world, {}, {"Wanted": "Draft"})

    class Lost:
        async def get(self, name: str) -> bytes:
            raise NotFound(name)

    pages = [await ask(world, world.links.view(id)) for id in ("C-0002", "C-0009", "test", "confirm")]
    pages.append(await ask(world, world.links.view("C-0001"), step=archive(world, objects=Lost())))
    assert {(page.status, page.body) for page in pages} == {(404, pages[0].body)} and b"cannot be shown" in pages[0].body


HOSTILE = {
    "refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example">',
    "svg": '<svg><animate href="#x" attributeName="href" values="javascript:alert(1)"/><a id="x"><text>x</text></a></svg>',
    "style": "<style>p{color:red}</style><img src='https://img.example/x.png' alt=''>",
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
async def test_whatever_a_template_holds_runs_nowhere(world: World, case: str) -> None:
    body = f"<html><head>{HOSTILE[case]}</head><body><p>Long enough to be a mail, and a link.</p></body></html>"
    world.drive.put("hostile.html", body)
    await launch(world, {"Template": "hostile", "Subject": "Hi"})
    answer = await ask(world, world.links.view("C-0001"))
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert set(policy["sandbox"].split()) == {
        "allow-popups",
        "allow-popups-to-escape-sandbox",
        "allow-top-navigation-by-user-activation",
    }
    assert policy["img-src"] == "https: data:" and not {"script-src", "connect-src", "object-src", "frame-src"} & set(policy)
    assert answer.headers["x-frame-options"] == "DENY" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["cache-control"].startswith("private")


async def test_only_what_is_public_is_for_search_engines(world: World) -> None:
    await launch(world, {"Public": "Yes"}, {})
    one, two = [await ask(world, world.links.view(id)) for id in ("C-0001", "C-0002")]
    assert "x-robots-tag" not in one.headers and two.headers["x-robots-tag"] == "noindex"
    assert b"noindex" not in (await ask(world)).body
    await face(world, archive=False)
    assert (await ask(world, world.links.view("C-0001"))).headers["x-robots-tag"] == "noindex"


# --- cost, faults ---------------------------------------------------------------------------------------------------------


async def test_looking_writes_nothing_and_reads_once_a_minute(world: World) -> None:
    await launch(world, {"Public": "Yes"})
    before = world.versions()
    store, objects = Counting(world.store), Counting(world.objects)
    step = archive(world, store, objects)
    for _ in range(3):
        for path in ("", "feed", "feed?lang=fr", "?year=2027", world.links.view("C-0001"), "x"):
            assert (await ask(world, path, step=step)).status in (200, 404)
    assert store.asked == {"get_many": 1, "get": 2} and objects.asked == {"get": 1}  # the face; the list, the campaign
    world.clock.advance(AGE)
    await ask(world, "", step=step)
    assert store.asked == {"get_many": 2, "get": 3}
    assert world.versions() == before and not world.bus.take("engagement-events")


async def test_a_start_costs_one_object_a_language(world: World) -> None:
    world.drive.put("letter.fr.md", FRENCH)
    await launch(world, {})
    names = {one.name for one in (world.file.parent / "objects").rglob("*.html") if "views" in str(one)}
    assert len(names) == 2


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
async def test_the_list_and_the_campaigns_never_disagree(world: World, fault: Fault) -> None:
    """Whichever write of a tick fails, of one that starts a campaign or of one that hides it."""
    ids = []
    for n in range(1, 8):
        ids.append(f"C-{n:04d}")
        for cell, state in (("Yes", "shown"), ("", "hidden")):
            lines = [{"ID": id, "Public": cell if id == ids[-1] else ""} for id in ids]
            typed(world, *({"Template": "letter", "Wanted": "Go", **line} for line in lines), header=[*HEADER, "Public"])
            with suppress(Unavailable, Conflict):
                await world.launch(FaultyStore(world.store, nth(n, fault))).handle()
            for _ in range(2):
                found = await world.data(world.paths.archive)
                public = [id for id in ids if (await campaign(world, id)).get("public") == "shown"]
                assert sorted(found.get("campaigns", {})) == public
                await world.launch().handle()
            assert (await campaign(world, ids[-1]))["public"] == state


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_only_reading_is_understood(world: World, method: str) -> None:
    answer = await ask(world, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_an_outage_shows_what_was_there(world: World) -> None:
    await launch(world, {"Public": "Yes"})
    down = False

    def plan(verb: str) -> Fault:
        return "refused" if down else ""

    step = archive(world, FaultyStore(world.store, plan))
    first = await ask(world, step=step)
    down = True
    world.clock.advance(2 * AGE)
    assert (await ask(world, step=step)).body == first.body
    with pytest.raises(Unavailable):
        await ask(world, world.links.view("C-0001"), step=step)


async def fill(world: World, count: int, subject: str = "Mail", about: str = "") -> None:
    """An archive of so many campaigns."""
    one = {"day": "2027-01-31", "languages": {"-": [subject, about]}}
    many = {f"C-{n:04d}": {**one, "at": NOW + n, "languages": {"-": [f"{subject} {n}", about]}} for n in range(count)}
    await world.store.commit([Merge(world.paths.archive, {"campaigns": many, "changed_at": NOW})])
