"""The peer's clock: the machine's, plus what a test has added. So fifteen minutes pass at once."""

from __future__ import annotations

import time
from collections.abc import Callable

EPOCH_MS = 1_420_070_400_000  # Discord's first second


class Clock:
    """Seconds since the epoch."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._added = 0.0
        self._last = 0

    def now(self) -> float:
        """The peer's time."""
        return self._source() + self._added

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._added += seconds

    def snowflake(self) -> str:
        """A new id, larger than every one before it."""
        self._last = max(self._last + 1, (int(self.now() * 1000) - EPOCH_MS) << 22)
        return str(self._last)
