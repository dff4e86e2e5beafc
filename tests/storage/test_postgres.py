"""What is PostgreSQL's own: order of commits, lost connections, what one host must not conclude about another."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema
from storage.database import Database
from storage.engines import Engines
from storage.errors import StorageError, StoreLost
from storage.events import Kind
from storage.feed import Feed
from storage.heart import Heart
from storage.job import State
from storage.queue import Queue
from storage.settings import StoreSettings
from tests import postgres
from tests.factories import make_caller, make_request, make_result
from tests.storage import raw
from tests.storage.test_engines import make_engine

pytestmark = raw.on_postgresql
SOON_S = 0.2  # what may not happen is given so long to happen
PEOPLE = 15
OTHERS = "application_name = 'dreambot' AND datname = current_database()"


def terminate(settings: StoreSettings, which: str = "true") -> int:
    """End the store's sessions, as an admin or a fail-over does; how many."""
    query = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OTHERS} AND {which}"
    return int(raw.run(settings, query)[0][0])


@pytest.fixture
async def other(settings: StoreSettings) -> AsyncIterator[Database]:
    """The same store as another process has it."""
    async with Database.open(settings) as database:
        yield database


async def append(connection: AsyncConnection, job: str) -> None:
    """An event."""
    await connection.execute(insert(schema.event).values(kind=Kind.QUEUED.value, job=job, at=0.0, data={}))


@pytest.mark.parametrize("commits", [True, False])
async def test_nothing_is_told_before_what_stands_before_it(db: Database, other: Database, commits: bool) -> None:
    """An event whose elder is not committed yet is told after it, or alone once the elder is rolled back."""
    feed, elder = Feed(db), other.write(alone=False)
    connection = await elder.__aenter__()
    await append(connection, "elder")
    async with db.write(alone=False) as younger:
        await append(younger, "younger")
    asked = [asyncio.create_task(feed.since(0)), asyncio.create_task(feed.head())]
    assert not (await asyncio.wait(asked, timeout=SOON_S))[0]
    await elder.__aexit__(*((None, None, None) if commits else (ZeroDivisionError, ZeroDivisionError(), None)))
    told = [event.job for event in await asyncio.wait_for(asked[0], 10)]
    assert told == (["elder", "younger"] if commits else ["younger"])
    assert await asyncio.wait_for(asked[1], 10) == 2


async def test_progress_waits_for_nobody(queue: Queue, other: Database) -> None:
    """While somebody has the turn, running jobs still say how far they are; whoever else wants the turn waits."""
    await queue.submit(make_request())
    (job,) = await queue.claim("engine", 1)
    async with other.write():
        await asyncio.wait_for(queue.progress(job, 1, 2, None, None), 10)
        waiting = asyncio.create_task(queue.submit(make_request()))
        assert not (await asyncio.wait({waiting}, timeout=SOON_S))[0]
    await asyncio.wait_for(waiting, 10)


async def test_killed_sessions_lose_nothing(queue: Queue, settings: StoreSettings, other: Database) -> None:
    """While sessions are ended under people and engines, every dream is accepted, claimed and completed once."""
    engines, done, ended = Queue(other, settings), [], 0

    async def engine(name: str) -> None:
        while len(done) < PEOPLE:
            for job in await engines.claim(name, 3):
                await engines.complete(job, make_result())  # LostClaim if an end of a session were taken for a failure
                done.append(job.id)
            await asyncio.sleep(0)

    async def person(number: int) -> str:
        return (await queue.submit(make_request(f"u{number % 5}", event_key=f"local:{number}"))).id

    working = [asyncio.create_task(engine(name)) for name in ("one", "two")]
    people = [asyncio.create_task(person(number)) for number in range(PEOPLE)]
    while not all(task.done() for task in people):
        ended += terminate(settings)
        await asyncio.wait(people, timeout=0.25)
    ids = [await task for task in people]
    await asyncio.wait_for(asyncio.gather(*working), 60)
    assert ended > 0
    assert sorted(done) == sorted(ids)
    assert raw.run(settings, "SELECT count(*), count(DISTINCT id) FROM job WHERE state = 'completed'") == [
        (PEOPLE, PEOPLE)
    ]
    assert raw.run(settings, "SELECT count(*) FROM event WHERE kind = 'completed'") == [(PEOPLE,)]


async def test_killed_server_process(queue: Queue, db: Database, settings: StoreSettings) -> None:
    """kill -9 of a server process: the server starts all sessions anew, and what was accepted is there."""
    before = await queue.submit(make_request())
    feed = Feed(db)
    await feed.changed(0)
    ((pid,), *_) = raw.run(settings, f"SELECT pid FROM pg_stat_activity WHERE {OTHERS} AND query NOT LIKE 'LISTEN%'")
    os.kill(pid, signal.SIGKILL)
    after = await asyncio.wait_for(queue.submit(make_request()), 60)
    assert {job.id for job in await queue.waiting()} == {before.id, after.id}
    while await feed.changed(0):
        pass
    job = await queue.submit(make_request())
    assert await feed.changed(30) is True
    assert (await feed.since(0))[-1].job == job.id


