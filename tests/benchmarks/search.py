"""Candidates a second: `python -m tests.benchmarks.search [--candidates 128] [--home HOME]`, embedded pack.

The baseline is the published loop: batches of 16, fp32, eager, plain open_clip, every picture drawn for this prompt.
Ours without a bank, and from a bank (that of HOME, as far as it has grown). CPU seconds, text encoding left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.batcher import Batcher
from engine.clip import _create
from engine.generators import ARCHITECTURES
from engine.latents import LatentSpace
from engine.methods import METHODS, Found
from engine.packs import find_packs
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from storage.job import Caller, Job, Params, State
from tests.benchmarks.common import keep, table

BATCH = 16


def published(space: LatentSpace, candidates: int) -> float:
    """CPU seconds of the published loop."""
    pack = find_packs()["embedded"]
    assert pack.generator is not None
    generator: Any = ARCHITECTURES["embedded"](pack.generator.checked())
    clip = _create(pack.scorer).eval()
    side, text = clip.visual.image_size, torch.from_numpy(space.word_embeddings[0])
    side = side[0] if isinstance(side, tuple) else side
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (clip.visual.image_mean, clip.visual.image_std))
    best: list[float] = []
    began = time.process_time()
    with torch.no_grad():
        for first in range(0, candidates, BATCH):
            latents = space.draw(first, range(len(space.labels)), range(BATCH))
            pictures = generator(torch.from_numpy(latents.z), generator.embed(torch.from_numpy(latents.classes)))
            unit = (F.interpolate(pictures, size=side, mode="bilinear") + 1) / 2
            best += (F.normalize(clip.encode_image((unit - mean) / std), dim=-1) @ text).tolist()
    np.argsort(best)
    return time.process_time() - began


def ours(runner: ModelRunner, space: LatentSpace, candidates: int) -> float:
    """CPU seconds of a whole search: texts, candidates, the kept picture rendered and measured twice."""
    batcher = Batcher(
        run=runner.run, start=lambda j, past: METHODS[j.params.method].run(j, space, past), room=1, step_s=9
    )
    params = Params(prompt="a photo of a lemon", seed=7, candidates=candidates)
    began = time.process_time()
    batcher.add(Job(id="a", caller=Caller(user="", name=""), params=params, state=State.RUNNING, created_at=0.0))
    while batcher.has_work:
        for happening in batcher.step():
            if isinstance(happening.what, Exception):
                raise happening.what
            if isinstance(happening.what, Found):
                return time.process_time() - began
    raise AssertionError("it never ended")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=128)
    parser.add_argument("--home", type=Path)
    asked = parser.parse_args()
    runner = ModelRunner(find_packs(), choose_device(EngineSettings()), asked.home / "cache" if asked.home else None)
    space, count = runner.space("embedded"), asked.candidates
    ways = {"published loop": lambda: published(space, count), "ours, live": lambda: ours(runner, space, count)}
    if space.bank is not None and space.bank.built:
        kept = space.at(space.bank.size)
        ways["ours, bank"] = lambda: ours(runner, kept, count)
    rows: list[dict[str, Any]] = []
    for name, way in ways.items():
        cpu = min(way() for _ in range(3))
        rows.append({"way": name, "cpu_s": cpu, "candidates_a_second": count / cpu})
    for row in rows:
        row["ratio"] = rows[0]["cpu_s"] / row["cpu_s"]
    table(rows)
    keep("search", {"candidates": count, "bank": space.bank.built if space.bank else 0, "rows": rows})


if __name__ == "__main__":
    main()
