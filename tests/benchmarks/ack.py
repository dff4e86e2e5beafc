"""How soon a chat hears "queued": `python -m tests.benchmarks.ack [SURFACE …] [--acts N]`, embedded pack, `serve`.

From the moment the peer sends the command to the moment the acknowledgement has reached it: wire, handler, the durable
row, and the way back; what the peer checks after that is not counted. Bot and engine are started by `dreambot serve`.
Once with an idle engine and an empty queue, once with 200 jobs in the queue and the engine at work on every core. A
command comes a moment after the last one's job was cancelled, so that the queue stays as long and the engine has the
cores again; how much of them it had is told, too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.job import Caller, Params, Request
from tests.benchmarks.common import keep, table
from tests.fakes.discord.peer import ADA
from tests.fakes.slack.workspace import ADA as SLACK_ADA
from tests.scenarios.discord_house import open_discord_house
from tests.scenarios.house import House
from tests.scenarios.slack import scene

QUEUED, PEOPLE, CANDIDATES = 200, 20, 2_000
PAUSE_S = 0.25
SURFACES = ("discord", "slack", "slack-http")


@dataclass(frozen=True)
class Door:
    """A surface, and how somebody asks there."""

    house: House
    ready: Callable[[], Awaitable[None]]
    ask: Callable[[str], Awaitable[float]]  # seconds to the acknowledgement
    who: str


@asynccontextmanager
async def discord(folder: Path) -> AsyncIterator[Door]:
    """The gateway and the interaction's callback."""
    async with open_discord_house(folder / "home", folder, **environ()) as play:

        async def ask(prompt: str) -> float:
            act = await play.peer.command("dream", prompt=prompt, candidates=10)
            return float((await play.peer.ack(act))["after_s"])

        yield Door(play.house, play.peer.ready, ask, ADA)


@asynccontextmanager
async def slack(folder: Path, http: bool = False) -> AsyncIterator[Door]:
    """Socket Mode, or signed HTTP."""
    async with scene(folder / "home", folder, http=http, **environ()) as play:

        async def ask(prompt: str) -> float:
            ack = await play.slack.slash(f"{prompt} --candidates 10")
            assert ack["acked"], ack
            return float(ack["after_s"])

        yield Door(play.house, play.heard, ask, SLACK_ADA)


def environ() -> dict[str, str]:
    """As by default, but for the bank, which would make "idle" and "busy" a matter of when one looks."""
    return {"DREAMBOT_BANK": "0", "DREAMBOT_PROGRESS_S": "2"}


async def acknowledged(door: Door, acts: int) -> list[float]:
    """Seconds to the acknowledgement of one dream after another."""
    found = []
    for number in range(acts):
        found.append(await door.ask(f"a lemon {number}"))
        for job in await door.house.queue.history(Caller(user=door.who, name="", surface=surface_of(door)), 1):
            await door.house.queue.cancel(job.id, job.caller)
        await asyncio.sleep(PAUSE_S)
    return found


def surface_of(door: Door) -> str:
    """As the store names it."""
    return "slack" if door.who == SLACK_ADA else "discord"


async def fill(house: House) -> None:
    """Two hundred waiting jobs of many people, each long enough to keep the engine busy."""
    for number in range(QUEUED):
        caller = Caller(user=f"u{number % PEOPLE}", name=f"u{number % PEOPLE}", guild="crowd")
        params = Params(prompt="a photo of a lemon", seed=number, candidates=CANDIDATES)
        await house.queue.submit(Request(caller=caller, params=params))


async def measure(door: Door, acts: int) -> dict[str, Any]:
    """Idle, then busy."""
    door.house.environ["DREAMBOT_THREADS"] = "0"  # one a core
    serving = door.house.serve()
    await door.ready()
    engine = await door.house.beating_engine()
    await acknowledged(door, 3)  # the first ones pay for what is loaded lazily
    await door.house.queue.pause()
    before = os.getloadavg()[0]
    idle = await acknowledged(door, acts)
    await fill(door.house)
    await door.house.queue.resume()
    await door.house.until(lambda event: event.kind.value == "progressed")
    began, used = time.perf_counter(), seconds_of(engine)
    busy = await acknowledged(door, acts)
    cores = round((seconds_of(engine) - used) / (time.perf_counter() - began), 2)
    waiting = len(await door.house.queue.waiting(10_000))
    serving.terminate()
    await asyncio.to_thread(serving.wait)
    told = {"load_before": before, "engine_cores_while_busy": cores, "waiting_at_the_end": waiting}
    return told | {"idle": quantiles(idle), "busy": quantiles(busy)}


def seconds_of(process: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: the median, the 99th percentile (of 100 the second largest), the worst."""
    ordered = sorted(round(second * 1000, 1) for second in seconds)
    last = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return {"n": len(ordered), "p50": statistics.median(ordered), "p99": last, "worst": ordered[-1]}


async def on(surface: str, acts: int) -> dict[str, Any]:
    """One surface, in a home of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opened = discord(folder) if surface == "discord" else slack(folder, http=surface == "slack-http")
        async with opened as door:
            return await measure(door, acts)


def main() -> None:
    """Measure, print, write."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("surface", nargs="*", choices=[*SURFACES, []], default=[])
    words.add_argument("--acts", type=int, default=100)
    asked = words.parse_args()
    found = {surface: asyncio.run(on(surface, asked.acts)) for surface in asked.surface or SURFACES}
    rows = [(surface, engine, one[engine]) for surface, one in found.items() for engine in ("idle", "busy")]
    table([{"surface": surface, "engine": engine, **figures} for surface, engine, figures in rows])
    keep("ack", found)


if __name__ == "__main__":
    main()
