"""Lessons of other queues that no other test holds; deploy/SECURITY.md lists all eleven."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from storage.errors import LostClaim
from storage.job import Checkpoint, State
from storage.queue import Queue
from storage.rescue import Watch
from storage.settings import StoreSettings
from tests.factories import make_request, make_result

RESCUER = """
import asyncio, sys
from pathlib import Path
from storage import queue as queues
from storage.database import Database
from storage.rescue import Watch
from storage.settings import StoreSettings

class Finds(Watch):
    def dead(self, beats):
        return set(beats)

async def main():
    settings = StoreSettings.load({"DREAMBOT_HOME": sys.argv[1], "DREAMBOT_STORE": sys.argv[2]})
    async with Database.open(settings) as db:
        queue = queues.Queue(db, settings)
        async def stop(connection, row, alone):
            print("inside", flush=True)
            sys.stdin.readline()
        queue._rescue = stop
        await queue.rescue(Finds())

asyncio.run(main())
"""


def rescue_and_die(settings: StoreSettings) -> None:
    """A process that is killed between reading a lost job and giving it back."""
    command = [sys.executable, "-c", RESCUER, str(settings.home), settings.store or ""]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as rescuer:
        assert rescuer.stdout is not None
        assert rescuer.stdout.readline() == "inside\n"
        rescuer.kill()


async def test_a_week_of_work_is_not_rescued(queue: Queue) -> None:
    """An engine that goes on beating keeps its job, however long it takes: there is no deadline on work (lesson 8)."""
    now = [0.0]
    watch = Watch(10.0, clock=lambda: now[0], gone=lambda _: False)
    await queue.submit(make_request())
    (job,) = await queue.claim("engine", 1)
    for beat in range(7 * 24):
        now[0] += 3_600.0
        assert watch.dead({"engine": beat}) == set()
    await queue.complete(job, make_result())
    found = await queue.get(job.id)
    assert found is not None
    assert found.state is State.COMPLETED


async def test_a_rescuer_killed_in_its_work_blocks_nobody(queue: Queue, settings: StoreSettings) -> None:
    """kill -9 in the middle of a rescue: the next rescuer finds the job and no lock (lesson 9)."""

    class Finds(Watch):
        def dead(self, beats: object) -> set[str]:
            return {"dead"}

    await queue.submit(make_request())
    (job,) = await queue.claim("dead", 1)
    await asyncio.to_thread(rescue_and_die, settings)
    assert [moved.id for moved in await queue.rescue(Finds())] == [job.id]


async def test_a_checkpoint_lives_as_long_as_its_job_is_unfinished(queue: Queue) -> None:
    """Saved by who holds the claim alone, kept over a rescue, gone with the end."""
    await queue.submit(make_request())
    (job,) = await queue.claim("engine", 1)
    await queue.save(job, Checkpoint(recipe_digest="d", bank=1, state=b"one"))
    await queue.save(job, Checkpoint(recipe_digest="d", bank=2, state=b"two"))
    await queue.requeue([job])
    (again,) = await queue.claim("another", 1)
    with pytest.raises(LostClaim):
        await queue.save(job, Checkpoint(recipe_digest="d", bank=3, state=b"late"))
    assert await queue.checkpoint(job.id) == Checkpoint(recipe_digest="d", bank=2, state=b"two")
    await queue.complete(again, make_result())
    assert await queue.checkpoint(job.id) is None
