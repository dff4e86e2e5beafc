"""The real engine on a bad day: weights that cannot be read, a disk that is full while it works."""

from __future__ import annotations

import asyncio
from pathlib import Path

from storage.events import Kind
from storage.job import Method, State
from tests.engine.tiny import make_tiny_pack
from tests.scenarios.house import House, open_house


async def test_unreadable_weights_are_named_and_the_queue_goes_on(tmp_path: Path) -> None:
    """A folder in the file's place: the engine ends and names the file; the job waits, and is done once all is well."""
    packs = make_tiny_pack(tmp_path / "packs").parent
    weights = packs / "tiny-generator.safetensors"
    weights.rename(weights.with_suffix(".away"))
    weights.mkdir()
    async with open_house(tmp_path / "home", packs) as house:
        job = await house.submit()
        engine = house.start_engine()
        told = await told_of(house, weights.name)
        assert "is missing" in told or "cannot be read" in told
        engine.kill()
        await asyncio.to_thread(engine.wait)
        found = await house.job(job.id)
        assert found.state in (State.QUEUED, State.RUNNING, State.FAILED)
        assert found.images == ()
        weights.rmdir()
        weights.with_suffix(".away").rename(weights)
        house.start_engine()
        (done,) = await house.finished([await house.submit(seed=8)])
        assert done.state is State.COMPLETED


async def test_a_full_disk_is_waited_out(shim: Path, tmp_path: Path, tiny_folder: Path) -> None:
    """No write of the engine succeeds for a while: it waits, and the same process completes the same attempt."""
    home, switch = tmp_path / "home", tmp_path / "full"
    faults = {"LD_PRELOAD": str(shim), "DISK_ROOT": str(home), "DISK_RULE": "write 1 1 28", "DISK_SWITCH": str(switch)}
    async with open_house(home, tiny_folder, **faults) as house:
        engine = house.start_engine()
        await house.engine_ready()
        job = await house.submit(candidates=2_000)
        await house.until(lambda e: e.kind is Kind.PROGRESSED and e.job == job.id)
        switch.touch()
        await told_of(house, "waiting for the store")
        switch.unlink()
        (done,) = await house.finished([job])
        assert (done.state, done.attempt) == (State.COMPLETED, 1)
        assert engine.poll() is None


async def told_of(house: House, words: str) -> str:
    """The line of the log that says so."""
    log = house.settings.home / "processes.log"
    async with asyncio.timeout(house.patience_s):
        while True:
            for line in (await asyncio.to_thread(log.read_text, "utf-8")).splitlines():
                if words in line:
                    return line
            await asyncio.sleep(0.1)


async def test_a_killed_fusedream_goes_on_where_it_was(tmp_path: Path, tiny_folder: Path) -> None:
    """kill -9 in the middle of the climb: the next engine goes on from the checkpoint, to the same PNG."""
    asked = {"method": Method.FUSEDREAM, "candidates": 20, "steps": 60, "top_k": 2}
    async with open_house(tmp_path / "home", tiny_folder, DREAMBOT_CHECKPOINT_S="0") as house:
        engine = house.start_engine()
        (whole,) = await house.finished([await house.submit(**asked)])
        broken = await house.submit(**asked)
        async with asyncio.timeout(house.patience_s):
            while await house.queue.checkpoint(broken.id) is None:
                await house.feed.changed(0.01)
        engine.kill()
        await asyncio.to_thread(engine.wait)
        kept = await house.queue.checkpoint(broken.id)
        assert kept is not None
        house.start_engine()
        (done,) = await house.finished([broken])
        assert (done.state, done.attempt) == (State.COMPLETED, 2)
        assert done.images[0].sha256 == whole.images[0].sha256
        assert await house.queue.checkpoint(broken.id) is None
