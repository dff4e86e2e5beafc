"""How much a person and a guild may have waiting and use in a day, what they have used, and how that is said.

Nothing is counted beside the jobs themselves, so nothing can be lost or counted twice: what failed, was cancelled or is
withheld by a moderator is not charged, what waits and runs is charged by its estimate. Knows rows and sentences; who is
banned, and the order of turns, are others' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.dialects import Said
from storage.errors import UserError
from storage.job import Caller

if TYPE_CHECKING:
    from storage.settings import StoreSettings

DAY_S = 86_400.0
PLENTY = 100  # a bound on what waits that is so high is not worth mentioning

_BY_INDEX = {f"by_{name}": f" INDEXED BY ix_job_{name}" for name in ("head", "running", "finished")}
_FLOWS = "SELECT id FROM flow WHERE {column} = :id"
_WAITING = """
SELECT count(*) AS jobs, coalesce(sum(cost), 0) AS seconds FROM (
    SELECT job.cost FROM flow JOIN job{{by_head}} ON job.flow_id = flow.id AND job.state = 'queued'
    WHERE flow.{column} = :id
) AS waits"""
_USED = """
SELECT coalesce(sum(seconds), 0) FROM (
    SELECT cost AS seconds FROM job{{by_running}}
    WHERE state = 'running' AND flow_id IN ({flows})
    UNION ALL
    SELECT coalesce(used, cost) FROM job{{by_finished}}
    WHERE finished_at > :since AND finished_at IS NOT NULL AND state = 'completed' AND flow_id IN ({flows})
      AND NOT EXISTS (SELECT 1 FROM withdrawal WHERE withdrawal.job = job.id AND withdrawal.kind = 'withheld')
) AS spent"""
_LAST = text("""
SELECT max(job.created_at) FROM flow
JOIN job ON job.seq = (SELECT max(own.seq) FROM job AS own WHERE own.flow_id = flow.id)
WHERE flow.user_id = :id AND job.state NOT IN ('cancelled', 'failed')""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is allowed; None is no bound."""

    queued: int | None = None
    seconds: float | None = None  # GPU-seconds in a day
    cooldown_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a person or a guild has waiting, and has used in the last day together with what waits and runs."""

    queued: int
    seconds: float


def of_person(settings: StoreSettings, caller: Caller, own_queued: int | None) -> Bounds:
    """By the person's role; a bound that an admin set for them goes first."""
    queued = settings.queued_limit if own_queued is None else own_queued
    if caller.admin:
        return Bounds(queued=queued)
    role = settings.daily_seconds_moderator if caller.moderator else settings.daily_seconds
    return Bounds(queued=queued, seconds=role, cooldown_s=0.0 if caller.moderator else settings.cooldown_s)


def of_guild(settings: StoreSettings) -> Bounds:
    """Of everybody in one guild together."""
    return Bounds(queued=settings.queued_limit_guild, seconds=settings.daily_seconds_guild)


async def used(connection: AsyncConnection, column: str, id_: int, bounds: Bounds, at: float) -> Used:
    """What counts against the bounds; `column` is user_id or guild_id. A day is summed only where it is bounded."""
    waiting = (await connection.execute(_said(_WAITING, column).to(connection), {"id": id_})).one()
    if bounds.seconds is None:
        return Used(queued=waiting.jobs, seconds=0.0)
    query = _said(_USED, column).to(connection)
    spent = (await connection.execute(query, {"id": id_, "since": at - DAY_S})).scalar_one()
    return Used(queued=waiting.jobs, seconds=float(waiting.seconds) + float(spent))


def _said(sql: str, column: str) -> Said:
    filled = sql.format(column=column, flows=_FLOWS.format(column=column))
    return Said(filled, sqlite=_BY_INDEX, postgresql=dict.fromkeys(_BY_INDEX, ""))


async def check(
    connection: AsyncConnection,
    settings: StoreSettings,
    caller: Caller,
    person: tuple[int, int | None],
    guild: int,
    cost: float,
    at: float,
) -> None:
    """UserError if one more job of this cost is too many for the person (id and own bound) or for their guild."""
    own = of_person(settings, caller, person[1])
    _allow(own, await used(connection, "user_id", person[0], own, at), cost, "You have")
    await _rested(connection, own, person[0], at)
    theirs = of_guild(settings)
    if not caller.admin and (theirs.queued is not None or theirs.seconds is not None):
        _allow(theirs, await used(connection, "guild_id", guild, theirs, at), cost, "This server has")


def _allow(bounds: Bounds, now: Used, cost: float, have: str) -> None:
    if bounds.queued is not None and now.queued >= bounds.queued:
        raise UserError(f"{have} {bounds.queued} dreams waiting, and no more are allowed; wait for one, or cancel one.")
    if bounds.seconds is not None and now.seconds + cost > bounds.seconds:
        raise UserError(
            f"{have} used {now.seconds:.0f} of {bounds.seconds:.0f} GPU-seconds in the last day, and this takes about "
            f"{max(cost, 0.1):.1f}; ask for less, or come back later."
        )


async def _rested(connection: AsyncConnection, bounds: Bounds, person: int, at: float) -> None:
    if not bounds.cooldown_s:
        return
    last = (await connection.execute(_LAST, {"id": person})).scalar()
    if last is not None and 0 <= at - last < bounds.cooldown_s:
        left = bounds.cooldown_s - (at - last)
        raise UserError(f"One dream every {bounds.cooldown_s:g} seconds is allowed; yours is in {left:.0f} seconds.")


def words(bounds: Bounds, now: Used) -> str:
    """`2 of 3 queued, 140 of 600 GPU-seconds today`; empty where there is no bound worth knowing."""
    parts = []
    if bounds.queued is not None and bounds.queued <= PLENTY:
        parts.append(f"{now.queued} of {bounds.queued} queued")
    if bounds.seconds is not None:
        parts.append(f"{now.seconds:.0f} of {bounds.seconds:.0f} GPU-seconds today")
    return ", ".join(parts)
