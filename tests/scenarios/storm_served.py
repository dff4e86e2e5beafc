"""Crash storm B: `dreambot serve` with the real engine under kill -9 of engine and bot.

Knows how processes are killed and what must hold afterwards; how many dreams of which pack and how many kills, its
callers say: a test, and `python -m tests.benchmarks.storm b`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from storage.database import sqlite_connection
from storage.events import Kind
from storage.job import Job, State
from tests.scenarios.house import House, open_house

PEOPLE = ("ada", "bob", "cyd", "dan", "eve")
RESTART_S = 60.0  # an engine is back in seconds, and in a minute on a machine that is busy
FIRST_DREAMS = 2  # that each person has in the queue at once
DREAMS: tuple[dict[str, Any], ...] = (  # of the embedded pack: quick ones, one that checkpoints, one of many candidates
    {"candidates": 100},
    {"candidates": 200, "keep": 4},
    {"method": "fusedream", "candidates": 50, "steps": 12},
)


async def storm_of(
    house: House, jobs: list[Job], engine_kills: int, bot_kills: int, dice: random.Random, *options: str
) -> int:
    """Kill bot and engine of `dreambot serve` so often, or until these jobs are over; how many engines died."""
    house.patience_s = RESTART_S * engine_kills
    serving = house.serve(*options)
    ending = asyncio.create_task(house.finished(jobs))
    killing = asyncio.create_task(kill_bots(serving.pid, bot_kills, dice))
    killed = await kill_engines(house, engine_kills, dice, ending)
    done = await ending
    assert await killing == bot_kills
    await house.all_sent()
    await check(house, done)
    serving.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(serving.wait) == 0
    return killed


async def storm_b(home: Path, *, seconds: float, each: int) -> dict[str, Any]:
    """So long, with so many kills of each, on the embedded pack; its figures. AssertionError if anything is lost."""
    dice, over, kills = random.Random(7), asyncio.Event(), Counter[str]()
    async with open_house(home, home.with_name("no packs"), DREAMBOT_MAX_STRIKES="1000") as house:
        house.patience_s, began = seconds + each * RESTART_S, time.monotonic()
        serving = house.serve()

        def enough(what: str) -> bool:
            return time.monotonic() > began + seconds and kills[what] >= each

        async def strike_bot() -> None:
            while not enough("bot"):
                kills["bot"] += await kill_bots(serving.pid, 1, dice)

        async def strike_engine() -> None:
            while not enough("engine"):
                kills["engine"] += await kill_engines(house, 1, dice, over_task)

        over_task: asyncio.Task[Any] = asyncio.create_task(over.wait())
        asking = [asyncio.create_task(person(house, name, over)) for name in PEOPLE * FIRST_DREAMS]
        await asyncio.gather(strike_bot(), strike_engine())
        struck = time.monotonic() - began
        over.set()
        done = [job for jobs in await asyncio.gather(*asking) for job in jobs]
        await house.all_sent()
        await check(house, done)
        serving.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(serving.wait) == 0
        with sqlite_connection(house.settings.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (attempts,) = connection.execute("SELECT sum(attempt) FROM job").fetchone()
        times = {"seconds": round(struck), "settled after": round(time.monotonic() - began - struck)}
        methods = Counter(job.params.method.value for job in done)
        return {"kills": dict(kills), "completed": len(done), "by method": dict(methods), "attempts": attempts} | times


async def person(house: House, name: str, over: asyncio.Event) -> list[Job]:
    """One dream after the other, each once the last has ended."""
    done: list[Job] = []
    while not over.is_set():
        wish = DREAMS[len(done) % len(DREAMS)] | {"pack": "embedded", "seed": len(done)}
        since = await house.feed.head()
        job = await house.submit(name, f"a lemon for {name}", reply_to=f"local/{name}", **wish)
        done += await house.finished([job], since)
    return done


async def kill_engines(house: House, times: int, dice: random.Random, ending: asyncio.Task[Any]) -> int:
    """kill -9, each time after a first beat and a moment of chance; stops early if everything is done."""
    killed = 0
    while killed < times and not ending.done():
        pid = await house.beating_engine()
        await asyncio.wait({ending}, timeout=dice.uniform(0.0, 2.5))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


async def kill_bots(serving: int, times: int, dice: random.Random) -> int:
    """kill -9 the bot of `dreambot serve` at random moments."""
    for _ in range(times):
        await asyncio.sleep(dice.uniform(0.5, 4.0))  # a random moment is what is tested
        while not (pids := bots_of(serving)):
            await asyncio.sleep(0.05)
        os.kill(pids[0], signal.SIGKILL)
    return times


def bots_of(serving: int) -> list[int]:
    """The pids of the bot processes of a supervisor, on any level below it."""
    below, found = [serving], []
    while below:
        pid = below.pop()
        with contextlib.suppress(OSError):
            below += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"bot"]:
                found.append(pid)
    return found


async def check(house: House, done: list[Job]) -> None:
    """The "nothing lost" predicate."""
    assert {job.state for job in done} == {State.COMPLETED}
    ends = Counter(e.job for e in await house.feed.since(0, 1_000_000) if e.kind is Kind.COMPLETED)
    assert ends == {job.id: 1 for job in done}
    for job in done:
        for image in job.images:
            content = house.images.path(image.sha256).read_bytes()
            assert hashlib.sha256(content).hexdigest() == image.sha256
    letters = sorted((house.settings.home / "mail").rglob("*.json"))
    assert sorted(path.stem for path in letters) == sorted(job.id for job in done)
    assert all(json.loads(path.read_text())["images"] for path in letters)
