"""Pictures of mails are put where everybody finds them, under their hash, and nothing but pictures is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import urllib3
from starlette.applications import Starlette
from starlette.routing import Mount

from local.server import _Pictures
from shared.adapters import google_pictures
from shared.adapters.cloud_storage import IMMUTABLE, CloudStorage
from shared.adapters.embedded import FolderObjects
from shared.adapters.google_pictures import GooglePictures
from shared.errors import BadInput, BadTemplate, NotFound, Unavailable
from shared.mail.assets import MAX_PICTURE, MOST_PICTURES, Assets
from shared.ports import File

PNG = b"\x89PNG\r\n\x1a\n rest"
JPG, GIF, WEBP = b"\xff\xd8\xff\xe0 rest", b"GIF89a rest", b"RIFF1234WEBPVP8 "
BASE = "https://mail.example/assets"
GOOGLE = "https://lh7-rt.googleusercontent.com/docsz/x?key=y"


def url(data: bytes, suffix: str) -> str:
    return f"{BASE}/{sha256(data).hexdigest()}.{suffix}"


class Pictures:
    """A Drive with pictures, and Google's servers."""

    def __init__(self) -> None:
        self.files = {"assets/logo.png": PNG, "assets/icons/my dog.jpg": JPG, "assets/fake.png": b"<svg onload=x>"}
        self.asked: list[str] = []

    async def list(self, folder: str) -> list[File]:
        return [self.file(path, len(data)) for path, data in self.files.items()]

    def file(self, path: str, size: int = 0) -> File:
        folder, _, name = path.rpartition("/")
        return File(path, name, "image/png", "1", "2027-01-01T00:00:00Z", "", size, folder)

    async def download(self, file: str) -> bytes:
        self.asked.append(file)
        if file not in self.files:
            raise NotFound(file)
        return self.files[file]

    async def fetch(self, address: str) -> bytes:
        self.asked.append(address)
        return GIF


@pytest.fixture
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture
def assets(pictures: Pictures, tmp_path: Path) -> Assets:
    return Assets(pictures, FolderObjects(tmp_path), BASE, pictures.fetch)  # type: ignore[arg-type]


async def hosted(assets: Assets, text: str, *, trial: bool = False) -> str:
    files = await assets.drive.list("")
    return (await assets.mail(files, trial=trial).hosted(text.encode())).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("![Logo](assets/logo.png)", f"![Logo]({url(PNG, 'png')})"),
        ("[![Logo](assets/logo.png 'Us')](https://a.example)", f"[![Logo]({url(PNG, 'png')} 'Us')](https://a.example)"),
        ("![x](<assets/icons/my dog.jpg>)", f"![x](<{url(JPG, 'jpg')}>)"),
        ("![x](Assets/Icons/my%20dog.JPG)", f"![x]({url(JPG, 'jpg')})"),
        ("![x][l]\n\n[l]: ./assets/logo.png\n", f"![x][l]\n\n[l]: {url(PNG, 'png')}\n"),
        ('<img alt="" src="assets/logo.png">', f'<img alt="" src="{url(PNG, "png")}">'),
        ("<td background='assets/logo.png'>", f"<td background='{url(PNG, 'png')}'>"),
        ("a { background: url(assets/logo.png) }", f"a {{ background: url({url(PNG, 'png')}) }}"),
        (f'<img src="{GOOGLE}&amp;z=1">', f'<img src="{url(GIF, "gif")}">'),
        (f'<img src="data:image/x;base64,{b64encode(WEBP).decode()}">', f'<img src="{url(WEBP, "webp")}">'),
        ("[a](assets/logo.png) assets/logo.png", "[a](assets/logo.png) assets/logo.png"),  # no picture
        ('<img src="https://a.example/assets/logo.png">', '<img src="https://a.example/assets/logo.png">'),
        ("\udcff\udc00".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "\ufffd" * 6),
    ],
)
async def test_a_picture_gets_an_address_that_tells_its_bytes(assets: Assets, text: str, expected: str, tmp_path: Path) -> None:
    assert await hosted(assets, text) == expected
    for one in tmp_path.rglob("*.*"):
        assert one.stem == sha256(one.read_bytes()).hexdigest() and one.parent == tmp_path / "assets"
    assert bool([*tmp_path.rglob("*.*")]) == (BASE in expected)


