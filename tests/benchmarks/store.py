"""The store under a long queue: `python -m tests.benchmarks.store [--queued 100000] [--stores sqlite postgresql]`.

Jobs a second from submit to completion, and how long a claim takes with a hundred and with a hundred thousand waiting,
on SQLite and on a PostgreSQL server of the benchmark's own (fsync on). The baseline is the short queue of the same
store in the same run. Of the long queue only the last submits are timed; the rest is copied in, in one transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select, text

from storage import schema
from storage.database import Database
from storage.job import Caller, Params, Request, Result, State
from storage.queue import Queue
from storage.settings import StoreSettings
from tests import postgres
from tests.benchmarks.common import keep, table

FEW, PEOPLE, CLAIMS, SUBMITS, PIECE = 100, 50, 200, 200, 5_000


async def fill(queue: Queue, count: int) -> None:
    """`count` more waiting jobs of fifty people in five guilds."""
    for number in range(count):
        person = f"u{number % PEOPLE}"
        caller = Caller(user=person, name=person, guild=f"g{number % 5}")
        await queue.submit(Request(caller=caller, params=Params(prompt="a lemon", seed=number, pack="embedded")))


async def copy(database: Database, count: int) -> None:
    """`count` more waiting jobs, as copies of those that wait."""
    async with database.write() as connection:
        rows = (await connection.execute(select(schema.job).where(schema.job.c.state == State.QUEUED.value))).all()
        plain = [{k: v for k, v in row._mapping.items() if k not in ("seq", "id")} for row in rows]
        for start in range(0, count, PIECE):
            part = range(start, min(start + PIECE, count))
            await connection.execute(
                insert(schema.job), [{**plain[number % len(plain)], "id": f"copy-{number}"} for number in part]
            )
        await connection.execute(text("ANALYZE"))  # as autovacuum does it after a minute


async def claims(queue: Queue) -> dict[str, float]:
    """Milliseconds a claim of one job, and jobs a second from claim to completion; as many are put back in line."""
    spent = []
    began = time.perf_counter()
    for _ in range(CLAIMS):
        at = time.perf_counter()
        (job,) = await queue.claim("engine", 1)
        spent.append((time.perf_counter() - at) * 1e3)
        await queue.complete(job, Result(images=(), recipe={}, recipe_digest="", trace={}, used=1.0))
        await fill(queue, 1)
    seconds = time.perf_counter() - began
    p50, p99 = (float(np.percentile(spent, q)) for q in (50, 99))
    return {"claim_p50_ms": p50, "claim_p99_ms": p99, "jobs_a_second": CLAIMS / seconds}


async def measure(settings: StoreSettings, queued: int) -> list[dict[str, Any]]:
    """A row for each length of the queue."""
    rows: list[dict[str, Any]] = []
    async with Database.open(settings) as database:
        queue, waiting = Queue(database, settings), 0
        for length in (FEW, queued):
            if (spare := length - waiting - SUBMITS) > 0:
                await copy(database, spare)
                waiting += spare
            submits = length - waiting
            began = time.perf_counter()
            await fill(queue, submits)
            submitted = submits / (time.perf_counter() - began)
            waiting = length
            figures = {"queued": length, "submits_a_second": submitted, **await claims(queue)}
            rows.append({"store": "postgresql" if settings.on_server else "sqlite", **figures})
    for row in rows:
        row["p99_ratio"] = row["claim_p99_ms"] / rows[0]["claim_p99_ms"]
    return rows


def on(store: str, folder: Path, queued: int) -> list[dict[str, Any]]:
    """The rows of one store."""
    patient = {"home": folder, "queued_limit": 10**9}
    if store == "sqlite":
        return asyncio.run(measure(StoreSettings(**patient), queued))
    with postgres.serving() as server:
        return asyncio.run(measure(StoreSettings(**patient, store=server.store()), queued))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--stores", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for store in asked.stores:
        with tempfile.TemporaryDirectory() as folder:
            rows += on(store, Path(folder), asked.queued)
    table(rows)
    keep("store", {"rows": rows})


if __name__ == "__main__":
    main()
