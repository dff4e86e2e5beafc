"""BigGAN-deep 128, 256 and 512 (arXiv 1809.11096, appendix B) from the weights that HuggingFace converted from TF-Hub.

It knows the key layout of `pytorch-pretrained-BigGAN` and what may be left out without changing a pixel: 125 of the
128 "RGB" channels, the spectral norms, the projection of condition and statistics for every pixel. It does not draw
z: with truncation t the publishers draw t times a normal cut at 2, and hand the same t to the statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.attention import Attention
from engine.generators.layout import NHWC, Checkpoint, Order, Source, build, fold_stored, inputs, spectral

EPS = 1e-4
SIDE = 4  # of the first map; every odd block doubles it
ATTENTION = 8  # the layer before which 64x64 places look at each other, in all three sizes
HEAD = ((16, 16), (16, 16), (16, 16), (16, 8), (8, 8))
BLOCKS = {  # channels in and out of every block, in units of `width`
    128: (*HEAD, (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)),
    256: (*HEAD, (8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)),
    512: (*HEAD, (8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1), (1, 1), (1, 1)),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides every tensor's shape."""

    resolution: int
    width: int = 128
    dim: int = 128  # of z and of y alike
    classes: int = 1000
    stats: int = 51  # truncations with statistics of their own: 0, 0.02, ... 1


class Norm(nn.Module):
    """Batch norm by stored statistics, one row of them per truncation; unconditional, with a rectifier."""

    inverse: Tensor
    shift: Tensor

    def __init__(self, channels: int, stats: int) -> None:
        super().__init__()
        self.register_buffer("running_means", torch.zeros(stats, channels))
        self.register_buffer("running_vars", torch.ones(stats, channels))
        self.register_buffer("inverse", None, persistent=False)
        self.register_buffer("shift", None, persistent=False)

    def choose(self, row: int, share: float) -> None:
        """Normalise from now on as x * inverse + shift, `share` of the way from `row` to the next."""
        mean, var = (_between(self.get_buffer(f"running_{name}"), row, share) for name in ("means", "vars"))
        inverse = (var + EPS).rsqrt()
        dtype = self.get_buffer("running_means").dtype
        self.inverse, self.shift = inverse.to(dtype), (-mean * inverse).to(dtype)


