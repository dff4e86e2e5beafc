"""From SQLite to PostgreSQL: every row and every picture, compared by count and digest, while people go on.

Rows are copied while the store is in use; then once more with its writers shut out, which only brings over what has
changed since, and compares all. At the end the old file refuses every change, so that nothing is accepted where nobody
looks any more. Killed in the middle it is simply run again. Knows tables and digests; nothing of what they mean.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Table, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import postgres, schema, session, sqlite
from storage.dialects import upsert
from storage.errors import StorageError, UserError
from storage.images import ImageStore
from storage.job import HANDED_IN, State
from storage.session import finite

if TYPE_CHECKING:
    from storage.settings import StoreSettings

MANY = 1_000  # rows in one piece
ID = "id:store"  # the flag that names a store for ever
DRAINED = (
    "{count} dreams are running: `dreambot admin drain`, wait until `dreambot queue` shows none of them, "
    "and run this again; people may go on asking meanwhile."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One table, or all pictures, on the other side: how many, and the sha256 of all of them in order."""

    what: str
    count: int
    sha256: str
    missing: int = 0  # pictures that were not there to begin with: their dreams were deleted, or the disk lost them


async def move(source: StoreSettings, target: StoreSettings, images: ImageStore) -> list[Moved]:
    """Move the SQLite store of `source` to the PostgreSQL of `target`, its pictures to `images`; what is there now.

    UserError if dreams run, or if there is something else at the target; StorageError if the two sides are not equal.
    """
    if not source.path.is_file():
        raise UserError(f"There is no store at {source.path}; nothing was moved.")
    await asyncio.to_thread(sqlite.prepare, source)
    await asyncio.to_thread(partial(postgres.prepare, target, moving=True))
    here, there = sqlite.Sqlite(source), postgres.Postgres(target)
    try:
        name = await _name(here)
        await _reserve(there, name, target.place)
        async with here.reader.connect() as old:
            await here.begin_reading(old)  # one state, so that no row refers to one that comes later
            for table in schema.metadata.sorted_tables:
                await _copied(old, there, table)
        async with here.writer.connect() as old:
            await old.begin()  # IMMEDIATE: writers wait from here on
            moved = await _rest(old, there)
            pictures = await _pictures(old, ImageStore(source.images), images)
            await _shut(old, target.place)
            await old.commit()
        await _finish(there)
    except here.errors as error:  # of a database, whichever
        known = sqlite if "sqlite" in type(getattr(error, "orig", error)).__module__ else session
        raise known.translated(error) from error
    except there.errors as error:
        raise session.translated(error) from error
    finally:
        await here.close()
        await there.close()
    return [*moved, pictures]


async def _name(here: sqlite.Sqlite) -> str:
    """What the store is called, so that a move that was cut goes on with the same one."""
    async with here.writer.connect() as old:
        await old.begin()
        query = select(schema.flag.c.value).where(schema.flag.c.key == ID)
        known = (await old.execute(query)).scalar()
        if known is None:
            known = secrets.token_hex(8)
            await old.execute(upsert(schema.flag).values(key=ID, value=known))
            await old.commit()
        return str(known)


async def _reserve(there: postgres.Postgres, name: str, place: str) -> None:
    """The target is empty, or was begun with this very store; its embedded pack's row does not count."""
    async with there.writer.begin() as new:
        if (await new.exec_driver_sql("SELECT to_regclass('moved')")).scalar():
            raise UserError(f"A store was moved to {place} before; the move ended, and nothing was changed now.")
        await new.exec_driver_sql("CREATE TABLE IF NOT EXISTS moving (store varchar PRIMARY KEY)")
        begun = (await new.exec_driver_sql("SELECT store FROM moving")).scalars().all()
        if begun not in ([], [name]):
            raise UserError(f"Another store is being moved to {place}; nothing was changed.")
        if not begun:
            tables = [table for table in schema.metadata.sorted_tables if table is not schema.pack]
            counts = {table.name: await _count(new, table) for table in tables}
            if used := [table for table, count in counts.items() if count]:
                raise UserError(f"The store at {place} is in use: {', '.join(used)} have rows. Name an empty one.")
            await new.exec_driver_sql(f"INSERT INTO moving VALUES ('{name}')")


async def _rest(old: AsyncConnection, there: postgres.Postgres) -> list[Moved]:
    """What has changed since, with everybody else shut out; every table compared."""
    query = select(func.count()).where(schema.job.c.state == State.RUNNING.value)
    if count := int((await old.execute(query)).scalar_one()):
        raise UserError(DRAINED.format(count=count))
    for table in reversed(schema.metadata.sorted_tables):
        await _drop_gone(old, there, table)
    moved = []
    for table in schema.metadata.sorted_tables:
        mine, theirs = await _copied(old, there, table)
        if mine != theirs:
            raise StorageError(f"The table {table.name} is not the same on both sides: {mine} and {theirs}.")
        moved.append(mine)
    return moved


