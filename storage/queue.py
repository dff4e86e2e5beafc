"""The queue: submit, claim, progress, complete, fail, cancel, requeue, rescue.

Knows which rows change together: a transition, its event, its outbox row and its charge are one transaction, and
whatever follows the event log hears of it after the commit. The statements are in `transitions`, the order is in
`fairness`, the questions are in `lookup`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import accounts, counters, fairness, rows, schema, transitions
from storage.database import shielded
from storage.dialects import upsert
from storage.disk import check_floor
from storage.errors import LostClaim, UserError
from storage.events import Kind
from storage.job import FINAL, Caller, Checkpoint, Job, Outcome, Reason, Request, Result, State, Withdrawn
from storage.lookup import Lookup, flags
from storage.rescue import Watch
from storage.withdrawals import withdraw

ALPHABET = "abcdefghijklmnopqrstuvwxyz23456789"
CRASHED = "The engine stopped {times} while it made this dream alone; it was given up."


class Queue(Lookup):
    """Every change of a job."""

    @shielded
    async def submit(self, request: Request, *, now: float | None = None) -> Job:
        """A durable job; the same `event_key` again is the same job.

        UserError: may not, or names no known job. StoreFull: the disk is nearly full.
        """
        at = self._clock() if now is None else now
        async with self._db.write() as connection:
            if (known := await _by_event_key(connection, request.event_key)) is not None:
                return known
            check_floor((*self._db.folders, self._settings.images), self._settings.disk_floor_mb)
            for name in (request.parent, request.again_of):
                if name is not None and not await _row(connection, name):
                    raise UserError(f"No job {name!r} is known here; `history` lists yours.")
            flow_id = await accounts.admit(connection, request.caller, self._settings, request.cost, at)
            await counters.lift(connection, flow_id)
            job_id = await _insert(connection, request, flow_id, at)
            await _tell(connection, Kind.QUEUED, job_id, at)
            return await _one(connection, job_id)

    @shielded
    async def claim(
        self,
        owner: str,
        room: int,
        *,
        running: Sequence[str] = (),
        packs: Sequence[str] | None = None,
        cap: int | None = None,
    ) -> list[Job]:
        """Up to `room` jobs, now running at `owner`, the fairest first; `running` are those that it has already.

        Nobody has more than `cap` of them, by default the settings'.
        """
        async with self._db.read() as connection:
            if room < 1 or not await _anything_waits(connection) or await _stopped(connection):
                return []  # and nobody's lock is waited for
        async with self._db.write() as connection:
            if await _stopped(connection):
                return []
            here = (await connection.execute(_running_at(owner))).all()
            if any(row.solo for row in here):
                return []
            line = await counters.line(connection, depth=room, owner=owner, packs=packs)
            busy = bool(here or running)
            most = self._settings.cap if cap is None else cap
            chosen = fairness.picks(line.guilds, line.users, line.waiting, room, cap=most, busy=busy)
            for head in chosen:
                await self._start(connection, head.job, owner)
            return await _all(connection, [head.job for head in chosen])

    @shielded
    async def progress(self, job: Job, done: int, total: int, preview: str | None, score: float | None) -> None:
        """How far a running job is; LostClaim if it is no longer ours."""
        at = self._clock()
        async with self._db.write(alone=False) as connection:
            row = await _held(connection, job, lock=True)
            await _must(connection, transitions.progress(row, at, shown=preview is not None))
            data = {"done": done, "total": total, "preview": preview, "score": score}
            await _tell(connection, Kind.PROGRESSED, job.id, at, data)

    @shielded
    async def save(self, job: Job, checkpoint: Checkpoint) -> None:
        """Where a running job is, in place of what was saved before; LostClaim if it is no longer ours."""
        values = {"at": self._clock(), **asdict(checkpoint)}
        async with self._db.write(alone=False) as connection:
            await _held(connection, job, lock=True)
            new = upsert(schema.checkpoint).values(job=job.id, **values)
            await connection.execute(new.on_conflict_do_update(index_elements=["job"], set_=values))

    @shielded
    async def complete(self, job: Job, result: Result) -> None:
        """The job's pictures, candidates and reply, all or nothing; LostClaim if it is no longer ours."""
        at = self._clock()
        async with self._db.write() as connection:
            row = await _held(connection, job)
            await _must(connection, transitions.complete(row, at, result))
            if result.images:
                await connection.execute(insert(schema.image), rows.image_values(job.id, result.images))
            if result.candidates:
                await connection.execute(insert(schema.candidate), rows.candidate_values(job.id, result.candidates))
            await counters.settle(connection, row, result.used)
            await _judge(connection, row, result.verdicts, at)
            await _over(connection, row, Kind.COMPLETED, at)

    @shielded
    async def fail(self, job: Job, reason: Reason, message: str) -> None:
        """The job ended without pictures, and nobody pays for it; LostClaim if it is no longer ours."""
        at = self._clock()
        async with self._db.write() as connection:
            row = await _held(connection, job)
            await _must(connection, transitions.fail(row, at, reason, message))
            await counters.refund(connection, row)
            await _over(connection, row, Kind.FAILED, at, {"reason": reason.value, "message": message})

    @shielded
    async def cancelled(self, job: Job, used: float | None = None) -> None:
        """The engine has stopped the job; without `used` the estimate stays charged, so stopping late saves nothing."""
        async with self._db.write() as connection:
            await _cancelled(connection, await _held(connection, job), self._clock(), used)

    @shielded
    async def cancel(self, job_id: str, caller: Caller) -> Outcome:
        """Cancel one's own job, one's guild's as its moderator, anybody's as an admin; what was observed."""
        at = self._clock()
        async with self._db.write() as connection:
            row = await _row(connection, job_id)
            if row is None:
                return Outcome.UNKNOWN
            if not caller.may_change(surface=row.surface, user=row.user, guild=row.guild):
                return Outcome.NOT_YOURS
            if row.state in FINAL:
                return Outcome.FINISHED
            if row.state == State.RUNNING:
                return await _ask_to_stop(connection, row, caller, at)
            await _must(connection, transitions.cancel(row, at))
            await _over(connection, row, Kind.CANCELLED, at, {"by": caller.name})
            return Outcome.CANCELLED

    @shielded
    async def requeue(self, jobs: Sequence[Job], why: str = "drain") -> None:
        """Give running jobs back without counting the attempt; one that is no longer ours is left alone."""
        at = self._clock()
        async with self._db.write() as connection:
            for job in jobs:
                row = await _row(connection, job.id)
                if row is None or row.state != State.RUNNING or row.token != job.token:
                    continue
                if row.cancel_by is not None:
                    await _cancelled(connection, row, at, None)
                elif await transitions.happened(connection, transitions.requeue(row)):
                    await counters.refund(connection, row)
                    await _tell(connection, Kind.REQUEUED, job.id, at, {"why": why})

    @shielded
    async def rescue(self, watch: Watch) -> list[Job]:
        """Give back, or give up, the jobs of engines that `watch` finds dead; the jobs that were moved."""
        async with self._db.read() as connection:
            seen = (await connection.execute(_beats())).all()
        dead = watch.dead({row.owner: row.beat for row in seen})
        lost = [row for row in seen if row.owner in dead]
        if not lost:
            return []
        async with self._db.write() as connection:
            alone = [row.owner for row in lost]
            moved = [row.id for row in lost if await self._rescue(connection, row, alone.count(row.owner) == 1)]
            return await _all(connection, moved)

    @shielded
    async def pause(self) -> None:
        """Claims hand out nothing until `resume`; what runs goes on."""
        await self._set("paused", True)

    @shielded
    async def resume(self) -> None:
        """Take back `pause` and `drain`."""
        await self._set("paused", False)
        await self._set("draining", False)

    @shielded
    async def drain(self) -> None:
        """Engines claim nothing more and exit when they are empty."""
        await self._set("draining", True)

    @shielded
    async def purge(self, older_than_s: float) -> int:
        """Delete the events of jobs that finished so long ago, and engines as long silent; how many events.

        Cursors stay true: an event's id is not used again.
        """
        before = self._clock() - older_than_s
        over = select(schema.job.c.id).where(schema.job.c.finished_at < before)
        old = schema.event.c.job.in_(over) | (schema.event.c.job.is_(None) & (schema.event.c.at < before))
        async with self._db.write() as connection:
            await connection.execute(delete(schema.engine).where(schema.engine.c.beat_at < before))
            return (await connection.execute(delete(schema.event).where(old))).rowcount

    async def _start(self, connection: AsyncConnection, job_id: str, owner: str) -> None:
        row = await _row(connection, job_id)
        assert row is not None
        at = self._clock()
        await _must(connection, transitions.claim(row, owner, at, await counters.charge(connection, row)))
        await _tell(connection, Kind.STARTED, job_id, at, {"attempt": row.attempt + 1})

    async def _rescue(self, connection: AsyncConnection, seen: Row[Any], alone: bool) -> bool:
        """Compare and swap: nothing happens if the job was completed, or claimed anew, since it was seen."""
        row, at = await _row(connection, seen.id), self._clock()
        if row is None or row.state != State.RUNNING or row.token != seen.token:
            return False
        if row.cancel_by is not None:
            await _cancelled(connection, row, at, None)
            return True
        strikes = row.strikes + int(alone)
        await counters.refund(connection, row)
        if strikes >= self._settings.max_strikes:
            message = CRASHED.format(times=f"{strikes} times" if strikes > 1 else "once")
            await _must(connection, transitions.fail(row, at, Reason.CRASHED, message, strikes=int(alone)))
            await _over(connection, row, Kind.FAILED, at, {"reason": Reason.CRASHED.value, "message": message})
        else:
            await _must(connection, transitions.rescue(row, alone=alone))
            await _tell(connection, Kind.REQUEUED, row.id, at, {"why": "rescue"})
        return True

    async def _set(self, key: str, value: bool) -> None:
        new = upsert(schema.flag).values(key=key, value=value)
        async with self._db.write() as connection:
            await connection.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