class ConditionalNorm(Norm):
    """Its gain and offset are linear in [z, y]."""

    def __init__(self, channels: int, shape: Shape) -> None:
        super().__init__(channels, shape.stats)
        self.scale = nn.Linear(2 * shape.dim, channels, bias=False)
        self.offset = nn.Linear(2 * shape.dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Two numbers a channel and row, multiplied out before they meet the pixels."""
        gain = 1 + self.scale(condition)
        return _rectify(x, gain * self.inverse, gain * self.shift + self.offset(condition))


class LastNorm(Norm):
    """Its gain and offset are the same for every row."""

    def __init__(self, channels: int, stats: int) -> None:
        super().__init__(channels, stats)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Over the last map, before the RGB convolution."""
        return _rectify(x, (self.weight * self.inverse)[None], (self.weight * self.shift + self.bias)[None])


class Block(nn.Module):
    """A bottleneck of a quarter of the channels; the shortcut drops channels instead of projecting them."""

    def __init__(self, into: int, out: int, doubles: bool, shape: Shape) -> None:
        super().__init__()
        self.out, self.doubles, middle = out, doubles, into // 4
        self.bn_0 = ConditionalNorm(into, shape)
        self.bn_1, self.bn_2, self.bn_3 = (ConditionalNorm(middle, shape) for _ in range(3))
        self.conv_0 = nn.Conv2d(into, middle, 1)
        self.conv_1 = nn.Conv2d(middle, middle, 3, padding=1)
        self.conv_2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.conv_3 = nn.Conv2d(middle, out, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(n, into, h, h) to (n, out, h, h), or twice the side."""
        h = self.bn_1(self.conv_0(self.bn_0(x, condition)), condition)
        skip = x[:, : self.out]
        if self.doubles:
            h, skip = _double(h), _double(skip)
        h = self.conv_2(self.bn_2(self.conv_1(h), condition))
        out: Tensor = self.conv_3(self.bn_3(h, condition))
        return out + skip


class BigGanDeep(nn.Module):
    """z (n, dim) and y (n, dim) to pictures (n, 3, side, side) in [-1, 1]; differentiable in both."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dim_z = self.dim_y = shape.dim
        self.resolution = shape.resolution
        self.embeddings = nn.Embedding(shape.classes, shape.dim)
        self.gen_z = nn.Linear(2 * shape.dim, SIDE * SIDE * 16 * shape.width)
        layers: list[nn.Module] = [
            Block(into * shape.width, out * shape.width, index % 2 == 1, shape)
            for index, (into, out) in enumerate(BLOCKS[shape.resolution])
        ]
        layers.insert(ATTENTION, Attention(_attended(shape)))
        self.layers = nn.ModuleList(layers)
        self.bn = LastNorm(shape.width, shape.stats)
        self.conv_to_rgb = nn.Conv2d(shape.width, 3, 3, padding=1)

    def embed(self, classes: Tensor) -> Tensor:
        """Rows of the class embedding: class indices (n,) to y (n, dim_y)."""
        rows: Tensor = self.embeddings(classes)
        return rows

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Draw one picture per row. The first layer's output lies as 4 x 4 x channels, which is channels-last here."""
        condition = torch.cat([z, y], 1)
        x = self.gen_z(condition).view(len(z), SIDE, SIDE, -1).permute(0, 3, 1, 2)
        for layer in self.layers:
            x = layer(x, condition) if isinstance(layer, Block) else layer(x)
        return _bound(self.conv_to_rgb(self.bn(x)))

    def use_truncation(self, truncation: float, hf_compat: bool = False) -> None:
        """Normalise with the statistics of this truncation, in (0, 1]. Before a cast to bf16, or they are rounded."""
        row, share = place_of(truncation, self.shape.stats, hf_compat)
        for module in self.modules():
            if isinstance(module, Norm):
                module.choose(row, share)


def place_of(truncation: float, stats: int = 51, hf_compat: bool = False) -> tuple[int, float]:
    """The row of statistics below a truncation, and how far from it to the next (0: that row alone).

    `hf_compat` repeats the reference, whose two weights are swapped: next to nothing above a row, by a rounding error
    as in 0.14 / 0.02, it takes the *next* row whole.
    """
    if not 0 < truncation <= 1:
        raise ValueError(f"Truncation must be above 0 and at most 1, not {truncation}.")
    share, row = math.modf(truncation / (1 / (stats - 1)))
    return int(row), 1 - share if hf_compat and share else share


def load(source: Source, truncation: float = 1.0, hf_compat: bool = False) -> BigGanDeep:
    """Read strictly; the size follows from the keys. ValueError names the first wrong key or shape."""
    checkpoint = Checkpoint.open(source)
    shape = _shape_of(checkpoint)
    checkpoint.check(published(shape), orders=orders(shape))
    generator = build(partial(BigGanDeep, shape), _ours(fold_stored(checkpoint.weights)))
    generator.use_truncation(truncation, hf_compat)
    return generator


def published(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every key of the published file with its shape, in the order of the network."""
    dim, width = shape.dim, shape.width
    keys: dict[str, tuple[int, ...]] = {"embeddings.weight": (dim, shape.classes)}
    keys |= spectral("generator.gen_z", SIDE * SIDE * 16 * width, 2 * dim, bias=True)
    for index, (into, out) in enumerate(BLOCKS[shape.resolution]):
        if index == ATTENTION:
            keys |= _attention_keys(f"generator.layers.{ATTENTION}", _attended(shape))
        keys |= _block_keys(f"generator.layers.{index + (index >= ATTENTION)}", into * width, out * width, shape)
    keys |= {"generator.bn.weight": (width,), "generator.bn.bias": (width,)}
    keys |= _statistics("generator.bn", width, shape)
    return keys | spectral("generator.conv_to_rgb", width, width, 3, 3, bias=True)


def orders(shape: Shape) -> dict[str, tuple[Order, ...]]:
    """The weights whose shapes do not say how they lie: the first map's rows, and what stands first in a condition."""
    condition = inputs("z", "y", shape.dim)
    linear = [key for key in published(shape) if key.endswith((".scale.weight_orig", ".offset.weight_orig"))]
    first = {"generator.gen_z.weight_orig": (NHWC, condition), "generator.gen_z.bias": (NHWC,)}
    return first | dict.fromkeys(linear, (condition,))


def _block_keys(name: str, into: int, out: int, shape: Shape) -> dict[str, tuple[int, ...]]:
    middle = into // 4
    keys: dict[str, tuple[int, ...]] = {}
    for index, (channels, target, kernel) in enumerate(
        [(into, middle, 1), (middle, middle, 3), (middle, middle, 3), (middle, out, 1)]
    ):
        keys |= _statistics(f"{name}.bn_{index}", channels, shape)
        keys |= spectral(f"{name}.bn_{index}.scale", channels, 2 * shape.dim)
        keys |= spectral(f"{name}.bn_{index}.offset", channels, 2 * shape.dim)
        keys |= spectral(f"{name}.conv_{index}", target, channels, kernel, kernel, bias=True)
    return keys


def _attention_keys(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {f"{name}.gamma": (1,)}
    for part, out in {"theta": channels // 8, "phi": channels // 8, "g": channels // 2}.items():
        keys |= spectral(f"{name}.snconv1x1_{part}", out, channels, 1, 1)
    return keys | spectral(f"{name}.snconv1x1_o_conv", channels, channels // 2, 1, 1)


def _statistics(name: str, channels: int, shape: Shape) -> dict[str, tuple[int, ...]]:
    return {f"{name}.running_{what}": (shape.stats, channels) for what in ("means", "vars")}


def _shape_of(checkpoint: Checkpoint) -> Shape:
    """A file between two sizes is read as the larger one, so that its first missing key is named."""
    layers = checkpoint.count("generator.layers.")
    resolution = next((side for side, blocks in BLOCKS.items() if len(blocks) + 1 >= layers), max(BLOCKS))
    dim, classes = checkpoint.shape("embeddings.weight", 2)
    (width,) = checkpoint.shape("generator.conv_to_rgb.bias", 1)
    return Shape(resolution, width, dim, classes)


def _attended(shape: Shape) -> int:
    return BLOCKS[shape.resolution][ATTENTION][0] * shape.width


def _ours(folded: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published names and values to ours. RGB is cut after the fold: its sigma is that of all the channels."""
    ours = {key.removeprefix("generator.").replace("snconv1x1_", ""): weight for key, weight in folded.items()}
    ours = {key.replace(".o_conv.", ".o."): weight for key, weight in ours.items()}
    ours["embeddings.weight"] = ours["embeddings.weight"].T.contiguous()
    gamma = f"layers.{ATTENTION}.gamma"
    ours[gamma] = ours[gamma].reshape(())
    for key in ("conv_to_rgb.weight", "conv_to_rgb.bias"):
        ours[key] = ours[key][:3].clone()
    return ours


def _between(table: Tensor, row: int, share: float) -> Tensor:
    below, above = table[row].double(), table[min(row + 1, len(table) - 1)].double()
    return below.lerp(above, share)


def _rectify(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return functional.relu(torch.addcmul(shift[:, :, None, None], x, gain[:, :, None, None]))


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def _bound(x: Tensor) -> Tensor:
    """In fp32 at the least: bf16 has three digits between -1 and 1."""
    return torch.tanh(x.to(torch.promote_types(x.dtype, torch.float32)))
