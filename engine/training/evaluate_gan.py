"""Figures and sheets of the shipped generator, beside the photographs' own.

It knows the generator's file, the photographs and the bars it must reach. It does not know the run that trained it.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from engine.generators.embedded import EmbeddedGenerator, load
from engine.training import figures
from engine.training.data import tiny_imagenet, tiny_imagenet_indices
from engine.training.export import PACK
from engine.training.features import BACKGROUND, MobileNet
from engine.training.figures import Seen
from engine.training.table import Figure
from engine.training.watch import paint, sheet, tile
from engine.training.world import load_world

PER_CLASS = 50  # as many as there are validation photographs: the Fréchet distance depends on the count
SEED = 101
NEIGHBOURS = 24
BARS = {"identity": 0.80, "least": 0.40, "variety share": 0.75, "Fréchet multiple": 2.0}


@dataclass(frozen=True, slots=True)
class Set:
    """Pictures with their classes and what the network saw in them."""

    pictures: Tensor  # [n, 3, 64, 64] in [-1, 1]
    classes: Tensor
    seen: Seen


def measure(folder: Path, cache: Path, sheets: Path) -> list[Figure]:
    """All figures; writes `classes.png` and `neighbours.png` into `sheets`."""
    net = MobileNet.load(folder)
    world = load_world()
    outputs = torch.tensor([tiny_imagenet_indices(folder)[label.tiny] + BACKGROUND for label in world])
    train, val = (_photographs(folder, split, cache, net) for split in ("train", "val"))
    generator = load(PACK)
    fakes = _fakes(generator, net)
    sheets.mkdir(parents=True, exist_ok=True)
    sheet(generator).save(sheets / "classes.png")
    _neighbours(fakes, train).save(sheets / "neighbours.png")
    return [*_identity(fakes, val, outputs), *_spread(fakes, train, val), _copying(fakes, train, val)]


def _photographs(folder: Path, split: str, cache: Path, net: MobileNet) -> Set:
    world = load_world()
    places = {label.tiny: number for number, label in enumerate(world)}
    whole = tiny_imagenet(folder, "train" if split == "train" else "val", [label.tiny for label in world], cache)
    pictures = torch.from_numpy(whole.pictures).permute(0, 3, 1, 2).contiguous()
    classes = torch.tensor([places[int(number)] for number in whole.labels])
    return Set(pictures.float() / 127.5 - 1, classes, figures.see(net, pictures))


def _fakes(generator: EmbeddedGenerator, net: MobileNet) -> Set:
    """Random pictures, as many per class as PER_CLASS, its looks in turn."""
    shape = generator.shape
    classes = torch.arange(len(shape.classes)).repeat_interleave(PER_CLASS)
    labels = classes * shape.variants + torch.arange(len(classes)) % shape.variants
    pictures = paint(generator, labels, SEED)
    return Set(pictures, classes, figures.see(net, pictures))


def _identity(fakes: Set, val: Set, outputs: Tensor) -> list[Figure]:
    ours, theirs = (figures.identity(one.seen, one.classes, outputs) for one in (fakes, val))
    chance = 1 / len(outputs)
    rows = [
        Figure("identity", float(ours.mean()), BARS["identity"], photographs=float(theirs.mean()), floor=chance),
        Figure("identity least", float(ours.min()), BARS["least"], photographs=float(theirs.min()), floor=chance),
    ]
    for label, own, real in zip(load_world(), ours, theirs, strict=True):
        rows.append(Figure(f"identity {label.name}", float(own), photographs=float(real), floor=chance))
    return rows


def _spread(fakes: Set, train: Set, val: Set) -> list[Figure]:
    ours, theirs = (float(figures.variety(one.seen, one.classes).mean()) for one in (fakes, train))
    against = figures.moments(train.seen.pooled)
    own, floor = (figures.frechet(against, figures.moments(one.seen.pooled)) for one in (fakes, val))
    return [
        Figure("variety", ours, BARS["variety share"] * theirs, photographs=theirs, floor=0.0),
        Figure("Fréchet distance", own, BARS["Fréchet multiple"] * floor, "at most", photographs=floor),
    ]


def _copying(fakes: Set, train: Set, val: Set) -> Figure:
    """Median distance to the nearest training photograph of the class; unseen photographs' own beside it."""
    ours, theirs = (_nearest(one, train)[0].median() for one in (fakes, val))
    return Figure("distance to nearest photograph", float(ours), photographs=float(theirs), floor=0.0)


def _nearest(ours: Set, train: Set) -> tuple[Tensor, Tensor]:
    """For every picture the distance to, and the number of, its class's nearest training photograph by feature."""
    distances, numbers = torch.zeros(len(ours.classes)), torch.zeros(len(ours.classes), dtype=torch.long)
    known = functional.normalize(train.seen.pooled, dim=1)
    asked = functional.normalize(ours.seen.pooled, dim=1)
    for label in range(int(train.classes.max()) + 1):
        mine, pool = (torch.nonzero(one.classes == label).flatten() for one in (ours, train))
        near = torch.cdist(asked[mine], known[pool]).min(1)
        distances[mine], numbers[mine] = near.values, pool[near.indices]
    return distances, numbers


def _neighbours(fakes: Set, train: Set) -> Image.Image:
    """Lines of: a drawn picture, its nearest photograph by feature, and by pixels; three such a line."""
    chosen = torch.arange(NEIGHBOURS) * PER_CLASS
    by_feature = _nearest(fakes, train)[1][chosen]
    strips = []
    for number, feature in zip(chosen.tolist(), by_feature.tolist(), strict=True):
        pool = torch.nonzero(train.classes == fakes.classes[number]).flatten()
        flat = train.pictures[pool].flatten(1)
        by_pixel = pool[int(torch.cdist(fakes.pictures[number].flatten()[None], flat).argmin())]
        strips.append(torch.stack([fakes.pictures[number], train.pictures[feature], train.pictures[by_pixel]]))
    return tile(torch.cat(strips), 9)
