"""What the machine does meanwhile, in halves: CPU time of every process, the bot's memory, files, threads and loop.

Knows /proc and the bot's own metrics; nothing of people and dreams.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.scenarios.house import House

LOOK_S = 5.0
TICKS = os.sysconf("SC_CLK_TCK")
NAMED = {"bot": "bot", "tests.fakes.engine": "engine", "tests.fakes.discord": "discord", "tests.fakes.slack": "slack"}
METRICS = {"loop_lag_seconds": "loop lag s", "outbox_oldest_seconds": "outbox age s", "outbox_retries": "retries"}


@dataclass
class Watcher:
    """Looks every few seconds; `begin`, `turn` and `end` part the time in halves."""

    house: House
    bot: subprocess.Popen[bytes] | None = None
    moments: list[tuple[float, float, dict[str, float]]] = field(default_factory=list)  # wall, loop, CPU seconds
    worst: list[dict[str, float]] = field(default_factory=lambda: [{}, {}])
    memory: list[tuple[float, float]] = field(default_factory=list)  # when, bytes
    port: int = field(init=False)

    def __post_init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.house.environ["DREAMBOT_BOT_PORT"] = str(self.port)

    def begin(self) -> None:
        """The first half begins."""
        self.moments.append((time.time(), asyncio.get_running_loop().time(), cpu()))

    turn = begin
    end = begin

    def halves(self) -> list[tuple[float, float, float, float]]:
        """Wall and loop time, from and to, of either half."""
        (w0, l0, _), (w1, l1, _), (w2, l2, _) = self.moments
        return [(w0, w1, l0, l1), (w1, w2, l1, l2)]

    def half(self, second: bool) -> dict[str, Any]:
        """Shares of a core, and the worst that was seen, in one half."""
        (since, _, before), (until, _, after) = self.moments[second], self.moments[second + 1]
        cores = {f"{name} cores": round((after[name] - before.get(name, 0.0)) / (until - since), 2) for name in after}
        found = cores | {name: round(value, 3) for name, value in self.worst[second].items()}
        if second and len(self.memory) > 2:
            found["bot MB an hour"] = round(slope(self.memory) * 3600 / 1e6, 1)
        return found

    async def run(self) -> None:
        """For ever."""
        async with aiohttp.ClientSession() as session:
            while True:
                await asyncio.sleep(LOOK_S)
                await self.look(session)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Once."""
        worst = self.worst[len(self.moments) > 1]
        async with session.get(f"http://127.0.0.1:{self.port}/metrics") as response:
            page = await response.text()
        found = {shown: value(page, f"dreambot_{name}") for name, shown in METRICS.items()}
        found["WAL MB"] = size(self.house.settings.path.with_name("dreambot.db-wal")) / 1e6
        if self.bot is not None:
            found["bot files"], found["bot threads"] = entries(self.bot.pid, "fd"), entries(self.bot.pid, "task")
            found["bot MB"] = value(page, "process_resident_memory_bytes") / 1e6
            self.memory.append((time.time(), found["bot MB"] * 1e6))
        worst.update({name: max(number, worst.get(name, 0.0)) for name, number in found.items()})


def cpu() -> dict[str, float]:
    """CPU seconds so far of this process and of each child, by what it is."""
    own = os.times()
    found = {"crowd": own.user + own.system}
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        name = NAMED.get(words[2].decode()) if len(words) > 2 else None
        if name:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[name] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def value(page: str, name: str) -> float:
    """One number of a page of metrics."""
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def entries(pid: int, what: str) -> float:
    """How many of something a process has."""
    return float(len(list(Path(f"/proc/{pid}/{what}").iterdir())))


def size(path: Path) -> int:
    """Bytes of a file that may not be there."""
    return path.stat().st_size if path.exists() else 0


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares, in units a second, over the second half of the points: the first pays for what is loaded once."""
    late = points[len(points) // 2 :]
    at, of = sum(x for x, _ in late) / len(late), sum(y for _, y in late) / len(late)
    spread = sum((x - at) ** 2 for x, _ in late)
    return sum((x - at) * (y - of) for x, y in late) / spread if spread else 0.0
