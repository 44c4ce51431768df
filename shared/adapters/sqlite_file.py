"""One SQLite file and the threads that serve it, because a durable commit costs an fsync and SQLite takes one writer at a time.

Inside a process every user of a file shares one writer thread, which puts all waiting jobs into one transaction: a job fails
alone (its SAVEPOINT is rolled back), and nobody hears of success before the COMMIT. Between processes a turnstile (an flock on
`<file>.turn`, which dies with its owner) admits one contender to SQLite's write lock: who has just committed queues again
behind those who wait, so independent writers cannot starve one another.

What is deleted or written over is gone from the disk as well. SQLite fills it with zeros, but leaves copies where it moved rows from one
page to another; so who takes something away for good says so (`wipe`), in the file itself, and a writer that has nothing to do for
IDLE seconds, or ends, makes the file anew and empties the log of changes (`-wal`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, TypeAlias, TypeVar

from shared.errors import Unavailable

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]
_Job: TypeAlias = "tuple[Work[Any], asyncio.Future[Any]]"
_Jobs: TypeAlias = "SimpleQueue[_Job | None]"  # None: stop after what came before
_Outcome: TypeAlias = "tuple[asyncio.Future[Any], Any, Exception | None]"

_GROUP = 512  # most jobs in one COMMIT
_POINT_READS = 32  # point reads answered in one wake-up of their loop
IDLE = 2.0  # seconds
SECURE = "PRAGMA secure_delete = ON"
_PAUSE = 0.0005  # seconds between two tries for a lock that another process holds


class SqliteFile:
    """A shared, reference-counted handle: `open` it once per user, `close` it as often.

    Jobs are functions of a connection; they run in this file's threads and must not commit. The methods that take a job are
    called on a running event loop and return a future of that loop.
    """

    patience: float = 10.0  # seconds a group waits for other processes before its jobs fail with Unavailable

    _files: ClassVar[dict[tuple[int, Path], SqliteFile]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def open(cls, path: Path, schema: str) -> SqliteFile:
        """The process's handle on `path`, made when it is the first; runs `schema` (idempotent DDL). Raises Unavailable."""
        key = (os.getpid(), path.resolve())  # threads do not survive a fork, so a child has its own
        with cls._guard:
            file = cls._files.get(key) or cls(key)
            try:
                file._prepare(schema)
                if not file._users:
                    file._start()
            except sqlite3.Error as error:
                raise Unavailable(path.name, str(error)) from error
            cls._files[key] = file
            file._users += 1
            return file

    def __init__(self, key: tuple[int, Path]) -> None:
        self._key = key
        self.path = key[1]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.commits = 0  # transactions committed by this process
        self.listeners: set[Callable[[], None]] = set()  # called by `signal`, on its caller's thread
        self._users = 0
        self._turn: int | None = None
        self._writes: _Jobs = SimpleQueue()
        self._points: _Jobs = SimpleQueue()
        self._scans: _Jobs = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def write(self, work: Work[T]) -> asyncio.Future[T]:
        """Run a job inside the next group commit; done once it is durable, with its result, its own error, or Unavailable."""
        return self._submit(self._writes, work)

    def read(self, work: Work[T]) -> asyncio.Future[T]:
        """Run a short read (by key) that sees everything committed so far."""
        return self._submit(self._points, work)

    def scan(self, work: Work[T]) -> asyncio.Future[T]:
        """Run a long read, on a thread of its own so that short ones do not wait for it."""
        return self._submit(self._scans, work)

    @staticmethod
    def wipe(connection: sqlite3.Connection) -> None:
        """To be called in a job that takes something away for good."""
        [held] = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {held + 1}")

    def signal(self) -> None:
        """Tell this process's listeners that something of interest was committed."""
        for listener in tuple(self.listeners):
            listener()

    def close(self) -> None:
        """Give up one user's hold; the last one waits for the jobs handed in and ends the threads."""
        with self._guard:
            self._users -= 1
            if self._users or self._key[0] != os.getpid():
                return
            del self._files[self._key]
            for queue in (self._writes, self._points, self._scans):
                queue.put(None)
        for thread in self._threads:
            thread.join()
        if self._turn is not None:
            os.close(self._turn)
            self._turn = None

    def _submit(self, queue: _Jobs, work: Work[T]) -> asyncio.Future[T]:
        if self._users < 1:
            raise Unavailable(self.path.name, "it is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue.put((work, future))
        return future

    # --- start --------------------------------------------------------------------------------------------------------

    def _prepare(self, schema: str) -> None:
        if self._turn is None:
            self._turn = os.open(f"{self.path}.turn", os.O_RDWR | os.O_CREAT, 0o644)
        with self._in_turn(time.monotonic() + self.patience):
            connection = self._connect()
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(schema)
            finally:
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA wal_autocheckpoint = 8000")
        connection.execute(SECURE)
        return connection

    def _start(self) -> None:
        """Connect here, where a failure has someone to tell, and start the threads."""
        writer, points, scans = (self._connect() for _ in range(3))
        writer.execute("PRAGMA busy_timeout = 0")  # `_begin` waits its turn instead
        lanes: list[tuple[str, Callable[[], None]]] = [
            ("write", lambda: self._serve_writes(writer)),
            ("read", lambda: self._serve_reads(points, self._points, _POINT_READS)),
            ("scan", lambda: self._serve_reads(scans, self._scans, 1)),
        ]
        for name, serve in lanes:
            thread = threading.Thread(target=serve, name=f"{self.path.name}-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    # --- the threads --------------------------------------------------------------------------------------------------

    def _serve_reads(self, connection: sqlite3.Connection, queue: _Jobs, most: int) -> None:
        connection.execute("PRAGMA query_only = 1")
        while (first := queue.get()) is not None:
            _deliver([self._run(connection, job) for job in [first, *_waiting(queue, most - 1)]])
        connection.close()

    def _serve_writes(self, connection: sqlite3.Connection) -> None:
        while (first := self._next_write(connection)) is not None:
            jobs = [first]
            try:
                try:
                    self._begin(connection)
                finally:
                    jobs += _waiting(self._writes, _GROUP - 1)
                outcomes = [self._run_alone(connection, job) for job in jobs]
                connection.execute("COMMIT")
                self.commits += 1
            except Exception as error:
                with suppress(sqlite3.Error):
                    connection.rollback()
                outcomes = [(future, None, self._unavailable(error)) for _, future in jobs]
            _deliver(outcomes)
        self._empty(connection)
        connection.close()

    def _next_write(self, connection: sqlite3.Connection) -> _Job | None:
        """Wait for a job, and meanwhile clean up."""
        while True:
            with suppress(Empty):
                return self._writes.get(timeout=IDLE)
            if self._empty(connection):
                return self._writes.get()

    def _empty(self, connection: sqlite3.Connection) -> bool:
        """Whether nothing is left of what is gone; not while somebody reads it, or writes."""
        with suppress(sqlite3.Error):
            [wiping] = connection.execute("PRAGMA user_version").fetchone()
            if wiping:
                connection.execute("VACUUM")
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone() == (wiping,):  # else there is more by now
                    connection.execute("PRAGMA user_version = 0")
                connection.execute("COMMIT")
            return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        with suppress(sqlite3.Error):
            connection.rollback()
        return False

    def _run(self, connection: sqlite3.Connection, job: _Job) -> _Outcome:
        work, future = job
        try:
            return future, work(connection), None
        except sqlite3.Error as error:
            return future, None, self._unavailable(error)
        except Exception as error:
            return future, None, error

    def _run_alone(self, connection: sqlite3.Connection, job: _Job) -> _Outcome:
        """Run one job of a group; raises only when SQLite has given up the whole transaction."""
        connection.execute("SAVEPOINT job")
        outcome = self._run(connection, job)
        if outcome[2] is not None:
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return outcome

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(self.path.name, str(error) if isinstance(error, sqlite3.Error | OSError) else type(error).__name__)

    # --- the lock between processes -----------------------------------------------------------------------------------

    def _begin(self, connection: sqlite3.Connection) -> None:
        deadline = time.monotonic() + self.patience
        with self._in_turn(deadline):
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                _pause()

    @contextmanager
    def _in_turn(self, deadline: float) -> Iterator[None]:
        assert self._turn is not None
        while True:
            try:
                fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise sqlite3.OperationalError("another process kept it locked") from None
            _pause()
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)


def _pause() -> None:
    time.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 (spreads the tries of several processes)


def _waiting(queue: _Jobs, most: int) -> list[_Job]:
    """The jobs already handed in, without waiting for more."""
    jobs: list[_Job] = []
    with suppress(Empty):
        while len(jobs) < most:
            job = queue.get_nowait()
            if job is None:
                queue.put(None)
                break
            jobs.append(job)
    return jobs


def _deliver(outcomes: list[_Outcome]) -> None:
    """Resolve futures on their own loops, waking each loop once."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome[0].get_loop(), []).append(outcome)
    for loop, mine in loops.items():
        with suppress(RuntimeError):  # that loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, mine)


def _settle(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # cancelled by its waiter
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
