"""BigGAN 128, 256 and 512 (arXiv 1809.11096, appendix B) from the weights of FuseDream and of ajbrock's port.

It knows the key layout of `BigGAN-PyTorch`, with one set of batch statistics, that of truncation 1. What may be left
out is left out at load without changing a pixel: the power iteration of every forward, the shortcut's 1x1 convolution
of doubled pixels, the statistics apart from the gain, and most products of a 3x3 convolution of doubled pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.attention import Attention
from engine.generators.doubling import DoubledConv
from engine.generators.layout import NCHW, Checkpoint, Order, Source, build, fold_iterated, inputs

EPS = 1e-4  # of the TF-Hub model and the converter; FuseDream builds its generator with 1e-5 (gnobitab/FuseDream)
SIDE = 4  # of the first map; every block doubles it
BLOCKS = {  # channels of the first map and after every block, in units of `width`
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
ATTENTION = {128: 3, 256: 4, 512: 3}  # the block whose places look at each other


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides every tensor's shape."""

    resolution: int
    chunk: int  # of z, for the first map and for every block
    width: int = 96
    dim_y: int = 128
    classes: int = 1000
    gamma: tuple[int, ...] = ()  # the attention's gain is a scalar, or a row of one

    @property
    def channels(self) -> list[tuple[int, int]]:
        """In and out of every block."""
        widths = [units * self.width for units in BLOCKS[self.resolution]]
        return list(pairwise(widths))

    @property
    def attended(self) -> int:
        """Channels of the map whose places look at each other."""
        return self.channels[ATTENTION[self.resolution]][1]


