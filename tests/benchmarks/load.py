"""A crowd at the door: `python -m tests.benchmarks.load [--people 10 100 500] [--seconds 600]`, on both platforms.

Open loop: everybody asks at random moments (Poisson), each once in `EVERY_S` on average and half of them on either
platform, whether or not the last answer has come. In the second half of the time there is one person more, on Discord,
who alone asks for as much as 500 do. 70 % one picture, 20 % four, 10 % are cancelled, and an admin looks at the queue.
The bot, both peers and an engine of eight seats that takes `JOB_S` for a dream and no torch are a process each; the
peers' ledgers are the truth that the store is held against. A crowd whose answers took longer than a
second ends it: a larger one would only be slower.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.database import sqlite_connection
from tests.benchmarks.common import keep, table
from tests.benchmarks.load_people import HOT, HOT_ID, People
from tests.benchmarks.load_watch import Watcher
from tests.scenarios.full_house import ENGINE, FullHouse, open_full_house
from tests.scenarios.storm_full import settled

SEATS, JOB_S, EVERY_S = 8, 1.0, 90.0
HOT_RATE = 500 / EVERY_S
JOBS = """
SELECT job.created_at, job.started_at, job.finished_at, job.state, json_extract(job.params, '$.prompt') AS prompt,
       outbox.sent_at, user.user, job.id
FROM job JOIN flow ON flow.id = job.flow_id JOIN user ON user.id = flow.user_id
LEFT JOIN outbox ON outbox.job = job.id"""


async def measure(people: int, seconds: float) -> list[dict[str, Any]]:
    """One crowd, from the first command to the last letter: a row before somebody hot comes, and one after."""
    with tempfile.TemporaryDirectory(prefix="dreambot-load-") as folder:
        environ = {"FAKE_SEATS": str(SEATS), "FAKE_JOB_S": str(JOB_S), "DREAMBOT_BALLAST_MB": "0"}
        async with open_full_house(Path(folder) / "home", **environ) as full:
            watch = Watcher(full.house)
            crowd = await served(full, people, seconds, watch)
            await settled(full)
            return await told(full, crowd, people, seconds, watch)


async def served(full: FullHouse, people: int, seconds: float, watch: Watcher) -> People:
    """The crowd, after its time."""
    crowd, over, loop = People(full, random.Random(people)), asyncio.Event(), asyncio.get_running_loop()
    await crowd.move_in(people)
    watch.bot = full.house.start_engine("bot")
    full.house.start_engine(ENGINE)
    await full.discord.ready()
    await full.house.engine_ready()
    began = loop.time()
    watch.begin()
    beside = [asyncio.create_task(one) for one in (crowd.listen(), full.clocks(over), watch.run())]
    rate = people / EVERY_S
    await crowd.come(people, rate, False, began + seconds / 2)
    watch.turn()
    end = began + seconds
    await asyncio.gather(crowd.come(people, rate, False, end), crowd.come(1, HOT_RATE, True, end))
    await crowd.all_heard()
    watch.end()
    over.set()
    for task in (beside[0], beside[2]):
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    return crowd


async def told(full: FullHouse, crowd: People, people: int, seconds: float, watch: Watcher) -> list[dict[str, Any]]:
    """The table's rows."""
    with sqlite_connection(full.house.settings.path) as connection:
        jobs = connection.execute(JOBS).fetchall()
    finals = await full.finals()
    prompts = {job[4]: job for job in jobs}
    lost = [prompt for prompt in crowd.accepted if prompt not in prompts or prompts[prompt][5] is None]
    untold = [job for job in jobs if job[3] == "completed" and finals.get(job[7]) != 1]
    rows = []
    for hot, (since, until, loop_since, loop_until) in zip((False, True), watch.halves(), strict=True):
        here = [job for job in jobs if since <= job[0] < until]
        light = [job[1] - job[0] for job in here if job[1] is not None and job[6] != HOT_ID["discord"]]
        heavy = [job[1] - job[0] for job in here if job[1] is not None and job[6] == HOT_ID["discord"]]
        acks = [after for at, after in crowd.acks if loop_since <= at < loop_until]
        busy = sum(
            min(j[2], until) - max(j[1], since) for j in jobs if j[1] is not None and j[2] > since and j[1] < until
        )
        letters = [job[5] - job[2] for job in here if job[5] is not None and job[2] is not None]
        rows.append(
            {
                "people": people,
                "hot": hot,
                "asked": len(acks),
                "ack p50 ms": round(1000 * share(acks, 0.5), 1),
                "ack p99 ms": round(1000 * share(acks, 0.99), 1),
                "ack worst ms": round(1000 * max(acks, default=0.0), 1),
                "wait p50 s": round(share(light, 0.5), 3),
                "wait p95 s": round(share(light, 0.95), 3),
                "hot wait p95 s": round(share(heavy, 0.95), 2) if hot else None,
                "letter p95 s": round(share(letters, 0.95), 2),
                "seats busy": round(busy / (until - since) / SEATS, 2),
                "Jain": jain([job[6] for job in here if job[3] == "completed" and not job[4].startswith(HOT)]),
                **watch.half(hot),
                "refused": crowd.refused if hot else None,
                "unheard": crowd.unheard if hot else None,
                "lost": len(lost) if hot else None,
                "untold or twice": len(untold) if hot else None,
            }
        )
    return rows


def share(values: Sequence[float], part: float) -> float:
    """The value that this part of all are below."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def jain(served_to: Sequence[str]) -> float:
    """Jain's index of how evenly people were served; open loop, so chance alone makes it less than 1."""
    counts = Counter(served_to).values()
    return round(sum(counts) ** 2 / (len(counts) * sum(n * n for n in counts)), 3) if counts else 1.0


async def main() -> None:
    """Every crowd."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--people", type=int, nargs="+", default=[10, 100, 500])
    words.add_argument("--seconds", type=float, nargs="+", default=[600.0], help="one for all, or one for each")
    words.add_argument("--keep", action="store_true", help="write the result file")
    asked = words.parse_args()
    os.environ.pop("DREAMBOT_CONTRACTS", None)  # the peers' checks of every request are not what is measured
    times = asked.seconds * len(asked.people) if len(asked.seconds) == 1 else asked.seconds
    rows = []
    for people, seconds in zip(asked.people, times, strict=True):
        if rows and rows[-1]["ack p99 ms"] > 1_000:
            raise SystemExit("too slow for a larger crowd")
        rows += [{"seconds": seconds} | row for row in await measure(people, seconds)]
        for row in rows[-2:]:
            print(row, flush=True)
    table([{name: row[name] for name in SHOWN} for row in rows])
    if asked.keep:
        keep("load", {"rows": rows})


SHOWN = ("people", "hot", "asked", "ack p50 ms", "ack p99 ms", "wait p50 s", "wait p95 s", "hot wait p95 s", "lost")


if __name__ == "__main__":
    asyncio.run(main())
