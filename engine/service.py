"""The engine's loop: claim what fits, take a step, and write the last step down while the next one runs.

Knows the store on one side and the batcher on the other; no tensors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from engine.batcher import Batcher, Happening
from engine.codec import decode, encode, pixels_sha256
from engine.concepts import read_concepts, watched
from engine.latents import LatentSpace
from engine.methods import METHODS, Found, Past, Picture
from engine.metrics import Metrics
from engine.ops import Ask, Pixels, Progress, Saved
from engine.reproduce import compare
from engine.settings import EngineSettings
from storage.errors import LostClaim, StoreBusy, StoreFull, UserError
from storage.feed import Feed
from storage.images import ImageStore
from storage.job import Checkpoint, Image, Job, Method, Reason, Result
from storage.queue import Queue
from storage.recipe import digest

log = logging.getLogger(__name__)

PROGRESS_S = 1.0  # a job's progress is written at most this often; the first at once
QUIET_S, QUIET_STEPS = 60.0, 20.0  # no beat when no step ended for that long, and for that many slowest steps
GUESTS = 4  # seats beyond the room, for people of whom nothing runs: whoever is not in a step waits for the next
LOOK_S = 1.0  # the queue is looked at this often even when nothing was heard


class Service:
    """One engine process at work."""

    def __init__(
        self,
        *,
        queue: Queue,
        feed: Feed,
        images: ImageStore,
        space: Callable[[str], LatentSpace],
        run: Callable[[Any], list[Any]],
        trace: dict[str, Any],
        owner: str,
        room: int,
        settings: EngineSettings,
        packs: Sequence[str] | None = None,
        grow: Callable[[], bool] = lambda: False,
        metrics: Metrics | None = None,
    ) -> None:
        self.queue, self.feed, self.images, self.space = queue, feed, images, space
        self.owner, self.settings, self.trace = owner, settings, trace
        self.packs = packs  # jobs of other packs are left to other engines; None: none is
        self.batcher = Batcher(run=run, start=self._start, room=room, step_s=settings.step_s)
        self.metrics = metrics or Metrics()
        self.concepts = read_concepts(settings.concepts)
        self.stopping = asyncio.Event()
        self._slowest = 0.0  # seconds of the slowest step
        self._alive_at = time.monotonic()  # when a step last ended, or there was nothing to do
        self._grow = grow
        self._pasts: dict[str, Past | None] = {}
        self._banks: dict[str, int] = {}  # the bank's size of jobs that follow an earlier one's recipe
        self._recipes: dict[str, Mapping[str, Any]] = {}
        self._told: dict[str, float] = {}
        self._saved: dict[str, float] = {}
        self._states: dict[str, Checkpoint] = {}
        self._lost: set[str] = set()
        self._looked = float("-inf")

    async def serve(self) -> None:
        """Until `stopping` is set: claim, step, record. Then drain."""
        writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing.set_result(None)  # nothing is being written yet; a done future may be awaited again
        while not self.stopping.is_set():
            await self._patiently(self._claim)
            if not self.batcher.has_work:
                await writing
                if not await self._grown():
                    await self._wait()
                continue
            happened = await self._step()
            await writing
            writing = asyncio.create_task(self._record(happened))
        await writing
        await self._drain()

    def lively(self) -> bool:
        """Has a step ended lately? A device that hangs must not go on beating. Called from the beat's thread."""
        return time.monotonic() - self._alive_at < max(QUIET_S, QUIET_STEPS * self._slowest)

    async def _claim(self) -> None:
        """At any news, and once a second: let go of what is no longer wanted, take what fits."""
        heard = await self.feed.changed(0.0)
        now = time.monotonic()
        if not heard and now - self._looked < LOOK_S:
            return
        self._looked = now
        await self._let_go()
        if self.batcher.room > 0:
            await self._take(self.batcher.room)
        if -GUESTS < self.batcher.room <= 0:
            await self._take(GUESTS + self.batcher.room, cap=1)
        self.metrics.running(len(self.batcher.jobs))

    async def _take(self, room: int, cap: int | None = None) -> None:
        running = [job.id for job in self.batcher.jobs]
        for job in await self.queue.claim(self.owner, room, running=running, packs=self.packs, cap=cap):
            self._pasts[job.id] = await self._past(job)
            await self._follow(job)
            await self._resume(job)
            self.batcher.add(job, self._pasts[job.id])

    async def _step(self) -> list[Happening]:
        began, jobs = time.perf_counter(), len(self.batcher.jobs)
        happened = await asyncio.to_thread(self.batcher.step)
        took = time.perf_counter() - began
        self._slowest = max(self._slowest, took)
        self.metrics.step(took, jobs)
        self._alive_at = time.monotonic()
        if any(not isinstance(h.what, Progress) for h in happened):
            self._looked = float("-inf")  # a seat is free: look at once
        return happened

    async def _record(self, happened: Sequence[Happening]) -> None:
        """Write a step down. A job that is no longer ours leaves at the next turn."""
        for happening in happened:
            try:
                await self._patiently(partial(self._record_one, happening))
            except LostClaim:
                log.warning("job %s is no longer ours", happening.job.id)
                self._lost.add(happening.job.id)

    async def _patiently(self, call: Callable[[], Awaitable[None]]) -> None:
        """While the store is locked or full, jobs wait in memory; they go on by themselves once it is not."""
        while True:
            try:
                return await call()
            except (StoreBusy, StoreFull) as error:
                log.warning("waiting for the store: %s", error)
                self.metrics.store_waits.inc()
                self._alive_at = time.monotonic()  # it is not the device that hangs
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), LOOK_S)
                if self.stopping.is_set():
                    raise

    async def _record_one(self, happening: Happening) -> None:
        match happening.what:
            case Saved() as saved:
                await self._save(happening.job, saved)
            case Progress() as progress:
                await self._progress(happening.job, progress)
            case Found() as found:
                await self._complete(happening, found)
            case UserError() as error:
                await self.queue.fail(happening.job, Reason.UNSUPPORTED, str(error))
            case error:
                log.error("job %s failed", happening.job.id, exc_info=error)
                told = f"Something broke while dreaming; we have it as #{happening.job.id}."
                await self.queue.fail(happening.job, Reason.ERROR, told)
        if not isinstance(happening.what, Progress):
            self.metrics.ended("completed" if isinstance(happening.what, Found) else "failed", happening.used)
            self._forget(happening.job.id)

    async def _progress(self, job: Job, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told.get(job.id, float("-inf")) < PROGRESS_S:
            return
        self._told[job.id] = now
        sha256 = score = None
        if progress.preview is not None and progress.best is not None and not self.concepts:  # unseen is unshown
            best, score = progress.best, progress.best.clip_score
            png = encode(progress.preview, self._recipes[job.id], best.number, best.label)
            sha256 = await asyncio.to_thread(self.images.put, png)
        await self.queue.progress(job, progress.done, progress.total, sha256, score)

    async def _save(self, job: Job, saved: Saved) -> None:
        """Now and then, where a long job is."""
        now = time.monotonic()
        if now - self._saved.setdefault(job.id, now) < self.settings.checkpoint_s:
            return
        self._saved[job.id] = now
        recipe = self._recipes[job.id]
        bank = int(_drawn_by(recipe).get("bank", 0))
        await self.queue.save(job, Checkpoint(recipe_digest=digest(recipe), bank=bank, state=saved.state))

    async def _complete(self, happening: Happening, found: Found) -> None:
        job, recipe = happening.job, self._recipes[happening.job.id]
        trace = self.trace | {"rungs": list(happening.rungs), "seconds": round(happening.used, 3)}
        if found.verdicts:
            trace |= {"concepts": [dict(verdict) for verdict in found.verdicts]}
        images = tuple([await asyncio.to_thread(self._keep, job, picture) for picture in found.pictures])
        identical, difference = await self._compare(job, images, recipe, trace)
        result = Result(
            images=images,
            candidates=found.candidates,
            recipe=recipe,
            recipe_digest=digest(recipe),
            trace=trace,
            note=found.note,
            identical=identical,
            difference=difference,
            used=happening.used,
            verdicts=found.verdicts,
        )
        await self.queue.complete(job, result)

    def _keep(self, job: Job, picture: Picture) -> Image:
        """A picture's file, whole and on the disk before the store hears of it. It carries the recipe that made it."""
        scores = {name: getattr(picture, name) for name in ("clip_score", "augclip_score", "judge_score")}
        if picture.stored is not None:
            return replace(picture.stored, **scores)
        assert picture.pixels is not None
        past = self._pasts.get(job.id)
        parent = past.parent if past else None
        recipe = parent.recipe if parent and parent.recipe else self._recipes[job.id]
        sha256 = self.images.put(encode(picture.pixels, recipe, picture.candidate, picture.label))
        height, width, _ = picture.pixels.shape
        return Image(
            sha256=sha256,
            pixels_sha256=pixels_sha256(picture.pixels),
            width=width,
            height=height,
            candidate=picture.candidate,
            label=picture.label,
            **scores,
        )

    async def _compare(
        self, job: Job, images: Sequence[Image], recipe: Mapping[str, Any], trace: Mapping[str, Any]
    ) -> tuple[bool | None, dict[str, Any] | None]:
        original = await self.queue.get(job.again_of) if job.again_of else None
        if original is None:
            return None, None
        return await asyncio.to_thread(compare, original, images, recipe, trace, self.images)

    async def _past(self, job: Job) -> Past:
        image, begun = job.params.image, job.params.start
        picture = await asyncio.to_thread(self._picture, image) if image else None
        start = await asyncio.to_thread(self._picture, begun) if begun else None
        parent = await self.queue.get(job.parent) if job.parent else None
        if parent is None or job.params.method is not Method.RERANK:
            return Past(picture=picture, start=start)
        handed_in = parent.params.image
        theirs = await asyncio.to_thread(self._picture, handed_in) if handed_in else None
        return Past(parent, tuple(await self.queue.candidates(parent.id)), picture, theirs=theirs)

    def _picture(self, sha256: str) -> Pixels | None:
        """A picture that was handed in; None where it is gone."""
        content = self.images.read(sha256)
        return None if content is None else decode(content)[0]

    async def _follow(self, job: Job) -> None:
        """A job that repeats or re-orders another draws what that one drew, however the bank has grown since."""
        earlier = await self.queue.get(job.again_of or job.parent or "")
        if earlier is not None and earlier.recipe is not None:
            self._banks[job.id] = int(_drawn_by(earlier.recipe).get("bank", 0))

    async def _resume(self, job: Job) -> None:
        """A job whose engine died goes on from what that one had saved, with the bank that it had."""
        kept = await self.queue.checkpoint(job.id)
        if kept is not None:
            self._states[job.id], self._banks[job.id] = kept, kept.bank

    def _start(self, job: Job, past: Past | None) -> Ask[Found]:
        """In the device thread: the pack is loaded where it is not, the recipe is known before anything runs."""
        way, space = METHODS[job.params.method], self.space(job.params.pack)
        as_published = job.params.parity is not None or not job.params.bank
        now = 0 if as_published or space.bank is None else space.bank.size
        space = space.at(self._banks.get(job.id, now))
        recipe = self._recipes[job.id] = way.recipe(job, space, past)
        kept = self._states.get(job.id)
        if past is not None and kept is not None and kept.recipe_digest == digest(recipe):
            past = replace(past, state=kept.state)
        return watched(way.run(job, space, past), job.params.pack, self.concepts)

    async def _let_go(self) -> None:
        """Between steps: jobs that were rescued from us, and jobs whose owner wants them no more."""
        for job_id in self._lost:
            self.batcher.drop(job_id)
            self._forget(job_id)
        self._lost.clear()
        for job_id in await self.queue.cancel_requests(self.owner):
            if (seat := self.batcher.drop(job_id)) is not None:
                with contextlib.suppress(LostClaim):
                    await self.queue.cancelled(seat.job, seat.used)
                self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        for kept in (self._pasts, self._told, self._saved, self._states, self._recipes, self._banks):
            kept.pop(job_id, None)

    async def _grown(self) -> bool:
        """Nothing runs: one launch for a bank. False where none is left to grow, or the queue is being drained."""
        if (await self.queue.flags())["draining"]:
            return False
        grew = await asyncio.to_thread(self._grow)
        self._alive_at = time.monotonic()
        return grew

    async def _wait(self) -> None:
        """Nothing runs: until something happens. An engine that is empty leaves when an admin drains the queue."""
        if (await self.queue.flags())["draining"]:
            self.stopping.set()
            return
        await self.feed.changed(LOOK_S)
        self._looked, self._alive_at = float("-inf"), time.monotonic()

    async def _drain(self) -> None:
        """After SIGTERM: what runs may end within the grace period; the rest goes back without counting an attempt."""
        deadline = time.monotonic() + self.settings.drain_s
        while self.batcher.has_work and time.monotonic() < deadline:
            await self._let_go()
            await self._record(await self._step())
        await self.queue.requeue(self.batcher.jobs)


def _drawn_by(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe that decided the draws: a rerank's is its parent's."""
    parent = recipe.get("parent")
    return _drawn_by(parent) if isinstance(parent, Mapping) else recipe
