"""The controller: an engine in every seat, and the leases of one that died given back at once.

Knows seats, the store's rescue and how long to wait; how a seat is found is a `Placement`'s business. It keeps nothing:
kill it, or the head of the cluster, and the next controller goes on with what the store says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from engine.cluster.errors import EngineLost
from engine.cluster.seat import Sitter
from storage.errors import StorageError, StoreBroken
from storage.queue import Queue
from storage.rescue import Watch

log = logging.getLogger(__name__)

LOOK_S = 1.0
FIRST_S, LAST_S, LIFE_S = 0.5, 30.0, 60.0  # waits between two engines of a seat, and the life that resets them
TRIES_S = 2.0  # between two tries to release


class Hold(Protocol):
    """An engine that was asked for."""

    async def start(self) -> Sitter:
        """Once it has a place and runs. EngineLost if it will not."""

    async def wait(self) -> int:
        """Its exit status. EngineLost if nobody can tell."""

    async def stop(self) -> None:
        """It drains and ends, and its place is free."""


class Placement(Protocol):
    """Where engines can be had."""

    async def capacity(self) -> int:
        """How many engines the nodes that are there have room for. ClusterLost if nobody answers."""

    def open(self, number: int) -> Hold:
        """An engine for a seat, as soon as a node has room."""


class Controller:
    """Keeps an engine in every seat until it is cancelled. `engines`: at least so many, 0 for as many as fit."""

    def __init__(
        self,
        placement: Placement,
        queue: Queue,
        *,
        engines: int = 0,
        state: Path | None = None,
        sleep: Callable[[float], asyncio.Future[None]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._placement, self._queue, self._engines = placement, queue, engines
        self._state, self._sleep, self._clock = state, sleep or asyncio.sleep, clock
        self._seats: dict[int, dict[str, object]] = {}
        self._keepers: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever. ClusterLost when the cluster no longer answers, StoreBroken when the store is not to be trusted."""
        try:
            while True:
                wanted = max(self._engines, await self._placement.capacity())
                for number in range(wanted):
                    if number not in self._keepers:
                        self._keepers[number] = asyncio.create_task(self._keep(number))
                for number in [n for n in self._keepers if n >= wanted and self._seats[n]["state"] == "waits"]:
                    await self._close(self._keepers.pop(number))  # the node that it waits for has left
                    self._tell(number, None)
                for keeper in self._keepers.values():
                    if keeper.done():
                        keeper.result()  # none ends by itself: it broke, and so do we
                await self._sleep(LOOK_S)
        finally:
            await asyncio.gather(*(self._close(k) for k in self._keepers.values()), return_exceptions=True)

    async def _keep(self, number: int) -> None:
        """One engine after the other in a seat."""
        wait_s = FIRST_S
        while True:
            born = self._clock()
            why = await self._live(number)
            wait_s = FIRST_S if self._clock() - born >= LIFE_S else min(LAST_S, wait_s * 2)
            log.warning("engine of seat %d: %s; another one in %.1f s", number, why, wait_s)
            self._tell(number, "backs off", why=why)
            await self._sleep(wait_s)

    async def _live(self, number: int) -> str:
        """One engine's life in a seat; what ended it."""
        hold, sitter = self._placement.open(number), None
        self._tell(number, "waits", why="no node is free")
        try:
            sitter = await hold.start()
            log.info("engine of seat %d runs on %s as process %d", number, sitter.node, sitter.pid)
            self._tell(number, "runs", sitter=sitter)
            return f"ended with status {await hold.wait()}"
        except EngineLost as error:
            return str(error)
        finally:
            with contextlib.suppress(EngineLost):
                await asyncio.shield(hold.stop())
            if sitter is not None:
                await asyncio.shield(self._release(sitter))

    async def _release(self, sitter: Sitter) -> None:
        """What it held goes back at once, by the same compare-and-swap that any engine would do later."""
        while True:
            try:
                for job in await self._queue.rescue(Watch(float("inf"), gone=sitter.owns)):
                    log.warning("released job %s (strikes %d)", job.id, job.strikes)
                return
            except StoreBroken:
                raise
            except StorageError as error:
                log.warning("nothing was released yet: %s", error)
                await self._sleep(TRIES_S)

    async def _close(self, keeper: asyncio.Task[None]) -> None:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper

    def _tell(self, number: int, state: str | None, *, why: str = "", sitter: Sitter | None = None) -> None:
        """For `cluster status`: a file, replaced whole; nothing depends on it."""
        if state is None:
            self._seats.pop(number, None)
        else:
            known = {} if sitter is None else asdict(sitter)
            self._seats[number] = {"seat": number, "state": state, "why": why, "since": time.time(), **known}
        if self._state is not None:
            draft = self._state.with_suffix(".draft")
            draft.write_text(json.dumps([self._seats[n] for n in sorted(self._seats)]), encoding="utf-8")
            draft.replace(self._state)
