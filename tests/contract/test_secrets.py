"""The twin's secret files, and Secret Manager's official client against a double that reads the same files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions

from local.google.secret_manager import PROJECT_NUMBER, SecretManagerDouble, secret_manager
from shared.adapters.embedded import FileSecrets
from shared.adapters.secret_manager import RETRY, SecretManager, _Versions
from shared.errors import ConfigError, Unavailable
from shared.ports import HAND_OVER, MAX_VERSIONS, SECRET_AGE, Secret
from tests.contract.secrets_contract import NOW, SecretsContract, put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
async def double(folder: Path) -> AsyncIterator[SecretManagerDouble]:
    async with secret_manager(FileSecrets(folder)) as running:
        yield running


class TestFiles(SecretsContract):
    @pytest.fixture
    def secrets(self, folder: Path) -> FileSecrets:
        return FileSecrets(folder)

    async def test_a_new_version_is_seen_at_once(self, secrets: FileSecrets) -> None:
        for n in range(3):
            secrets.add("key", bytes([n]), n)
            assert (await secrets.get("key"))[0] == Secret(bytes([n]), n)

    async def test_a_secret_is_generated_once_and_private(self, secrets: FileSecrets, folder: Path) -> None:
        secrets.ensure("key")
        [first] = await secrets.get("key")
        secrets.ensure("key")
        assert await secrets.get("key") == [first] and len(first.value) == 32 and first.created == 0
        assert (folder / "key.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.network
class TestSecretManager(SecretsContract):
    @pytest.fixture
    def secrets(self, double: SecretManagerDouble) -> SecretManager:
        return SecretManager.connect("project", double.address)

    async def test_a_refresh_is_one_call_and_sees_the_rotation(self, double: SecretManagerDouble, folder: Path) -> None:
        now = [0.0]
        secrets = SecretManager(_Versions("project", double.address).read, lambda: now[0])
        put(folder, "key", {"value": b"a", "created": NOW}, {"value": b"b"})
        assert len(await secrets.get("key")) == 2 and double.calls == 3
        FileSecrets(folder).add("key", b"c", NOW + 1)
        now[0] = SECRET_AGE / 1000 - 0.1
        assert len(await secrets.get("key")) == 2 and double.calls == 3
        now[0] = SECRET_AGE / 1000
        assert [version.value for version in await secrets.get("key")] == [b"c", b"a", b"b"] and double.calls == 5
        now[0] *= 2
        await secrets.get("key")
        assert double.calls == 6, "nothing new: the versions are listed, nothing is read again"

    async def test_one_page_is_enough_for_many_versions(self, double: SecretManagerDouble, folder: Path) -> None:
        put(folder, "key", *({"value": bytes([n])} for n in range(3 * MAX_VERSIONS)))
        found = await SecretManager.connect("project", double.address).get("key")
        assert [version.value[0] for version in found] == [*range(MAX_VERSIONS)] and double.calls == 1 + MAX_VERSIONS

    async def test_what_may_not_be_read_is_named_and_what_may_pass_is_unavailable(
        self, double: SecretManagerDouble, folder: Path
    ) -> None:
        put(folder, "key", {"value": b"v"})
        double.refusal = grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(ConfigError, match=r"secret key: .* listed and accessed"):
            await SecretManager.connect("project", double.address).get("key")
        secrets = SecretManager.connect("project", double.address)
        double.refusal = grpc.StatusCode.ABORTED
        with pytest.raises(Unavailable):
            await secrets.get("key")
        double.refusal = None
        assert await secrets.get("key") == [Secret(b"v")], "the next caller tries again"

    async def test_a_short_outage_goes_unnoticed(self, double: SecretManagerDouble, folder: Path) -> None:
        put(folder, "key", {"value": b"v"})
        double.refusal = grpc.StatusCode.UNAVAILABLE
        asking = asyncio.create_task(SecretManager.connect("project", double.address).get("key"))
        while double.calls < 2:
            await asyncio.sleep(0.01)
        double.refusal = None
        assert await asking == [Secret(b"v")]

    async def test_the_double_refuses_as_google_does(self, double: SecretManagerDouble, folder: Path) -> None:
        put(folder, "key", {"value": b"3", "disabled": True}, {"value": b"2"}, {"value": b"1"})
        client = _Versions("project", double.address)._client
        parent = "projects/project/secrets/key"
        with pytest.raises(exceptions.FailedPrecondition, match=f"{PROJECT_NUMBER}/secrets/key/versions/3.* is in DISABLED"):
            await client.access_secret_version(name=f"{parent}/versions/latest")
        with pytest.raises(exceptions.NotFound):
            await client.access_secret_version(name=f"{parent}/versions/4")
        for wrong in ({"parent": "key"}, {"parent": parent, "filter": "nonsense"}, {"parent": parent, "page_token": "x"}):
            with pytest.raises(exceptions.InvalidArgument):
                await client.list_secret_versions(request=wrong)
        pages = [page async for page in (await client.list_secret_versions(request={"parent": parent, "page_size": 2})).pages]
        assert [[one.name.rpartition("/")[2] for one in page.versions] for page in pages] == [["3", "2"], ["1"]]
        assert pages[0].total_size == 3


def scripted(*answers: list[Secret] | Exception) -> tuple[SecretManager, list[float], list[str]]:
    """A SecretManager on a script (its last answer stays), its clock, and the names read so far."""
    now, read = [0.0], []

    async def answer(name: str) -> list[Secret]:
        read.append(name)
        await asyncio.sleep(0)
        found = answers[min(len(read), len(answers)) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    return SecretManager(answer, lambda: now[0]), now, read


OLD, NEW = [Secret(b"old")], [Secret(b"new", NOW), Secret(b"old")]
DOWN = Unavailable("Secret Manager")


@pytest.mark.parametrize("failure", [DOWN, ConfigError("it may not be read")])
async def test_a_failed_refresh_keeps_the_last_good_and_is_tried_again(failure: Exception) -> None:
    secrets, now, read = scripted(OLD, failure, NEW)
    assert await secrets.get("key") == OLD
    now[0] = SECRET_AGE / 1000
    assert await secrets.get("key") == OLD and await secrets.get("key") == OLD and len(read) == 2
    now[0] += RETRY
    assert await secrets.get("key") == NEW


@pytest.mark.parametrize("failure", [DOWN, ConfigError("it may not be read")])
async def test_what_is_kept_is_unavailable_from_the_hand_over_on(failure: Exception) -> None:
    secrets, now, read = scripted(OLD, failure, failure, failure, NEW)
    await secrets.get("key")
    now[0] = HAND_OVER / 1000 - 1
    assert await secrets.get("key") == OLD and len(read) == 2
    now[0] += 1
    with pytest.raises(Unavailable, match="secret key"):
        await secrets.get("key")
    assert len(read) == 2, "not asked for again so soon"
    now[0] += RETRY
    answers = await asyncio.gather(*(secrets.get("key") for _ in range(9)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 9 and len(read) == 3
    now[0] += 2 * RETRY
    with pytest.raises(Unavailable):
        await secrets.get("key")
    now[0] += RETRY
    assert await secrets.get("key") == NEW


async def test_a_secret_whose_versions_are_all_disabled_is_gone() -> None:
    secrets, now, _ = scripted(OLD, [])
    await secrets.get("key")
    now[0] = SECRET_AGE / 1000
    with pytest.raises(ConfigError, match="secret key: no enabled version"):
        await secrets.get("key")


async def test_a_missing_secret_is_not_asked_for_at_every_call() -> None:
    secrets, now, read = scripted([], OLD)
    for _ in range(3):
        with pytest.raises(ConfigError):
            await secrets.get("key")
    assert read == ["key"]
    now[0] = RETRY
    assert await secrets.get("key") == OLD


async def test_a_failure_before_anything_was_read_is_not_kept() -> None:
    secrets, _, read = scripted(DOWN, OLD)
    with pytest.raises(Unavailable):
        await secrets.get("key")
    assert await secrets.get("key") == OLD and len(read) == 2


@pytest.mark.parametrize(("age", "others"), [(SECRET_AGE, OLD), (HAND_OVER - 1, OLD), (HAND_OVER, NEW), (100 * HAND_OVER, NEW)])
async def test_concurrent_callers_share_a_fetch_and_wait_for_it_only_past_the_hand_over(age: int, others: list[Secret]) -> None:
    secrets, now, read = scripted(OLD, NEW)
    assert await asyncio.gather(*(secrets.get("key") for _ in range(9))) == [OLD] * 9 and read == ["key"]
    now[0] = age / 1000
    answers = await asyncio.gather(*(secrets.get("key") for _ in range(9)))
    assert answers == [NEW, *[others] * 8] and len(read) == 2


def test_without_credentials_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.devnull + "/none.json")
    with pytest.raises(ConfigError, match="credentials are missing"):
        SecretManager.connect("project")
