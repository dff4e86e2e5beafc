"""Who waits and who runs, with true ranks and honest ranges of time.

Knows the store's order and the engines' measured speed; decides nothing and draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bot.cards import Standing
from storage.engines import EngineRow
from storage.job import Job, Method, Params

if TYPE_CHECKING:
    from bot.store import Store

STEP_COST = {Method.FUSEDREAM: 30, Method.COMPOSE: 60}  # a step in candidates: eight views there and back, and checks
RERANK_S = 0.1  # GPU-seconds: one text encoding
COUNTED = 1_000  # waiting jobs that are ranked


class Line:
    """The line in front of the engine."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def standings(self) -> list[Standing]:
        """Everybody who runs or waits, in the order of service."""
        running, waiting = await self._store.queue.running(), await self._store.queue.waiting(COUNTED)
        found = standings(running, waiting, await self.speed())
        if running:
            places = {engine.owner: place_of(engine) for engine in await self._store.engines.known()}
            found = [replace(one, engine=places.get(one.job.owner or "")) for one in found]
        return found

    async def standing(self, job: Job) -> Standing:
        """One job's, without reading the others: whoever asks for a dream waits for this."""
        place = await self._store.queue.place(job.id)
        return standing(job, place.position, place.before if place.position else 0.0, await self.speed())

    async def speed(self) -> Mapping[str, float | None]:
        """The measured seconds a candidate, by pack."""
        return {pack.name: pack.seconds_per_candidate for pack in await self._store.engines.packs()}

    async def staffed(self) -> bool:
        """Whether an engine is there."""
        return bool(await self._store.engines.alive(self._store.settings.silent_s))

    async def held(self) -> bool:
        """Whether an admin has paused or drained the queue: nothing is handed out."""
        flags = await self._store.queue.flags()
        return bool(flags["paused"] or flags["draining"])


def standing(job: Job, position: int | None, before: float, speed: Mapping[str, float | None]) -> Standing:
    """One job's rank and range of time, `before` it so many GPU-seconds of work."""
    own = seconds(job.params, speed.get(job.params.pack))
    return Standing(job=job, position=position, eta=None if own is None or position is None else (own, own + before))


def place_of(engine: EngineRow) -> str:
    """An engine's name for people: its host, its device, and its process, for two may share a device."""
    return f"{engine.host} {engine.device} ({engine.pid})"


def standings(running: Sequence[Job], waiting: Sequence[Job], speed: Mapping[str, float | None]) -> list[Standing]:
    """Ranks and honest ranges: at best a job runs beside the others, at worst after all the work before it."""
    found: list[Standing] = []
    before: float | None = 0.0
    for rank, job in enumerate((*running, *waiting), start=1 - len(running)):
        own = seconds(job.params, speed.get(job.params.pack))
        before = None if own is None or before is None else before + own
        eta = None if own is None or before is None else (own, before)
        found.append(Standing(job=job, position=max(0, rank), eta=eta))
    return found


def seconds(params: Params, per_candidate: float | None) -> float | None:
    """GPU-seconds a job takes, by the measured seconds a candidate; None where nobody has measured."""
    if not per_candidate:
        return None
    if params.method is Method.RERANK:
        return RERANK_S
    steps = STEP_COST.get(params.method, 0) * params.steps
    return (params.draws + steps) * per_candidate
