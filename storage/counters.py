"""The service counters in the store: read for `storage.fairness`, which decides, and written back.

Knows which rows hold a counter and when one moves; nothing of the order that follows.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Table, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import fairness, schema
from storage.dialects import Said
from storage.fairness import Guild, Head, User

CHEAPEST, DEAREST = 1e-6, 1e6  # GPU-seconds that a job may be estimated at

# The flows that wait, by hops through the partial index: as many steps as flows, however long each one's line is.
# INDEXED BY, because SQLite would else take the index of a flow's whole history, or scan all of it; PostgreSQL knows no
# such word, and is told by the order that only this index has.
_HOPS = """
WITH RECURSIVE waits(flow_id) AS (
    SELECT (SELECT {least} FROM job WHERE state = 'queued'{sorted})
    UNION ALL
    SELECT (SELECT {least} FROM job WHERE state = 'queued' AND flow_id > waits.flow_id{sorted})
    FROM waits WHERE flow_id IS NOT NULL
)"""
_LEAST = {"least": "min(flow_id)", "sorted": ""}
_FIRST = {"least": "flow_id", "sorted": " ORDER BY flow_id, seq LIMIT 1"}
_HEADS = Said(
    _HOPS
    + """
SELECT job.id, job.cost, job.solo, flow.id AS user_id, flow.service, flow.last, person.weight, person.banned,
       flow.user_id AS person, flow.running_limit,
       guild.id AS guild_id, guild.service AS guild_service, guild.last AS guild_last, guild.weight AS guild_weight,
       guild.running_limit AS guild_limit
FROM waits JOIN {before}(
    SELECT own.{what} FROM job AS own{by_head}
    WHERE own.state = 'queued' AND own.flow_id = waits.flow_id
      AND (CAST(:packs AS VARCHAR) IS NULL OR own.pack IN (SELECT value FROM {each}))
    ORDER BY own.seq LIMIT :depth
) {after}
JOIN flow ON flow.id = waits.flow_id
JOIN "user" AS person ON person.id = flow.user_id
JOIN guild ON guild.id = flow.guild_id
ORDER BY job.seq""",
    sqlite=_LEAST
    | {
        "before": "job ON job.seq IN ",
        "what": "seq",
        "by_head": " INDEXED BY ix_job_head",
        "each": "json_each(:packs)",
        "after": "",
    },
    postgresql=_FIRST
    | {
        "before": "LATERAL ",
        "what": "*",
        "by_head": "",
        "each": "json_array_elements_text(CAST(:packs AS json)) AS one(value)",
        "after": "AS job ON true",
    },
)
_BUSY = Said(
    _HOPS
    + """
SELECT flow.id, flow.guild_id FROM flow JOIN "user" AS person ON person.id = flow.user_id
WHERE NOT person.banned AND flow.id IN (
    SELECT flow_id FROM waits UNION SELECT flow_id FROM job{by_running} WHERE state = 'running'
)""",
    sqlite=_LEAST | {"by_running": " INDEXED BY ix_job_running"},
    postgresql=_FIRST | {"by_running": ""},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Everybody who waits, as `fairness` wants them."""

    guilds: list[Guild]
    users: list[User]
    waiting: dict[int, list[Head]]


async def line(
    connection: AsyncConnection, *, depth: int, owner: str | None = None, packs: Sequence[str] | None = None
) -> Line:
    """The first `depth` waiting jobs of every user; what runs is counted at `owner`."""
    asked = {"packs": None if packs is None else json.dumps(list(packs)), "depth": depth}
    rows = (await connection.execute(_HEADS.to(connection), asked)).all()
    running = await _running(connection, owner)
    made = Line(
        guilds=list({row.guild_id: _guild(row, running) for row in rows}.values()),
        users=list({row.user_id: _user(row, running) for row in rows}.values()),
        waiting={},
    )
    for row in rows:
        head = Head(job=row.id, user=row.user_id, cost=row.cost, solo=bool(row.solo))
        made.waiting.setdefault(row.user_id, []).append(head)
    return made


async def lift(connection: AsyncConnection, flow_id: int) -> None:
    """To be called before a flow's first job is queued: neither it nor its guild comes back with credit."""
    busy = (await connection.execute(_BUSY.to(connection))).all()
    guild_id = await _value(connection, select(schema.flow.c.guild_id).where(schema.flow.c.id == flow_id))
    if all(row.guild_id != guild_id for row in busy):
        await _lift(connection, schema.guild, guild_id, {row.guild_id for row in busy}, None)
    if all(row.id != flow_id for row in busy):
        mates = {row.id for row in busy if row.guild_id == guild_id}
        await _lift(connection, schema.flow, flow_id, mates, guild_id)


