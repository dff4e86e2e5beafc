"""A crowd at the door: `python -m tests.benchmarks.load [--people 10 100 500] [--seconds 600]`, on the local surface.

Open loop: people ask at random moments (Poisson), whether or not the last answer has come, together for `BUSY` of what
a stub engine with eight seats can do. Each crowd is run twice, the second time with one person who asks for as much as
all others together, all at once. A bot of its own delivers. 70 % one picture, 20 % four, 10 % are cancelled.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.commands import Commands
from bot.local_adapter import address
from bot.settings import BotSettings
from bot.store import Store, open_store
from storage.database import sqlite_connection
from tests.benchmarks.common import keep, table
from tests.factories import make_caller, make_params

SEATS, JOB_S, BUSY = 8, 0.4, 0.7  # the stub makes SEATS / JOB_S dreams a second at best
RATE = BUSY * SEATS / JOB_S
HOT = "hot"
WAITS = """
SELECT user.user = 'hot', job.started_at - job.created_at FROM job
JOIN flow ON flow.id = job.flow_id JOIN user ON user.id = flow.user_id WHERE job.started_at IS NOT NULL"""

LATEST = "SELECT max(outbox.sent_at - job.finished_at) FROM outbox JOIN job ON job.id = outbox.job"


@dataclass
class Crowd:
    """What was asked and how it was answered."""

    commands: Commands
    store: Store
    acks: list[float] = field(default_factory=list)
    asked: int = 0
    refused: int = 0

    async def ask(self, user: str, dice: random.Random) -> None:
        """One dream, and sometimes its cancel."""
        caller = make_caller(user)
        self.asked += 1
        began = time.perf_counter()
        try:
            params = make_params(f"{user} {self.asked}", keep=4 if dice.random() < 0.2 else 1)
            card = await self.commands.dream(caller, params, reply_to=address(caller))
        except Exception:
            self.refused += 1
            return
        self.acks.append(time.perf_counter() - began)
        if dice.random() < 0.1:
            await self.commands.cancel(caller, str(card.job))

    async def come(self, people: int, seconds: float, hot: bool, dice: random.Random) -> None:
        """Everybody, for so long."""
        end, asking = time.monotonic() + seconds, set()
        if hot:
            asking |= {asyncio.create_task(self.ask(HOT, dice)) for _ in range(min(900, round(RATE * seconds / 2)))}
        while time.monotonic() < end:
            await asyncio.sleep(dice.expovariate(RATE / 2 if hot else RATE))
            asking.add(asyncio.create_task(self.ask(f"u{dice.randrange(people)}", dice)))
        await asyncio.gather(*asking)


async def measure(people: int, seconds: float, hot: bool) -> dict[str, Any]:
    """One crowd, from the first command to the last letter."""
    home = Path(tempfile.mkdtemp(prefix="dreambot-load-"))
    environ = os.environ | {"DREAMBOT_HOME": str(home), "DREAMBOT_BALLAST_MB": "0"}
    environ |= {"FAKE_SEATS": str(SEATS), "FAKE_JOB_S": str(JOB_S)}
    try:
        async with open_store(BotSettings(home=home, ballast_mb=0)) as store:
            modules = ("bot", "tests.fakes.engine")
            children = [start(module, environ) for module in modules]
            while not await store.engines.alive(10.0):
                await store.feed.changed(0.1)
            crowd = Crowd(Commands(store), store)
            await crowd.come(people, seconds, hot, random.Random(people))
            while await store.queue.waiting(1) or await store.queue.running() or await store.outbox.unsent(["local"]):
                await store.feed.changed(0.5)
            for child in children:
                child.terminate()
                child.wait()
        return told(home, crowd, people, hot)
    finally:
        shutil.rmtree(home)


def start(module: str, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process of ours."""
    return subprocess.Popen([sys.executable, "-m", module], env=environ)


def told(home: Path, crowd: Crowd, people: int, hot: bool) -> dict[str, Any]:
    """The table's row."""
    with sqlite_connection(home / "dreambot.db") as connection:
        waits = connection.execute(WAITS).fetchall()
        (jobs,) = connection.execute("SELECT count(*) FROM job").fetchone()
        (late,) = connection.execute(LATEST).fetchone()
        ends = dict(connection.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())
    letters = len(list((home / "mail").rglob("*.json")))
    light = [wait for is_hot, wait in waits if not is_hot]
    return {
        "people": people,
        "hot": hot,
        "asked": crowd.asked,
        "refused": crowd.refused,
        "ack p50 ms": round(1000 * share(crowd.acks, 0.5), 1),
        "ack p99 ms": round(1000 * share(crowd.acks, 0.99), 1),
        "wait p50 s": round(share(light, 0.5), 2),
        "wait p95 s": round(share(light, 0.95), 2),
        "hot wait p95 s": round(share([wait for is_hot, wait in waits if is_hot], 0.95), 2) if hot else None,
        "latest letter s": round(late or 0.0, 2),
        "lost": len(crowd.acks) - sum(ends.get(state, 0) for state in ("completed", "cancelled")) + jobs - letters,
    }


def share(values: Sequence[float], part: float) -> float:
    """The value that this part of all are below."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0


async def main() -> None:
    """Every crowd, without and with somebody hot."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--people", type=int, nargs="+", default=[10, 100, 500])
    words.add_argument("--seconds", type=float, default=600.0)
    asked = words.parse_args()
    rows = [await measure(people, asked.seconds, hot) for people in asked.people for hot in (False, True)]
    table(rows)
    keep("load", {"seconds": asked.seconds, "rows": rows})


if __name__ == "__main__":
    asyncio.run(main())
