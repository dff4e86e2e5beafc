"""What can be asked about jobs without changing one.

Knows how to find jobs, whose turn is when, and what the flags say; no transition.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import counters, fairness, limits, rows, schema
from storage.database import Database, shielded
from storage.job import Caller, Candidate, Checkpoint, Job, State

if TYPE_CHECKING:
    from storage.settings import StoreSettings

FLAGS = {"paused": False, "draining": False}
FORESEEN = 1_000  # turns that are worked out for a "you are #3"


_RUNNING_COST = select(func.coalesce(func.sum(schema.job.c.cost), 0.0)).where(schema.job.c.state == text("'running'"))


@dataclass(frozen=True, slots=True)
class Place:
    """A job's position (0: running, 1: next, None: in no line) and the estimated GPU-seconds of all before it."""

    position: int | None
    before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A waiting job, its position, and the estimated GPU-seconds of all before it."""

    job: str
    position: int
    before: float


class Lookup:
    """The reading half of the queue."""

    def __init__(self, db: Database, settings: StoreSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._settings = settings
        self._clock = clock

    @shielded
    async def get(self, job_id: str) -> Job | None:
        """The job with its images, best first; None if there is no such job."""
        async with self._db.read() as connection:
            found = await rows.fetch(connection, rows.jobs().where(schema.job.c.id == job_id))
        return found[0] if found else None

    @shielded
    async def candidates(self, job_id: str) -> list[Candidate]:
        """The job's scored draws, by number."""
        one = schema.candidate.c
        async with self._db.read() as connection:
            found = await connection.execute(select(schema.candidate).where(one.job == job_id).order_by(one.number))
            return [rows.candidate(row) for row in found]

    @shielded
    async def checkpoint(self, job_id: str) -> Checkpoint | None:
        """Where an unfinished job was; None if nothing was saved."""
        one = schema.checkpoint.c
        query = select(one.recipe_digest, one.bank, one.state).where(one.job == job_id)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else Checkpoint(recipe_digest=row.recipe_digest, bank=row.bank, state=row.state)

    @shielded
    async def position(self, job_id: str) -> int | None:
        """0: running; 1: next; None: over, or no such job, or its person is banned.

        By the very function that claims, if nobody else came and nobody ran into the cap; beyond FORESEEN turns, that
        many and one.
        """
        return (await self.place(job_id)).position

    @shielded
    async def place(self, job_id: str) -> Place:
        """Where a job stands and how much work is before it, from the line's heads alone: no other job is read."""
        async with self._db.read() as connection:
            state = (await connection.execute(select(schema.job.c.state).where(schema.job.c.id == job_id))).scalar()
            running = (await connection.execute(_RUNNING_COST)).scalar_one()
            if state != State.QUEUED:
                return Place(0 if state == State.RUNNING else None, running)
            heads = await _heads(connection, FORESEEN)
        ahead = list(takewhile(lambda head: head.job != job_id, heads))
        seen = len(ahead) < len(heads) or len(heads) == FORESEEN
        return Place(len(ahead) + 1 if seen else None, running + sum(head.cost for head in ahead))

    @shielded
    async def turns(self, limit: int = FORESEEN) -> list[Turn]:
        """Who waits, next first, from the line's heads alone: no other job is read."""
        async with self._db.read() as connection:
            before = float((await connection.execute(_RUNNING_COST)).scalar_one())
            heads = await _heads(connection, limit)
        found = []
        for position, head in enumerate(heads, start=1):
            found.append(Turn(job=head.job, position=position, before=before))
            before += head.cost
        return found

    @shielded
    async def waiting(self, limit: int = 50, guild: str | None = None) -> list[Job]:
        """Waiting jobs, next first; only one guild's if given, in the order that they have among all."""
        async with self._db.read() as connection:
            order = await _order(connection, limit if guild is None else FORESEEN)
            query = rows.jobs().where(schema.job.c.id.in_(order), schema.job.c.state == State.QUEUED)
            if guild is not None:
                query = query.where(schema.guild.c.name == guild)
            found = await rows.fetch(connection, query)
        place = {job_id: number for number, job_id in enumerate(order)}
        return sorted(found, key=lambda job: place[job.id])[:limit]

    @shielded
    async def anything_waits(self) -> bool:
        """Whether the line has anybody in it."""
        query = select(schema.job.c.seq).where(schema.job.c.state == text("'queued'"))
        query = query.order_by(schema.job.c.flow_id, schema.job.c.seq).limit(1)
        async with self._db.read() as connection:
            return (await connection.execute(query)).first() is not None

    @shielded
    async def running(self) -> list[Job]:
        """Running jobs, the longest running first."""
        query = rows.jobs().where(schema.job.c.state == text("'running'"))
        async with self._db.read() as connection:
            return await rows.fetch(connection, query.order_by(schema.job.c.started_at, schema.job.c.seq))

    @shielded
    async def history(self, caller: Caller, limit: int = 20) -> list[Job]:
        """The caller's jobs in every guild, newest first."""
        query = rows.jobs().where(schema.user.c.surface == caller.surface, schema.user.c.user == caller.user)
        async with self._db.read() as connection:
            return await rows.fetch(connection, query.order_by(schema.job.c.seq.desc()).limit(limit))

    @shielded
    async def cancel_requests(self, owner: str) -> set[str]:
        """The jobs running at `owner` that are to be stopped."""
        query = select(schema.job.c.id).where(
            schema.job.c.state == text("'running'"), schema.job.c.owner == owner, schema.job.c.cancel_by.is_not(None)
        )
        async with self._db.read() as connection:
            return set((await connection.execute(query)).scalars())

    @shielded
    async def allowance(self, caller: Caller) -> str:
        """`2 of 3 queued, 140 of 600 GPU-seconds today`; empty where nothing worth knowing is bounded."""
        one = schema.user.c
        mine = select(one.id, one.queued_limit).where(one.surface == caller.surface, one.user == caller.user)
        async with self._db.read() as connection:
            person = (await connection.execute(mine)).first()
            told = await limits.told_of(connection, caller)
            bounds = limits.of_person(self._settings, caller, person.queued_limit if person else None, told)
            if person is None or not limits.words(bounds, limits.Used(queued=0, seconds=0.0)):
                return ""
            return limits.words(bounds, await limits.used(connection, "user_id", person.id, bounds, self._clock()))

    @shielded
    async def flags(self) -> dict[str, Any]:
        """`paused`, `draining`, and whatever else was set."""
        async with self._db.read() as connection:
            return await flags(connection)


async def flags(connection: AsyncConnection) -> dict[str, Any]:
    """The flags with their defaults; a key with a colon is no flag, but somebody's own note."""
    return FLAGS | {row.key: row.value for row in await connection.execute(select(schema.flag)) if ":" not in row.key}


async def _order(connection: AsyncConnection, limit: int) -> list[str]:
    return [head.job for head in await _heads(connection, limit)]


async def _heads(connection: AsyncConnection, limit: int) -> list[fairness.Head]:
    line = await counters.line(connection, depth=limit)
    return list(islice(fairness.turns(line.guilds, line.users, line.waiting), limit))