async def stop(connection: AsyncConnection, job_id: str, at: float) -> None:
    """Cancel a job that is not over, whether it waits or runs: its engine finds it lost at its next word."""
    row = await _row(connection, job_id)
    if row is not None and row.state == State.QUEUED:
        await _must(connection, transitions.cancel(row, at))
        await _over(connection, row, Kind.CANCELLED, at, {"by": None})
    elif row is not None and row.state == State.RUNNING:
        await _cancelled(connection, row, at, None)


async def _by_event_key(connection: AsyncConnection, key: str | None) -> Job | None:
    if key is None:
        return None
    found = await rows.fetch(connection, rows.jobs().where(schema.job.c.event_key == key))
    return found[0] if found else None


async def _insert(connection: AsyncConnection, request: Request, flow_id: int, at: float) -> str:
    while True:
        job_id = "".join(secrets.choice(ALPHABET) for _ in range(6))
        new = upsert(schema.job).values(
            id=job_id,
            flow_id=flow_id,
            state=State.QUEUED.value,
            created_at=at,
            cost=counters.estimate(request.cost),
            **rows.job_values(request),
        )
        if (
            await connection.execute(new.on_conflict_do_nothing(index_elements=["id"]).returning(schema.job.c.id))
        ).first():
            return job_id


async def _anything_waits(connection: AsyncConnection) -> bool:
    query = select(schema.job.c.seq).where(schema.job.c.state == literal_column("'queued'"))
    query = query.order_by(schema.job.c.flow_id, schema.job.c.seq).limit(1)  # by the index of what waits, surely
    return (await connection.execute(query)).first() is not None


