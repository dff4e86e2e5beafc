"""Several engines on one store: `python -m tests.benchmarks.engines [--postgresql] [--engines 1 2 8]`.

The real service, batcher, queue, feed and heart, with a stub for the device: a step takes exactly `STEP_S`, as on
a device of its own. So what is lost against N times one engine is lost at the store. The baseline is one engine in the
same run.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from engine.__main__ import _until_told as until_told
from engine.methods import Found, Past, Picture
from engine.ops import Ask, EncodeText, Progress
from engine.service import Service
from engine.settings import EngineSettings
from storage.database import Database
from storage.engines import EngineRow, Engines
from storage.events import FINAL_KINDS
from storage.feed import Feed
from storage.heart import Heart
from storage.images import ImageStore
from storage.job import Caller, Candidate, Job, Params, Request, State
from storage.migrations import upgrade
from storage.queue import Queue
from storage.rescue import Watch, boot, host, new_owner
from storage.settings import StoreSettings
from tests.benchmarks.common import keep, table
from tests.postgres import Server, serving

STEP_S, STEPS, ROUNDS, PEOPLE = 0.25, 8, 8, 40
WIDE = 16  # so that one launch takes all seats: this device takes as long for one row as for eight
SIDE, DRAWS = 64, 20
PATIENCE_S = 300.0


class Stub(Service):
    """The service at a device whose every step takes as long as the last."""

    def _start(self, job: Job, past: Past | None) -> Ask[Found]:
        self._recipes[job.id] = {"prompt": job.params.prompt, "seed": job.params.seed}
        return dream(job)


def dream(job: Job) -> Ask[Found]:
    """So many steps, then one picture that nobody else has and some candidates."""
    for step in range(STEPS):
        yield EncodeText("stub", (job.params.prompt,))
        yield Progress(step + 1, STEPS)
    pixels = np.random.default_rng(job.params.seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    draws = tuple(Candidate(number=n, label=None, clip_score=n / DRAWS, embedding=b"\0" * 64) for n in range(DRAWS))
    return Found(pictures=(Picture(candidate=0, label=None, pixels=pixels, clip_score=0.3),), candidates=draws)


def step(launch: Any) -> list[Any]:
    """The device."""
    time.sleep(STEP_S)
    return [None] * len(launch.ops)


async def engine(store: StoreSettings) -> None:
    """One engine process, until SIGTERM."""
    settings, owner = EngineSettings(step_s=WIDE * STEP_S), new_owner()
    async with Database.open(store) as database:
        service = Stub(
            queue=Queue(database, store),
            feed=Feed(database, store.poll_s),
            images=ImageStore(store.images),
            space=lambda _pack: None,  # type: ignore[arg-type, return-value]
            run=step,
            trace={"device": "stub"},
            owner=owner,
            room=store.room,
            settings=settings,
        )
        engines = Engines(database)
        row = {"host": host(), "boot": boot(), "device": "stub", "dtype": "fp32", "started_at": time.time()}
        await engines.register(EngineRow(owner=owner, pid=os.getpid(), **row))
        with Heart(store, owner, allow=service.lively):
            await engines.ready(owner, "stub")
            await until_told(service, Watch(store.silent_s))
        await engines.leave(owner)


def requests(count: int) -> Iterator[Request]:
    """Dreams of many people in four guilds."""
    for number in range(count):
        name = f"u{number % PEOPLE}"
        caller = Caller(user=name, name=name, guild=f"g{number % 4}")
        params = Params(prompt="a lemon", seed=secrets.randbelow(2**32), pack="stub")
        yield Request(caller=caller, params=params, cost=STEPS * STEP_S / 8)


async def fill(store: StoreSettings, count: int) -> tuple[int, set[str]]:
    """So many dreams in a paused queue; the last event before, and their names."""
    async with Database.open(store) as database:
        queue, since = Queue(database, store), await Feed(database).head()
        await queue.pause()
        return since, {(await queue.submit(request)).id for request in requests(count)}


def measure(store: StoreSettings, count: int, rounds: int) -> dict[str, Any]:
    """Dreams a second of `count` engines, from `resume` until the last of the queued is done."""
    dreams = count * store.room * rounds
    since, jobs = asyncio.run(fill(store, dreams))
    fork = multiprocessing.get_context("fork")  # libraries are loaded once; no thread runs here yet
    children = [fork.Process(target=work, args=(store,)) for _ in range(count)]
    for child in children:
        child.start()
    try:
        seconds = asyncio.run(watch(store, count, since, jobs))
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()
    return {"engines": count, "dreams": dreams, "seconds": seconds, "dreams_a_second": dreams / seconds}


def work(store: StoreSettings) -> None:
    """A child's life."""
    asyncio.run(engine(store))


async def watch(store: StoreSettings, count: int, since: int, jobs: set[str]) -> float:
    """Seconds from `resume` to the end of the last dream; every one must be completed, at its first attempt."""
    async with Database.open(store) as database, asyncio.timeout(PATIENCE_S):
        queue, feed, engines = Queue(database, store), Feed(database, store.poll_s), Engines(database)
        while len(await engines.alive(store.silent_s)) < count:
            await feed.changed(0.2)
        began = time.perf_counter()
        await queue.resume()
        await ended(feed, since, set(jobs))
        seconds = time.perf_counter() - began
        for job_id in jobs:
            job = await queue.get(job_id)
            assert job is not None
            assert (job.state, job.attempt) == (State.COMPLETED, 1), job
        return seconds


async def ended(feed: Feed, since: int, wanted: set[str]) -> None:
    """Until every one of them has ended."""
    async for events in feed.follow(since):
        wanted -= {str(event.job) for event in events if event.kind in FINAL_KINDS}
        if not wanted:
            return


def run(counts: Sequence[int], rounds: int, server: Server | None) -> list[dict[str, Any]]:
    """A row for each number of engines, with what it is to one engine's; a fresh store each."""
    rows: list[dict[str, Any]] = []
    for count in counts:
        url = None if server is None else server.store()
        with tempfile.TemporaryDirectory() as folder:
            store = StoreSettings(home=Path(folder), store=url, queued_limit=10**9, disk_floor_mb=0)
            if server is None:
                upgrade(store)
            rows.append(measure(store, count, rounds))
            rows[-1]["times_one"] = rows[-1]["dreams_a_second"] / rows[0]["dreams_a_second"]
            rows[-1]["of_the_device"] = rows[-1]["dreams_a_second"] * STEPS * STEP_S / store.room / count
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgresql", action="store_true", help="a server of its own, instead of SQLite")
    parser.add_argument("--engines", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often an engine's seats are filled")
    asked = parser.parse_args()
    with serving() if asked.postgresql else nullcontext() as server:
        rows = run(asked.engines, asked.rounds, server)
    table(rows)
    kind = "postgresql" if asked.postgresql else "sqlite"
    keep(f"engines-{kind}", {"store": kind, "step_s": STEP_S, "steps": STEPS, "room": 8, "rows": rows})


if __name__ == "__main__":
    main()
