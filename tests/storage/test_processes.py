"""Several processes on one store."""

from __future__ import annotations

import subprocess
import sys

from storage.database import Database
from storage.job import State
from storage.queue import Queue
from storage.settings import StoreSettings
from tests.factories import make_request

ENGINE = """
import asyncio, sys
from storage.database import Database
from storage.heart import new_owner
from storage.job import Result
from storage.queue import Queue
from storage.settings import StoreSettings

async def main():
    settings = StoreSettings.load({"DREAMBOT_HOME": sys.argv[1], "DREAMBOT_STORE": sys.argv[2]})
    async with Database.open(settings) as db:
        queue, owner = Queue(db, settings), new_owner()
        print("ready", flush=True)
        sys.stdin.readline()
        while jobs := await queue.claim(owner, 3):
            for job in jobs:
                await queue.complete(job, Result(images=(), used=1.0))
                print(job.id, flush=True)

asyncio.run(main())
"""


def _engine(settings: StoreSettings, code: str = ENGINE) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(settings.home), settings.store or ""]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_two_processes_write(queue: Queue, db: Database, settings: StoreSettings) -> None:
    """Two engine processes and this one write at once: every job is completed, by exactly one of them."""
    jobs = [await queue.submit(make_request(f"u{n}")) for n in range(12)]
    engines = [_engine(settings), _engine(settings)]
    for engine in engines:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "ready\n"
    for engine in engines:
        assert engine.stdin is not None
        engine.stdin.write("go\n")
        engine.stdin.flush()
    jobs += [await queue.submit(make_request("late"))]
    done = [line for engine in engines for line in engine.communicate()[0].split()]
    assert [engine.returncode for engine in engines] == [0, 0]
    assert len(done) == len(set(done))
    for job in jobs[:-1]:  # the late one may have come after both had left
        found = await queue.get(job.id)
        assert found is not None
        assert found.state is State.COMPLETED
    assert set(done) >= {job.id for job in jobs[:-1]}


async def test_killed_in_the_middle(queue: Queue, settings: StoreSettings) -> None:
    """A process that is killed inside a transaction leaves neither a lock nor half a job."""
    code = ENGINE.replace("async def main", "from sqlalchemy import text\n\nasync def main").replace(
        "        while jobs", "        async with db.write() as connection:\n"
        "            await connection.execute(text(\"UPDATE job SET cost = 99\"))\n"
        "            print('inside', flush=True)\n"
        "            sys.stdin.readline()\n"
        "        while jobs",
    )  # fmt: skip
    job = await queue.submit(make_request())
    with _engine(settings, code) as engine:
        assert engine.stdout is not None
        assert engine.stdin is not None
        engine.stdout.readline()
        engine.stdin.write("go\n")
        engine.stdin.flush()
        assert engine.stdout.readline() == "inside\n"
        engine.kill()
    (claimed,) = await queue.claim("another", 1)
    assert (claimed.id, claimed.cost) == (job.id, 1.0)
