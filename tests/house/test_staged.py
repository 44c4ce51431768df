"""One staged folder, served alone by the framework in a process of its own, answers as that step: nothing beside it is importable."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.staging import archive, stage

from .imports import ROOT, STEPS
from .serving import check, environment

pytestmark = pytest.mark.network
STARTING = 60  # seconds at most


@dataclass(frozen=True)
class Serving:
    """The framework's own server, in a process of its own."""

    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def served(folder: Path, step: str, settings: Mapping[str, str]) -> Iterator[Serving]:
    """A staged folder, served for as long as the block lasts."""
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
        yield Serving(port, process)
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


def ask(port: int, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
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
    folder = tmp_path / "build" / step
    stage(step, folder)
    with served(folder, step, settings) as serving:

        async def asked(
            step: str, method: str, path: str, body: bytes, headers: Mapping[str, str]
        ) -> tuple[int, Mapping[str, str], bytes]:
            return await asyncio.to_thread(ask, serving.port, method, path, body, headers)

        await check(step, asked, state)
        assert folder.with_suffix(".log").read_text().count('"step": ') == folder.with_suffix(".log").read_text().count(
            f'"step": "{step}"'
        )


def _made(root: Path) -> Path:
    """What `make stage` makes of the copy of the repository at `root`, which is made when absent: its build folder."""
    if not root.joinpath("Makefile").exists():
        for name in ("functions", "shared", "local"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Makefile", root)
    subprocess.run(["make", "-s", "stage"], cwd=root, check=True, timeout=60)
    return root / "build"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_make_stage_makes_a_folder_and_an_archive_of_each_step(tmp_path: Path) -> None:
    build = _made(tmp_path)
    assert sorted(path.name for path in build.iterdir()) == sorted([*STEPS, *(f"{step}.zip" for step in STEPS)])
    for step in STEPS:
        stage(step, tmp_path / "mine")
        with zipfile.ZipFile(build / f"{step}.zip") as made:
            archived = {name: made.read(name) for name in made.namelist()}
        assert archived == _files(build / step) == _files(tmp_path / "mine")
        assert {"main.py", "requirements.txt", "shared/ports.py"} <= archived.keys()


def _hashes(build: Path) -> dict[str, str]:
    """What Terraform names the archives by."""
    return {step: hashlib.sha256((build / f"{step}.zip").read_bytes()).hexdigest() for step in STEPS}


def test_only_what_changed_is_named_anew(tmp_path: Path) -> None:
    before = _hashes(_made(tmp_path))
    assert _hashes(_made(tmp_path)) == before
    with (tmp_path / "functions" / "track" / "handler.py").open("a") as file:
        file.write("# changed\n")
    after = _hashes(_made(tmp_path))
    assert [step for step in STEPS if after[step] != before[step]] == ["track"]
    with (tmp_path / "shared" / "errors.py").open("a") as file:
        file.write("# changed\n")
    final = _hashes(_made(tmp_path))
    assert [step for step in STEPS if final[step] == after[step]] == []


def test_equal_files_make_equal_archives_and_another_byte_another(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        stage("track", folder)
    assert not list(one.rglob(".*"))
    os.utime(two / "main.py", (0, 0))
    (two / "main.py").chmod(0o600)
    for folder in (one, two):
        archive(folder, folder.with_suffix(".zip"))
    assert one.with_suffix(".zip").read_bytes() == two.with_suffix(".zip").read_bytes()
    with (two / "main.py").open("a") as file:
        file.write("#")
    archive(two, two.with_suffix(".zip"))
    assert one.with_suffix(".zip").read_bytes() != two.with_suffix(".zip").read_bytes()
