"""The Drive adapter and the official client against the twin's emulator over a plain folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httplib2
import pytest
from googleapiclient.errors import HttpError

from shared.adapters.drive import GoogleDrive
from shared.errors import BadInput
from tests.contract.drive_contract import DriveContract, Put
from tests.contract.emulated import Emulated

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
def files(twin: Emulated) -> Any:
    return twin.raw("drive", "v3", "/drive/v3/").files()


class TestDrive(DriveContract):
    pass


def place(twin: Emulated, name: str, data: bytes = b"x") -> Path:
    path = twin.google.drive.folder / name
    path.parent.mkdir(exist_ok=True)
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


async def test_drafts_hidden_files_folders_and_links_outside_are_not_listed(twin: Emulated, drive: GoogleDrive) -> None:
    for name in (
        ".hidden",
        ".a.md.swp",
        "a.md~",
        "#a.md#",
        ".#a.md",
        "~$doc.docx",
        "b.md.tmp",
        ".git/config",
        "sub/inner.md",
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
    with pytest.raises(BadInput, match="Only files with binary content"):
        await drive.download(found[0]["id"])


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
    for wrong in ("name contains 'x'", "'templates' in parents or trashed=false", "'unclosed in parents"):
        assert error_of(files.list(q=wrong))["errors"][0]["location"] == "q"
    assert error_of(files.list(pageSize=0))["code"] == 400


def test_nothing_outside_the_folder_can_be_reached(twin: Emulated) -> None:
    (twin.google.drive.folder.parent / "secret.md").write_text("secret")
    client = httplib2.Http(timeout=10, proxy_info=None)
    for path in ("..%2Fsecret.md", "../secret.md", "%2Fetc%2Fpasswd", "sub%2F..%2F..%2Fsecret.md"):
        for prefix in ("/drive/v3/files/", "/templates/"):
            response, content = client.request(f"{twin.url}{prefix}{path}?alt=media")
            assert response.status == 404 and b"secret\n" not in content
