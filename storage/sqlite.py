"""SQLite: one file, one connection that writes, a few that read.

In WAL with synchronous=FULL (an acknowledged row survives a power cut); with a SQLite that has the WAL-reset bug,
journal_mode=TRUNCATE instead. Knows pragmas, the file and SQLite's error codes; nothing of jobs.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from storage import is_wal_safe
from storage.errors import StorageError, StoreBroken, StoreBusy, StoreFull, StoreMoved

if TYPE_CHECKING:  # pydantic takes longer to import than a store takes to open
    from storage.settings import StoreSettings

log = logging.getLogger(__name__)

READERS = 4
MOVED = "this store has moved to "  # what the triggers of a moved store say
SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL = 5, 6, 10, 11, 13


class Sqlite:
    """The file at `settings.path`."""

    in_order = True  # writers take turns, so a lower id never commits after a higher one
    polled = True
    errors: tuple[type[Exception], ...] = (DBAPIError, sqlite3.Error)

    def __init__(self, settings: StoreSettings) -> None:
        self._path = settings.path
        self.writer = _engine(settings, writes=True)
        self.reader = _engine(settings, writes=False)
        self.folders: tuple[Path, ...] = (settings.path.parent,)  # whose disk must have room for it
        self._kept: AsyncConnection | None = None

    async def start(self, heard: Callable[[], None]) -> None:
        """Nobody tells us of others' commits: `version` is asked."""

    async def close(self) -> None:
        """Close every connection."""
        if self._kept is not None:
            await self._kept.close()
        await self.writer.dispose()
        await self.reader.dispose()

    async def begin_reading(self, connection: AsyncConnection) -> None:
        """One state of the store from here on; ended by the pool's rollback."""
        await connection.exec_driver_sql("BEGIN")

    async def begin_writing(self, connection: AsyncConnection, *, alone: bool) -> int:
        """BEGIN IMMEDIATE, by the hook: there is no other way to write, so `alone` says nothing new."""
        await connection.begin()
        return 0

    async def committed(self, transaction: int) -> bool:
        """A commit that failed did not happen."""
        return False

    async def settled(self) -> None:
        """Every id below a committed one is committed."""

    async def version(self) -> int:
        """A number that changes when another connection has committed; asked on one kept connection.

        The trap: inside a transaction the number stands still. No hook begins one on the read engine, and this
        connection is never told BEGIN.
        """
        if self._kept is None:
            self._kept = await self.reader.connect()
        return int((await self._kept.exec_driver_sql("PRAGMA data_version")).scalar_one())

    async def sizes(self) -> Mapping[str, int]:
        """Bytes of the file and of its log."""
        files = {"db": self._path, "wal": self._path.with_name(f"{self._path.name}-wal")}
        return {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}

    def translated(self, error: Exception) -> StorageError:
        """What an error of the driver means to us."""
        return translated(error)

    def waits(self, error: Exception) -> bool:
        """Whether beginning is worth another try."""
        return _code(error) == SQLITE_BUSY


def translated(error: Exception) -> StorageError:
    """What an error of SQLite means to us."""
    why = getattr(error, "orig", None) or error
    match _code(error):
        case code if code in (SQLITE_BUSY, SQLITE_LOCKED):
            return StoreBusy()
        case code if code == SQLITE_FULL:
            return StoreFull()
        case code if code in (SQLITE_IOERR, SQLITE_CORRUPT):
            return StoreBroken(f"The store failed: {why}")
        case _ if MOVED in str(why):
            return StoreMoved(MOVED.capitalize() + str(why).partition(MOVED)[2])
        case _:
            return StorageError(f"The store refused: {why}")


def pragmas(*, writes: bool, busy_s: float) -> list[str]:
    """What every connection to the store is told first."""
    return [
        f"PRAGMA busy_timeout={round(busy_s * 1000)}",
        f"PRAGMA journal_mode={journal_mode()}",
        "PRAGMA synchronous=FULL",
        "PRAGMA foreign_keys=ON",
        "PRAGMA wal_autocheckpoint=1000",
        "PRAGMA journal_size_limit=67108864",
        f"PRAGMA query_only={'OFF' if writes else 'ON'}",
    ]


@functools.cache  # so that the fallback is logged once
def journal_mode() -> str:
    """WAL, or TRUNCATE with a SQLite that could lose rows in WAL."""
    if is_wal_safe(sqlite3.sqlite_version_info):
        return "WAL"
    log.warning("SQLite %s can lose rows in WAL mode; using the slower TRUNCATE.", sqlite3.sqlite_version)
    return "TRUNCATE"


def _engine(settings: StoreSettings, *, writes: bool) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{settings.path}",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if writes else READERS,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver must not BEGIN by itself
        cursor = connection.cursor()
        for pragma in pragmas(writes=writes, busy_s=settings.busy_s):
            cursor.execute(pragma)
        cursor.execute("PRAGMA journal_mode")
        (mode,) = cursor.fetchone()
        cursor.close()
        if mode != journal_mode().lower():  # SQLite keeps WAL while others have the file open
            raise StorageError(f"{settings.path} is in use with journal_mode={mode}; this SQLite may not join in.")

    if writes:  # and never on the read engine: a BEGIN that nobody ends would freeze what its connections see

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def prepare(settings: StoreSettings) -> None:
    """The folder and the file, at the newest revision; to be called on a thread."""
    try:
        settings.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts are private
    except OSError as error:
        raise StorageError(f"The store's folder {settings.path.parent} cannot be made: {error.strerror}.") from error
    if _needs_migration(settings):
        from storage.migrations import upgrade  # Alembic is slow to import, and most starts do not need it

        upgrade(settings)


def _needs_migration(settings: StoreSettings) -> bool:
    from storage.schema import HEAD

    if not settings.path.exists():
        return True
    try:
        with sqlite_connection(settings.path, settings.busy_s) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            return not known or connection.execute("SELECT version_num FROM alembic_version").fetchone() != (HEAD,)
    except sqlite3.Error as error:
        raise translated(error) from error


@contextmanager
def sqlite_connection(path: Path, busy_s: float = 5.0) -> Iterator[sqlite3.Connection]:
    """A plain connection for work on its own thread: the first look, the migration, the beat."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout={round(busy_s * 1000)}")
        yield connection
    finally:
        connection.close()


def _code(error: Exception) -> int:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return int(getattr(origin, "sqlite_errorcode", 0) or 0) & 0xFF  # the low byte; above it are the extended codes


class Beats:
    """A connection for each beat of an engine's heart."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings

    def beat(self, owner: str, at: float | None) -> None:
        """One beat; StorageError if it did not arrive."""
        now = time.time() if at is None else at
        try:
            with sqlite_connection(self._settings.path, self._settings.busy_s) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("UPDATE engine SET beat = beat + 1, beat_at = ? WHERE owner = ?", (now, owner))
        except sqlite3.Error as error:
            raise translated(error) from error

    def close(self) -> None:
        """Nothing is kept open."""
