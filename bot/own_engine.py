"""An engine of our own, for as long as somebody waits at a terminal and nobody else runs one.

Knows how to start `python -m engine` as a child, to notice that it is ready or gone, and to end it. Never imports it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bot.store import Store
from storage import child
from storage.errors import DreambotError, StoreBusy
from storage.events import Event, Kind

LOOK_S = 0.5
LONGEST_WAIT_S = 8.0
GRACE_S = 30.0
TAKEN = 3  # the engine's exit status where another one has the device and the store
MOST_STARTS = 3  # deaths before it was ever ready, after which we give up


class EngineDown(DreambotError):
    """The engine does not start."""


class OwnEngine:
    """Starts an engine whenever none is alive; `start_seconds` sums what the starts took, from spawn to ready."""

    def __init__(
        self, store: Store, command: Sequence[str], *, told: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._store = store
        self._command = command
        self._told = told
        self._process: asyncio.subprocess.Process | None = None
        self._spawned_at: float | None = None  # of a child that is not ready yet
        self._duds = 0
        self._wait_s = LOOK_S
        self.start_seconds = 0.0

    async def __aenter__(self) -> Self:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await asyncio.shield(child.end(self._process, GRACE_S))

    @property
    def _log_path(self) -> Path:
        return self._store.settings.home / "engine.log"

    def see(self, event: Event) -> None:
        """Take note of an event of the feed: is our engine ready?"""
        if event.kind is Kind.ENGINE_READY and self._spawned_at is not None and self._is_ours(event):
            self.start_seconds += max(0.0, event.at - self._spawned_at)
            self._spawned_at, self._duds = None, 0
            self._told("queued")

    def _is_ours(self, event: Event) -> bool:
        """An owner is `host:boot:pid:random`."""
        return self._process is not None and f":{self._process.pid}:" in str(event.data.get("owner"))

    async def keep(self) -> None:
        """For ever: an engine where there is none. EngineDown when it cannot be had."""
        while True:
            with suppress(StoreBusy):  # look again in a moment
                if self._process is None and not await self._store.engines.alive(self._store.settings.silent_s):
                    await self._start()
            await self._look()

    async def _start(self) -> None:
        self._told("starting the engine")
        self._spawned_at = time.time()
        with self._log_path.open("ab") as log:
            self._process = await child.spawn(self._command, log)

    async def _look(self) -> None:
        """Wait a moment, or until our engine ends."""
        if self._process is None:
            await asyncio.sleep(LOOK_S)
            return
        with suppress(TimeoutError):
            self._ended(await asyncio.wait_for(self._process.wait(), LOOK_S))
            await asyncio.sleep(self._wait_s)

    def _ended(self, status: int) -> None:
        ready, self._process, self._spawned_at = self._spawned_at is None, None, None
        if ready:
            return
        if status == TAKEN:  # somebody else's is starting; each try of ours would cost seconds of work
            self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2)
            return
        self._duds += 1
        if self._duds >= MOST_STARTS:
            raise EngineDown(f"The engine does not start (exit status {status}); the log {self._log_path} says why.")
