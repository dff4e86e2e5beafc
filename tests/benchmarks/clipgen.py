"""What the cache of keys and values saves: `python -m tests.benchmarks.clipgen [--full]`, random weights.

The same tokens are drawn with the cache and as the published program draws them, everything computed again for every
token; both must agree, and the ratio of their seconds is what counts. Shapes: the embedded pack's by default, the
published GPT's (337 M weights, 256 tokens) with --full, whose uncached way is timed at a few places and summed up.
Prints a table and writes results/clipgen-CORES-cores.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.generators.gpt import GPT, Choice, Size, draw
from engine.rng import rng_for

RESULTS = Path(__file__).parent / "results"
SMALL = Size(codes=512, length=64, condition=256, width=128, hidden=512, depth=4, heads=2)
ROWS, PLACES = 16, 8  # candidates at once; places at which the published shape's uncached step is timed


def uncached(gpt: GPT, condition: Tensor, chance: Tensor, choice: Choice) -> Tensor:
    """The published loop: every token costs the whole sequence."""
    tokens = torch.zeros(len(condition), 0, dtype=torch.long)
    for column in chance.T:
        tokens = torch.cat([tokens, draw(gpt(tokens, condition)[:, -1], column, choice)[:, None]], 1)
    return tokens


def uncached_seconds(gpt: GPT, condition: Tensor) -> float:
    """What the whole loop would take, from PLACES of its steps; the time of a step is all but linear in between."""
    length = gpt.size.length
    spent = []
    for place in range(0, length, length // PLACES):
        began = time.perf_counter()
        gpt(torch.zeros(len(condition), place, dtype=torch.long), condition)
        spent.append(time.perf_counter() - began)
    return sum(spent) / len(spent) * length


@torch.inference_mode()
def measure(size: Size, rows: int, whole: bool) -> dict[str, Any]:
    """Seconds of both ways for `rows` pictures' tokens, and their ratio."""
    torch.manual_seed(0)
    gpt = GPT(size).eval()
    condition = torch.nn.functional.normalize(torch.randn(rows, size.condition))
    chance = torch.stack([torch.from_numpy(rng_for(0, "tokens", row).uniforms(size.length)) for row in range(rows)])
    choice = Choice()
    gpt.begin(condition)  # warm
    began = time.perf_counter()
    cached = gpt.sample(condition, chance, choice)
    with_cache = time.perf_counter() - began
    began = time.perf_counter()
    if whole:
        assert torch.equal(uncached(gpt, condition, chance, choice), cached)
        without = time.perf_counter() - began
    else:
        without = uncached_seconds(gpt, condition)
    weights = sum(weight.numel() for weight in gpt.parameters())
    return {"weights": weights, "tokens": size.length, "rows": rows, "cached": with_cache, "uncached": without}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.clipgen", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the published shape, too: 1.4 GB and minutes")
    full = parser.parse_args().full
    found = {"embedded": measure(SMALL, ROWS, whole=True)}
    if full:
        found["published"] = measure(Size(), 2, whole=False)
    for name, row in found.items():
        row["ratio"] = row["uncached"] / row["cached"]
        print(
            f"{name:<10} {row['weights'] / 1e6:6.1f} M weights, {row['tokens']} tokens x {row['rows']}:"
            f" cached {row['cached']:.2f} s, uncached {row['uncached']:.2f} s, ratio {row['ratio']:.1f}"
        )
    machine = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "load": os.getloadavg()}
    path = RESULTS / f"clipgen-{os.cpu_count()}-cores.json"
    path.write_text(json.dumps(found | {"machine": machine}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
