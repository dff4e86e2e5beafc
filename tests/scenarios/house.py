"""A whole dreambot in a temporary home: real store, real engines, the tiny pack. Waits for events, never sleeps."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from storage.database import Database
from storage.engines import Engines
from storage.events import FINAL_KINDS, Event, Kind
from storage.feed import Feed
from storage.images import ImageStore
from storage.job import Caller, Job, Params, Request
from storage.outbox import Outbox
from storage.queue import Queue
from storage.settings import StoreSettings

PATIENCE_S = 240.0  # what has not happened by then does not happen


class House:
    """One home with its store open in this process; engines run beside it."""

    def __init__(self, settings: StoreSettings, database: Database, environ: dict[str, str]) -> None:
        self.settings, self.environ, self.database = settings, environ, database
        self.queue, self.feed = Queue(database, settings), Feed(database)
        self.engines, self.outbox = Engines(database), Outbox(database)
        self.images = ImageStore(settings.images)
        self.patience_s = PATIENCE_S
        self.children: list[subprocess.Popen[bytes]] = []

    def start_engine(self, module: str = "engine") -> subprocess.Popen[bytes]:
        """An engine process; it is ended with the house."""
        return self._start([sys.executable, "-m", module])

    def serve(self, *options: str) -> subprocess.Popen[bytes]:
        """`dreambot serve`: its bot and its engine die with it."""
        return self._start([str(Path(sys.executable).with_name("dreambot")), "serve", *options])

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.settings.home / "processes.log").open("ab") as log:
            child = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        self.children.append(child)
        return child

    async def submit(
        self, user: str = "ada", prompt: str = "a lemon", *, reply_to: str | None = None, **params: Any
    ) -> Job:
        """A durable job of a person."""
        asked = {"prompt": prompt, "seed": 7, "pack": "tiny", "candidates": 40} | params
        request = Request(caller=Caller(user=user, name=user), params=Params(**asked), reply_to=reply_to)
        return await self.queue.submit(request)

    async def job(self, job_id: str) -> Job:
        """A job that must exist."""
        job = await self.queue.get(job_id)
        assert job is not None
        return job

    async def until(self, seen: Callable[[Event], bool], since: int = 0) -> Event:
        """The first event after `since` that satisfies `seen`."""
        async with asyncio.timeout(self.patience_s):
            async for events in self.feed.follow(since):
                for event in events:
                    if seen(event):
                        return event
        raise AssertionError("the feed ended")

    async def finished(self, jobs: Iterable[Job], since: int = 0) -> list[Job]:
        """The jobs once all of them have ended; nothing that happened up to the event `since` is read."""
        wanted = [job.id for job in jobs]
        left = set(wanted)

        def last(event: Event) -> bool:
            if event.kind in FINAL_KINDS:
                left.discard(str(event.job))
            return not left

        await self.until(last, since)
        return [await self.job(job_id) for job_id in wanted]

    async def beating_engine(self) -> int:
        """The pid of an engine that has beaten at least once since it started."""
        async with asyncio.timeout(self.patience_s):
            while True:
                for row in await self.engines.alive(self.settings.silent_s):
                    if row.beat >= 1:
                        return row.pid
                await self.feed.changed(0.2)

    async def all_sent(self) -> None:
        """Until no reply is owed any more."""
        async with asyncio.timeout(self.patience_s):
            while await self.outbox.unsent(["local"]):
                await self.feed.changed(0.2)

    async def engine_ready(self, since: int = 0) -> int:
        """The id of the event by which an engine said that it is ready."""
        return (await self.until(lambda event: event.kind is Kind.ENGINE_READY, since)).id


@asynccontextmanager
async def open_house(home: Path, packs: Path, **environ: str) -> AsyncIterator[House]:
    """A fresh home; every process started in it is ended at the end."""
    values = {"DREAMBOT_HOME": str(home), "DREAMBOT_PACKS": str(packs), "DREAMBOT_SILENT_S": "2", **environ}
    home.mkdir(parents=True, exist_ok=True)
    settings = StoreSettings.load(values)
    async with Database.open(settings) as database:
        house = House(settings, database, os.environ | values | {"DREAMBOT_THREADS": "1"})
        try:
            yield house
        finally:
            for child in house.children:
                child.send_signal(signal.SIGKILL)
                child.wait()
