"""The open database: pragmas, locks, errors, and calls that outlive their callers."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from storage import is_wal_safe, schema, sqlite
from storage.database import Database, sqlite_connection
from storage.errors import StorageError, StoreBusy, StoreFull
from storage.queue import Queue
from storage.settings import StoreSettings
from storage.sqlite import journal_mode
from tests.factories import make_request
from tests.storage import raw

FLAG = insert(schema.flag).values(key="tested", value=True)


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 46, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), False),
        ((3, 53, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_safe(version: tuple[int, ...], safe: bool) -> None:
    """WAL is used only where the WAL-reset bug is fixed."""
    assert is_wal_safe(version) is safe


def test_fallback(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An unsafe SQLite gets TRUNCATE, and the log says so once."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 46, 0))
    journal_mode.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert [journal_mode(), journal_mode()] == ["TRUNCATE", "TRUNCATE"]
    finally:
        journal_mode.cache_clear()
    assert len(caplog.records) == 1


async def test_fallback_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole walk works in TRUNCATE mode too."""
    monkeypatch.setattr(sqlite, "journal_mode", lambda: "TRUNCATE")
    settings = StoreSettings(home=tmp_path)
    async with Database.open(settings) as db:
        queue = Queue(db, settings)
        job = await queue.submit(make_request())
        assert [claimed.id for claimed in await queue.claim("owner", 1)] == [job.id]
        async with db.read() as connection:
            assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "truncate"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import storage, sqlite3; print(storage.is_wal_safe(sqlite3.sqlite_version_info))", "True"),
        ("import storage, sqlite3, aiosqlite; print(aiosqlite.core.sqlite3 is sqlite3)", "True"),
    ],
)
def test_safe_copy(code: str, said: str) -> None:
    """Importing storage first gives the whole process a safe SQLite, where pysqlite3 is installed."""
    pytest.importorskip("pysqlite3")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == said


def test_two_copies_are_refused() -> None:
    """A process that has loaded an unsafe sqlite3 before storage is told so."""
    pytest.importorskip("pysqlite3")
    code = "import sqlite3; sqlite3.sqlite_version_info = (3, 40, 1); import storage"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "import storage before sqlite3" in run.stderr


@raw.on_sqlite
async def test_pragmas(db: Database) -> None:
    """Both connections are durable, patient and strict; only one of them writes."""
    wanted = {"synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1}
    async with db.write() as writer, db.read() as reader:
        for pragma, value in wanted.items():
            for connection in (writer, reader):
                assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar() == value
        assert (await reader.execute(text("PRAGMA query_only"))).scalar() == 1


async def test_read_cannot_write(db: Database) -> None:
    """The read connection refuses to write."""
    with pytest.raises(StorageError, match=r"readonly|read-only"):
        async with db.read() as connection:
            await connection.execute(FLAG)


async def test_read_is_one_state(db: Database) -> None:
    """What is read in one block is one state of the store, whatever commits meanwhile."""
    count = text("SELECT count(*) FROM flag")
    async with db.read() as reader:
        before = (await reader.execute(count)).scalar()
        async with db.write() as writer:
            await writer.execute(FLAG)
        assert (await reader.execute(count)).scalar() == before == 0
    async with db.read() as reader:
        assert (await reader.execute(count)).scalar() == 1


async def test_rolls_back(db: Database) -> None:
    """An exception inside a write undoes all of it, and the next write works."""

    async def fail_halfway() -> None:
        async with db.write() as connection:
            await connection.execute(FLAG)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_halfway()
    async with db.write() as connection:
        assert (await connection.execute(select(schema.flag))).all() == []
        await connection.execute(FLAG)


@raw.on_sqlite
async def test_busy(settings: StoreSettings, tmp_path: Path) -> None:
    """A lock that another program keeps becomes StoreBusy, politely, and is no lasting harm."""
    hasty = settings.model_copy(update={"busy_s": 0.01})
    async with Database.open(hasty) as db:
        with sqlite_connection(settings.path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusy, match="try again"):
                async with db.write() as connection:
                    await connection.execute(FLAG)
            other.execute("ROLLBACK")
        async with db.write() as connection:
            await connection.execute(FLAG)


@raw.on_sqlite
async def test_busy_is_retried(settings: StoreSettings) -> None:
    """A lock that goes away in time is waited for, beyond one busy timeout."""
    hasty = settings.model_copy(update={"busy_s": 0.001})
    async with Database.open(hasty) as db:
        with sqlite_connection(settings.path) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = asyncio.create_task(db._begin())
            await asyncio.sleep(0.01)
            other.execute("ROLLBACK")
            await (await begun)[0].close()


@raw.on_sqlite
async def test_full(db: Database) -> None:
    """A full disk is StoreFull; reading goes on, and writing too once there is room."""
    async with db.write() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar()
        await connection.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(StoreFull):
        async with db.write() as connection:
            await connection.execute(insert(schema.flag).values(key="big", value="x" * 100_000))
    async with db.read() as connection:
        assert (await connection.execute(select(schema.flag))).all() == []
    async with db.write() as connection:
        await connection.execute(text("PRAGMA max_page_count=1000000"))
        await connection.execute(insert(schema.flag).values(key="big", value="x" * 100_000))


@raw.on_sqlite
async def test_cancelled_caller_leaves_no_lock(queue: Queue, db: Database, settings: StoreSettings) -> None:
    """A caller cancelled at any moment of a store call leaves no lock, and no half of a job."""
    for turns in range(12):
        task = asyncio.create_task(queue.submit(make_request(event_key=f"local:{turns}", reply_to="here")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.gather(*db._calls)
    with sqlite_connection(settings.path, 0.001) as other:
        other.execute("BEGIN IMMEDIATE")  # raises if a lock was left
        jobs, events = (other.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("job", "event"))
        other.execute("ROLLBACK")
    assert jobs == events > 0


async def test_close_waits(settings: StoreSettings) -> None:
    """Closing the store lets begun calls end, although their callers are gone."""
    async with Database.open(settings) as db:
        task = asyncio.create_task(Queue(db, settings).submit(make_request()))
        await asyncio.sleep(0)
        task.cancel()
    assert raw.run(settings, "SELECT count(*) FROM job") == [(1,)]


async def test_commits_are_told(db: Database) -> None:
    """Listeners hear of a commit after it, and nothing of a rollback."""
    heard: list[bool] = []
    db.after_commit(lambda: heard.append(True))
    async with db.write() as connection:
        await connection.execute(FLAG)
        assert not heard
    assert heard == [True]
    with pytest.raises(ZeroDivisionError):
        async with db.write():
            raise ZeroDivisionError
    assert heard == [True]


@raw.on_sqlite
async def test_live_wal_is_not_downgraded(
    queue: Queue, settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unsafe SQLite does not join others who have the store open in WAL mode, nor takes it from them."""
    await queue.submit(make_request())
    monkeypatch.setattr(sqlite, "journal_mode", lambda: "TRUNCATE")
    hasty = settings.model_copy(update={"busy_s": 0.001})
    async with Database.open(hasty) as other:
        with pytest.raises(StorageError):
            await Queue(other, hasty).flags()
    with sqlite_connection(settings.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
