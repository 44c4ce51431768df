"""The folder `pages`: what a marketer writes there is what public pages say, and nothing else gets through."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.launch import pages as pages_module
from functions.launch.handler import Launch
from functions.launch.page_text import LARGEST, TAGS, page_text
from functions.launch.pages import NAMES
from shared.errors import BadTemplate, Unavailable
from shared.model import console

from .fakes import FaultyStore, Folder, nth
from .world import LETTER, TENANT, World

THANKS = "# Thank you, from {{ brand }}\n\nLook into your **inbox**, or [write to us](mailto:hello@brand.example).\n"


@pytest.fixture
def folder(world: World) -> Folder:
    world.drive = found = Folder(letter=LETTER)
    return found


@pytest.fixture
def launch(world: World, folder: Folder) -> Launch:
    return world.launch()


async def ticks(launch: Launch, count: int = 2) -> None:
    """A process looks at pages from its second tick on."""
    for _ in range(count):
        await launch.handle()


async def texts(world: World) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = (await world.data(world.paths.pages)).get("pages", {})
    return found


async def rows(world: World) -> dict[str, dict[str, str]]:
    """What the Templates tab says of pages."""
    await world.sync_sheet().handle()
    shown = [dict(zip(console.TEMPLATE_FIELDS, row, strict=False)) for row in world.sheet.rows("Templates!A2:Z")]
    return {row["Template"]: row for row in shown if row["Kind"] == "Page"}


# --- from files to pages ---


async def test_a_page_says_what_its_file_says(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("pages/check.md", THANKS)
    await ticks(launch)
    html = '<p>Look into your <strong>inbox</strong>, or <a href="mailto:hello@brand.example">write to us</a>.</p>'
    assert await texts(world) == {"check": {"default": {"title": f"Thank you, from {TENANT.name}", "html": html}}}
    row = (await rows(world))["pages/check.md"]
    assert (row["Subject"], row["Problem"], row["Used by"]) == ("Thank you, from Brand", "", "in use")


async def test_every_page_has_a_name_of_the_list(world: World, folder: Folder, launch: Launch) -> None:
    for name in NAMES:
        folder.put(f"pages/{name}.md", THANKS)
    await ticks(launch, 4)
    assert sorted(await texts(world)) == sorted(NAMES)


async def test_languages_stand_beside_the_page(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("pages/leave.md", "# Leave")
    folder.put("Pages/leave.pt-BR.html", "<h1>Sair</h1><p>Até logo</p>")
    folder.put("pages/left.fr.md", "---\ntitle: Au revoir\n---\nTexte\n")
    await ticks(launch)
    found = await texts(world)
    assert {language: text["title"] for language, text in found["leave"].items()} == {"default": "Leave", "pt-br": "Sair"}
    assert found["left"] == {"fr": {"title": "Au revoir", "html": "<p>Texte</p>"}}


async def test_a_google_doc_is_a_page(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("pages/archive", "# Our letters, {{ brand }}\n\nAll **of** them\n\n- one\n- two\n")
    folder.docs.add("pages/archive")
    await ticks(launch)
    [text] = (await texts(world))["archive"].values()
    assert text["title"] == "Our letters, Brand" and "<strong>of</strong>" in text["html"] and "<li>" in text["html"]
    assert "style" not in text["html"] and "<table" not in text["html"]


async def test_a_file_that_is_gone_leaves_the_built_in_text(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("pages/check.md", THANKS)
    folder.put("pages/check.fr.md", THANKS)
    await ticks(launch)
    del folder.files["pages/check.fr.md"]
    await ticks(launch, 1)
    assert list((await texts(world))["check"]) == ["default"]
    del folder.files["pages/check.md"]
    await ticks(launch, 1)
    assert await texts(world) == {} and await rows(world) == {}


BAD = [
    ("# Hello {{ name }}", "“{{ name }}” cannot stand in a page: nothing is filled in but {{ brand }}."),
    ("# Hello\n\n{% if x %}", "“{%” cannot stand"),
    ("# Hello\n\n{# x #}", "cannot stand"),
    ("# Hello\n\n&#123;{ brand.x }}", "cannot stand"),
    ("just text", "no title"),
    ("", "no title"),
    ("---\nsubject: x\n---\n", "“subject” is not a setting of a page"),
    ("---\ntitle: x\n", "no second “---”"),
    ("# Hello\n\n![x](https://tracker.example/p.gif)", "loads no pictures"),
    ("# Hello\n\n[x](/relative)", "A link leads nowhere"),
    (f"# {'x' * 101}", "longer than 100 characters"),
    ("# Hello\u202e", "signs that nobody sees"),
    ("# Hello\n\n" + "x" * 9000, "8 KB is the most"),
    ("# Hello\n\n" + "<" * 5000, "The page comes to 19."),
    ("# Hello\x00", "invisible control character"),
]


@pytest.mark.parametrize(("text", "says"), BAD, ids=[says[:30] + str(n) for n, (_, says) in enumerate(BAD)])
async def test_a_file_that_cannot_be_used_is_told_and_the_last_good_text_stays(
    world: World, folder: Folder, launch: Launch, text: str, says: str
) -> None:
    folder.put("pages/check.md", THANKS)
    await ticks(launch)
    before = await texts(world)
    folder.put("pages/check.md", text)
    folder.put("pages/left.md", THANKS)
    await ticks(launch, 1)
    found = await texts(world)
    assert found["check"] == before["check"] and "left" in found
    row = (await rows(world))["pages/check.md"]
    assert says in row["Problem"] and row["Used by"] == "not in use"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pages/thanks.md", "“thanks” is no page. The pages are: sign-up, check"),
        ("pages/check.old.md", "“old” in its name is no language"),
        ("pages/check.mjml", "A page is a Google Doc, or a file that ends in .md or .html."),
        ("pages/check.txt", "A page is a Google Doc"),
    ],
)
async def test_a_name_that_no_page_has_is_told(world: World, folder: Folder, launch: Launch, name: str, says: str) -> None:
    folder.put(name, THANKS)
    await ticks(launch)
    assert says in (await rows(world))[name]["Problem"] and await texts(world) == {}


async def test_two_files_of_one_page_change_nothing_until_one_goes(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("pages/check.md", THANKS)
    await ticks(launch)
    folder.put("pages/Check.html", "<h1>Other</h1>")
    await ticks(launch, 1)
    assert (await texts(world))["check"]["default"]["title"] == "Thank you, from Brand"
    assert all(row["Problem"] == "Two files are the page “check”: remove one of them." for row in (await rows(world)).values())
    del folder.files["pages/check.md"]
    await ticks(launch, 1)
    assert (await texts(world))["check"]["default"]["title"] == "Other"


# --- what it costs ---


async def test_nothing_is_fetched_or_written_while_nothing_changes(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("pages/check.md", THANKS)
    folder.put("pages/photo.png", "no page")
    await ticks(launch)
    before, folder.fetched[:] = world.versions(), []
    await ticks(launch, 3)
    await ticks(world.launch(), 3)
    assert (world.versions(), folder.fetched) == (before, [])


async def test_a_page_costs_no_template_another_look(world: World, folder: Folder, launch: Launch) -> None:
    await ticks(launch)
    folder.fetched.clear()
    folder.put("pages/check.md", THANKS)
    await ticks(launch)
    assert folder.fetched == ["pages/check.md"]


async def test_a_few_a_tick(world: World, folder: Folder, launch: Launch) -> None:
    for name in NAMES:
        folder.put(f"pages/{name}.md", THANKS)
    await ticks(launch)
    assert len(await texts(world)) == pages_module.FEW
    await ticks(launch)
    assert len(await texts(world)) == len(NAMES)


async def test_drive_that_does_not_answer_leaves_a_page_as_it_was(world: World, folder: Folder, launch: Launch) -> None:
    folder.put("pages/check.md", THANKS)
    await ticks(launch)
    folder.put("pages/check.md", "# New")
    folder.refusing["pages/check.md"] = Unavailable("Google Drive")
    await ticks(launch)
    assert (await texts(world))["check"]["default"]["title"] == "Thank you, from Brand"
    folder.refusing.clear()
    await ticks(launch, 1)
    assert (await texts(world))["check"]["default"]["title"] == "New"


@pytest.mark.parametrize("fault", ["refused", "lost", "conflict"])
async def test_a_write_that_fails_or_whose_answer_is_lost_is_made_good(world: World, folder: Folder, fault: Any) -> None:
    folder.put("pages/check.md", THANKS)
    await ticks(world.launch())
    folder.put("pages/check.md", "# New")
    faulty = world.launch(FaultyStore(world.store, nth(1, fault)))
    await ticks(faulty, 4)
    assert (await texts(world))["check"]["default"]["title"] == "New"


async def test_no_more_files_than_a_document_can_hold(
    world: World, folder: Folder, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "MOST", 2)
    for name in ("check", "confirm", "left"):
        folder.put(f"pages/{name}.md", THANKS)
    await ticks(launch)
    assert len(await texts(world)) == 2
    await world.sync_sheet().handle()
    assert world.sheet.rows("Templates!A2:A9")[-1] == ["… 1 more are not shown"]


# --- hostile files ---


class Seen(HTMLParser):
    """All tags, attributes and addresses of a page, as a browser would take them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", {}))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", {}))


