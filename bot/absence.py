"""Notices that no engine works, and says so once.

Knows when to speak. Does not know whom to tell: for now it is the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from bot.store import Store

log = logging.getLogger(__name__)


class Absence:
    """The time since an engine was last seen."""

    def __init__(
        self, store: Store, *, tell: Callable[[str], None] = log.warning, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._tell = tell
        self._clock = clock
        self._seen_at = clock()
        self._told = False

    async def run(self, every_s: float = 1.0) -> None:
        """For ever: look, and wait."""
        while True:
            await self.look()
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """Tell once when the engine is gone for too long, and once when it is back."""
        if await self._store.engines.alive(self._store.settings.silent_s):
            if self._told:
                self._tell("an engine is back")
            self._seen_at, self._told = self._clock(), False
        elif not self._told and self._clock() - self._seen_at >= self._store.settings.engine_absent_s:
            self._told = True
            self._tell("no engine is running: dreams wait in the queue")
