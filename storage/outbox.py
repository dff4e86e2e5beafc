"""Final replies that are still owed: one letter a finished job, written by the transaction that finished it.

The feed wakes, the outbox decides: what is unsent here is sent, after a restart too. Knows no surface.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select, update

from storage import schema
from storage.database import Database, shielded
from storage.events import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One reply that is owed."""

    id: int
    job: str
    surface: str
    reply_to: str  # in the adapter's own words
    kind: Kind  # completed, failed or cancelled
    attempts: int = 0
    message_id: str | None = None


class Outbox:
    """The outbox table."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock

    @shielded
    async def unsent(self, surfaces: Sequence[str], limit: int = 50) -> list[Letter]:
        """What is to be sent now on these surfaces, oldest first; not what waits for its next try."""
        one = schema.outbox.c
        due = or_(one.retry_at.is_(None), one.retry_at <= self._clock())
        query = select(schema.outbox).where(one.sent_at.is_(None), one.surface.in_(list(surfaces)), due)
        async with self._db.read() as connection:
            return [
                Letter(
                    id=row.id,
                    job=row.job,
                    surface=row.surface,
                    reply_to=row.reply_to,
                    kind=Kind(row.kind),
                    attempts=row.attempts,
                    message_id=row.message_id,
                )
                for row in await connection.execute(query.order_by(one.id).limit(limit))
            ]

    @shielded
    async def sent(self, letter_id: int, message_id: str | None) -> None:
        """The letter has arrived, as this message; saying so twice keeps the first."""
        one = schema.outbox.c
        arrived = update(schema.outbox).where(one.id == letter_id, one.sent_at.is_(None))
        async with self._db.write() as connection:
            await connection.execute(
                arrived.values(sent_at=self._clock(), message_id=message_id, attempts=one.attempts + 1, error=None)
            )

    @shielded
    async def failed_try(self, letter_id: int, error: str, retry_at: float) -> None:
        """The letter could not be sent; try again from `retry_at`."""
        one = schema.outbox.c
        still = update(schema.outbox).where(one.id == letter_id, one.sent_at.is_(None))
        async with self._db.write() as connection:
            await connection.execute(still.values(attempts=one.attempts + 1, error=error, retry_at=retry_at))
