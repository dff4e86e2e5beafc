"""PostgreSQL: one server for engines and bots on many hosts.

What SQLite's BEGIN IMMEDIATE is, is here an advisory lock that ends with its transaction: the turn. Whoever changes
turns, charges or states takes it; what concerns one row alone (progress, a letter that arrived) goes without it, and
then two transactions may commit in another order than their events' ids: `settled` waits for those that lag behind.
A connection that is lost in the middle has stored nothing; one that is lost while it commits is asked after, by the
transaction's number. Knows locks, sessions and error codes; nothing of jobs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from storage.dialects import CLOCK
from storage.errors import StorageError, StoreBusy
from storage.session import PATIENCE_S, UNREACHABLE, connect_arguments, engine, translated
from storage.wire import CHANNEL, Wire

if TYPE_CHECKING:
    from storage.settings import StoreSettings

log = logging.getLogger(__name__)

POOLED: Mapping[str, Any] = {"pool_size": 4, "max_overflow": 0}  # connections that read, and as many that write
SPACE, TURN, APPENDS, MIGRATION = 0x6472, 1, 2, 3  # our advisory locks in a database: a common space, and which one
_BEGIN = (
    f"SELECT {{turn}}pg_advisory_xact_lock_shared({SPACE}, {APPENDS}), pg_notify('{CHANNEL}', ''), "
    "CAST(pg_current_xact_id() AS text)"
)
_APPENDING = f"""
SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND classid = {SPACE} AND objid = {APPENDS} AND objsubid = 2"""


class Postgres:
    """The database at `settings.store`."""

    in_order = False  # only the turn makes writers take turns
    polled = False
    errors: tuple[type[Exception], ...] = (DBAPIError, *UNREACHABLE)

    def __init__(self, settings: StoreSettings) -> None:
        self.writer = engine(settings, isolation_level="READ COMMITTED", **POOLED)
        reads: dict[str, Any] = {"postgresql_readonly": True}
        self.reader = engine(settings, isolation_level="REPEATABLE READ", execution_options=reads, **POOLED)
        self.folders: tuple[Path, ...] = ()  # the server looks after its own disk
        self._wire = Wire(connect_arguments(settings))
        self._lost_s = settings.lost_s

    async def start(self, heard: Callable[[], None]) -> None:
        """`heard` is called whenever anybody has committed, once somebody has asked for the version."""
        self._wire.heard = heard

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()
        await self.writer.dispose()
        await self.reader.dispose()

    async def begin_reading(self, connection: AsyncConnection) -> None:
        """REPEATABLE READ, READ ONLY: the dialect begins by itself."""

    async def begin_writing(self, connection: AsyncConnection, *, alone: bool) -> int:
        """Begin, with the turn if `alone`; the transaction's number."""
        turn = f"pg_advisory_xact_lock({SPACE}, {TURN}), " if alone else ""
        row = (await connection.exec_driver_sql(_BEGIN.format(turn=turn))).one()
        return int(row[-1])

    async def committed(self, transaction: int) -> bool:
        """Whether a transaction whose COMMIT nobody answered has happened; StorageError if the server never says so."""
        until = time.monotonic() + self._lost_s
        while time.monotonic() < until:
            try:
                async with self.writer.connect() as connection:
                    asked = f"SELECT pg_xact_status(CAST('{transaction}' AS xid8))"
                    status = (await connection.exec_driver_sql(asked)).scalar()
            except (DBAPIError, *UNREACHABLE) as error:
                log.warning("what became of a transaction is not known yet: %s", error)
                status = "in progress"
            if status != "in progress":
                return status == "committed"
            await asyncio.sleep(0.1)
        raise StorageError("The server did not say whether what was asked is stored.")

    async def settled(self) -> None:
        """Wait until every transaction has ended that may have taken an event's id by now."""
        async with self.reader.connect() as connection:
            first = set((await connection.exec_driver_sql(_APPENDING)).scalars())
            while first:
                await asyncio.sleep(0.002)
                first &= set((await connection.exec_driver_sql(_APPENDING)).scalars())

    async def version(self) -> int:
        """A number that changes when anybody has committed."""
        return await self._wire.version()

    async def sizes(self) -> Mapping[str, int]:
        """Bytes of the database, indices and all."""
        async with self.reader.connect() as connection:
            size = await connection.exec_driver_sql("SELECT pg_database_size(current_database())")
            return {"db": int(size.scalar_one())}

    def translated(self, error: Exception) -> StorageError:
        """What an error of the driver, or of the network, means to us."""
        return translated(error)

    def waits(self, error: Exception) -> bool:
        """Whether beginning is worth another try."""
        return isinstance(translated(error), StoreBusy)


def prepare(settings: StoreSettings, *, moving: bool = False) -> None:
    """The tables, at the newest revision; to be called on a thread. StorageError if nobody answers there.

    A store that is being moved here is opened by nobody but whoever is `moving` it.
    """
    try:
        if asyncio.run(_needs_migration(settings, moving)):
            from storage.migrations import upgrade

            upgrade(settings)
    except (DBAPIError, *UNREACHABLE) as error:
        why = str(getattr(error, "orig", None) or error) or type(error).__name__
        raise StorageError(f"The store at {settings.place} cannot be opened: {why}") from error


async def _needs_migration(settings: StoreSettings, moving: bool) -> bool:
    from storage.schema import HEAD

    connection = await asyncpg.connect(**connect_arguments(settings), timeout=PATIENCE_S)
    try:
        if not await connection.fetchval("SELECT to_regclass('alembic_version')"):
            return True
        if not moving and await connection.fetchval("SELECT to_regclass('moving')"):
            raise StorageError(f"The store at {settings.place} is incomplete: `admin migrate-store` has not ended yet.")
        return bool(await connection.fetchval("SELECT version_num FROM alembic_version") != HEAD)
    finally:
        await connection.close()


def migrate(settings: StoreSettings, upgrade: Callable[[Connection], None]) -> None:
    """Call `upgrade` in one transaction; two processes that do so take turns."""

    async def run() -> None:
        made = engine(settings, poolclass=NullPool)
        async with made.begin() as connection:
            await connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SPACE}, {MIGRATION})")
            await connection.run_sync(upgrade)
        await made.dispose()

    asyncio.run(run())


class Beats:
    """One connection for an engine's heart, on a thread and a loop of its own; made anew when it is lost."""

    def __init__(self, settings: StoreSettings) -> None:
        self._arguments = connect_arguments(settings)
        self._connection: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="beats", daemon=True)

    def beat(self, owner: str, at: float | None) -> None:
        """One beat; StorageError if it did not arrive."""
        if not self._thread.is_alive():
            self._thread.start()
        try:
            self._call(self._beat(owner, at))
        except UNREACHABLE as error:
            self._call(self._end())
            raise translated(error) from error

    async def _beat(self, owner: str, at: float | None) -> None:
        if self._connection is None:
            self._connection = await asyncpg.connect(**self._arguments, timeout=PATIENCE_S)
            await self._connection.execute("SET synchronous_commit = off")  # a lost beat is followed by another
        words = f"UPDATE engine SET beat = beat + 1, beat_at = coalesce($1, {CLOCK}) WHERE owner = $2"
        await self._connection.execute(words, at, owner, timeout=PATIENCE_S)

    def close(self) -> None:
        """End the connection and the thread."""
        if self._thread.is_alive():
            self._call(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()