async def _copied(old: AsyncConnection, there: postgres.Postgres, table: Table) -> tuple[Moved, Moved]:
    """Bring over the rows that differ; both sides as they are then."""
    ours, theirs, count = hashlib.sha256(), hashlib.sha256(), 0
    keys = list(table.primary_key.columns)
    async for rows in _pieces(old, table):
        async with there.writer.begin() as new:
            known = await _known(new, table, rows)
            changed = [row for row in rows if known.get(_key(row, keys)) != _line(row)]
            if changed:
                await new.execute(_replacing(table), [dict(row._mapping) for row in changed])
                known |= await _known(new, table, changed)
        count += len(rows)
        for row in rows:
            ours.update(_line(row))
            theirs.update(known[_key(row, keys)])
    async with there.reader.connect() as new:
        arrived = await _count(new, table)
    first = Moved(what=table.name, count=count, sha256=ours.hexdigest())
    return first, Moved(what=table.name, count=arrived, sha256=theirs.hexdigest())


async def _drop_gone(old: AsyncConnection, there: postgres.Postgres, table: Table) -> None:
    """Delete what was deleted here after it had been copied."""
    keys = list(table.primary_key.columns)
    kept = {tuple(row) for row in await old.execute(select(*keys))}
    async with there.writer.begin() as new:
        gone = [tuple(row) for row in await new.execute(select(*keys)) if tuple(row) not in kept]
        for start in range(0, len(gone), MANY):
            await new.execute(delete(table).where(tuple_(*keys).in_(gone[start : start + MANY])))


async def _pieces(old: AsyncConnection, table: Table) -> AsyncIterator[Sequence[Row[Any]]]:
    keys = list(table.primary_key.columns)
    query = select(table).order_by(*keys).limit(MANY)
    rows = (await old.execute(query)).all()
    while rows:
        yield rows
        rows = (await old.execute(query.where(tuple_(*keys) > tuple_(*_key(rows[-1], keys))))).all()


async def _known(new: AsyncConnection, table: Table, rows: Sequence[Row[Any]]) -> dict[tuple[Any, ...], bytes]:
    keys = list(table.primary_key.columns)
    query = select(table).where(tuple_(*keys).in_([_key(row, keys) for row in rows]))
    return {_key(row, keys): _line(row) for row in await new.execute(query)}


async def _pictures(old: AsyncConnection, have: ImageStore, images: ImageStore) -> Moved:
    """Every picture that a job refers to, read back from where it is to be."""
    digests = set(await old.scalars(select(schema.image.c.sha256)))
    for name in HANDED_IN:
        handed_in = schema.job.c.params[name].as_string()
        digests |= set(await old.scalars(select(handed_in).where(handed_in.is_not(None))))
    whole, count = hashlib.sha256(), 0
    for sha256 in sorted(digests):
        content = images.read(sha256)  # there already, or still to be brought
        if content is None:
            content = have.read(sha256)
        if content is None:
            continue
        images.put(content)
        if images.read(sha256) != content:
            raise StorageError(f"The picture {sha256} is not the same on both sides.")
        count += 1
        whole.update(sha256.encode())
    return Moved(what="pictures", count=count, sha256=whole.hexdigest(), missing=len(digests) - count)


async def _shut(old: AsyncConnection, place: str) -> None:
    """From now on every change of the old file is refused, and says where the store is."""
    said = f"{sqlite.MOVED}{place}; set DREAMBOT_STORE to it.".replace("'", "''")
    for table in schema.metadata.sorted_tables:
        for change in ("INSERT", "UPDATE", "DELETE"):
            await old.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS moved_{table.name}_{change.lower()} BEFORE {change} ON "
                f"\"{table.name}\" BEGIN SELECT RAISE(ABORT, '{said}'); END"
            )


async def _finish(there: postgres.Postgres) -> None:
    """New rows get the numbers after the moved ones; the store may be opened."""
    async with there.writer.begin() as new:
        for table in schema.metadata.sorted_tables:
            column = table.autoincrement_column
            if column is not None and len(table.primary_key.columns) == 1:
                last = f'(SELECT coalesce(max("{column.name}"), 0) + 1 FROM "{table.name}")'
                named = f"pg_get_serial_sequence('\"{table.name}\"', '{column.name}')"
                await new.exec_driver_sql(f"SELECT setval({named}, {last}, false)")
        await new.exec_driver_sql("ALTER TABLE moving RENAME TO moved")


async def _count(connection: AsyncConnection, table: Table) -> int:
    return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


def _replacing(table: Table) -> Any:
    new = upsert(table)
    keys = [column.name for column in table.primary_key.columns]
    values = {column.name: new.excluded[column.name] for column in table.columns if column.name not in keys}
    return new.on_conflict_do_update(index_elements=keys, set_=values)


def _key(row: Row[Any], keys: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(row._mapping[column] for column in keys)


def _line(row: Row[Any]) -> bytes:
    """A row in one way of writing, whichever database it came from."""
    return json.dumps(finite(list(row)), sort_keys=True, default=bytes.hex).encode() + b"\n"
