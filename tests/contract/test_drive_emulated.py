"""The Drive adapter and the official client against the twin's emulator over a plain folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httplib2
import pytest
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaInMemoryUpload

from shared.adapters.drive import GoogleDrive
from shared.errors import BadInput, NotFound
from tests.contract.drive_contract import DriveContract, Put
from tests.contract.emulated import Emulated

FOLDER, SHEET = (f"application/vnd.google-apps.{kind}" for kind in ("folder", "spreadsheet"))

pytestmark = pytest.mark.network


@pytest.fixture
def drive(twin: Emulated) -> GoogleDrive:
    return GoogleDrive(twin.url)


@pytest.fixture
def folder() -> str:
    return "templates"


@pytest.fixture
def put(twin: Emulated) -> Put:
    return lambda name, data: place(twin, name, data)


@pytest.fixture
def put_doc(twin: Emulated) -> Put:
    return lambda name, data: place(twin, f"{name}.gdoc.md", data)


@pytest.fixture
def files(twin: Emulated) -> Any:
    return twin.raw("drive", "v3", "/drive/v3/").files()


class TestDrive(DriveContract):
    pass


def place(twin: Emulated, name: str, data: bytes = b"x") -> Path:
    path = twin.google.drive.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def error_of(request: Any) -> dict[str, Any]:
    with pytest.raises(HttpError) as caught:
        request.execute()
    found: dict[str, Any] = json.loads(caught.value.content)["error"]
    assert found["code"] == caught.value.status_code
    return found


async def test_a_change_within_one_tick_of_the_clock_is_a_new_version(twin: Emulated, drive: GoogleDrive) -> None:
    path = place(twin, "a.md", b"one")
    stamp = path.stat().st_mtime_ns
    (before,) = await drive.list("templates")
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp, stamp))
    (after,) = await drive.list("templates")
    assert int(after.version) > int(before.version)
    os.utime(path, ns=(stamp - 10**12, stamp - 10**12))
    assert int((await drive.list("templates"))[0].version) > int(after.version), "an older file put back is a change too"


async def test_drafts_hidden_files_and_links_outside_are_not_listed(twin: Emulated, drive: GoogleDrive) -> None:
    for name in (
        ".hidden",
        ".a.md.swp",
        "a.md~",
        "#a.md#",
        ".#a.md",
        "~$doc.docx",
        "b.md.tmp",
        ".git/config",
        "sub/.inner.md",
        "a.md",
    ):
        place(twin, name)
    (twin.google.drive.folder / "out.md").symlink_to("/etc/hostname")
    (twin.google.drive.folder / "broken.md").symlink_to("nowhere")
    assert [file.name for file in await drive.list("templates")] == ["a.md"]


async def test_a_folder_inside_has_its_own_files(twin: Emulated, drive: GoogleDrive, files: Any) -> None:
    place(twin, "sub/inner.md")
    found = files.list(q="mimeType = 'application/vnd.google-apps.folder'", fields="files(id,name,parents)").execute()["files"]
    assert [(one["name"], one["parents"]) for one in found] == [("sub", ["templates"])]
    assert [file.name for file in await drive.list(found[0]["id"])] == ["inner.md"]
    with pytest.raises(BadInput, match="Export only supports Docs"):
        await drive.download(found[0]["id"])


@pytest.mark.parametrize(
    ("names", "calls"), [(["a.md"], 1), (["a.md", "b/a.md", "c/a.md"], 2), ([f"{n}/a.md" for n in range(41)], 3)]
)
async def test_a_level_is_one_call(twin: Emulated, drive: GoogleDrive, names: list[str], calls: int) -> None:
    made: list[str] = []
    ask = drive._page

    async def counted(query: str, token: str | None) -> Any:
        made.append(query)
        return await ask(query, token)

    drive._page = counted  # type: ignore[method-assign]
    for name in names:
        place(twin, name)
    assert len(await drive.list("templates")) == len(names)
    assert len(made) == calls and max(len(quote_plus(query)) for query in made) < 1700


def test_pages_order_and_names(twin: Emulated, files: Any) -> None:
    for name in ("b.md", "a.md", "c'd.md"):
        place(twin, name)
    query = "'templates' in parents and trashed=false"
    request = files.list(q=query, pageSize=2, orderBy="name desc", fields="nextPageToken, files(name)")
    names = []
    while request is not None:
        found = request.execute()
        names.append([one["name"] for one in found["files"]])
        request = files.list_next(request, found)
    assert names == [["c'd.md", "b.md"], ["a.md"]]
    found = files.list(q=r"name = 'c\'d.md' and trashed = false").execute()["files"]
    assert [one["name"] for one in found] == ["c'd.md"]
    assert set(found[0]) == {"kind", "id", "name", "mimeType"}, "without `fields` Drive says little"
    assert "nextPageToken" not in files.list(q=query, pageSize=1, fields="files(id)").execute()
    assert files.list(q="trashed = true").execute()["files"] == []


def test_metadata_and_media(twin: Emulated, files: Any) -> None:
    place(twin, "a.md", b"# Hi")
    file = files.list().execute()["files"][0]["id"]
    found = files.get(fileId=file, fields="name,size,version,parents,modifiedTime").execute()
    assert (found["name"], found["size"], found["parents"]) == ("a.md", "4", ["templates"])
    assert found["version"].isdigit() and set(found) == {"name", "size", "version", "parents", "modifiedTime"}
    assert files.get_media(fileId=file).execute() == b"# Hi"
    assert files.get(fileId="templates").execute()["mimeType"] == "application/vnd.google-apps.folder"


def test_errors_have_googles_shape(twin: Emulated, files: Any) -> None:
    place(twin, "a.md")
    file = files.list().execute()["files"][0]["id"]
    error = error_of(files.export(fileId=file, mimeType="text/html"))
    assert (error["code"], error["errors"][0]["reason"]) == (403, "fileNotExportable")
    error = error_of(files.get(fileId="nope"))
    assert error["message"] == "File not found: nope."
    assert error["errors"][0] == {
        "message": "File not found: nope.",
        "domain": "global",
        "reason": "notFound",
        "location": "fileId",
        "locationType": "parameter",
    }
    for wrong in (
        "name contains 'x'",
        "'templates' in parents or trashed=false",
        "('templates' in parents or trashed=false)",
        "'unclosed in parents",
    ):
        assert error_of(files.list(q=wrong))["errors"][0]["location"] == "q"
    assert error_of(files.list(pageSize=0))["code"] == 400


def test_nothing_outside_the_folder_can_be_reached(twin: Emulated) -> None:
    (twin.google.drive.folder.parent / "secret.md").write_text("secret")
    client = httplib2.Http(timeout=10, proxy_info=None)
    for path in ("..%2Fsecret.md", "../secret.md", "%2Fetc%2Fpasswd", "sub%2F..%2F..%2Fsecret.md"):
        for prefix in ("/drive/v3/files/", "/templates/"):
            response, content = client.request(f"{twin.url}{prefix}{path}?alt=media")
            assert response.status == 404 and b"secret\n" not in content


def the_file(files: Any, fields: str = "*") -> Any:
    (found,) = files.list(fields=f"files({fields})").execute()["files"]
    return found


def test_a_google_doc_has_no_bytes_of_its_own(twin: Emulated, files: Any) -> None:
    place(twin, "welcome.gdoc.md", b"# Hello\n\n*you*\n")
    doc = the_file(files)
    assert (doc["name"], doc["mimeType"]) == ("welcome", "application/vnd.google-apps.document")
    assert not {"md5Checksum", "headRevisionId"} & set(doc) and doc["size"] == "1024"
    error = error_of(files.get_media(fileId=doc["id"]))
    assert (error["code"], error["errors"][0]["reason"]) == (403, "fileNotDownloadable")
    exported = files.export(fileId=doc["id"], mimeType="text/html").execute()
    assert exported.startswith(b'<html><head><style type="text/css">') and b"<h1>Hello</h1>" in exported
    assert files.export(fileId=doc["id"], mimeType="text/plain").execute().decode("utf-8-sig") == "# Hello\r\n\r\n*you*\r\n"
    error = error_of(files.export(fileId=doc["id"], mimeType="image/png"))
    assert (error["code"], error["message"]) == (400, "The requested conversion is not supported.")


async def test_a_google_doc_too_large_to_export_is_a_sentence(twin: Emulated, files: Any, drive: GoogleDrive) -> None:
    path = place(twin, "big.gdoc.md", b"x" * (10 << 20))
    with pytest.raises(BadInput, match=r"This Google Doc is too large: .* 10 MB"):
        await drive.download(the_file(files)["id"])
    error = error_of(files.export(fileId=the_file(files)["id"], mimeType="text/html"))
    assert (error["code"], error["errors"][0]["reason"]) == (403, "exportSizeLimitExceeded")
    path.write_bytes(b"x" * (9 << 20))
    assert len(await drive.download(the_file(files)["id"])) > 9 << 20


def test_a_doc_gives_looks_by_class_quotes_curled_and_links_through_google(twin: Emulated, files: Any) -> None:
    """If this were not so, what takes a Doc apart would be tested by nothing here."""
    place(twin, "a.gdoc.md", b'---\nsubject: x\n---\n{{ name or "you" }}\n*see* [us](https://a.example/?a=b)\n\n***\n')
    exported = files.export(fileId=the_file(files)["id"], mimeType="text/html").execute().decode()
    lines = re.findall('<p class="c1"><span class="c4">(.*?)</span></p>', exported)
    link = '<a href="https://www.google.com/url?q=https://a.example/%3Fa%3Db&amp;sa=D&amp;source=editors">us</a>'
    assert lines == ["---", "subject: x", "---", "{{ name or “you” }}", f'<span class="c2">see</span> {link}', "***"]


def test_a_binary_file_names_its_revision(twin: Emulated, files: Any) -> None:
    path = place(twin, "a.md", b"one")
    before = the_file(files, "headRevisionId,md5Checksum")
    assert the_file(files, "headRevisionId,md5Checksum") == before and before["headRevisionId"]
    path.write_bytes(b"two")
    after = the_file(files, "headRevisionId,md5Checksum")
    assert all(after[field] != before[field] for field in before)


def test_a_service_account_can_change_files_and_make_none(twin: Emulated) -> None:
    path = place(twin, "a.md", b"one")
    place(twin, "b.gdoc.md", b"doc")
    files = twin.uploading()
    ids = {one["name"]: one["id"] for one in files.list().execute()["files"]}
    media = MediaInMemoryUpload(b"two\r\n", "text/markdown")
    for request in (files.create(body={"name": "c.md", "parents": ["templates"]}), files.create(media_body=media)):
        error = error_of(request)
        assert (error["code"], error["errors"][0]["reason"]) == (403, "storageQuotaExceeded")
        assert error["errors"][0]["domain"] == "usageLimits"
    assert files.update(fileId=ids["a.md"], media_body=media, fields="size").execute() == {"size": "5"}
    assert path.read_bytes() == b"two\r\n"
    files.update(fileId=ids["a.md"], body={}, media_body=MediaInMemoryUpload(b"\0three\r", "text/markdown")).execute()
    assert path.read_bytes() == b"\0three\r"
    assert error_of(files.update(fileId=ids["b"], media_body=media))["code"] == 400
    assert sorted(file.name for file in twin.google.drive.folder.iterdir()) == ["a.md", "b.gdoc.md"]


@pytest.fixture
def mine(twin: Emulated) -> Iterator[Emulated]:
    """The folder as a person's "My Drive"."""
    twin.google.drive.account = "mira@brand.example"
    yield twin
    twin.google.drive.account = ""


