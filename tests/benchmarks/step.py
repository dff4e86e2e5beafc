"""One climbing step at equal work: `python -m tests.benchmarks.step [--views 50] [--times 3]`.

BigGAN-256's layout and ViT-B/32 with random weights, 50 views, forward and backward. The baseline is the parity path:
fp32, eager, plain open_clip, views at the picture's size and then resized. Told as CPU seconds, which other processes
disturb least, with the gradients' cosine and the achieved FLOP/s over the machine's own matrix-product rate.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import torch
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.augment import augment_published, draw_views
from engine.climbing import GROUP, slopes_of
from engine.clip import Clip
from engine.generators.biggan import BigGan, Shape
from engine.latents import Latents
from engine.loaded import Device, LoadedPack
from engine.ops import Climb, Preprocess, Slope
from tests.benchmarks.common import keep, machine, table

GFLOP_A_VIEW, GFLOP_A_PICTURE = 8.818 + 8.910, 160.99 + 176.61  # there and back, counted on meta tensors
SIDE = 4096  # of the matrices whose product is the machine's rate


def networks() -> tuple[BigGan, torch.nn.Module]:
    """Random weights whose picture is not flat."""
    torch.manual_seed(0)
    generator = BigGan(Shape(256, 20)).eval().requires_grad_(False)
    clip = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval().requires_grad_(False)
    return generator, clip


def ours(generator: BigGan, clip: torch.nn.Module, dtype: torch.dtype) -> LoadedPack:
    """The engine's own path over these networks, without a pack's files."""
    loaded, tower = object.__new__(LoadedPack), object.__new__(Clip)
    place = torch.device("cpu")
    loaded.device = Device(place, dtype, torch.get_num_threads())
    loaded.__dict__["generator"] = copy.deepcopy(generator).to(dtype=dtype, memory_format=torch.channels_last)
    tower.adopt(copy.deepcopy(clip), place, dtype)
    loaded.scorer = tower
    return loaded


def parity(generator: BigGan, clip: torch.nn.Module, op: Climb) -> Slope:
    """As the official code has it: everything in fp32, views at full size, then resized for CLIP."""
    z = torch.from_numpy(op.latents.z).requires_grad_()
    y = torch.from_numpy(op.latents.y).requires_grad_()
    picture = generator(z, y)
    draws = draw_views(op.seed, op.first, op.rows, GROUP)
    views = augment_published(picture.expand(op.rows, -1, -1, -1), draws)
    unit = (F.interpolate(views, size=224, mode="bilinear") + 1) / 2
    published = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in published)
    seen = F.normalize(clip.encode_image((unit - mean) / std), dim=-1)
    score = (seen @ torch.from_numpy(op.text)).mean()
    to_z, to_y = torch.autograd.grad(score, (z, y))
    return Slope(float(score), to_z[0].numpy(), to_y[0].numpy())


def spent(work: Callable[[], Any], times: int) -> tuple[float, float, Any]:
    """Least CPU seconds and least seconds of `times`, after one that warms up; and what it gave."""
    found, cpu, wall = work(), [], []
    for _ in range(times):
        began, at = time.process_time(), time.perf_counter()
        found = work()
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - at)
    return min(cpu), min(wall), found


def rate(dtype: torch.dtype) -> float:
    """GFLOP a CPU second of a large matrix product."""
    one = torch.randn(SIDE, SIDE).to(dtype)
    cpu, _, _ = spent(lambda: one @ one, 2)
    return 2 * SIDE**3 / cpu / 1e9


def cosines(one: Slope, other: Slope) -> dict[str, float]:
    """Of the gradients in z, in y, and in both in a row."""
    parts = {"z": (one.z, other.z), "y": (one.y, other.y)}
    parts["both"] = (np.concatenate([one.z, one.y]), np.concatenate([other.z, other.y]))
    return {
        f"cosine_{name}": float(F.cosine_similarity(torch.from_numpy(a), torch.from_numpy(b), dim=0))
        for name, (a, b) in parts.items()
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=50)
    parser.add_argument("--times", type=int, default=2)
    asked = parser.parse_args()
    if not machine()["amx"]:
        print("This machine has no AMX: bf16 gains little here, and the ratios below are not the ones meant.")
    generator, clip = networks()
    rng = np.random.default_rng(0)
    latents = Latents(
        rng.standard_normal((1, generator.dim_z)).astype(np.float32),
        np.zeros(1, np.int64),
        generator.embed(torch.zeros(1, dtype=torch.long)).detach().numpy(),
    )
    text = rng.standard_normal(512).astype(np.float32)
    op = Climb("random", latents, text / np.linalg.norm(text), 0, 0, asked.views)
    work = GFLOP_A_VIEW * asked.views + GFLOP_A_PICTURE
    same = Climb(op.pack, op.latents, op.text, op.seed, op.first, op.rows, Preprocess.FUSEDREAM)
    rows, slopes = [], {}
    for name, dtype in (("parity fp32", torch.float32), ("ours fp32", torch.float32), ("ours bf16", torch.bfloat16)):
        if name == "parity fp32":
            cpu, wall, slopes[name] = spent(lambda: parity(generator, clip, same), asked.times)
        else:
            loaded = ours(generator, clip, dtype)
            cpu, wall, (slopes[name],) = spent(lambda: slopes_of(loaded, [op], op.rung), asked.times)  # noqa: B023
        rows.append({"path": name, "cpu_s": cpu, "wall_s": wall, "ratio": rows[0]["cpu_s"] / cpu if rows else 1.0})
        rows[-1] |= {
            "wall_ratio": rows[0]["wall_s"] / wall,
            "gflops": work / cpu,
            "of_matrix_rate": work / cpu / rate(dtype),
        }
        same_views = "ours fp32" if name.startswith("ours") else name
        rows[-1] |= cosines(slopes[same_views], slopes[name])
    table(rows)
    keep("step", {"views": asked.views, "gflop": work, "rows": rows})


if __name__ == "__main__":
    main()