class Norm(nn.Module):
    """Batch norm by stored statistics as x * inverse + shift; gain and bias linear in [y, a chunk of z]; rectified."""

    inverse: Tensor
    shift: Tensor

    def __init__(self, channels: int, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("inverse", torch.ones(channels))
        self.register_buffer("shift", torch.zeros(channels))
        self.gain = nn.Linear(shape.dim_y + shape.chunk, channels, bias=False)
        self.bias = nn.Linear(shape.dim_y + shape.chunk, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Two numbers a channel and row, multiplied out before they meet the pixels."""
        gain = 1 + self.gain(condition)
        multiply, add = gain * self.inverse, gain * self.shift + self.bias(condition)
        return functional.relu(torch.addcmul(add[:, :, None, None], x, multiply[:, :, None, None]))


class Block(nn.Module):
    """Two 3x3 convolutions at the doubled side, and a 1x1 shortcut that is as well computed before the doubling."""

    def __init__(self, into: int, out: int, shape: Shape) -> None:
        super().__init__()
        self.bn1, self.bn2 = Norm(into, shape), Norm(out, shape)
        self.conv1 = DoubledConv(into, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_sc = nn.Conv2d(into, out, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(n, into, h, h) to (n, out, 2h, 2h)."""
        h = self.conv1(self.bn1(x, condition))
        out: Tensor = self.conv2(self.bn2(h, condition))
        return out + _double(self.conv_sc(x))


class LastNorm(nn.Module):
    """The same for every row: statistics, gain and bias in one multiplication; rectified."""

    inverse: Tensor
    shift: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("inverse", torch.ones(channels))
        self.register_buffer("shift", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Over the last map, before the RGB convolution."""
        return functional.relu(torch.addcmul(self.shift[:, None, None], x, self.inverse[:, None, None]))


class BigGan(nn.Module):
    """z (n, dim_z) and y (n, dim_y) to pictures (n, 3, side, side) in [-1, 1]; differentiable in both."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dim_z, self.dim_y = shape.chunk * (len(shape.channels) + 1), shape.dim_y
        self.resolution = shape.resolution
        self.shared = nn.Embedding(shape.classes, shape.dim_y)
        self.linear = nn.Linear(shape.chunk, SIDE * SIDE * shape.channels[0][0])
        self.blocks = nn.ModuleList(Block(into, out, shape) for into, out in shape.channels)
        self.attention = Attention(shape.attended)
        self.last = LastNorm(shape.width)
        self.rgb = nn.Conv2d(shape.width, 3, 3, padding=1)

    def embed(self, classes: Tensor) -> Tensor:
        """Rows of the shared class embedding: class indices (n,) to y (n, dim_y)."""
        rows: Tensor = self.shared(classes)
        return rows

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Draw one picture per row. z is hierarchical: its first chunk makes the first map, each next one a block."""
        first, *chunks = z.reshape(len(z), -1, self.shape.chunk).unbind(1)
        x = self.linear(first).view(len(z), -1, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        for index, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True)):
            x = block(x, torch.cat([y, chunk], 1))
            if index == ATTENTION[self.resolution]:
                x = self.attention(x)
        return _bound(self.rgb(self.last(x)))


def load(source: Source, bn_eps: float = EPS) -> BigGan:
    """Read strictly; the size follows from the keys, and `sv0` may be missing. ValueError names the first wrong key."""
    checkpoint = Checkpoint.open(source)
    shape = _shape_of(checkpoint)
    checkpoint.check(published(shape), ignored=(".sv0",), orders=orders(shape))
    folded = fold_iterated(checkpoint.weights)
    return build(partial(BigGan, shape), _multiplied({_ours(key): folded[key] for key in folded}, bn_eps))


def published(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every key of the published file with its shape, in the order of the network; `sv0` aside."""
    keys: dict[str, tuple[int, ...]] = {"shared.weight": (shape.classes, shape.dim_y)}
    keys |= _layer("linear", SIDE * SIDE * shape.channels[0][0], shape.chunk)
    for index, (into, out) in enumerate(shape.channels):
        keys |= _block_keys(f"blocks.{index}.0", into, out, shape)
        if index == ATTENTION[shape.resolution]:
            keys |= _attention_keys(f"blocks.{index}.1", shape)
    keys |= {f"output_layer.0.{part}": (shape.width,) for part in ("gain", "bias", "stored_mean", "stored_var")}
    return keys | _layer("output_layer.2", 3, shape.width, 3, 3)


def orders(shape: Shape) -> dict[str, tuple[Order, ...]]:
    """The weights whose shapes do not say how they lie: the first map's rows, and what stands first in a condition."""
    condition = inputs("y", "z", shape.chunk)
    linear = [key for key in published(shape) if key.endswith((".gain.weight", ".bias.weight"))]
    first: dict[str, tuple[Order, ...]] = {"linear.weight": (NCHW,), "linear.bias": (NCHW,)}
    return first | dict.fromkeys(linear, (condition,))


def _layer(name: str, *shape: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {f"{name}.weight": shape, f"{name}.u0": (1, shape[0])}
    return keys | ({f"{name}.bias": shape[:1]} if bias else {})


def _block_keys(name: str, into: int, out: int, shape: Shape) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {}
    for norm, conv, channels in (("bn1", "conv1", into), ("bn2", "conv2", out)):
        keys |= {f"{name}.{norm}.stored_{what}": (channels,) for what in ("mean", "var")}
        for part in ("gain", "bias"):
            keys |= _layer(f"{name}.{norm}.{part}", channels, shape.dim_y + shape.chunk, bias=False)
        keys |= _layer(f"{name}.{conv}", out, channels, 3, 3)
    return keys | _layer(f"{name}.conv_sc", out, into, 1, 1)


def _attention_keys(name: str, shape: Shape) -> dict[str, tuple[int, ...]]:
    channels = shape.attended
    keys = {f"{name}.gamma": shape.gamma}
    for part, out in {"theta": channels // 8, "phi": channels // 8, "g": channels // 2}.items():
        keys |= _layer(f"{name}.{part}", out, channels, 1, 1, bias=False)
    return keys | _layer(f"{name}.o", channels, channels // 2, 1, 1, bias=False)


def _shape_of(checkpoint: Checkpoint) -> Shape:
    """A file between two sizes is read as the larger one, so that its first missing key is named."""
    blocks = checkpoint.count("blocks.")
    resolution = next((side for side, widths in BLOCKS.items() if len(widths) - 1 >= blocks), max(BLOCKS))
    classes, dim_y = checkpoint.shape("shared.weight", 2)
    _, chunk = checkpoint.shape("linear.weight", 2)
    (width,) = checkpoint.shape("output_layer.0.gain", 1)
    gamma = checkpoint.weights.get(f"blocks.{ATTENTION[resolution]}.1.gamma")
    row = gamma is not None and tuple(gamma.shape) == (1,)
    return Shape(resolution, chunk, width, dim_y, classes, (1,) if row else ())


def _ours(key: str) -> str:
    """`blocks.4.0.conv1.bias` is `blocks.4.conv1.bias` here; what stands beside a block is the one attention."""
    key = re.sub(r"^blocks\.\d+\.1\.", "attention.", key)
    key = re.sub(r"^(blocks\.\d+)\.0\.", r"\1.", key)
    return key.replace("output_layer.0.", "last.").replace("output_layer.2.", "rgb.")


def _multiplied(weights: dict[str, Tensor], bn_eps: float) -> dict[str, Tensor]:
    """Statistics become a multiplication and an addition; the last norm's gain and bias go into them."""
    weights["attention.gamma"] = weights["attention.gamma"].reshape(())
    for name in [key.removesuffix(".stored_mean") for key in weights if key.endswith(".stored_mean")]:
        mean, var = weights.pop(f"{name}.stored_mean"), weights.pop(f"{name}.stored_var").double()
        inverse = (var + bn_eps).rsqrt()
        shift = -mean.double() * inverse
        if f"{name}.gain" in weights:
            gain, bias = weights.pop(f"{name}.gain").double(), weights.pop(f"{name}.bias").double()
            inverse, shift = inverse * gain, shift * gain + bias
        weights |= {f"{name}.inverse": inverse.to(mean.dtype), f"{name}.shift": shift.to(mean.dtype)}
    return weights


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def _bound(x: Tensor) -> Tensor:
    """In fp32 at the least: bf16 has three digits between -1 and 1."""
    return torch.tanh(x.to(torch.promote_types(x.dtype, torch.float32)))
