"""The store under a long queue: `python -m tests.benchmarks.store [--queued 100000]`.

Jobs a second from submit to completion, and how long a claim takes with a hundred and with a hundred thousand waiting.
The baseline is the short queue in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from storage.database import Database
from storage.job import Caller, Params, Request, Result
from storage.migrations import upgrade
from storage.queue import Queue
from storage.settings import StoreSettings
from tests.benchmarks.common import keep, table

FEW, PEOPLE, CLAIMS = 100, 50, 200


async def fill(queue: Queue, count: int) -> None:
    """`count` more waiting jobs of fifty people in five guilds."""
    for number in range(count):
        person = f"u{number % PEOPLE}"
        caller = Caller(user=person, name=person, guild=f"g{number % 5}")
        await queue.submit(Request(caller=caller, params=Params(prompt="a lemon", seed=number, pack="embedded")))


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


async def measure(home: Path, queued: int) -> list[dict[str, Any]]:
    """A row for each length of the queue."""
    settings = StoreSettings(home=home, queued_limit=10**9)
    upgrade(settings)
    rows = []
    async with Database.open(settings) as database:
        queue, waiting = Queue(database, settings), 0
        for length in (FEW, queued):
            began = time.perf_counter()
            await fill(queue, length - waiting)
            submitted = (length - waiting) / (time.perf_counter() - began)
            waiting = length
            rows.append({"queued": length, "submits_a_second": submitted, **await claims(queue)})
    for row in rows:
        row["p99_ratio"] = row["claim_p99_ms"] / rows[0]["claim_p99_ms"]
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder), asked.queued))
    table(rows)
    keep("store", {"rows": rows})


if __name__ == "__main__":
    main()
