"""What admins decide about people and guilds: bans, limits, weights; and the audit log of who decided it.

Knows rows, not rights: whether the caller is an admin is checked by the command.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import accounts, counters, roles, schema
from storage.database import Database, shielded
from storage.errors import UserError
from storage.job import Caller, check_range

MAX_LIMIT = 100_000
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One decision."""

    id: int
    at: float
    who: str  # surface:user
    verb: str
    target: str | None
    detail: Any


class Users:
    """The user and guild tables, and the audit log."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock

    @shielded
    async def ban(self, surface: str, user: str) -> None:
        """They may submit nothing, and what they have waiting stays where it is."""
        async with self._db.write() as connection:
            await self._user(connection, surface, user, banned=True)

    @shielded
    async def unban(self, surface: str, user: str) -> None:
        """They may again; what waited goes on, without credit for the time."""
        async with self._db.write() as connection:
            for flow_id in await _flows(connection, surface, user):
                await counters.lift(connection, flow_id)
            await self._user(connection, surface, user, banned=False)

    @shielded
    async def limit(self, surface: str, user: str, queued: int | None) -> None:
        """How many of their jobs may wait at once; None for the settings' limit."""
        if queued is not None:
            check_range("limit", queued, 0, MAX_LIMIT)
        async with self._db.write() as connection:
            await self._user(connection, surface, user, queued_limit=queued)

    @shielded
    async def bound(self, surface: str, subject: str, kind: roles.Kind, amount: float | None) -> None:
        """What a person, role or guild (`storage.roles.subject`) is allowed; None takes it back."""
        async with self._db.write() as connection:
            await roles.tell(connection, surface, subject, kind, amount)

    @shielded
    async def weigh_user(self, surface: str, user: str, weight: float) -> None:
        """A person's share of their guild, against the usual 1."""
        _check_weight(weight)
        async with self._db.write() as connection:
            await self._user(connection, surface, user, weight=weight)

    @shielded
    async def weigh_guild(self, surface: str, guild: str, weight: float) -> None:
        """A guild's share of the engine, against the usual 1."""
        _check_weight(weight)
        async with self._db.write() as connection:
            row = await accounts.guild(connection, surface, guild)
            await _set(connection, schema.guild, row.id, weight=weight)

    @shielded
    async def is_banned(self, caller: Caller) -> bool:
        """Whether the caller may not submit."""
        one = schema.user.c
        query = select(one.banned).where(one.surface == caller.surface, one.user == caller.user)
        async with self._db.read() as connection:
            return bool((await connection.execute(query)).scalar())

    @shielded
    async def audit(self, caller: Caller, verb: str, target: str | None = None, detail: Any = None) -> None:
        """Write down that the caller did something that only admins may; `detail` is anything that JSON can hold."""
        values = {"surface": caller.surface, "user": caller.user, "verb": verb, "target": target, "detail": detail}
        async with self._db.write() as connection:
            await connection.execute(insert(schema.audit).values(at=self._clock(), **values))

    @shielded
    async def audit_log(self, limit: int = 50) -> list[AuditRow]:
        """The latest decisions, newest first."""
        query = select(schema.audit).order_by(schema.audit.c.id.desc()).limit(limit)
        async with self._db.read() as connection:
            return [
                AuditRow(
                    id=row.id,
                    at=row.at,
                    who=f"{row.surface}:{row.user}",
                    verb=row.verb,
                    target=row.target,
                    detail=row.detail,
                )
                for row in await connection.execute(query)
            ]

    async def _user(self, connection: AsyncConnection, surface: str, user: str, **values: Any) -> None:
        row = await accounts.user(connection, surface, user)
        await _set(connection, schema.user, row.id, **values)


def _check_weight(weight: float) -> None:
    if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise UserError(f"A weight is a number from {LEAST_WEIGHT} to {MOST_WEIGHT}; {weight} is not.")


async def _set(connection: AsyncConnection, table: Table, id_: int, **values: Any) -> None:
    await connection.execute(update(table).where(table.c.id == id_).values(**values))


async def _flows(connection: AsyncConnection, surface: str, user: str) -> list[int]:
    query = select(schema.flow.c.id).join(schema.user, schema.flow.c.user_id == schema.user.c.id)
    mine = query.where(schema.user.c.surface == surface, schema.user.c.user == user)
    return list((await connection.execute(mine)).scalars())
