"""Forgetting a person, in one transaction: no prompt, picture, score, vote, default or name of theirs stays.

What stays is what others rely on: that a job was there and what it cost, without words; and a ban or a limit, so that
nobody gets rid of one this way. A picture that somebody else's job shows, too, is theirs as well and stays.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import accounts, queue, schema
from storage.database import Database, shielded
from storage.errors import UserError
from storage.job import FINAL, Caller, Method, Params, Withdrawn
from storage.withdrawals import strip, withdraw

NOBODY = "somebody"
NO_WORDS = "(forgotten)"
KEPT = ("seed", "method", "pack", "candidates", "top_k", "steps", "keep", "by")  # of a job's params: no words in these
BLANK = ("event_key", "message", "note", "recipe", "recipe_digest", "reply_to", "cancel_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What is gone."""

    jobs: int = 0
    stopped: int = 0  # of these waited or ran
    digests: tuple[str, ...] = ()  # of pictures that nothing refers to any more


class Forgetting:
    """What `forget-me` does to the store."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock

    @shielded
    async def forget(self, caller: Caller) -> Forgotten:
        """Forget the caller; somebody who is not known here is forgotten already."""
        async with self._db.write() as connection:
            person = await _person(connection, caller)
            if person is None:
                return Forgotten()
            at, alias = self._clock(), f"forgotten-{secrets.token_hex(8)}"
            jobs = await _jobs(connection, person.id)
            unfinished = [row.id for row in jobs if row.state not in FINAL]
            for job_id in unfinished:
                await queue.stop(connection, job_id, at)
            names = [row.id for row in jobs]
            await withdraw(connection, names, Withdrawn.DELETED, f"{caller.surface}:{alias}", at)
            digests = await strip(connection, names)
            await _blank(connection, jobs)
            await _rename(connection, person, alias)
            await _audit(connection, caller, alias, at, len(jobs), banned=_bound(person))
            return Forgotten(jobs=len(jobs), stopped=len(unfinished), digests=tuple(digests))


async def _person(connection: AsyncConnection, caller: Caller) -> Row[Any] | None:
    one = schema.user.c
    query = select(schema.user).where(one.surface == caller.surface, one.user == caller.user)
    row: Row[Any] | None = (await connection.execute(query)).first()
    return row


async def _jobs(connection: AsyncConnection, person: int) -> Sequence[Any]:
    query = select(schema.job.c.id, schema.job.c.state, schema.job.c.params).join(
        schema.flow, schema.flow.c.id == schema.job.c.flow_id
    )
    found: Sequence[Any] = (await connection.execute(query.where(schema.flow.c.user_id == person))).all()
    return found


async def _blank(connection: AsyncConnection, jobs: Sequence[Any]) -> None:
    """Take the words out of the jobs, and their history out of the event log but for its ends."""
    if not jobs:
        return
    values = dict.fromkeys(BLANK)
    wordless = (
        update(schema.job).where(schema.job.c.id == bindparam("which")).values(params=bindparam("left"), **values)
    )
    await connection.execute(wordless, [{"which": row.id, "left": _wordless(row.params)} for row in jobs])
    said = update(schema.event).where(schema.event.c.job == bindparam("which")).values(data={})
    await connection.execute(said, [{"which": row.id} for row in jobs])


def _wordless(params: dict[str, Any]) -> dict[str, Any]:
    values = {name: params[name] for name in KEPT if name in params}
    try:
        return Params(prompt=NO_WORDS, **values).to_json()
    except UserError:  # a method that needs words of another form
        return Params(prompt=NO_WORDS, **(values | {"method": Method.SEARCH})).to_json()


async def _rename(connection: AsyncConnection, person: Row[Any], alias: str) -> None:
    """The row that the jobs hang on gets a name that says nothing; a ban or a limit stays with the old one."""
    for table in (schema.vote, schema.preference):
        await connection.execute(delete(table).where(table.c.user_id == person.id))
    await connection.execute(
        update(schema.user).where(schema.user.c.id == person.id).values(user=alias, name=NOBODY, banned=False)
    )
    if _bound(person):
        row = await accounts.user(connection, person.surface, person.user, NOBODY)
        kept = {"banned": person.banned, "queued_limit": person.queued_limit, "weight": person.weight}
        await connection.execute(update(schema.user).where(schema.user.c.id == row.id).values(**kept))


def _bound(person: Row[Any]) -> bool:
    return bool(person.banned or person.queued_limit is not None or person.weight != 1)


async def _audit(
    connection: AsyncConnection, caller: Caller, alias: str, at: float, jobs: int, *, banned: bool
) -> None:
    one = schema.audit.c
    if not banned:
        named = update(schema.audit).where(one.target == f"{caller.surface}:{caller.user}")
        await connection.execute(named.values(target=f"{caller.surface}:{alias}"))
    row = {
        "at": at,
        "surface": caller.surface,
        "user": NOBODY,
        "verb": "forget-me",
        "target": f"{caller.surface}:{alias}",
    }
    await connection.execute(insert(schema.audit).values(**row, detail={"jobs": jobs}))
