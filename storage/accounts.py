"""Whose job it is, as rows: guilds, users, and a user within a guild (a flow). Made when somebody first appears.

Knows bans and limits, and how to say them to the person.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema
from storage.errors import UserError
from storage.job import Caller

_QUEUED = text(
    """SELECT count(*) FROM (
    SELECT 1 FROM flow JOIN job INDEXED BY ix_job_head ON job.flow_id = flow.id AND job.state = 'queued'
    WHERE flow.user_id = :user LIMIT :enough
)"""
)


async def user(connection: AsyncConnection, surface: str, name: str, shown: str | None = None) -> Row[Any]:
    """The person's row, made if need be; their shown name is kept up to date."""
    new = insert(schema.user).values(surface=surface, user=_storable(name), name=_storable(shown or name))
    kept = schema.user.c.name if shown is None else new.excluded.name
    upsert = new.on_conflict_do_update(index_elements=["surface", "user"], set_={"name": kept})
    row: Row[Any] = (await connection.execute(upsert.returning(schema.user))).one()
    return row


async def guild(connection: AsyncConnection, surface: str, name: str) -> Row[Any]:
    """The guild's row, made if need be."""
    new = insert(schema.guild).values(surface=surface, name=_storable(name))
    upsert = new.on_conflict_do_update(index_elements=["surface", "name"], set_={"name": schema.guild.c.name})
    row: Row[Any] = (await connection.execute(upsert.returning(schema.guild))).one()
    return row


async def admit(connection: AsyncConnection, caller: Caller, queued_limit: int) -> int:
    """The caller's flow; UserError if they are banned or have too much waiting."""
    person = await user(connection, caller.surface, caller.user, caller.name)
    if person.banned:
        raise UserError("You are banned from dreaming here; an admin can lift that.")
    limit = queued_limit if person.queued_limit is None else person.queued_limit
    if await _queued(connection, person.id, limit) >= limit:
        raise UserError(f"You have {limit} dreams waiting, and no more are allowed; wait for one, or cancel one.")
    place = await guild(connection, caller.surface, caller.guild)
    new = insert(schema.flow).values(guild_id=place.id, user_id=person.id)
    same = {"guild_id": schema.flow.c.guild_id}
    upsert = new.on_conflict_do_update(index_elements=["guild_id", "user_id"], set_=same)
    return int((await connection.execute(upsert.returning(schema.flow.c.id))).scalar_one())


async def _queued(connection: AsyncConnection, user_id: int, enough: int) -> int:
    """How many jobs of the person wait; counted no further than `enough`."""
    return int((await connection.execute(_QUEUED, {"user": user_id, "enough": enough})).scalar_one())


def _storable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()
