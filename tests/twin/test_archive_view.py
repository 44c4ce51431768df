"""A mail in the browser, in a real one: whatever a template got past the compiler runs nothing, sends nothing and goes nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from functions.archive.view import response
from local import browser
from local.pictures import MISSING
from shared.http import Response
from tests.emulated_google import left_out

# Each asks this server for /ran/…, where nothing stops it. The link of the last is followed by a person, which is allowed.
HOSTILE = b"""<!doctype html><html><head><title>Mail</title><meta http-equiv="refresh" content="1;url=/ran/refresh">
<base href="/ran/base/"><link rel="stylesheet" href="/ran/link"><style>@import "/ran/import"; p { background: url(/ran/style) }</style>
</head><body><p>News</p><script>fetch("/ran/fetch"); new Image().src = "/ran/image"; location = "/ran/location"</script>
<script src="/ran/script"></script><img src="/ran/picture" onerror="location = '/ran/onerror'" alt="">
<iframe src="/ran/frame"></iframe><object data="/ran/object"></object><video src="/ran/video" autoplay></video>
<svg onload="location = '/ran/svg'"></svg><form action="/ran/form"><button id="send">Send</button></form>
<a id="away" href="/away">Shop</a></body></html>"""


@contextmanager
def serving(answer: Response) -> Iterator[tuple[str, list[str]]]:
    """This answer at /mail; the address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            found = answer if self.path == "/mail" else Response(200, b"<title>Other</title>", "text/html")
            self.send_response(found.status)
            for name, value in {**found.headers, "content-type": found.content_type}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


async def visited(program: str, answer: Response, *, click: bool) -> list[str]:
    """What a page makes a browser ask for in some seconds, and then when its button is pressed and its link is followed."""
    with serving(answer) as (url, asked):
        async with asyncio.timeout(120), browser.chromium(program) as page:
            if not click:
                await page._call("Page.navigate", url=f"{url}/mail")
                await page.until("something ran", lambda: asyncio.sleep(0.2, any(path.startswith("/ran/") for path in asked)))
                await asyncio.sleep(2)
                return asked
            await page.go(f"{url}/mail")
            await asyncio.sleep(3)
            await page.click("document.getElementById('send')")
            await asyncio.sleep(0.5)
            await page.click("document.getElementById('away')")
            await page.until("the link was followed", lambda: asyncio.sleep(0.1, "/away" in asked))
        return asked


@pytest.mark.slow
async def test_nothing_in_a_mail_runs_and_its_links_work() -> None:
    program = browser.program()
    if program is None:
        left_out.add(f"Left out: a mail in the browser. {MISSING}")
        pytest.skip(MISSING)
    naive = await visited(program, Response(200, HOSTILE, "text/html"), click=False)
    assert len([path for path in naive if path.startswith("/ran/")]) > 3  # so that what follows means something
    asked = await visited(program, response(HOSTILE, "https://news.example", True), click=True)
    assert [path for path in asked if path.startswith("/ran/")] == []
    assert {"/mail", "/away"} <= set(asked)
