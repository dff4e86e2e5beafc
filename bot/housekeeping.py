"""What the bot process does for the store once an hour, and for its ballast once a minute.

Knows when. What is done is in `storage.upkeep` and `storage.disk`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from bot.store import Store
from storage.disk import keep_ballast
from storage.errors import StoreBusy, StoreFull
from storage.images import DAY_S
from storage.upkeep import Upkeep

log = logging.getLogger(__name__)

HOUR_S, MINUTE_S = 3_600.0, 60.0


class Housekeeping:
    """Old events, old pictures, files that nobody refers to, and the ballast."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._upkeep = Upkeep(store.database, store.images)
        self._clock = clock
        self._swept_at = clock() - HOUR_S + MINUTE_S  # first a minute after the start, when others have begun

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(MINUTE_S)

    async def look(self) -> None:
        """Do what is due; what cannot be done now is done later."""
        settings = self._store.settings
        try:
            await asyncio.to_thread(keep_ballast, settings.home, settings.ballast_mb, settings.disk_floor_mb)
            if self._clock() - self._swept_at >= HOUR_S:
                await self._sweep()
                self._swept_at = self._clock()
        except (StoreBusy, StoreFull, OSError) as error:
            log.warning("housekeeping waits: %s", error)

    async def _sweep(self) -> None:
        settings = self._store.settings
        events = await self._store.queue.purge(settings.events_days * DAY_S)
        dreams = await self._upkeep.let_go(settings.keep_days) if settings.keep_days else 0
        files = await self._upkeep.collect()
        log.info("housekeeping: %d events forgotten, %d dreams let go, %d files deleted", events, dreams, files)
