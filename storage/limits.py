"""How much a person and a guild may have waiting and use in a day, what they have used, and how that is said.

Nothing is counted beside the jobs themselves, so nothing can be lost or counted twice: what failed, was cancelled or is
withheld by a moderator is not charged, what waits and runs is charged by its estimate. Knows rows and sentences; who is
banned, and the order of turns, are others' business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import roles
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
_RUNNING = "SELECT count(*) FROM job{{by_running}} WHERE state = 'running' AND flow_id IN ({flows})"
_LAST = """
SELECT max(job.created_at) FROM flow
JOIN job ON job.seq = (SELECT max(own.seq) FROM job AS own WHERE own.flow_id = flow.id)
WHERE flow.{column} = :id AND job.state NOT IN ('cancelled', 'failed')"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is allowed; None is no bound."""

    queued: int | None = None
    running: int | None = None  # kept by whoever claims
    seconds: float | None = None  # GPU-seconds in a day
    cooldown_s: float = 0.0

    @classmethod
    def of(cls, stated: Mapping[str, float]) -> Bounds:
        """From amounts by kind; infinity is no bound."""
        amounts = {kind: None if math.isinf(amount) else amount for kind, amount in stated.items()}
        whole = {kind: None if (found := amounts.get(kind)) is None else int(found) for kind in ("queued", "running")}
        return cls(**whole, seconds=amounts.get("seconds"), cooldown_s=amounts.get("cooldown") or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a person or a guild has waiting, and has used in the last day together with what waits and runs."""

    queued: int
    seconds: float
    running: int = 0


Told = Mapping[str, roles.Stated]  # what admins have set, by subject


async def told_of(connection: AsyncConnection, caller: Caller) -> Told:
    """What admins have set for the caller, their roles and their guild."""
    named = [f"role:{name}" for name in roles.named(caller)]
    return await roles.told(connection, caller.surface, [f"person:{caller.user}", f"guild:{caller.guild}", *named])


def of_person(settings: StoreSettings, caller: Caller, own_queued: int | None, told: Told) -> Bounds:
    """The most generous that any of the person's roles states; what an admin set for them goes first."""
    stated = [{**roles.of_settings(settings, name), **told.get(f"role:{name}", {})} for name in roles.named(caller)]
    own = {} if own_queued is None else {roles.Kind.QUEUED.value: float(own_queued)}
    return Bounds.of(roles.generous(stated) | own | dict(told.get(f"person:{caller.user}", {})))


def of_guild(settings: StoreSettings, caller: Caller, told: Told) -> Bounds:
    """Of everybody in one guild together; nobody shares the guild of direct messages."""
    if caller.direct:
        return Bounds()
    plain = Bounds(
        queued=settings.queued_limit_guild,
        running=settings.running_limit_guild,
        seconds=settings.daily_seconds_guild,
        cooldown_s=settings.cooldown_guild_s,
    )
    stated = told.get(f"guild:{caller.guild}", {})
    named = {"queued": "queued", "running": "running", "seconds": "seconds", "cooldown": "cooldown_s"}
    set_ = Bounds.of(stated)
    return replace(plain, **{named[kind]: getattr(set_, named[kind]) for kind in stated})


async def used(connection: AsyncConnection, column: str, id_: int, bounds: Bounds, at: float) -> Used:
    """What counts against the bounds; `column` is user_id or guild_id. A day is summed only where it is bounded."""
    waiting = (await connection.execute(_said(_WAITING, column).to(connection), {"id": id_})).one()
    running = 0
    if bounds.running is not None:
        counted = _said(_RUNNING, column).to(connection)
        running = int((await connection.execute(counted, {"id": id_})).scalar_one())
    if bounds.seconds is None:
        return Used(queued=waiting.jobs, seconds=0.0, running=running)
    query = _said(_USED, column).to(connection)
    spent = (await connection.execute(query, {"id": id_, "since": at - DAY_S})).scalar_one()
    return Used(queued=waiting.jobs, seconds=float(waiting.seconds) + float(spent), running=running)


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
) -> tuple[int | None, int | None]:
    """UserError if one more job of this cost is too many for the person (id and own bound) or for their guild.

    Returns how many jobs of the person, and of the guild, may run at once.
    """
    told = await told_of(connection, caller)
    own = of_person(settings, caller, person[1], told)
    _allow(own, await used(connection, "user_id", person[0], own, at), cost, "You have")
    await _rested(connection, own, "user_id", person[0], at)
    theirs = of_guild(settings, caller, told)
    if not caller.admin and theirs != Bounds():
        _allow(theirs, await used(connection, "guild_id", guild, theirs, at), cost, "This server has")
        await _rested(connection, theirs, "guild_id", guild, at)
    return own.running, theirs.running


def _allow(bounds: Bounds, now: Used, cost: float, have: str) -> None:
    if bounds.queued is not None and now.queued >= bounds.queued:
        raise UserError(f"{have} {bounds.queued} dreams waiting, and no more are allowed; wait for one, or cancel one.")
    if bounds.seconds is not None and now.seconds + cost > bounds.seconds:
        raise UserError(
            f"{have} used {now.seconds:.0f} of {bounds.seconds:.0f} GPU-seconds in the last day, and this takes about "
            f"{max(cost, 0.1):.1f}; ask for less, or come back later."
        )


async def _rested(connection: AsyncConnection, bounds: Bounds, column: str, id_: int, at: float) -> None:
    if not bounds.cooldown_s:
        return
    last = (await connection.execute(text(_LAST.format(column=column)), {"id": id_})).scalar()
    if last is not None and 0 <= at - last < bounds.cooldown_s:
        left = bounds.cooldown_s - (at - last)
        whose = "yours" if column == "user_id" else "this server's next"
        raise UserError(f"One dream every {bounds.cooldown_s:g} seconds is allowed; {whose} is in {left:.0f} seconds.")


def words(bounds: Bounds, now: Used) -> str:
    """`2 of 3 queued, 140 of 600 GPU-seconds today`; empty where there is no bound worth knowing."""
    parts = []
    if bounds.queued is not None and bounds.queued <= PLENTY:
        parts.append(f"{now.queued} of {bounds.queued} queued")
    if bounds.running is not None:
        parts.append(f"{now.running} of {bounds.running} running")
    if bounds.seconds is not None:
        parts.append(f"{now.seconds:.0f} of {bounds.seconds:.0f} GPU-seconds today")
    return ", ".join(parts)
