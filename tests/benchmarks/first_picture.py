"""How soon something is seen: `python -m tests.benchmarks.first_picture [--times 20]`, embedded pack, whole way.

Seconds from submit to the first progress event with a picture, with an idle queue and a warm engine, and with eight
dreams of three other people running, each of 50 views a step. The baseline is the idle queue without the bank, in the
same run.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from storage.events import Kind
from storage.job import State
from tests.benchmarks.common import keep, table
from tests.scenarios.house import House, open_house

RUNNING, STEPS = 8, 2_000


async def first(house: House, **params: Any) -> float:
    """Seconds of one dream to its first picture; it is waited for to its end."""
    job = await house.submit("asker", pack="embedded", **({"candidates": 100} | params))
    await house.until(lambda e: e.kind is Kind.PROGRESSED and e.job == job.id and bool(e.data.get("preview")))
    (done,) = await house.finished([job])
    assert done.first_image_at is not None
    return done.first_image_at - done.created_at


async def measure(home: Path, times: int, entries: int, bank: Path | None) -> list[dict[str, Any]]:
    """A row a situation."""
    rows = []
    if bank is not None:
        shutil.copytree(bank / "cache" / "bank", home / "cache" / "bank")
    async with open_house(home, home / "no-packs", DREAMBOT_BANK=str(entries)) as house:
        house.environ["DREAMBOT_THREADS"] = "0"
        house.start_engine()
        await house.engine_ready()
        await _grown(home, entries)
        await first(house)
        situations: list[tuple[str, int, dict[str, Any]]] = [
            ("idle, no bank", times // 2, {"bank": False}),
            ("idle", times, {}),
            ("idle, fusedream", times // 2, {"method": "fusedream", "steps": 5}),
        ]
        for name, often, params in situations:
            rows.append(_row(name, [await first(house, seed=seed, **params) for seed in range(often)]))
        crowd = [
            await house.submit(
                f"u{i % 3}", pack="embedded", method="fusedream", steps=STEPS, seed=i, parity="fusedream", candidates=1
            )
            for i in range(RUNNING)
        ]
        for job in crowd:
            await house.until(lambda e, job=job: e.kind is Kind.PROGRESSED and e.job == job.id)  # type: ignore[misc]
        busy = [await first(house, seed=seed) for seed in range(times)]
        ended = [job for job in crowd if (await house.job(job.id)).state is not State.RUNNING]
        rows.append(_row(f"{RUNNING - len(ended)} running", busy))
    for row in rows:
        row["ratio"] = rows[0]["median_s"] / row["median_s"]
    return rows


async def _grown(home: Path, entries: int) -> None:
    while True:
        sizes = [path.stat().st_size for path in home.rglob("*.bank")]  # noqa: ASYNC240
        if entries == 0 or (sizes and sizes[0] >= 512 * entries):
            return
        await asyncio.sleep(0.5)


def _row(name: str, seconds: list[float]) -> dict[str, Any]:
    p50, p95 = (float(np.percentile(seconds, q)) for q in (50, 95))
    return {"situation": name, "times": len(seconds), "median_s": p50, "p95_s": p95}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--entries", type=int, default=8_192)
    parser.add_argument("--bank", type=Path, help="a home whose bank is taken instead of drawing one first")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "no-packs").mkdir()
        rows = asyncio.run(measure(Path(folder), asked.times, asked.entries, asked.bank))
    table(rows)
    keep("first_picture", {"entries": asked.entries, "rows": rows})


if __name__ == "__main__":
    main()
