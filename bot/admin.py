"""What admins can do, whatever surface they ask on. Default deny; every act is in the audit log.

Knows no chat library. Each command checks the caller, acts, and answers a Card.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

from bot import arguments, boards, cards
from bot.cards import Card
from bot.line import Line
from bot.store import Store
from storage import roles
from storage.errors import UserError
from storage.job import Caller, Job, State, check_range
from storage.leaderboard import Leaderboard
from storage.rescue import Watch
from storage.users import AuditRow

DAY_S = 86_400.0
EVERYONE = 1_000_000


class Admin:
    """The commands of admins."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def queue(self, caller: Caller) -> Card:
        """Who runs and who waits, in every guild."""
        _check(caller, "queue")
        line = Line(self._store)
        standings = await line.standings()
        return boards.queue_card(standings, engine=await line.staffed(), paused=await line.held(), guilds=True)

    async def withhold(self, caller: Caller, job_id: str) -> Card:
        """Show a result's pictures to nobody but moderators."""
        job = await self._moderated(caller, "withhold", job_id)
        if job.state is not State.COMPLETED or job.withdrawn is not None:
            raise UserError(f"withhold is for pictures that are shown; {job.id} is {job.withdrawn or job.state}.")
        await self._store.withdrawals.withhold(job.id, caller)
        return await self._done(caller, "withhold", job.id, f"The pictures of {job.id} are withheld until `release`.")

    async def release(self, caller: Caller, job_id: str) -> Card:
        """Show a withheld result's pictures again, where they were posted, too."""
        job = await self._moderated(caller, "release", job_id)
        if not await self._store.withdrawals.release(job.id):
            raise UserError(f"release is for withheld pictures; {job.id} is {job.withdrawn or job.state}.")
        return await self._done(caller, "release", job.id, f"The pictures of {job.id} are shown again.")

    async def _moderated(self, caller: Caller, verb: str, job_id: str) -> Job:
        """A job that the caller moderates: any for an admin, their guild's for a moderator, but not their own."""
        if not (caller.admin or (caller.moderator and not caller.direct)):
            raise UserError(f"{verb} is for moderators; ask one of them.")
        name = arguments.job_id(job_id)
        job = await self._store.queue.get(name)
        if job is None or not (caller.admin or _of_their_guild(job, caller)):
            raise UserError(f"There is no job {name!r} in this guild.")
        if not caller.admin and job.caller.user == caller.user:
            raise UserError(f"{verb} is for other people's pictures; ask another moderator about your own.")
        return job

    async def pause(self, caller: Caller) -> Card:
        """Hand out nothing until `resume`."""
        _check(caller, "pause")
        await self._store.queue.pause()
        return await self._done(caller, "pause", "queue", "The queue is paused: what runs ends, nothing new starts.")

    async def resume(self, caller: Caller) -> Card:
        """Hand out jobs again."""
        _check(caller, "resume")
        await self._store.queue.resume()
        return await self._done(caller, "resume", "queue", "The queue hands out jobs again.")

    async def drain(self, caller: Caller) -> Card:
        """Let every engine finish and leave."""
        _check(caller, "drain")
        await self._store.queue.drain()
        return await self._done(
            caller, "drain", "queue", "Engines finish what they run, and leave; `resume` ends this."
        )

    async def ban(self, caller: Caller, surface: str, user: str) -> Card:
        """Accept nothing more from a person."""
        _check(caller, "ban")
        user = arguments.person("USER", user)
        await self._store.users.ban(surface, user)
        text = f"{user} is banned; what runs ends, what waits stays where it is until unban or cancel."
        return await self._done(caller, "ban", f"{surface}:{user}", text)

    async def unban(self, caller: Caller, surface: str, user: str) -> Card:
        """Accept a person's jobs again."""
        _check(caller, "unban")
        user = arguments.person("USER", user)
        await self._store.users.unban(surface, user)
        return await self._done(caller, "unban", f"{surface}:{user}", f"{user} may dream again.")

    async def limit(self, caller: Caller, surface: str, who: str, what: str) -> Card:
        """Bound what waits of a person; or, as `running=2`, another kind; or of `role:NAME`, or of `guild:ID`."""
        _check(caller, "limit")
        who = arguments.person("USER", who)
        subject = roles.subject(who)
        if "=" in what or not subject.startswith("person:"):
            return await self._limit(caller, surface, who, subject, what)
        number = None if what == "none" else _whole("N", what, 0, 100_000)
        await self._store.users.limit(surface, who, number)
        words = "as many jobs as anybody" if number is None else f"{number} jobs"
        return await self._done(caller, "limit", f"{surface}:{who}", f"{who} may have {words} waiting.", str(number))

    async def _limit(self, caller: Caller, surface: str, who: str, subject: str, what: str) -> Card:
        kind, amount = roles.amount(what)
        if kind is roles.Kind.QUEUED and subject.startswith("person:"):
            await self._store.users.limit(surface, who, None if amount is None else int(min(amount, 100_000)))
        else:
            await self._store.users.bound(surface, subject, kind, amount)
        words = "what the settings say" if amount is None else f"{amount:g}"
        return await self._done(caller, "limit", f"{surface}:{who}", f"{kind} of {who}: {words}.", what)

    async def weight(self, caller: Caller, surface: str, who: str, share: str, *, of_guild: bool) -> Card:
        """Set a share of the engine: twice the weight is twice the service under load."""
        _check(caller, "weight")
        who, number = arguments.person("USER|GUILD", who), _share(share)
        if of_guild:
            await self._store.users.weigh_guild(surface, who, number)
        else:
            await self._store.users.weigh_user(surface, who, number)
        kind = "guild " if of_guild else ""
        return await self._done(
            caller, "weight", f"{surface}:{kind}{who}", f"{kind}{who} has weight {number:g}.", share
        )

    async def rescue(self, caller: Caller) -> Card:
        """Give back the jobs of dead engines: at once where the process is gone, else after watching for a beat."""
        _check(caller, "rescue")
        watch = Watch(self._store.settings.silent_s)
        jobs = await self._store.queue.rescue(watch)
        if await self._silent():
            await asyncio.sleep(self._store.settings.silent_s)
            jobs += await self._store.queue.rescue(watch)
        names = ", ".join(job.id for job in jobs) or "none"
        return await self._done(caller, "rescue", "queue", f"Given back to the queue: {names}.", names)

    async def _silent(self) -> bool:
        """Whether a job runs at an engine that does not seem to beat."""
        alive = {engine.owner for engine in await self._store.engines.alive(self._store.settings.silent_s)}
        return any(job.owner not in alive for job in await self._store.queue.running())

    async def purge(self, caller: Caller, days: str) -> Card:
        """Forget old events."""
        _check(caller, "purge")
        number = _whole("DAYS", days, 0, 3_650)
        count = await self._store.queue.purge(number * DAY_S)
        return await self._done(
            caller, "purge", "events", f"Forgot {count} events of jobs over for {number} days.", days
        )

    async def audit(self, caller: Caller, limit: int = 50) -> Card:
        """What admins did."""
        _check(caller, "audit")
        rows = [_audit_row(row) for row in await self._store.users.audit_log(limit)]
        return boards.table_card(
            "Audit", rows, empty="Nothing yet.", columns=("when", "who", "verb", "target", "detail")
        )

    async def stats(self, caller: Caller) -> Card:
        """Numbers of queue, people, engines and packs."""
        _check(caller, "stats")
        store = self._store
        people = await Leaderboard(store.database).top(by="person", limit=EVERYONE)
        alive = await store.engines.alive(store.settings.silent_s)
        numbers: dict[str, object] = {
            "waiting": len(await store.queue.waiting(EVERYONE)),
            "running": len(await store.queue.running()),
            "completed": sum(person.dreams for person in people),
            "dreamers": len(people),
            "engines": ", ".join(f"{engine.device} {engine.dtype}" for engine in alive) or "none",
        }
        numbers["votes"] = await store.votes.count()
        numbers |= {f"replies {what}": count for what, count in (await store.outbox.counts()).items()}
        for pack in await store.engines.packs():
            numbers[f"seconds a candidate, {pack.name}"] = pack.seconds_per_candidate or None
        rows = [{"what": what, "value": value} for what, value in (numbers | await store.queue.flags()).items()]
        return boards.table_card("Statistics", rows, empty="", columns=("what", "value"))

    async def _done(self, caller: Caller, verb: str, target: str, text: str, detail: str = "") -> Card:
        await self._store.users.audit(caller, verb, target, detail or None)
        return cards.notice(verb.capitalize(), text, verb=verb, target=target, detail=detail or None)


def _check(caller: Caller, verb: str) -> None:
    if not caller.admin:
        raise UserError(f"{verb} is for admins; ask one of them.")


def _of_their_guild(job: Job, caller: Caller) -> bool:
    return (job.caller.surface, job.caller.guild) == (caller.surface, caller.guild)


def _audit_row(row: AuditRow) -> dict[str, Any]:
    return {
        "when": datetime.fromtimestamp(row.at, UTC).isoformat(" ", "seconds"),
        "who": row.who,
        "verb": row.verb,
        "target": row.target,
        "detail": row.detail,
    }


def _whole(name: str, text: str, low: int, high: int) -> int:
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text
    check_range(name, number, low, high)
    return int(number)


def _share(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,4})?", text) and 0.01 <= float(text) <= 100:
        return float(text)
    raise UserError(f"A weight is a number from 0.01 to 100; {text!r} is not.")
