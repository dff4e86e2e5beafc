"""`dreambot serve` in a storm of kill -9: nothing acknowledged is lost, nothing is done or told twice."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.scenarios.house import open_house
from tests.scenarios.storm_served import PEOPLE, storm_b, storm_of

log = logging.getLogger(__name__)


@pytest.mark.parametrize(
    ("dreams", "engine_kills", "bot_kills"),
    [pytest.param(10, 3, 1, id="short"), pytest.param(40, 20, 10, id="full", marks=pytest.mark.long)],
)
async def test_nothing_is_lost(
    tmp_path: Path, tiny_folder: Path, dreams: int, engine_kills: int, bot_kills: int
) -> None:
    """Every dream completes once, every image file is whole, every person gets one reply a dream."""
    async with open_house(tmp_path / "home", tiny_folder, DREAMBOT_MAX_STRIKES="100") as house:
        names = [PEOPLE[number % len(PEOPLE)] for number in range(dreams)]
        asked = enumerate(names)
        jobs = [await house.submit(who, reply_to=f"local/{who}", seed=seed, candidates=600) for seed, who in asked]
        killed = await storm_of(house, jobs, engine_kills, bot_kills, random.Random(7))
        assert killed >= min(engine_kills, 3)


@pytest.mark.parametrize(
    ("real", "dreams", "engine_kills", "bot_kills"),
    [
        pytest.param(False, 40, 4, 1, id="short"),
        pytest.param(True, 40, 20, 10, id="full", marks=pytest.mark.long),
    ],
)
async def test_nothing_is_lost_on_postgresql(
    tmp_path: Path, tiny_folder: Path, server: Server, real: bool, dreams: int, engine_kills: int, bot_kills: int
) -> None:
    """The same there, while the server's sessions are ended as well, and one of its processes by kill -9."""
    url = server.store()
    fake = {"FAKE_SEATS": "4", "FAKE_JOB_S": "0.5"}
    options = () if real else ("--engine", f"{sys.executable} -m tests.fakes.engine")
    told = {"DREAMBOT_STORE": url, "DREAMBOT_MAX_STRIKES": "100", **fake}
    async with open_house(tmp_path / "home", tiny_folder, **told) as house:
        pack = "tiny" if real else "embedded"
        names = [PEOPLE[number % len(PEOPLE)] for number in range(dreams)]
        jobs = [
            await house.submit(who, reply_to=f"local/{who}", seed=seed, candidates=600, pack=pack)
            for seed, who in enumerate(names)
        ]
        dice = random.Random(7)
        ending = asyncio.create_task(end_sessions(server, url, dice))
        killed = await storm_of(house, jobs, engine_kills, bot_kills, dice, *options)
        ending.cancel()
        assert killed >= min(engine_kills, 3)
    server.drop(url)


async def end_sessions(server: Server, url: str, dice: random.Random) -> None:
    """Now and then all of the store's; once, a process of the server is killed, which ends everybody's."""
    await asyncio.sleep(2.0)
    ours = f"pid FROM pg_stat_activity WHERE application_name = 'dreambot' AND datname = '{url.rpartition('/')[2]}'"
    for (pid,) in (await asyncio.to_thread(server.run, f"SELECT {ours}"))[:1]:
        os.kill(pid, signal.SIGKILL)
    while True:
        await asyncio.sleep(dice.uniform(0.5, 2.0))
        await asyncio.to_thread(server.run, f"SELECT pg_terminate_backend(pid) FROM (SELECT {ours}) AS ours")


@pytest.mark.long
async def test_storm_b(tmp_path: Path) -> None:
    """Ten minutes of the real engine and the embedded pack: what is asked for is done once and told once."""
    figures = await storm_b(tmp_path / "home", seconds=600, each=40)
    log.warning("storm B: %s", figures)
    assert figures["completed"] >= 100
