"""The open database: a transaction that writes, others that read, and calls that survive their caller.

Knows retries, replays and shielding; which database it is, and what its locks and errors are called, is in
`storage.sqlite` and `storage.postgres`. Nothing of jobs.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage import sqlite
from storage.disk import drop_ballast
from storage.errors import StorageError, StoreBroken, StoreBusy, StoreFull, StoreLost
from storage.sqlite import sqlite_connection

if TYPE_CHECKING:  # pydantic takes longer to import than a store takes to open
    from storage.settings import StoreSettings

__all__ = ["Database", "HasDatabase", "shielded", "sqlite_connection"]

log = logging.getLogger(__name__)

RETRIES = 3
SHORTEST_S, LONGEST_S = 0.05, 1.0  # between two tries of a call whose connection was lost

P = ParamSpec("P")
T = TypeVar("T")


class Backend(Protocol):
    """One kind of database."""

    writer: AsyncEngine
    reader: AsyncEngine
    folders: tuple[Path, ...]  # whose disks must have room
    errors: tuple[type[Exception], ...]  # that `translated` understands

    in_order: bool  # whether a lower id never commits after a higher one
    polled: bool  # whether nobody tells us of others' commits

    async def start(self, heard: Callable[[], None]) -> None: ...
    async def close(self) -> None: ...
    async def begin_reading(self, connection: AsyncConnection) -> None: ...
    async def begin_writing(self, connection: AsyncConnection, *, alone: bool) -> int: ...
    async def committed(self, transaction: int) -> bool: ...
    async def settled(self) -> None: ...
    async def version(self) -> int: ...
    async def sizes(self) -> Mapping[str, int]: ...
    def translated(self, error: Exception) -> StorageError: ...
    def waits(self, error: Exception) -> bool: ...


class Database:
    """The store of one process. Make it with `async with Database.open(settings) as db`."""

    def __init__(self, settings: StoreSettings, backend: Backend) -> None:
        self.settings = settings
        self._backend = backend
        self._writing = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._broken = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: StoreSettings) -> AsyncIterator[Self]:
        """The store, created or brought to the newest revision if need be; closed at the end."""
        db = cls(settings, await _prepared(settings))
        await db._backend.start(db._commit_heard)
        try:
            yield db
        finally:
            await db.close()

    async def close(self) -> None:
        """Wait for the calls whose callers are gone, then close every connection."""
        while self._calls:
            await asyncio.gather(*self._calls, return_exceptions=True)
        await self._backend.close()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders whose disks must have room for the database."""
        return self._backend.folders

    @property
    def in_order(self) -> bool:
        """Whether an event with a lower id never commits after one with a higher id."""
        return self._backend.in_order

    @property
    def polled(self) -> bool:
        """Whether others' commits are noticed only by asking for the version."""
        return self._backend.polled

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one state of the store throughout, and cannot write."""
        with self._trusted():
            async with self._backend.reader.connect() as connection:
                await self._backend.begin_reading(connection)
                yield connection

    @asynccontextmanager
    async def write(self, *, alone: bool = True) -> AsyncIterator[AsyncConnection]:
        """A writing connection; commits at the end, or rolls back on an exception.

        Nobody else writes meanwhile: BEGIN IMMEDIATE. On PostgreSQL who needs not be `alone` only waits for the rows
        that are changed.
        """
        async with self._writing if alone or self._backend.in_order else nullcontext():
            with self._trusted():
                connection, transaction = await self._begin(alone=alone)
                try:
                    yield connection
                    await self._commit(connection, transaction)
                finally:
                    await connection.close()  # rolls back what is not committed
        self._commit_heard()

    async def data_version(self) -> int:
        """A number that changes when another connection has committed."""
        async with self._looking:
            with self._trusted():
                return await self._backend.version()

    async def sizes(self) -> Mapping[str, int]:
        """Bytes of the `db` and, of SQLite's, its log: `wal`."""
        with self._trusted():
            return await self._backend.sizes()

    async def settled(self) -> None:
        """Wait until no transaction is open that may have taken an event's id by now."""
        with self._trusted():
            await self._backend.settled()

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
            yield
        except StoreFull:
            drop_ballast(self.settings.home)
            raise
        except PoolTimeout as error:
            raise StoreBusy from error
        except self._backend.errors as error:
            raise self._noted(self._backend.translated(error)) from error

    def _noted(self, error: StorageError) -> StorageError:
        if isinstance(error, StoreBroken):
            log.error("%s", error)
            self._broken.set()
        elif isinstance(error, StoreFull):
            drop_ballast(self.settings.home)
        return error

    def after_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever this process has committed, or has heard of a commit."""
        self._listeners.append(listener)

    def _commit_heard(self) -> None:
        for listener in self._listeners:
            listener()

    async def shielded(self, call: Coroutine[Any, Any, T]) -> T:
        """Run `call` to its end even if the caller is cancelled; a cancelled transaction would keep its lock."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def replayed(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """`call`, and again while its connection gets lost before anything of it is stored, for `lost_s` at most."""
        loop = asyncio.get_running_loop()
        until, pause_s = loop.time() + self.settings.lost_s, SHORTEST_S
        while True:
            try:
                return await call()
            except StoreLost as error:
                if loop.time() >= until:
                    raise
                log.warning("%s; trying again", error)
            await asyncio.sleep(random.uniform(0.5, 1.0) * pause_s)
            pause_s = min(LONGEST_S, 2 * pause_s)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # the caller may be gone, the log is not
            log.debug("A store call ended with %s: %s", type(error).__name__, error)

    async def _begin(self, *, alone: bool = True) -> tuple[AsyncConnection, int]:
        for attempt in range(RETRIES + 1):
            connection = await self._backend.writer.connect()
            try:
                return connection, await self._backend.begin_writing(connection, alone=alone)
            except DBAPIError as error:
                if isinstance(self._backend.translated(error), StoreLost):
                    await connection.invalidate()
                await connection.close()
                if not self._backend.waits(error) or attempt == RETRIES:
                    raise
            await asyncio.sleep(random.uniform(0, 0.05) * 2**attempt)
        raise AssertionError("unreachable")

    async def _commit(self, connection: AsyncConnection, transaction: int) -> None:
        try:
            await connection.commit()
        except self._backend.errors as error:
            lost = isinstance(self._backend.translated(error), StoreLost)
            if not lost or not await self._backend.committed(transaction):
                raise


async def _prepared(settings: StoreSettings) -> Backend:
    """The database that the settings name, at the newest revision."""
    if settings.on_server:
        from storage import postgres  # its driver is loaded only where it is used

        await asyncio.to_thread(postgres.prepare, settings)
        return postgres.Postgres(settings)
    await asyncio.to_thread(sqlite.prepare, settings)
    return sqlite.Sqlite(settings)


class HasDatabase(Protocol):
    """Whose methods may be `shielded`."""

    _db: Database


S = TypeVar("S", bound=HasDatabase)


def shielded(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """A method that goes on to its end when its caller is cancelled, and begins anew when its connection is lost."""

    @functools.wraps(method)
    async def call(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._db.shielded(self._db.replayed(lambda: method(self, *args, **kwargs)))

    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, T]]", call)
