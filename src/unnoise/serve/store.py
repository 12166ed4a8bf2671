"""Jobs in SQLite and results as files: what was accepted outlives the process, and is done once more after a crash.

One thread owns the database. What waits for it is written in one transaction, and told to be written when that is on
the disk: many requests share one flush.
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from unnoise.config import UserError
from unnoise.files import put

T = TypeVar("T")
FORMAT = 1
TABLE = """
create table if not exists jobs (
    id text primary key, owner text not null, model text not null, request text not null, image blob, mask blob,
    state text not null, error text not null default '', failures text not null default '{}',
    created real not null, ended real, number integer, weights text not null default '', sha256 text, bytes integer,
    idempotency text, digest text
) strict;
create unique index if not exists once on jobs (owner, idempotency) where idempotency is not null;
create index if not exists unfinished on jobs (created) where ended is null;
create index if not exists oldest on jobs (ended) where ended is not null;
"""


@dataclass(frozen=True)
class Record:
    """A job as it is kept. request: with its seeds; ended: None while it is to be done; number: of its last news."""

    id: str
    owner: str
    model: str
    request: dict[str, Any]
    state: str
    created: float
    error: str = ""
    failures: Mapping[str, str] | None = None
    ended: float | None = None
    number: int = 0
    weights: str = ""
    sha256: str | None = None
    idempotency: str | None = None
    digest: str | None = None


class Store:
    """`do` and what is built on it are for any thread; their futures are done when it is on the disk."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._queue: SimpleQueue[tuple[Callable[[sqlite3.Connection], Any], Future[Any]] | None] = SimpleQueue()
        (folder / "results").mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        self._base = sqlite3.connect(folder / "jobs.sqlite", check_same_thread=False, isolation_level=None)
        self._base.execute("pragma journal_mode = wal")
        self._base.execute("pragma synchronous = full")
        (version,) = self._base.execute("pragma user_version").fetchone()
        if version not in (0, FORMAT):
            raise UserError(f"{folder} was written by another version of unnoise: expected format {FORMAT}")
        self._base.executescript(TABLE)
        self._base.execute(f"pragma user_version = {FORMAT}")
        self._thread = Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Something with the database, in the next transaction."""
        done: Future[T] = Future()
        self._queue.put((work, done))
        return done

    def close(self) -> None:
        """Ends when all is written."""
        self._queue.put(None)
        self._thread.join()
        self._base.close()
        os.close(self._lock)

    def _run(self) -> None:
        last = False
        while not last:
            batch = [self._queue.get()]
            while not self._queue.empty() and len(batch) < 500:
                batch.append(self._queue.get())
            last = None in batch
            self._transact([entry for entry in batch if entry is not None])

    def _transact(self, batch: list[tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]]) -> None:
        told: list[Callable[[], None]] = []
        try:
            self._base.execute("begin immediate")
            for work, done in batch:
                told.append(self._one(work, done))
            self._base.execute("commit")
        except sqlite3.Error as error:  # a full disk: nobody is told that it was written
            if self._base.in_transaction:
                self._base.execute("rollback")
            told = [lambda done=done, error=error: done.set_exception(error) for _, done in batch]
        for tell in told:
            tell()

    def _one(self, work: Callable[[sqlite3.Connection], Any], done: "Future[Any]") -> Callable[[], None]:
        """One piece of work, undone alone where it raises."""
        self._base.execute("savepoint one")
        try:
            result = work(self._base)
        except Exception as error:
            self._base.execute("rollback to one")
            return lambda error=error: done.set_exception(error)
        finally:
            self._base.execute("release one")
        return lambda: done.set_result(result)

    # What is asked of it

    def add(self, job: Record, image: bytes | None, mask: bytes | None) -> "Future[Record]":
        """Keeps a new job; the one there was, where its owner has sent the same with one idempotency key before."""

        def work(base: sqlite3.Connection) -> Record:
            if job.idempotency is not None:
                row = base.execute(
                    f"select {COLUMNS} from jobs where owner = ? and idempotency = ?", (job.owner, job.idempotency)
                ).fetchone()
                if row is not None:
                    return _record(row)
            base.execute(
                "insert into jobs (id, owner, model, request, image, mask, state, created, idempotency, digest) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (job.id, job.owner, job.model, json.dumps(job.request), image, mask, job.state, job.created,
                 job.idempotency, job.digest),
            )  # fmt: skip
            return job

        return self.do(work)

    def end(
        self, job: str, state: str, number: int, error: str = "", failures: Mapping[int, str] | None = None,
        weights: str = "", sha256: str | None = None, size: int | None = None,
    ) -> "Future[None]":  # fmt: skip
        """How a job has ended; the pictures it was sent with are forgotten."""
        said = json.dumps({str(k): v for k, v in (failures or {}).items()})
        values = (state, number, error, said, weights, sha256, size, time.time(), job)

        def work(base: sqlite3.Connection) -> None:
            base.execute(
                "update jobs set state = ?, number = ?, error = ?, failures = ?, weights = ?, sha256 = ?, bytes = ?, "
                "ended = ?, image = null, mask = null where id = ?",
                values,
            )

        return self.do(work)

    def get(self, job: str) -> "Future[Record | None]":
        """A job by its name."""

        def work(base: sqlite3.Connection) -> Record | None:
            row = base.execute(f"select {COLUMNS} from jobs where id = ?", (job,)).fetchone()
            return None if row is None else _record(row)

        return self.do(work)

    def newest(self, owner: str, count: int) -> "Future[list[Record]]":
        """An owner's last jobs, the newest first."""

        def work(base: sqlite3.Connection) -> list[Record]:
            asked = f"select {COLUMNS} from jobs where owner = ? order by created desc limit ?"
            return [_record(row) for row in base.execute(asked, (owner, count))]

        return self.do(work)

    def unfinished(self) -> list[tuple[Record, bytes | None, bytes | None]]:
        """What was accepted and has not ended, oldest first, with the pictures it came with."""

        def work(base: sqlite3.Connection) -> list[tuple[Record, bytes | None, bytes | None]]:
            asked = f"select {COLUMNS}, image, mask from jobs where ended is null order by created, rowid"
            return [(_record(row[:-2]), row[-2], row[-1]) for row in base.execute(asked)]

        return self.do(work).result()

    def prune(self, before: float) -> None:
        """Forgets jobs that ended before a time, and their results."""

        def work(base: sqlite3.Connection) -> list[str]:
            gone = [job for (job,) in base.execute("select id from jobs where ended < ? limit 1000", (before,))]
            base.executemany("delete from jobs where id = ?", [(job,) for job in gone])
            return gone

        for job in self.do(work).result():
            self.path(job).unlink(missing_ok=True)

    def path(self, job: str) -> Path:
        """Where the results of a job lie; its name is the server's own."""
        return self._folder / "results" / job[:2] / f"{job}.zip"

    def keep(self, job: str, data: bytes) -> str:
        """Writes a result, which is on the disk when this returns; its hash."""
        put(self.path(job), data)
        return hashlib.sha256(data).hexdigest()

    def result(self, job: Record) -> bytes | None:
        """The result of a job; None where it is lost or damaged."""
        try:
            data = self.path(job.id).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == job.sha256 else None


COLUMNS = (
    "id, owner, model, request, state, created, error, failures, ended, number, weights, sha256, idempotency, digest"
)


def _record(row: Any) -> Record:
    job, owner, model, request, state, created, error, failures, ended, number, *rest = row
    return Record(
        job, owner, model, json.loads(request), state, created, error, json.loads(failures), ended, number or 0, *rest
    )


def _locked(folder: Path) -> int:
    """A lock that is held while this process lives: two servers on one folder would do every job twice."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.name != "nt":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UserError(f"another server keeps its jobs in {folder}: stop it, or take another --data") from None
    return handle


__all__ = ["Record", "Store"]
