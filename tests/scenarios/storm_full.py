"""Crash storm A: bot and engines on both platforms under kill -9, with a fifth of the commands delivered twice.

Knows how processes are killed and what must hold afterwards; how long and how often, its callers say: a test, and
`python -m tests.benchmarks.storm a`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import itertools
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from storage.database import sqlite_connection
from storage.events import Kind
from tests.scenarios.full_house import CHANNELS, ENGINE, PEOPLE, FullHouse, open_full_house

ENGINES = 2
START_S = 60.0  # what has not started by then is killed all the same
PROMPTS = "SELECT json_extract(params, '$.prompt') FROM job"
COMPLETED = "SELECT job FROM event WHERE kind = ?"


class Storm:
    """Processes that are killed and started again."""

    def __init__(self, full: FullHouse, dice: random.Random) -> None:
        self.full, self.dice, self.kills = full, dice, Counter[str]()
        self._living: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """A process of that name."""
        self._living[name] = self.full.house.start_engine("bot" if name == "bot" else ENGINE)

    async def kill(self, name: str) -> None:
        """kill -9, start it again at once, and wait until it is at work."""
        process = self._living[name]
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        self.kills[name.split()[0]] += 1
        await self.full.discord.look()
        since, seen = await self.full.house.feed.head(), len(self.full.discord.entries)
        self.start(name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await (self.full.discord.ready(seen) if name == "bot" else self.full.house.engine_ready(since))

    async def strike(self, names: list[str], enough: Callable[[], bool], moment_s: float) -> None:
        """One of these by chance, some moments after the last one was at work again."""
        while not enough():
            await asyncio.sleep(self.dice.uniform(0.0, moment_s))  # a random moment is what is tested
            await self.kill(self.dice.choice(names))


async def storm_a(home: Path, *, seconds: float, kills: int, each: int, crowd: int) -> dict[str, Any]:
    """So long, with so many kills of all and of either kind, and `crowd` people on each platform; its figures.

    AssertionError unless 0 acknowledged dreams are lost, 0 delivered twice, 0 pictures broken and the store is sound.
    """
    dice = random.Random(7)
    async with open_full_house(home) as full:
        storm, over, began = Storm(full, dice), asyncio.Event(), time.monotonic()
        engines = [f"engine {number}" for number in range(ENGINES)]
        for name in ("bot", *engines):
            storm.start(name)
        await full.discord.ready()

        def enough() -> bool:
            done = storm.kills.total() >= kills and min(storm.kills["bot"], storm.kills["engine"]) >= each
            return time.monotonic() > began + seconds and done

        clocks = asyncio.create_task(full.clocks(over))
        asking = [asyncio.create_task(person) for person in people(full, crowd, over, dice)]
        await asyncio.gather(storm.strike(engines, enough, 2.0), storm.strike(["bot"], enough, 8.0))
        struck = time.monotonic() - began
        over.set()
        await asyncio.gather(*asking, clocks)
        named = await settled(full)
        told = await check(full, named)
        times = {"seconds": round(struck), "settled after": round(time.monotonic() - began - struck)}
        return {"kills": dict(storm.kills), "asked": full.asked, "acknowledged": len(named), **told, **times}


def people(full: FullHouse, crowd: int, over: asyncio.Event, dice: random.Random) -> list[asyncio._CoroutineLike[None]]:
    """So many on each platform, on Discord in several channels."""
    found = []
    for number in range(crowd):
        who = {"user": PEOPLE[number % len(PEOPLE)], "channel": CHANNELS[number % len(CHANNELS)]}
        for place, ask in (("discord", functools.partial(full.ask_discord, who=who)), ("slack", full.ask_slack)):
            found.append(full.person(f"{place} {number}", itertools.repeat(ask), over, twice(dice)))
    return found


def twice(dice: random.Random) -> Iterator[bool]:
    """Which commands the platform delivers twice: one in five."""
    while True:
        yield dice.random() < 0.2


async def settled(full: FullHouse) -> set[str]:
    """Every job that a person was told of, once no job is unfinished and no reply is owed."""
    over = asyncio.Event()
    clocks = asyncio.create_task(full.clocks(over))
    async with asyncio.timeout(full.house.patience_s):
        while await unfinished(full):
            await full.house.feed.changed(0.5)
    over.set()
    await clocks
    return await full.named()


async def unfinished(full: FullHouse) -> bool:
    """Whether anything is still to be done or told."""
    queue, owed = full.house.queue, full.house.outbox
    return bool(await queue.waiting() or await queue.running() or await owed.unsent(["discord", "slack"]))


async def check(full: FullHouse, named: set[str]) -> dict[str, int]:
    """The "nothing lost" predicate, from the peers' ledgers and the store."""
    home = full.house.settings.home
    with sqlite_connection(home / "dreambot.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        states = dict(connection.execute("SELECT id, state FROM job").fetchall())
        prompts = Counter(prompt for (prompt,) in connection.execute(PROMPTS))
        pictures = [sha256 for (sha256,) in connection.execute("SELECT sha256 FROM image")]
        ends = Counter(job for (job,) in connection.execute(COMPLETED, (Kind.COMPLETED.value,)))
        owed = connection.execute("SELECT count(*) FROM outbox WHERE sent_at IS NULL").fetchone()
        (attempts,) = connection.execute("SELECT sum(attempt) FROM job").fetchone()
    assert named - set(states) == set()  # nothing that was acknowledged is lost
    assert {job for job, state in states.items() if state != "completed"} == set()
    assert set(ends.values()) == {1}
    assert set(prompts.values()) == {1}  # however often a command was delivered
    assert owed == (0,)
    assert [s for s in pictures if not whole(home / "images" / s[:2] / f"{s}.png", s)] == []
    finals = await full.finals()
    assert {job: count for job, count in finals.items() if count > 1} == {}
    assert set(states) - set(finals) == set()  # each is told
    lost = len(full.answered - set(prompts))  # a command that Slack saw answered has its row
    return {
        "completed": len(states),
        "told": len(finals),
        "pictures": len(pictures),
        "attempts": attempts,
        "acks without a row": lost,
    }


def whole(path: Path, sha256: str) -> bool:
    """Whether a picture is what its name says."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
