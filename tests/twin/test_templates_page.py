"""The templates page shows the mail that a campaign would send, changes what a person may change, and nothing for another site's page."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import json
import os
import re
import signal
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httplib2
import pytest
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles

from local import browser, seed, starting, web
from local.google import preview, templates
from shared.links import Links
from shared.mail.compile import Recipient, compile
from shared.mail.source import Source
from shared.model.ref import MailRef
from shared.tokens import MIN_KEY, Tokens
from tests.contract.emulated import Emulated, emulated

pytestmark = pytest.mark.network
NEWS = '---\nsubject: Hi {{ name or "you" }}\npreheader: Read <me>\n---\n# News\n\n{% if "vip" in tags %}\nFree for you.\n{% endif %}\n'
JSON = "application/json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    place = tmp_path_factory.mktemp("pages")
    with emulated(place / "state", place / "templates", front=_with_static) as running:
        yield running


@pytest.fixture
def twin(server: Emulated) -> Emulated:
    server.reset()
    return server


def _with_static(app: Starlette) -> Starlette:
    app.mount("/static", StaticFiles(directory=web.HERE / "static"))
    return app


def call(twin: Emulated, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str]:
    status, content, _ = fetch(twin, path, form, **headers)
    return status, content.decode()


def fetch(twin: Emulated, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    client = httplib2.Http(timeout=60, proxy_info=None)
    client.follow_redirects = False
    body = None if form is None else urlencode(form)
    response, content = client.request(f"{twin.url}/templates{path}", "GET" if form is None else "POST", body, headers)
    return response.status, content, dict(response)


def put(twin: Emulated, name: str, text: str | bytes = NEWS) -> Path:
    path = twin.google.drive.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def known(twin: Emulated, name: str) -> str:
    """The hash that the editor of a file carries."""
    return call(twin, f"/{quote(name)}")[1].partition('name="hash" value="')[2][:64]


def previewed(twin: Emulated, name: str = "news.md", text: str = NEWS, **asked: str) -> Any:
    status, found = call(twin, f"/{quote(name)}", {"do": "preview", "text": text, **asked}, accept=JSON)
    assert status == 200
    return json.loads(found)


def disk(twin: Emulated) -> dict[str, tuple[bytes, int]]:
    folder = twin.google.drive.folder
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- the list


def test_files_are_listed_under_what_they_are_for(twin: Emulated) -> None:
    for name in (
        "spring/grüße.md",
        "confirm.md",
        "layouts/plain.html",
        "partials/foot.html",
        "pages/check.md",
        "assets/logo.png",
        "contacts.csv",
    ):
        put(twin, name)
    text = call(twin, "")[1]
    places = [
        text.index(f"<h2>{heading}</h2>") for heading in ("Templates", "Layouts", "Partials", "Pages", "Assets", "Other files")
    ]
    shown = ("spring/grüße.md", "layouts/plain.html", "partials/foot.html", "pages/check.md", "assets/logo.png", "contacts.csv")
    found = [text.index(f">{name}</a>") for name in shown]
    assert sorted([*places, *found]) == [place for pair in zip(places, found, strict=True) for place in pair]
    assert "Hi {{ name or &#34;you&#34; }}" in text and str(twin.google.drive.folder) in text
    assert re.findall(r">([^<]*)</a> <span class=\"tag\"", text) == ["confirm.md"]


# --- public pages


def test_a_public_page_is_shown_as_visitors_see_it(twin: Emulated) -> None:
    put(twin, "pages/check.fr.md")
    found = previewed(twin, "pages/check.fr.md", "# Merci, {{ brand }}\n\nRegardez votre **courrier**.\n", scheme="dark")
    assert (found["subject"], found["problem"]) == (f"Merci, {seed.IDENTITY.from_name}", "")
    assert 'lang="fr"' in found["html"] and "<strong>courrier</strong>" in found["html"] and "script" not in found["html"]
    assert call(twin, "/pages/check.fr.md")[1].count("<iframe") == 1
    assert "{{ name }}" in previewed(twin, "pages/check.fr.md", "# Bonjour {{ name }}")["problem"]
    put(twin, "pages/thanks.md")
    assert "is no page" in previewed(twin, "pages/thanks.md", "# Thanks")["problem"]
    assert previewed(twin, "pages/deep/check.md", "# Thanks")["problem"]


# --- the preview


@pytest.mark.parametrize(("name", "sample"), [("newsletter.md", "vip"), ("announcement.html", "odd"), ("confirm.md", "named")])
def test_the_preview_is_the_campaigns_mail(twin: Emulated, name: str, sample: str) -> None:
    data = (starting.TEMPLATES / name).read_bytes()
    system, reader = name == "confirm.md", preview.SAMPLES[sample]
    links = Links(twin.url, Tokens([bytes(MIN_KEY)]))
    extra = {"confirm_url": f"{twin.url}/subscribe/confirm/"} if system else {}
    to = Recipient(MailRef("C-0000", "0" * 32), reader.address, {} if system else reader.fields, extra)
    found = previewed(twin, name, data.decode(), sample=sample)
    for tracked in (False, True):
        bulk, counted = not system, tracked and not system
        source = Source(name=name, data=data, campaign="C-0000", identity=seed.IDENTITY, bulk=bulk, tracked=counted)
        message = compile(source, links).splice(to, found["source"].partition("Date: ")[2].partition("\n")[0])
        text, page = (part.get_content() for part in email.message_from_bytes(message, policy=email.policy.SMTP).iter_parts())
        if tracked:
            assert found["source"] == message.decode().replace("\r\n", "\n") and found["size"] == len(message)
            assert found["text"] == text.replace("\r\n", "\n") and not found["problem"]
        else:
            shown = preview.framed(page.replace("\r\n", "\n"), twin.url, "light")
            assert found["html"] == shown and "/track/" not in shown and twin.url in shown


def test_each_reader_gets_what_is_for_them(twin: Emulated) -> None:
    found = {sample: previewed(twin, sample=sample) for sample in preview.SAMPLES}
    assert [one["subject"] for one in found.values()][:3] == ["Hi Ada Lovelace", "Hi you", "Hi Zoé"]
    assert [sample for sample, one in found.items() if "Free for you" in one["text"]] == ["vip", "odd"]
    assert (
        found["vip"]["snippet"]
        == "Read <me> News Free for you. Lumen Coffee, 12 Harbour Street, 1100-001 Lisbon Unsubscribe · Preferences"
    )
    assert "<b>O'Neil</b>" in found["odd"]["subject"] and "Tags" not in found["odd"]["text"]
    assert previewed(twin, sample="nobody")["subject"] == "Hi Ada Lovelace"


def test_a_template_may_leave_its_subject_to_the_campaign(twin: Emulated) -> None:
    assert previewed(twin, text="# Hi")["subject"] == "(the campaign's Subject cell)"


@pytest.mark.parametrize(
    ("name", "text", "problem", "line"),
    [
        ("news.md", NEWS + "\n{{ nmae }}", "no recipient has a value called “nmae”; did you mean “name”", 11),
        ("news.md", "---\nsubject: x\nauthor: me\n---\nx", "Line 3: “author” is not a setting", 3),
        ("news.html", "---\nsubject: x\n---\n<p>{% if %}</p>", "Expected an expression", 4),
        ("news.txt", "---\nsubject: x\n---\n", "The template is empty.", 0),
    ],
)
def test_a_problem_is_told_with_its_line(twin: Emulated, name: str, text: str, problem: str, line: int) -> None:
    found = previewed(twin, name, text)
    assert problem in found["problem"] and found["line"] == line and found["html"] == ""
    put(twin, name, text)
    assert problem in call(twin, f"/{name}")[1], "told without any script"


def test_a_mail_shows_made_up_items_of_its_feed(twin: Emulated) -> None:
    text = "---\nsubject: x\nfeed: https://nobody.example/rss\n---\n{% for item in feed.items[:2] %}\n- {{ item.title }}\n{% endfor %}"
    found = previewed(twin, text=text)
    assert (
        found["problem"] == "" and "- Post 1" in found["text"] and "- Post 2" in found["text"] and "Post 3" not in found["text"]
    )


def test_a_mail_has_the_parts_that_are_in_the_folder(twin: Emulated) -> None:
    put(twin, "layouts/plain.html", "<html><body><h6>Plain</h6>{{ content }}</body></html>")
    put(twin, "partials/foot note.txt", "Bye {{ name }}")
    text = '---\nsubject: x\nlayout: plain\n---\nHello\n\n{% include "partials/foot note.txt" %}'
    found = previewed(twin, text=text)
    assert "Plain" in found["html"] and "Bye Ada Lovelace" in found["text"]
    put(twin, "partials/foot note.txt", "Bye\n{{ nmae }}")
    found = previewed(twin, text=text)
    assert "nmae" in found["problem"] and (found["file"], found["line"]) == ("partials/foot note.txt", 2)
    put(twin, "partials/foot note.txt", "x" * 300_000)
    assert "more than" in previewed(twin, text=text)["problem"]


def test_pictures_of_the_folder_are_in_the_frame(twin: Emulated) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(40)
    put(twin, "assets/logo.png", picture)
    before = disk(twin)
    found = previewed(twin, text=NEWS + "\n![Logo](assets/logo.png)\n")
    address = f"{twin.url}/assets/{hashlib.sha256(picture).hexdigest()}.png"
    assert f'src="data:image/png;base64,{b64encode(picture).decode()}"' in found["html"]
    assert address in found["source"].replace("=\n", "").replace("=3D", "=") and disk(twin) == before
    assert "There is no picture" in previewed(twin, text=NEWS + "\n![Logo](assets/other.png)\n")["problem"]


def test_a_google_doc_is_previewed_as_google_exports_it(twin: Emulated) -> None:
    found = previewed(twin, "letter.gdoc.md", NEWS + "\none\ntwo\n")
    assert found["subject"] == "Hi Ada Lovelace" and "</h1>" in found["html"]
    assert "one\n\ntwo" in found["text"], "each line of a Doc is a paragraph"
    found = previewed(twin, "letter.gdoc.md", NEWS + "\n{{ nmae }}")
    assert "nmae" in found["problem"] and found["line"] == 0, "the lines are those of the export"


@pytest.mark.parametrize(
    ("name", "sample", "instead"),
    [
        ("news.md", "french", "news.fr.html"),
        ("news.md", "named", ""),
        ("news.fr.html", "french", ""),
        ("news.fr.html", "named", "news.md"),
        ("alone.fr.md", "named", ""),
        ("news.old.md", "named", ""),
    ],
)
def test_a_reader_is_told_of_who_gets_another_language(twin: Emulated, name: str, sample: str, instead: str) -> None:
    for file in ("news.md", "news.fr.html", "alone.fr.md"):
        put(twin, file)
    assert previewed(twin, name, sample=sample)["instead"] == instead


def test_a_preview_changes_nothing(twin: Emulated) -> None:
    put(twin, "news.md")
    before = disk(twin)
    assert "Other" in previewed(twin, text="---\nsubject: Other\n---\nx")["subject"]
    assert previewed(twin, "not-there.md")["subject"] == "Hi Ada Lovelace"
    assert disk(twin) == before


def test_a_template_that_runs_away_is_ended_and_the_next_is_shown(twin: Emulated) -> None:
    loops = "{% for a in range(9999) %}" * 3 + "x" + "{% endfor %}" * 3
    assert "takes too long" in previewed(twin, text=f"---\nsubject: x\n---\n{loops}")["problem"]
    process = preview._helper()._process
    assert process and process.pid != os.getpid()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert previewed(twin)["subject"] == "Hi Ada Lovelace"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_has_the_colours_that_were_chosen(twin: Emulated, scheme: str) -> None:
    css = "@media (prefers-color-scheme:dark) { p { color: white } } @media screen and ( Prefers-Color-Scheme: light ) { p { top: 0 } }"
    text = f"---\nsubject: x\n---\n<html><head><style>{css}</style></head><body><p>(prefers-color-scheme: dark)</p></body></html>"
    found = previewed(twin, "a.html", text, scheme=scheme)["html"]
    yes, no = ("(max-width: 0)", "(min-width: 0)") if scheme == "light" else ("(min-width: 0)", "(max-width: 0)")
    assert re.search(re.escape(f"@media {yes}"), found) and f"screen and {no}" in found
    assert "<p>(prefers-color-scheme: dark)</p>" in found and "!important }</style>" not in found
    assert f"color-scheme: {scheme} !important" in previewed(twin, scheme=scheme)["html"]


def test_a_hostile_mail_stays_in_its_frame(twin: Emulated) -> None:
    put(
        twin,
        "a.html",
        "---\nsubject: </iframe>\n---\n<!-- <head> --><html><body>\"'<img src=https://evil.example/a></body></html>",
    )
    status, content, headers = fetch(twin, "/a.html")
    frame = re.search(rb'<iframe [^>]*sandbox="([^"]*)"[^>]*srcdoc="([^"]*)"', content)
    assert status == 200 and frame and b"allow-scripts" not in frame[1] and b"allow-top" not in frame[1]
    policy = f'<!doctype html><meta http-equiv="content-security-policy" content="default-src \'none\'; img-src {twin.url} data:;'
    assert frame[2].startswith(
        policy.replace("'", "&#39;").replace('"', "&#34;").replace("<", "&lt;").replace(">", "&gt;").encode()
    )
    assert b"</iframe>" not in content.replace(frame[0] + b"></iframe>", b""), "what a mail says is text"
    assert (
        "script-src 'self';" in headers["content-security-policy"]
        and "frame-ancestors 'none'" in headers["content-security-policy"]
    )


def test_parts_and_pictures_have_no_preview(twin: Emulated) -> None:
    put(twin, "partials/foot.html", "<p>Bye</p>")
    put(twin, "assets/logo.png", b"\x89PNG\xff")
    put(twin, "data.bin", b"\xff\xfe")
    put(twin, "evil.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    text = call(twin, "/partials/foot.html")[1]
    assert "<textarea" in text and "<iframe" not in text
    text = call(twin, "/assets/logo.png")[1]
    assert 'src="?picture"' in text and "<textarea" not in text and "not text" not in text
    assert "not text" in call(twin, "/data.bin")[1] and "<textarea" not in call(twin, "/data.bin")[1]
    status, content, headers = fetch(twin, "/assets/logo.png?picture")
    assert (status, content, headers["content-type"]) == (200, b"\x89PNG\xff", "image/png")
    assert headers["x-content-type-options"] == "nosniff" and headers["content-security-policy"].startswith("sandbox")
    assert call(twin, "/evil.svg?picture")[0] == call(twin, "/nope.png?picture")[0] == 404


# --- changes


def test_a_template_is_saved_unless_it_changed_on_disk_meanwhile(twin: Emulated) -> None:
    path = put(twin, "sub/grüße.md", "\n<b>Hällo</b> {{ name }}\n")
    url = "/sub/gr%C3%BC%C3%9Fe.md"
    assert "\n\n&lt;b&gt;Hällo&lt;/b&gt; {{ name }}\n</textarea>" in call(twin, url)[1]
    form = {"hash": known(twin, "sub/grüße.md"), "text": "new\r\nlines & more\r\n"}
    assert call(twin, url, form)[0] == 303
    assert path.read_bytes() == b"new\nlines & more\n"
    status, page = call(twin, url, form | {"text": "mine"})
    assert status == 409 and "has changed on disk" in page and ">\nmine</textarea>" in page
    status, told = call(twin, url, form | {"text": "mine"}, accept=JSON)
    assert status == 409 and json.loads(told)["hash"] == known(twin, "sub/grüße.md") and "Save again" in json.loads(told)["note"]
    assert path.read_bytes() == b"new\nlines & more\n" and list(path.parent.iterdir()) == [path]
    status, told = call(twin, url, {"hash": json.loads(told)["hash"], "text": "mine"}, accept=JSON)
    assert status == 200 and json.loads(told)["hash"] == known(twin, "sub/grüße.md") and path.read_bytes() == b"mine"


def test_what_is_too_large_or_not_there_is_not_saved(twin: Emulated) -> None:
    path = put(twin, "a.md", "old")
    form = {"hash": known(twin, "a.md"), "text": "x" * (templates.MAX_TEMPLATE + 1)}
    assert call(twin, "/a.md", form)[0] == 400 and call(twin, "/a.md", {"text": "x" * (templates._MAX_FORM + 1)})[0] == 413
    assert call(twin, "/a.md", {"do": "eat"})[0] == 400 and path.read_text() == "old"
    assert call(twin, "/nope.md")[0] == 404
    for do in ("save", "duplicate", "delete"):
        assert call(twin, "/nope.md", {"do": do, "name": "x.md", "text": "x"})[0] == 404
    assert {*disk(twin)} == {"a.md"}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_another_sites_page_changes_nothing(twin: Emulated, origin: str) -> None:
    put(twin, "a.md", "old")
    before, form = disk(twin), {"hash": known(twin, "a.md"), "text": "new", "name": "b"}
    for do in ("save", "preview", "duplicate", "delete"):
        assert call(twin, "/a.md", form | {"do": do}, origin=origin)[0] == 403
    assert call(twin, "", form, origin=origin)[0] == 403
    assert disk(twin) == before
    assert call(twin, "/a.md", form | {"do": "delete"}, origin=twin.url)[0] == 303 and disk(twin) == {}


@pytest.mark.parametrize(
    ("name", "start", "made"),
    [
        ("spring-news", "", "spring-news.md"),
        (" Frühling/Nr 1.fr.html ", "", "Frühling/Nr 1.fr.html"),
        ("hello.txt", "", "hello.txt"),
        ("hello.mjml", "", "hello.mjml"),
        ("again", "starter:announcement.html", "again.html"),
    ],
)
def test_a_new_template_can_be_mailed(twin: Emulated, name: str, start: str, made: str) -> None:
    status, _, headers = fetch(twin, "", {"name": name, "from": start})
    assert status == 303 and headers["location"] == f"/templates/{quote(made)}"
    assert [*disk(twin)] == [made]
    text = (twin.google.drive.folder / made).read_text()
    found = previewed(twin, made, text)
    assert not found["problem"] and found["subject"] != preview.NO_SUBJECT
    if start:
        assert text == (starting.TEMPLATES / start.partition(":")[2]).read_text()


def test_a_new_part_is_empty(twin: Emulated) -> None:
    assert call(twin, "", {"name": "partials/foot.html"})[0] == 303
    assert disk(twin)["partials/foot.html"][0] == b""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "Give the new file a name"),
        ("../evil.md", "cannot be a name"),
        ("/etc/../../evil.md", "cannot be a name"),
        (".hidden.md", "cannot be a name"),
        ("a/.b/c.md", "cannot be a name"),
        ("a//b.md", "cannot be a name"),
        ("a\\b.md", "cannot be a name"),
        ("a\0b.md", "cannot be a name"),
        ("a/b/c/d/e.md", "cannot be a name"),
        ("x" * 200, "cannot be a name"),
        ("evil.sh", "must end in .md or"),
        ("NEWS.md", "called NEWS.md already"),
        ("out/news.md", "not a part of the templates folder"),
        ("news.md/x.md", "cannot be a name"),
    ],
)
def test_a_name_that_cannot_be_is_told(twin: Emulated, tmp_path: Path, name: str, sentence: str) -> None:
    put(twin, "news.md")
    (twin.google.drive.folder / "out").symlink_to(tmp_path)
    status, text = call(twin, "", {"name": name})
    assert status == 400 and sentence in text
    assert [*disk(twin)] == ["news.md"] and not [*tmp_path.iterdir()]


def test_a_template_is_duplicated(twin: Emulated) -> None:
    put(twin, "spring/news.md")
    put(twin, "a.gdoc.md", "doc")
    assert 'value="spring/news-copy.md"' in call(twin, "/spring/news.md")[1]
    assert (
        fetch(twin, "/spring/news.md", {"do": "duplicate", "name": "summer/news"})[2]["location"] == "/templates/summer/news.md"
    )
    assert call(twin, "/a.gdoc.md", {"do": "duplicate", "name": "b"})[0] == 303
    found = {name: data for name, (data, _) in disk(twin).items()}
    assert found["summer/news.md"] == NEWS.encode() and found["b.gdoc.md"] == b"doc" and len(found) == 4
    status, text = call(twin, "/spring/news.md", {"do": "duplicate", "name": "b.html"})
    assert status == 400 and "must end in .md" in text and 'value="b.html"' in text and "Hi {{ name" in text
    assert len(disk(twin)) == 4


def test_a_template_is_deleted_as_it_was_seen(twin: Emulated) -> None:
    put(twin, "a.md")
    seen = known(twin, "a.md")
    put(twin, "a.md", "changed")
    status, text = call(twin, "/a.md", {"do": "delete", "hash": seen})
    assert status == 409 and "Not deleted" in text and "a.md" in disk(twin)
    status, _, headers = fetch(twin, "/a.md", {"do": "delete", "hash": known(twin, "a.md")})
    assert status == 303 and disk(twin) == {}
    assert "a.md is deleted." in call(twin, headers["location"].removeprefix("/templates"))[1]


# --- in a browser


@pytest.mark.slow
async def test_the_preview_follows_what_is_typed(twin: Emulated) -> None:
    program = browser.program()
    assert program, "This test needs Chromium: install it (on Debian: apt-get install chromium)."
    path = put(twin, "news.md")
    mail = "document.querySelector('iframe:not(.coming)').contentDocument.body.innerText"
    told = "document.getElementById('problem').innerText"

    async def shows(expression: str, words: str) -> None:
        await page.until(f"{words!r} is shown", lambda: page.ask(f"{expression}.includes({json.dumps(words)})"))

    async with asyncio.timeout(120), browser.chromium(program) as page:
        await page.size(1280, 900)
        await page.go(f"{twin.url}/templates/news.md")
        await shows(mail, "News")
        await page.click("document.getElementById('text')")
        await page.write(NEWS.replace("# News", "# Newest"))
        await shows(mail, "Newest")
        await page.write(NEWS.replace("# News", "# Later\n\n{{ nmae }}"))
        await shows(told, "nmae")
        assert "Newest" in await page.ask(mail), "the last good one stays"
        await page.click("document.querySelector('#problem button')")
        assert await page.ask("field.value.slice(field.selectionStart, field.selectionEnd)") == "{{ nmae }}"
        await page.write(NEWS.replace("# News", "# Last"))
        await shows(mail, "Last")
        assert await page.ask("problem.hidden")
        await page.ask(
            "const key = new KeyboardEvent('keydown', { key: 's', ctrlKey: true, cancelable: true }); document.dispatchEvent(key)"
        )
        await page.until("it is saved", lambda: page.ask("location.search == '?saved'"))
        assert "# Last" in path.read_text()
        await page.ask("document.querySelector('[name=sample]').value = 'french'; looks.dispatchEvent(new Event('change'))")
        await shows("document.querySelector('[data-of=subject]').textContent", "Zoé")
        await page.ask("document.querySelector('[name=width][value=phone]').click()")
        assert await page.ask("document.querySelector('iframe').clientWidth") == 360
        await page.size(360, 740)
        assert await page.ask("document.documentElement.scrollWidth") == 360, "nothing sticks out on a phone"
