"""Delivery: the feed wakes it, the outbox decides.

Final replies are what stands unsent in the outbox: never lost, and never doubled, because the nonce is the job and an
adapter posts a nonce once. Progress may be lost. Everything for one channel is said one after the other, finals first,
and no channel waits for another. Knows adapters only by their protocol.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

from bot import cards
from bot.adapter import Adapter, TryLater, Undeliverable
from bot.line import Line
from bot.news import Condition, News
from bot.store import Store
from storage.events import FINAL_KINDS, Event
from storage.job import FINAL, Job, Withdrawn
from storage.outbox import Letter
from storage.rescue import new_owner

log = logging.getLogger(__name__)

LONGEST_RETRY_S = 300.0
EDITS_S = 10.0  # edits a second of all channels together: limits and our core are there for answers first
IDLE_S = 1.0  # a letter whose retry is due is found this late at most
TAKEN_S = 30.0  # a bot that stands still for so long while it sends a letter loses it to another bot


@dataclass(slots=True, eq=False)
class Lane:
    """One channel."""

    surface: str
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    held_until: float = float("-inf")  # the surface asked for a pause
    edit_after: float = float("-inf")  # one edit in `channel_s`, whosever message it is


class Budget:
    """So many acts a second, and as many at once after a quiet second."""

    def __init__(self, rate: float, monotonic: Callable[[], float]) -> None:
        self._rate, self._monotonic = rate, monotonic
        self._saved, self._at = rate, monotonic()

    def left(self) -> bool:
        """Whether there is one to be had now."""
        now = self._monotonic()
        self._saved, self._at = min(self._rate, self._saved + (now - self._at) * self._rate), now
        return self._saved >= 1

    def take(self) -> None:
        """One."""
        self._saved -= 1


class Delivery:
    """Brings cards to reply-tos."""

    def __init__(
        self,
        store: Store,
        adapters: Mapping[str, Adapter],
        *,
        name: str | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._adapters = adapters
        self._wall = wall
        self._monotonic = monotonic
        self._line = Line(store)
        self._news = News(store.settings.progress_s)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._told_in: dict[str, Lane] = {}  # jobs that are not over, and where they are told of
        self._edits = Budget(EDITS_S, monotonic)
        self._busy: dict[int | str, asyncio.Task[bool]] = {}  # letters being posted, jobs being edited
        self._placed_at = float("-inf")
        self._name = name or new_owner()  # under which letters are taken
        self._renewed_at = float("-inf")
        self._leads: set[str] = set()
        self._leads_until = float("-inf")

    async def run(self) -> None:
        """For ever: follow, place, show, send; what hangs in one channel does not hold this up."""
        cursor = await self._store.feed.head()
        try:
            while True:
                await self._start_letters()
                events = await self._store.feed.since(cursor)
                for event in events:
                    self.note(event)
                    cursor = event.id
                await self.place()
                await self._start_edits()
                if not events:
                    await self._store.feed.changed(IDLE_S)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def note(self, event: Event) -> None:
        """Remember the latest of each job; forget jobs that are over."""
        self._news.note(event)
        if event.job is not None and event.kind in FINAL_KINDS:
            self._told_in.pop(event.job, None)

    async def place(self) -> None:
        """Work out who waits where, at most once in `progress_s`."""
        now = self._monotonic()
        if now - self._placed_at < self._store.settings.progress_s or not await self._store.queue.anything_waits():
            return
        self._placed_at = now
        engine, paused = await self._line.staffed(), await self._line.held()
        line = Condition(engine=engine, paused=paused, speed=await self._line.speed())
        self._news.place(await self._store.queue.turns(), line)

    async def show(self) -> None:
        """Edit what has news, and wait until that is done."""
        await _all(await self._start_edits())

    async def send(self) -> int:
        """Post every letter that is due, and wait until that is done; returns how many were sent."""
        return sum(await _all(await self._start_letters()))

    async def _start_letters(self) -> list[asyncio.Task[bool]]:
        """Take what nobody else sends, and start sending it."""
        await self._renew()
        lanes = {}
        for letter in await self._store.outbox.unsent(tuple(self._adapters)):
            lane = self._lane(letter.surface, letter.reply_to)
            if letter.id not in self._busy and lane is not None and lane.held_until <= self._monotonic():
                lanes[letter.id] = lane
        if not lanes:
            return []
        mine = await self._store.outbox.take(list(lanes), self._name, TAKEN_S)
        return [self._start(letter.id, self.deliver(lanes[letter.id], letter)) for letter in mine]

    async def _renew(self) -> None:
        """What is on its way stays ours."""
        sending = [key for key in self._busy if isinstance(key, int)]
        if sending and self._monotonic() - self._renewed_at >= TAKEN_S / 3:
            self._renewed_at = self._monotonic()
            await self._store.outbox.take(sending, self._name, TAKEN_S)

    async def _start_edits(self) -> list[asyncio.Task[bool]]:
        """At most one edit a message in `progress_s` and a channel in `channel_s`; none where a final is on its way."""
        started, now = [], self._monotonic()
        due = self._news.due(now)
        led = await self._led() if due else set()
        for job_id in due:
            if not self._edits.left():
                break
            lane = self._told_in.get(job_id) or await self._find(job_id)
            if lane is None or lane.surface not in led:
                self._news.forget(job_id)
            elif job_id not in self._busy and not lane.turn.locked() and max(lane.held_until, lane.edit_after) <= now:
                lane.edit_after = now + self._store.settings.channel_s
                self._edits.take()
                started.append(self._start(job_id, self._edit(lane, job_id)))
        return started

    async def _find(self, job_id: str) -> Lane | None:
        """The channel of a job; None if nobody is told of it there."""
        job = await self._store.queue.get(job_id)
        if job is None or job.reply_to is None or (lane := self._lane(job.caller.surface, job.reply_to)) is None:
            return None
        if job.state not in FINAL:
            self._told_in[job_id] = lane
        return lane

    async def _led(self) -> set[str]:
        """The surfaces whose progress we show, and no other bot; asked now and then."""
        if self._monotonic() >= self._leads_until:
            self._leads_until = self._monotonic() + TAKEN_S / 3
            take = self._store.leads.take
            self._leads = {name for name in self._adapters if await take(f"progress:{name}", self._name, TAKEN_S)}
        return self._leads

    def _lane(self, surface: str, reply_to: str) -> Lane | None:
        adapter = self._adapters.get(surface)
        if adapter is None:
            return None
        try:
            channel = adapter.channel(reply_to)
        except Exception:  # an address that this adapter does not understand: its letters are a lane of their own
            channel = reply_to
        return self._lanes.setdefault((surface, channel), Lane(surface))

    def _start(self, key: int | str, work: Coroutine[None, None, bool]) -> asyncio.Task[bool]:
        task = asyncio.create_task(work)
        self._busy[key] = task
        task.add_done_callback(lambda _: self._busy.pop(key, None))
        return task

    async def _edit(self, lane: Lane, job_id: str) -> bool:
        """Read the job once more: what is over is never edited again."""
        async with lane.turn:
            job = await self._store.queue.get(job_id)
            card = None if job is None else self._news.tell(job, self._monotonic())
            if job is None or job.reply_to is None or card is None:
                return False
            try:
                await self._adapters[job.caller.surface].edit(job.reply_to, card)
            except TryLater as later:
                lane.held_until = self._monotonic() + later.seconds
                return False
            except Undeliverable as error:
                log.info("progress of %s is not shown: %s", job_id, error)
                self._news.forget(job_id)
                return False
            except Exception:
                log.warning("progress of %s was not shown", job_id, exc_info=True)
                return False
        return True

    async def deliver(self, lane: Lane, letter: Letter) -> bool:
        """Post one letter. A crash between post and `sent` posts the same nonce again, which changes nothing."""
        async with lane.turn:
            if lane.held_until > self._monotonic():
                return False
            job = await self._store.queue.get(letter.job)
            try:
                message_id = await self._say(letter, job)
            except TryLater as later:
                lane.held_until = self._monotonic() + later.seconds
                log.info("reply of %s waits: %s", letter.job, later)
                await self._store.outbox.failed_try(letter.id, str(later), self._wall() + later.seconds)
                return False
            except Undeliverable as error:
                log.warning("reply of %s can never arrive: %s", letter.job, error)
                await self._store.outbox.close(letter.id, str(error))
                return False
            except Exception as error:
                log.warning("reply of %s was not sent (try %d)", letter.job, letter.attempts + 1, exc_info=True)
                wait_s = min(LONGEST_RETRY_S, 2.0**letter.attempts)
                await self._store.outbox.failed_try(letter.id, str(error), self._wall() + wait_s)
                return False
            if job is not None and job.withdrawn is Withdrawn.DELETED:
                await self._store.outbox.drop(letter.id)
            else:
                await self._store.outbox.sent(letter.id, message_id)
        return True

    async def _say(self, letter: Letter, job: Job | None) -> str:
        """Post the final reply, or write over the one that was posted; its message id."""
        adapter = self._adapters[letter.surface]
        card = cards.job_card(job) if job else cards.error_card(f"Job {letter.job} is gone.")
        if letter.message_id is None:
            return await adapter.post(letter.reply_to, card, letter.job)
        await adapter.replace(letter.reply_to, letter.message_id, card)
        return letter.message_id


async def _all(tasks: list[asyncio.Task[bool]]) -> list[bool]:
    return list(await asyncio.gather(*tasks))
