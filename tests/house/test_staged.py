"""One staged folder, served alone by the framework in a process of its own, answers as that step: nothing beside it is importable."""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from .imports import ROOT, STEPS
from .serving import check, environment

pytestmark = pytest.mark.network
STARTING = 60  # seconds at most


def stage(step: str, build: Path) -> Path:
    """As `make stage` does."""
    folder, ignored = build / step, shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "functions" / step, folder, ignore=ignored)
    shutil.copytree(ROOT / "shared", folder / "shared", ignore=ignored)
    return folder


@contextmanager
def served(folder: Path, step: str, settings: Mapping[str, str]) -> Iterator[int]:
    """The port on which a staged folder is served."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "functions-framework"), "--target", step, "--source", "main.py"]
    environ = {"PATH": os.environ["PATH"], "FUNCTION_USE_ASGI": "1", "PYTHONDONTWRITEBYTECODE": "1", **settings}
    log = folder.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environ,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + STARTING
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ask(port: int, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("step", STEPS)
async def test_a_staged_step_served_alone_answers_as_itself(step: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = await environment(state)
    folder = stage(step, tmp_path / "build")
    with served(folder, step, settings) as port:

        async def ask(
            step: str, method: str, path: str, body: bytes, headers: Mapping[str, str]
        ) -> tuple[int, Mapping[str, str], bytes]:
            return await asyncio.to_thread(_ask, port, method, path, body, headers)

        await check(step, ask, state)
        assert folder.with_suffix(".log").read_text().count('"step": ') == folder.with_suffix(".log").read_text().count(
            f'"step": "{step}"'
        )


def test_make_stage_copies_the_same_files(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "functions", tmp_path / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "shared", tmp_path / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    subprocess.run(["make", "-s", "stage"], cwd=tmp_path, check=True, timeout=60)
    mine = stage("track", tmp_path / "mine")
    made = tmp_path / "build" / "track"
    assert {str(path.relative_to(made)) for path in made.rglob("*")} == {str(path.relative_to(mine)) for path in mine.rglob("*")}
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == STEPS
