"""A mail as everybody may see it: what is rendered of a template, and how."""

from __future__ import annotations

import pytest

from functions.launch.views import ABOUT, SUBJECT, about, document
from shared.errors import BadTemplate, BadToken
from shared.links import Links
from shared.mail import confined
from shared.mail.compile import compile
from shared.mail.compose import Content
from shared.mail.source import Identity, Source
from shared.tokens import Tokens

IDENTITY = Identity("Brand", "hello@brand.example", "Brand, 1 Street, Town", "Brand news", "news.brand.example")
LINKS = Links("https://news.example", Tokens([b"s" * 32]))
TEXTS = {
    "md": "# Hi {{ name or 'friend' }}\n\n[Here]({{ view_in_browser_url }}) [Shop](https://shop.example/a) [Leave]({{ unsubscribe_url }})",
    "html": "<html><body><p>Hi {{ name or 'friend' }} <a href='{{ view_in_browser_url }}#top'>Here</a> "
    "<a href='https://shop.example/a'>Shop</a> <a href='{{ preferences_url }}'>Choose</a></p></body></html>",
    "mjml": "<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ name or 'friend' }} "
    '<a href="{{ view_in_browser_url }}">Here</a> <a href="https://shop.example/a">Shop</a></mj-text></mj-column></mj-section></mj-body></mjml>',
    "txt": "Hi {{ name or 'friend' }}: {{ view_in_browser_url }} https://shop.example/a {{ unsubscribe_url }}",
}


def source(suffix: str, text: str = "", **given: object) -> Source:
    data = (text or TEXTS[suffix]).encode()
    return Source(name=f"news.{suffix}", data=data, campaign="C-0001", identity=IDENTITY, subject="News", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", TEXTS)
def test_the_process_that_confines_renders_what_we_would(suffix: str) -> None:
    shown = confined.public(source(suffix, tracked=False, spoken="fr"), LINKS)
    assert shown == compile(source(suffix, tracked=False, spoken="fr"), LINKS).public()
    assert bool(shown.html) == (suffix != "txt")
    for text in (shown.text, shown.html or shown.text):
        assert "Hi friend" in text and "https://shop.example/a" in text and LINKS.view("C-0001", "fr") in text
        assert "/track/" not in text and f"{LINKS.base}/unsubscribe" in text and f"{LINKS.base}/unsubscribe/" not in text


@pytest.mark.parametrize("suffix", ["md", "html", "mjml"])
def test_the_link_is_in_each_mail_and_not_counted(suffix: str) -> None:
    compiled = compile(source(suffix), LINKS)
    assert [target for _, target in compiled.links] == ["https://shop.example/a"]


def test_each_language_has_a_link_of_its_own() -> None:
    assert LINKS.read_view(LINKS.view("C-0001").rpartition("/")[2]) == ("C-0001", "")
    assert LINKS.read_view(LINKS.view("C-0001", "fr-ca").rpartition("/")[2]) == ("C-0001", "fr-ca")
    with pytest.raises(BadToken):
        LINKS.read_view(LINKS.view("C-0001", "fr").rpartition("/")[2].replace(".fr.", ".de."))


def test_a_template_that_needs_its_reader_is_refused() -> None:
    with pytest.raises(BadTemplate, match="division by zero"):
        confined.public(source("md", "Your share: {{ 10 / (email | length) }}", tracked=False), LINKS)


def test_a_page_has_a_title() -> None:
    assert "<head><title>A &amp; B</title><meta" in document(Content("A & B", "", "<html><head><meta></head></html>"), "en")
    own = "<html><HEAD><TITLE>Own</TITLE></HEAD></html>"
    assert document(Content("A", "", own), "en") == own


def test_a_mail_of_text_only_is_a_page() -> None:
    page = document(Content("A <b>", "One\n  <script>alert(1)</script>\n"), 'fr"')
    assert '<html lang="fr&quot;">' in page and "<title>A &lt;b&gt;</title>" in page
    assert "<pre>One\n  &lt;script&gt;alert(1)&lt;/script&gt;\n</pre>" in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\n\nOne sentence. Another one.", "One sentence."),
        ("> Quoted\n\n- item\n\nCosts 3.50 a cup! Or more.", "Costs 3.50 a cup!"),
        ("See the shop <https://shop.example> and come", "See the shop and come"),
        ("没有空格。第二句。", "没有空格。"),
        ("# Only a title\n\n* * *", ""),
        ("", ""),
        ("word " * 200, f"{'word ' * 59}word…"),
    ],
)
def test_without_a_preheader_the_first_sentence_says_what_is_in_it(text: str, expected: str) -> None:
    assert about(Content("S", text)) == expected and len(expected) <= ABOUT
    assert about(Content("S", text, preheader=" Given \n here ")) == "Given here"


def test_nothing_that_is_kept_is_long_or_broken() -> None:
    page = document(Content("x" * 500 + "\ud800", "a\ufffe\ud800b"), "en")
    assert f"<title>{'x' * (SUBJECT - 1)}…</title>" in page and "<pre>ab</pre>" in page
