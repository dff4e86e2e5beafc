"""The bot's metrics, for Prometheus: the queue, the people who wait, the letters that are owed, the engines, the disk.

Looks into the store every few seconds and remembers, so that a scrape costs nothing. Who has asked for more than a few
dreams in the last hour is `heavy`, everybody else `light`: with fair shares the light wait little.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from sqlalchemy import Row, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import Store
from storage import disk, schema
from storage.errors import StoreBusy
from storage.events import FINAL_KINDS, Kind

log = logging.getLogger(__name__)

LOOK_S = 5.0
HOUR_S = 3_600.0
LIGHT = 5  # dreams in an hour
WAITS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0)  # seconds
STALE_S = 60.0  # a store that has not answered for so long is none


class Metrics:
    """What the bot counts."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._cursor: int | None = None
        self._looked_at: float | None = None
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._jobs = self._gauge("queue_jobs", "Jobs by state", "state")
        self._oldest = self._gauge("queue_oldest_seconds", "Age of the job that waits longest")
        self._letters = self._gauge("outbox_letters", "Final replies that are owed")
        self._letter_age = self._gauge("outbox_oldest_seconds", "Seconds that the oldest owed reply is late")
        self._retries = self._gauge("outbox_retries", "Failed tries of the replies that are owed")
        self._engines = self._gauge("engines_alive", "Engines that beat")
        self._free = self._gauge("disk_free_bytes", "Room where the store is")
        self._size = self._gauge("database_bytes", "Size of the database and, of SQLite's, its log", "file")
        self.lag = self._gauge("loop_lag_seconds", "Seconds that the event loop came round late")
        waited = "Seconds from a dream's acceptance to its start, by how much its person asks for"
        self._waited = Histogram("dreambot_wait_seconds", waited, ("user",), buckets=WAITS, registry=self.registry)
        self._ended = Counter("dreambot_jobs_total", "Jobs that are over, by how", ("how",), registry=self.registry)
        self._requeued = Counter("dreambot_requeued_total", "Jobs given back, by why", ("why",), registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"dreambot_{name}", what, labels, registry=self.registry)

    async def run(self) -> None:
        """For ever: look, and wait."""
        while True:
            try:
                await self.look()
            except StoreBusy as error:
                log.warning("metrics wait: %s", error)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Read what is to be told; nothing is written."""
        store, now = self._store, self._clock()
        if self._cursor is None:
            self._cursor = await store.feed.head()
        async with store.database.read() as connection:
            await self._queue(connection, now)
            await self._outbox(connection, now)
            await self._events(connection, self._cursor)
        self._engines.set(len(await store.engines.alive(store.settings.silent_s)))
        self._free.set(disk.free(store.settings.home))
        for file, size in (await store.database.sizes()).items():
            self._size.labels(file).set(size)
        self._looked_at = time.monotonic()

    async def _queue(self, connection: AsyncConnection, now: float) -> None:
        for state in ("queued", "running"):
            one = schema.job.c
            query = select(func.count(), func.min(one.created_at)).where(one.state == literal_column(f"'{state}'"))
            count, oldest = (await connection.execute(query)).one()
            self._jobs.labels(state).set(count)
            if state == "queued":
                self._oldest.set(0.0 if oldest is None else max(0.0, now - oldest))

    async def _outbox(self, connection: AsyncConnection, now: float) -> None:
        one = schema.outbox.c
        finished = func.min(schema.job.c.finished_at)
        owed = select(func.count(), finished, func.coalesce(func.sum(one.attempts), 0))
        query = owed.join_from(schema.outbox, schema.job, one.job == schema.job.c.id).where(one.sent_at.is_(None))
        count, oldest, attempts = (await connection.execute(query)).one()
        self._letters.set(count)
        self._letter_age.set(0.0 if oldest is None else max(0.0, now - oldest))
        self._retries.set(attempts)

    async def _events(self, connection: AsyncConnection, cursor: int) -> None:
        """What has happened since the last look; events never come out of order."""
        event, one, other = schema.event.c, schema.job.c, schema.job.alias().c
        recent = (other.flow_id == one.flow_id) & (other.created_at > one.created_at - HOUR_S)
        asked = select(func.count()).where(recent, other.created_at <= one.created_at).scalar_subquery()
        query = (
            select(event.id, event.kind, event.data, (event.at - one.created_at).label("waited"))
            .add_columns(case((event.kind == Kind.STARTED.value, asked)).label("asked"))
            .join_from(schema.event, schema.job, event.job == one.id)
            .where(event.id > cursor, event.kind != Kind.PROGRESSED.value)
            .order_by(event.id)
        )
        for row in await connection.execute(query):
            self._note(row)
            self._cursor = row.id

    def _note(self, row: Row[tuple[object, ...]]) -> None:
        kind = Kind(row.kind)
        if kind is Kind.STARTED and row.data.get("attempt", 1) == 1:
            self._waited.labels("light" if row.asked <= LIGHT else "heavy").observe(max(0.0, row.waited))
        elif kind is Kind.REQUEUED:
            self._requeued.labels(row.data.get("why", "drain")).inc()
        elif kind in FINAL_KINDS:
            self._ended.labels(row.data.get("reason") or kind.value).inc()

    def unready(self) -> str:
        """Why this bot is not ready; empty if it is. Called from another thread."""
        if self._looked_at is None:
            return "the store has not been opened yet"
        since = time.monotonic() - self._looked_at
        return f"the store has not answered for {since:.0f} s" if since > STALE_S else ""

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry).decode()
