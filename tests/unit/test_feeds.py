"""Feeds become a few words of plain text, and a mail shows them like its own; nothing that a stranger's server answers does more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import BadInput, BadTemplate
from shared.mail import confined, feeds
from shared.mail.compile import CompiledMail, Recipient
from shared.mail.feed_parse import parse
from shared.mail.sandbox import MAX_VALUE, weigh
from shared.mail.source import feed_of

from .test_compile import DATE, REF, make, parts, subject

ADDRESS = "https://site.example/rss.xml"
RSS = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/"><channel><title>Tea &amp; coffee</title><link>https://site.example/</link>
<item><title>One &lt;i&gt;fine&lt;/i&gt; cup</title><link>/posts/1</link><pubDate>Mon, 23 Nov 2026 23:30:00 -0500</pubDate>
<description>&lt;p&gt;Hot  &lt;a href="/x"&gt;water&lt;/a&gt;,&lt;/p&gt;&lt;script&gt;x()&lt;/script&gt;
&lt;p&gt;&amp;lt;b&amp;gt;&lt;/p&gt;
&lt;img src="/count.gif" width="1"&gt;&lt;img src="cup.jpg"&gt;</description></item>
<item><title>Two</title><link>javascript:alert(1)</link><media:thumbnail url="https://site.example/two.png"/></item>
<item><title>Three</title><link>https://site.example/3</link><enclosure url="https://site.example/3.webp" type="image/webp"/></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">Posts</title><link href="https://site.example/"/>
<entry><title>First</title><link href="a/1"/><updated>2026-01-02T00:00:00Z</updated>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Hi &lt;b&gt;</p><img src="/p.png"/></div></content></entry></feed>"""
JSON = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "Posts",
    "home_page_url": "https://site.example/",
    "items": [
        {
            "url": "/1",
            "title": "First",
            "content_html": "<p>A&nbsp;b</p><img src=p.png>",
            "date_published": "2026-01-02T03:00:00+05:00",
        },
        {
            "external_url": "https://other.example/2",
            "content_text": "Plain <b>",
            "attachments": [{"url": "/2.mp3", "mime_type": "audio/x"}],
        },
        "no item",
        {"title": 5, "url": None, "image": "https://site.example/3.jpg", "date_published": "yesterday", "attachments": {}},
    ],
}


def read(text: str | bytes) -> feeds.Feed:
    return feeds.unpacked(parse(text.encode() if isinstance(text, str) else text, ADDRESS))


def item(title: str = "", link: str = "", summary: str = "", date: str = "", image: str = "") -> dict[str, str]:
    return {"title": title, "link": link, "summary": summary, "date": date, "image": image}


# --- reading ----------------------------------------------------------------------------------------------------------


def test_rss() -> None:
    found = read(RSS)
    assert (found.title, found.link) == ("Tea & coffee", "https://site.example/")
    assert list(found.items) == [
        item("One fine cup", "https://site.example/posts/1", "Hot water, <b>", "2026-11-24", "https://site.example/cup.jpg"),
        item("Two", "", "", "", "https://site.example/two.png"),
        item("Three", "https://site.example/3", "", "", "https://site.example/3.webp"),
    ]


def test_atom() -> None:
    found = read(ATOM)
    assert (found.title, found.link) == ("Posts", "https://site.example/")
    assert list(found.items) == [item("First", "https://site.example/a/1", "Hi <b>", "2026-01-02", "https://site.example/p.png")]


def test_json_feed() -> None:
    found = read(json.dumps(JSON))
    assert (found.title, found.link) == ("Posts", "https://site.example/")
    assert list(found.items) == [
        item("First", "https://site.example/1", "A b", "2026-01-01", "https://site.example/p.png"),
        item("", "https://other.example/2", "Plain <b>"),
        item("", "", "", "", "https://site.example/3.jpg"),
    ]


def test_what_is_untidy_is_read() -> None:
    assert read(RSS.replace("Two", "Two&nbsp;more")).items[1]["title"] == "Two more"
    old = '<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://my.netscape.com/publish/formats/rss-0.91.dtd">'
    assert read(old + RSS.partition("?>")[2]).items == read(RSS).items
    assert read("\ufeff\n " + json.dumps(JSON)).title == "Posts"


