"""Final replies that are still owed: one letter a finished job, written by the transaction that finished it.

The feed wakes, the outbox decides: what is unsent here is sent, after a restart too. Of several bots on one store each
takes a letter before sending it, so that one alone does. Knows no surface.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, or_, select, update

from storage import schema
from storage.database import Database, shielded
from storage.dialects import now
from storage.events import Kind
from storage.logs import clean
from storage.rescue import is_gone

FREE = {"taken_by": None, "taken_until": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One reply that is owed."""

    id: int
    job: str
    surface: str
    reply_to: str  # in the adapter's own words
    kind: Kind  # completed, failed or cancelled
    attempts: int = 0
    message_id: str | None = None  # of the message that is to be written over: the job was withdrawn, or released


class Outbox:
    """The outbox table."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock

    @shielded
    async def unsent(self, surfaces: Sequence[str], limit: int = 1_000) -> list[Letter]:
        """What is to be sent now on these surfaces, oldest first; not what waits for its next try."""
        one = schema.outbox.c
        due = or_(one.retry_at.is_(None), one.retry_at <= self._clock())
        query = select(schema.outbox).where(one.sent_at.is_(None), one.surface.in_(list(surfaces)), due)
        async with self._db.read() as connection:
            return [_letter(row) for row in await connection.execute(query.order_by(one.id).limit(limit))]

    @shielded
    async def take(self, letters: Sequence[int], by: str, for_s: float) -> list[Letter]:
        """Those of the letters that `by` sends, and no other bot, for so many seconds; again: for so many from now on.

        A letter that somebody else took is theirs until their time is over by the store's clock, or their process gone.
        """
        one = schema.outbox.c
        query = select(schema.outbox, (one.taken_until <= now()).label("late"))
        query = query.where(one.id.in_(list(letters)), one.sent_at.is_(None)).with_for_update(skip_locked=True)
        async with self._db.write(alone=False) as connection:
            found = (await connection.execute(query.order_by(one.id))).all()
            won = [row for row in found if row.taken_by in (None, by) or row.late or is_gone(row.taken_by)]
            if won:
                mine = update(schema.outbox).where(one.id.in_([row.id for row in won]))
                await connection.execute(mine.values(taken_by=by, taken_until=now() + for_s))
        return [_letter(row) for row in won]

    @shielded
    async def sent(self, letter_id: int, message_id: str | None) -> None:
        """The letter has arrived, as this message; saying so twice keeps the first."""
        one = schema.outbox.c
        arrived = update(schema.outbox).where(one.id == letter_id, one.sent_at.is_(None))
        async with self._db.write(alone=False) as connection:
            await connection.execute(
                arrived.values(sent_at=self._clock(), message_id=message_id, attempts=one.attempts + 1, error=None)
            )

    @shielded
    async def close(self, letter_id: int, reason: str) -> None:
        """The letter can never arrive; it is not tried again."""
        one = schema.outbox.c
        open_one = update(schema.outbox).where(one.id == letter_id, one.sent_at.is_(None))
        async with self._db.write(alone=False) as connection:
            closed = {"sent_at": self._clock(), "attempts": one.attempts + 1, "error": clean(reason)}
            await connection.execute(open_one.values(**closed))

    @shielded
    async def drop(self, letter_id: int) -> None:
        """The letter's message shows nothing any more: its address is of no further use."""
        async with self._db.write(alone=False) as connection:
            await connection.execute(delete(schema.outbox).where(schema.outbox.c.id == letter_id))

    @shielded
    async def counts(self) -> Mapping[str, int]:
        """How many letters are `owed`, and how many were closed as `undeliverable`."""
        one = schema.outbox.c
        owed, closed = one.sent_at.is_(None), one.sent_at.is_not(None) & one.error.is_not(None)
        query = select(func.count().filter(owed), func.count().filter(closed)).select_from(schema.outbox)
        async with self._db.read() as connection:
            found = (await connection.execute(query)).one()
        return {"owed": found[0], "undeliverable": found[1]}

    @shielded
    async def failed_try(self, letter_id: int, error: str, retry_at: float) -> None:
        """The letter could not be sent; whoever takes it then tries again from `retry_at`."""
        one = schema.outbox.c
        still = update(schema.outbox).where(one.id == letter_id, one.sent_at.is_(None))
        said = {"attempts": one.attempts + 1, "error": clean(error), "retry_at": retry_at}
        async with self._db.write(alone=False) as connection:
            await connection.execute(still.values(**said, **FREE))

    @shielded
    async def readdress(self, job: str, old: str, new: str) -> None:
        """A job's reply, and its letter if still owed, goes to `new`, unless its address is not `old`."""
        one, letter = schema.job.c, schema.outbox.c
        async with self._db.write(alone=False) as connection:
            await connection.execute(update(schema.job).where(one.id == job, one.reply_to == old).values(reply_to=new))
            await connection.execute(
                update(schema.outbox)
                .where(letter.job == job, letter.reply_to == old, letter.sent_at.is_(None))
                .values(reply_to=new)
            )


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        id=row.id,
        job=row.job,
        surface=row.surface,
        reply_to=row.reply_to,
        kind=Kind(row.kind),
        attempts=row.attempts,
        message_id=row.message_id,
    )
