"""Two engines of one host with different packs on one store, as real processes."""

from __future__ import annotations

import asyncio

import pytest

from bot.line import Line, place_of
from bot.settings import BotSettings
from bot.store import open_store
from storage.job import Caller, State
from tests.scenarios.house import House

PACKS = ("tiny", "embedded")


@pytest.mark.long
async def test_each_engine_dreams_with_its_own_pack(house: House) -> None:
    """Dreams of two packs run at the same time, each on the engine that serves it, and the queue says where."""
    for pack in PACKS:
        before = await house.feed.head()
        house.environ |= {"DREAMBOT_SLOT": pack, "DREAMBOT_SERVES": pack}
        house.start_engine()
        await house.engine_ready(before)
    jobs = [await house.submit(pack=pack, candidates=10_000) for pack in PACKS * 2]
    async with open_store(BotSettings(home=house.settings.home)) as store, asyncio.timeout(house.patience_s):
        ran: dict[str, str | None] = {}
        while len(ran) < len(jobs):
            ran = {one.job.id: one.engine for one in await Line(store).standings() if one.position == 0}
            await house.feed.changed(0.5)
    serves = {place_of(engine): tuple(engine.packs) for engine in await house.engines.known()}
    assert [serves[str(ran[job.id])] for job in jobs] == [(job.params.pack,) for job in jobs]
    for job in jobs:
        await house.queue.cancel(job.id, Caller(user="ada", name="ada"))
    assert {job.state for job in await house.finished(jobs)} == {State.CANCELLED}
