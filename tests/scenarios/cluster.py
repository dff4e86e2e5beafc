"""A cluster of two nodes on loopback addresses, and what kill -9 costs it: an engine, a worker, a node, the head.

Each node is a whole `dreambot cluster up`; both share one disk, as hosts would share PostgreSQL. Waits for events.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from storage.engines import EngineRow
from storage.events import Event, Kind
from storage.job import State
from tests.scenarios.house import House, open_house

log = logging.getLogger(__name__)

HEAD, NODE = "127.0.0.2", "127.0.0.3"
PATIENCE_S, LONGEST_S = 240.0, 1_200.0  # for one thing to happen, and for all of it


class Cluster:
    """Two `dreambot cluster up` beside a house whose store all of them share."""

    def __init__(self, house: House, port: int) -> None:
        self.house, self.port = house, port
        self.parts: dict[str, subprocess.Popen[bytes]] = {}

    def up(self) -> None:
        """The head and one node, one core each, an engine a core."""
        shared = ["--cores=1"]
        self._start(HEAD, f"--port={self.port}", "--cpus=1", *shared)
        self._start(NODE, f"--join={HEAD}:{self.port}", *shared)

    def _start(self, address: str, *words: str) -> None:
        command = [sys.executable, "-m", "bot.cli", "cluster", "up", f"--address={address}", *words]
        own = Path(self.house.environ["RAY_TMPDIR"], address)  # hosts do not see each other's files of Ray's
        own.mkdir()
        environ = self.house.environ | {"RAY_TMPDIR": str(own)}
        with (self.house.settings.home / f"cluster-{address}.log").open("ab") as log:
            self.parts[address] = subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    def process(self, address: str, name: str) -> int:
        """The process of that name among a part's descendants."""
        found = [pid for pid in descendants(self.parts[address].pid) if name in command_of(pid)]
        return found[-1]

    async def staffed(self, engines: int, but: frozenset[str] = frozenset()) -> frozenset[str]:
        """Until so many engines beat that are not among `but`; their owners."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                alive = await self.house.engines.alive(self.house.settings.silent_s)
                ready = frozenset(row.owner for row in alive if row.beat >= 1) - but
                if len(ready) >= engines:
                    return ready
                await self.house.feed.changed(0.2)

    def down(self) -> None:
        """By process id, as `cluster down` does."""
        for part in self.parts.values():
            part.send_signal(signal.SIGTERM)
        for part in self.parts.values():
            part.wait(120)


def descendants(pid: int) -> list[int]:
    """All children, theirs, and so on."""
    try:
        kids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for kid in map(int, kids) for found in (kid, *descendants(kid))]


def command_of(pid: int) -> str:
    """A process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@asynccontextmanager
async def open_cluster(home: Path, **environ: str) -> AsyncIterator[Cluster]:
    """A house with a cluster in it, up with both engines; everything is ended at the end."""
    with socket.socket() as free:
        free.bind((HEAD, 0))
        port = free.getsockname()[1]
    told = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "DREAMBOT_SILENT_S": "10"}
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as sockets:  # short paths
        told |= {"RAY_TMPDIR": sockets, "DREAMBOT_BANK": "0", **environ}
        async with open_house(home, home, **told) as house:
            house.patience_s = LONGEST_S
            cluster = Cluster(house, port)
            cluster.up()
            try:
                yield cluster
            finally:
                cluster.down()


async def kill(cluster: Cluster, what: str) -> dict[str, float | int | str]:
    """One kill -9: when the lost jobs were given back, and when as many engines as before were ready."""
    house = cluster.house
    before = await cluster.staffed(2)
    held = {job.id for job in await house.queue.running()}
    since = await house.feed.head()
    pid = victim(cluster, what, await house.engines.alive(10.0))
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    gone = 2 if what in ("head", "controller") else 1
    after: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        while len([e for e in after if e.kind is Kind.ENGINE_READY]) < gone:
            await house.feed.changed(0.5)
            after = await house.feed.since(since, 1_000_000)
    await cluster.staffed(2)
    back = [event.at - at for event in after if event.kind is Kind.REQUEUED]
    ready = [event.at - at for event in after if event.kind is Kind.ENGINE_READY]
    alive = await cluster.staffed(2)
    row: dict[str, float | int | str] = {
        "killed": what,
        "running": len(held),
        "given_back": len(back),
        "first_given_back_s": round(min(back), 2) if back else -1.0,
        "last_given_back_s": round(max(back), 2) if back else -1.0,
        "engines_replaced": len(alive - before),
        "all_engines_back_s": round(ready[gone - 1], 2),
    }
    log.info("%s", row)
    return row


def victim(cluster: Cluster, what: str, engines: list[EngineRow]) -> int:
    """The process to kill."""
    if what == "engine":
        return int(engines[0].pid)
    name, address = {
        "worker": ("ray::PlacedEngine", NODE),
        "node": ("raylet/raylet", NODE),
        "controller": ("engine.cluster controller", HEAD),
        "head": ("gcs/gcs_server", HEAD),
    }[what]
    return cluster.process(address, name)


FAKE = {"DREAMBOT_CLUSTER_ENGINE": f"{sys.executable} -m tests.fakes.engine", "FAKE_JOB_S": "0.3"}


async def storm(
    home: Path, dreams: int, candidates: int, kills: list[str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Dreams, kills between them, and the count at the end."""
    began = time.time()
    async with open_cluster(home, **environ) as cluster:
        house = cluster.house
        await cluster.staffed(2)
        up_s = time.time() - began
        jobs = [
            await house.submit(
                user=f"u{n % 20}", prompt=f"a lemon, {n}", seed=n, pack="embedded", candidates=candidates, reply_to="x"
            )
            for n in range(dreams)
        ]
        started = time.time()
        ending = asyncio.create_task(house.finished(jobs))
        rows = []
        for number, what in enumerate(kills):
            share = dreams * (2 * number + 1) // (2 * len(kills) + 2)
            await completed(house, share)
            rows.append(await kill(cluster, what) | {"after_dreams": await count(house)})
        done = await ending
        seconds = time.time() - started
        events = Counter((e.job, e.kind) for e in await house.feed.since(0, 1_000_000))
        twice = [job.id for job in jobs if events[(job.id, Kind.COMPLETED)] != 1]
        letters = len(await house.outbox.unsent(["local"], limit=dreams * 2))
    return {
        "dreams": dreams,
        "candidates": candidates,
        "completed": sum(job.state is State.COMPLETED for job in done),
        "not_completed_exactly_once": len(twice),
        "attempts": dict(sorted(Counter(job.attempt for job in done).items())),
        "strikes": max(job.strikes for job in done),
        "letters": letters,
        "cluster_up_s": round(up_s, 2),
        "dreams_s": round(seconds, 1),
        "kills": rows,
    }


async def count(house: House) -> int:
    """Dreams completed so far."""
    return len([e for e in await house.feed.since(0, 1_000_000) if e.kind is Kind.COMPLETED])


async def completed(house: House, at_least: int) -> None:
    """Until so many dreams are completed."""
    async with asyncio.timeout(LONGEST_S):
        while await count(house) < at_least:
            await house.feed.changed(0.5)
