"""What the Slack surface must remember over a restart, in a small database of its own beside the store (`slack.db`).

Which message answers which request, which deliveries were handled, which picture is which uploaded file, and (by
slack_sdk's own tables) which workspaces have installed the app. Knows no Slack and no cards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from slack_sdk.oauth.installation_store.sqlalchemy import AsyncSQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.sqlalchemy import AsyncSQLAlchemyOAuthStateStore
from sqlalchemy import Column, Float, MetaData, String, Table, delete, event, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.sqlite import journal_mode

T = TypeVar("T")

DAY_S = 86_400.0
STATE_S = 600  # how long somebody may take to agree on Slack's page

metadata = MetaData()
messages = Table(
    "messages",
    metadata,
    Column("reply_to", String, primary_key=True),
    Column("channel", String, nullable=False),
    Column("ts", String),  # null while nobody knows whether the post arrived
    Column("at", Float, nullable=False),
)
handled = Table("handled", metadata, Column("key", String, primary_key=True), Column("at", Float, nullable=False))
files = Table(
    "files",
    metadata,
    Column("team", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("file", String, nullable=False),
)
shown = Table(
    "shown",
    metadata,
    Column("reply_to", String, primary_key=True),
    Column("file", String, primary_key=True),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A message that answers a request: where it is, and its name once that is known."""

    channel: str
    ts: str | None
    at: float


class Book:
    """The open database. Make it with `await Book.open(path)`."""

    def __init__(self, engine: AsyncEngine, wall: Callable[[], float]) -> None:
        self.engine = engine
        self._wall = wall
        self._calls: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, path: Path, *, wall: Callable[[], float] = time.time) -> Self:
        """Made where there is none; old marks of handled deliveries go (Slack retries for five minutes)."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        event.listen(engine.sync_engine, "connect", _durable)
        book = cls(engine, wall)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(delete(handled).where(handled.c.at < wall() - DAY_S))
        return book

    async def close(self) -> None:
        """Wait for the calls whose callers are gone, and let go of the file."""
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self.engine.dispose()

    async def begin(self, reply_to: str, channel: str) -> Mark | None:
        """Say that a message is about to be posted; what was said before, if anything was."""
        found = await self.mark(reply_to)
        if found is None:
            row = {"reply_to": reply_to, "channel": channel, "ts": None, "at": self._wall()}
            await self._write(insert(messages).values(row).on_conflict_do_nothing())
        return found

    async def mark(self, reply_to: str) -> Mark | None:
        """The message of a request."""
        query = select(messages.c.channel, messages.c.ts, messages.c.at).where(messages.c.reply_to == reply_to)
        row = next(iter(await self._rows(query)), None)
        return None if row is None else Mark(row.channel, row.ts, row.at)

    async def posted(self, reply_to: str, channel: str, ts: str) -> None:
        """The message is there."""
        one = update(messages).where(messages.c.reply_to == reply_to)
        await self._write(one.values(channel=channel, ts=ts))

    async def forget(self, reply_to: str) -> None:
        """The message is not there, for certain."""
        await self._write(delete(messages).where(messages.c.reply_to == reply_to))

    async def was_handled(self, key: str) -> bool:
        """Whether a delivery was dealt with to its end."""
        return bool(await self._rows(select(handled.c.key).where(handled.c.key == key)))

    async def is_handled(self, key: str) -> None:
        """A delivery was dealt with to its end."""
        await self._write(insert(handled).values(key=key, at=self._wall()).on_conflict_do_nothing())

    async def uploads(self, team: str, digests: Sequence[str]) -> dict[str, str]:
        """The files that are known of some pictures in a workspace."""
        one = files.c
        query = select(one.digest, one.file).where(one.team == team, one.digest.in_(list(digests)))
        return {row.digest: row.file for row in await self._rows(query)}

    async def uploaded(self, team: str, digest: str, file: str) -> None:
        """A picture is a file now."""
        row = insert(files).values(team=team, digest=digest, file=file)
        await self._write(row.on_conflict_do_update(index_elements=["team", "digest"], set_={"file": file}))

    async def shows(self, reply_to: str, names: Sequence[str]) -> None:
        """A message shows these files from now on, whatever it showed before."""
        for name in names:
            await self._write(insert(shown).values(reply_to=reply_to, file=name).on_conflict_do_nothing())

    async def shown(self, reply_to: str) -> list[str]:
        """Every file that a message has shown."""
        return [row.file for row in await self._rows(select(shown.c.file).where(shown.c.reply_to == reply_to))]

    async def unlearn(self, names: Sequence[str]) -> None:
        """These files are gone from Slack."""
        await self._write(delete(shown).where(shown.c.file.in_(list(names))))
        await self._write(delete(files).where(files.c.file.in_(list(names))))

    async def forget_uploads(self, team: str, digests: Sequence[str]) -> None:
        """Slack knows these files no more."""
        await self._write(delete(files).where(files.c.team == team, files.c.digest.in_(list(digests))))

    async def installations(self, client_id: str) -> AsyncSQLAlchemyInstallationStore:
        """Who has installed the app."""
        store = AsyncSQLAlchemyInstallationStore(client_id=client_id, engine=self.engine)
        await store.create_tables()  # type: ignore[no-untyped-call]
        return store

    async def states(self) -> AsyncSQLAlchemyOAuthStateStore:
        """Installations that were begun."""
        store = AsyncSQLAlchemyOAuthStateStore(expiration_seconds=STATE_S, engine=self.engine)
        await store.create_tables()  # type: ignore[no-untyped-call]
        return store

    async def _write(self, statement: Any) -> None:
        async def write() -> None:
            async with self.engine.begin() as connection:
                await connection.execute(statement)

        await self._survive(write())

    async def _rows(self, query: Any) -> Sequence[Any]:
        async def read() -> Sequence[Any]:
            async with self.engine.connect() as connection:
                return (await connection.execute(query)).all()

        return await self._survive(read())

    async def _survive(self, call: Coroutine[Any, Any, T]) -> T:
        """To its end, even if whoever waits for it is cancelled: a connection left half-way is a connection lost."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)


def _durable(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA journal_mode={journal_mode()}")  # in WAL a look-up does not wait for somebody's write
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()
