"""The actor that Ray places: it runs the ordinary engine as a child on a leash, and says how it ended.

Knows the engine's command line and environment, so everything that is tested of an engine holds for this one. Knows no
Ray; `engine.cluster.placement` makes an actor of it. No result passes through here: the store is the only truth.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.cluster.seat import Sitter
from storage import child
from storage.rescue import boot, host
from storage.settings import StoreSettings

GRACE_S = 30.0
ENGINE = (sys.executable, "-m", "engine")


class EngineActor:
    """One engine in seat `number`; with `cpus` it keeps to so many cores, else it has the GPU that Ray shows it."""

    def __init__(self, number: int, node: str, cpus: int = 0) -> None:
        self._number, self._node, self._cpus = number, node, cpus
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Sitter:
        """Start the engine. A child whose parent dies is told to end, so no engine outlives its actor for long."""
        store = StoreSettings.load()
        command = shlex.split(os.environ.get("DREAMBOT_CLUSTER_ENGINE", "")) or ENGINE  # tests have one without tensors
        os.environ.update(engine_environ(os.environ, self._number, self._cpus))
        store.home.mkdir(parents=True, exist_ok=True)
        with log_of(store.home, self._number).open("ab") as log:
            self._process = await child.spawn(command, log)
        return Sitter(node=self._node, host=host(), boot=boot(), pid=self._process.pid)

    async def wait(self) -> int:
        """The engine's exit status, once it has ended."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> int:
        """Tell the engine to drain and go; its exit status."""
        return 0 if self._process is None else await child.end(self._process, GRACE_S)


def log_of(home: Path, number: int) -> Path:
    """Where an engine's words go, on its own host."""
    return home / f"engine-{number}.log"


def engine_environ(environ: Mapping[str, str], number: int, cpus: int) -> dict[str, str]:
    """What is set for the engine of a seat beside what its host has set.

    Two engines on one host must differ in the lock of their device and in the port of their metrics.
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    told = {"DREAMBOT_SLOT": f"gpu{visible}" if visible and not cpus else f"seat{number}"}
    if cpus and "DREAMBOT_THREADS" not in environ:
        told["DREAMBOT_THREADS"] = str(cpus)
    if port := int(environ.get("DREAMBOT_ENGINE_PORT") or 0):
        told["DREAMBOT_ENGINE_PORT"] = str(port + number)
    return told