def test_a_person_makes_folders_spreadsheets_and_files(mine: Emulated) -> None:
    files = mine.uploading()
    mark = {"key": "main"}
    folder = files.create(body={"name": "Ours", "mimeType": FOLDER, "properties": mark}, fields="id,parents").execute()
    assert folder["parents"] == ["templates"]
    media = MediaInMemoryUpload(b"# Hi\r\n", mimetype="text/markdown")
    made = files.create(body={"name": "a.md", "parents": [folder["id"]]}, media_body=media, fields="name,size,parents").execute()
    assert made == {"name": "a.md", "size": "6", "parents": [folder["id"]]}
    assert (mine.google.drive.folder / "Ours" / "a.md").read_bytes() == b"# Hi\r\n"
    book = files.create(body={"name": "Book", "mimeType": SHEET, "properties": mark}).execute()
    assert (set(book), book["mimeType"]) == ({"kind", "id", "name", "mimeType"}, SHEET)
    assert [tab.title for tab in mine.google.sheets.tabs(book["id"])] == ["Sheet1"]
    query = "properties has { key='key' and value='main' } and trashed = false"
    assert {one["id"] for one in files.list(q=query).execute()["files"]} == {folder["id"], book["id"]}
    assert files.list(q=f"{query} and mimeType = '{SHEET}'").execute()["files"] == [book]
    assert files.list(q="properties has { key='key' and value='ma' }").execute()["files"] == []
    assert error_of(files.create(body={"name": "x", "parents": ["nope"]}))["message"] == "File not found: nope."
    for taken in ("Ours", "../x", ".hidden"):
        assert error_of(files.create(body={"name": taken, "mimeType": FOLDER}))["code"] == 400


