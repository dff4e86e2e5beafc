"""Waiting in person for a job: follow the feed until it is over.

Knows the feed, an engine of our own and how to take a wish back. Does not draw: whoever waits hands in what to do with
each event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bot.cards import Card
from bot.commands import Commands
from bot.own_engine import OwnEngine
from bot.store import Store
from storage.events import FINAL_KINDS, Event
from storage.job import Caller, Job, Outcome

Seen = Callable[[Event], None]

STOPS_S = 5.0  # how long a cancelled job may take to its next step while we leave


async def until_over(store: Store, engine: OwnEngine, job_id: str, cursor: int, seen: Seen) -> None:
    """Return when the job has ended. Raises EngineDown if an engine is needed and cannot be had."""
    keeper = asyncio.create_task(engine.keep())
    reader = asyncio.create_task(_read(store, engine, job_id, cursor, seen))
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


async def _read(store: Store, engine: OwnEngine, job_id: str, cursor: int, seen: Seen) -> None:
    async for events in store.feed.follow(cursor):
        for event in events:
            engine.see(event)
            if event.job == job_id:
                seen(event)
                if event.kind in FINAL_KINDS:
                    return


async def dreamt(
    store: Store, commands: Commands, engine: OwnEngine, caller: Caller, card: Card, cursor: int, seen: Seen
) -> Job:
    """The job of `card` when it is over. Whoever stops waiting no longer wants it: it is cancelled."""
    job_id = str(card.job)
    try:
        await until_over(store, engine, job_id, cursor, seen)
    except BaseException:
        await _take_back(store, commands, engine, caller, job_id, cursor)
        raise
    return await commands.job(job_id)


async def _take_back(
    store: Store, commands: Commands, engine: OwnEngine, caller: Caller, job_id: str, cursor: int
) -> None:
    """Cancel; a running job is given a moment to stop at its next step."""
    card = await commands.cancel(caller, job_id)
    if card.rows[0]["outcome"] == Outcome.STOPPING:
        with suppress(TimeoutError):
            await asyncio.wait_for(_read(store, engine, job_id, cursor, lambda _event: None), STOPS_S)
