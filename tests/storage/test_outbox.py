"""Replies that are owed."""

from __future__ import annotations

from storage.database import Database
from storage.events import Kind
from storage.outbox import Outbox
from storage.queue import Queue
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
