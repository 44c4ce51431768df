"""The twin's folder of blobs, and Cloud Storage's official client against a double that speaks its protocol."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from google.api_core import exceptions

from local.google.cloud_storage import CloudStorageDouble, Stored, cloud_storage
from shared.adapters import cloud_storage as adapter
from shared.adapters.cloud_storage import CloudStorage
from shared.adapters.embedded import FolderObjects
from shared.errors import ConfigError, NotFound, PipelineError, Unavailable
from tests.contract.objects_contract import ObjectsContract

network = pytest.mark.network


@pytest.fixture
async def double() -> AsyncIterator[CloudStorageDouble]:
    async with cloud_storage("bucket") as running:
        yield running


class TestFolder(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path: Path) -> FolderObjects:
        return FolderObjects(tmp_path / "objects")

    async def test_no_name_leaves_the_folder(self, objects: FolderObjects, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        for name in ("../secret", "a/../../secret", "/etc/hostname", "", "."):
            with pytest.raises(NotFound):
                await objects.get(name)
            with pytest.raises(NotFound):
                await objects.put(name, b"x")


@network
class TestCloudStorage(ObjectsContract):
    @pytest.fixture
    def objects(self, double: CloudStorageDouble) -> CloudStorage:
        return CloudStorage.connect("project", "bucket", double.address)

    async def test_what_is_there_is_never_replaced(self, objects: CloudStorage, double: CloudStorageDouble) -> None:
        for _ in range(2):
            await objects.put("mails/x", b"once")
        assert double.objects["mails/x"].generation == 1 and double.calls == 2

    async def test_an_account_that_may_not_replace_what_is_there_need_not(
        self, objects: CloudStorage, double: CloudStorageDouble
    ) -> None:
        await objects.put("mails/x", b"once")
        double.failures.append(403)
        await objects.put("mails/x", b"once")
        double.failures.append(403)
        with pytest.raises(ConfigError):
            await objects.put("mails/y", b"data")
        assert double.objects.keys() == {"mails/x"}

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_a_short_outage_goes_unnoticed(self, objects: CloudStorage, double: CloudStorageDouble, status: int) -> None:
        double.failures.append(status)
        await objects.put("mails/x", b"data")
        double.failures.append(status)
        assert await objects.get("mails/x") == b"data" and double.calls == 4

    async def test_a_long_one_is_unavailable(self, objects: CloudStorage, double: CloudStorageDouble, brief: None) -> None:
        for call in (objects.put("mails/x", b"data"), objects.get("mails/x"), objects.list("mails/"), objects.delete("mails/x")):
            double.failures.extend([503] * 50)
            with pytest.raises(Unavailable, match="Cloud Storage"):
                await call
            double.failures.clear()

    async def test_a_service_that_is_not_there_is_unavailable(self, brief: None) -> None:
        with pytest.raises(Unavailable):
            await CloudStorage.connect("project", "bucket", "http://127.0.0.1:1").get("mails/x")

    async def test_a_wrong_bucket_or_account_is_a_setting(self, objects: CloudStorage, double: CloudStorageDouble) -> None:
        with pytest.raises(ConfigError, match="BUCKET: there is no bucket other"):
            await CloudStorage.connect("project", "other", double.address).put("mails/x", b"data")
        with pytest.raises(ConfigError, match="BUCKET: there is no bucket other"):
            await CloudStorage.connect("project", "other", double.address).list("mails/")
        double.failures.append(403)
        with pytest.raises(ConfigError, match="BUCKET: this account"):
            await objects.delete("mails/x")
        double.failures.extend([403, 403, 403])  # a refused put asks whether the name is taken
        with pytest.raises(ConfigError, match="BUCKET: this account"):
            await objects.put("mails/x", b"data")
        with pytest.raises(ConfigError, match="BUCKET: this account"):
            await objects.get("mails/x")

    async def test_a_damaged_download_is_not_believed(
        self, objects: CloudStorage, double: CloudStorageDouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await objects.put("mails/x", b"data")
        honest = double.objects["mails/x"].hashes
        double.objects["mails/x"] = Stored("mails/x", b"dat4", "application/octet-stream", 1)
        monkeypatch.setattr(Stored, "hashes", honest)
        with pytest.raises(Unavailable, match="DataCorruption"):
            await objects.get("mails/x")

    async def test_a_damaged_upload_is_refused(self, double: CloudStorageDouble) -> None:
        blob = CloudStorage.connect("project", "bucket", double.address)._bucket.blob("mails/x")
        blob.crc32c = "AAAAAA=="
        with pytest.raises(exceptions.BadRequest, match="doesn't match calculated"):
            await asyncio.to_thread(lambda: blob.upload_from_string(b"data", checksum=None))
        assert not double.objects


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second instead of the deadline."""
    monkeypatch.setattr(adapter, "_RETRY", adapter._RETRY.with_timeout(0.5))


@network
async def test_the_double_speaks_the_json_api(double: CloudStorageDouble) -> None:
    bucket = CloudStorage.connect("project", "bucket", double.address)._bucket

    def work() -> None:
        blob = bucket.blob("a/b.txt")
        blob.upload_from_string("one", content_type="text/plain")
        found = bucket.get_blob("a/b.txt")
        md5 = base64.b64encode(hashlib.md5(b"one", usedforsecurity=False).digest()).decode()
        assert (found.size, found.content_type, found.md5_hash) == (3, "text/plain", md5)
        with pytest.raises(exceptions.PreconditionFailed):
            blob.upload_from_string("two", if_generation_match=found.generation + 1)
        blob.upload_from_string("two", if_generation_match=found.generation)
        assert blob.download_as_bytes() == b"two" and bucket.get_blob("a/b.txt").generation > found.generation
        with pytest.raises(exceptions.PreconditionFailed):
            blob.delete(if_generation_match=found.generation)
        blob.delete()
        assert bucket.get_blob("a/b.txt") is None
        with pytest.raises(exceptions.NotFound):
            blob.delete()

    await asyncio.to_thread(work)
    async with aiohttp.ClientSession(f"http://{double.address}") as client:
        upload = "/upload/storage/v1/b/bucket/o"
        media = {"uploadType": "media", "name": "m"}
        async with client.post(upload, params=media, data=b"x", headers={"x-goog-hash": "md5=AAAA"}) as answer:
            assert answer.status == 400
        async with client.post(upload, params=media, data=b"x") as answer:
            assert answer.status == 200 and (await answer.json())["size"] == "1"
        for params in ({"uploadType": "resumable"}, {"uploadType": "multipart"}, {"uploadType": "media"}):
            async with client.post(upload, params=params, data=b"x") as answer:
                assert answer.status == 400
        async with client.get("/storage/v1/b/bucket/o/none") as answer:
            error = json.loads(await answer.text())["error"]
            assert (error["code"], error["message"]) == (404, "No such object: bucket/none")


def test_settings_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="BUCKET"):
        CloudStorage.connect("project", "")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.devnull + "/none.json")
    with pytest.raises(ConfigError, match="credentials are missing") as raised:
        CloudStorage.connect("project", "bucket")
    assert isinstance(raised.value, PipelineError)