async def test_a_picture_twice_is_fetched_once(assets: Assets, pictures: Pictures) -> None:
    await hosted(assets, f'![a](assets/logo.png) ![b](assets/logo.png) <img src="{GOOGLE}"> <img src="{GOOGLE}">')
    assert pictures.asked == ["assets/logo.png", GOOGLE]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("![a](assets/logo2.png)", "There is no picture “assets/logo2.png”: put it into the folder “assets”"),
        ("![a](assets/fake.png)", "“assets/fake.png” is of a kind that mail programs do not show: use PNG"),
        ('<img src="data:image/png;base64,%%%">', "A picture is of a kind"),
        (f'<img src="data:image/png,{PNG[1:4].decode()}">', "A picture is of a kind"),
        ("![a](assets/huge.png)", "“assets/huge.png” has 2.0 MB, and 2 MB is the most"),
        ("".join(f"![a](assets/{n}.png)" for n in range(6)), "come to more than 10 MB"),
    ],
)
async def test_what_is_no_picture_for_a_mail_is_a_sentence(assets: Assets, pictures: Pictures, text: str, sentence: str) -> None:
    pictures.files["assets/huge.png"] = PNG.ljust(MAX_PICTURE + 1)
    pictures.files |= {f"assets/{n}.png": PNG.ljust(MAX_PICTURE - n) for n in range(6)}
    with pytest.raises(BadTemplate, match=sentence):
        await hosted(assets, text)
    assert "assets/huge.png" not in pictures.asked, "too large to be worth a download"


async def test_a_trial_puts_and_fetches_nothing(assets: Assets, pictures: Pictures, tmp_path: Path) -> None:
    data = f"data:x;base64,{b64encode(PNG).decode()}"
    found = await hosted(assets, f'![a](assets/logo.png)<img src="{GOOGLE}"><img src="{data}">', trial=True)
    assert found == f'![a]({BASE}/trial.png)<img src="{GOOGLE}"><img src="{url(PNG, "png")}">'
    assert not pictures.asked and not [*tmp_path.iterdir()]
    with pytest.raises(BadTemplate, match="There is no picture"):
        await hosted(assets, "![a](assets/none.png)", trial=True)


async def test_without_a_way_to_google_its_pictures_stay(pictures: Pictures, tmp_path: Path) -> None:
    assets = Assets(pictures, FolderObjects(tmp_path), BASE)  # type: ignore[arg-type]
    assert await hosted(assets, f"![a]({GOOGLE})") == f"![a]({GOOGLE})"


