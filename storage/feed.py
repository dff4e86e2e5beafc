"""The wire: the event log, followed. Whoever follows polls a number that moves with every commit.

SQLite serialises writers, so a lower id never commits after a higher one: `id > cursor` misses nothing. On PostgreSQL
it may, and then there is a gap: nobody is told what is behind one before the transactions that can still fill it are
over. There a commit wakes us, too (NOTIFY), and the number need not be polled often.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy import func, select

from storage import schema
from storage.database import Database, shielded
from storage.dialects import upsert
from storage.events import Event, Kind

UNPOLLED_S = 1.0  # how long a follower naps who is woken


class Feed:
    """The event log of one store, for any number of followers in this process."""

    def __init__(self, db: Database, poll_s: float = 0.02) -> None:
        self._db = db
        self._poll_s = poll_s if db.polled else max(poll_s, UNPOLLED_S)
        self._version: int | None = None
        self._moves = 0  # counts what was noticed, so that every waiter can compare with what it has seen
        self._seen = 0  # by `changed`
        self._wake = asyncio.Event()
        db.after_commit(self._look_now)

    @shielded
    async def head(self) -> int:
        """The newest event's id; a cursor that skips everything so far."""
        async with self._db.read() as connection:
            last = (await connection.execute(select(func.coalesce(func.max(schema.event.c.id), 0)))).scalar_one()
        if not self._db.in_order:
            await self._db.settled()  # else an event before this one could still come
        return int(last)

    @shielded
    async def since(self, cursor: int, limit: int = 500) -> list[Event]:
        """Up to `limit` events after `cursor`, oldest first."""
        found = await self._events(cursor, limit)
        if self._db.in_order or not found or found[-1].id == cursor + len(found):
            return found
        await self._db.settled()
        return await self._events(cursor, limit, found[-1].id)

    async def follow(self, cursor: int) -> AsyncIterator[list[Event]]:
        """Every event after `cursor`, in batches, for ever."""
        while True:
            seen = await self._look()  # before reading: what commits in between is noticed by the next look
            while events := await self.since(cursor):
                cursor = events[-1].id
                yield events
            await self._moved(seen, None)

    async def changed(self, timeout: float) -> bool:  # noqa: ASYNC109 - a poll that ends is no error
        """Wait until the store has changed, or somebody nudged, since the last call; False after `timeout`."""
        moves = await self._moved(self._seen, timeout)
        moved, self._seen = moves != self._seen, moves
        return moved

    def nudge(self) -> None:
        """Wake every waiter of this process, whether or not the store has changed."""
        self._moves += 1
        self._look_now()

    @shielded
    async def load_cursor(self, name: str) -> int | None:
        """The saved cursor of that name; None if there is none."""
        async with self._db.read() as connection:
            query = select(schema.cursor.c.event).where(schema.cursor.c.name == name)
            return (await connection.execute(query)).scalar()

    @shielded
    async def save_cursor(self, name: str, cursor: int) -> None:
        """Save a cursor, to go on there after a restart."""
        new = upsert(schema.cursor).values(name=name, event=cursor)
        async with self._db.write(alone=False) as connection:
            await connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"event": cursor}))

    async def _events(self, cursor: int, limit: int, until: int | None = None) -> list[Event]:
        query = select(schema.event).where(schema.event.c.id > cursor).order_by(schema.event.c.id).limit(limit)
        if until is not None:
            query = query.where(schema.event.c.id <= until)
        async with self._db.read() as connection:
            return [
                Event(id=row.id, kind=Kind(row.kind), job=row.job, at=row.at, data=row.data)
                for row in await connection.execute(query)
            ]

    async def _moved(self, seen: int, limit_s: float | None) -> int:
        """The count of moves, as soon as it is not `seen`, or after `limit_s`."""
        loop = asyncio.get_running_loop()
        until = None if limit_s is None else loop.time() + limit_s
        while True:
            wake = self._wake  # before looking: what commits meanwhile ends the nap
            left = self._poll_s if until is None else min(self._poll_s, until - loop.time())
            if await self._look() != seen or left <= 0:
                return self._moves
            await self._nap(wake, left)

    async def _look(self) -> int:
        version = await self._db.shielded(self._db.replayed(self._db.data_version))
        if version != self._version:
            self._version = version
            self._moves += 1
        return self._moves

    async def _nap(self, wake: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            pass

    def _look_now(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()
