"""The generator's photographs, ready to be drawn in pairs: pictures, classes, looks, and a probe that tells looks.

It knows the world's labels, the frozen network and where the prepared copy is kept. It knows nothing of the generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.training.augment import Strength, augment, draw
from engine.training.colours import middle_shares
from engine.training.data import tiny_imagenet, tiny_imagenet_indices
from engine.training.features import BACKGROUND, MobileNet
from engine.training.figures import Moments, moments, see
from engine.training.recipe import Recipe
from engine.training.variants import part, tinted
from engine.training.world import Label


@dataclass(frozen=True)
class Photographs:
    """Everything about the photographs that training draws from, on one device."""

    pictures: Tensor  # [n, 3, 64, 64] uint8
    classes: Tensor  # [n]
    pools: Tensor  # [rows, most] picture numbers of every (class, look)
    counts: Tensor  # [rows] how many of them are real; the rest is padding
    pooled: Tensor  # [n, 1280] features of the plain pictures
    outputs: Tensor  # [classes] places of the pack's classes in the frozen network's logits
    probe: Tensor  # [rows, 1281] linear classifier of looks on the pooled feature, bias last

    @cached_property
    def moments(self) -> Moments:
        """Of the pooled features, for the Fréchet distance."""
        return moments(self.pooled.cpu())

    def pairs(self, rows: Tensor, source: torch.Generator) -> Tensor:
        """Two different photographs of every row, flipped at random: first all firsts, then all seconds; in [-1, 1]."""
        uniform = torch.rand(len(rows), 4, generator=source).to(rows.device)
        count = self.counts[rows]
        first = (uniform[:, 0] * count).long().clamp_max(count - 1)
        second = (first + 1 + (uniform[:, 1] * (count - 1)).long().clamp_max(count - 2)) % count
        numbers = torch.cat([self.pools[rows, first], self.pools[rows, second]])
        x = self.pictures[numbers].float() / 127.5 - 1
        flip = torch.cat([uniform[:, 2], uniform[:, 3]]) < 0.5
        return torch.where(flip[:, None, None, None], x.flip(3), x)


def prepare(folder: Path, world: Sequence[Label], recipe: Recipe, net: MobileNet, cache: Path) -> Photographs:
    """Decode, look at, part into looks, fit the probe; a minute the first time, then read from `cache`."""
    kept = cache / f"photographs-{len(world)}x{recipe.variants}-{recipe.look_colour:g}-{recipe.seed}.pt"
    if kept.is_file():
        fields = torch.load(kept, weights_only=True, map_location=net.device)
        return Photographs(**fields)
    train = tiny_imagenet(folder, "train", [label.tiny for label in world], cache)
    places = {label.tiny: number for number, label in enumerate(world)}
    pictures = torch.from_numpy(train.pictures).permute(0, 3, 1, 2).contiguous()
    classes = torch.tensor([places[int(number)] for number in train.labels])
    indices = tiny_imagenet_indices(folder)
    seen = see(net, pictures)
    looks = part(
        seen.pooled,
        classes,
        recipe.variants,
        dims=recipe.look_dims,
        rounds=recipe.look_rounds,
        seed=recipe.seed,
        beside=_tints(train.pictures, classes, recipe.look_colour),
    )
    rows = classes * recipe.variants + looks
    fields = {
        "pictures": pictures,
        "classes": classes,
        **_pools(rows, len(world) * recipe.variants),
        "pooled": seen.pooled,
        "outputs": torch.tensor([indices[label.tiny] + BACKGROUND for label in world]),
        "probe": _probe(torch.cat([seen.pooled, _augmented(net, pictures, recipe)]), rows.repeat(2), recipe.seed),
    }
    cache.mkdir(parents=True, exist_ok=True)
    torch.save(fields, kept.with_suffix(".part"))
    kept.with_suffix(".part").replace(kept)
    return Photographs(**{key: value.to(net.device) for key, value in fields.items()})


def _tints(pictures: NDArray[np.uint8], classes: Tensor, weight: float) -> Tensor | None:
    """What colours add to the parting into looks, None where they add nothing."""
    return tinted(torch.from_numpy(middle_shares(pictures)), classes, weight) if weight else None


def _pools(rows: Tensor, count: int) -> dict[str, Tensor]:
    members = [torch.nonzero(rows == row).flatten() for row in range(count)]
    counts = torch.tensor([len(numbers) for numbers in members])
    pools = torch.zeros(count, int(counts.max()), dtype=torch.long)
    for row, numbers in enumerate(members):
        pools[row, : len(numbers)] = numbers
    return {"pools": pools, "counts": counts}


@torch.no_grad()
def _augmented(net: MobileNet, pictures: Tensor, recipe: Recipe) -> Tensor:
    """Features of the photographs as the generator's pictures will be seen: the probe must read those too."""
    phase = recipe.phases[0]
    strength = Strength(phase.translate, phase.cutout, phase.cutout_share, phase.colour, phase.colour_share)
    source = torch.Generator().manual_seed(recipe.seed)
    pooled = []
    for batch in torch.split(pictures, 32):
        x = batch.to(net.device).float() / 127.5 - 1
        draws = draw(strength, 2 * len(x), source, net.device)
        both = augment(torch.cat([x, x]), draws, recipe.side)[: len(x)]
        pooled.append(net((both + 1) / 2).pooled.cpu())
    return torch.cat(pooled)


def _probe(pooled: Tensor, rows: Tensor, seed: int, steps: int = 400, batch: int = 512) -> Tensor:
    """Multinomial logistic regression with weight decay, by Adam on drawn batches."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.zeros(int(rows.max()) + 1, pooled.shape[1] + 1, requires_grad=True)
    adam = torch.optim.Adam([weight], lr=3e-3)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        drawn = torch.randint(len(pooled), (batch,), generator=source)
        loss = functional.cross_entropy(look_logits(pooled[drawn], weight), rows[drawn])
        adam.zero_grad()
        (loss + 2e-4 * weight.square().sum()).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return weight.detach()


def look_logits(pooled: Tensor, probe: Tensor) -> Tensor:
    """The probe's opinion of every row of the embedding."""
    return functional.linear(pooled, probe[:, :-1], probe[:, -1])
