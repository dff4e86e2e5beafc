"""The life of a job on a real store."""

from __future__ import annotations

from storage.database import Database
from storage.events import Kind
from storage.feed import Feed
from storage.job import Outcome, State
from storage.queue import Queue
from tests.factories import make_caller, make_request, make_result


async def test_walk(queue: Queue, db: Database) -> None:
    """A job is queued, claimed, shown, completed, and every hop is an event."""
    job = await queue.submit(make_request(reply_to="here"))
    assert (job.state, await queue.position(job.id)) == (State.QUEUED, 1)
    (claimed,) = await queue.claim("owner", 8)
    assert (claimed.state, claimed.token, claimed.attempt, claimed.owner) == (State.RUNNING, 1, 1, "owner")
    await queue.progress(claimed, 10, 100, "f" * 64, 0.2)
    await queue.complete(claimed, make_result(images=2))
    done = await queue.get(job.id)
    assert done is not None
    assert done.state is State.COMPLETED
    assert len(done.images) == 2
    kinds = [event.kind for event in await Feed(db).since(0)]
    assert kinds == [Kind.QUEUED, Kind.STARTED, Kind.PROGRESSED, Kind.COMPLETED]
    assert await queue.cancel(job.id, make_caller()) is Outcome.FINISHED