async def _stopped(connection: AsyncConnection) -> bool:
    known = await flags(connection)
    return bool(known["paused"] or known["draining"])


def _running_at(owner: str) -> Any:
    return select(schema.job.c.id, schema.job.c.solo).where(
        schema.job.c.state == literal_column("'running'"), schema.job.c.owner == owner
    )


def _beats() -> Any:
    return (
        select(schema.job.c.id, schema.job.c.owner, schema.job.c.token, schema.engine.c.beat)
        .join_from(schema.job, schema.engine, schema.job.c.owner == schema.engine.c.owner, isouter=True)
        .where(schema.job.c.state == literal_column("'running'"))
    )


async def _row(connection: AsyncConnection, job_id: str, *, lock: bool = False) -> Row[Any] | None:
    query = transitions.held().where(schema.job.c.id == job_id)
    if lock:  # of no meaning to SQLite
        query = query.with_for_update(of=schema.job)
    row: Row[Any] | None = (await connection.execute(query)).first()
    return row


async def _one(connection: AsyncConnection, job_id: str) -> Job:
    return (await rows.fetch(connection, rows.jobs().where(schema.job.c.id == job_id)))[0]


async def _all(connection: AsyncConnection, job_ids: Sequence[str]) -> list[Job]:
    found = await rows.fetch(connection, rows.jobs().where(schema.job.c.id.in_(job_ids)))
    return sorted(found, key=lambda job: job_ids.index(job.id))


