"""What a store needs done now and then: old events forgotten, old pictures let go, files that nobody refers to deleted.

Knows what refers to a picture. Does not know when it is called.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sqlalchemy import select

from storage import schema
from storage.database import Database, shielded
from storage.events import Kind
from storage.images import DAY_S, ImageStore
from storage.job import HANDED_IN, State, Withdrawn
from storage.withdrawals import strip, withdraw

BY = "retention"
MANY = 200  # jobs in one transaction: the write lock is nobody's for long


class Upkeep:
    """The store's and the pictures' housekeeping."""

    def __init__(self, db: Database, images: ImageStore, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._images = images
        self._clock = clock

    async def let_go(self, days: float) -> int:
        """Delete the pictures and candidates of dreams that were completed so many days ago; how many dreams.

        Their rows stay, so that history and fairness stay true; a message that shows one is written over.
        """
        before, gone = self._clock() - days * DAY_S, 0
        while some := await self._some(before):
            gone += len(some)
        return gone

    async def collect(self) -> int:
        """Delete the files that no job refers to and that are older than a day; how many."""
        referred = await self._referred()
        return await asyncio.to_thread(self._images.collect, referred, now=self._clock())

    @shielded
    async def _some(self, before: float) -> list[str]:
        one, withdrawal = schema.job.c, schema.withdrawal.c
        query = (
            select(one.id)
            .join(schema.withdrawal, withdrawal.job == one.id, isouter=True)
            .where(one.finished_at < before, one.state == State.COMPLETED.value)
            .where(withdrawal.kind.is_(None) | (withdrawal.kind != Withdrawn.DELETED.value))
            .limit(MANY)
        )
        async with self._db.write() as connection:
            jobs = list(await connection.scalars(query))
            await withdraw(connection, jobs, Withdrawn.DELETED, BY, self._clock())
            await strip(connection, jobs)  # the files go with the next `collect`
        return jobs

    @shielded
    async def _referred(self) -> set[str]:
        """Kept pictures, pictures that people handed in, and previews that a message may still show."""
        handed_in = [schema.job.c.params[name].as_string() for name in HANDED_IN]
        shown = schema.event.c.data["preview"].as_string()
        async with self._db.read() as connection:
            found = set(await connection.scalars(select(schema.image.c.sha256)))
            for digest in handed_in:
                found |= set(await connection.scalars(select(digest).where(digest.is_not(None))))
            progress = select(shown).where(schema.event.c.kind == Kind.PROGRESSED.value, shown.is_not(None))
            return found | set(await connection.scalars(progress))
