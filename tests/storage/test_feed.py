"""The event log, followed across connections and processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from storage.database import Database
from storage.events import Event, Kind
from storage.feed import Feed
from storage.queue import Queue
from storage.settings import StoreSettings
from tests.factories import make_caller, make_request


@pytest.fixture
async def elsewhere(settings: StoreSettings) -> AsyncIterator[Queue]:
    """The same store through connections of its own, as another process would have it."""
    async with Database.open(settings) as other:
        yield Queue(other, settings)


async def test_since(queue: Queue, db: Database) -> None:
    """Events come in the order of their commits, from after a cursor, in pieces if asked."""
    feed = Feed(db)
    assert await feed.head() == 0
    jobs = [await queue.submit(make_request()) for _ in range(3)]
    events = await feed.since(0, limit=2) + await feed.since(2)
    assert [(event.id, event.kind, event.job) for event in events] == [
        (n, Kind.QUEUED, job.id) for n, job in enumerate(jobs, 1)
    ]
    assert await feed.head() == 3


async def test_changed(db: Database, elsewhere: Queue) -> None:
    """A commit of another connection is noticed once, although reads go on; without one, waiting ends in time."""
    feed = Feed(db, 0.001)
    await feed.changed(0)
    assert await feed.changed(0.005) is False
    job = await elsewhere.submit(make_request())
    assert await feed.changed(5) is True
    assert await feed.changed(0) is False
    await elsewhere.cancel(job.id, make_caller())
    assert await feed.changed(5) is True


async def test_own_commits_change_it(queue: Queue, db: Database) -> None:
    """What this process commits wakes its own waiters at once, long before the next poll."""
    feed = Feed(db, 60)
    await feed.changed(0)
    waiter = asyncio.create_task(feed.changed(60))
    await asyncio.sleep(0)
    await queue.submit(make_request())
    assert await asyncio.wait_for(waiter, 5) is True


async def test_nudge(db: Database) -> None:
    """A nudge wakes every waiter although nothing has changed."""
    feed = Feed(db, 60)
    await feed.changed(0)
    waiter = asyncio.create_task(feed.changed(60))
    await asyncio.sleep(0)
    feed.nudge()
    assert await asyncio.wait_for(waiter, 5) is True


async def test_follow(db: Database, elsewhere: Queue) -> None:
    """Two followers in one process each see every event once and in order, wherever it was written."""
    feed = Feed(db, 0.001)

    async def first(count: int) -> list[Event]:
        got: list[Event] = []
        async for events in feed.follow(0):
            got += events
            if len(got) >= count:
                break
        return got

    followers = [asyncio.create_task(first(20)) for _ in range(2)]
    for n in range(10):
        job = await elsewhere.submit(make_request(f"u{n}"))
        await elsewhere.cancel(job.id, make_caller(f"u{n}"))
    for follower in followers:
        events = await asyncio.wait_for(follower, 10)
        assert [event.id for event in events] == list(range(1, 21))


async def test_cursors(db: Database) -> None:
    """A saved cursor is found again under its name."""
    feed = Feed(db)
    assert await feed.load_cursor("delivery") is None
    for cursor in (7, 9):
        await feed.save_cursor("delivery", cursor)
        assert await feed.load_cursor("delivery") == cursor