async def test_server_that_crashes_and_comes_back(queue: Queue, db: Database, server: postgres.Server) -> None:
    """While the server is down calls wait for it; what it had acknowledged before its crash is there after it."""
    before = await queue.submit(make_request())
    feed = Feed(db)
    await feed.changed(0)
    server.stop()
    waiting = asyncio.create_task(queue.submit(make_request()))
    assert not (await asyncio.wait({waiting}, timeout=SOON_S))[0]
    server.start()  # on this thread: the server dies with the thread that started it
    after = await asyncio.wait_for(waiting, 60)
    assert {job.id for job in await queue.waiting()} == {before.id, after.id}
    assert [event.job for event in await feed.since(0)] == [before.id, after.id]


class Cut:
    """Ends the connection at its next commit: before the server hears of it, or after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, heard: bool) -> None:
        self.left, self.heard = 1, heard
        self._commit = AsyncConnection.commit
        monkeypatch.setattr(AsyncConnection, "commit", lambda connection: self.commit(connection))

    async def commit(self, connection: AsyncConnection) -> None:
        """Once as if the network were cut."""
        if not self.left:
            return await self._commit(connection)
        self.left -= 1
        if self.heard:
            await self._commit(connection)
        await connection.invalidate()
        raise DBAPIError("COMMIT", {}, Exception("cut"), connection_invalidated=True)


@pytest.mark.parametrize("heard", [True, False])
async def test_cut_while_committing(
    queue: Queue, settings: StoreSettings, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """Where nobody knows whether a COMMIT happened the server is asked: the dream is there once, either way."""
    cut = Cut(monkeypatch, heard=heard)
    job = await queue.submit(make_request())
    assert cut.left == 0
    assert raw.run(settings, "SELECT id FROM job") == [(job.id,)]
    (claimed,) = await queue.claim("engine", 1)
    cut.left = 1
    await queue.complete(claimed, make_result())
    found = await queue.get(job.id)
    assert found is not None
    assert (found.state, found.attempt) == (State.COMPLETED, 1)


async def test_gives_up_in_the_end(settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays away is told of after `lost_s`, as something to try again."""
    hasty = settings.model_copy(update={"lost_s": 0.05})
    async with Database.open(hasty) as db:
        queue = Queue(db, hasty)
        await queue.submit(make_request())

        async def refused(*_: Any, **__: Any) -> Any:
            raise ConnectionRefusedError("nobody listens")

        monkeypatch.setattr("asyncpg.connect", refused)
        terminate_all = [db._backend.writer, db._backend.reader]
        for engine in terminate_all:
            await engine.dispose()
        with pytest.raises(StoreLost, match="nobody listens"):
            await queue.submit(make_request())


async def test_heart_survives(db: Database, settings: StoreSettings) -> None:
    """A heart whose session is ended makes a new one, and beats on."""
    row = make_engine()
    await Engines(db).register(row)
    heart = Heart(settings, row.owner)
    heart.beat()
    terminate(settings, "query LIKE 'UPDATE engine%'")
    for _ in range(20):
        try:
            heart.beat()
            break
        except StoreLost:
            continue
    heart.stop()
    assert raw.run(settings, "SELECT beat FROM engine")[0][0] >= 2


async def test_unreachable(settings: StoreSettings) -> None:
    """A server that nobody reaches is said in one sentence, without the password."""
    nowhere = settings.model_copy(update={"store": "postgresql+asyncpg://ada:secret-word@127.0.0.1:1/dreams"})
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1/dreams cannot be opened") as told:
        async with Database.open(nowhere):
            pass
    assert "secret-word" not in str(told.value)
    assert nowhere.password == "secret-word"


async def test_new_store(server: postgres.Server, settings: StoreSettings) -> None:
    """Two processes that open an empty database at once both find it whole, and their jobs in it."""
    fresh = settings.model_copy(update={"store": server.store(migrated=False)})

    async def use(user: str) -> str:
        async with Database.open(fresh) as db:
            return (await Queue(db, fresh).submit(make_request(user))).id

    ids = await asyncio.gather(use("ada"), use("bob"))
    assert {row[0] for row in raw.run(fresh, "SELECT id FROM job")} == set(ids)
    server.drop(str(fresh.store))


async def test_sessions_are_guarded(db: Database, settings: StoreSettings) -> None:
    """A host that freezes inside a transaction loses its turn, and tables that change often are vacuumed early."""
    async with db.write() as connection:
        limit = (await connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout")).scalar()
        patience = (await connection.exec_driver_sql("SHOW lock_timeout")).scalar()
    assert (limit, patience) == ("10s", "5s")
    (options,) = raw.run(settings, "SELECT reloptions::text FROM pg_class WHERE relname = 'job'")
    assert "autovacuum_vacuum_scale_factor=0.02" in options[0]


async def test_large_counters(queue: Queue, settings: StoreSettings) -> None:
    """A counter of months of one person's GPU work fits: it is in millionths of a second."""
    await queue.submit(make_request(cost=1e6))
    (job,) = await queue.claim("engine", 1)
    await queue.complete(job, make_result(used=1e6))
    assert raw.run(settings, "SELECT service FROM flow") == [(10**12,)]
    assert await queue.history(make_caller())
