"""Every step answers as itself when all are mounted in one process."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from local import seed
from local.server import mounted
from shared.adapters.sqlite_store import SqliteStore
from shared.errors import ConfigError
from shared.model.paths import Paths
from shared.ports import Merge

from .asgi import App, call
from .imports import STEPS
from .serving import check, environment


@pytest.fixture
def fresh() -> Iterator[None]:
    """The entry points keep what they have built: give them back as they were."""
    names = [f"functions.{step}.{module}" for step in STEPS for module in ("main", "settings")]
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    yield
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


@pytest.fixture
async def state(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A twin's folder, which this process's environment leads the steps to."""
    for name, value in (await environment(tmp_path / "state")).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "state"


async def test_each_step_answers_as_itself(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def rest(scope: object, receive: object, send: object) -> None:
        raise AssertionError("not for a step")

    app: App = mounted(rest)

    async def ask(
        step: str, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        answer = await call(app, method, f"/{step}{path}", body, headers)
        return answer.status, answer.headers, answer.body

    for step in STEPS:
        await check(step, ask, state)
        said = [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()]
        assert set(said) <= {step}
        status = (await call(app, "GET", f"/{step}")).status  # without the slash
        shown = {"subscribe": 200, "unsubscribe": 200, "track": 404, "live": 404, "archive": 404, "webhooks": 404}
        assert status == shown.get(step, 400)
        capsys.readouterr()
    with pytest.raises(AssertionError, match="not for a step"):
        await call(app, "GET", "/other")
    store = SqliteStore.open(state / "store.db")
    assert await store.count(Paths("local").subscribers) == 1
    assert await store.count(Paths("local").deliveries("C-0001")) == 1
    store.close()


@pytest.mark.parametrize("step", ["subscribe", "sync_sheet"])
async def test_a_second_pepper_stops_who_makes_ids(state: Path, step: str) -> None:
    entry = importlib.import_module(f"functions.{step}.main")
    kept = seed.secrets(state)
    kept.add("pepper", b"another")
    with pytest.raises(ConfigError, match="the secret pepper must have exactly one enabled version: 2 are"):
        await entry.step()
    first = kept.versions("pepper")[1]
    (state / "secrets" / "pepper.json").write_text(json.dumps([{**first, "disabled": True}, first]))
    assert (await entry.step()).pepper.hex() == first["value"]


@pytest.mark.parametrize("step", ["launch", "sync_sheet"])
async def test_a_changed_tenant_counts_from_the_next_tick_on(state: Path, step: str) -> None:
    entry = importlib.import_module(f"functions.{step}.main")
    first = await entry.step()
    assert await entry.step() is first
    store = SqliteStore.open(state / "store.db")
    await store.commit([Merge(Paths("local").tenant, {"sheet": "another"})])
    store.close()
    second = await entry.step()
    assert second is not first and second is await entry.step()
