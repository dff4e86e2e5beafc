"""Many dreams at once: `python -m tests.benchmarks.crowd [--method fusedream] [--counts 1 2 4 8 16] [--times 5]`.

Embedded pack: CPU seconds and device launches of 1, 2, 4, 8, 16 dreams together, against the same dreams one by one in
the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from engine.batcher import Batcher
from engine.codec import pixels_sha256
from engine.latents import LatentSpace
from engine.launches import Launch
from engine.methods import METHODS, Found
from engine.ops import Progress
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.job import Caller, Job, Method, Params, State
from tests.benchmarks.common import keep, table

PROMPTS = ("a lemon", "an old wooden barn", "portrait of a lion", "a goldfish", "a teapot on a table", "a pizza")


def dreams(count: int, method: Method, steps: int) -> list[Job]:
    """Different prompts and seeds."""
    return [
        Job(
            id=f"job{i}",
            caller=Caller(user="u", name="u"),
            params=Params(prompt=PROMPTS[i % len(PROMPTS)], seed=i, method=method, steps=steps),
            state=State.RUNNING,
            created_at=0.0,
        )
        for i in range(count)
    ]


def dream(runner: ModelRunner, space: LatentSpace, jobs: list[Job]) -> tuple[float, float, int, dict[str, str]]:
    """CPU seconds, seconds, launches, and the pixels' digest of each."""
    launches: list[Launch] = []

    def run(launch: Launch) -> list[Any]:
        launches.append(launch)
        return runner.run(launch)

    batcher = Batcher(
        run=run,
        start=lambda j, past: METHODS[j.params.method].run(j, space, past),
        room=len(jobs),
        step_s=EngineSettings().step_s,
    )
    for job in jobs:
        batcher.add(job)
    pixels: dict[str, str] = {}
    began, spent = time.perf_counter(), time.process_time()
    while batcher.has_work:
        for happening in batcher.step():
            if isinstance(happening.what, Found):
                first = happening.what.pictures[0].pixels
                assert first is not None
                pixels[happening.job.id] = pixels_sha256(first)
            elif not isinstance(happening.what, Progress):
                raise happening.what
    return time.process_time() - spent, time.perf_counter() - began, len(launches), pixels


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="fusedream")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--bank", type=Path, help="a home whose bank is used")
    asked = parser.parse_args()
    cache = asked.bank / "cache" if asked.bank else None
    runner = ModelRunner(find_packs(), choose_device(EngineSettings()), cache)
    space = runner.space("embedded")
    space = space.at(space.bank.size if space.bank is not None else 0)
    method, rows = Method(asked.method), []
    dream(runner, space, dreams(1, method, asked.steps))  # warm
    for count in asked.counts:
        alone, together = [], []
        for _ in range(asked.times):
            alone.append([dream(runner, space, [job]) for job in dreams(count, method, asked.steps)])
            together.append(dream(runner, space, dreams(count, method, asked.steps)))
        lone = [sum(one[0] for one in run) for run in alone]
        cpu, launches = statistics.median(run[0] for run in together), together[0][2]
        each = {key: value for one in alone[0] for key, value in one[3].items()}
        rows.append(
            {
                "dreams": count,
                "cpu_s": cpu,
                "cpu_ratio": cpu / statistics.median(lone),
                "launches": launches,
                "launch_ratio": launches / sum(one[2] for one in alone[0]),
                "same_bits": each == together[0][3],
            }
        )
    table(rows)
    keep(f"crowd-{asked.method}", {"steps": asked.steps, "times": asked.times, "rows": rows})


if __name__ == "__main__":
    main()
