"""Delivery: the feed wakes it, the outbox decides.

Final replies are what stands unsent in the outbox: never lost, and never doubled, because the nonce is the job and an
adapter posts a nonce once. Progress comes from the feed alone and may be lost. Knows adapters only by their protocol.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from bot import cards
from bot.adapter import Adapter
from bot.store import Store
from storage.events import FINAL_KINDS, Event, Kind
from storage.job import Job
from storage.outbox import Letter

log = logging.getLogger(__name__)

LONGEST_RETRY_S = 300.0
IDLE_S = 1.0  # a letter whose retry is due is found this late at most


class Delivery:
    """Brings cards to reply-tos."""

    def __init__(
        self,
        store: Store,
        adapters: Mapping[str, Adapter],
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._adapters = adapters
        self._wall = wall
        self._monotonic = monotonic
        self._fresh: dict[str, Event] = {}  # the latest progress of a job, not shown yet
        self._shown: dict[str, float] = {}  # when a job's progress was last shown
        self._jobs: dict[str, Job | None] = {}

    async def run(self) -> None:
        """For ever: follow, show, send."""
        cursor = await self._store.feed.head()
        while True:
            await self.send()
            events = await self._store.feed.since(cursor)
            for event in events:
                self.note(event)
                cursor = event.id
            await self.show()
            if not events:
                await self._store.feed.changed(IDLE_S)

    def note(self, event: Event) -> None:
        """Remember the latest progress of each job; forget jobs that are over."""
        if event.job is None:
            return
        if event.kind is Kind.PROGRESSED:
            self._fresh[event.job] = event
        elif event.kind in FINAL_KINDS:
            for memory in (self._fresh, self._shown, self._jobs):
                memory.pop(event.job, None)

    async def show(self) -> None:
        """Edit what has news, each message at most once in `progress_s`."""
        now = self._monotonic()
        due = [job for job in self._fresh if now - self._shown.get(job, -1e9) >= self._store.settings.progress_s]
        for job_id in due:
            event = self._fresh.pop(job_id)
            self._shown[job_id] = now
            await self._edit(job_id, event)

    async def _edit(self, job_id: str, event: Event) -> None:
        if job_id not in self._jobs:
            self._jobs[job_id] = await self._store.queue.get(job_id)
        job = self._jobs[job_id]
        adapter = self._adapters.get(job.caller.surface) if job else None
        if job is None or adapter is None or job.reply_to is None:
            return
        try:
            await adapter.edit(job.reply_to, cards.progress_card(job, event))
        except Exception:
            log.warning("progress of %s was not shown", job_id, exc_info=True)

    async def send(self) -> int:
        """Post every letter that is due; returns how many were sent."""
        letters: Sequence[Letter] = await self._store.outbox.unsent(tuple(self._adapters))
        return sum([await self._post(letter) for letter in letters])

    async def _post(self, letter: Letter) -> bool:
        """One letter. A crash between post and `sent` posts the same nonce again, which changes nothing."""
        try:
            job = await self._store.queue.get(letter.job)
            card = cards.job_card(job) if job else cards.error_card(f"Job {letter.job} is gone.")
            message_id = await self._adapters[letter.surface].post(letter.reply_to, card, letter.job)
        except Exception as error:
            log.warning("reply of %s was not sent (try %d)", letter.job, letter.attempts + 1, exc_info=True)
            wait_s = min(LONGEST_RETRY_S, 2.0**letter.attempts)
            await self._store.outbox.failed_try(letter.id, str(error), self._wall() + wait_s)
            return False
        await self._store.outbox.sent(letter.id, message_id)
        return True
