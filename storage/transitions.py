"""One statement a transition. Each names the state, and the claim's token, that it leaves, and returns the row's number
when it happened; nothing returned means that somebody else was first.

Knows the SQL of a job's life; nothing of who may ask for it, nor of counters. Partial indices need the state as text.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Select, Update, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema
from storage.job import Reason, Result, State

_job = schema.job
LEFT = {"owner": None, "charged_user": 0, "charged_guild": 0}  # what was charged is settled in the same transaction


def held() -> Select[Any]:
    """Jobs with what their leaving needs to know: owner, counters, weights, and where the reply goes."""
    return (
        select(
            _job,
            schema.flow.c.guild_id,
            schema.user.c.weight.label("user_weight"),
            schema.guild.c.weight.label("guild_weight"),
            schema.user.c.surface,
            schema.user.c.user,
            schema.guild.c.name.label("guild"),
        )
        .join_from(_job, schema.flow, _job.c.flow_id == schema.flow.c.id)
        .join(schema.user, schema.flow.c.user_id == schema.user.c.id)
        .join(schema.guild, schema.flow.c.guild_id == schema.guild.c.id)
    )


def claim(row: Row[Any], owner: str, at: float, charged: tuple[int, int]) -> Update:
    """queued -> running."""
    return _leaving(row, State.QUEUED).values(
        state=State.RUNNING.value,
        owner=owner,
        token=_job.c.token + 1,
        attempt=_job.c.attempt + 1,
        started_at=at,
        charged_user=charged[0],
        charged_guild=charged[1],
    )


def progress(row: Row[Any], at: float, *, shown: bool) -> Update:
    """running -> running; the first preview's time is kept."""
    seen = func.coalesce(_job.c.first_image_at, at) if shown else _job.c.first_image_at
    return _leaving(row, State.RUNNING).values(first_image_at=seen)


def complete(row: Row[Any], at: float, result: Result) -> Update:
    """running -> completed."""
    first = func.coalesce(_job.c.first_image_at, at) if result.images else _job.c.first_image_at
    return _leaving(row, State.RUNNING).values(
        state=State.COMPLETED.value,
        finished_at=at,
        first_image_at=first,
        recipe=dict(result.recipe),
        recipe_digest=result.recipe_digest,
        trace=dict(result.trace),
        note=result.note,
        identical=result.identical,
        difference=None if result.difference is None else dict(result.difference),
        used=result.used,
        **LEFT,
    )


def fail(row: Row[Any], at: float, reason: Reason, message: str, *, strikes: int = 0) -> Update:
    """running -> failed."""
    return _leaving(row, State.RUNNING).values(
        state=State.FAILED.value,
        finished_at=at,
        reason=reason.value,
        message=message,
        strikes=_job.c.strikes + strikes,
        **LEFT,
    )


def cancel(row: Row[Any], at: float, used: float | None = None) -> Update:
    """queued or running -> cancelled."""
    return _leaving(row, State(row.state)).values(state=State.CANCELLED.value, finished_at=at, used=used, **LEFT)


def ask_to_stop(row: Row[Any], by: str) -> Update:
    """running -> running, its engine being asked to stop it."""
    return _leaving(row, State.RUNNING).values(cancel_by=by)


def requeue(row: Row[Any]) -> Update:
    """running -> queued, as if it had never been claimed; the next claim's token voids this one."""
    return _leaving(row, State.RUNNING).values(
        state=State.QUEUED.value, attempt=_job.c.attempt - 1, started_at=None, **LEFT
    )


def rescue(row: Row[Any], *, alone: bool) -> Update:
    """running -> queued after its engine died: alone it is a strike. From now on it runs alone."""
    return _leaving(row, State.RUNNING).values(
        state=State.QUEUED.value,
        strikes=_job.c.strikes + int(alone),
        solo=True,
        started_at=None,
        **LEFT,
    )


async def happened(connection: AsyncConnection, transition: Update) -> bool:
    """Run a transition; whether the job was still in the state that it leaves."""
    return (await connection.execute(transition.returning(_job.c.seq))).first() is not None


def _leaving(row: Row[Any], state: State) -> Update:
    return update(_job).where(
        _job.c.id == row.id, _job.c.state == literal_column(f"'{state.value}'"), _job.c.token == row.token
    )
