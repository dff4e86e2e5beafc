"""What people can look at, whatever surface they ask on. Nothing here changes anything.

Policy: everyone sees the jobs of their own guild and their own; in direct messages their own only. What was deleted is
there for its owner alone, without pictures; what is withheld has pictures for moderators only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from bot import arguments, boards, cards
from bot.cards import Card
from bot.line import COUNTED, Line
from bot.report import report
from bot.store import Store
from storage.errors import UserError
from storage.job import DREAM_METHODS, FINAL, Caller, Job, Withdrawn
from storage.leaderboard import Leaderboard, Row

SHOWN = 50  # rows of a queue
SUGGESTED = 25  # names that a surface offers while somebody types
PICTURES = 9  # of a gallery
DAY_S = 86_400.0
PERIODS = {"week": 7 * DAY_S, "month": 30 * DAY_S, "ever": None}


class Reading:
    """The commands that only look."""

    def __init__(self, store: Store, *, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._line = Line(store)
        self._wall = wall

    async def show(self, caller: Caller, job_id: str) -> Card:
        """One job, all that is known of it."""
        job = await self.visible(caller, job_id)
        if job.withdrawn is Withdrawn.WITHHELD and _moderates(caller, job):
            job = replace(job, withdrawn=None)
        card = cards.details_card(job) if job.state in FINAL else await self._queued(job)
        told = job if job.withdrawn is None else replace(job, images=())
        return replace(card, rows=(report(told, self._store.images.path),))

    async def queue(self, caller: Caller) -> Card:
        """What runs and waits in the caller's guild, with true ranks; an admin sees every guild."""
        standings = [s for s in await self._line.standings() if caller.admin or _near(s.job, caller)]
        return boards.queue_card(
            standings[:SHOWN], engine=await self._line.staffed(), paused=await self.held(), guilds=caller.admin
        )

    async def history(self, caller: Caller, limit: int = 20) -> Card:
        """The caller's own jobs, latest first."""
        return boards.history_card(await self._store.queue.history(caller, limit))

    async def leaderboard(self, caller: Caller, *, by: str = "score", period: str = "ever", limit: int = 10) -> Card:
        """The best pictures by score or by votes, or the busiest dreamers, of the caller's guild."""
        if by not in ("score", "votes", "person"):
            raise UserError(f"by is one of score, votes, person; {by!r} is not.")
        rows = await self._top(caller, by, period, limit, caller.user if caller.direct else None)
        return boards.leaderboard_card([asdict(row) for row in rows], by, period)

    async def gallery(self, caller: Caller, *, of: str = "me", period: str = "ever") -> Card:
        """The best pictures of one person of the caller's guild, of the caller (`me`), or of the whole `guild`."""
        user = {"me": caller.user, "guild": None}.get(of, arguments.person("of", of))
        if caller.direct and user != caller.user:
            raise UserError("Here you see your own pictures only; ask in a guild for somebody else's.")
        rows = await self._top(caller, "gallery", period, PICTURES, user)
        return boards.gallery_card([asdict(row) for row in rows], of, period)

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

    async def job(self, job_id: str) -> Job:
        """A job that exists, for whoever follows it."""
        job = await self._store.queue.get(job_id)
        if job is None:
            raise _unknown(job_id)
        return job

    async def visible(self, caller: Caller, job_id: str) -> Job:
        """A job that the caller may see; UserError where there is none."""
        name = arguments.job_id(job_id)
        job = await self._store.queue.get(name)
        if job is None or not (caller.admin or _near(job, caller)):
            raise _unknown(name)
        if job.withdrawn is Withdrawn.DELETED and not (caller.admin or _own(job, caller)):
            raise _unknown(name)
        return job

    async def is_job(self, caller: Caller, word: str) -> bool:
        """Whether a word names a job: one that is there, or one that cannot be an ordinary word."""
        if not arguments.is_job_name(word):
            return False
        return not word.isalpha() or await self._store.queue.get(word.lower()) is not None

    async def held(self) -> bool:
        """Whether an admin has paused or drained the queue: nothing is handed out."""
        return await self._line.held()

    async def _queued(self, job: Job) -> Card:
        standing = await self._line.standing(job)
        return cards.queued_card(standing, engine=await self._line.staffed(), paused=await self.held())

    async def _top(self, caller: Caller, by: str, period: str, limit: int, user: str | None) -> Sequence[Row]:
        if period not in PERIODS:
            raise UserError(f"period is one of {', '.join(PERIODS)}; {period!r} is not.")
        length = PERIODS[period]
        since = None if length is None else self._wall() - length
        board = Leaderboard(self._store.database)
        return await board.top(by, caller.guild, since, limit, surface=caller.surface, user=user)


def _own(job: Job, caller: Caller) -> bool:
    return job.caller.surface == caller.surface and job.caller.user == caller.user


def _near(job: Job, caller: Caller) -> bool:
    same_guild = job.caller.guild == caller.guild and not caller.direct
    return _own(job, caller) or (job.caller.surface == caller.surface and same_guild)


def _moderates(caller: Caller, job: Job) -> bool:
    return caller.admin or (caller.moderator and not _own(job, caller) and may_change(caller, job))


def may_change(caller: Caller, job: Job) -> bool:
    """Whether the job is the caller's to stop, delete or withhold."""
    return caller.may_change(surface=job.caller.surface, user=job.caller.user, guild=job.caller.guild)


def _unknown(job_id: str) -> UserError:
    return UserError(f"There is no job {job_id!r}; `queue` and `history` list them.")
