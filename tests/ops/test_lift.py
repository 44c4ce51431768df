"""An operator takes a suppression back: said in a sentence, kept for good, never of a complaint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.lift import lift
from shared import config
from shared.adapters.embedded import FileSecrets
from shared.errors import BadInput, Conflict, Unavailable
from shared.model.address import sid_of
from shared.model.paths import Paths
from shared.model.subscriber import Reason, suppress
from shared.ports import Create, Merge, Write
from shared.stack.secrets import only_pepper, open_secrets
from shared.stack.store import open_store
from tests.steps.conftest import world
from tests.steps.fakes import NOW
from tests.steps.world import World

__all__ = ["world"]
ADA = "ada@example.com"


async def suppressed(world: World, *reasons: Reason) -> str:
    """The id of a reader who is suppressed for these."""
    await world.add(ADA, tags=["tea"])
    for reason in reasons:
        await world.store.commit(suppress(world.paths, world.sid(ADA), reason, "mail of C-0009", NOW))
    return world.sid(ADA)


async def lifted(world: World, reason: str, why: str = "Asked by phone.") -> str:
    return await lift(world.store, world.paths, world.sid(ADA), reason, "Ola", why, NOW + 5)


@pytest.mark.parametrize(
    ("reasons", "reason", "words"),
    [
        (["hard_bounce"], "hard_bounce", "The reader is mailed again."),
        (["unsubscribed"], "unsubscribed", "The reader is mailed again."),
        (["complaint", "unsubscribed"], "unsubscribed", "The reader stays suppressed: complaint."),
    ],
)
async def test_a_lift_is_told_and_kept(world: World, reasons: list[Reason], reason: str, words: str) -> None:
    sid = await suppressed(world, *reasons)
    assert await lifted(world, reason) == f"{reason} of {sid} is lifted. {words}"
    left = [one for one in reasons if one != reason]
    reader, kept, trail = await world.store.get_many(
        [world.paths.subscriber(sid), world.paths.suppression(sid), world.paths.lift(sid, f"{NOW + 5}-{reason}")]
    )
    assert reader and kept and trail
    assert reader.data["suppressed"] == kept.data["reasons"] == left
    assert reader.data["segments"] == ([] if left else ["everyone", "tea"])
    assert (trail.data["by"], trail.data["why"]) == ("Ola", "Asked by phone.")


async def test_who_has_not_confirmed_is_not_mailed_by_a_lift(world: World) -> None:
    await world.add(ADA, status="pending")
    await world.store.commit(suppress(world.paths, world.sid(ADA), "hard_bounce", "mail of C-0009", NOW))
    assert (await lifted(world, "hard_bounce")).endswith("The reader is not mailed all the same: pending.")


@pytest.mark.parametrize(
    ("reason", "why", "sentence"),
    [
        ("complaint", "They like us again.", "A complaint is never lifted"),
        ("soft_bounces", "x", "not suppressed for that reason"),
        ("hard_bounce", " ", "Say who lifts this and why."),
    ],
)
async def test_a_lift_that_is_refused_changes_nothing(world: World, reason: str, why: str, sentence: str) -> None:
    sid = await suppressed(world, "complaint", "hard_bounce")
    before = await world.store.get(world.paths.subscriber(sid))
    with pytest.raises(BadInput, match=sentence):
        await lifted(world, reason, why)
    assert await world.store.get(world.paths.subscriber(sid)) == before


async def test_nobody_is_lifted_whom_nobody_knows(world: World) -> None:
    with pytest.raises(BadInput, match="There is no such reader"):
        await lifted(world, "hard_bounce")


class _Meddled:
    """A store in which somebody changes the reader before each of the first `times` commits; `lost`: their replies are lost instead."""

    def __init__(self, world: World, times: int, *, lost: bool = False) -> None:
        self._world, self._times, self._lost = world, times, lost
        self.get = world.store.get

    async def commit(self, writes: Sequence[Write]) -> None:
        path, self._times = self._world.paths.subscriber(self._world.sid(ADA)), self._times - 1
        if self._times >= 0 and not self._lost:
            await self._world.store.commit([Merge(path, {"meddled": self._times})])
        await self._world.store.commit(writes)
        if self._times >= 0 and self._lost:
            raise Conflict(path, "version")


@pytest.mark.parametrize(("times", "lost"), [(3, False), (1, True)])
async def test_others_write_at_the_same_time_and_replies_get_lost(world: World, times: int, lost: bool) -> None:
    sid = await suppressed(world, "hard_bounce")
    store = _Meddled(world, times, lost=lost)
    told = await lift(store, world.paths, sid, "hard_bounce", "Ola", "Asked by phone.", NOW)  # type: ignore[arg-type]
    assert told.endswith("The reader is mailed again.")


async def test_a_reader_who_changes_all_the_time_is_for_later(world: World) -> None:
    sid = await suppressed(world, "hard_bounce")
    with pytest.raises(Unavailable):
        await lift(_Meddled(world, 99), world.paths, sid, "hard_bounce", "Ola", "x", NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("named", ["by address", "by id"])
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    for name, value in {"STACK": "embedded", "STATE_DIR": str(tmp_path), "TENANT": "local", "PUBLIC_URL": "http://x"}.items():
        monkeypatch.setenv(name, value)
    given, paths = config.load(config.Base), Paths("local")
    (tmp_path / "secrets").mkdir()
    FileSecrets(tmp_path / "secrets").ensure("pepper")

    async def seeded() -> str:
        sid = sid_of(await only_pepper(open_secrets(given)), "local", ADA)
        store = open_store(given)
        await store.commit([Create(paths.subscriber(sid), {"address": ADA, "status": "confirmed"})])
        await store.commit(suppress(paths, sid, "hard_bounce", "mail of C-0009", NOW))
        return sid

    sid = asyncio.run(seeded())
    reader = ADA if named == "by address" else sid
    run = ["lift", reader, "--reason", "hard_bounce", "--by", "Ola", "--why", "Asked by phone."]
    done, again = CliRunner().invoke(app, run), CliRunner().invoke(app, run)
    assert (done.exit_code, done.stdout) == (0, f"hard_bounce of {sid} is lifted. The reader is mailed again.\n")
    assert (again.exit_code, again.stderr) == (1, "This reader is not suppressed for that reason.\n")
