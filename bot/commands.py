"""What people can ask for, whatever surface they ask on. Each command checks, acts by one storage call, answers a Card.

Policy: whoever sees a job may dream on from it and vote for it; only its owner, a moderator of its guild or an admin
stops or deletes it. Knows no chat library and no words: arguments come parsed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from bot import arguments, cards
from bot.arguments import Value
from bot.cards import Card, Field
from bot.line import RERANK_S, seconds
from bot.moderation import Moderation
from bot.personal import Personal
from bot.reading import Reading, may_change
from bot.store import Store
from storage.errors import UserError
from storage.job import FINAL, Caller, Job, Method, Outcome, Params, Request, State


class UnknownPack(UserError):
    """No engine has published such a pack."""


class Commands(Reading):
    """The commands of everyone; what is about oneself is in `personal`."""

    def __init__(self, store: Store, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__(store, wall=wall)
        self.personal = Personal(store)
        self._moderation = Moderation(store.settings.blocklist)

    async def params(
        self,
        caller: Caller,
        prompt: str,
        options: Mapping[str, Value],
        *,
        keep: int = arguments.KEEP_IN_CHAT,
        bank: bool = True,
    ) -> Params:
        """Params of a dream; the caller's own defaults stand in for options that are not given."""
        return arguments.dream(prompt, await self.personal.options(caller, options), keep=keep, bank=bank)

    async def dream(
        self, caller: Caller, params: Params, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """Accept a dream. Once this returns, its row is durable."""
        cost = await self._estimate(caller, params)
        request = Request(caller=caller, params=params, event_key=event_key, reply_to=reply_to, cost=cost or 1.0)
        return await self._submit(request)

    async def again(
        self, caller: Caller, job_id: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """Run a finished job's recipe once more; the engine compares the pixels."""
        job = _shown(await self.visible(caller, job_id))
        if job.state not in FINAL:
            raise UserError(f"Job {job.id} is {job.state}; again needs one that is over.")
        request = Request(
            caller=caller,
            params=job.params,
            event_key=event_key,
            reply_to=reply_to,
            parent=job.parent,
            again_of=job.id,
            cost=await self._estimate(caller, job.params) or job.cost,
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
        return await self._follow(caller, job, arguments.anew(job.params, prompt, seed), reply_to, event_key)

    async def vary(
        self, caller: Caller, job_id: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """Dream near a job's best picture: the same words and that picture, and a new seed."""
        job = _shown(await self.visible(caller, job_id))
        if not job.images:
            raise UserError(f"Job {job.id} is {job.state}; vary needs one with a picture.")
        first = await self._dream_of(job)
        params = arguments.vary(first.params, job.images[0].sha256)
        return await self._follow(caller, job, params, reply_to, event_key)

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
        job = _shown(await self.visible(caller, job_id))
        if job.state is not State.COMPLETED:
            raise UserError(f"Job {job.id} is {job.state}; rerank needs a completed one.")
        request = Request(
            caller=caller,
            params=arguments.rerank(job.params, prompt, by),
            event_key=event_key,
            reply_to=reply_to,
            parent=job.parent if job.params.method is Method.RERANK else job.id,
            cost=RERANK_S,
        )
        return await self._submit(request)

    async def cancel(self, caller: Caller, job_id: str) -> Card:
        """Stop a job; the card tells what was observed."""
        try:
            name = arguments.job_id(job_id)
        except UserError:
            return cards.cancel_card(job_id, Outcome.UNKNOWN)
        outcome = await self._store.queue.cancel(name, caller)
        if outcome in (Outcome.CANCELLED, Outcome.STOPPING):
            await self._note(caller, "cancel", await self.job(name))
        return cards.cancel_card(name, outcome)

    async def vote(self, caller: Caller, job_id: str) -> Card:
        """Vote for a job's pictures, or take the vote back."""
        job = _shown(await self.visible(caller, job_id))
        if not job.images:
            raise UserError(f"Job {job.id} is {job.state}; votes are for pictures.")
        return cards.vote_card(job.id, await self._store.votes.toggle(caller, job.id))

    async def delete(self, caller: Caller, job_id: str) -> Card:
        """Take a job's pictures away for good, from the store and from where they were posted."""
        job = await self.deletable(caller, job_id)
        gone = await self._store.withdrawals.delete(job.id, caller)
        await asyncio.to_thread(self._store.images.remove, gone)
        await self._note(caller, "delete", job)
        text = f"The pictures of {job.id} are deleted; its line in your history stays, and `forget-me` removes that."
        return replace(cards.notice("Delete", text, job=job.id), private=True)

    async def deletable(self, caller: Caller, job_id: str) -> Job:
        """A job that the caller may delete; UserError for any other."""
        job = await self.visible(caller, job_id)
        if not may_change(caller, job):
            raise UserError(f"{job.id} is somebody else's; only its owner or a moderator can delete it.")
        if job.state not in FINAL:
            raise UserError(f"Job {job.id} is {job.state}; cancel it first.")
        return job

    async def _follow(
        self, caller: Caller, job: Job, params: Params, reply_to: str | None, event_key: str | None
    ) -> Card:
        """A dream that comes from another job, and names it."""
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

    async def _submit(self, request: Request) -> Card:
        self._moderation.check(request.params.prompt)
        card = await self._queued(await self._store.queue.submit(request))
        allowance = await self._store.queue.allowance(request.caller)
        return replace(card, fields=(*card.fields, Field("allowance", allowance))) if allowance else card

    async def _note(self, caller: Caller, verb: str, job: Job) -> None:
        """What was done to somebody else's job is in the audit log."""
        if (caller.surface, caller.user) != (job.caller.surface, job.caller.user):
            await self._store.users.audit(caller, verb, job.id)

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
        return seconds(params, pack.seconds_per_candidate)


def _shown(job: Job) -> Job:
    if job.withdrawn is not None:
        raise UserError(f"The pictures of {job.id} are {job.withdrawn}.")
    return job