def harmless(html: str) -> bool:
    for tag, attributes in Seen(html).found:
        if tag not in TAGS - {"h1"} or set(attributes) - {"a": {"href"}, "img": {"src", "alt"}}.get(tag, set()):
            return False
        if tag == "a" and not (attributes["href"] or "").lower().startswith(("https://", "http://", "mailto:")):
            return False
        if tag == "img" and not (attributes["src"] or "").startswith("data:image/"):
            return False
    return len(html.encode()) <= LARGEST and "{{" not in html and "{%" not in html


_WRAPS = [
    "{}",
    "<p>{}</p>",
    "<table><tr><td>{}",
    "<svg><desc>{}</desc></svg>",
    "<math><mtext>{}</mtext></math>",
    "<noscript>{}</noscript>",
    "<!--{}-->",
    "<a href='https://x.example'>{}</a>",
    "> {}",
    "- {}",
    "`{}`",
    "<title>{}",
]
_INJECTIONS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='java&#9;script:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](data:text/html;base64,PHN2Zz4=)",
    "<iframe srcdoc='<script>x</script>'></iframe>",
    "<form action=https://evil.example><input name=address><button>Go</button></form>",
    "<style>@import 'https://evil.example'</style><link rel=stylesheet href=//evil.example>",
    "<base href=//evil.example><meta http-equiv=refresh content='0;url=//evil.example'>",
    "<p style='position:fixed' onclick=x class=y id=z>cover</p>",
    "</main></body></html><script>x</script>",
    "<svg/onload=alert(1)><a xlink:href='javascript:x'><text>x",
    "<math><mglyph><style><img src=x onerror=y>",
    "<img src='data:image/svg+xml,<svg onload=x>'>",
    "{{ ''.__class__.__mro__ }}{% for x in range(9999999) %}x{% endfor %}",
    "<details open ontoggle=x><summary>s</summary></details><video src=x><audio src=x><object data=x><embed src=x>",
    "<a href='https://x.example\" onmouseover=x'>y</a><a href=//evil.example>z</a>",
    "<<script>script>x<</script>/script>",
]
INJECTIONS = [wrap.format(one) for wrap in _WRAPS for one in _INJECTIONS if "{" not in one] + _INJECTIONS


