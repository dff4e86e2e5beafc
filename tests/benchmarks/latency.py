"""How soon a dream is seen, alone and in a crowd: `python -m tests.benchmarks.latency`, embedded pack.

Every dream goes the whole way, through a store, the queue and an engine process. The baseline is the dream alone in the
same run; the crowd is read as a ratio to it. Prints a table and writes results/latency-HOST.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from storage.job import Job
from tests.benchmarks.contact_sheet import RESULTS
from tests.scenarios.house import House, open_house

ALONE, CROWD = 10, 8


def times(jobs: list[Job]) -> dict[str, float]:
    """Medians over jobs, in seconds since each was submitted."""
    return {
        "first_image": statistics.median(j.first_image_at - j.created_at for j in jobs if j.first_image_at),
        "total": statistics.median(j.finished_at - j.created_at for j in jobs if j.finished_at),
    }


async def measure(house: House) -> dict[str, Any]:
    """One start, ten dreams one after another, eight at once."""
    began = time.perf_counter()
    house.start_engine()
    await house.engine_ready()
    start = time.perf_counter() - began
    alone = []
    for seed in range(ALONE):
        alone += await house.finished([await house.submit(pack="embedded", seed=seed, candidates=100)])
    began = time.perf_counter()
    crowd = [await house.submit(f"u{i}", pack="embedded", seed=100 + i, candidates=100) for i in range(CROWD)]
    crowd = await house.finished(crowd)
    elapsed = time.perf_counter() - began
    one = times(alone)
    return {
        "engine_start": start,
        "alone": one,
        "crowd": times(crowd),
        "crowd_seconds_per_dream": elapsed / CROWD,
        "crowd_against_alone": elapsed / CROWD / one["total"],
        "trace": alone[0].trace,
    }


def main() -> None:
    """Measure, print, write."""

    async def run(folder: Path) -> dict[str, Any]:
        async with open_house(folder / "home", folder) as house:
            house.environ["DREAMBOT_THREADS"] = "0"
            return await measure(house)

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder)))
    found["machine"] = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }
    print(f"engine start to ready      {found['engine_start']:.2f} s")
    for name in ("alone", "crowd"):
        print(f"{name:<6} first image {found[name]['first_image']:.3f} s   total {found[name]['total']:.3f} s")
    each, ratio = found["crowd_seconds_per_dream"], found["crowd_against_alone"]
    print(f"crowd of {CROWD}: {each:.3f} s a dream, {ratio:.2f} of alone")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"latency-{os.cpu_count()}-cores.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
