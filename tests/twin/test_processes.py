"""A step as a process: nothing but its folder and its lock, started again when it dies, never outliving its twin."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local import environments, processes
from local.environments import Broken
from local.processes import Processes

REPO = Path(__file__).parents[2]
STEP = """
import asyncio, os, sys
import functions_framework.aio
import shared

@functions_framework.aio.http
async def hello(request):
    if request.url.path == "/hang":
        await asyncio.sleep(60)
    found = {"worker": os.getpid(), "server": os.getppid(), "shared": shared.__file__, "path": sys.path, "environ": dict(os.environ)}
    return found
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a step that tells about itself, run by this Python."""
    root = tmp_path / "repository"
    (root / "functions" / "hello" / "__pycache__").mkdir(parents=True)
    (root / "functions" / "hello" / "main.py").write_text(STEP)
    (root / "functions" / "hello" / "requirements.txt").write_text("")
    (root / "shared").mkdir()
    (root / "shared" / "__init__.py").write_text("")
    monkeypatch.setattr(processes, "ROOT", root)
    monkeypatch.setattr(environments, "ENVIRONMENTS", root / "build" / "venvs")
    return root


@pytest.fixture
async def running(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Processes]:
    monkeypatch.setattr(processes, "environment", lambda step: Path(sys.prefix))
    state = tmp_path / "state"
    state.mkdir()
    found = Processes(state, ["hello"])
    yield found
    await found.stop()


async def asked(url: str) -> dict[str, Any]:
    """What the step tells; waits for it."""
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            try:
                async with session.get(f"{url}/") as answer:
                    return dict(await answer.json())
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def gone(*pids: int) -> bool:
    """Whether none of them runs, after waiting a little."""
    until = time.monotonic() + 8
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.network
async def test_a_step_sees_its_staged_folder_and_its_own_environment(running: Processes, tmp_path: Path) -> None:
    await running.start({"STACK": "google"})
    found = await asked(running.url("hello"))
    folder = tmp_path / "state" / "steps" / "hello"
    assert found["shared"] == str(folder / "shared" / "__init__.py")
    assert not [
        place for place in found["path"] if Path(place).is_relative_to(REPO) and not Path(place).is_relative_to(sys.prefix)
    ]
    assert found["environ"]["STACK"] == "google" and "HOME" not in found["environ"]
    assert not (folder / "__pycache__").exists() or list((folder / "__pycache__").iterdir())  # ours, not the repository's


@pytest.mark.network
async def test_a_step_that_dies_is_started_again(running: Processes, capsys: pytest.CaptureFixture[str]) -> None:
    await running.start({})
    first = await asked(running.url("hello"))
    os.kill(first["server"], signal.SIGKILL)
    assert await asyncio.to_thread(gone, first["server"], first["worker"])
    second = await asked(running.url("hello"))
    assert second["worker"] != first["worker"]
    assert f"hello ended (exit -9), starts again in 0.5 s; its log: {running.log('hello')}" in capsys.readouterr().out
    await running.stop()
    assert gone(second["server"], second["worker"])


@pytest.mark.network
async def test_a_step_that_does_not_start_names_its_log(running: Processes, repository: Path) -> None:
    (repository / "functions" / "hello" / "main.py").write_text("import nowhere")
    with pytest.raises(Broken, match=r"hello does not start: .*hello\.log says why"):
        await running.start({})
    assert "No module named 'nowhere'" in running.log("hello").read_text()


@pytest.mark.network
def test_no_step_outlives_a_twin_that_is_killed(repository: Path, tmp_path: Path) -> None:
    """By kill -9, which leaves no time to end anything, and while the step is at work."""
    program = f"""
import asyncio, sys, time
from pathlib import Path
from local import environments, processes
processes.ROOT = Path({str(repository)!r})
processes.environment = lambda step: Path(sys.prefix)
async def main():
    steps = processes.Processes(Path({str(tmp_path)!r}), ["hello"])
    await steps.start({{}})
    print(steps.url("hello"), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    twin = subprocess.Popen([sys.executable, "-c", program], cwd=REPO, stdout=subprocess.PIPE, text=True)
    assert twin.stdout is not None
    url = twin.stdout.readline().strip()
    found = asyncio.run(asked(url))
    with closing(http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]))) as busy:
        busy.request("GET", "/hang")
        time.sleep(0.2)
        twin.kill()
        twin.communicate()
        assert gone(found["server"], found["worker"])


def test_an_environment_is_made_once_for_each_lock(repository: Path) -> None:
    assert processes.missing(["hello"]) == ["hello"]
    assert list(processes.install(["hello"])) == ["hello"]
    made = processes.environment("hello")
    assert processes.missing(["hello"]) == [] and (made / "bin" / "python").exists()
    assert [path.name for path in made.parent.iterdir()] == [made.name]  # nothing half-made beside it
    (repository / "functions" / "hello" / "requirements.txt").write_text("# another lock\n")
    assert processes.missing(["hello"]) == ["hello"]


def test_a_lock_without_hashes_is_refused_in_one_sentence(repository: Path) -> None:
    lock = repository / "functions" / "hello" / "requirements.txt"
    lock.write_text("functions-framework==3.10.0\n")
    with pytest.raises(Broken, match=rf"The environment of hello could not be made from {lock}:\n.*hash"):
        list(processes.install(["hello"]))
    assert list(environments.ENVIRONMENTS.iterdir()) == []


def test_uv_is_told_the_index_that_pip_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/kept")
    told = ":env:.index-url='https://a.example/simple'\nglobal.cert='/c.pem'\nglobal.index-url='https://b.example/simple'\n"
    assert environments._indexes(told) == {"UV_DEFAULT_INDEX": "https://a.example/simple"}
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://c.example/simple")
    assert environments._indexes(told) == {}
