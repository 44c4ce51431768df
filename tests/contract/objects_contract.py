"""What every implementation of the Objects port does. A subclass gives a fixture `objects`, empty for each test."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from shared.errors import NotFound
from shared.ports import Objects


def blob(seed: int, size: int) -> tuple[str, bytes]:
    """A blob and its name."""
    data = random.Random(seed).randbytes(size)
    return f"mails/{hashlib.sha256(data).hexdigest()}", data


class ObjectsContract:
    @pytest.mark.parametrize("data", [b"", b"\n", b"\r\n--x\r\n\r\n--", b"\0\xff" * 9, blob(1, 300_000)[1]], ids=len)
    async def test_content_comes_back_byte_for_byte(self, objects: Objects, data: bytes) -> None:
        await objects.put("mails/x", data)
        assert await objects.get("mails/x") == data

    async def test_a_repeated_put_is_a_success(self, objects: Objects) -> None:
        name, data = blob(2, 1000)
        for _ in range(3):
            await objects.put(name, data)
        assert await objects.get(name) == data

    async def test_many_puts_of_one_blob_at_once(self, objects: Objects) -> None:
        name, data = blob(3, 50_000)
        await asyncio.gather(*(objects.put(name, data) for _ in range(12)))
        assert await objects.get(name) == data

    async def test_many_blobs_at_once_stay_apart(self, objects: Objects) -> None:
        blobs = dict(blob(n, 20_000 + n) for n in range(24))
        await asyncio.gather(*(objects.put(name, data) for name, data in blobs.items()))
        assert await asyncio.gather(*map(objects.get, blobs)) == [*blobs.values()]

    @pytest.mark.parametrize("name", ["plain", "a/b/c.md", "grüße & 'more' #1?.md", "50% off+now", "with space/=x", "~.-_"])
    async def test_names_mean_themselves(self, objects: Objects, name: str) -> None:
        await objects.put(name, name.encode())
        assert await objects.get(name) == name.encode()

    async def test_what_is_not_there(self, objects: Objects) -> None:
        await objects.put("mails/a/b", b"x")
        for name in ("nothing", "mails/nothing", "mails/a", "mails", "mails/a/b/c"):
            with pytest.raises(NotFound):
                await objects.get(name)

    async def test_what_is_deleted_is_gone_and_the_rest_stays(self, objects: Objects) -> None:
        for name in ("exports/t/a.csv", "exports/t/b.csv", "exports/t/b.csv.old"):
            await objects.put(name, name.encode())
        for _ in range(2):  # again is harmless
            await objects.delete("exports/t/b.csv")
        for name in ("nothing", "exports/t"):
            await objects.delete(name)
        with pytest.raises(NotFound):
            await objects.get("exports/t/b.csv")
        assert await objects.list("exports/t/") == ["exports/t/a.csv", "exports/t/b.csv.old"]
        await objects.put("exports/t/b.csv", b"anew")
        assert await objects.get("exports/t/b.csv") == b"anew"

    async def test_a_list_has_every_name_below_a_prefix_and_no_other(self, objects: Objects) -> None:
        names = [f"exports/t/deep/{n:03}.csv" for n in range(120)] + ["exports/t/grüße & 'more' #1?.csv"]
        others = ["exports/tu/x.csv", "exports/x.csv", "mails/exports/t/x.csv"]
        await asyncio.gather(*(objects.put(name, b"x") for name in (*names, *others)))
        assert await objects.list("exports/t/") == sorted(names)
        assert await objects.list("nothing/") == []
