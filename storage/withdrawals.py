"""Withdrawn results: deleted for good by who owns them, or withheld by a moderator until they are released.

Knows what goes with a result (pictures, candidates, votes, previews) and what stays: the job's own row, so that history
and fairness stay true. A message that shows the result is owed once more, to be written over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema
from storage.database import Database, shielded
from storage.dialects import upsert
from storage.events import Kind
from storage.job import Caller, State, Withdrawn
from storage.outbox import FREE

MANY = 500  # values in one statement


class Withdrawals:
    """The withdrawal table, and what it takes along."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock

    @shielded
    async def delete(self, job_id: str, by: Caller) -> list[str]:
        """Withdraw a finished job for good; the digests of pictures that nothing refers to any more."""
        async with self._db.write() as connection:
            await withdraw(connection, [job_id], Withdrawn.DELETED, f"{by.surface}:{by.user}", self._clock())
            return await strip(connection, [job_id])

    @shielded
    async def withhold(self, job_id: str, by: Caller) -> None:
        """Show a finished job's pictures to nobody but moderators, until `release`."""
        async with self._db.write() as connection:
            await withdraw(connection, [job_id], Withdrawn.WITHHELD, f"{by.surface}:{by.user}", self._clock())

    @shielded
    async def release(self, job_id: str) -> bool:
        """Take `withhold` back; False if the job was not withheld."""
        one = schema.withdrawal.c
        held = delete(schema.withdrawal).where(one.job == job_id, one.kind == Withdrawn.WITHHELD.value)
        async with self._db.write() as connection:
            if not (await connection.execute(held)).rowcount:
                return False
            await _owe_again(connection, [job_id])
            return True


async def withdraw(connection: AsyncConnection, jobs: Sequence[str], kind: Withdrawn, by: str, at: float) -> None:
    """Mark finished jobs, and owe their messages once more."""
    for some in _parts(jobs):
        new = upsert(schema.withdrawal).values([{"job": job, "kind": kind.value, "by": by, "at": at} for job in some])
        changed = {"kind": new.excluded.kind, "by": new.excluded.by, "at": new.excluded.at}
        await connection.execute(new.on_conflict_do_update(index_elements=["job"], set_=changed))
    await _owe_again(connection, jobs)


async def strip(connection: AsyncConnection, jobs: Sequence[str]) -> list[str]:
    """Drop the pictures, candidates, votes and previews of jobs; the digests that nothing refers to any more.

    While another job runs that may come to the very same pictures, their files are left for the collector: it may have
    found one in its place and be about to refer to it.
    """
    shown: set[str] = set()
    for some in _parts(jobs):
        shown |= await _digests(connection, some)
        for table in (schema.image, schema.candidate, schema.vote):
            await connection.execute(delete(table).where(table.c.job.in_(some)))
        await connection.execute(
            delete(schema.event).where(schema.event.c.job.in_(some), schema.event.c.kind == Kind.PROGRESSED.value)
        )
    if await _relatives_run(connection, jobs):
        return []
    kept: set[str] = set()
    for digests in _parts(sorted(shown)):
        kept |= set(await connection.scalars(select(schema.image.c.sha256).where(schema.image.c.sha256.in_(digests))))
    return sorted(shown - kept)


async def _digests(connection: AsyncConnection, jobs: Sequence[str]) -> set[str]:
    found = set(await connection.scalars(select(schema.image.c.sha256).where(schema.image.c.job.in_(jobs))))
    progress = select(schema.event.c.data).where(
        schema.event.c.job.in_(jobs), schema.event.c.kind == Kind.PROGRESSED.value
    )
    return found | {data["preview"] for data in await connection.scalars(progress) if data.get("preview")}


async def _relatives_run(connection: AsyncConnection, jobs: Sequence[str]) -> bool:
    one = schema.job.c
    for some in _parts(jobs):
        related = or_(one.parent.in_(some), one.again_of.in_(some))
        query = select(one.seq).where(one.state == State.RUNNING.value, related).limit(1)
        if (await connection.execute(query)).first():
            return True
    return False


async def _owe_again(connection: AsyncConnection, jobs: Sequence[str]) -> None:
    one = schema.outbox.c
    for some in _parts(jobs):
        sent = update(schema.outbox).where(one.job.in_(some), one.message_id.is_not(None))
        await connection.execute(sent.values(sent_at=None, retry_at=None, attempts=0, error=None, **FREE))


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + MANY] for start in range(0, len(values), MANY))
