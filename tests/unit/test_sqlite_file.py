"""Group commit, durability and fairness of the one file that every embedded adapter stands on."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.sqlite_file import SqliteFile, Work
from shared.errors import Unavailable

ROOT = Path(__file__).parents[2]
SCHEMA = "CREATE TABLE IF NOT EXISTS rows (writer INTEGER, n INTEGER)"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    file = SqliteFile.open(tmp_path / "f.db", SCHEMA)
    yield file
    file.close()


def _insert(n: int, *, fail: bool = False) -> Work[int]:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO rows VALUES (0, ?)", (n,))
        if fail:
            raise LookupError(n)
        return n

    return work


def _rows(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT n FROM rows ORDER BY n")]


class _Held:
    """Keeps the writer thread busy inside a job, so that what comes meanwhile has to wait."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.go_on.wait(10)


async def test_waiting_jobs_share_one_commit_and_a_failing_one_fails_alone(file: SqliteFile) -> None:
    held = _Held()
    first = file.write(held)
    await asyncio.to_thread(held.entered.wait)
    jobs = [file.write(_insert(n, fail=n % 10 == 3)) for n in range(50)]
    await asyncio.sleep(0.02)
    assert not any(job.done() for job in jobs)
    held.go_on.set()
    results = await asyncio.gather(first, *jobs, return_exceptions=True)
    assert file.commits == 2
    good = [n for n in range(50) if n % 10 != 3]
    assert [result for result in results if isinstance(result, int)] == good
    assert [type(result) for result in results if isinstance(result, Exception)] == [LookupError] * 5
    assert await file.read(_rows) == good


async def test_nobody_hears_of_success_before_the_commit(file: SqliteFile) -> None:
    before, within = _Held(), _Held()
    jobs = [file.write(before)]
    await asyncio.to_thread(before.entered.wait)
    early = file.write(_insert(1))
    jobs.append(file.write(within))
    before.go_on.set()
    await asyncio.to_thread(within.entered.wait)
    await asyncio.sleep(0.02)
    assert not early.done()
    assert await file.read(_rows) == []
    within.go_on.set()
    await asyncio.gather(*jobs)
    assert await early == 1
    assert await file.read(_rows) == [1]


