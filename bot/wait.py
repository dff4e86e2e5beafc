"""Waiting in person for a job: follow the feed until it is over, or until the person has had enough.

Knows the feed, an engine of our own and how to take a wish back. Does not draw: whoever waits hands in what to do with
each event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

from bot.own_engine import OwnEngine
from bot.session import Session
from bot.terminal import say
from storage.events import FINAL_KINDS, Event, Kind
from storage.job import Job, Outcome

Seen = Callable[[Event], None]

STOPS_S = 5.0  # how long a cancelled job may take to its next step while we leave


async def first_ready(session: Session, engine: OwnEngine, cursor: int) -> bool:
    """Start an engine and wait until it is ready; False if one was there before."""
    if await session.store.engines.alive(session.store.settings.silent_s):
        return False

    async def ready() -> None:
        async for events in session.store.feed.follow(cursor):
            for event in events:
                engine.see(event)
            if any(event.kind is Kind.ENGINE_READY for event in events):
                return

    await _with_engine(engine, ready())
    return True


async def _with_engine(engine: OwnEngine, work: Coroutine[None, None, None]) -> None:
    """Do the work while an engine is kept there; EngineDown if there is none to be had."""
    keeper, worker = asyncio.create_task(engine.keep()), asyncio.create_task(work)
    try:
        await asyncio.wait((keeper, worker), return_when=asyncio.FIRST_COMPLETED)
        for task in (worker, keeper):
            if task.done():
                task.result()
                return
    finally:
        keeper.cancel()
        worker.cancel()
        await asyncio.gather(keeper, worker, return_exceptions=True)


class Wait:
    """Somebody waits for one job; `cursor` is from before it was submitted, so no event of it is missed."""

    def __init__(self, session: Session, engine: OwnEngine, job_id: str, cursor: int, seen: Seen) -> None:
        self._session = session
        self._engine = engine
        self._job_id = job_id
        self._cursor = cursor
        self._seen = seen

    async def over(self) -> Job:
        """The job when it has ended. Whoever stops waiting no longer wants it: it is cancelled."""
        try:
            await _with_engine(self._engine, self._follow())
        except BaseException:
            await self._take_back()
            raise
        return await self._session.commands.job(self._job_id)

    async def _follow(self) -> None:
        async for events in self._session.store.feed.follow(self._cursor):
            for event in events:
                self._cursor = event.id
                self._engine.see(event)
                if event.job == self._job_id:
                    self._seen(event)
                    if event.kind in FINAL_KINDS:
                        return

    async def _take_back(self) -> None:
        """Cancel, and say what became of it; a running job is given a moment to stop at its next step."""
        card = await self._session.commands.cancel(self._session.caller, self._job_id)
        if card.rows[0]["outcome"] == Outcome.STOPPING:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._follow(), STOPS_S)
        job = await self._session.commands.job(self._job_id)
        say(f"Job {job.id} is {job.state}.")
