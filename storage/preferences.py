"""A person's own defaults: what a dream of theirs takes where an option is not given. Knows no option's meaning."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, select

from storage import accounts, schema
from storage.database import Database, shielded
from storage.dialects import upsert
from storage.job import Caller

Options = Mapping[str, str | int]


class Preferences:
    """The preference table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @shielded
    async def of(self, caller: Caller) -> Options:
        """The caller's defaults; empty where there are none."""
        query = (
            select(schema.preference.c.options)
            .join(schema.user, schema.user.c.id == schema.preference.c.user_id)
            .where(schema.user.c.surface == caller.surface, schema.user.c.user == caller.user)
        )
        async with self._db.read() as connection:
            return dict((await connection.execute(query)).scalar() or {})

    @shielded
    async def put(self, caller: Caller, options: Options) -> None:
        """From now on exactly these."""
        one = schema.preference
        async with self._db.write() as connection:
            person = await accounts.user(connection, caller.surface, caller.user, caller.name)
            if options:
                new = upsert(one).values(user_id=person.id, options=dict(options))
                same = {"options": new.excluded.options}
                await connection.execute(new.on_conflict_do_update(index_elements=["user_id"], set_=same))
            else:
                await connection.execute(delete(one).where(one.c.user_id == person.id))
