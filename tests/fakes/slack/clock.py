"""The peer's clock: it stands still until somebody advances it, so a rule of thirty minutes takes no time to test."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Seconds since the epoch; begins now and moves only by `advance`."""

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._moved = asyncio.Condition()
        self._ticks = 0

    def now(self) -> float:
        """The present."""
        return self._now

    def ts(self) -> str:
        """A message's name: unique, rising, with six decimals as Slack writes it."""
        self._ticks += 1
        return f"{int(self._now)}.{self._ticks:06d}"

    async def advance(self, seconds: float) -> None:
        """Move on, and wake whoever waits for it."""
        self._now += seconds
        async with self._moved:
            self._moved.notify_all()

    async def until(self, moment: float) -> None:
        """Return once the clock has reached `moment`."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._now >= moment)