async def _held(connection: AsyncConnection, job: Job, *, lock: bool = False) -> Row[Any]:
    """The row of a job that is claimed by whoever holds `job`; LostClaim otherwise. `lock`: we are not alone."""
    row = await _row(connection, job.id, lock=lock)
    if row is None or row.state != State.RUNNING or row.token != job.token:
        raise LostClaim(f"Job {job.id} is no longer claimed by this engine.")
    return row


async def _must(connection: AsyncConnection, transition: Any) -> None:
    if not await transitions.happened(connection, transition):
        raise LostClaim


async def _ask_to_stop(connection: AsyncConnection, row: Row[Any], caller: Caller, at: float) -> Outcome:
    if row.cancel_by is None:
        await _must(connection, transitions.ask_to_stop(row, caller.name))
        await _tell(connection, Kind.CANCEL_REQUESTED, row.id, at, {"by": caller.name})
    return Outcome.STOPPING


async def _cancelled(connection: AsyncConnection, row: Row[Any], at: float, used: float | None) -> None:
    await _must(connection, transitions.cancel(row, at, used))
    await counters.settle(connection, row, row.cost if used is None else used)
    await _over(connection, row, Kind.CANCELLED, at, {"by": row.cancel_by})


async def _over(
    connection: AsyncConnection, row: Row[Any], kind: Kind, at: float, data: Mapping[str, Any] | None = None
) -> None:
    """The last event of a job, and the letter to who waits for its reply; its checkpoint is of no more use."""
    await connection.execute(delete(schema.checkpoint).where(schema.checkpoint.c.job == row.id))
    await _tell(connection, kind, row.id, at, data)
    if row.reply_to is not None:
        letter = {"job": row.id, "surface": row.surface, "reply_to": row.reply_to, "kind": kind.value}
        await connection.execute(insert(schema.outbox).values(letter))


async def _judge(connection: AsyncConnection, row: Row[Any], verdicts: Sequence[Mapping[str, Any]], at: float) -> None:
    """What the engine's concept check found: withheld before anybody sees it, and written down for review."""
    for verdict in verdicts:
        values = {"at": at, "surface": row.surface, "user": "concepts", "verb": verdict["action"], "target": row.id}
        await connection.execute(insert(schema.audit).values(**values, detail=dict(verdict)))
        if verdict["action"] == "withhold":
            await withdraw(connection, [row.id], Withdrawn.WITHHELD, f"concepts:{verdict['concept']}", at)


async def _tell(
    connection: AsyncConnection, kind: Kind, job_id: str | None, at: float, data: Mapping[str, Any] | None = None
) -> None:
    await connection.execute(insert(schema.event).values(kind=kind.value, job=job_id, at=at, data=dict(data or {})))
