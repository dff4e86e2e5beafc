"""A process that asks for dreams and completes them as an engine does, and says aloud what it has acknowledged.

Run as `python -m tests.faults.dreamer HOME DREAMS [PRAGMA...]`, usually with the shim of `disk.c` under it; a PRAGMA
(`synchronous=NORMAL`) is told to every connection after the store's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from storage import sqlite
from storage.database import Database
from storage.images import ImageStore
from storage.job import Job
from storage.queue import Queue
from storage.rescue import new_owner
from storage.settings import StoreSettings
from tests.factories import make_image, make_request, make_result

ACKNOWLEDGED = "acknowledged"  # a file in the home's parent: `queued JOB` or `completed JOB SHA256` a line
PEOPLE = 5


class Dreamer:
    """Asks and answers, one dream after the other."""

    def __init__(self, db: Database, settings: StoreSettings, said: int) -> None:
        self.queue, self.images, self.owner = Queue(db, settings), ImageStore(settings.images), new_owner()
        self._said = said

    async def dream(self, number: int) -> None:
        """One person asks; whoever is next gets their picture."""
        request = make_request(f"u{number % PEOPLE}", event_key=f"local:{number}", reply_to="here")
        self._say(f"queued {(await self.queue.submit(request)).id}")
        for job in await self.queue.claim(self.owner, 1):
            await self.complete(job)

    async def complete(self, job: Job) -> None:
        """A picture that depends on nothing but the job's name; then the row."""
        sha256 = self.images.put(picture(job.id))
        await self.queue.complete(job, make_result(images=(make_image(sha256=sha256),)))
        self._say(f"completed {job.id} {sha256}")

    def _say(self, line: str) -> None:
        os.write(self._said, f"{line}\n".encode())


def picture(job_id: str) -> bytes:
    """Some thousand bytes."""
    return hashlib.sha256(job_id.encode()).digest() * 128


async def main(home: Path, dreams: int) -> None:
    """All dreams, one after the other."""
    settings = StoreSettings(home=home)
    said = os.open(home.parent / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with Database.open(settings) as db:
        dreamer = Dreamer(db, settings, said)
        for number in range(dreams):
            await dreamer.dream(number)


if __name__ == "__main__":
    own, extra = sqlite.pragmas, [f"PRAGMA {word}" for word in sys.argv[3:]]
    sqlite.pragmas = lambda **how: [*own(**how), *extra]
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
