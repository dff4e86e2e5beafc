"""Who of several bots does what one alone should do: a lead is taken, held by taking it again, and lost by silence.

Knows names, processes and the store's clock; nothing of what is led.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from storage import schema
from storage.database import Database, shielded
from storage.dialects import now, upsert
from storage.rescue import is_gone

PREFIX = "lead:"  # of their rows in the flag table


class Leads:
    """Leads, as rows of the flag table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @shielded
    async def take(self, what: str, by: str, for_s: float) -> bool:
        """Whether `by` leads `what` for so many seconds from now; nobody else does before they are over, or `by` is."""
        key, flag = PREFIX + what, schema.flag.c
        async with self._db.write() as connection:
            held: Any = (await connection.execute(select(flag.value).where(flag.key == key))).scalar()
            at = float((await connection.execute(select(now()))).scalar_one())
            if held and held["by"] != by and at < held["until"] and not is_gone(held["by"]):
                return False
            value = {"by": by, "until": at + for_s}
            new = upsert(schema.flag).values(key=key, value=value)
            await connection.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
            return True
