"""Votes: one a person and job, given and taken back by the same gesture. Knows rows, not who may see a job."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select

from storage import accounts, schema
from storage.database import Database, shielded
from storage.errors import UserError
from storage.job import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What a vote led to."""

    given: bool  # False: it was taken back
    votes: int  # of everybody


class Votes:
    """The vote table."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock

    @shielded
    async def toggle(self, caller: Caller, job_id: str) -> Poll:
        """Vote for a job that exists, or take the vote back; UserError for who is banned."""
        one = schema.vote.c
        async with self._db.write() as connection:
            person = await accounts.user(connection, caller.surface, caller.user, caller.name)
            if person.banned:
                raise UserError("You are banned from voting here; an admin can lift that.")
            mine = (one.user_id == person.id) & (one.job == job_id)
            taken = (await connection.execute(delete(schema.vote).where(mine))).rowcount
            if not taken:
                await connection.execute(insert(schema.vote).values(user_id=person.id, job=job_id, at=self._clock()))
            counted = await connection.execute(select(func.count()).where(one.job == job_id))
            return Poll(given=not taken, votes=int(counted.scalar_one()))

    @shielded
    async def count(self) -> int:
        """All votes that stand."""
        async with self._db.read() as connection:
            return int((await connection.execute(select(func.count()).select_from(schema.vote))).scalar_one())
