"""The ledger: everything that reached the peer, in order, in memory and as JSON lines on the disk."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.fakes.discord.clock import Clock


class Ledger:
    """Entries are numbered from 1; whoever waits is woken by the next one."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._file = path.open("a", encoding="utf-8") if path else None
        self._clock = clock
        self.entries: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def note(self, what: str, **facts: Any) -> dict[str, Any]:
        """Write one entry down."""
        entry = {"n": len(self.entries) + 1, "at": round(self._clock.now(), 4), "what": what, **facts}
        self.entries.append(entry)
        if self._file:
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._file.flush()
        self._more.set()
        self._more = asyncio.Event()
        return entry

    async def after(self, number: int, patience_s: float) -> list[dict[str, Any]]:
        """The entries after `number`, as soon as there is one; none after `patience_s`."""
        if len(self.entries) <= number:
            try:
                async with asyncio.timeout(patience_s):
                    await self._more.wait()
            except TimeoutError:
                return []
        return self.entries[number:]
