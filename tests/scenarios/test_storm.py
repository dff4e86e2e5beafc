"""`dreambot serve` in a storm of kill -9: nothing acknowledged is lost, nothing is done or told twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from storage.events import Kind
from storage.job import Job, State
from tests.scenarios.house import House, open_house

PEOPLE = ("ada", "bob", "cyd", "dan", "eve")


@pytest.mark.parametrize(
    ("dreams", "engine_kills", "bot_kills"),
    [pytest.param(10, 3, 1, id="short"), pytest.param(40, 20, 10, id="full", marks=pytest.mark.long)],
)
async def test_nothing_is_lost(
    tmp_path: Path, tiny_folder: Path, dreams: int, engine_kills: int, bot_kills: int
) -> None:
    """Every dream completes once, every image file is whole, every person gets one reply a dream."""
    dice = random.Random(7)
    async with open_house(tmp_path / "home", tiny_folder, DREAMBOT_MAX_STRIKES="100") as house:
        house.patience_s = 60.0 * engine_kills  # a restart takes seconds, and minutes on a machine that is busy
        serving = house.serve()
        jobs = [
            await house.submit(PEOPLE[i % 5], reply_to=f"local/{PEOPLE[i % 5]}", seed=i, candidates=600)
            for i in range(dreams)
        ]
        ending = asyncio.create_task(house.finished(jobs))
        killing = asyncio.create_task(kill_bots(serving.pid, bot_kills, dice))
        killed = await kill_engines(house, engine_kills, dice, ending)
        done = await ending
        assert await killing == bot_kills
        await house.all_sent()
        await check(house, done)
        assert killed >= min(engine_kills, 3)
        serving.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(serving.wait) == 0


async def kill_engines(house: House, times: int, dice: random.Random, ending: asyncio.Task[list[Job]]) -> int:
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
    ends = Counter(e.job for e in await house.feed.since(0, 100_000) if e.kind is Kind.COMPLETED)
    assert ends == {job.id: 1 for job in done}
    for job in done:
        for image in job.images:
            content = house.images.path(image.sha256).read_bytes()
            assert hashlib.sha256(content).hexdigest() == image.sha256
    letters = sorted((house.settings.home / "mail").rglob("*.json"))
    assert sorted(path.stem for path in letters) == sorted(job.id for job in done)
    assert all(json.loads(path.read_text())["images"] for path in letters)
