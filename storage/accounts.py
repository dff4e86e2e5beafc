"""Whose job it is, as rows: guilds, users, and a user within a guild (a flow). Made when somebody first appears.

Knows bans; limits are `storage.limits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import limits, schema
from storage.dialects import upsert
from storage.errors import UserError
from storage.job import Caller

if TYPE_CHECKING:
    from storage.settings import StoreSettings


async def user(connection: AsyncConnection, surface: str, name: str, shown: str | None = None) -> Row[Any]:
    """The person's row, made if need be; their shown name is kept up to date."""
    new = upsert(schema.user).values(surface=surface, user=_storable(name), name=_storable(shown or name))
    kept = schema.user.c.name if shown is None else new.excluded.name
    made = new.on_conflict_do_update(index_elements=["surface", "user"], set_={"name": kept})
    row: Row[Any] = (await connection.execute(made.returning(schema.user))).one()
    return row


async def guild(connection: AsyncConnection, surface: str, name: str) -> Row[Any]:
    """The guild's row, made if need be."""
    new = upsert(schema.guild).values(surface=surface, name=_storable(name))
    made = new.on_conflict_do_update(index_elements=["surface", "name"], set_={"name": schema.guild.c.name})
    row: Row[Any] = (await connection.execute(made.returning(schema.guild))).one()
    return row


async def admit(
    connection: AsyncConnection, caller: Caller, settings: StoreSettings, cost: float = 0.0, at: float = 0.0
) -> int:
    """The caller's flow; UserError if they are banned, or a job of this cost would be more than they may have."""
    person = await user(connection, caller.surface, caller.user, caller.name)
    if person.banned:
        raise UserError("You are banned from dreaming here; an admin can lift that.")
    place = await guild(connection, caller.surface, caller.guild)
    own, theirs = await limits.check(connection, settings, caller, (person.id, person.queued_limit), place.id, cost, at)
    if place.running_limit != theirs:
        bounded = update(schema.guild).where(schema.guild.c.id == place.id)
        await connection.execute(bounded.values(running_limit=theirs))
    new = upsert(schema.flow).values(guild_id=place.id, user_id=person.id, running_limit=own)
    same = {"guild_id": schema.flow.c.guild_id, "running_limit": own}
    made = new.on_conflict_do_update(index_elements=["guild_id", "user_id"], set_=same)
    return int((await connection.execute(made.returning(schema.flow.c.id))).scalar_one())


def _storable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()