def test_sharing(mine: Emulated) -> None:
    drive = mine.raw("drive", "v3", "/drive/v3/")
    permissions, body = drive.permissions(), {"type": "user", "role": "reader", "emailAddress": "step@x.example"}
    made = permissions.create(fileId="book", body=body, sendNotificationEmail=False).execute()
    assert (set(made), made["role"]) == ({"kind", "id", "type", "role"}, "reader")
    permissions.create(fileId="book", body=body | {"role": "writer"}).execute()
    found = permissions.list(fileId="book", fields="permissions(emailAddress,role)").execute()["permissions"]
    assert found == [
        {"emailAddress": "step@x.example", "role": "writer"},
        {"emailAddress": "mira@brand.example", "role": "owner"},
    ]
    assert permissions.list(fileId="book").execute()["permissions"][0] == made | {"role": "writer"}
    assert error_of(permissions.list(fileId="nope"))["code"] == 404
    assert error_of(permissions.create(fileId="book", body=body | {"role": "king"}))["code"] == 400
    assert drive.about().get(fields="user(emailAddress)").execute() == {"user": {"emailAddress": "mira@brand.example"}}
    assert error_of(drive.about().get())["errors"][0]["location"] == "fields"


async def test_who_changed_a_spreadsheet_last_and_its_version(twin: Emulated, drive: GoogleDrive) -> None:
    twin.google.sheets.edited("book", "ada@brand.example")
    editor, version = await drive.edited("book")
    assert editor == "ada@brand.example" and int(version) > 0
    twin.google.sheets.edited("book", "bob@brand.example")
    assert (await drive.edited("book"))[0] == "bob@brand.example" and int((await drive.edited("book"))[1]) > int(version)
    with pytest.raises(NotFound):
        await drive.edited("nowhere")
