"""`dreambot serve` in a storm of kill -9: nothing acknowledged is lost, nothing is done or told twice."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

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


@pytest.mark.long
async def test_storm_b(tmp_path: Path) -> None:
    """Ten minutes of the real engine and the embedded pack: what is asked for is done once and told once."""
    figures = await storm_b(tmp_path / "home", seconds=600, each=40)
    log.warning("storm B: %s", figures)
    assert figures["completed"] >= 100