async def test_a_mistake_in_sql_fails_its_own_job_only(file: SqliteFile) -> None:
    results = await asyncio.gather(
        file.write(_insert(1)),
        file.write(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")),
        file.write(_insert(2)),
        file.read(lambda connection: connection.execute("SELECT * FROM nowhere")),
        file.read(lambda connection: connection.execute("DELETE FROM rows")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, Unavailable, int, Unavailable, Unavailable]
    assert await file.scan(_rows) == [1, 2]


async def test_a_cancelled_waiter_disturbs_nobody(file: SqliteFile) -> None:
    held = _Held()
    first = file.write(held)
    await asyncio.to_thread(held.entered.wait)
    jobs = [file.write(_insert(n)) for n in range(3)]
    jobs[1].cancel()
    held.go_on.set()
    await first
    assert [await jobs[0], await jobs[2]] == [0, 2]


def test_several_loops_share_a_file_and_a_closed_one_is_forgotten(file: SqliteFile) -> None:
    held = _Held()

    async def abandon() -> None:
        file.write(held)
        file.write(_insert(0))
        await asyncio.to_thread(held.entered.wait)

    async def write(start: int) -> list[int]:
        return await asyncio.gather(*(file.write(_insert(n)) for n in range(start, start + 50)))

    asyncio.run(abandon())  # its loop is closed while its jobs are at work
    held.go_on.set()
    results: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda s=start: results.update({s: asyncio.run(write(s))})) for start in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == {start: list(range(start, start + 50)) for start in (100, 200, 300)}
    assert asyncio.run(_read_all(file)) == [0, *results[100], *results[200], *results[300]]
    gc.collect()


async def _read_all(file: SqliteFile) -> list[int]:
    return await file.read(_rows)


def test_open_works_without_a_loop_and_close_finishes_what_was_handed_in(tmp_path: Path) -> None:
    file = SqliteFile.open(tmp_path / "f.db", SCHEMA)

    async def hand_in() -> None:
        for n in range(100):
            file.write(_insert(n))

    asyncio.run(hand_in())
    file.close()
    assert sqlite3.connect(tmp_path / "f.db").execute("SELECT count(*) FROM rows").fetchone() == (100,)


async def test_a_process_that_keeps_the_lock_makes_jobs_unavailable_not_stuck(file: SqliteFile) -> None:
    file.patience = 0.05
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(*(file.write(_insert(n)) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    other.execute("ROLLBACK")
    assert await file.write(_insert(7)) == 7

    with open(f"{file.path}.turn", "rb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        with pytest.raises(Unavailable):
            await file.write(_insert(8))
    assert await file.write(_insert(9)) == 9
    assert await file.read(_rows) == [7, 9]


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "f.db").write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(Unavailable):
        SqliteFile.open(tmp_path / "f.db", SCHEMA)


# --- several processes ------------------------------------------------------------------------------------------------

_CHILD = """
import asyncio, sys
from pathlib import Path
from shared.adapters.sqlite_file import SqliteFile, Work
file = SqliteFile.open(Path(sys.argv[1]), "CREATE TABLE IF NOT EXISTS rows (writer INTEGER, n INTEGER)")
writer, count, callers = map(int, sys.argv[2:])
async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(insert(start) for start in range(callers)))
async def insert(start):
    for n in range(start, count, callers):
        await file.write(lambda c: c.execute("INSERT INTO rows VALUES (?, ?)", (writer, n)))
        if callers == 1:
            print(n, flush=True)
asyncio.run(main())
"""


_NAIVE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
writer, count, callers = map(int, sys.argv[2:])
print("ready", flush=True)
sys.stdin.readline()
for start in range(0, count, callers):
    connection.execute("BEGIN IMMEDIATE")
    for n in range(start, start + callers):
        connection.execute("INSERT INTO rows VALUES (?, ?)", (writer, n))
    connection.execute("COMMIT")
"""


def _child(path: Path, writer: int, count: int, callers: int, code: str = _CHILD) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(path), str(writer), str(count), str(callers)]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def _go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def test_what_was_acknowledged_survives_a_kill_and_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "f.db"
    for attempt in range(3):
        child = _child(path, attempt, 1_000_000, 1)
        _go(child)
        assert child.stdout is not None
        acknowledged = -1
        while acknowledged < 20 * attempt + 5:
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
        child.wait()
        rows = sqlite3.connect(path).execute("SELECT n FROM rows WHERE writer = ? ORDER BY n", (attempt,)).fetchall()
        assert [row[0] for row in rows][: acknowledged + 1] == list(range(acknowledged + 1))
        assert len(rows) <= acknowledged + 2  # the one in flight may have made it


_WRITERS, _COUNT, _CALLERS = 8, 400, 4


def _race(path: Path, code: str) -> list[int]:
    """The writers of all rows, in the order of their commits."""
    SqliteFile.open(path, SCHEMA).close()
    children = [_child(path, writer, _COUNT, _CALLERS, code) for writer in range(_WRITERS)]
    for child in children:
        _go(child)
    assert [child.wait(60) for child in children] == [0] * _WRITERS
    return [row[0] for row in sqlite3.connect(path).execute("SELECT writer FROM rows ORDER BY rowid")]


def _longest_wait(order: list[int]) -> int:
    """The most rows of others between two commits of one writer, from the first row until the writer's last."""
    longest, seen = 0, dict.fromkeys(order, -1)
    for position, writer in enumerate(order):
        longest = max(longest, position - seen[writer] - 1)
        seen[writer] = position
    return longest


def test_eight_processes_all_finish_and_none_starves(tmp_path: Path) -> None:
    order = _race(tmp_path / "f.db", _CHILD)
    assert sorted(order) == sorted(list(range(_WRITERS)) * _COUNT)
    assert _longest_wait(order) < len(order) // 3
    # The control: with SQLite's own busy handler some writer sits out most of the race.
    assert max(_longest_wait(_race(tmp_path / f"naive{n}.db", _NAIVE)) for n in range(3)) > len(order) // 2