def test_a_feed_is_cut_to_what_a_mail_can_hold() -> None:
    long = f"<item><title>{'word ' * 100}</title><link>https://x.example/{'y' * 900}</link><description>{'é' * 5000}</description></item>"
    found = read(f"<rss version='2.0'><channel><title>{'t' * 500}</title>{long * 100}</channel></rss>")
    one = found.items[0]
    assert len(found.items) == feeds.ITEMS and len(found.title) == feeds.TITLE and one["link"] == ""
    assert one["title"].endswith("word…") and len(one["title"]) <= feeds.TITLE and len(one["summary"]) == feeds.SUMMARY
    most = item("t" * feeds.TITLE, "l" * feeds.URL, "s" * feeds.SUMMARY, "2027-01-01", "i" * feeds.URL)
    assert weigh([most] * feeds.ITEMS) < MAX_VALUE


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "has no items"),
        (" \n", "has no items"),
        ("<rss version='2.0'><channel><title>x</title></channel></rss>", "has no items"),
        (json.dumps(JSON | {"items": []}), "has no items"),
        ("<!doctype html><html><body><p>Page</p></body></html>", "is not RSS, Atom or JSON Feed"),
        ("/etc/passwd", "is not RSS, Atom or JSON Feed"),
        ("https://site.example/", "is not RSS, Atom or JSON Feed"),
        (json.dumps({"items": [{"url": "https://x.example"}]}), "is not RSS, Atom or JSON Feed"),
        (json.dumps(JSON | {"items": "x"}), "is not RSS, Atom or JSON Feed"),
        (RSS[:-30], "is broken at line"),
        ('{"version": ', "is broken: it is no JSON"),
        ('{"a":' * 100_000, "is broken: it is no JSON"),
    ],
)
def test_what_is_no_feed_is_told(data: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(data.encode(), ADDRESS)
    assert str(caught.value).startswith(said)


# --- hostile ----------------------------------------------------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha" * 10}">' for n in range(10))
QUADRATIC = f'<!ENTITY q "{"q" * 100_000}">'
BODY = '<rss version="2.0"><channel><title>{0}</title><item><title>a{0}</title></item></channel></rss>'


@pytest.mark.parametrize(
    "data",
    [
        f"<!DOCTYPE x [{LAUGHS}]>{BODY.format('&l9;')}",
        f"<!DOCTYPE x [{QUADRATIC}]>{BODY.format('&q;' * 5000)}",
        f"<rss version='2.0'><channel><item><title>{'<b>' * 300_000}</title></item></channel></rss>",
        f"<rss version='2.0'><channel>{'<a>' * 300_000}",
        f"<rss version='2.0'><channel><item><description>{'&lt;div&gt;' * 90_000}</description></item></channel></rss>",
        f"<rss version='2.0'><channel><item><description>{'&lt;ul&gt;&lt;li&gt;' * 50_000}</description></item></channel></rss>",
        '{"version":"https://jsonfeed.org/version/1","items":' + "[" * 900_000,
    ],
    ids=["laughs", "quadratic", "deep-title", "deep", "deep-html", "deep-lists", "deep-json"],
)
def test_a_bomb_ends_with_a_sentence_or_a_short_feed(data: str) -> None:
    try:
        found = confined.feed(data.encode(), ADDRESS)
    except BadInput as error:
        found = str(error).encode()
    assert len(found) < 50_000 and found.startswith((b"{", b"is ", b"has ", b"cannot be read"))
    assert feeds.unpacked(confined.feed(RSS.encode(), ADDRESS)).title == "Tea & coffee", "the next one is read"


@pytest.mark.parametrize("where", ["file:///etc/passwd", "http://127.0.0.1:9/x"])
def test_nothing_is_loaded_from_elsewhere(where: str) -> None:
    outside = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{where}">]>{BODY.format("&e;")}'
    assert feeds.unpacked(confined.feed(outside.encode(), ADDRESS)).items[0]["title"] == "a"


# --- in a mail --------------------------------------------------------------------------------------------------------

DIGEST = """---
subject: {{ feed.items[0].title }}
feed: https://site.example/rss.xml
---
# {{ feed.title }} for {{ name or "you" }}

{% for item in feed.items[:2] %}
## [{{ item.title }}]({{ item.link }})

{{ item.summary }} *{{ item.date | date("long") }}*

{% endfor %}
"""
HOSTILE = item(
    '</h1><b>*x*</b> {{ email }} "', "https://site.example/1?a=1&b=\"'<>", "[x](https://evil.example) <script>", "2027-01-15"
)


FEED = feeds.packed("Tea & <b>", "https://site.example/", [HOSTILE, item("Second", "https://site.example/2")])


def mail(body: str = DIGEST, name: str = "x.md", **changes: Any) -> CompiledMail:
    return make(body, name, frozenset(), parts={feeds.PART: FEED}, **({"subject": ""} | changes))


def test_a_mail_shows_its_items_as_text_and_counts_their_links() -> None:
    made = mail()
    text, page = parts(made, {"name": "Ada"})
    assert "Tea &amp; &lt;b&gt; for Ada" in page and "&lt;/h1&gt;&lt;b&gt;*x*&lt;/b&gt; {{ email }} &quot;" in page
    assert "[x](https://evil.example) &lt;script&gt;" in page and "January 15, 2027" in page and "<script" not in page
    assert [target for _, target in made.links] == ["https://site.example/1?a=1&b=%22'%3C%3E", "https://site.example/2"]
    assert "Second" in text and subject(made, {}) == '</h1><b>*x*</b> {{ email }} "'
    assert made.size and made.variables == {"name"}


def test_a_feed_is_the_same_for_everybody() -> None:
    made = mail()
    assert made._composer.program.constant, "one variant for all readers"
    assert parts(mail(DIGEST.replace("[:2]", '[:2] if "vip" in (name or "")')), {"name": "vip"})[0].count("Second") == 1


@pytest.mark.parametrize("name", ["x.html", "x.txt", "x.mjml"])
def test_all_kinds_of_templates_have_it(name: str) -> None:
    bodies = {
        "x.html": "<html><body>{% for one in feed.items %}<a href='{{ one.link }}'>{{ one.title }}</a>{% endfor %}</body></html>",
        "x.txt": "{% for one in feed.items %}{{ one.title }} {{ one.link }}\n{% endfor %}",
        "x.mjml": "<mjml><mj-body><mj-section><mj-column>{% for one in feed.items %}<mj-text>{{ one.title }}</mj-text>{% endfor %}"
        "</mj-column></mj-section></mj-body></mjml>",
    }
    made = mail(bodies[name], name, subject="Hello", bulk=False)
    assert b"Second" in made.splice(Recipient(REF, "a@example.com"), DATE)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{{ feed }}", "is not a text, a number or a list"),
        ("{{ feed.__class__ }}", "is not available in a template"),
        ("{{ feed | list }}", "neither a text nor a number"),
        ("{{ feed.items.append(1) }}", "cannot be worked out"),
        ("{{ feed.items[0].update({'a': 1}) }}", "not available"),
        ("{{ feed.items[0].link.__class__ }}", "is not available in a template"),
        ("{{ feed('x') }}", "no function called “feed”"),
        ("{% include 'feed' %}", "is not a file of the folders"),
    ],
)
def test_it_is_no_way_out_of_the_sandbox(body: str, said: str) -> None:
    with pytest.raises(BadTemplate, match=said):
        mail(body, subject="Hello")


def test_a_template_without_one_has_no_feed() -> None:
    with pytest.raises(BadTemplate, match="no recipient has a value called “feed”"):
        make("{{ feed.title }}", known=frozenset())


def test_the_settings_name_it() -> None:
    assert feed_of(DIGEST.encode()) == "https://site.example/rss.xml"
    assert feed_of(b"# feed: x") == feed_of(b"---\nfeed: x\n") == feed_of(b"\xff") == ""
    with pytest.raises(BadTemplate, match="is given twice"):
        mail("---\nfeed: https://a.example\nfeed: https://b.example\n---\nx", subject="Hello")


def test_the_made_up_feed_has_what_feeds_have() -> None:
    found = feeds.unpacked(feeds.sample())
    assert found.items and all(set(one) == set(feeds.FIELDS) and all(one.values()) for one in found.items)
