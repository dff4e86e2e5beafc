"""The bot's hourly and minutely work."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bot.commands import Commands
from bot.housekeeping import HOUR_S, MINUTE_S, Housekeeping
from bot.settings import BotSettings
from bot.store import Store, open_store
from storage.disk import BALLAST, MB
from tests.factories import make_caller, make_params
from tests.fakes.engine import FakeEngine


async def test_each_hour_and_not_before(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """A minute after the start and an hour after that, lone old files go; what a dream shows stays."""
    now = [0.0]
    store = replace(store, settings=store.settings.model_copy(update={"ballast_mb": 0}))
    keeping = Housekeeping(store, clock=lambda: now[0])
    await commands.dream(make_caller(), make_params())
    (job,) = await store.queue.claim(engine.owner, 1)
    await engine.run(job)
    lone = store.images.put(b"lone")
    os.utime(store.images.path(lone), (1.0, 1.0))
    await keeping.look()
    assert store.images.read(lone) is not None
    now[0] = MINUTE_S
    await keeping.look()
    assert store.images.read(lone) is None
    again = store.images.put(b"lone")
    os.utime(store.images.path(again), (1.0, 1.0))
    now[0] = HOUR_S
    await keeping.look()
    assert store.images.read(again) is not None
    done = await store.queue.get(job.id)
    assert done is not None
    assert store.images.read(done.images[0].sha256) is not None


async def test_the_ballast_is_made_once_there_is_room(home: Path) -> None:
    """Of the size that the settings say."""
    settings = BotSettings(home=home, ballast_mb=1, disk_floor_mb=0)
    async with open_store(settings) as store:
        await Housekeeping(store).look()
    assert (home / BALLAST).stat().st_size == MB