async def charge(connection: AsyncConnection, row: Row[Any]) -> tuple[int, int]:
    """Charge a claimed job's estimate to its user and guild; what each was charged."""
    last = 1 + await _value(connection, select(func.coalesce(func.max(schema.flow.c.last), 0)))
    prices = []
    for table, id_, weight in _shares(row):
        prices.append(fairness.price(row.cost, weight))
        await _add(connection, table, id_, prices[-1], last=last)
    return prices[0], prices[1]


async def settle(connection: AsyncConnection, row: Row[Any], used: float) -> None:
    """Replace what a leaving job was charged by the GPU-seconds it used."""
    for (table, id_, weight), charged in zip(_shares(row), (row.charged_user, row.charged_guild), strict=True):
        await _add(connection, table, id_, fairness.settle(0, charged, used, weight))


async def refund(connection: AsyncConnection, row: Row[Any]) -> None:
    """Take back what a job was charged that did not get what it waited for."""
    await _add(connection, schema.flow, row.flow_id, fairness.refund(0, row.charged_user))
    await _add(connection, schema.guild, row.guild_id, fairness.refund(0, row.charged_guild))


def estimate(cost: float) -> float:
    """A cost that can be charged, whatever the estimate was."""
    return min(max(cost, CHEAPEST), DEAREST) if math.isfinite(cost) else DEAREST


def _shares(row: Row[Any]) -> tuple[tuple[Table, int, float], ...]:
    return (schema.flow, row.flow_id, row.user_weight), (schema.guild, row.guild_id, row.guild_weight)


async def _add(connection: AsyncConnection, table: Table, id_: int, amount: int, **values: int) -> None:
    added = {"service": table.c.service + amount, **values}
    await connection.execute(update(table).where(table.c.id == id_).values(added))


async def _lift(connection: AsyncConnection, table: Table, id_: int, busy: set[int], within: int | None) -> None:
    """`fairness.lift` on the rows it can depend on: the busy siblings and whoever was served last."""
    siblings = select(table.c.id, table.c.service, table.c.last)
    if within is not None:
        siblings = siblings.where(table.c.guild_id == within)
    served = (await connection.execute(siblings.order_by(table.c.last.desc()).limit(1))).all()
    others = (await connection.execute(siblings.where(table.c.id.in_({id_, *busy})))).all()
    shares = {row.id: Guild(id=row.id, service=row.service, last=row.last) for row in (*served, *others)}
    lifted = fairness.lift(shares[id_], shares.values(), busy)
    await _add(connection, table, id_, lifted.service - shares[id_].service)


@dataclass(frozen=True, slots=True)
class _Running:
    """How many jobs run: at one engine by flow, at all of them by person and by guild; None where nobody claims."""

    here: Mapping[int, int]
    people: Mapping[int, int] | None = None
    guilds: Mapping[int, int] | None = None


async def _running(connection: AsyncConnection, owner: str | None) -> _Running:
    if owner is None:
        return _Running({})
    flow, job = schema.flow.c, schema.job.c
    query = select(job.flow_id, flow.user_id, flow.guild_id, job.owner, func.count().label("jobs"))
    query = query.join_from(schema.job, schema.flow, job.flow_id == flow.id).where(job.state == text("'running'"))
    here, people, guilds = Counter[int](), Counter[int](), Counter[int]()
    for row in await connection.execute(query.group_by(job.flow_id, flow.user_id, flow.guild_id, job.owner)):
        here[row.flow_id] += row.jobs * (row.owner == owner)
        people[row.user_id] += row.jobs
        guilds[row.guild_id] += row.jobs
    return _Running(here, people, guilds)


def _left(limit: int | None, running: Mapping[int, int] | None, id_: int) -> int | None:
    return None if limit is None or running is None else max(0, limit - running.get(id_, 0))


async def _value(connection: AsyncConnection, query: Any) -> int:
    return int((await connection.execute(query)).scalar_one())


def _guild(row: Row[Any], running: _Running) -> Guild:
    return Guild(
        id=row.guild_id,
        service=row.guild_service,
        last=row.guild_last,
        weight=row.guild_weight,
        left=_left(row.guild_limit, running.guilds, row.guild_id),
    )


def _user(row: Row[Any], running: _Running) -> User:
    return User(
        id=row.user_id,
        guild=row.guild_id,
        service=row.service,
        last=row.last,
        weight=row.weight,
        running=running.here.get(row.user_id, 0),
        paused=bool(row.banned),
        person=row.person,
        left=_left(row.running_limit, running.people, row.person),
    )
