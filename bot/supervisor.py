"""`dreambot serve`: keeps two programs running, the bot and the engine.

Knows their command lines and how to restart them. Does not know the store, the jobs or why a child died.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from storage import child

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a restart: doubling, and forgotten after a life that was long enough."""

    first_s: float = 0.2
    last_s: float = 5.0
    life_s: float = 30.0

    def after(self, wait_s: float, lived_s: float) -> float:
        """The next wait, from the last one and the life that followed it."""
        return self.first_s if lived_s >= self.life_s or not wait_s else min(self.last_s, wait_s * 2)


class Supervisor:
    """Runs every command until it is told to stop; then each child is told once, and is killed after the grace.

    `last`: the child that is told when all others have ended.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        backoff: Backoff | None = None,
        grace_s: float = 30.0,
        last: str | None = None,
        on_start: Callable[[str, int], None] = lambda _name, _pid: None,
    ) -> None:
        self._commands = commands
        self._backoff = backoff or Backoff()
        self._grace_s = grace_s
        self._on_start = on_start
        self._last = last
        self._stop = asyncio.Event()
        self._others = {name: asyncio.Event() for name in commands if name != last}

    async def run(self) -> None:
        """Until `stop`, or SIGTERM, or SIGINT; returns when all children are down."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        try:
            await asyncio.gather(*(self._keep(name, command) for name, command in self._commands.items()))
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Tell every child to end; nothing is restarted any more."""
        self._stop.set()

    async def _keep(self, name: str, command: Sequence[str]) -> None:
        try:
            await self._keep_on(name, command)
        finally:
            if name != self._last:
                self._others[name].set()

    async def _keep_on(self, name: str, command: Sequence[str]) -> None:
        wait_s = 0.0
        while not self._stop.is_set():
            born = time.monotonic()
            status = await self._live(name, command)
            if self._stop.is_set():
                return
            wait_s = self._backoff.after(wait_s, time.monotonic() - born)
            log.warning("%s ended with status %s; starting it again in %.1f s", name, status, wait_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait_s)

    async def _live(self, name: str, command: Sequence[str]) -> int:
        """One life of a child."""
        process = await child.spawn(command)
        log.info("%s runs as process %s", name, process.pid)
        self._on_start(name, process.pid)
        stopped = asyncio.create_task(self._stop.wait())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((stopped, ended), return_when=asyncio.FIRST_COMPLETED)
            if name == self._last and self._stop.is_set():
                await asyncio.gather(*(other.wait() for other in self._others.values()))
            return await child.end(process, self._grace_s)
        finally:
            stopped.cancel()
            ended.cancel()
