"""The open database: one connection that writes, a few that read, and calls that survive their caller.

Knows pragmas, locks, retries and shielding; nothing of jobs. SQLite in WAL with synchronous=FULL (an acknowledged row
survives a power cut); with a SQLite that has the WAL-reset bug, journal_mode=TRUNCATE instead.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from storage import is_wal_safe
from storage.disk import drop_ballast
from storage.errors import StorageError, StoreBroken, StoreBusy, StoreFull

if TYPE_CHECKING:  # pydantic takes longer to import than a store takes to open
    from storage.settings import StoreSettings

log = logging.getLogger(__name__)

RETRIES = 3
READERS = 4
SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL = 5, 6, 10, 11, 13

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """The store of one process. Make it with `async with Database.open(settings) as db`."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.path = settings.path
        self._writer = _engine(settings, writes=True)
        self._reader = _engine(settings, writes=False)
        self._writing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._kept: AsyncConnection | None = None
        self._broken = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: StoreSettings) -> AsyncIterator[Self]:
        """The store, created or brought to the newest revision if need be; closed at the end."""
        try:
            settings.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts are private
        except OSError as error:
            raise StorageError(
                f"The store's folder {settings.path.parent} cannot be made: {error.strerror}."
            ) from error
        if await asyncio.to_thread(_needs_migration, settings):
            from storage.migrations import upgrade  # Alembic is slow to import, and most starts do not need it

            await asyncio.to_thread(upgrade, settings)
        db = cls(settings)
        try:
            yield db
        finally:
            await db.close()

    async def close(self) -> None:
        """Wait for the calls whose callers are gone, then close every connection."""
        while self._calls:
            await asyncio.gather(*self._calls, return_exceptions=True)
        if self._kept is not None:
            await self._kept.close()
        await self._writer.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the store throughout, and cannot write."""
        with self._trusted():
            async with self._reader.connect() as connection:
                await connection.exec_driver_sql("BEGIN")  # ended by the pool's rollback
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """The one writing connection, in BEGIN IMMEDIATE; commits at the end, or rolls back on an exception."""
        async with self._writing:
            with self._trusted():
                connection = await self._begin()
                try:
                    yield connection
                    await connection.commit()
                finally:
                    await connection.close()  # rolls back what is not committed
        for listener in self._listeners:
            listener()

    async def data_version(self) -> int:
        """A number that changes when another connection has committed; asked on one kept connection.

        The trap: inside a transaction the number stands still. No hook begins one on the read engine, and this
        connection is never told BEGIN.
        """
        async with self._looking:
            with self._trusted():
                if self._kept is None:
                    self._kept = await self._reader.connect()
                return int((await self._kept.exec_driver_sql("PRAGMA data_version")).scalar_one())

    async def broke(self) -> None:
        """Wait until the disk or the file has failed, then raise StoreBroken: whoever runs a process awaits this.

        After a failed fsync nobody knows what the system still holds; only a new process reads what the disk has.
        """
        await self._broken.wait()
        raise StoreBroken

    @contextmanager
    def _trusted(self) -> Iterator[None]:
        """Nothing more is asked of a store that has failed once; a full disk is given its ballast back."""
        if self._broken.is_set():
            raise StoreBroken
        try:
            with _translated():
                yield
        except StoreBroken as error:
            log.error("%s", error)
            self._broken.set()
            raise
        except StoreFull:
            drop_ballast(self.settings.home)
            raise

    def after_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever this process has committed."""
        self._listeners.append(listener)

    async def shielded(self, call: Coroutine[Any, Any, T]) -> T:
        """Run `call` to its end even if the caller is cancelled; a cancelled transaction would keep its lock."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # the caller may be gone, the log is not
            log.debug("A store call ended with %s: %s", type(error).__name__, error)

    async def _begin(self) -> AsyncConnection:
        for attempt in range(RETRIES + 1):
            connection = await self._writer.connect()
            try:
                await connection.begin()
            except DBAPIError as error:
                await connection.close()
                if _code(error) != SQLITE_BUSY or attempt == RETRIES:
                    raise
            else:
                return connection
            await asyncio.sleep(random.uniform(0, 0.05) * 2**attempt)
        raise AssertionError("unreachable")


class HasDatabase(Protocol):
    """Whose methods may be `shielded`."""

    _db: Database


S = TypeVar("S", bound=HasDatabase)


def shielded(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """A method whose work goes on to its end when its caller is cancelled."""

    @functools.wraps(method)
    async def call(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.shielded(method(self, *args, **kwargs))

    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, T]]", call)


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


def _needs_migration(settings: StoreSettings) -> bool:
    from storage.schema import HEAD

    if not settings.path.exists():
        return True
    with _translated(), sqlite_connection(settings.path, settings.busy_s) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        return not known or connection.execute("SELECT version_num FROM alembic_version").fetchone() != (HEAD,)


@contextmanager
def sqlite_connection(path: Path, busy_s: float = 5.0) -> Iterator[sqlite3.Connection]:
    """A plain connection for work on its own thread: the first look, the migration, the beat."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout={round(busy_s * 1000)}")
        yield connection
    finally:
        connection.close()


def _code(error: DBAPIError | sqlite3.Error) -> int:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return int(getattr(origin, "sqlite_errorcode", 0) or 0) & 0xFF  # the low byte; above it are the extended codes


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy from error
    except (DBAPIError, sqlite3.Error) as error:
        match _code(error):
            case code if code in (SQLITE_BUSY, SQLITE_LOCKED):
                raise StoreBusy from error
            case code if code == SQLITE_FULL:
                raise StoreFull from error
            case code if code in (SQLITE_IOERR, SQLITE_CORRUPT):
                raise StoreBroken(f"The store failed: {getattr(error, 'orig', None) or error}") from error
            case _:
                raise StorageError(f"The store refused: {getattr(error, 'orig', None) or error}") from error
