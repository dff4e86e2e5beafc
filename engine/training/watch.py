"""What a person looks at while a generator trains: a sheet of its pictures, a line of figures, kept averages.

It knows the run's folder and the moving average. It changes nothing that training depends on.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine.generators.embedded import EmbeddedGenerator
from engine.training import figures
from engine.training.gan import fold
from engine.training.photographs import Photographs
from engine.training.trainer import Trainer

Image.init()  # every picture format now: a run of hours must not meet its first import late
COLUMNS = 3  # pictures of one row of the embedding in the sheet
SEED = 7


def snapshot(out: Path, trainer: Trainer) -> None:
    """Keep this moment's moving average for good."""
    part = out / "snapshot.part"
    torch.save({"slow": trainer.slow.state_dict(), "shown": trainer.shown}, part)
    part.replace(out / f"slow-{trainer.shown:08d}.pt")


def report(out: Path, trainer: Trainer, photographs: Photographs, losses: Mapping[str, float]) -> None:
    """The sheet and the line of figures of the folded moving average."""
    generator = fold(trainer.slow, batches=8, size=64, seed=SEED, fast=True)
    sheet(generator).save(out / f"sheet-{trainer.shown:08d}.png")
    line = {
        "time": time.strftime("%H:%M:%S"),
        "shown": trainer.shown,
        **losses,
        **measure(generator, trainer, photographs),
    }
    with (out / "figures.jsonl").open("a") as file:
        file.write(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}) + "\n")


def measure(generator: EmbeddedGenerator, trainer: Trainer, photographs: Photographs) -> dict[str, float]:
    """Quick figures on few pictures: to be compared with each other, not with a report's."""
    shape, count = generator.shape, trainer.recipe.per_class
    classes = torch.arange(len(shape.classes)).repeat_interleave(count)
    labels = classes * shape.variants + torch.arange(len(classes)) % shape.variants
    seen = figures.see(trainer.net, paint(generator, labels, SEED))
    right = figures.identity(seen, classes, photographs.outputs.cpu())
    return {
        "right": float(right.mean()),
        "right_least": float(right.min()),
        "variety": float(figures.variety(seen, classes).mean()),
        "frechet": figures.frechet(photographs.moments, figures.moments(seen.pooled)),
    }


@torch.no_grad()
def paint(generator: EmbeddedGenerator, labels: Tensor, seed: int, batch: int = 64) -> Tensor:
    """One picture per label, on the CPU, in [-1, 1]."""
    device = generator.start.weight.device
    source = torch.Generator().manual_seed(seed)
    pictures = []
    for part in torch.split(labels, batch):
        z = torch.randn(len(part), generator.dim_z, generator=source).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            pictures.append(generator(z, generator.embed(part.to(device))).float().cpu())
    return torch.cat(pictures)


def sheet(generator: EmbeddedGenerator) -> Image.Image:
    """A line of pictures per class, its looks side by side."""
    shape = generator.shape
    labels = torch.arange(shape.rows).repeat_interleave(COLUMNS)
    return tile(paint(generator, labels, SEED), shape.variants * COLUMNS)


def tile(pictures: Tensor, columns: int) -> Image.Image:
    """Pictures [n, 3, side, side] in [-1, 1] as one image, line by line."""
    n, _, side, _ = pictures.shape
    bytes_ = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    lines = -(-n // columns)
    whole = np.zeros((lines * side, columns * side, 3), np.uint8)
    for number, picture in enumerate(bytes_):
        top, left = side * (number // columns), side * (number % columns)
        whole[top : top + side, left : left + side] = picture
    return Image.fromarray(whole)