class Answer:
    """What urllib3 gives, `pieces` of a body."""

    def __init__(self, status: int, pieces: list[bytes]) -> None:
        self.status, self.pieces = status, pieces
        self.closed = False

    def read1(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed = True


def google(answer: Any) -> tuple[GooglePictures, list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []

    def request(method: str, address: str, **given: Any) -> Any:
        asked.append({"address": address, **given})
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = GooglePictures(100)
    found._pool = SimpleNamespace(request=request)  # type: ignore[assignment]
    return found, asked


@pytest.mark.parametrize(
    "address",
    [
        "http://lh3.googleusercontent.com/x",
        "https://googleusercontent.com.evil.example/x",
        "https://evilgoogleusercontent.com/x",
        "https://a.googleusercontent.com:8443/x",
        "https://lh3.googleusercontent.com@evil.example/x",
        "https://user@lh3.googleusercontent.com/x",
        "https://lh3.googleusercontent.com./x",
        "https://lh3.googleusercontent.com:99999/x",
        "https://[lh3.googleusercontent.com/x",
        "https://lh3\u3002googleusercontent.com/x",
        "https://4.3.2.1.bc.googleusercontent.com/x",  # anybody's machine at Google
    ],
)
async def test_nobody_but_googles_servers_is_asked(address: str) -> None:
    found, asked = google(Answer(200, [PNG]))
    with pytest.raises(BadInput, match="cannot be fetched from Google"):
        await found.fetch(address)
    assert not asked


async def test_a_picture_of_googles_is_read_to_a_limit_and_nowhere_else() -> None:
    answer = Answer(200, [b"x" * 60] * 1000)
    found, asked = google(answer)
    assert len(await found.fetch(GOOGLE)) == 101 and answer.closed and len(answer.pieces) == 998
    assert asked == [{"address": GOOGLE, "redirect": False, "preload_content": False, "decode_content": False}]
    for status, error in ((302, BadInput), (404, BadInput), (503, Unavailable), (429, Unavailable)):
        with pytest.raises(error):
            await google(Answer(status, []))[0].fetch(GOOGLE)
    with pytest.raises(Unavailable, match="Google's pictures"):
        await google(urllib3.exceptions.ReadTimeoutError(None, "", ""))[0].fetch(GOOGLE)  # type: ignore[arg-type]


@pytest.mark.network
async def test_a_picture_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one, _ = server.accept()
            with one:
                one.recv(1000)
                one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n")
                for _ in range(60):
                    one.sendall(b"x")
                    time.sleep(0.05)

    monkeypatch.setattr(google_pictures, "LONGEST", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="too slow"):
            await asyncio.to_thread(GooglePictures(100)._fetch, f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert time.monotonic() - began < 2


async def test_a_mail_has_so_many_pictures(assets: Assets, pictures: Pictures, tmp_path: Path) -> None:
    text = "".join(f"![]({GOOGLE}{n})\n" for n in range(MOST_PICTURES + 1))
    with pytest.raises(BadTemplate, match="The mail has more than 100 pictures: leave some out"):
        await assets.mail([]).hosted(text.encode())
    assert len(pictures.asked) == MOST_PICTURES


async def test_an_accent_is_found_however_it_is_written(assets: Assets, pictures: Pictures) -> None:
    pictures.files["assets/cafe\u0301.png"] = PNG
    found = await assets.mail(await pictures.list("")).hosted("![](assets/caf\u00e9.png)".encode())
    assert found.decode() == f"![]({url(PNG, 'png')})"


@pytest.mark.parametrize(
    ("public", "kind", "cached"), [(True, "image/webp", IMMUTABLE), (False, "application/octet-stream", None)]
)
async def test_a_public_blob_says_what_it_is_and_that_it_stays(public: bool, kind: str, cached: str | None) -> None:
    made: list[Any] = []

    def blob(name: str) -> Any:
        def upload(data: bytes, content_type: str, **given: Any) -> None:
            made.append((name, data, content_type, one.cache_control))

        one = SimpleNamespace(cache_control=None, upload_from_string=upload)
        return one

    await CloudStorage(SimpleNamespace(blob=blob, name="b"), public=public).put("assets/x.webp", WEBP)
    assert made == [("assets/x.webp", WEBP, kind, cached)]


async def test_the_twin_shows_them_and_lets_nothing_run(tmp_path: Path) -> None:
    await FolderObjects(tmp_path).put("assets/x.png", PNG)
    app = Starlette(routes=[Mount("/assets", _Pictures(directory=tmp_path / "assets", check_dir=False))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://twin") as client:
        answer = await client.get("/assets/x.png")
        assert (await client.get("/assets/none.png")).status_code == 404
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", PNG)
    assert answer.headers["x-content-type-options"] == "nosniff" and "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == IMMUTABLE
