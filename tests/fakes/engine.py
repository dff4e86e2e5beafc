"""A small engine process that makes no dreams: it claims by the real queue and stores a real, tiny PNG.

The prompt steers it: `hold …` runs until it is cancelled, `crash …` kills the process, `fail …` fails; all else
completes.
Run as `python -m tests.fakes.engine`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import struct
import time
import zlib

from storage.database import Database
from storage.engines import EngineRow, Engines, PackRow
from storage.errors import LostClaim
from storage.feed import Feed
from storage.heart import Heart
from storage.images import ImageStore
from storage.job import Candidate, Image, Job, Reason, Result
from storage.queue import Queue
from storage.rescue import Watch, new_owner
from storage.settings import StoreSettings

SIDE = 8
PACK = PackRow(
    name="embedded",
    digest="0" * 64,
    labels=26,
    label_names=[f"label {number}" for number in range(26)],
    methods=["search"],
    resolution=SIDE,
    offered=True,
    seconds_per_candidate=0.01,
)


def pixels(job: Job, candidate: int) -> bytes:
    """The RGB bytes that a job's candidate always has."""
    colour = hashlib.sha256(f"{job.params.prompt}:{job.params.seed}:{candidate}".encode()).digest()[:3]
    return colour * (SIDE * SIDE)


def png(rgb: bytes) -> bytes:
    """A whole PNG file."""
    lines = b"".join(b"\x00" + rgb[at : at + SIDE * 3] for at in range(0, len(rgb), SIDE * 3))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


class FakeEngine:
    """Claims one job at a time."""

    def __init__(self, db: Database, settings: StoreSettings) -> None:
        self.owner = new_owner()
        self.queue, self.engines = Queue(db, settings), Engines(db)
        self.feed, self.images = Feed(db, settings.poll_s), ImageStore(settings.images)
        self.watch = Watch(settings.silent_s)
        self.stop = asyncio.Event()
        self.seats, self.job_s = int(os.environ.get("FAKE_SEATS", "1")), float(os.environ.get("FAKE_JOB_S", "0"))
        self.busy: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Until SIGTERM."""
        await self.engines.publish_pack(PACK)
        await self.engines.ready(self.owner, "fake")
        while not self.stop.is_set():
            await self.queue.rescue(self.watch)
            for job in await self.queue.claim(self.owner, self.seats - len(self.busy)):
                if self.job_s:
                    task = asyncio.create_task(self.slowly(job))
                    self.busy.add(task)
                    task.add_done_callback(self.busy.discard)
                else:
                    await self.run(job)
            await self.feed.changed(0.05)

    async def slowly(self, job: Job) -> None:
        """One job of several, each of which takes its time."""
        await asyncio.sleep(self.job_s)
        with contextlib.suppress(LostClaim):
            if job.id in await self.queue.cancel_requests(self.owner):
                await self.queue.cancelled(job)
            else:
                await self.run(job)
        self.feed.nudge()

    async def run(self, job: Job) -> None:
        """One job to its end, as its prompt says."""
        word = job.params.prompt.split()[0]
        if word == "crash":
            os._exit(7)
        if word == "fail":
            await self.queue.fail(job, Reason.ERROR, "The fake engine was asked to fail.")
        elif word == "hold":
            await self.hold(job)
        else:
            await self.complete(job)

    async def hold(self, job: Job) -> None:
        """Run until somebody cancels, or we are to leave."""
        while job.id not in await self.queue.cancel_requests(self.owner):
            if self.stop.is_set():
                await self.queue.requeue([job])
                return
            await self.feed.changed(0.05)
        await self.queue.cancelled(job)

    async def complete(self, job: Job) -> None:
        """Store as many pictures as are to be kept."""
        images = tuple(self.image(job, number) for number in range(job.params.keep))
        await self.queue.progress(job, 1, 2, images[0].sha256, images[0].clip_score)
        before = await self.queue.get(job.again_of) if job.again_of else None
        same = None if before is None else [i.pixels_sha256 for i in before.images] == [i.pixels_sha256 for i in images]
        result = Result(
            images=images,
            candidates=tuple(Candidate(number=i.candidate, label=i.label, clip_score=i.clip_score) for i in images),
            recipe={"prompt": job.params.prompt},
            recipe_digest="1" * 64,
            identical=same,
            difference={"pixels": 1.0, "max": 255, "changed": []} if same is False else None,
            used=self.job_s or 0.01,
        )
        await self.queue.complete(job, result)

    def image(self, job: Job, number: int) -> Image:
        """One stored picture."""
        rgb = pixels(job, number)
        return Image(
            sha256=self.images.put(png(rgb)),
            pixels_sha256=hashlib.sha256(rgb).hexdigest(),
            width=SIDE,
            height=SIDE,
            candidate=number,
            label=f"label {number}",
            clip_score=0.5 - number / 100,
        )


async def main() -> None:
    """Register, beat, serve, leave."""
    settings = StoreSettings.load()
    async with Database.open(settings) as db:
        engine = FakeEngine(db, settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, engine.stop.set)
        host, boot, _, _ = engine.owner.split(":")
        row = EngineRow(
            owner=engine.owner,
            pid=os.getpid(),
            host=host,
            boot=boot,
            device="fake",
            dtype="none",
            started_at=time.time(),
            packs=["embedded"],
        )
        await engine.engines.register(row)
        heart = Heart(settings, engine.owner)
        heart.start()
        try:
            await engine.serve()
        finally:
            heart.stop()
            await engine.engines.leave(engine.owner)


if __name__ == "__main__":
    asyncio.run(main())
