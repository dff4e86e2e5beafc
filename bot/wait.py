"""Waiting in person for a job: follow the feed until it is over, or until the person has had enough.

Knows the feed, an engine of our own and how to take a wish back. Does not draw: whoever waits hands in what to do with
each event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bot.own_engine import OwnEngine
from bot.session import Session
from bot.terminal import say
from storage.events import FINAL_KINDS, Event
from storage.job import Job, Outcome

Seen = Callable[[Event], None]

STOPS_S = 5.0  # how long a cancelled job may take to its next step while we leave


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
            await self._first_end()
        except BaseException:
            await self._take_back()
            raise
        return await self._session.commands.job(self._job_id)

    async def _first_end(self) -> None:
        """Follow the job and keep an engine there; EngineDown if there is none to be had."""
        keeper, reader = asyncio.create_task(self._engine.keep()), asyncio.create_task(self._follow())
        try:
            await asyncio.wait((keeper, reader), return_when=asyncio.FIRST_COMPLETED)
            for task in (reader, keeper):
                if task.done():
                    task.result()
                    return
        finally:
            keeper.cancel()
            reader.cancel()
            await asyncio.gather(keeper, reader, return_exceptions=True)

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
