"""PostgreSQL's LISTEN: a connection of its own on which everybody's commits are heard; made anew when it is lost.

Knows one channel and counts; what has changed, whoever hears must ask. While there is no connection, every try to make
one counts as a change, so that whoever follows polls in the meantime.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg

from storage.session import PATIENCE_S, UNREACHABLE

log = logging.getLogger(__name__)

CHANNEL = "dreambot"
LOOK_S = 1.0  # how often the connection is asked whether it is still one
PAUSE_S = 0.2  # between two tries to have one
GAP_S = 0.02  # commits that come closer to each other count as one: a crowd's must not wake every engine each time


class Wire:
    """Counts commits, from the first `version` on."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments
        self.heard: Callable[[], None] = lambda: None
        self._count = 0
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._counted_at = float("-inf")
        self._soon: asyncio.TimerHandle | None = None

    async def version(self) -> int:
        """How often something was heard; the first call begins to listen, and waits until it does."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        if not self._tried.is_set():
            await self._tried.wait()
        return self._count

    async def close(self) -> None:
        """Hear nothing more."""
        if self._soon is not None:
            self._soon.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except UNREACHABLE as error:
                log.info("the store cannot be listened to: %s", error or type(error).__name__)
            self._moved()
            self._tried.set()
            await asyncio.sleep(PAUSE_S)

    async def _hear(self) -> None:
        connection = await asyncpg.connect(**self._arguments, timeout=PATIENCE_S)
        try:
            await connection.add_listener(CHANNEL, self._noticed)
            self._moved()  # whatever happened while nobody listened
            self._tried.set()
            while True:
                await asyncio.sleep(LOOK_S)
                await connection.fetchval("SELECT 1", timeout=PATIENCE_S)
        finally:
            connection.terminate()

    def _noticed(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        if self._soon is None:
            self._soon = loop.call_at(max(loop.time(), self._counted_at + GAP_S), self._moved)

    def _moved(self) -> None:
        self._soon, self._counted_at = None, asyncio.get_running_loop().time()
        self._count += 1
        self.heard()
