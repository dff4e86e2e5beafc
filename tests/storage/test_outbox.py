"""Replies that are owed."""

from __future__ import annotations

import asyncio

from storage.database import Database
from storage.events import Kind
from storage.leads import Leads
from storage.outbox import Outbox
from storage.queue import Queue
from storage.rescue import boot, host
from tests.factories import make_caller, make_request


async def test_one_letter_a_job(queue: Queue, db: Database) -> None:
    """A job with an address that is over is owed one reply, until it has arrived; one without is owed none."""
    outbox = Outbox(db)
    for reply_to in ("channel/1", None):
        job = await queue.submit(make_request(reply_to=reply_to, surface="slack"))
        await queue.cancel(job.id, make_caller(surface="slack"))
    assert await outbox.unsent(["discord"]) == []
    (letter,) = await outbox.unsent(["discord", "slack"])
    assert (letter.reply_to, letter.kind, letter.surface, letter.attempts) == ("channel/1", Kind.CANCELLED, "slack", 0)
    await outbox.sent(letter.id, "message 1")
    assert await outbox.unsent(["slack"]) == []


async def test_tried_again_later(queue: Queue, db: Database) -> None:
    """A letter that could not be sent is tried again when its time has come, and not after it has arrived."""
    now = [100.0]
    outbox = Outbox(db, clock=lambda: now[0])
    job = await queue.submit(make_request(reply_to="here"))
    await queue.cancel(job.id, make_caller())
    (letter,) = await outbox.unsent(["local"])
    await outbox.failed_try(letter.id, "rate limited", 130.0)
    assert await outbox.unsent(["local"]) == []
    now[0] = 130.0
    (again,) = await outbox.unsent(["local"])
    assert (again.id, again.attempts) == (letter.id, 1)
    await outbox.sent(again.id, "message 1")
    await outbox.failed_try(again.id, "too late to matter", 0.0)
    assert await outbox.unsent(["local"]) == []


async def test_taken_by_one(queue: Queue, db: Database) -> None:
    """Of two bots that take the same letters, each gets some, and none gets another's until its time is over."""
    outbox = Outbox(db)
    letters = await owed(queue, outbox, 6)
    taken = await asyncio.gather(*(outbox.take(letters, bot, 60.0) for bot in ("one", "other")))
    assert sorted(letter.id for part in taken for letter in part) == letters
    assert [letter.id for letter in await outbox.take(letters, "one", 60.0)] == [letter.id for letter in taken[0]]
    assert await outbox.take(letters, "third", 60.0) == []
    await outbox.take(letters, "one", -1.0)
    await outbox.take(letters, "other", -1.0)
    assert [letter.id for letter in await outbox.take(letters, "third", 60.0)] == letters


async def test_taken_from_the_dead(queue: Queue, db: Database) -> None:
    """What a bot took whose process is gone from this machine is free at once; another host's bot is given its time."""
    outbox = Outbox(db)
    letters = await owed(queue, outbox, 1)
    gone = f"{host()}:{boot()}:{2**22 + 1}:0"
    elsewhere = f"another-{host()}:{boot()}:{2**22 + 1}:0"
    for bot in (gone, elsewhere):
        assert len(await outbox.take(letters, bot, 60.0)) == 1
    assert await outbox.take(letters, "one", 60.0) == []


async def test_arrived_letters_are_not_taken(queue: Queue, db: Database) -> None:
    """A letter that has arrived is nobody's to send; one whose try failed is anybody's."""
    outbox = Outbox(db)
    first, second = await owed(queue, outbox, 2)
    assert len(await outbox.take([first, second], "one", 60.0)) == 2
    await outbox.sent(first, "message 1")
    await outbox.failed_try(second, "rate limited", 0.0)
    assert [letter.id for letter in await outbox.take([first, second], "other", 60.0)] == [second]


async def owed(queue: Queue, outbox: Outbox, count: int) -> list[int]:
    """The ids of so many letters."""
    for _ in range(count):
        job = await queue.submit(make_request(reply_to="here"))
        await queue.cancel(job.id, make_caller())
    return [letter.id for letter in await outbox.unsent(["local"])]


async def test_leads(db: Database) -> None:
    """One leads until its time is over or its process gone; of several that ask at once one gets it."""
    leads = Leads(db)
    assert sorted(await asyncio.gather(*(leads.take("x", bot, 60.0) for bot in ("one", "other")))) == [False, True]
    assert await leads.take("y", f"{host()}:{boot()}:{2**22 + 1}:0", 60.0)
    assert await leads.take("y", "one", -1.0)
    assert await leads.take("y", "other", 60.0)
    assert not await leads.take("y", "one", 60.0)