@pytest.mark.parametrize("name", ["check.md", "check.html"])
def test_200_injections_come_to_nothing(name: str) -> None:
    assert len(INJECTIONS) >= 200
    through = 0
    for one in INJECTIONS:
        try:
            text = page_text(
                name, f"# Title\n\n{one}\n".encode() if name.endswith("md") else f"<h1>T</h1>{one}".encode(), "Brand"
            )
        except BadTemplate:
            continue
        through += 1
        assert harmless(text["html"]), one
        if name.endswith("md"):
            assert "<script" not in text["html"] and "<form" not in text["html"]
    assert through > 50, "most is shown as text, or without what is hostile"


_PIECES = st.sampled_from(
    [*_INJECTIONS, *"<>&\"'=/{}[]()!*_`#\n ", "<p>", "</p>", "<a href=", "https://x.example", "<img src=", "&#123;"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECES | st.text(max_size=5), max_size=30), st.sampled_from(["check.md", "check.html"]))
@example(['<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">'], "check.html")
def test_only_the_short_list_comes_through(pieces: list[str], name: str) -> None:
    try:
        text = page_text(name, ("---\ntitle: T\n---\n" + "".join(pieces)).encode("utf-8", "surrogatepass"), "Brand")
    except BadTemplate:
        return
    assert harmless(text["html"]) and text["title"] == "T"


@pytest.mark.parametrize("brand", ["<script>x</script>", '"onx="', "{{ brand }}", "A & B \\1"])
def test_a_brand_is_only_ever_text(brand: str) -> None:
    text = page_text("check.md", b"# {{brand}}\n\n{{ brand }} and [x](https://x.example/{{brand}})\n", brand)
    assert text["title"] == brand
    assert [tag for tag, _ in Seen(text["html"]).found] == ["p", "a"] or brand == "{{ brand }}"
    assert {*Seen(text["html"]).found[-1][1]} == {"href"}


BOMBS = {
    "quotes": ">" * 8000,
    "lists": "- " * 4000,
    "brackets": "[" * 8000,
    "links": "[a](" * 2000,
    "stars": "*a_" * 2700,
    "ticks": "".join("`" * n + " " for n in range(120)),
    "references": "[a]: <" * 1300,
    "entities": "&#0;" * 2000,
    "tags": "<b>" * 2600,
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", ["check.md", "check.html"])
def test_a_bomb_is_refused_or_harmless(bomb: str, name: str) -> None:
    """Its size bounds its time: each of these is a fifth of a second at most."""
    data = f"# T\n\n{BOMBS[bomb]}" if name.endswith("md") else f"<h1>T</h1>{BOMBS[bomb] * 7}"
    try:
        text = page_text(name, data.encode(), "Brand")
    except BadTemplate as error:
        assert str(error).endswith(".")  # noqa: PT017
        return
    assert harmless(text["html"])


def test_the_list_of_pages_is_that_of_the_guide() -> None:
    said = (Path(__file__).parents[2] / "docs" / "pages.md").read_text("utf-8")
    assert [name for name in NAMES if f"`{name}`" not in said] == []
