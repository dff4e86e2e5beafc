"""What people can ask for, whatever surface they ask on. Each command checks, acts by one storage call, answers a Card.

Policy: everyone sees the jobs of their own guild and their own; only the owner or an admin cancels one. Knows no chat
library and no words: arguments come parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from bot import arguments, cards
from bot.arguments import Value
from bot.cards import Card, Standing
from bot.report import report
from bot.store import Store
from storage.errors import UserError
from storage.job import DREAM_METHODS, FINAL, Caller, Job, Method, Outcome, Params, Request, State
from storage.leaderboard import Leaderboard

SHOWN = 50  # rows of a queue
STEP_COST = 30  # a step of fusedream in candidates: eight views there and back, and its checks
SUGGESTED = 25  # names that a surface offers while somebody types
COUNTED = 1_000  # waiting jobs that are ranked


class UnknownPack(UserError):
    """No engine has published such a pack."""


class Commands:
    """The commands of everyone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def dream(
        self, caller: Caller, params: Params, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """Accept a dream. Once this returns, its row is durable."""
        cost = await self._estimate(caller, params)
        request = Request(caller=caller, params=params, event_key=event_key, reply_to=reply_to, cost=cost or 1.0)
        return await self._submit(request)

    async def params(
        self, caller: Caller, prompt: str, options: Mapping[str, Value], *, keep: int = arguments.KEEP_IN_CHAT
    ) -> Params:
        """Params of a dream as the person asked for it."""
        return arguments.dream(prompt, options, keep=keep)

    async def again(
        self, caller: Caller, job_id: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """Run a finished job's recipe once more; the engine compares the pixels."""
        job = await self.visible(caller, job_id)
        if job.state not in FINAL:
            raise UserError(f"Job {job.id} is {job.state}; again needs one that is over.")
        cost = await self._estimate(caller, job.params) or job.cost
        request = Request(
            caller=caller,
            params=job.params,
            event_key=event_key,
            reply_to=reply_to,
            parent=job.parent,
            again_of=job.id,
            cost=cost,
        )
        return await self._submit(request)

    async def anew(
        self,
        caller: Caller,
        job_id: str,
        *,
        prompt: str | None = None,
        seed: str | None = None,
        reply_to: str | None = None,
        event_key: str | None = None,
    ) -> Card:
        """Dream a job's prompt, or an edited one, with a new seed, or a given one; all else as it was."""
        job = await self._dream_of(await self.visible(caller, job_id))
        params = arguments.anew(job.params, prompt, seed)
        return await self._follow(caller, job, params, reply_to, event_key)

    async def vary(
        self, caller: Caller, job_id: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """Dream near a job's best picture: the nearest label only, a new seed."""
        job = await self._dream_of(await self.visible(caller, job_id))
        return await self._follow(caller, job, arguments.vary(job.params), reply_to, event_key)

    async def _follow(
        self, caller: Caller, job: Job, params: Params, reply_to: str | None, event_key: str | None
    ) -> Card:
        cost = await self._estimate(caller, params) or job.cost
        request = Request(
            caller=caller, params=params, event_key=event_key, reply_to=reply_to, parent=job.id, cost=cost
        )
        return await self._submit(request)

    async def _dream_of(self, job: Job) -> Job:
        """The dream that a job re-orders; itself if it is one."""
        while job.params.method is Method.RERANK and job.parent is not None:
            job = await self.job(job.parent)
        return job

    async def rerank(
        self,
        caller: Caller,
        job_id: str,
        *,
        prompt: str | None = None,
        by: str = "clip",
        reply_to: str | None = None,
        event_key: str | None = None,
    ) -> Card:
        """Re-order a completed job's stored candidates: a new job. There is one list of them, the first job's."""
        job = await self.visible(caller, job_id)
        if job.state is not State.COMPLETED:
            raise UserError(f"Job {job.id} is {job.state}; rerank needs a completed one.")
        params = arguments.rerank(job.params, prompt, by)
        first = job.parent if job.params.method is Method.RERANK else job.id
        request = Request(caller=caller, params=params, event_key=event_key, reply_to=reply_to, parent=first, cost=0.1)
        return await self._submit(request)

    async def show(self, caller: Caller, job_id: str) -> Card:
        """One job, all that is known of it."""
        job = await self.visible(caller, job_id)
        card = cards.job_card(job) if job.state in FINAL else await self._queued(job)
        return replace(card, rows=(report(job, self._store.images.path),))

    async def queue(self, caller: Caller) -> Card:
        """What runs and waits in the caller's guild, with true ranks; an admin sees every guild."""
        standings = [s for s in await self._standings() if caller.admin or _near(s.job, caller)]
        return cards.queue_card(standings[:SHOWN], engine=await self._engine(), paused=await self.held())

    async def cancel(self, caller: Caller, job_id: str) -> Card:
        """Stop a job; the card tells what was observed."""
        try:
            name = arguments.job_id(job_id)
        except UserError:
            return cards.cancel_card(job_id, Outcome.UNKNOWN)
        return cards.cancel_card(name, await self._store.queue.cancel(name, caller))

    async def history(self, caller: Caller, limit: int = 20) -> Card:
        """The caller's own jobs, latest first."""
        return cards.history_card(await self._store.queue.history(caller, limit))

    async def leaderboard(self, caller: Caller, *, by: str = "score", limit: int = 10) -> Card:
        """The best pictures or the busiest dreamers of the caller's guild."""
        if by not in ("score", "person"):
            raise UserError(f"by is one of score, person; {by!r} is not.")
        found = await Leaderboard(self._store.database).top(by=by, guild=caller.guild, limit=limit)
        return cards.leaderboard_card([asdict(row) for row in found], by)

    async def job(self, job_id: str) -> Job:
        """A job that exists, for whoever follows it."""
        job = await self._store.queue.get(job_id)
        if job is None:
            raise _unknown(job_id)
        return job

    async def held(self) -> bool:
        """Whether an admin has paused or drained the queue: nothing is handed out."""
        flags = await self._store.queue.flags()
        return bool(flags["paused"] or flags["draining"])

    async def suggest(self, caller: Caller, what: str, prefix: str) -> Sequence[str]:
        """At most 25 of the caller's methods, packs or own jobs (latest first) that start like this."""
        if what == "method":
            known: Sequence[str] = DREAM_METHODS
        elif what == "pack":
            known = [pack.name for pack in await self._store.engines.packs() if pack.offered or caller.admin]
        elif what == "job":
            known = [job.id for job in await self._store.queue.history(caller, COUNTED)]
        else:
            raise ValueError(what)
        return [name for name in known if name.startswith(prefix.strip().lower())][:SUGGESTED]

    async def is_job(self, caller: Caller, word: str) -> bool:
        """Whether a word names a job: one that the caller may see, or one that cannot be an ordinary word."""
        if not arguments.is_job_name(word):
            return False
        return not word.isalpha() or await self._store.queue.get(word.lower()) is not None

    async def visible(self, caller: Caller, job_id: str) -> Job:
        """A job that the caller may see; UserError where there is none."""
        name = arguments.job_id(job_id)
        job = await self._store.queue.get(name)
        if job is None or not (caller.admin or _near(job, caller)):
            raise _unknown(name)
        return job

    async def _submit(self, request: Request) -> Card:
        return await self._queued(await self._store.queue.submit(request))

    async def _queued(self, job: Job) -> Card:
        found = [s for s in await self._standings() if s.job.id == job.id]
        standing = found[0] if found else Standing(job=job, position=await self._store.queue.position(job.id))
        return cards.queued_card(standing, engine=await self._engine(), paused=await self.held())

    async def _standings(self) -> list[Standing]:
        running, waiting = await self._store.queue.running(), await self._store.queue.waiting(COUNTED)
        speed = {pack.name: pack.seconds_per_candidate for pack in await self._store.engines.packs()}
        return standings(running, waiting, speed)

    async def _estimate(self, caller: Caller, params: Params) -> float | None:
        """GPU-seconds this will take, where an engine has measured its speed; UserError if no pack can do it."""
        known = await self._store.engines.packs()
        packs = {pack.name: pack for pack in known if pack.offered or caller.admin}  # admins may try the others
        pack = packs.get(params.pack)
        if pack is None:
            raise UnknownPack(f"pack is one of {', '.join(sorted(packs))}; {params.pack!r} is not.")
        if pack.methods and params.method is not Method.RERANK and params.method not in pack.methods:
            raise UserError(f"pack {pack.name} has the methods {', '.join(pack.methods)}; not {params.method}.")
        if params.top_k is not None and pack.labels and params.top_k > pack.labels:
            raise UserError(f"top-k is a whole number from 1 to {pack.labels} with pack {pack.name}; not more.")
        return _seconds(params, pack.seconds_per_candidate)

    async def _engine(self) -> bool:
        return bool(await self._store.engines.alive(self._store.settings.silent_s))


def standings(running: Sequence[Job], waiting: Sequence[Job], speed: Mapping[str, float | None]) -> list[Standing]:
    """Ranks and honest ranges: at best a job runs beside the others, at worst after all the work before it."""
    found: list[Standing] = []
    before: float | None = 0.0
    for rank, job in enumerate((*running, *waiting), start=1 - len(running)):
        own = _seconds(job.params, speed.get(job.params.pack))
        before = None if own is None or before is None else before + own
        eta = None if own is None or before is None else (own, before)
        found.append(Standing(job=job, position=max(0, rank), eta=eta))
    return found


def _seconds(params: Params, per_candidate: float | None) -> float | None:
    if not per_candidate:
        return None
    if params.method is Method.RERANK:
        return 0.1
    steps = params.steps if params.method is Method.FUSEDREAM else 0
    return (params.candidates + STEP_COST * steps) * per_candidate


def _near(job: Job, caller: Caller) -> bool:
    same_guild = job.caller.guild == caller.guild and not caller.direct
    same_user = job.caller.user == caller.user
    return job.caller.surface == caller.surface and (same_guild or same_user)


def _unknown(job_id: str) -> UserError:
    return UserError(f"There is no job {job_id!r}; `queue` and `history` list them.")
