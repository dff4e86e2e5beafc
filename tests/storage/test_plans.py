"""What the database does for each statement, as it says itself: no call walks through everybody's history."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event, text

from storage import counters
from storage.database import Database, sqlite_connection
from storage.feed import Feed
from storage.job import Reason
from storage.outbox import Outbox
from storage.queue import Queue
from storage.rescue import Watch
from tests.factories import make_caller, make_request, make_result
from tests.storage import raw
from tests.storage.raw import on_postgresql, on_sqlite

WALK = re.compile(
    r"SCAN (job|event|candidate|image|outbox|flow|user|own)\b(?!.* ix_(job_head|job_running|outbox_unsent))"
)


async def _everything(queue: Queue, db: Database) -> None:
    """One call of everything that people and engines do all the time."""
    job = await queue.submit(make_request(event_key="local:1", reply_to="here"))
    for _ in range(3):
        await queue.submit(make_request())
    await queue.position(job.id)
    await queue.waiting()
    await queue.cancel((await queue.submit(make_request())).id, make_caller())
    first, second, third, _ = await queue.claim("engine", 4, packs=["embedded"])
    await queue.running()
    await queue.progress(first, 1, 2, "f" * 64, 0.1)
    await queue.cancel(third.id, make_caller())
    await queue.cancel_requests("engine")
    await queue.complete(first, make_result())
    await queue.fail(second, Reason.ERROR, "broke")
    await queue.cancelled(third)
    await queue.rescue(Watch(gone=lambda _: True))
    await queue.get(first.id)
    await queue.candidates(first.id)
    await queue.history(make_caller())
    await Feed(db).since(await Feed(db).head())
    (letter, *_) = await Outbox(db).unsent(["local"])
    await Outbox(db).sent(letter.id, "message")


@on_sqlite
async def test_no_walk_through_history(queue: Queue, db: Database) -> None:
    """Every statement finds its rows by an index, and what waits or runs by an index of only that."""
    said: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        said[statement] = values[0] if isinstance(values, list) else values

    for engine in (db._backend.writer.sync_engine, db._backend.reader.sync_engine):
        event.listen(engine, "before_cursor_execute", note)
    await _everything(queue, db)
    plans = {}
    with sqlite_connection(db.settings.path) as connection:
        for statement, values in said.items():
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
                plans[statement] = [row[3] for row in plan]
    assert len(plans) > 20
    walks = {statement: plan for statement, plan in plans.items() if any(WALK.search(step) for step in plan)}
    assert not walks
    for statement, plan in plans.items():
        if "state = 'queued'" in statement or "state = 'running'" in statement:
            assert not any("ix_job_flow" in step for step in plan), statement


HISTORY = """
INSERT INTO job (id, flow_id, state, params, pack, cost, created_at)
SELECT 'old-' || n, flow_id, 'queued', params, pack, cost, created_at
FROM generate_series(1, 5000) AS n, (SELECT * FROM job LIMIT 1) AS one"""


@on_postgresql
async def test_a_claim_does_not_read_history_there(queue: Queue, db: Database) -> None:
    """On PostgreSQL, too, who waits is found by the index of what waits, however long the history behind it."""
    for number in range(5):
        await queue.submit(make_request(f"u{number}"))
    over = "UPDATE job SET state = 'completed', finished_at = created_at WHERE id LIKE 'old-%'"
    for change in (HISTORY, "ANALYZE", over):  # and the statistics still say that all of it waits
        raw.run(db.settings, change)
    for statistics in ("SELECT 1", "ANALYZE"):
        raw.run(db.settings, statistics)
        async with db.read() as connection:
            for said, values in ((counters._HEADS, {"packs": None, "depth": 8}), (counters._BUSY, {})):
                asked = text(f"EXPLAIN {said.to(connection).text}")
                plan = "\n".join((await connection.execute(asked, values)).scalars())
                assert "ix_job_head" in plan
                assert "ix_job_flow" not in plan
                assert "Seq Scan on job" not in plan
