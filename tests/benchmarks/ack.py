"""How soon Discord hears "queued": `python -m tests.benchmarks.ack [ACTS]`, embedded pack, engine at nice 10.

From the moment the peer sends the interaction to the moment the acknowledgement reaches it: gateway, handler, the
durable row, and the way back. Once with an idle engine and an empty queue, once with 200 jobs in the queue and the
engine at work. Prints a table and writes results/ack-CORES-cores.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from storage.job import Caller, Params, Request
from tests.benchmarks.contact_sheet import RESULTS
from tests.fakes.discord.peer import ADA, EVE
from tests.scenarios.discord_house import DiscordHouse, open_discord_house

QUEUED, PEOPLE, NICE = 200, 20, 10


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: the median, the 99th percentile, the worst."""
    ordered = sorted(second * 1000 for second in seconds)
    last = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return {"n": len(ordered), "p50": statistics.median(ordered), "p99": last, "worst": ordered[-1]}


async def acknowledged(discord: DiscordHouse, acts: int, who: str) -> list[float]:
    """Seconds to the acknowledgement of one dream after another; each is cancelled, so that the queue stays as long."""
    found = []
    for number in range(acts):
        act = await discord.peer.command("dream", prompt=f"a lemon {number}", candidates=10, who={"user": who})
        found.append(float((await discord.peer.ack(act))["after_s"]))
        for job in await discord.house.queue.waiting(10_000):
            if job.caller.user == who:
                await discord.house.queue.cancel(job.id, job.caller)
    return found


async def fill(discord: DiscordHouse) -> None:
    """Two hundred waiting jobs of many people, each long enough to keep the engine busy."""
    for number in range(QUEUED):
        caller = Caller(user=f"u{number % PEOPLE}", name=f"u{number % PEOPLE}", guild="crowd")
        params = Params(prompt="a photo of a lemon", seed=number, candidates=2_000)
        await discord.house.queue.submit(Request(caller=caller, params=params))


def be_nice(process: int) -> None:
    """Every thread that there is, and so every one to come, gives way to the bot, as `serve` has it."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE)


async def measure(discord: DiscordHouse, acts: int) -> dict[str, Any]:
    """Idle, then busy."""
    await discord.start_bot()
    engine = await discord.start_engine()
    be_nice(engine.pid)
    await acknowledged(discord, 3, ADA)  # the first ones pay for what is loaded lazily
    await discord.house.queue.pause()
    idle = await acknowledged(discord, acts, ADA)
    await fill(discord)
    await discord.house.queue.resume()
    await discord.house.until(lambda event: event.kind.value == "progressed")
    busy = await acknowledged(discord, acts, EVE)
    waiting = len(await discord.house.queue.waiting(10_000))
    return {"idle": quantiles(idle), "busy": quantiles(busy), "waiting_at_the_end": waiting}


def main() -> None:
    """Measure, print, write."""
    acts = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    before = os.getloadavg()

    async def run(folder: Path) -> dict[str, Any]:
        async with open_discord_house(folder / "home", folder, DREAMBOT_PROGRESS_S="2") as discord:
            discord.house.environ["DREAMBOT_THREADS"] = "0"
            return await measure(discord, acts)

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder)))
    found["machine"] = {"cores": os.cpu_count(), "load_before": before, "load_after": os.getloadavg()}
    for name in ("idle", "busy"):
        one = found[name]
        print(f"engine {name}: p50 {one['p50']:.0f} ms   p99 {one['p99']:.0f} ms   worst {one['worst']:.0f} ms")
    print("load before", before)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"ack-{os.cpu_count()}-cores.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
